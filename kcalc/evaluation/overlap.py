"""Overlap of two masks: voxel counts of each image enter, Dice figures leave.

Only counts are kept of an image, so that thousands of scans are compared one at a
time.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcalc.evaluation.checks import FloatArray
from kcalc.evaluation.resampling import bootstrap_interval, sums_by_patient

NUM_VOLUME_GROUPS = 4


@dataclass(frozen=True, kw_only=True)
class ImageOverlap:
    """How many voxels of one image a reference and a result mark.

    Args:
        case: Name of the image.
        patient: Key of its patient; intervals are over patients.
        voxel_mm3: Volume of a voxel in mm3.
        voxels_reference: Voxels in the reference.
        voxels_result: Voxels in the result.
        voxels_both: Voxels in both.

    Raises:
        ValueError: More voxels in both than in one, a negative count, or a voxel
            without volume.
    """

    case: str
    patient: str
    voxel_mm3: float
    voxels_reference: int
    voxels_result: int
    voxels_both: int

    def __post_init__(self) -> None:
        if not 0 <= self.voxels_both <= min(self.voxels_reference, self.voxels_result):
            raise ValueError(
                "voxels_both must lie between 0 and the smaller mask. Received: "
                f"{self.voxels_both} of {self.voxels_reference} and "
                f"{self.voxels_result}"
            )
        if not (math.isfinite(self.voxel_mm3) and self.voxel_mm3 > 0):
            raise ValueError(
                f"voxel_mm3 must be above 0. Received: voxel_mm3={self.voxel_mm3}"
            )

    @property
    def dice(self) -> float:
        """Dice overlap of the image, see :func:`dice` for empty masks."""
        return dice(self.voxels_reference, self.voxels_result, self.voxels_both)

    @property
    def volume_reference_mm3(self) -> float:
        """Volume of the reference in mm3."""
        return self.voxels_reference * self.voxel_mm3

    @property
    def volume_result_mm3(self) -> float:
        """Volume of the result in mm3."""
        return self.voxels_result * self.voxel_mm3


def dice(voxels_reference: int, voxels_result: int, voxels_both: int) -> float:
    """Return the Dice overlap 2 |A and B| / (|A| + |B|), in [0, 1].

    An empty reference has no overlap to measure: the value is then 1 if the result is
    empty too, and 0 if it is not. Tables count such images.

    Args:
        voxels_reference: Voxels of the reference.
        voxels_result: Voxels of the result.
        voxels_both: Voxels of both.

    Example:
        >>> dice(4, 6, 3), dice(0, 0, 0), dice(0, 5, 0), dice(5, 0, 0)
        (0.6, 1.0, 0.0, 0.0)
    """
    either = voxels_reference + voxels_result
    return 2 * voxels_both / either if either else 1.0


def pooled_dice(rows: Sequence[ImageOverlap]) -> float:
    """Return the Dice of all voxels of all images together ("absolute Dice").

    1 where no image has a voxel in either mask.

    References:
        Bortsova G et al., MICCAI 2017 workshops, table 1: "without averaging over the
        images".
    """
    return dice(
        sum(row.voxels_reference for row in rows),
        sum(row.voxels_result for row in rows),
        sum(row.voxels_both for row in rows),
    )


def volume_groups(
    rows: Sequence[ImageOverlap], num_groups: int = NUM_VOLUME_GROUPS
) -> list[list[ImageOverlap]]:
    """Return the images in groups of equal size by rising reference volume.

    Images of one volume, such as those without calcium, are ordered by name, so that
    the order of the rows does not matter. Where the number of images is no multiple,
    the first groups have one image more.

    Args:
        rows: At least ``num_groups`` images.
        num_groups: Number of groups; 4 gives quarters.

    Raises:
        ValueError: There are fewer images than groups.
    """
    if not 1 <= num_groups <= len(rows):
        raise ValueError(
            f"There must be at least one image a group. Received: {len(rows)} images "
            f"for {num_groups} groups"
        )
    ordered = sorted(rows, key=lambda row: (row.volume_reference_mm3, row.case))
    parts = np.array_split(np.arange(len(ordered)), num_groups)
    return [[ordered[index] for index in part] for part in parts]


def dice_figures(rows: Sequence[ImageOverlap], *, seed: int = 0) -> dict[str, Any]:
    """Return the Dice figures of a set of images.

    Args:
        rows: At least one image.
        seed: Seed of the bootstrap.

    Returns:
        ``images``; ``pooled`` (:func:`pooled_dice`), ``mean`` and ``sd`` over images
        (n - 1; None of a single image), each of the first two with its 95 % bootstrap
        interval over patients; ``by_quarter``, ``"1"`` to ``"4"`` by rising
        reference volume, the mean of each with the volumes it spans (None below four
        images);
        ``empty_references``, images without a voxel in the reference, whose Dice is 1
        or 0, and ``of_these_empty_results``, those that count 1.

    Raises:
        ValueError: There is no image.
    """
    if not rows:
        raise ValueError("dice_figures needs at least one image. Received: none")
    scores = [row.dice for row in rows]
    empty = [row for row in rows if row.voxels_reference == 0]
    totals = sums_by_patient(
        [row.patient for row in rows],
        [
            (row.voxels_reference + row.voxels_result, 2 * row.voxels_both, row.dice, 1)
            for row in rows
        ],
    )
    return {
        "images": len(rows),
        "pooled": pooled_dice(rows),
        "pooled_interval": bootstrap_interval(totals, _pooled, seed=seed),
        "mean": statistics.fmean(scores),
        "mean_interval": bootstrap_interval(totals, _mean, seed=seed),
        "sd": statistics.stdev(scores) if len(scores) > 1 else None,
        "by_quarter": _by_quarter(rows) if len(rows) >= NUM_VOLUME_GROUPS else None,
        "empty_references": len(empty),
        "of_these_empty_results": sum(row.voxels_result == 0 for row in empty),
    }


def _by_quarter(rows: Sequence[ImageOverlap]) -> dict[str, dict[str, Any]]:
    return {
        str(place): {
            "images": len(group),
            "mean_dice": statistics.fmean(row.dice for row in group),
            "from_mm3": group[0].volume_reference_mm3,
            "to_mm3": group[-1].volume_reference_mm3,
        }
        for place, group in enumerate(volume_groups(rows), start=1)
    }


def _pooled(totals: FloatArray) -> FloatArray:
    either, both = totals[:, 0], totals[:, 1]
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def _mean(totals: FloatArray) -> FloatArray:
    return np.asarray(totals[:, 2] / totals[:, 3])
