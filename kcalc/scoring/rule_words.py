"""A scoring rule enters, its words leave: what stands beside every number."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kcalc.scoring.rules import ScoringRule


def rule_in_words(rule: ScoringRule) -> str:
    """Return the whole rule in words: threshold, lesion, weight, score, volume."""
    return " ".join(
        (_threshold(rule), _lesion(rule), _weight(rule), _score(rule), _volume(rule))
    )


def volume_in_words(rule: ScoringRule) -> str:
    """Return the rule in words where no Agatston score is given."""
    return " ".join((_threshold(rule), _lesion(rule), _volume(rule)))


def _at_or_above(comparison: str) -> str:
    return "at or above" if comparison == ">=" else "above"


def _threshold(rule: ScoringRule) -> str:
    if rule.threshold_hu is None:
        text = "Calcium: every voxel of the mask, without a threshold"
    else:
        how = _at_or_above(rule.threshold_comparison)
        text = f"Calcium: voxels of the mask {how} {rule.threshold_hu:g} HU"
    others = ", ".join(
        f"{row.threshold_hu:g} HU at {row.tube_voltage_kvp:g} kVp"
        for row in rule.kvp_table
    )
    if not others:
        return f"{text}."
    only = ", and no other voltage" if rule.only_listed_kvp else ""
    return f"{text}. The rule's table: {others}{only}."


def _lesion(rule: ScoringRule) -> str:
    specks = ""
    if rule.speck_voxels:
        specks = (
            "6-connected specks of calcium of at most "
            f"{_count(rule.speck_voxels, 'voxel')} are removed first. "
        )
    if rule.connectivity == "label":
        form = (
            "all calcium under one number of the vessel map, joined or not; without a "
            "map 6-connected, 3-D, across slices"
        )
    elif rule.connectivity == 1:
        form = "every pixel on its own"
    else:
        where = "2-D, within each slice" if rule.ndim == 2 else "3-D, across slices"
        form = f"{rule.connectivity}-connected, {where}"
    if rule.single_pixels_below and rule.connectivity != 1:
        form += (
            " (every pixel on its own where the smallest lesion has fewer than "
            f"{_count(rule.single_pixels_below, 'pixel')})"
        )
    how = "at least" if rule.minimum_comparison == ">=" else "more than"
    limits = []
    if rule.minimum_area_mm2:
        near = ", to the nearest whole pixel" * (rule.minimum_rounding == "nearest")
        limits.append(f"{how} {rule.minimum_area_mm2:g} mm2{near}")
    if rule.minimum_pixels:
        unit = "pixel" if rule.ndim == 2 else "voxel"
        limits.append(f"{how} {_count(rule.minimum_pixels, unit)}")
    size = " and ".join(limits) if limits else "any size"
    return f"{specks}Lesion: {form}, of {size}."


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _weight(rule: ScoringRule) -> str:
    where = "lesion"
    if rule.ndim == 3 and rule.weight_from == "slice":
        where = "lesion in each slice"
    edge = "from" if rule.bin_comparison == ">=" else "above"
    bins = ", ".join(f"{w:g} {edge} {low:g} HU" for low, w in rule.density_bins)
    return f"Weight by the maximum of the {where}: {bins}, else 0."


def _score(rule: ScoringRule) -> str:
    scale = {
        "spacing": f" x slice spacing / {rule.reference_slice_mm:g} mm",
        "thickness": f" x slice thickness / {rule.reference_slice_mm:g} mm",
        "none": ", without slice scaling",
    }[rule.slice_scaling]
    text = f"Agatston score: sum of area in mm2 x weight{scale}"
    if rule.pixel_decimals is not None:
        text += (
            "; a pixel's area x scaling rounded to "
            f"{_count(rule.pixel_decimals, 'decimal')}"
        )
    if rule.lesion_decimals is not None:
        text += f"; each lesion rounded to {_count(rule.lesion_decimals, 'decimal')}"
    if rule.total_decimals is not None:
        text += f"; the total rounded to {_count(rule.total_decimals, 'decimal')}"
    return f"{text}."


def _volume(rule: ScoringRule) -> str:
    if rule.volume_of == "isotropic":
        return (
            "Volume: of the lesions kept, interpolated linearly between slices at "
            "every pixel width. Mass: area x slice spacing x mean HU x calibration "
            "over the lesions kept."
        )
    if rule.volume_threshold_hu is not None:
        how = _at_or_above(rule.volume_comparison)
        counted = (
            f"the lesions formed by the same rule {how} {rule.volume_threshold_hu:g} HU"
        )
    else:
        counted = {
            "lesions": "the lesions kept",
            "calcium": "all that calcium, whatever the size of the lesion",
            "mask": "the whole mask, whatever its HU",
        }[rule.volume_of]
    return (
        f"Volume: area x slice spacing over {counted}. Mass: volume x mean HU x "
        "calibration over the same."
    )
