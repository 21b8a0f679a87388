"""Tests of kcalc.losses.BootstrapCrossentropy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kcalc.losses import BootstrapCrossentropy, bootstrap_crossentropy
from kcalc.testing import check_loss

LN2 = 0.693147  # -log(0.5)
LN_4_5 = 0.223144  # -log(0.8)


def _loss(truth: Any, prediction: Any, **kwargs: Any) -> float:
    (value,) = np.asarray(
        bootstrap_crossentropy(np.array([truth]), np.array([prediction]), **kwargs)
    )
    return float(value)


@pytest.mark.parametrize("alpha", [None, 0.7])
def test_bootstrap_crossentropy_keeps_the_loss_contract(alpha: float | None) -> None:
    rng = np.random.default_rng(0)
    check_loss(
        BootstrapCrossentropy(alpha=alpha, beta=alpha),
        rng.random((3, 4, 5, 1)) > 0.7,
        rng.random((3, 4, 5, 1)),
    )


def test_balanced_loss_is_the_mean_of_both_class_means() -> None:
    # Kept background: 0.5 and 0.2; 0.05 is easy (0.95 >= 0.9).
    # Calcium: ln 2. Background: (ln 2 + 0.223144) / 2 = 0.458145.
    value = _loss([1, 0, 0, 0], [0.5, 0.5, 0.2, 0.05])
    assert value == pytest.approx((LN2 + 0.458145) / 2, abs=1e-5)


def test_constant_weights_divide_by_the_kept_pixels() -> None:
    # |K| = 3: (2 ln 2 + 0.5 (ln 2 + 0.223144)) / 3.
    value = _loss([1, 0, 0, 0], [0.5, 0.5, 0.2, 0.05], alpha=2.0, beta=0.5)
    assert value == pytest.approx(0.614813, abs=1e-5)


def test_balance_equals_the_constants_of_the_formula() -> None:
    # |K| = 3, one calcium, two kept background: alpha 3/2, beta 3/4.
    truth, prediction = [1, 0, 0, 0], [0.5, 0.5, 0.2, 0.05]
    assert _loss(truth, prediction) == pytest.approx(
        _loss(truth, prediction, alpha=1.5, beta=0.75), abs=1e-6
    )


def test_easy_background_does_not_matter() -> None:
    # Both below 0.1, whatever they are.
    assert _loss([1, 0, 0], [0.3, 0.6, 0.09]) == _loss([1, 0, 0], [0.3, 0.6, 0.0])


def test_easy_calcium_always_matters() -> None:
    # 0.99 is certain, and kept: half of -log 0.99.
    assert _loss([1, 0], [0.99, 0.0]) == pytest.approx(0.00502517, abs=1e-6)


def test_background_at_the_threshold_is_left_out() -> None:
    assert _loss([0, 0], [0.5, 0.2], threshold=0.5) == 0.0
    assert _loss([0, 0], [0.5, 0.2], threshold=0.51) == pytest.approx(LN2, abs=1e-5)


def test_empty_truth_gives_the_mean_over_hard_background() -> None:
    value = _loss([0, 0, 0, 0], [0.5, 0.2, 0.05, 0.0])
    assert value == pytest.approx((LN2 + LN_4_5) / 2, abs=1e-5)


def test_empty_truth_and_empty_prediction_give_zero() -> None:
    assert _loss([0, 0, 0], [0.0, 0.0, 0.0]) == 0.0
    assert _loss([0, 0, 0], [0.0, 0.0, 0.0], alpha=1.0, beta=1.0) == 0.0


def test_empty_prediction_gives_half_the_largest_crossentropy() -> None:
    # -log(1e-7) / 2.
    assert _loss([1, 0], [0.0, 0.0]) == pytest.approx(8.059048, abs=1e-4)


def test_calcium_everywhere_gives_its_whole_mean() -> None:
    assert _loss([1, 1], [0.5, 0.5]) == pytest.approx(LN2, abs=1e-5)


def test_one_sample_is_not_balanced_with_another() -> None:
    values = bootstrap_crossentropy(
        np.array([[1, 0], [0, 0]]), np.array([[0.5, 0.0], [0.0, 0.2]])
    )
    np.testing.assert_allclose(np.asarray(values), [LN2 / 2, LN_4_5], atol=1e-5)


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.1, float("nan")])
def test_threshold_outside_zero_and_one_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\]"):
        BootstrapCrossentropy(threshold=threshold)


def test_one_constant_without_the_other_is_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha=1\.0, beta=None"):
        BootstrapCrossentropy(alpha=1.0)


def test_negative_constants_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        BootstrapCrossentropy(alpha=1.0, beta=-1.0)


def test_labels_of_another_rank_are_refused() -> None:
    with pytest.raises(ValueError, match=r"y_true \(2, 4\), y_pred \(2, 4, 1\)"):
        bootstrap_crossentropy(np.zeros((2, 4)), np.zeros((2, 4, 1)))
