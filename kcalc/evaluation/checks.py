"""Checks that the statistics share: sequences enter, arrays or refusals leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
T = TypeVar("T")


class UndefinedStatisticError(ValueError):
    """The data are sound, but the statistic has no value for them, such as 0 / 0."""


def defined(statistic: Callable[[], T]) -> T | None:
    """Return a statistic, or None where the data give it no value.

    For tables that hold many statistics, of which one may have no value.

    Example:
        >>> from kcalc.evaluation.agreement import icc
        >>> defined(lambda: icc([[0, 0], [0, 0]], "2,1")) is None
        True
    """
    try:
        return statistic()
    except UndefinedStatisticError:
        return None


def checked_pairs(
    first: npt.ArrayLike, second: npt.ArrayLike, *, name: str, least: int = 2
) -> tuple[FloatArray, FloatArray]:
    """Return two samples of pairs as float64.

    Raises:
        ValueError: They are not of one length, or a value is not finite.
        UndefinedStatisticError: There are fewer than ``least`` pairs.
    """
    one, other = checked_sample(first, name), checked_sample(second, name)
    if one.size != other.size:
        raise ValueError(
            f"{name} needs pairs: two sequences of one length. Received: lengths "
            f"{one.size} and {other.size}"
        )
    _check_count(one.size, name, least)
    return one, other


def checked_sample(
    values: npt.ArrayLike, name: str, *, least: int = 0, ndim: int = 1
) -> FloatArray:
    """Return a sample as float64.

    Raises:
        ValueError: It has another number of axes, or a value is not finite.
        UndefinedStatisticError: There are fewer than ``least`` values.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != ndim:
        raise ValueError(
            f"{name} needs an array of {ndim} axes. Received: shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} needs finite values. Received: NaN or infinity")
    _check_count(len(array), name, least)
    return array


def checked_confidence(confidence: float) -> float:
    """Return a confidence level within (0, 1).

    Raises:
        ValueError: It is outside.
    """
    if not 0 < confidence < 1:
        raise ValueError(
            "confidence must lie between 0 and 1, such as 0.95. "
            f"Received: confidence={confidence}"
        )
    return confidence


def _check_count(count: int, name: str, least: int) -> None:
    if count < least:
        raise UndefinedStatisticError(
            f"{name} needs at least {least} cases. Received: {count}"
        )
