"""From components to measured lesions: size filter, weights, score, volume, mass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.anatomy import CORONARY_VESSELS, LABEL_NAMES
from kcalc.scoring.components import Components, FloatArray, IntArray
from kcalc.scoring.mass import mass_mg
from kcalc.scoring.rules import ScoringRule

UNASSIGNED = "unassigned"
"""Key of the lesions that lie in no vessel of the map."""


@dataclass(frozen=True)
class Lesion:
    """One lesion that the score keeps: a 2-D component, or 3-D where the rule says so.

    Args:
        number: From 1, in scan order of the lesions' first voxels.
        slice_index: Its slice; of a 3-D lesion the slice of its maximum (the first).
        first_slice_index: First slice it reaches.
        last_slice_index: Last slice it reaches, included.
        area_mm2: Area of its voxels in mm2; of a 3-D lesion summed over its slices.
        num_pixels: Number of its voxels.
        max_hu: Maximum in HU.
        mean_hu: Mean in HU.
        weight: Density weight; of a 3-D lesion the mean over its voxels, so that score
            = area x weight x slice scaling holds for it too, but for rounding.
        agatston: Its part of the score, rounded where the rule rounds lesions.
        volume_mm3: Area x slice spacing in mm3.
        mass_mg: Mass in mg, None without a calibration.
        centroid_index_zyx: Mean voxel index, unweighted, in (z, y, x).
        vessel: Name of the vessel that most of its labelled voxels lie in (on a tie
            the lower label), None without a vessel map or outside every vessel.
    """

    number: int
    slice_index: int
    first_slice_index: int
    last_slice_index: int
    area_mm2: float
    num_pixels: int
    max_hu: float
    mean_hu: float
    weight: float
    agatston: float
    volume_mm3: float
    mass_mg: float | None
    centroid_index_zyx: tuple[float, float, float]
    vessel: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary ready for JSON."""
        return asdict(self) | {"centroid_index_zyx": list(self.centroid_index_zyx)}


@dataclass(frozen=True)
class VesselScore:
    """Totals of the lesions of one vessel; mass_mg is None without a calibration."""

    agatston: float
    volume_mm3: float
    mass_mg: float | None
    num_lesions: int


def measure_lesions(
    components: Components,
    rule: ScoringRule,
    spacing_mm: tuple[float, float, float],
    *,
    slice_factor: float,
    mass_calibration: float | None = None,
    vessels: npt.NDArray[Any] | None = None,
) -> tuple[Lesion, ...]:
    """Return the lesions that the rule keeps, measured, in scan order.

    Args:
        components: Components of mask AND threshold.
        rule: Its minimum, weights and rounding of pixels and lesions are used.
        spacing_mm: Distance of voxels in mm, (z, y, x).
        slice_factor: Slice scaling of the score.
        mass_calibration: mg/mL per HU, or None.
        vessels: Integer labels (z, y, x) of :mod:`kcalc.anatomy`, 0 elsewhere; read
            under the lesions only.

    Raises:
        ValueError: A lesion lies on a vessel label that kcalc does not know.
    """
    pixel_area_mm2 = spacing_mm[1] * spacing_mm[2]
    kept = components.kept(rule, pixel_area_mm2)
    chosen = np.flatnonzero(kept[components.component])
    if chosen.size == 0:
        return ()

    # A stable sort by component keeps the slices in order: a section (the part of a
    # lesion in one slice) is a run of voxels, a lesion a run of sections.
    order = chosen[np.argsort(components.component[chosen], kind="stable")]
    index_zyx = components.index_zyx[order]
    values_hu = components.values_hu[order]
    component = components.component[order]
    section_start = _run_starts(component, index_zyx[:, 0])
    lesion_start = _run_starts(component)
    first_section = np.searchsorted(section_start, lesion_start)

    num_pixels = np.diff(lesion_start, append=order.size)
    max_hu = np.maximum.reduceat(values_hu, lesion_start)
    mean_hu = np.add.reduceat(values_hu, lesion_start) / num_pixels
    centroid = np.add.reduceat(index_zyx, lesion_start) / num_pixels[:, np.newaxis]
    section_max_hu = np.maximum.reduceat(values_hu, section_start)
    section_pixels = np.diff(section_start, append=order.size)
    weighed_hu = section_max_hu
    if rule.weight_from == "lesion":
        num_sections = np.diff(first_section, append=section_start.size)
        weighed_hu = np.repeat(max_hu, num_sections)
    weighted_pixels = np.add.reduceat(
        section_pixels * _weights(weighed_hu, rule), first_section
    )
    names = _vessel_names(vessels, index_zyx, lesion_start)
    pixel_score = pixel_area_mm2 * slice_factor
    if rule.pixel_decimals is not None:
        pixel_score = round(pixel_score, rule.pixel_decimals)

    lesions = []
    for i, start in enumerate(lesion_start.tolist()):
        pixels = int(num_pixels[i])
        slices = index_zyx[start : start + pixels, 0]
        peak = int(np.argmax(values_hu[start : start + pixels]))
        agatston = float(weighted_pixels[i]) * pixel_score
        if rule.lesion_decimals is not None:
            agatston = round(agatston, rule.lesion_decimals)
        volume_mm3 = pixels * pixel_area_mm2 * spacing_mm[0]
        mass = None
        if mass_calibration is not None:
            mass = mass_mg(volume_mm3, float(mean_hu[i]), mass_calibration)
        z, y, x = centroid[i].tolist()
        lesions.append(
            Lesion(
                number=i + 1,
                slice_index=int(slices[peak]),
                first_slice_index=int(slices[0]),
                last_slice_index=int(slices[-1]),
                area_mm2=pixels * pixel_area_mm2,
                num_pixels=pixels,
                max_hu=float(max_hu[i]),
                mean_hu=float(mean_hu[i]),
                weight=float(weighted_pixels[i]) / pixels,
                agatston=agatston,
                volume_mm3=volume_mm3,
                mass_mg=mass,
                centroid_index_zyx=(z, y, x),
                vessel=names[i],
            )
        )
    return tuple(lesions)


