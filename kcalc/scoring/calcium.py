"""The calcium score: HU, mask and spacing in, a score with its rule and lesions out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy.typing as npt

from kcalc.anatomy import OTHER_STRUCTURES
from kcalc.scoring import checks, presets
from kcalc.scoring.components import Components, find_components
from kcalc.scoring.lesions import (
    UNASSIGNED,
    Lesion,
    VesselScore,
    measure_lesions,
    total_of,
    totals_by_vessel,
)
from kcalc.scoring.mass import check_calibration
from kcalc.scoring.risk import cac_drs, risk_category
from kcalc.scoring.rules import STANDARD_TUBE_VOLTAGE_KVP, ScoringRule

_STANDARD_THICKNESS_MM = (2.5, 3.0)
_OTHER_NAMES = {structure.name for structure in OTHER_STRUCTURES}


@dataclass(frozen=True)
class CalciumScore:
    """A calcium score that carries the rule, the lesions and the doubts behind it.

    Args:
        agatston: Agatston score, rounded only where the rule rounds.
        volume_mm3: Volume of the lesions kept, in mm3.
        mass_mg: Their mass in mg, None without a calibration.
        lesions: The lesions kept, in scan order.
        rule: The rule as it was applied, with the thresholds of the tube voltage where
            its own table has them.
        spacing_mm: Spacing it was computed with, in mm, (z, y, x).
        tube_voltage_kvp: Tube voltage in kV as stated by the caller, or None.
        slice_thickness_mm: Nominal thickness in mm as stated by the caller, or None.
        mass_calibration: mg/mL per HU, or None.
        per_vessel: Totals by the names of :mod:`kcalc.anatomy`, ``"unassigned"`` for
            lesions in none; None without a vessel map.
        warnings: What departs from the standard acquisition or needs a second look,
            each beginning with a code.
    """

    agatston: float
    volume_mm3: float
    mass_mg: float | None
    lesions: tuple[Lesion, ...]
    rule: ScoringRule
    spacing_mm: tuple[float, float, float]
    tube_voltage_kvp: float | None = None
    slice_thickness_mm: float | None = None
    mass_calibration: float | None = None
    per_vessel: dict[str, VesselScore] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def num_lesions(self) -> int:
        """Number of lesions kept."""
        return len(self.lesions)

    @property
    def coronary_agatston(self) -> float:
        """The score without the lesions of aorta, aortic valve and mitral annulus.

        It is ``agatston`` itself where the vessel map has none of them under a lesion.
        """
        others = {name for name in self.per_vessel or {} if name in _OTHER_NAMES}
        if not others:
            return self.agatston
        parts = [x.agatston for x in self.lesions if x.vessel not in others]
        decimals = self.rule.total_decimals
        return math.fsum(parts) if decimals is None else round(sum(parts), decimals)

    @property
    def risk_category(self) -> str:
        """Risk class of the coronary score.

        ``"0"``, ``"1-10"``, ``"11-100"``, ``"101-400"`` or ``">400"``.
        """
        return risk_category(self.coronary_agatston)

    @property
    def cac_drs(self) -> str:
        """CAC-DRS category of the coronary score, such as ``A2/N3``.

        N is ``?`` without a vessel map, and where some calcium lies in no vessel of it.
        """
        if self.per_vessel is None:
            return cac_drs(self.agatston)
        positive = {name for name, v in self.per_vessel.items() if v.agatston > 0}
        num_vessels = None if UNASSIGNED in positive else len(positive - _OTHER_NAMES)
        return cac_drs(self.coronary_agatston, num_vessels)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values ready for JSON, the rule in words too."""
        vessels = self.per_vessel
        return {
            "agatston": self.agatston,
            "coronary_agatston": self.coronary_agatston,
            "volume_mm3": self.volume_mm3,
            "mass_mg": self.mass_mg,
            "risk_category": self.risk_category,
            "cac_drs": self.cac_drs,
            "num_lesions": self.num_lesions,
            "lesions": [lesion.to_dict() for lesion in self.lesions],
            "per_vessel": None
            if vessels is None
            else {name: asdict(total) for name, total in vessels.items()},
            "rule": self.rule.to_dict(),
            "spacing_mm": list(self.spacing_mm),
            "tube_voltage_kvp": self.tube_voltage_kvp,
            "slice_thickness_mm": self.slice_thickness_mm,
            "mass_calibration_mg_per_ml_per_hu": self.mass_calibration,
            "warnings": list(self.warnings),
        }


