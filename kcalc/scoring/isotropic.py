"""Volume after interpolation to isotropic voxels: HU and lesions in, mm3 out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.scoring import checks, presets
from kcalc.scoring.components import find_components, reaches_threshold
from kcalc.scoring.rules import ScoringRule

BoolArray = npt.NDArray[np.bool_]
_EPSILON = 1e-9


def isotropic_volume_mm3(
    array_hu: npt.ArrayLike,
    mask: npt.ArrayLike,
    spacing_mm: Sequence[float],
    *,
    rule: str | ScoringRule = "agatston_1990",
) -> float:
    """Return the calcium volume in mm3 after linear interpolation between slices.

    Slices are interpolated at every pixel width, from the centre of the first slice to
    that of the last; a sample counts as a cube of that width where it reaches the
    threshold and one of the two voxels that it lies between belongs to a lesion that
    the rule keeps. Where the other one is calcium outside every lesion (bone, a speck),
    only the half next to the lesion counts. In-plane nothing is interpolated.

    Args:
        array_hu: The scan in HU, (z, y, x).
        mask: Where to look for calcium, bool or integer, (z, y, x).
        spacing_mm: Distance of voxels in mm, (z, y, x). The width of a sample is the
            square root of the pixel area.
        rule: Its threshold and lesions for volume, at 120 kVp, are used; for another
            voltage give ``CalciumScore.rule``.

    Raises:
        InputError, ValueError, TypeError: As :func:`kcalc.calcium_score`.

    Example:
        >>> scan = np.full((3, 8, 8), 30, np.int16)
        >>> scan[1, 2:6, 2:6] = 430
        >>> isotropic_volume_mm3(scan, scan > 100, (3.0, 0.5, 0.5))  # plain: 12
        18.0

    References:
        Callister TQ et al., Radiology 1998, doi 10.1148/radiology.208.3.9722864; the
        grid as in van Praagh GD et al., Med Phys 2021, doi 10.1002/mp.14912.
    """
    scan = checks.checked_scan(array_hu)
    labels = checks.checked_labels(mask, "mask", scan.shape)
    spacing = checks.checked_spacing(spacing_mm)
    chosen = presets.rule(rule).for_volume
    lesion = lesion_voxels(scan, labels, spacing, chosen)
    return volume_between_slices_mm3(scan, lesion, spacing, chosen)


def volume_between_slices_mm3(
    array_hu: npt.NDArray[Any],
    lesion: BoolArray,
    spacing_mm: tuple[float, float, float],
    rule: ScoringRule,
) -> float:
    """Return the volume of :func:`isotropic_volume_mm3` of some lesions' voxels.

    Args:
        array_hu: The scan in HU, (z, y, x), checked.
        lesion: Voxels of the lesions, (z, y, x); calcium elsewhere keeps its half of a
            gap.
        spacing_mm: Distance of voxels in mm, (z, y, x).
        rule: Its threshold is used, as it stands.
    """
    width_mm = math.sqrt(spacing_mm[1] * spacing_mm[2])
    num_samples = sum(
        _samples_in_gap(array_hu[z : z + 2], lesion[z : z + 2], shares, rule)
        for z, shares in _gaps(len(array_hu), spacing_mm[0], width_mm)
        if lesion[z : z + 2].any()
    )
    return num_samples * width_mm**3


def lesion_voxels(
    array_hu: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    spacing_mm: tuple[float, float, float],
    rule: ScoringRule,
) -> BoolArray:
    """Return the voxels of the lesions that a rule keeps, bool (z, y, x).

    Args:
        array_hu: The scan in HU, (z, y, x).
        mask: Where to look for calcium, (z, y, x).
        spacing_mm: Distance of voxels in mm, (z, y, x).
        rule: The rule.
    """
    components = find_components(array_hu, mask, rule, labels=mask)
    kept = components.kept(rule, spacing_mm[1] * spacing_mm[2])
    lesion = np.zeros(array_hu.shape, np.bool_)
    lesion[tuple(components.index_zyx[kept[components.component]].T)] = True
    return lesion


def _gaps(
    num_slices: int, slice_spacing_mm: float, width_mm: float
) -> list[tuple[int, list[float]]]:
    """Return each gap's first slice and how far its samples lie to the next, 0 to 1."""
    step = width_mm / slice_spacing_mm
    last = num_slices - 1
    gaps: dict[int, list[float]] = {}
    for sample in range(math.floor(last / step + _EPSILON) + 1):
        position = min(sample * step, float(last))
        z = min(math.floor(position + _EPSILON), max(last - 1, 0))
        gaps.setdefault(z, []).append(max(position - z, 0.0))
    return sorted(gaps.items())


def _samples_in_gap(
    pair_hu: npt.NDArray[Any], lesion: BoolArray, shares: list[float], rule: ScoringRule
) -> int:
    """Count the samples of one gap; a last slice alone is a gap with one end."""
    pixels = np.divmod(np.flatnonzero(lesion[0] | lesion[-1]), lesion.shape[2])
    low_hu = pair_hu[0][pixels].astype(np.float64)
    high_hu = pair_hu[-1][pixels].astype(np.float64)
    in_low, in_high = lesion[0][pixels], lesion[-1][pixels]
    # An end that is calcium outside every lesion keeps its half of the gap.
    low_foreign = ~in_low & reaches_threshold(low_hu, rule)
    high_foreign = ~in_high & reaches_threshold(high_hu, rule)
    count = 0
    for share in shares:
        counted = reaches_threshold(low_hu + share * (high_hu - low_hu), rule)
        if share <= _EPSILON:
            counted &= in_low
        elif share >= 1 - _EPSILON:
            counted &= in_high
        else:
            counted &= ~(low_foreign & (share < 0.5)) & ~(high_foreign & (share >= 0.5))
        count += int(np.count_nonzero(counted))
    return count
