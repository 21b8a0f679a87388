"""Tests of kcalc.models.planar_unet."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from kcalc.layers import FULL
from kcalc.models import planar_unet, planar_unet_halo_zyx
from kcalc.testing import check_model


def _narrow(input_shape: Any = (None, None, None, 1), **kwargs: Any) -> keras.Model:
    return planar_unet(input_shape, channels=(3, 4, 5, 6), **kwargs)


def test_planar_unet_keeps_the_model_contract() -> None:
    check_model(
        lambda shape: planar_unet(shape, channels=(3, 4)),
        (2, 3, 7, 10, 1),
        (2, 3, 7, 10, 2),
    )


def test_weights_number_3_30_million() -> None:
    # Worked by hand, kernels: a block of a to b channels has 9 a b + 27 b b, a
    # narrowing 2 b b, the head 30 * 2.
    kernels = (
        (9 * 1 * 30 + 27 * 30 * 30)
        + (9 * 30 * 60 + 27 * 60 * 60)
        + (9 * 60 * 120 + 27 * 120 * 120)
        + (9 * 120 * 240 + 27 * 240 * 240)
        + (2 * 120 * 120 + 9 * 240 * 120 + 27 * 120 * 120)
        + (2 * 60 * 60 + 9 * 120 * 60 + 27 * 60 * 60)
        + (2 * 30 * 30 + 9 * 60 * 30 + 27 * 30 * 30)
        + 30 * 2
    )
    biases = 4 * (30 + 60 + 120 + 240 + 120 + 60 + 30) + (120 + 60 + 30) + 2
    count = planar_unet().count_params()
    assert count == kernels + biases
    assert round(count / 1e6, 2) == 3.30


def test_full_blocks_of_equal_width_have_half_as_many_weights_again() -> None:
    # 54 against 36 for a pair of channels within a block.
    ratio = planar_unet(planes=FULL).count_params() / planar_unet().count_params()
    assert 1.4 < ratio < 1.6


def test_eager_predict_fixed_graph_and_saved_model_agree_on_13_by_60_by_60(
    tmp_path: Any,
) -> None:
    # Zero padding before a "same" Conv3D is computed wrongly on fixed shapes.
    keras.utils.set_random_seed(1)
    model = _narrow((13, 60, 60, 1))
    image = np.random.default_rng(1).random((1, 13, 60, 60, 1), "float32")
    reference = np.asarray(model(image))
    assert np.ptp(reference) > 1e-3
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    signature = [tf.TensorSpec((1, 13, 60, 60, 1), tf.float32)]
    for other in (
        lambda x: model.predict(x, verbose=0),
        tf.function(model, input_signature=signature),
        loaded.serve,
    ):
        np.testing.assert_allclose(np.asarray(other(image)), reference, atol=1e-5)


def test_a_size_of_full_multiples_is_not_padded() -> None:
    model = _narrow((8, 16, 16, 1))
    image = np.random.default_rng(2).random((1, 8, 16, 16, 1), "float32")
    padded = model.get_layer("pad")(image)
    np.testing.assert_array_equal(np.asarray(padded), image)


def test_one_slice_is_enough() -> None:
    probabilities = _narrow()(np.ones((1, 1, 9, 9, 1), "float32"))
    assert tuple(probabilities.shape) == (1, 1, 9, 9, 2)


def test_probabilities_of_the_classes_add_up_to_one() -> None:
    image = np.random.default_rng(3).random((1, 8, 8, 8, 2), "float32")
    probabilities = np.asarray(_narrow((None, None, None, 2), classes=4)(image))
    assert probabilities.shape[-1] == 4
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, atol=1e-6)


def test_l2_is_half_the_squared_norm_of_all_kernels() -> None:
    model = _narrow()
    kernels = [w for w in model.trainable_weights if w.name == "kernel"]
    expected = 3e-4 * sum(0.5 * float(np.sum(np.square(k.numpy()))) for k in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    assert _narrow(l2=0).losses == []


def test_dropout_stands_right_before_the_output_layer_by_default() -> None:
    names = [layer.name for layer in _narrow().layers]
    assert names[names.index("head_logits") - 1] == "head_drop"
    model = _narrow(block_dropout=0.1, dropout=0)
    assert "head_drop" not in [layer.name for layer in model.layers]
    assert model.get_layer("encoder1").dropout == 0.1


def test_layer_names_are_the_public_ones() -> None:
    blocks = [
        layer.name
        for layer in _narrow().layers
        if layer.weights and not layer.name.startswith("head")
    ]
    assert blocks == [
        "encoder1",
        "encoder2",
        "encoder3",
        "bottom",
        "decoder3_narrow",
        "decoder3",
        "decoder2_narrow",
        "decoder2",
        "decoder1_narrow",
        "decoder1",
    ]


def test_kernels_of_one_shape_start_from_their_own_numbers() -> None:
    model = _narrow(kernel_initializer=keras.initializers.HeNormal(seed=1))
    one, two = (
        model.get_layer("encoder1").convs[number].kernel.numpy().ravel()
        for number in (1, 2)
    )
    assert not np.array_equal(np.sort(one), np.sort(two))


def test_halo_is_where_the_network_stops_to_see() -> None:
    # All kernels and inputs positive, so that every voxel within reach counts.
    levels, planes = (2, 2), ("xy", "xz")
    halo = planar_unet_halo_zyx(2, planes)
    # Reach: z 1, y 1, x 2 a block. z: 1 -> 1 + 1 = 2 -> 4 + 1 = 5, on the grid of 2: 6;
    # x: 2 -> 1 + 2 = 3 -> 6 + 2 = 8.
    assert halo == (6, 6, 8)
    model = planar_unet(
        channels=levels,
        planes=planes,
        kernel_initializer=keras.initializers.RandomUniform(0.01, 0.5, seed=1),
    )
    image = np.full((1, 24, 24, 24, 1), 0.5, "float32")
    # An output tile from 12 to 14 on every axis; its input may not matter elsewhere.
    inside = tuple(slice(12 - h, 14 + h) for h in halo)
    changed = np.random.default_rng(4).random(image.shape, "float32")
    changed[0][inside] = image[0][inside]
    before, after = (
        np.asarray(model(x))[0, 12:14, 12:14, 12:14] for x in (image, changed)
    )
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (64, 64, 1)}, r"Received: input_shape=\(64, 64, 1\)"),
        ({"input_shape": (None,) * 4}, "a known number of channels"),
        ({"classes": 1}, "Received: classes=1"),
        ({"channels": (8,)}, r"Received: channels=\(8,\)"),
        ({"dropout": 1.0}, "Received: dropout=1.0"),
        ({"l2": -1.0}, "l2=-1.0"),
    ],
)
def test_impossible_networks_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planar_unet(**arguments)