def calcium_score(
    array_hu: npt.ArrayLike,
    mask: npt.ArrayLike,
    spacing_mm: Sequence[float],
    *,
    rule: str | ScoringRule = "agatston_1990",
    tube_voltage_kvp: float | None = None,
    slice_thickness_mm: float | None = None,
    vessels: npt.ArrayLike | None = None,
    mass_calibration: float | None = None,
) -> CalciumScore:
    """Return the Agatston score, volume and mass of the calcium in a mask.

    Lesions are the connected components of mask AND threshold; volume and mass count
    exactly the lesions that the score keeps. An empty mask scores 0. A mask that holds
    voxels but no lesion scores 0 with the warning ``NO_LESION``.

    Args:
        array_hu: The scan in HU, integer or float, (z, y, x). Fractional values are
            compared with thresholds as they are.
        mask: Where to look for calcium, bool or integer, (z, y, x). Every nonzero
            value is mask: labels are not told apart here, see ``vessels``.
        spacing_mm: Distance of voxel centres in mm, (z, y, x); the first from slice
            positions, never the slice thickness.
        rule: Name in :data:`kcalc.scoring.RULES`, or a ScoringRule.
        tube_voltage_kvp: Tube voltage in kV. Only a rule with a row for it in its own
            table changes thresholds; else a voltage other than 120 adds a warning.
            None assumes nothing and changes nothing: asking is the caller's matter.
        slice_thickness_mm: Nominal slice thickness in mm, for the warning on slices
            outside 2.5 to 3 mm and for rules that scale by thickness. Where it is
            None, that warning looks at the slice spacing.
        vessels: Integer labels of :mod:`kcalc.anatomy`, (z, y, x), for totals by
            vessel; they choose no voxels.
        mass_calibration: mg/mL of hydroxyapatite per HU at this tube voltage; without
            it ``mass_mg`` is None.

    Returns:
        The score with its lesions, rule and warnings.

    Raises:
        InputError: ``GEOM_SPACING``, ``HU_NAN``, ``HU_RANGE`` or ``EMPTY``.
        ValueError: Shapes, rule, vessels, tube voltage, thickness or calibration break
            the rules above, or a rule scales by a thickness that is not given.
        TypeError: The mask or vessels are not integers, or array_hu not real.

    Example:
        >>> import numpy as np
        >>> scan_hu = np.full((2, 8, 8), 40, np.int16)
        >>> scan_hu[1, 2:5, 2:4] = 250  # six pixels of 0.25 mm2, weight 2
        >>> score = calcium_score(scan_hu, scan_hu > 100, (3.0, 0.5, 0.5))
        >>> score.agatston, score.volume_mm3, score.risk_category
        (3.0, 4.5, '1-10')

    References:
        Agatston AS et al., J Am Coll Cardiol 1990, doi 10.1016/0735-1097(90)90282-T.
    """
    base_rule = presets.rule(rule)
    scan = checks.checked_scan(array_hu)
    mask_array = checks.checked_labels(mask, "mask", scan.shape)
    spacing = checks.checked_spacing(spacing_mm)
    voltage = checks.checked_tube_voltage(tube_voltage_kvp)
    thickness = checks.checked_thickness(slice_thickness_mm)
    calibration = check_calibration(mass_calibration)
    vessel_array = None
    if vessels is not None:
        vessel_array = checks.checked_labels(vessels, "vessels", scan.shape)

    applied = base_rule.at_tube_voltage(voltage)
    components = find_components(scan, mask_array, applied)
    lesions = measure_lesions(
        components,
        applied,
        spacing,
        slice_factor=_slice_factor(applied, spacing[0], thickness),
        mass_calibration=calibration,
        vessels=vessel_array,
    )
    total = total_of(lesions)
    agatston = total.agatston
    if applied.total_decimals is not None:
        agatston = round(agatston, applied.total_decimals)
    return CalciumScore(
        agatston=agatston,
        volume_mm3=total.volume_mm3,
        mass_mg=None if calibration is None else total.mass_mg,
        lesions=lesions,
        rule=applied,
        spacing_mm=spacing,
        tube_voltage_kvp=voltage,
        slice_thickness_mm=thickness,
        mass_calibration=calibration,
        per_vessel=None
        if vessel_array is None
        else totals_by_vessel(lesions, with_mass=calibration is not None),
        warnings=(
            *_voltage_warnings(base_rule, voltage),
            *_slice_warnings(spacing[0], thickness),
            *_lesion_warnings(components, lesions),
        ),
    )


