"""The slow loop: one scorer for every rule, written voxel by voxel.

It reads a rule's fields and nothing else of kcalc.scoring, so that each is understood
twice: no NumPy but for reading values, no sparse graph, no run lengths.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np

from kcalc.scoring import ScoringRule

Voxel = tuple[int, int, int]


@dataclass(frozen=True)
class LoopScore:
    """Totals of the slow loop, and the sizes of the score's lesions in scan order."""

    agatston: float
    volume_mm3: float
    mass_mg: float
    sizes: list[int]


def loop_score(
    scan: np.ndarray,
    mask: np.ndarray,
    spacing_mm: tuple[float, float, float],
    rule: ScoringRule,
    *,
    kvp: float | None = None,
    thickness_mm: float | None = None,
    labels: np.ndarray | None = None,
    calibration: float = 1.0,
) -> LoopScore:
    """Score in the most obvious way there is."""
    area = spacing_mm[1] * spacing_mm[2]
    threshold, bins = rule.threshold_hu, rule.density_bins
    for row in rule.kvp_table:
        if kvp is not None and abs(row.tube_voltage_kvp - kvp) <= 0.5:
            threshold, bins = row.threshold_hu, row.density_bins

    in_mask = [v for v in np.ndindex(scan.shape) if mask[v]]
    calcium = {v for v in in_mask if _over(scan[v], threshold, rule)}
    calcium = _without_specks(calcium, rule)
    kept = [
        members
        for members in _components(calcium, rule, area, labels)
        if _large_enough(len(members), rule, area)
    ]
    factor = {
        "spacing": spacing_mm[0] / rule.reference_slice_mm,
        "thickness": (thickness_mm or math.nan) / rule.reference_slice_mm,
        "none": 1.0,
    }[rule.slice_scaling]
    per_pixel = area * factor
    if rule.pixel_decimals is not None:
        per_pixel = round(per_pixel, rule.pixel_decimals)

    agatston = 0.0
    for members in kept:
        points = 0.0
        for z in {voxel[0] for voxel in members}:
            part = [voxel for voxel in members if voxel[0] == z]
            look_at = members if rule.weight_from == "lesion" else part
            maximum = max(float(scan[v]) for v in look_at)
            points += len(part) * _weight(maximum, bins, rule)
        lesion = points * per_pixel
        if rule.lesion_decimals is not None:
            lesion = round(lesion, rule.lesion_decimals)
        agatston += lesion
    if rule.total_decimals is not None:
        agatston = round(agatston, rule.total_decimals)

    counted: Iterable[Voxel] = (v for members in kept for v in members)
    if rule.volume_of == "mask":
        counted = in_mask
    elif rule.volume_of == "calcium":
        counted = calcium
    elif rule.volume_threshold_hu is not None:
        over = {
            v
            for v in in_mask
            if scan[v] > rule.volume_threshold_hu
            or (scan[v] == rule.volume_threshold_hu and rule.volume_comparison == ">=")
        }
        counted = [
            v
            for members in _components(_without_specks(over, rule), rule, area, labels)
            if _large_enough(len(members), rule, area)
            for v in members
        ]
    voxel_mm3 = area * spacing_mm[0]
    volume = mass = 0.0
    for voxel in counted:
        volume += voxel_mm3
        mass += voxel_mm3 * float(scan[voxel]) * calibration / 1000.0
    if rule.volume_of == "isotropic":
        lesion = {v for members in kept for v in members}
        volume = _between_slices(scan, lesion, spacing_mm, threshold, rule)
    return LoopScore(agatston, volume, mass, [len(members) for members in kept])


def _between_slices(
    scan: np.ndarray,
    lesion: set[Voxel],
    spacing_mm: tuple[float, float, float],
    threshold: float | None,
    rule: ScoringRule,
) -> float:
    """Count cubes along every column, from the first slice's centre to the last's."""
    width = math.sqrt(spacing_mm[1] * spacing_mm[2])
    last, count = len(scan) - 1, 0
    for y, x in np.ndindex(scan.shape[1:]):
        for sample in range(10_000_000):
            z = sample * width / spacing_mm[0]
            if z > last + 1e-9:
                break
            below = min(math.floor(z + 1e-9), last)
            above = min(below + 1, last)
            share = max(z - below, 0.0)
            if share < 1e-9:
                near, far = below, below
            else:
                near, far = (below, above) if share < 0.5 else (above, below)
            hu = float(scan[below, y, x])
            hu += share * (float(scan[above, y, x]) - hu)
            if not _over(hu, threshold, rule):
                continue
            here, there = (near, y, x) in lesion, (far, y, x) in lesion
            foreign = not here and _over(scan[near, y, x], threshold, rule)
            count += here or (there and not foreign)
    return count * width**3


def _over(hu: float, threshold: float | None, rule: ScoringRule) -> bool:
    if threshold is None:
        return True
    return hu > threshold or (hu == threshold and rule.threshold_comparison == ">=")


def _weight(
    maximum: float, bins: tuple[tuple[float, int], ...], rule: ScoringRule
) -> float:
    weight = 0.0
    for edge, value in bins:
        if maximum > edge or (maximum == edge and rule.bin_comparison == ">="):
            weight = value
    return weight


def _without_specks(voxels: set[Voxel], rule: ScoringRule) -> set[Voxel]:
    if rule.speck_voxels == 0:
        return voxels
    parts = _walk(voxels, 6)
    return {v for part in parts if len(part) > rule.speck_voxels for v in part}


def _smallest(rule: ScoringRule, area: float) -> int:
    """Return the fewest pixels of a lesion, found by counting up."""
    n = 1
    while not _large_enough(n, rule, area):
        n += 1
    return n


def _large_enough(n: int, rule: ScoringRule, area: float) -> bool:
    strict = rule.minimum_comparison == ">"
    enough = n > rule.minimum_pixels if strict else n >= rule.minimum_pixels
    if rule.minimum_rounding == "nearest":
        wanted = round(rule.minimum_area_mm2 / area)
        return enough and (n > wanted if strict else n >= wanted)
    short = rule.minimum_area_mm2 - n * area
    about_equal = abs(short) <= 1e-6 * area
    return enough and ((short < 0 and not about_equal) or (about_equal and not strict))


def _components(
    voxels: set[Voxel], rule: ScoringRule, area: float, labels: np.ndarray | None
) -> list[list[Voxel]]:
    connectivity = rule.connectivity
    if connectivity == "label" and labels is None:
        connectivity = 6
    if connectivity == "label":
        found: dict[int, list[Voxel]] = {}
        for v in sorted(voxels):
            found.setdefault(int(labels[v]), []).append(v)
        return list(found.values())
    if _smallest(rule, area) < rule.single_pixels_below:
        connectivity = 1
    return _walk(voxels, connectivity)


def _walk(voxels: set[Voxel], connectivity: int) -> list[list[Voxel]]:
    """Return the components as sorted lists, in order of their first voxels."""
    wanted, components = set(voxels), []
    for first in sorted(voxels):
        if first not in wanted:
            continue
        wanted.remove(first)
        todo, members = [first], []
        while todo:
            z, y, x = todo.pop()
            members.append((z, y, x))
            for dz, dy, dx in product((-1, 0, 1), repeat=3):
                steps = abs(dz) + abs(dy) + abs(dx)
                if connectivity == 1 or (connectivity in (4, 8) and dz != 0):
                    continue
                if connectivity in (4, 6) and steps != 1:
                    continue
                neighbour = (z + dz, y + dy, x + dx)
                if neighbour in wanted:
                    wanted.remove(neighbour)
                    todo.append(neighbour)
        components.append(sorted(members))
    return components
