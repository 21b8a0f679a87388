"""One scan under every preset: a scan and a mask enter, numbers or reasons leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from kcalc.errors import InputError
from kcalc.scoring.calcium import CalciumScore, score_checked
from kcalc.scoring.checks import check_scan
from kcalc.scoring.presets import RULES
from kcalc.scoring.rules import ScoringRule


@dataclass(frozen=True)
class RuleOutcome:
    """What one preset says of a scan: a score, or why it does not apply.

    Args:
        rule: The preset, before it was applied to the scan.
        score: Its score, None where the rule does not apply.
        reason: Why not, beginning with a code; empty where it applies.
    """

    rule: ScoringRule
    score: CalciumScore | None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return name, numbers or reason, words, source and warnings, for JSON."""
        score = self.score
        words = self.rule if score is None else score.rule
        return {
            "rule": self.rule.name,
            "applicable": score is not None,
            "reason": self.reason or None,
            "agatston": None if score is None else score.agatston,
            "volume_mm3": None if score is None else score.volume_mm3,
            "mass_mg": None if score is None else score.mass_mg,
            "num_lesions": None if score is None else score.num_lesions,
            "risk_category": None if score is None else score.risk_category,
            "warnings": [] if score is None else list(score.warnings),
            "description": words.describe(),
            "source": words.source,
            "remarks": words.remarks,
        }


def score_under_all_rules(
    array_hu: npt.ArrayLike,
    mask: npt.ArrayLike,
    spacing_mm: Sequence[float],
    *,
    tube_voltage_kvp: float | None = None,
    slice_thickness_mm: float | None = None,
    vessels: npt.ArrayLike | None = None,
    mass_calibration: float | None = None,
    adapt: Callable[[ScoringRule], ScoringRule] | None = None,
) -> tuple[RuleOutcome, ...]:
    """Score a scan under every preset of :data:`kcalc.scoring.RULES`, in its order.

    How much of a number is convention: the rows differ by rule alone. A rule that does
    not apply to the scan (another tube voltage than its table has, an unknown slice
    thickness) has no number but the reason.

    Args:
        array_hu: See :func:`kcalc.calcium_score`, as for all but the last.
        mask: Where to look for calcium. Rules without a threshold take it as it is,
            and say so where it looks cut at 130 HU, or like a region.
        spacing_mm: Distance of voxel centres in mm, (z, y, x).
        tube_voltage_kvp: Tube voltage in kV.
        slice_thickness_mm: Nominal slice thickness in mm.
        vessels: Vessel map.
        mass_calibration: mg/mL per HU.
        adapt: Changes every preset for the beam of the scan, such as
            :func:`kcalc.scoring.kvp_adapted`; a preset that it refuses does not apply.

    Raises:
        InputError, ValueError, TypeError: The scan is refused under any rule.

    Example:
        >>> import numpy as np
        >>> scan = np.full((2, 8, 8), 40, np.int16)
        >>> scan[1, 2:5, 2:4] = 250
        >>> outcomes = score_under_all_rules(scan, scan > 100, (1.5, 0.5, 0.5))
        >>> {x.rule.name: x.score.agatston for x in outcomes if x.score}["lassoan"]
        3.0
        >>> [x.reason.split(":")[0] for x in outcomes if x.score is None]
        ['RULE_THICKNESS', 'RULE_THICKNESS']
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
    outcomes = []
    for preset in RULES.values():
        try:
            score = score_checked(scan, preset if adapt is None else adapt(preset))
        except InputError as refusal:
            reason = f"{refusal.code}: {refusal.rule}"
            outcomes.append(RuleOutcome(preset, None, reason))
        else:
            outcomes.append(RuleOutcome(preset, score))
    return tuple(outcomes)
