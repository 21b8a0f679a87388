"""Clavicles, shoulder blades and upper arms of the chest phantom."""

from __future__ import annotations

from functools import partial

import numpy as np

from kcalc.phantoms.render import Paint
from kcalc.phantoms.shapes import Tube, ellipsoid
from kcalc.phantoms.skeleton import bone
from kcalc.phantoms.thorax import Build, Points, smooth_path

_SHEETS = 16
"""Ribbons that make up the blade, one above the other."""


def shoulders(build: Build, *, arms_down: bool) -> list[Paint]:
    """Return clavicles, shoulder blades and humeri, in painting order.

    Args:
        build: The patient.
        arms_down: Whether the arms lie beside the body; else above the head.
    """
    flesh, paints = [], []
    for side in (-1, 1):
        # Raised arms turn the blade outwards and lift it; no two sides are alike.
        shift = build.rng.normal(0, (7, 6, 12))
        if not arms_down:
            shift += (6, -6, 12)
        paints += _blade(build, side, shift)
        paints += _clavicle(build, side, shift)
        arm, muscle = _arm(build, side, shift, arms_down)
        paints += arm
        flesh += muscle
    return [*flesh, *paints]


def _place(
    build: Build, side: int, shift_mm: Points, *xyz_mm: tuple[float, float, float]
) -> Points:
    points = (np.array(xyz_mm, dtype=float) + shift_mm) * (side, 1, 1)
    return np.asarray(points * np.array(build.scale_xyz))


def _blade(build: Build, side: int, shift_mm: Points) -> list[Paint]:
    """The shoulder blade: a thin sheet, thick borders, spine, beak and socket."""
    rng = build.rng
    place = partial(_place, build, side, shift_mm)
    tip, neck = (112.0, 74.0, rng.uniform(5, 35)), (150.0, 34.0, 138.0)
    inner_top, root = (66.0, 80.0, 145.0), (70.0, 84.0, 112.0)
    outer = smooth_path(place(tip, (128.0, 60.0, 80.0), neck), _SHEETS)
    inner = smooth_path(place(tip, (78.0, 88.0, 80.0), inner_top), _SHEETS)
    paints = []
    hollow = rng.uniform(-8, 8)
    for border, medial in zip(outer, inner, strict=True):
        middle = (border + medial) / 2 + (0, hollow, 0)
        sheet = smooth_path(np.stack([border, middle, medial]), 8)
        height = float(np.clip(rng.uniform(3.5, 5.5), 2, 6))
        paints += bone(build, sheet, rng.uniform(1.2, 2.4), 1.0, height)
    paints += bone(build, outer, rng.uniform(3.5, 6.0), 1.4)
    paints += bone(build, inner, rng.uniform(1.8, 3.0), 1.2)
    ridge = smooth_path(
        place(root, (110.0, 92.0, 126.0), (148.0, 78.0, 150.0), (176.0, 44.0, 160.0)),
        14,
    )
    paints += bone(build, ridge, rng.uniform(3.0, 5.5), 1.3, rng.uniform(1.0, 1.8))
    beak = smooth_path(place((146, 26, 150), (140, 4, 156), (146, -10, 148)), 10)
    paints += bone(build, beak, rng.uniform(4.5, 7.0), 1.3)
    paints += bone(build, place((150, 36, 128), (154, 32, 148)), 11.0, 1.6)
    return paints


def _clavicle(build: Build, side: int, shift_mm: Points) -> list[Paint]:
    course = np.array(
        [(20, -74, 110), (60, -70, 122), (110, -40, 140), (165, 10, 158)], dtype=float
    )
    course[2:] += shift_mm * 0.6
    course *= np.array(build.scale_xyz) * (side, 1, 1)
    radius = build.rng.uniform(5.0, 7.0)
    return bone(build, smooth_path(course, 16), radius, build.rng.uniform(1.5, 2.6))


def _arm(
    build: Build, side: int, shift_mm: Points, arms_down: bool
) -> tuple[list[Paint], list[Paint]]:
    """The humerus with its head, and the muscle round it where the arm is raised."""
    rng = build.rng
    x, y, z = _place(build, side, shift_mm, (182.0, 30.0, 150.0))[0].tolist()
    size = rng.uniform(21, 26)
    muscle = []
    if arms_down:
        shaft = np.array([(x, y, z), (x + side * 25, y - 12, z - 90)])
    else:
        out, back = rng.uniform(10, 70), rng.uniform(-40, 30)
        shaft = np.array([(x, y, z), (x + side * out, y + back, z + 260)])
        muscle.append(Paint(Tube(shaft, 48.0), build.soft_hu + 8, 6.0))
    wall = rng.uniform(1.2, 2.2)
    cortical = rng.uniform(500, 1000) * build.bone_density
    spongy = rng.uniform(100, 320) * build.bone_density
    head = [
        Paint(ellipsoid((x, y, z), (size,) * 3), cortical),
        Paint(ellipsoid((x, y, z), (size - wall,) * 3), spongy, 45.0),
    ]
    return [*bone(build, shaft, 12.0, 4.0), *head], muscle
