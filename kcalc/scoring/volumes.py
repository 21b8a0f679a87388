"""What a rule's volume and mass count: lesions, all calcium, the mask, or samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.anatomy import LABEL_NAMES
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.scoring.checks import CheckedScan
from kcalc.scoring.components import Components, FloatArray, find_components
from kcalc.scoring.isotropic import volume_between_slices_mm3
from kcalc.scoring.lesions import (
    UNASSIGNED,
    Lesion,
    VesselScore,
    measure_lesions,
    total_of,
    totals_by_vessel,
)
from kcalc.scoring.mass import MM3_PER_ML
from kcalc.scoring.rules import ScoringRule

Labelled = tuple[FloatArray, npt.NDArray[Any]]
"""Values in HU of some voxels, and their vessel labels."""


@dataclass(frozen=True)
class Counted:
    """Totals with the volume and mass of a rule.

    Args:
        total: Of all; mass None without a calibration.
        per_vessel: By vessel, None without a vessel map.
        num_voxels: Voxels that volume and mass count, before any minimum size.
        num_below_usual: Those of them below 130 HU.
    """

    total: VesselScore
    per_vessel: dict[str, VesselScore] | None
    num_voxels: int
    num_below_usual: int


def lesions_of(
    scan: CheckedScan, rule: ScoringRule
) -> tuple[Components, tuple[Lesion, ...]]:
    """Return the components of a scan and the lesions that the rule keeps of them."""
    components = find_components(scan.array_hu, scan.mask, rule, labels=scan.vessels)
    slice_mm = scan.spacing_mm[0]
    if rule.slice_scaling == "thickness" and scan.slice_thickness_mm is not None:
        slice_mm = scan.slice_thickness_mm
    scaled = rule.slice_scaling != "none"
    return components, measure_lesions(
        components,
        rule,
        scan.spacing_mm,
        slice_factor=slice_mm / rule.reference_slice_mm if scaled else 1.0,
        mass_calibration=scan.mass_calibration,
        vessels=scan.vessels,
    )


def count_volume(
    scan: CheckedScan,
    rule: ScoringRule,
    components: Components,
    lesions: tuple[Lesion, ...],
) -> Counted:
    """Return volume and mass, in all and by vessel.

    Args:
        scan: The scan.
        rule: The rule as applied.
        components: The components of the score.
        lesions: Its lesions.
    """
    if rule.volume_of == "mask":
        return _of_voxels(scan, lesions, _mask_voxels(scan))
    if rule.volume_of == "calcium":
        labels = _labels_at(scan, tuple(components.index_zyx.T))
        return _of_voxels(scan, lesions, [(components.values_hu, labels)])
    counted, in_volume = components, lesions
    if rule.for_volume is not rule:
        counted, in_volume = lesions_of(scan, rule.for_volume)
    total = total_of(in_volume)
    per_vessel = None
    if scan.vessels is not None:
        per_vessel = totals_by_vessel(
            lesions, in_volume, with_mass=scan.mass_calibration is not None
        )
    if rule.volume_of == "isotropic":
        total, per_vessel = _between_slices(
            scan, rule, components, lesions, total, per_vessel
        )
    if scan.mass_calibration is None:
        total = replace(total, mass_mg=None)
    return Counted(
        total,
        per_vessel,
        counted.values_hu.size,
        int(np.count_nonzero(counted.values_hu < AGATSTON_THRESHOLD_HU)),
    )


def _mask_voxels(scan: CheckedScan) -> Iterator[Labelled]:
    """Yield the voxels of the mask slice by slice, for a mask may be large."""
    for z in range(len(scan.mask)):
        if scan.mask[z].any():
            rows, columns = np.nonzero(scan.mask[z])
            yield (
                scan.array_hu[z][rows, columns].astype(np.float64),
                _labels_at(scan, (z, rows, columns)),
            )


def _labels_at(scan: CheckedScan, index: tuple[Any, ...]) -> npt.NDArray[Any]:
    if scan.vessels is None:
        return np.zeros(np.shape(index[-1]), np.int64)
    return np.asarray(scan.vessels[index])


def _of_voxels(
    scan: CheckedScan, lesions: tuple[Lesion, ...], voxels: Iterable[Labelled]
) -> Counted:
    """Count voxels, joined or not, each for the vessel of its own label."""
    count: dict[str, int] = {}
    sum_hu: dict[str, float] = {}
    num_below = 0
    for values_hu, labels in voxels:
        num_below += int(np.count_nonzero(values_hu < AGATSTON_THRESHOLD_HU))
        for label in np.unique(labels).tolist():
            name = LABEL_NAMES.get(label) or UNASSIGNED
            here = labels == label
            count[name] = count.get(name, 0) + int(np.count_nonzero(here))
            sum_hu[name] = sum_hu.get(name, 0.0) + float(values_hu[here].sum())
    z_mm, y_mm, x_mm = scan.spacing_mm
    voxel_mm3 = z_mm * y_mm * x_mm
    factor = scan.mass_calibration

    def counted(old: VesselScore, names: Iterable[str]) -> VesselScore:
        chosen = [name for name in names if name in count]
        mass = None
        if factor is not None:
            hu = sum(sum_hu[name] for name in chosen)
            mass = hu * voxel_mm3 * factor / MM3_PER_ML
        volume = sum(count[name] for name in chosen) * voxel_mm3
        return replace(old, volume_mm3=volume, mass_mg=mass)

    per_vessel = None
    if scan.vessels is not None:
        scored = totals_by_vessel(lesions, (), with_mass=False)
        nothing = VesselScore(0.0, 0.0, None, 0)
        per_vessel = {
            name: counted(scored.get(name, nothing), [name])
            for name in dict.fromkeys((*scored, *sorted(count)))
        }
    total = counted(total_of(lesions), count)
    return Counted(total, per_vessel, sum(count.values()), num_below)


def _between_slices(
    scan: CheckedScan,
    rule: ScoringRule,
    components: Components,
    lesions: tuple[Lesion, ...],
    total: VesselScore,
    per_vessel: dict[str, VesselScore] | None,
) -> tuple[VesselScore, dict[str, VesselScore] | None]:
    """Return the totals with their volumes interpolated between slices."""
    pixel_area_mm2 = scan.spacing_mm[1] * scan.spacing_mm[2]
    number = components.lesion_numbers(rule, pixel_area_mm2)

    def interpolated(old: VesselScore, members: list[int]) -> VesselScore:
        lesion = np.zeros(scan.array_hu.shape, np.bool_)
        lesion[tuple(components.index_zyx[np.isin(number, members)].T)] = True
        volume_mm3 = volume_between_slices_mm3(
            scan.array_hu, lesion, scan.spacing_mm, rule
        )
        return replace(old, volume_mm3=volume_mm3)

    total = interpolated(total, [x.number for x in lesions])
    if per_vessel is None:
        return total, None
    return total, {
        name: interpolated(
            old, [x.number for x in lesions if (x.vessel or UNASSIGNED) == name]
        )
        for name, old in per_vessel.items()
    }