def _slice_factor(
    rule: ScoringRule, slice_spacing_mm: float, slice_thickness_mm: float | None
) -> float:
    if rule.slice_scaling == "none":
        return 1.0
    if rule.slice_scaling == "spacing":
        return slice_spacing_mm / rule.reference_slice_mm
    if slice_thickness_mm is None:
        raise ValueError(
            f"The rule {rule.name} scales by slice thickness, so slice_thickness_mm "
            "must be given in mm. Received: slice_thickness_mm=None"
        )
    return slice_thickness_mm / rule.reference_slice_mm


def _voltage_warnings(rule: ScoringRule, tube_voltage_kvp: float | None) -> list[str]:
    if tube_voltage_kvp is None:
        return []
    scanned = f"KVP: scanned at {tube_voltage_kvp:g} kVp"
    standard = abs(tube_voltage_kvp - STANDARD_TUBE_VOLTAGE_KVP) <= 0.5
    if rule.kvp_row(tube_voltage_kvp) is not None:
        threshold_hu = rule.at_tube_voltage(tube_voltage_kvp).threshold_hu
        if standard:
            return []
        return [
            f"{scanned} and scored at the {threshold_hu:g} HU that the rule "
            f"{rule.name} has for it."
        ]
    if any(row.threshold_hu == rule.threshold_hu for row in rule.kvp_table):
        return [
            f"{scanned}, but scored at the {rule.threshold_hu:g} HU that the rule "
            f"{rule.name} has for another tube voltage."
        ]
    if standard:
        return []
    return [
        f"{scanned}, scored with the thresholds of "
        "120 kVp; calcium reads higher at lower and lower at higher tube voltage, so "
        "the score does not compare with one at 120 kVp."
    ]


def _slice_warnings(
    slice_spacing_mm: float, slice_thickness_mm: float | None
) -> list[str]:
    name, value = "thickness", slice_thickness_mm
    if value is None:
        name, value = "spacing", slice_spacing_mm
    low, high = _STANDARD_THICKNESS_MM
    if low - 1e-3 <= value <= high + 1e-3:
        return []
    return [
        f"PROTOCOL: slice {name} {value:g} mm, not 2.5 to 3 mm; partial volume "
        "differs, so this is an equivalent score."
    ]


def _lesion_warnings(components: Components, lesions: tuple[Lesion, ...]) -> list[str]:
    if lesions or components.num_mask_voxels == 0:
        return []
    return [
        f"NO_LESION: the mask has {components.num_mask_voxels} voxels, of which "
        f"{len(components.values_hu)} reach the threshold, but no lesion reaches the "
        "minimum size; see that mask and scan belong together."
    ]
