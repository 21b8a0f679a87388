"""Tests of kcalc.losses.BootstrapIoU."""

from __future__ import annotations

import numpy as np
import pytest

from kcalc.losses import BootstrapCrossentropy, BootstrapIoU, SoftIoU
from kcalc.testing import check_loss


def test_bootstrap_iou_keeps_the_loss_contract() -> None:
    rng = np.random.default_rng(0)
    check_loss(BootstrapIoU(), rng.random((3, 4, 5, 1)) > 0.7, rng.random((3, 4, 5, 1)))


def test_loss_is_the_hand_worked_sum() -> None:
    # Truth 1, 0; p 0.5, 0.5. Cross-entropy: both means are ln 2.
    # Intersection 0.5, union 1 + 1 - 0.5 = 1.5; exp(-(0.5 + 1) / (1.5 + 1)).
    value = BootstrapIoU()(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]))
    assert float(value) == pytest.approx(0.693147 + 0.548812, abs=1e-5)


def test_arguments_reach_both_parts() -> None:
    rng = np.random.default_rng(1)
    truth, prediction = rng.random((4, 9)) > 0.5, rng.random((4, 9))
    first = BootstrapCrossentropy(threshold=0.6, alpha=0.3, beta=2.0)
    second = SoftIoU(form="linear", smooth_pixels=0.5)
    both = BootstrapIoU(0.6, 0.3, 2.0, "linear", 0.5)
    np.testing.assert_allclose(
        np.asarray(both.call(truth, prediction)),
        np.asarray(first.call(truth, prediction))
        + np.asarray(second.call(truth, prediction)),
        rtol=1e-6,
    )


def test_empty_truth_and_prediction_give_the_least_value() -> None:
    value = BootstrapIoU()(np.zeros((1, 3)), np.zeros((1, 3)))
    assert float(value) == pytest.approx(0.367879, abs=1e-6)


def test_empty_prediction_gives_the_documented_value() -> None:
    # 8.059048 + exp(-1 / 3) for two true pixels.
    value = BootstrapIoU()(np.array([[1.0, 1.0, 0.0]]), np.zeros((1, 3)))
    assert float(value) == pytest.approx(8.059048 + 0.716531, abs=1e-4)


def test_arguments_of_both_parts_are_checked_at_once() -> None:
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\]"):
        BootstrapIoU(threshold=2.0)
    with pytest.raises(ValueError, match="form must be one of"):
        BootstrapIoU(form="log")
