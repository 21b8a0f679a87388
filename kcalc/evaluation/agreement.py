"""Agreement of two readers on a number: ratings enter, ICC and Bland-Altman leave."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kcalc.evaluation.checks import (
    UndefinedStatisticError,
    checked_confidence,
    checked_pairs,
    checked_sample,
)

LIMITS_SD = 1.96
"""Half width of the limits of agreement in SD of the differences."""

Variant = Literal["2,1", "3,1"]


@dataclass(frozen=True)
class IntraclassCorrelation:
    """An intraclass correlation of single ratings with its interval.

    Args:
        variant: ``"2,1"`` (absolute agreement) or ``"3,1"`` (consistency).
        value: At most 1; below 0 where raters differ more than subjects do.
        low: Lower end of the interval.
        high: Upper end.
        confidence: Its level.
        subjects: Number of subjects.
        raters: Number of raters.
    """

    variant: str
    value: float
    low: float
    high: float
    confidence: float
    subjects: int
    raters: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)


def icc(
    ratings: npt.ArrayLike, variant: Variant, *, confidence: float = 0.95
) -> IntraclassCorrelation:
    """Return the intraclass correlation of single ratings, two-way.

    With the mean squares MSR of subjects, MSC of raters and MSE of the rest, n
    subjects and k raters: ICC(2,1) = (MSR - MSE) / (MSR + (k - 1) MSE + k (MSC - MSE)
    / n), which counts a constant difference between raters as disagreement, and
    ICC(3,1) = (MSR - MSE) / (MSR + (k - 1) MSE), which does not.

    Args:
        ratings: (subjects, raters), at least two of each, without gaps.
        variant: ``"2,1"`` or ``"3,1"``.
        confidence: Level of the interval.

    Raises:
        ValueError: The shape or the variant is another, or a rating is not finite.
        UndefinedStatisticError: There are fewer than two subjects, or no rater tells
            one subject from another: 0 / 0.

    Example:
        >>> round(icc([[1, 1], [2, 2], [3, 4]], "3,1").value, 6)
        0.9

    References:
        Shrout PE, Fleiss JL, Psychol Bull 1979, doi 10.1037/0033-2909.86.2.420; the
        intervals are those of ICC(A,1) and ICC(C,1) of McGraw KO, Wong SP, Psychol
        Methods 1996, doi 10.1037/1082-989X.1.1.30, table 7.
    """
    if variant not in ("2,1", "3,1"):
        raise ValueError(f"variant must be '2,1' or '3,1'. Received: {variant!r}")
    table = checked_sample(ratings, "ICC", least=2, ndim=2)
    level = checked_confidence(confidence)
    subjects, raters = table.shape
    if raters < 2:
        raise ValueError(f"ICC needs at least two raters. Received: {raters}")
    if not np.ptp(table, axis=0).any():
        raise UndefinedStatisticError(
            "ICC needs subjects that differ. Received: "
            f"{subjects} subjects that each rater rates alike"
        )
    by_subject = table.mean(axis=1, keepdims=True)
    by_rater = table.mean(axis=0, keepdims=True)
    rest = table - by_subject - by_rater + table.mean()
    ms_subjects = raters * float(by_subject.var(ddof=1))
    ms_raters = subjects * float(by_rater.var(ddof=1))
    ms_rest = float((rest**2).sum()) / ((subjects - 1) * (raters - 1))
    make = _absolute if variant == "2,1" else _consistent
    value, low, high = make(ms_subjects, ms_raters, ms_rest, subjects, raters, level)
    return IntraclassCorrelation(variant, value, low, high, level, subjects, raters)


def _consistent(
    msr: float, msc: float, mse: float, n: int, k: int, level: float
) -> tuple[float, float, float]:
    """Return ICC(3,1) with the ends of its interval."""
    from scipy.stats import f

    value = (msr - mse) / (msr + (k - 1) * mse)
    if mse <= 1e-14 * msr:
        return 1.0, 1.0, 1.0
    quantile, df_subjects, df_rest = (1 + level) / 2, n - 1, (n - 1) * (k - 1)
    lower = msr / mse / f.ppf(quantile, df_subjects, df_rest)
    upper = msr / mse * f.ppf(quantile, df_rest, df_subjects)
    low, high = (lower - 1) / (lower + k - 1), (upper - 1) / (upper + k - 1)
    return value, float(low), float(high)


def _absolute(
    msr: float, msc: float, mse: float, n: int, k: int, level: float
) -> tuple[float, float, float]:
    """Return ICC(2,1) with the ends of its interval."""
    from scipy.stats import f

    whole = msr + (k - 1) * mse + k * (msc - mse) / n
    if whole <= 1e-14 * mse:
        raise UndefinedStatisticError(
            "ICC(2,1) has no value where subjects and raters have the same mean."
        )
    value = (msr - mse) / whole
    if mse + msc <= 1e-14 * msr:
        return 1.0, 1.0, 1.0
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    if abs(a * msc + b * mse) <= 1e-14 * (msc + mse):
        raise UndefinedStatisticError("The interval of this ICC(2,1) has no value.")
    df = (a * msc + b * mse) ** 2 / (
        (a * msc) ** 2 / (k - 1) + (b * mse) ** 2 / ((n - 1) * (k - 1))
    )
    quantile, rest = (1 + level) / 2, k * msc + (k * n - k - n) * mse
    over, under = f.ppf(quantile, n - 1, df), f.ppf(quantile, df, n - 1)
    low = n * (msr - over * mse) / (over * rest + n * msr)
    high = n * (under * msr - mse) / (rest + n * under * msr)
    return value, float(low), float(high)


@dataclass(frozen=True)
class BlandAltman:
    """Bias and limits of agreement of result minus reference, with intervals.

    On the scale ``"log1p"`` they are of log(result + 1) - log(reference + 1); their
    exponentials are ratios of (value + 1).

    Args:
        bias: Mean difference.
        sd: SD of the differences (n - 1).
        low: Lower limit of agreement, bias - 1.96 SD.
        high: Upper limit.
        bias_interval: Interval of the bias.
        low_interval: Interval of the lower limit.
        high_interval: Interval of the upper limit.
        confidence: Level of the intervals.
        pairs: Number of pairs.
        scale: ``"linear"`` or ``"log1p"``.
    """

    bias: float
    sd: float
    low: float
    high: float
    bias_interval: tuple[float, float]
    low_interval: tuple[float, float]
    high_interval: tuple[float, float]
    confidence: float
    pairs: int
    scale: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON, on ``"log1p"`` as ratios too."""
        plain = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
        if self.scale == "log1p":
            plain["ratio"] = math.exp(self.bias)
            plain["ratio_interval"] = [math.exp(end) for end in self.bias_interval]
            plain["ratio_limits"] = [math.exp(self.low), math.exp(self.high)]
        return plain


