"""Tests of a difference: values of two methods enter, t, p and an interval leave."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.evaluation.checks import (
    UndefinedStatisticError,
    checked_confidence,
    checked_pairs,
    checked_sample,
)


@dataclass(frozen=True)
class TTest:
    """A two-sided t-test of the difference first minus second.

    Args:
        difference: Mean of the first minus mean of the second.
        low: Lower end of the difference's interval.
        high: Upper end.
        t: Test statistic.
        degrees_of_freedom: n - 1 of a paired test, Welch's of an unpaired one.
        p: Two-sided p-value.
        size: Values of each method.
        confidence: Level of the interval.
    """

    difference: float
    low: float
    high: float
    t: float
    degrees_of_freedom: float
    p: float
    size: tuple[int, int]
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return {**asdict(self), "size": list(self.size)}


def paired_t_test(
    first: npt.ArrayLike, second: npt.ArrayLike, *, confidence: float = 0.95
) -> TTest:
    """Return Student's paired t-test, for two methods on the same images.

    Args:
        first: Value of each image by one method, such as its Dice.
        second: Value of the same images, in the same order, by the other.
        confidence: Level of the interval of the mean difference.

    Returns:
        The test of first minus second. Where both are equal on every image, t is 0
        and p is 1.

    Raises:
        ValueError: The lengths differ, or a value is not finite.
        UndefinedStatisticError: There are fewer than two images, or all differ by the
            same amount, so that t is infinite, or by too little to be squared.

    Example:
        >>> round(paired_t_test([3, 5, 4, 6], [1, 4, 4, 5]).p, 4)
        0.0917
    """
    from scipy.stats import ttest_rel

    one, other = checked_pairs(first, second, name="A paired t-test")
    level = checked_confidence(confidence)
    size, differences = (one.size, other.size), one - other
    if not differences.any():
        return TTest(0.0, 0.0, 0.0, 0.0, one.size - 1.0, 1.0, size, level)
    if np.ptp(differences) <= 1e-9 * np.abs(differences).max():
        raise UndefinedStatisticError(
            "A paired t-test needs differences that vary. Received: "
            f"{one.size} images that all differ by {differences[0]:g}"
        )
    return _of(ttest_rel(one, other), float(differences.mean()), size, level)


def welch_t_test(
    first: npt.ArrayLike, second: npt.ArrayLike, *, confidence: float = 0.95
) -> TTest:
    """Return Welch's t-test, for two methods on different images or repeats.

    Args:
        first: Values of one method.
        second: Values of the other, in no relation to the first.
        confidence: Level of the interval of the difference of means.

    Raises:
        ValueError: A value is not finite.
        UndefinedStatisticError: A method has fewer than two values, or neither varies.

    References:
        Welch BL, Biometrika 1947, doi 10.1093/biomet/34.1-2.28.
    """
    from scipy.stats import ttest_ind

    one = checked_sample(first, "Welch's t-test", least=2)
    other = checked_sample(second, "Welch's t-test", least=2)
    level = checked_confidence(confidence)
    if not (np.ptp(one) or np.ptp(other)):
        raise UndefinedStatisticError(
            "Welch's t-test needs values that vary. Received: "
            f"{one.size} times {one[0]:g} and {other.size} times {other[0]:g}"
        )
    return _of(
        ttest_ind(one, other, equal_var=False),
        float(one.mean() - other.mean()),
        (one.size, other.size),
        level,
    )


def _of(result: Any, difference: float, size: tuple[int, int], level: float) -> TTest:
    if not math.isfinite(result.pvalue):
        raise UndefinedStatisticError(
            "A t-test needs values that vary by more than floating point resolves. "
            f"Received: a difference of {difference:g} with t = {result.statistic:g}"
        )
    interval = result.confidence_interval(level)
    return TTest(
        difference=difference,
        low=float(interval.low),
        high=float(interval.high),
        t=float(result.statistic),
        degrees_of_freedom=float(result.df),
        p=float(result.pvalue),
        size=size,
        confidence=level,
    )
