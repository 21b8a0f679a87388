"""The 2-D histogram of volumes: pairs enter, bins that hold equally many leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.evaluation.checks import FloatArray, checked_pairs

NUM_BINS = 10


@dataclass(frozen=True, eq=False)
class EqualBins:
    """Counts of images by bin of the reference and bin of the result.

    Every row and every column holds equally many images (one more in the first ones
    where their number is no multiple), so perfect agreement in rank is the diagonal
    whatever the distribution of the values.

    Args:
        counts: Images, (bins, bins): bin of the reference, bin of the result.
        reference_edges: Values at the borders of the reference's bins, (bins + 1,).
        result_edges: The same of the result.
    """

    counts: npt.NDArray[np.int64]
    reference_edges: FloatArray
    result_edges: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "counts": self.counts.tolist(),
            "reference_edges": self.reference_edges.tolist(),
            "result_edges": self.result_edges.tolist(),
        }


def equal_bins(
    reference: npt.ArrayLike, result: npt.ArrayLike, num_bins: int = NUM_BINS
) -> EqualBins:
    """Return the 2-D histogram of pairs with equally filled bins on either axis.

    Ties, such as images without calcium, are ordered by the other value, so that equal
    pairs fall on the diagonal.

    Args:
        reference: Value of each image by the reference.
        result: Value of the same images by the result.
        num_bins: Bins of each axis.

    Raises:
        ValueError: The lengths differ, a value is not finite, or ``num_bins`` is below
            1.
        UndefinedStatisticError: There are fewer images than bins.

    Example:
        >>> equal_bins([0, 0, 5, 9], [0, 1, 9, 5], 2).counts.tolist()
        [[2, 0], [0, 2]]
    """
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1. Received: {num_bins}")
    first, second = checked_pairs(
        reference, result, name="A histogram of bins", least=num_bins
    )
    reference_bin = _bins(first, second, num_bins)
    result_bin = _bins(second, first, num_bins)
    counts = np.zeros((num_bins, num_bins), np.int64)
    np.add.at(counts, (reference_bin, result_bin), 1)
    return EqualBins(
        counts,
        _edges(first, reference_bin, num_bins),
        _edges(second, result_bin, num_bins),
    )


def _bins(values: FloatArray, ties: FloatArray, num_bins: int) -> npt.NDArray[np.int64]:
    bins = np.empty(values.size, np.int64)
    for number, part in enumerate(np.array_split(np.lexsort((ties, values)), num_bins)):
        bins[part] = number
    return bins


def _edges(
    values: FloatArray, bins: npt.NDArray[np.int64], num_bins: int
) -> FloatArray:
    """Return the borders, halfway from the last of a bin to the first of the next."""
    lows = [values[bins == number].min() for number in range(num_bins)]
    highs = [values[bins == number].max() for number in range(num_bins)]
    inner = [(high + low) / 2 for high, low in zip(highs, lows[1:], strict=False)]
    return np.array([lows[0], *inner, highs[-1]])