def bland_altman(
    reference: npt.ArrayLike,
    result: npt.ArrayLike,
    *,
    scale: Literal["linear", "log1p"] = "linear",
    confidence: float = 0.95,
) -> BlandAltman:
    """Return bias and limits of agreement of a result against a reference.

    Args:
        reference: Value of each subject by the reference.
        result: Value of the same subjects by the other reader.
        scale: ``"log1p"`` compares log(x + 1), for scores whose differences grow with
            the score; values must then be at least 0.
        confidence: Level of the intervals, with t of n - 1 degrees of freedom and the
            limits' variance SD^2 (1 / n + 1.96^2 / (2 (n - 1))).

    Raises:
        ValueError: The lengths differ, a value is not finite, or negative on
            ``"log1p"``.
        UndefinedStatisticError: There are fewer than two subjects.

    Example:
        >>> bland_altman([10, 20, 30], [12, 21, 33]).bias
        2.0

    References:
        Bland JM, Altman DG, Lancet 1986, doi 10.1016/S0140-6736(86)90837-8; Stat
        Methods Med Res 1999, doi 10.1177/096228029900800204.
    """
    from scipy.stats import t

    if scale not in ("linear", "log1p"):
        raise ValueError(f"scale must be 'linear' or 'log1p'. Received: {scale!r}")
    first, second = checked_pairs(reference, result, name="Bland-Altman")
    level = checked_confidence(confidence)
    if scale == "log1p":
        if min(first.min(), second.min()) < 0:
            raise ValueError(
                "The scale 'log1p' needs values of at least 0. Received: "
                f"{min(first.min(), second.min()):g}"
            )
        first, second = np.log1p(first), np.log1p(second)
    difference = second - first
    n = difference.size
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    quantile = float(t.ppf((1 + level) / 2, n - 1))
    half_bias = quantile * sd / math.sqrt(n)
    half_limit = quantile * sd * math.sqrt(1 / n + LIMITS_SD**2 / (2 * (n - 1)))
    low, high = bias - LIMITS_SD * sd, bias + LIMITS_SD * sd
    return BlandAltman(
        bias=bias,
        sd=sd,
        low=low,
        high=high,
        bias_interval=(bias - half_bias, bias + half_bias),
        low_interval=(low - half_limit, low + half_limit),
        high_interval=(high - half_limit, high + half_limit),
        confidence=level,
        pairs=n,
        scale=scale,
    )
