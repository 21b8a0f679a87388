"""Tests of kcalc.layers.PlanarConvBlock, PadToMultiple and CropLike."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kcalc.layers import FULL, CropLike, PadToMultiple, PlanarConvBlock
from kcalc.testing import check_layer


@pytest.mark.parametrize("batch_normalization", [False, True])
def test_planar_block_keeps_the_layer_contract(batch_normalization: bool) -> None:
    check_layer(
        lambda **kwargs: PlanarConvBlock(
            4,
            batch_normalization=batch_normalization,
            kernel_regularizer=keras.regularizers.L2(1e-4),
            **kwargs,
        ),
        input_shape=(2, 4, 6, 8, 3),
        expected_output_shape=(2, 4, 6, 8, 4),
    )


def test_planar_block_has_36_weights_for_a_pair_of_channels() -> None:
    block = PlanarConvBlock(1)
    block.build((None, None, None, None, 1))
    assert block.count_params() == 36 + 4


def test_full_block_has_54_weights_for_a_pair_of_channels() -> None:
    block = PlanarConvBlock(1, FULL)
    block.build((None, None, None, None, 1))
    assert block.count_params() == 54 + 2


@pytest.mark.parametrize(
    ("plane", "reach_zyx"),
    [("xy", (0, 1, 1)), ("xz", (1, 0, 1)), ("yz", (1, 1, 0)), ("xyz", (1, 1, 1))],
)
def test_a_plane_reaches_along_its_own_axes_alone(
    plane: str, reach_zyx: tuple[int, int, int]
) -> None:
    block = PlanarConvBlock(1, [plane], kernel_initializer="ones")
    point = np.zeros((1, 5, 5, 5, 1), "float32")
    point[0, 2, 2, 2, 0] = 1.0
    response = np.asarray(block(point))[0, ..., 0]
    expected = np.zeros((5, 5, 5))
    expected[tuple(slice(2 - r, 3 + r) for r in reach_zyx)] = 1.0
    np.testing.assert_array_equal(response, expected)


def test_default_order_begins_and_ends_in_the_plane_of_the_slices() -> None:
    kernels = [conv.kernel_size for conv in PlanarConvBlock(1).convs]
    assert kernels == [(1, 3, 3), (3, 1, 3), (3, 3, 1), (1, 3, 3)]


def test_dropout_acts_in_training_alone() -> None:
    block = PlanarConvBlock(4, dropout=0.5)
    inputs = np.ones((1, 4, 4, 4, 2), "float32")
    still = np.asarray(block(inputs, training=False))
    np.testing.assert_array_equal(np.asarray(block(inputs)), still)
    trained = np.asarray(block(inputs, training=True))
    assert np.mean(trained == 0) > np.mean(still == 0) + 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "Received: filters=0"),
        ({"filters": 1, "planes": ("xy", "zz")}, r"Received: planes=\('xy', 'zz'\)"),
        ({"filters": 1, "planes": "xy"}, "Received: planes='xy'"),
        ({"filters": 1, "planes": ()}, r"Received: planes=\(\)"),
        ({"filters": 1, "dropout": 1.0}, "Received: dropout=1.0"),
    ],
)
def test_impossible_blocks_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PlanarConvBlock(**arguments)


def test_pad_to_multiple_keeps_the_layer_contract() -> None:
    check_layer(
        lambda **kwargs: PadToMultiple((4, 4, 8), **kwargs),
        input_shape=(2, 5, 6, 16, 2),
        expected_output_shape=(2, 8, 8, 16, 2),
    )


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_volumes_go_on_as_their_mirror_image(size: int) -> None:
    values = np.arange(size, dtype="float32").reshape(1, size, 1, 1, 1)
    padded = np.asarray(PadToMultiple((8, 1, 1))(values))
    beyond = (0, -size % 8)
    expected = np.pad(values[0, :, 0, 0, 0], beyond, mode="symmetric")
    np.testing.assert_array_equal(padded[0, :, 0, 0, 0], expected)


def test_crop_like_undoes_the_padding() -> None:
    volume = np.random.default_rng(0).random((1, 5, 7, 9, 2), "float32")
    padded = PadToMultiple((8, 8, 8))(volume)
    assert tuple(padded.shape) == (1, 8, 8, 16, 2)
    np.testing.assert_array_equal(np.asarray(CropLike()([padded, volume])), volume)


def test_two_multiples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Received: multiple_zyx=\(8, 8\)"):
        PadToMultiple((8, 8))
