"""Tests of kcalc.layers.ResidualDropoutBlock."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kcalc.layers import ResidualDropoutBlock
from kcalc.testing import check_layer


def _with_kernels(block: ResidualDropoutBlock, value: float) -> ResidualDropoutBlock:
    for conv in (block.first_conv, block.second_conv):
        conv.kernel.assign(np.full(conv.kernel.shape, value, "float32"))
    return block


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"residual": False, "dropout_position": "before_second"},
        {"dropout_position": None, "kernel_size": (1, 3, 3)},
    ],
)
def test_residual_dropout_block_keeps_the_layer_contract(switches: Any) -> None:
    lost = (0, 4, 4) if "kernel_size" in switches else (4, 4, 4)
    sizes = [n - k for n, k in zip((7, 8, 9), lost, strict=True)]
    check_layer(
        lambda **kwargs: ResidualDropoutBlock(**{**switches, **kwargs}),
        input_shape=(2, 7, 8, 9, 3),
        expected_output_shape=(2, *sizes, 3),
    )


def test_an_impulse_is_spread_by_both_kernels_and_passed_by_the_skip() -> None:
    block = ResidualDropoutBlock((1, 3, 3), kernel_initializer="ones")
    impulse = np.zeros((1, 1, 9, 9, 1), "float32")
    impulse[0, 0, 4, 4, 0] = 1.0
    response = np.asarray(block(impulse))[0, 0, :, :, 0]
    # Two 3x3 kernels of ones: 1 2 3 2 1 times itself; the skip adds 1 in the middle.
    expected = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]).astype(float)
    expected[2, 2] += 1.0
    np.testing.assert_allclose(response, expected, rtol=1e-4)


def test_with_zero_kernels_a_residual_block_crops_and_a_plain_one_gives_zero() -> None:
    inputs = np.random.default_rng(0).normal(size=(1, 6, 7, 8, 2)).astype("float32")
    block = ResidualDropoutBlock(kernel_initializer="zeros")
    np.testing.assert_array_equal(
        np.asarray(block(inputs)), inputs[:, 2:-2, 2:-2, 2:-2]
    )
    plain = ResidualDropoutBlock(
        residual=False, dropout_position=None, kernel_initializer="zeros"
    )
    np.testing.assert_array_equal(np.asarray(plain(inputs)), np.zeros((1, 2, 3, 4, 2)))


def test_weight_count_is_the_hand_worked_one() -> None:
    # Two kernels 3*3*3*4*4 and two normalisations of 4 numbers a channel.
    block = ResidualDropoutBlock()
    block.build((None, None, None, None, 4))
    assert block.count_params() == 2 * 432 + 2 * 16


def _difference(position: str, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Output in training and in use, of equal moments, on a constant input."""
    keras.utils.set_random_seed(0)
    block = ResidualDropoutBlock(
        (1, 3, 3), dropout_position=position, dropout_rate=0.5, **kwargs
    )
    inputs = np.full((8, 1, 10, 10, 4), 2.0, "float32")
    block.build(inputs.shape)
    _with_kernels(block, 1.0)
    # Frozen normalisation uses its moving averages in training too.
    block.first_norm.trainable = block.second_norm.trainable = False
    used = np.asarray(block(inputs, training=False))
    trained = np.asarray(block(inputs, training=True))
    return trained, used


def test_dropout_before_the_addition_leaves_the_skip_and_doubles_or_drops() -> None:
    trained, used = _difference("before_addition")
    branch = used - 2.0
    kept = np.isclose(trained, 2.0 + 2 * branch, rtol=1e-4)
    dropped = np.isclose(trained, 2.0)
    assert (kept | dropped).all()
    assert 0.4 < kept.mean() < 0.6
    # Element-wise: no map is dropped whole.
    assert (kept.any(axis=(1, 2, 3)) & dropped.any(axis=(1, 2, 3))).all()


def test_spatial_dropout_drops_whole_feature_maps() -> None:
    trained, used = _difference("before_addition", spatial_dropout=True)
    kept = np.isclose(trained, 2.0 + 2 * (used - 2.0), rtol=1e-4)
    maps = kept.reshape(8, -1, 4)
    assert (maps == maps[:, :1]).all()
    # Maps of one sample are drawn one by one.
    assert (maps[:, 0].any(axis=1) & ~maps[:, 0].all(axis=1)).any()


def test_stochastic_depth_drops_the_branch_of_a_sample_as_a_whole() -> None:
    trained, used = _difference("before_addition", stochastic_depth=True)
    kept = np.isclose(trained, 2.0 + 2 * (used - 2.0), rtol=1e-4).reshape(8, -1)
    assert (kept == kept[:, :1]).all()
    assert kept[:, 0].any() and not kept[:, 0].all()


@pytest.mark.parametrize("position", ["before_first", "before_second"])
def test_dropout_before_a_convolution_is_mixed_by_it(position: str) -> None:
    trained, used = _difference(position)
    branch, undropped = trained - 2.0, used - 2.0
    # A sum over 36 dropped values is neither 0 nor twice the whole, but alike on
    # average.
    assert (branch > 0).all() and np.unique(branch).size > 10
    assert branch.mean() == pytest.approx(undropped.mean(), rel=0.05)


def test_a_rate_of_zero_and_no_position_drop_nothing() -> None:
    inputs = np.ones((2, 5, 5, 5, 2), "float32")
    for switches in ({"dropout_rate": 0.0}, {"dropout_position": None}):
        block = ResidualDropoutBlock(**{"dropout_rate": 0.9, **switches})
        block.build(inputs.shape)
        block.first_norm.trainable = block.second_norm.trainable = False
        np.testing.assert_array_equal(
            np.asarray(block(inputs, training=True)), np.asarray(block(inputs))
        )


def test_dropout_differs_from_call_to_call_and_repeats_with_its_seed() -> None:
    inputs = np.random.default_rng(0).random((1, 5, 9, 9, 2), dtype="float32")

    def two_calls() -> list[np.ndarray]:
        keras.utils.set_random_seed(3)
        block = ResidualDropoutBlock(dropout_rate=0.5)
        return [np.asarray(block(inputs, training=True)) for _ in range(2)]

    first, second = two_calls()
    assert (first != second).any()
    for one, again in zip((first, second), two_calls(), strict=True):
        np.testing.assert_array_equal(one, again)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"residual": False}, "A plain block has no addition.*Take 'before_second'"),
        ({"dropout_position": "after"}, "Received: dropout_position='after'"),
        ({"dropout_rate": 1.0}, r"below 1\. Received: dropout_rate=1\.0"),
        ({"dropout_rate": float("nan")}, "Received: dropout_rate=nan"),
        ({"kernel_size": (2, 3, 3)}, r"three odd numbers.*\(2, 3, 3\)"),
        ({"kernel_size": (3, 3)}, r"three odd numbers.*\(3, 3\)"),
        (
            {"stochastic_depth": True, "dropout_position": "before_first"},
            "stochastic_depth drops what is added",
        ),
        ({"stochastic_depth": True, "spatial_dropout": True}, "choose one"),
    ],
)
def test_switches_that_exclude_each_other_are_refused(arguments: Any, text: str):
    with pytest.raises(ValueError, match=text):
        ResidualDropoutBlock(**arguments)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((None, 8, 8, 3), "known number of channels"),
        ((None, 8, 8, 8, None), "known number of channels"),
        ((None, 4, 8, 8, 3), r"at least \[5, 5, 5\]"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(shape: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ResidualDropoutBlock().build(shape)
