"""Tests of kcalc.layers.BilinearDoubling."""

from __future__ import annotations

import keras
import numpy as np

from kcalc.layers import BilinearDoubling
from kcalc.testing import check_layer


def test_bilinear_doubling_keeps_the_layer_contract() -> None:
    check_layer(
        lambda **kwargs: BilinearDoubling(**kwargs),
        input_shape=(2, 4, 6, 3),
        expected_output_shape=(2, 8, 12, 3),
    )


def test_two_by_two_pixels_become_the_hand_worked_four_by_four() -> None:
    x = np.array([[0.0, 4.0], [8.0, 12.0]], "float32").reshape(1, 2, 2, 1)
    expected = [[0, 1, 3, 4], [2, 3, 5, 6], [6, 7, 9, 10], [8, 9, 11, 12]]
    np.testing.assert_array_equal(
        np.asarray(BilinearDoubling()(x))[0, ..., 0], expected
    )


def test_output_equals_the_bilinear_upsampling_of_keras() -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype("float32")
    expected = keras.layers.UpSampling2D(2, interpolation="bilinear")(x)
    np.testing.assert_allclose(
        np.asarray(BilinearDoubling()(x)), np.asarray(expected), atol=1e-6
    )