def total_of(lesions: Sequence[Lesion]) -> VesselScore:
    """Return the unrounded totals of some lesions; mass_mg None where any has none."""
    masses = [lesion.mass_mg for lesion in lesions if lesion.mass_mg is not None]
    return VesselScore(
        agatston=math.fsum(lesion.agatston for lesion in lesions),
        volume_mm3=math.fsum(lesion.volume_mm3 for lesion in lesions),
        mass_mg=math.fsum(masses) if len(masses) == len(lesions) else None,
        num_lesions=len(lesions),
    )


def totals_by_vessel(
    lesions: Sequence[Lesion], in_volume: Sequence[Lesion], *, with_mass: bool
) -> dict[str, VesselScore]:
    """Return the totals of each coronary vessel, and of what else holds lesions.

    Lesions without a vessel stand under ``"unassigned"``.

    Args:
        lesions: Lesions of the score, measured with a vessel map.
        in_volume: Lesions that volume and mass count, the same for most rules.
        with_mass: Whether masses are known, so that an empty vessel has 0 mg, not None.
    """
    names = [vessel.name for vessel in CORONARY_VESSELS]
    found = {lesion.vessel or UNASSIGNED for lesion in (*lesions, *in_volume)}
    totals = {}
    for name in (*names, *sorted(found - set(names))):
        scored = total_of([x for x in lesions if (x.vessel or UNASSIGNED) == name])
        volume = total_of([x for x in in_volume if (x.vessel or UNASSIGNED) == name])
        totals[name] = VesselScore(
            scored.agatston,
            volume.volume_mm3,
            volume.mass_mg if with_mass else None,
            scored.num_lesions,
        )
    return totals


def _run_starts(*keys: IntArray) -> IntArray:
    """Return where any of the sorted keys changes, the beginning included."""
    changed = np.zeros(keys[0].size, dtype=np.bool_)
    changed[0] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changed)


def _weights(max_hu: FloatArray, rule: ScoringRule) -> FloatArray:
    edges = np.array([edge for edge, _ in rule.density_bins], dtype=np.float64)
    weights = np.array([0, *(weight for _, weight in rule.density_bins)], np.float64)
    side = "right" if rule.bin_comparison == ">=" else "left"
    return weights[np.searchsorted(edges, max_hu, side=side)]  # type: ignore[call-overload]


def _vessel_names(
    vessels: npt.NDArray[Any] | None, index_zyx: IntArray, lesion_start: IntArray
) -> list[str | None]:
    """Return the vessel of each lesion by the majority of its labelled voxels."""
    if vessels is None:
        return [None] * lesion_start.size
    labels = vessels[tuple(index_zyx.T)].astype(np.int64)
    unknown = sorted(set(labels.tolist()) - {0, *LABEL_NAMES})
    if unknown:
        known = ", ".join(f"{n} {name or 'none'}" for n, name in LABEL_NAMES.items())
        raise ValueError(
            f"vessels must hold 0 or a label of kcalc ({known}) under every lesion. "
            f"Received: labels {unknown[:5]}. Map your labels to these first."
        )
    names = []
    for members in np.split(labels, lesion_start[1:]):
        votes = np.bincount(members[members > 0], minlength=1)
        names.append(LABEL_NAMES[int(np.argmax(votes))] if votes.any() else None)
    return names
