"""The calcium score: HU, mask and spacing in, a score with its rule and lesions out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.anatomy import NOT_CORONARY
from kcalc.errors import UnfitError
from kcalc.scoring import cautions, presets
from kcalc.scoring.checks import CheckedScan, check_scan
from kcalc.scoring.lesions import UNASSIGNED, Lesion, VesselScore, total_of
from kcalc.scoring.risk import cac_drs, risk_category
from kcalc.scoring.rules import ScoringRule
from kcalc.scoring.standard import non_standard
from kcalc.scoring.volumes import count_volume, lesions_of

MAX_MASK_AS_CALCIUM = 2_000_000
"""Voxels that a rule without a threshold takes for calcium: 4 L at 0.8 x 0.8 x 3 mm."""
_OTHER_NAMES = {structure.name for structure in NOT_CORONARY}


@dataclass(frozen=True)
class CalciumScore:
    """A calcium score that carries the rule, the lesions and the doubts behind it.

    Args:
        agatston: Agatston score, rounded only where the rule rounds.
        volume_mm3: Volume in mm3 of what the rule counts in it: the lesions kept, but
            for rules with ``volume_of`` or ``volume_threshold_hu``.
        mass_mg: Mass of the same in mg, None without a calibration.
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

    @property
    def non_standard_acquisition(self) -> tuple[str, ...]:
        """Codes of the warnings that make the acquisition non-standard.

        What a score cannot know, ECG gating and a cut heart, ``kcalc score`` adds.
        """
        return non_standard(warning.partition(":")[0] for warning in self.warnings)

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
            "non_standard_acquisition": list(self.non_standard_acquisition),
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
    the lesions that the score keeps, unless the rule says otherwise. An empty mask
    scores 0. A mask that holds voxels but no lesion scores 0 with the warning
    ``NO_LESION``.

    Args:
        array_hu: The scan in HU, integer or float, (z, y, x). Fractional values are
            compared with thresholds as they are.
        mask: Where to look for calcium, bool or integer, (z, y, x). Every nonzero
            value is mask: labels are not told apart here, see ``vessels``.
        spacing_mm: Distance of voxel centres in mm, (z, y, x); the first from slice
            positions, never the slice thickness.
        rule: Name in :data:`kcalc.scoring.RULES`, or a ScoringRule.
        tube_voltage_kvp: Tube voltage in kV. Only a rule with a row for it in its own
            table changes thresholds; else a voltage other than 120 adds a warning, or
            is refused by a rule that is defined at its table's voltages only.
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
        UnfitError: The rule does not apply to the scan: ``RULE_KVP``, it is not
            defined at the tube voltage; ``RULE_THICKNESS``, it scales by a thickness
            that is not given.
        ValueError: Shapes, rule, vessels, tube voltage, thickness or calibration break
            the rules above.
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
    scan = check_scan(
        array_hu,
        mask,
        spacing_mm,
        tube_voltage_kvp=tube_voltage_kvp,
        slice_thickness_mm=slice_thickness_mm,
        vessels=vessels,
        mass_calibration=mass_calibration,
    )
    return score_checked(scan, presets.rule(rule))


def score_checked(scan: CheckedScan, rule: ScoringRule) -> CalciumScore:
    """Return the score of a checked scan under one rule."""
    spacing, thickness = scan.spacing_mm, scan.slice_thickness_mm
    applied = rule.applied(
        pixel_area_mm2=spacing[1] * spacing[2],
        tube_voltage_kvp=scan.tube_voltage_kvp,
        slice_thickness_mm=thickness,
    )
    _refuse_region(scan, applied)
    components, lesions = lesions_of(scan, applied)
    agatston = total_of(lesions).agatston
    if applied.total_decimals is not None:
        agatston = round(agatston, applied.total_decimals)
    counted = count_volume(scan, applied, components, lesions)
    return CalciumScore(
        agatston=agatston,
        volume_mm3=counted.total.volume_mm3,
        mass_mg=counted.total.mass_mg,
        lesions=lesions,
        rule=applied,
        spacing_mm=spacing,
        tube_voltage_kvp=scan.tube_voltage_kvp,
        slice_thickness_mm=thickness,
        mass_calibration=scan.mass_calibration,
        per_vessel=counted.per_vessel,
        warnings=(
            *cautions.voltage_cautions(rule, scan.tube_voltage_kvp),
            *cautions.slice_cautions(spacing[0], thickness),
            *cautions.lesion_cautions(components, lesions),
            *cautions.mask_cautions(counted, applied),
        ),
    )


def _refuse_region(scan: CheckedScan, rule: ScoringRule) -> None:
    """Refuse a mask of a body region where a rule takes the mask for calcium.

    Raises:
        UnfitError: ``RULE_MASK``.
    """
    if rule.threshold_hu is not None:
        return
    num_voxels = int(np.count_nonzero(scan.mask))
    if num_voxels > MAX_MASK_AS_CALCIUM:
        raise UnfitError(
            "RULE_MASK",
            f"The rule {rule.name} has no threshold and takes at most "
            f"{MAX_MASK_AS_CALCIUM} voxels of a mask for calcium. Received: a mask of "
            f"{num_voxels} voxels.",
            hint="Give a mask of calcium, or score under a rule with a threshold.",
        )
