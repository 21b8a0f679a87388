"""Tests of kcalc.losses.WeightedCrossentropy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kcalc.losses import WeightedCrossentropy, weighted_crossentropy

LABELS = [[0], [0], [1]]
SOFTMAX = [[0.5, 0.5], [1.0, 0.0], [0.75, 0.25]]
LOG2 = float(np.log(2))


def _loss(labels: Any, softmax: Any, weights: Any) -> float:
    (value,) = np.asarray(
        weighted_crossentropy(
            np.array([labels]), np.array([softmax]), class_weights=weights
        )
    )
    return float(value)


def test_weights_give_the_hand_worked_mean() -> None:
    # Costs ln 2, 0 and 2 ln 2 with weights 1, 1 and 3.
    assert _loss(LABELS, SOFTMAX, (1, 3)) == pytest.approx(7 * LOG2 / 5, abs=1e-6)


def test_equal_weights_give_keras_plain_crossentropy() -> None:
    keras_own = keras.losses.SparseCategoricalCrossentropy()
    expected = float(keras_own(np.ravel(LABELS), np.array(SOFTMAX)))
    for weights in ((1, 1), (5, 5)):
        assert _loss(LABELS, SOFTMAX, weights) == pytest.approx(expected, abs=1e-5)


def test_voxels_that_are_not_supervised_cost_nothing() -> None:
    with_unknown = _loss([*LABELS, [255]], [*SOFTMAX, [0.0, 1.0]], (1, 3))
    assert with_unknown == _loss(LABELS, SOFTMAX, (1, 3))


def test_edges_are_those_of_the_docstring() -> None:
    assert _loss([[255]], [[0.5, 0.5]], (1, 3)) == 0.0
    assert _loss([[1]], [[0.5, 0.5]], (1, 0)) == 0.0
    assert _loss([[1]], [[0.5, 0.5]], (1, 3)) == pytest.approx(LOG2)
    assert _loss([[1]], [[1.0, 0.0]], (1, 3)) == pytest.approx(16.118, abs=1e-3)


def test_one_value_a_sample_and_the_same_after_its_config() -> None:
    labels, softmax = np.array([LABELS, LABELS[::-1]]), np.array([SOFTMAX, SOFTMAX])
    loss = WeightedCrossentropy((1, 3))
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    values = np.asarray(again.call(labels, softmax))
    assert values.shape == (2,) and values.dtype == np.float32
    assert float(loss(labels, softmax)) == pytest.approx(float(values.mean()))


@pytest.mark.parametrize("weights", [(1,), (0, 0), (1, -1)])
def test_weights_that_are_none_are_refused(weights: Any) -> None:
    with pytest.raises(ValueError, match="Received: class"):
        WeightedCrossentropy(weights)
