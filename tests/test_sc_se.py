"""Tests of kcalc.layers.ScSE."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt
import pytest

from kcalc.layers import ScSE
from kcalc.testing import check_layer


def test_sc_se_keeps_the_layer_contract() -> None:
    check_layer(
        lambda **kwargs: ScSE(**kwargs),
        input_shape=(2, 8, 10, 8),
        expected_output_shape=(2, 8, 10, 8),
    )


def _sigmoid(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("merge", ["sum", "max"])
def test_output_equals_the_published_formula_in_numpy(merge: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 5, 4, 6))
    w1, b1 = rng.normal(size=(6, 3)), rng.normal(size=3)
    w2, b2 = rng.normal(size=(3, 6)), rng.normal(size=6)
    w, b = rng.normal(size=6), rng.normal()
    layer = ScSE(merge=merge)
    layer.build(x.shape)
    layer.squeeze.set_weights([w1, b1])
    layer.excite.set_weights([w2, b2])
    layer.spatial.set_weights([w.reshape(1, 1, 6, 1), np.array([b])])

    means = x.mean(axis=(1, 2))
    gate = _sigmoid(np.maximum(means @ w1 + b1, 0) @ w2 + b2)
    by_channel = x * gate[:, None, None, :]
    by_place = x * _sigmoid(x @ w + b)[..., None]
    expected = {
        "sum": by_channel + by_place,
        "max": np.maximum(by_channel, by_place),
    }[merge]
    np.testing.assert_allclose(
        np.asarray(layer(x.astype("float32"))), expected, rtol=1e-5, atol=1e-5
    )


def test_zero_weights_return_the_input() -> None:
    # Both gates are sigmoid(0) = 1/2, and x/2 + x/2 = x.
    x = np.array([[[[1.0, -2.0]]]], "float32")
    layer = ScSE(kernel_initializer="zeros")
    np.testing.assert_array_equal(np.asarray(layer(x)), x)


def test_hidden_layer_has_half_the_channels() -> None:
    layer = ScSE()
    layer.build((None, None, None, 10))
    # 10*5 + 5, 5*10 + 10, 10 + 1.
    assert layer.count_params() == 55 + 60 + 11


def test_one_pixel_changes_every_output() -> None:
    keras.utils.set_random_seed(1)
    layer = ScSE()
    x = np.ones((1, 16, 16, 8), "float32")
    before = np.asarray(layer(x))
    x[0, 0, 0] = 50.0
    after = np.asarray(layer(x))
    assert np.abs(after - before)[0, 8:, 8:].max(axis=-1).min() > 1e-4


def test_mean_of_bfloat16_maps_is_taken_in_float32() -> None:
    # 0.001 added 65536 times in bfloat16 stops growing near 0.25.
    layer = ScSE(dtype="mixed_bfloat16")
    layer.build((1, 256, 256, 1))
    layer.squeeze.set_weights([np.array([[1000.0]]), np.array([0.0])])
    layer.excite.set_weights([np.array([[4.0]]), np.array([-4.0])])
    layer.spatial.set_weights([np.zeros((1, 1, 1, 1)), np.array([-100.0])])
    x = np.full((1, 256, 256, 1), 0.001, "float32")
    outputs = np.asarray(keras.ops.cast(layer(x), "float32"))
    # sigmoid(4 * 1000 * 0.001 - 4) = 1/2.
    np.testing.assert_allclose(outputs, 0.0005, rtol=0.02)


def test_another_merge_is_refused() -> None:
    with pytest.raises(ValueError, match="merge must be 'sum' or 'max'"):
        ScSE(merge="mean")


def test_reduction_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="Received: reduction=0"):
        ScSE(reduction=0)


def test_unknown_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a known number of channels"):
        ScSE().build((None, 8, 8, None))
