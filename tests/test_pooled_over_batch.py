"""Tests of kcalc.losses.PooledOverBatch; several replicas: test_training_step.py."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kcalc.losses import MaskedBinaryCrossentropy, PooledOverBatch, SoftIoU
from kcalc.training import StepChange
from kcalc.training.objective import set_scheduled

TRUTH = np.array([[1, 1, 0, 0], [0, 0, 0, 0]], "float32").reshape(2, 4, 1)
HALF = np.array([[1, 0, 0, 0], [1, 0, 0, 0]], "float32").reshape(2, 4, 1)


def test_the_batch_counts_as_one_sample() -> None:
    linear = SoftIoU(form="linear", smooth_pixels=0, reduction=None)
    # Over the batch 1 pixel of 3 in common; by sample 1 of 2 and 0 of 1.
    pooled = PooledOverBatch(linear, reduction=None)(TRUTH, HALF)
    np.testing.assert_allclose(pooled, [2 / 3, 2 / 3], atol=1e-6)
    np.testing.assert_allclose(linear(TRUTH, HALF), [1 / 2, 1.0], atol=1e-6)


def test_a_loss_with_a_value_a_pixel_is_averaged() -> None:
    pooled = PooledOverBatch(keras.losses.BinaryCrossentropy())
    found = float(pooled(TRUTH, np.full_like(TRUTH, 0.5)))
    assert found == pytest.approx(np.log(2), abs=1e-6)


def test_its_config_makes_the_same_loss() -> None:
    pooled = PooledOverBatch(SoftIoU(form="linear"), name="other")
    again = keras.losses.deserialize(keras.losses.serialize(pooled))
    assert isinstance(again, PooledOverBatch) and again.name == "other"
    assert again.loss.form == "linear"
    assert float(again(TRUTH, HALF)) == float(pooled(TRUTH, HALF))


def test_a_schedule_reaches_the_variable_of_the_pooled_loss() -> None:
    pooled = PooledOverBatch(MaskedBinaryCrossentropy())
    set_scheduled(pooled, {"positive_weight": StepChange(5.0, 1.0, 1)}, epoch=0)
    assert float(pooled.loss.positive_weight) == 5.0
