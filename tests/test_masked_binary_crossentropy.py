"""Tests of kcalc.losses.MaskedBinaryCrossentropy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kcalc.losses import MaskedBinaryCrossentropy, masked_binary_crossentropy
from kcalc.testing import check_loss

LN2 = 0.693147  # -log(0.5)
LN_4_5 = 0.223144  # -log(0.8)
LN_1_5 = 1.609438  # -log(0.2)


def _loss(truth: Any, prediction: Any, **kwargs: Any) -> float:
    (value,) = np.asarray(
        masked_binary_crossentropy(
            np.array([truth], np.uint8), np.array([prediction], np.float32), **kwargs
        )
    )
    return float(value)


@pytest.mark.parametrize("positive_weight", [1.0, 1000.0])
def test_masked_binary_crossentropy_keeps_the_loss_contract(
    positive_weight: float,
) -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 255], (3, 2, 4, 5, 1), p=[0.5, 0.2, 0.3])
    prediction = rng.random((3, 2, 4, 5, 1))
    check_loss(MaskedBinaryCrossentropy(positive_weight), truth, prediction)


def test_the_mean_is_over_supervised_voxels_alone() -> None:
    # Two voxels: -log 0.8 and -log(1 - 0.5); what the others predict does not matter.
    for unsupervised in ([0.9, 0.0], [0.1, 1.0]):
        value = _loss([1, 0, 255, 255], [0.8, 0.5, *unsupervised])
        assert value == pytest.approx((LN_4_5 + LN2) / 2, abs=1e-5)


def test_the_positive_weight_counts_in_sum_and_divisor() -> None:
    # (3 * 0.223144 + 0.693147 + 1.609438) / (3 + 1 + 1).
    value = _loss([1, 0, 0, 255], [0.8, 0.5, 0.8, 0.3], positive_weight=3.0)
    assert value == pytest.approx(0.594403, abs=1e-5)


def test_a_thousand_makes_one_positive_count_as_a_thousand_negatives() -> None:
    # One positive at 0.8 and 1000 negatives at 0.5: the mean of the two means.
    value = _loss([1] + [0] * 1000, [0.8] + [0.5] * 1000, positive_weight=1000.0)
    assert value == pytest.approx((LN_4_5 + LN2) / 2, abs=1e-5)


def test_the_papers_sum_is_not_divided() -> None:
    # 3 * 0.223144 + 0.693147 + 1.609438.
    value = _loss([1, 0, 0, 255], [0.8, 0.5, 0.8, 0.3], positive_weight=3.0, total=True)
    assert value == pytest.approx(2.972017, abs=1e-5)


def test_reduction_sum_is_the_papers_sum_over_the_batch_too() -> None:
    truth = np.array([[1, 0], [0, 255]], np.uint8)
    prediction = np.array([[0.8, 0.5], [0.8, 0.9]], np.float32)
    loss = MaskedBinaryCrossentropy(reduction="sum")
    assert float(loss(truth, prediction)) == pytest.approx(
        LN_4_5 + LN2 + LN_1_5, abs=1e-5
    )
    mean = MaskedBinaryCrossentropy()
    # Each sample is a mean of its own: (0.223144 + 0.693147) / 2 and 1.609438.
    assert float(mean(truth, prediction)) == pytest.approx(
        (0.458146 + LN_1_5) / 2, abs=1e-5
    )
    each = MaskedBinaryCrossentropy(reduction=None)
    np.testing.assert_allclose(
        np.asarray(each(truth, prediction)), [0.458146, LN_1_5], atol=1e-5
    )


def test_logits_give_what_their_probabilities_give() -> None:
    truth = [1, 1, 0, 0, 255]
    logits = np.array([-3.0, 2.0, -1.0, 4.0, 9.0])
    value = _loss(truth, logits, from_logits=True, positive_weight=5.0)
    probabilities = 1 / (1 + np.exp(-logits))
    assert value == pytest.approx(
        _loss(truth, probabilities, positive_weight=5.0), rel=1e-5
    )
    # A certain mistake costs its logit, without overflow.
    assert _loss([1, 0], [-500.0, 500.0], from_logits=True) == pytest.approx(500.0)


@pytest.mark.parametrize("total", [False, True])
def test_without_supervised_voxels_loss_and_gradient_are_zero(total: bool) -> None:
    import tensorflow as tf

    prediction = tf.Variable([[0.3, 0.0, 1.0]])
    with tf.GradientTape() as tape:
        value = masked_binary_crossentropy(
            np.full((1, 3), 255, np.uint8), prediction, total=total
        )
    assert value.numpy().tolist() == [0.0]
    assert tape.gradient(value, prediction).numpy().tolist() == [[0.0, 0.0, 0.0]]


def test_only_supervised_voxels_have_a_gradient() -> None:
    import tensorflow as tf

    prediction = tf.Variable([[0.5, 0.5, 0.5, 0.5]])
    with tf.GradientTape() as tape:
        value = masked_binary_crossentropy(
            np.array([[1, 0, 255, 0]], np.uint8), prediction, positive_weight=2.0
        )
    # d(-log p)/dp = -2, weighted 2 of 4; d(-log(1-p))/dp = 2, weighted 1 of 4.
    np.testing.assert_allclose(
        tape.gradient(value, prediction).numpy(), [[-1.0, 0.5, 0.0, 0.5]], rtol=1e-5
    )


def test_all_negative_is_the_mean_over_the_negatives_whatever_the_weight() -> None:
    for weight in (1.0, 1000.0):
        value = _loss([0, 0, 255], [0.5, 0.2, 0.9], positive_weight=weight)
        assert value == pytest.approx((LN2 + LN_4_5) / 2, abs=1e-5)


def test_all_positive_is_the_mean_over_the_positives_whatever_the_weight() -> None:
    for weight in (1.0, 1000.0):
        value = _loss([1, 1, 255], [0.5, 0.8, 0.9], positive_weight=weight)
        assert value == pytest.approx((LN2 + LN_4_5) / 2, abs=1e-5)


def test_certain_mistakes_cost_the_clipped_logarithm() -> None:
    # -log(1e-7); for a negative 1 - (1 - 1e-7) as float32 has it, 1.19e-7.
    assert _loss([1], [0.0]) == pytest.approx(16.1181, abs=1e-3)
    assert _loss([0], [1.0]) == pytest.approx(15.9424, abs=1e-3)
    assert _loss([1, 0], [1.0, 0.0]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.float16])
def test_labels_of_every_type_mean_the_same(dtype: Any) -> None:
    truth = np.array([[1, 0, 255]]).astype(dtype)
    value = MaskedBinaryCrossentropy()(truth, np.array([[0.8, 0.5, 0.1]], np.float32))
    assert float(value) == pytest.approx((LN_4_5 + LN2) / 2, abs=1e-5)


def test_half_precision_predictions_are_reduced_in_float32() -> None:
    # 70 000 voxels of 0.6931: their sum, 48 520, and their number overflow no float32,
    # but stand still or overflow in 16 bits.
    truth = np.zeros((1, 70_000), np.uint8)
    for dtype in ("float16", "bfloat16"):
        prediction = keras.ops.full((1, 70_000), 0.5, dtype=dtype)
        value = masked_binary_crossentropy(truth, prediction)
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        assert float(value[0]) == pytest.approx(LN2, rel=1e-5)


def test_the_weight_is_a_variable_that_changes_a_compiled_loss() -> None:
    loss = MaskedBinaryCrossentropy(positive_weight=1000.0)
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    model.compile("sgd", loss)
    x, y = np.array([[0.8, 0.2]]), np.array([[1, 1]], np.uint8)
    truth = np.array([[1, 0]], np.uint8)
    prediction = np.array([[0.8, 0.5]])
    assert model.test_on_batch(x, y) == pytest.approx((LN_4_5 + LN_1_5) / 2, abs=1e-5)
    # (1000 * 0.223144 + 0.693147) / 1001, then (0.223144 + 0.693147) / 2.
    assert model.test_on_batch(prediction, truth) == pytest.approx(0.223614, abs=1e-5)
    loss.positive_weight.assign(1.0)
    assert model.test_on_batch(prediction, truth) == pytest.approx(0.458146, abs=1e-5)


def test_the_config_has_the_weight_of_now() -> None:
    loss = MaskedBinaryCrossentropy(positive_weight=1000.0, from_logits=True)
    loss.positive_weight.assign(7.0)
    config = loss.get_config()
    assert config["positive_weight"] == 7.0 and config["from_logits"] is True


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_a_weight_that_is_not_positive_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="positive_weight must be above 0"):
        MaskedBinaryCrossentropy(weight)
    with pytest.raises(ValueError, match="positive_weight must be above 0"):
        _loss([1], [0.5], positive_weight=weight)


def test_labels_of_another_rank_are_refused() -> None:
    with pytest.raises(ValueError, match=r"y_true \(2, 4\), y_pred \(2, 4, 1\)"):
        masked_binary_crossentropy(np.zeros((2, 4)), np.zeros((2, 4, 1)))
