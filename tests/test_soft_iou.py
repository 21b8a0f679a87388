"""Tests of kcalc.losses.SoftIoU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcalc.losses import PooledOverBatch, SoftIoU, soft_iou
from kcalc.testing import check_loss

# Intersection 1.5, sum p 2, sum y 2, union 2.5: IoU 0.6, smoothed 2.5 / 3.5.
TRUTH = [1, 1, 0, 0]
PREDICTION = [1.0, 0.5, 0.5, 0.0]


def _loss(truth: Any, prediction: Any, **kwargs: Any) -> float:
    (value,) = np.asarray(soft_iou(np.array([truth]), np.array([prediction]), **kwargs))
    return float(value)


@pytest.mark.parametrize("form", ["exponential", "exponential_minus_one", "linear"])
def test_soft_iou_keeps_the_loss_contract(form: str) -> None:
    rng = np.random.default_rng(0)
    check_loss(
        SoftIoU(form=form),
        rng.random((3, 4, 5, 1)) > 0.7,
        rng.random((3, 4, 5, 1)),
    )


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("exponential", 0.548812),  # exp(-0.6)
        ("exponential_minus_one", 0.491825),  # exp(0.4) - 1
        ("linear", 0.4),
    ],
)
def test_forms_give_the_hand_worked_values(form: str, expected: float) -> None:
    value = _loss(TRUTH, PREDICTION, form=form, smooth_pixels=0)
    assert value == pytest.approx(expected, abs=1e-5)


def test_default_is_exponential_with_one_pixel_of_smoothing() -> None:
    # exp(-2.5 / 3.5).
    assert _loss(TRUTH, PREDICTION) == pytest.approx(0.489542, abs=1e-5)


def test_empty_truth_and_prediction_give_the_least_value() -> None:
    assert _loss([0, 0], [0.0, 0.0]) == pytest.approx(0.367879, abs=1e-6)
    assert _loss([0, 0], [0.0, 0.0], form="linear") == 0.0
    assert _loss([0, 0], [0.0, 0.0], form="exponential_minus_one") == 0.0


def test_empty_truth_gives_one_over_one_plus_the_predicted_pixels() -> None:
    # IoU = 1 / (1 + 3).
    assert _loss([0, 0, 0, 0], [1, 1, 0.5, 0.5], form="linear") == pytest.approx(0.75)


def test_empty_prediction_gives_one_over_one_plus_the_true_pixels() -> None:
    # IoU = 1 / (1 + 2).
    assert _loss([1, 1, 0], [0, 0, 0], form="linear") == pytest.approx(2 / 3)


def test_without_smoothing_empty_truth_costs_one_whatever_is_predicted() -> None:
    for prediction in ([0.0, 0.0], [0.5, 0.0], [1.0, 1.0]):
        assert _loss([0, 0], prediction, smooth_pixels=0) == 1.0


def test_on_empty_truth_less_predicted_calcium_is_better() -> None:
    values = [_loss([0] * 4, [p] * 4) for p in (0.0, 0.01, 0.1, 1.0)]
    assert values == sorted(values)
    assert values[-1] - values[0] > 0.4


def test_perfect_prediction_of_a_small_lesion_has_iou_one() -> None:
    assert _loss([1, 1, 1, 0], [1, 1, 1, 0], form="linear") == 0.0


def test_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="form must be one of"):
        SoftIoU(form="log")


def test_negative_smoothing_is_refused() -> None:
    with pytest.raises(ValueError, match="Received: smooth_pixels=-1"):
        SoftIoU(smooth_pixels=-1)


def test_labels_of_another_rank_are_refused() -> None:
    with pytest.raises(ValueError, match="the channel axis of the probabilities"):
        soft_iou(np.zeros((2, 4)), np.zeros((2, 4, 1)))


# Three voxels of three classes. Foreground: y = (1 0), (0 1), (0 0); p = (.5 .25),
# (.25 .75), (0 .5). Intersection .5 + .75, sum y 2, sum p 2.25, union 3.
CLASSES = [[1], [2], [0]]
SOFTMAX = [[0.25, 0.5, 0.25], [0.0, 0.25, 0.75], [0.5, 0.0, 0.5]]


def test_foreground_classes_are_pooled_into_one_ratio() -> None:
    value = _loss(CLASSES, SOFTMAX, form="linear", smooth_pixels=0, classes=3)
    assert value == pytest.approx(1 - 1.25 / 3, abs=1e-6)


def test_class_numbers_and_one_hot_labels_give_the_same() -> None:
    one_hot = np.eye(3)[np.ravel(CLASSES)]
    assert _loss(one_hot, SOFTMAX, classes=3) == _loss(CLASSES, SOFTMAX, classes=3)


def test_two_classes_give_what_the_probability_of_one_gives() -> None:
    truth, probability = np.array(TRUTH)[:, None], np.array(PREDICTION)[:, None]
    softmax = np.concatenate([1 - probability, probability], axis=1)
    assert _loss(truth, softmax, classes=2) == _loss(truth, probability)


def test_voxels_that_are_not_supervised_are_left_out() -> None:
    labels, softmax = [*CLASSES, [255]], [*SOFTMAX, [0.0, 1.0, 0.0]]
    assert _loss(labels, softmax, classes=3) == _loss(CLASSES, SOFTMAX, classes=3)
    # None at all: truth and prediction empty.
    assert _loss([[255]], [[0.0, 1.0, 0.0]], form="linear", classes=3) == 0.0


def test_edges_of_several_classes_are_those_of_one() -> None:
    background = [[1.0, 0.0, 0.0]] * 3
    linear = {"form": "linear", "classes": 3}
    assert _loss([[0]] * 3, background, **linear) == 0.0
    # Prediction empty, two voxels true: IoU 1 / (1 + 2).
    assert _loss(CLASSES, background, **linear) == pytest.approx(2 / 3)
    # Truth empty, three voxels predicted: IoU 1 / (1 + 3).
    assert _loss([[0]] * 3, [[0.0, 0.5, 0.5]] * 3, **linear) == pytest.approx(0.75)
    # One foreground class taken for the other: counted twice in the union.
    swapped = _loss([[1]], [[0.0, 0.0, 1.0]], smooth_pixels=1, **linear)
    assert swapped == pytest.approx(1 - 1 / 3)
    assert _loss([[1]], [[0.0, 0.0, 1.0]], smooth_pixels=0, **linear) == 1.0


def test_loss_of_several_classes_survives_its_config() -> None:
    loss = SoftIoU("linear", smooth_pixels=0, classes=3)
    again = SoftIoU.from_config(loss.get_config())
    labels, softmax = np.array([CLASSES]), np.array([SOFTMAX])
    assert float(again(labels, softmax)) == float(loss(labels, softmax))


def test_fewer_classes_than_the_softmax_has_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(batch, \.\.\., 2\)"):
        _loss(CLASSES, SOFTMAX, classes=2)
    with pytest.raises(ValueError, match="Received: classes=1"):
        SoftIoU(classes=1)


def test_several_classes_pool_over_the_batch_too() -> None:
    # A block without foreground adds its 0.5 predicted to the one union of 3.
    labels = np.array([CLASSES, [[0]] * 3])
    softmax = np.array([SOFTMAX, [[0.5, 0.5, 0.0], [1, 0, 0], [1, 0, 0]]])
    loss = PooledOverBatch(SoftIoU("linear", smooth_pixels=0, classes=3))
    assert float(loss(labels, softmax)) == pytest.approx(1 - 1.25 / 3.5, abs=1e-6)
