"""What a reader of a score must know: rule, scan and lesions in, warnings out.

Every warning begins with a code and a colon.
"""

from __future__ import annotations

from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.scoring.components import Components
from kcalc.scoring.lesions import Lesion
from kcalc.scoring.rules import STANDARD_TUBE_VOLTAGE_KVP, ScoringRule
from kcalc.scoring.volumes import Counted

_STANDARD_THICKNESS_MM = (2.5, 3.0)


def voltage_cautions(rule: ScoringRule, tube_voltage_kvp: float | None) -> list[str]:
    """Say what a tube voltage other than 120 kV did, or failed to do.

    Args:
        rule: The rule before it was applied.
        tube_voltage_kvp: Tube voltage in kV, or None.
    """
    if tube_voltage_kvp is None:
        return []
    scanned = f"KVP: scanned at {tube_voltage_kvp:g} kVp"
    standard = abs(tube_voltage_kvp - STANDARD_TUBE_VOLTAGE_KVP) <= 0.5
    row = rule.kvp_row(tube_voltage_kvp)
    if row is not None:
        if standard:
            return []
        return [
            f"{scanned} and scored at the {row.threshold_hu:g} HU that the rule "
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


def slice_cautions(
    slice_spacing_mm: float, slice_thickness_mm: float | None
) -> list[str]:
    """Say that slices are not 2.5 to 3 mm; by their spacing without a thickness."""
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


def lesion_cautions(components: Components, lesions: tuple[Lesion, ...]) -> list[str]:
    """Say that a mask with voxels gave no lesion."""
    if lesions or components.num_mask_voxels == 0:
        return []
    return [
        f"NO_LESION: the mask has {components.num_mask_voxels} voxels, of which "
        f"{len(components.values_hu)} reach the threshold, but no lesion reaches the "
        "minimum size; see that mask and scan belong together."
    ]


def mask_cautions(counted: Counted, rule: ScoringRule) -> list[str]:
    """Say where a rule that looks below 130 HU meets a mask made for another one.

    Args:
        counted: What volume and mass count.
        rule: The rule as applied.
    """
    lowest_hu = rule.for_volume.threshold_hu
    usual_hu = AGATSTON_THRESHOLD_HU
    if counted.num_voxels == 0 or (lowest_hu is not None and lowest_hu >= usual_hu):
        return []
    if counted.num_below_usual == 0:
        return [
            f"MASK_CUT: the rule {rule.name} counts voxels below {usual_hu} HU too, "
            "and the mask holds none; if it was cut there, this is not what the origin "
            "of the rule would give."
        ]
    if lowest_hu is None and counted.num_below_usual > counted.num_voxels / 2:
        code, what = "MASK_REGION", "counts the mask"
        if rule.threshold_hu is not None:
            code, what = "MASK_VOLUME", "counts the mask in volume and mass"
        return [
            f"{code}: the rule {rule.name} {what} whatever its HU, and "
            f"{counted.num_below_usual} of its {counted.num_voxels} voxels are below "
            f"{usual_hu} HU; it is meant for a mask of calcium, not of a region."
        ]
    return []
