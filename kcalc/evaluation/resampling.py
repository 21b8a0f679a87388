"""Bootstrap over patients: sums of each patient enter, an interval leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.evaluation.checks import FloatArray, checked_confidence

NUM_RESAMPLES = 2000


def sums_by_patient(patients: Sequence[str], values: npt.ArrayLike) -> FloatArray:
    """Return the sums of each patient's images, (patients, parts), in order of key.

    Images of one patient are not independent: a bootstrap must draw patients.

    Args:
        patients: Patient of each image.
        values: (images, parts), numbers that add up, such as voxel counts.

    Example:
        >>> sums_by_patient(["b", "a", "b"], [[1], [2], [3]]).tolist()
        [[2.0], [4.0]]
    """
    parts = np.asarray(values, dtype=np.float64)
    keys, place = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    sums = np.zeros((keys.size, parts.shape[1]))
    np.add.at(sums, place, parts)
    return sums


def bootstrap_interval(
    totals: FloatArray,
    statistic: Callable[[FloatArray], npt.NDArray[Any]],
    *,
    confidence: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> list[float] | None:
    """Return the percentile bootstrap interval of a statistic of sums over patients.

    Patients are drawn with replacement, as many as there are. A resample in which the
    statistic has no value (NaN) is left out.

    Args:
        totals: (patients, parts) of :func:`sums_by_patient`.
        statistic: From sums (resamples, parts) to values (resamples,), vectorised.
        confidence: Level within (0, 1).
        num_resamples: Number of resamples.
        seed: Same seed, same interval.

    Returns:
        Lower and upper end; None for fewer than two patients, or where fewer than
        half of the resamples have a value.

    References:
        Efron B, Tibshirani RJ, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    checked_confidence(confidence)
    num_patients = len(totals)
    if num_patients < 2:
        return None
    rng = np.random.default_rng(seed)
    values = []
    # In blocks, so that a thousand patients need megabytes and not more.
    for start in range(0, num_resamples, 250):
        size = min(250, num_resamples - start)
        counts = rng.multinomial(
            num_patients, np.full(num_patients, 1 / num_patients), size=size
        )
        values.append(statistic(counts @ totals))
    drawn = np.concatenate(values)
    drawn = drawn[np.isfinite(drawn)]
    if 2 * drawn.size < num_resamples:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]).tolist()
    return [low, high]
