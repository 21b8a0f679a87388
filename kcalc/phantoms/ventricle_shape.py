"""The heart and chest of a short-axis MR phantom: occupancies in the planes of slices.

All lengths are mm. A plane has coordinates (u, v), right and down in the image, with
the middle of the field at 0; ``w`` runs along the long axis of the left ventricle from
the tip of its cavity (0) to the base.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]

SIGNAL = {
    "air": 0.01,
    "lung": 0.06,
    "muscle": 0.30,
    "myocardium": 0.36,
    "liver": 0.45,
    "fat": 0.95,
    "blood": 1.0,
    "marrow": 0.55,
}
"""Signal of tissues in a balanced steady-state sequence, blood being 1."""


@dataclass(frozen=True)
class Ventricle:
    """What was drawn of one patient, in mm and radians.

    Args:
        length_mm: Of the cavity of the left ventricle, tip to base.
        radius_mm: Of the cavity at its widest.
        wall_mm: Thickness of the myocardium there.
        centre_uv_mm: Middle of the cavity at the tip.
        drift_uv: Shift of the middle for each mm towards the base.
        harmonics: (order, share of the radius, phase) of the outline's deformation.
        trabeculae: (order, share of the radius, phase) of the muscle at its rim.
        papillary: (angle, radius in mm, from and to as shares of the length).
        septum_rad: Direction of the right ventricle seen from the left one.
        rv_scale: Size of the right ventricle, 1 for the usual one.
        fat_mm: Pericardial fat at its thickest.
        chest_mm: Half axes of the chest.
        skin_mm: Fat under the skin.
        liver_level: Share of the length below which the liver is seen.
        vessels: (u, v, radius) of vessels in the lung.
    """

    length_mm: float
    radius_mm: float
    wall_mm: float
    centre_uv_mm: tuple[float, float]
    drift_uv: tuple[float, float]
    harmonics: tuple[tuple[int, float, float], ...]
    trabeculae: tuple[tuple[int, float, float], ...]
    papillary: tuple[tuple[float, float, float, float], ...]
    septum_rad: float
    rv_scale: float
    fat_mm: float
    chest_mm: tuple[float, float]
    skin_mm: float
    liver_level: float
    vessels: tuple[tuple[float, float, float], ...]

    def cavity_mm(self, w: float) -> float:
        """Return the mean radius of the cavity in a plane; 0 below its tip."""
        return _profile(w, 0.0, self.length_mm, self.radius_mm)

    def outer_mm(self, w: float) -> float:
        """Return the mean radius of the myocardium's outside; 0 below its tip."""
        tip = -0.6 * self.wall_mm
        return _profile(w, tip, self.length_mm, self.radius_mm + self.wall_mm)


def paint(
    heart: Ventricle, u: Plane, v: Plane, w: float, pixel_mm: float
) -> tuple[Plane, Plane, Plane]:
    """Return one plane: signal, share of cavity and share of myocardium in each pixel.

    The papillary muscles and trabeculae have the signal of muscle and belong to the
    cavity, as in the usual contours.

    Args:
        heart: The patient.
        u: Positions to the right, (y, x).
        v: Positions downwards, (y, x).
        w: Position on the long axis.
        pixel_mm: Width over which edges are soft.
    """
    signal = np.full(u.shape, SIGNAL["air"], np.float32)

    def add(distance_mm: Plane, tissue: str) -> Plane:
        """Paint where a distance is negative, and return the share of each pixel."""
        inside = np.clip(0.5 - distance_mm / pixel_mm, 0.0, 1.0)
        share: Plane = np.asarray(inside, np.float32)
        signal[...] += share * (np.float32(SIGNAL[tissue]) - signal)
        return share

    for distance, tissue in _chest(heart, u, v, w):
        add(distance, tissue)
    du = u - heart.centre_uv_mm[0] - heart.drift_uv[0] * w
    dv = v - heart.centre_uv_mm[1] - heart.drift_uv[1] * w
    radius, angle = np.hypot(du, dv), np.arctan2(dv, du)
    shape = 1.0 + sum(
        share * np.cos(order * (angle - phase))
        for order, share, phase in heart.harmonics
    )
    outer, inner = heart.outer_mm(w) * shape, heart.cavity_mm(w) * shape
    none = np.zeros(u.shape, np.float32)
    for distance, tissue in _right_heart(heart, du, dv, angle, radius, outer, w):
        add(distance, tissue)
    if w > heart.length_mm:
        for distance, tissue in _above_the_base(heart, du, dv, radius):
            add(distance, tissue)
        return signal, none, none
    if heart.outer_mm(w) == 0.0:
        return signal, none, none
    outside = add(radius - outer, "myocardium")
    distance = np.asarray(radius - inner, np.float32)
    # Near the base the outflow tract opens the wall beside the septum.
    opening = (w - 0.9 * heart.length_mm) / (0.1 * heart.length_mm)
    if opening > 0:
        off = np.abs(_wrapped(angle - heart.septum_rad - 0.7))
        gap = np.asarray((off - 0.45 * opening) * radius, np.float32)
        gap = np.maximum(gap, np.maximum(radius - outer, inner - radius - pixel_mm))
        distance = np.minimum(distance, gap)
    if heart.cavity_mm(w) == 0.0:
        return signal, none, outside
    cavity = np.minimum(add(distance, "blood"), outside)
    for muscle in _muscles_within(heart, du, dv, angle, radius, inner, w):
        add(np.maximum(muscle, distance), "myocardium")
    return signal, cavity, outside - cavity


def _profile(w: float, tip: float, base: float, radius: float) -> float:
    """Return the radius of a cup: half an ellipsoid that narrows to the base."""
    widest = tip + 0.7 * (base - tip)
    if w <= tip:
        return 0.0
    if w < widest:
        return float(radius * np.sqrt(1 - ((widest - w) / (widest - tip)) ** 2))
    return float(radius * (1 - 0.15 * ((w - widest) / (base - widest)) ** 2))


def _ellipse(u: Plane, v: Plane, a: float, b: float) -> Plane:
    """Return about the distance from an ellipse, negative within."""
    level = np.hypot(u / a, v / b)
    return np.asarray((level - 1.0) * min(a, b), np.float32)


def _wrapped(angle: Plane) -> Plane:
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi, np.float32)


def _chest(
    heart: Ventricle, u: Plane, v: Plane, w: float
) -> Iterator[tuple[Plane, str]]:
    """Yield what surrounds the heart, outermost first."""
    a, b = heart.chest_mm
    skin, muscle = heart.skin_mm, 12.0
    yield _ellipse(u, v, a, b), "fat"
    yield _ellipse(u, v, a - skin, b - skin), "muscle"
    for rib in np.arange(0.2, 2 * np.pi, 0.45):
        ribs = (a - skin - muscle / 2, b - skin - muscle / 2)
        yield (
            _ellipse(u - ribs[0] * np.cos(rib), v - ribs[1] * np.sin(rib), 7.0, 4.5),
            "marrow",
        )
    inner = _ellipse(u, v, a - skin - muscle, b - skin - muscle)
    yield inner, "lung"
    for at_u, at_v, radius in heart.vessels:
        yield np.maximum(_ellipse(u - at_u, v - at_v, radius, radius), inner), "blood"
    spine_u, spine_v = -0.15 * a, 0.78 * b
    yield _ellipse(u - spine_u, v - spine_v, 34.0, 26.0), "muscle"
    yield _ellipse(u - spine_u, v - spine_v, 19.0, 16.0), "marrow"
    yield _ellipse(u - spine_u, v - spine_v - 24.0, 8.0, 8.0), "blood"
    yield _ellipse(u - spine_u - 34.0, v - spine_v + 14.0, 11.0, 11.0), "blood"
    rise = heart.liver_level * heart.length_mm - w
    if rise > 0:
        grown = min(1.0, 0.45 + rise / 60.0)
        liver = _ellipse(u + 0.5 * a, v - 0.45 * b, 0.55 * a * grown, 0.5 * b * grown)
        yield np.maximum(liver, inner), "liver"
        stomach = _ellipse(u - 0.45 * a, v - 0.5 * b, 0.3 * a * grown, 0.3 * b * grown)
        yield np.maximum(stomach, inner), "muscle"


def _right_heart(
    heart: Ventricle,
    du: Plane,
    dv: Plane,
    angle: Plane,
    radius: Plane,
    outer: Any,
    w: float,
) -> Iterator[tuple[Plane, str]]:
    """Yield pericardial fat, the right ventricle's wall and its blood."""
    top = min(1.0, w / heart.length_mm)
    size = heart.rv_scale * np.sqrt(max(0.0, 1 - ((0.75 - top) / 0.72) ** 2))
    away = heart.outer_mm(w) * 0.75 + 8.0 * size
    along_u, along_v = np.cos(heart.septum_rad), np.sin(heart.septum_rad)
    across = -du * along_v + dv * along_u
    along = du * along_u + dv * along_v - away
    a, b = 30.0 * size + 1e-3, 40.0 * size + 1e-3
    chamber = _ellipse(np.asarray(along), np.asarray(across), a, b)
    whole = np.asarray(np.minimum(chamber - 4.0, radius - outer), np.float32)
    lumpy = 0.55 + 0.25 * np.cos(angle - 2.2) + 0.2 * np.cos(3 * angle + w / 15.0)
    if heart.outer_mm(w) > 0 or size > 0.1:
        yield np.asarray(whole - heart.fat_mm * lumpy, np.float32), "fat"
    if size > 0.1:
        yield np.asarray(chamber - 3.5, np.float32), "myocardium"
        coarse = 1.5 * np.cos(9 * angle + w / 4.0) + 1.0 * np.cos(17 * angle - w / 6.0)
        blood = np.maximum(chamber + 1.2 + 0.5 * coarse, outer + 1.0 - radius)
        yield np.asarray(blood, np.float32), "blood"


def _above_the_base(
    heart: Ventricle, du: Plane, dv: Plane, radius: Plane
) -> Iterator[tuple[Plane, str]]:
    """Yield left atrium and root of the aorta: bright as the cavity, and none of it."""
    yield np.asarray(radius - heart.radius_mm - 6.0, np.float32), "fat"
    back = heart.septum_rad + 2.2
    shift = 0.35 * heart.radius_mm
    atrium_u, atrium_v = du - shift * np.cos(back), dv - shift * np.sin(back)
    yield _ellipse(atrium_u, atrium_v, heart.radius_mm, 0.8 * heart.radius_mm), "blood"
    root = heart.septum_rad + 0.7
    at_u, at_v = (0.9 * heart.radius_mm * f(root) for f in (np.cos, np.sin))
    yield _ellipse(du - at_u, dv - at_v, 16.0, 16.0), "myocardium"
    yield _ellipse(du - at_u, dv - at_v, 14.0, 14.0), "blood"


def _muscles_within(
    heart: Ventricle,
    du: Plane,
    dv: Plane,
    angle: Plane,
    radius: Plane,
    inner: Any,
    w: float,
) -> Iterator[Plane]:
    """Yield the distance from trabeculae and papillary muscles."""
    level = w / heart.length_mm
    depth = sum(
        share * np.maximum(0.0, np.cos(order * (angle - phase) + 3.0 * level))
        for order, share, phase in heart.trabeculae
    )
    fade = np.clip((0.9 - level) / 0.3, 0.0, 1.0)
    if fade > 0:
        yield np.asarray(inner * (1.0 - depth * fade) - radius, np.float32)
    for at, size, low, high in heart.papillary:
        if low < level < high:
            rise = (level - low) / (high - low)
            place = heart.cavity_mm(w) * (0.85 - 0.35 * rise)
            thick = size * np.sqrt(1.0 - rise**2) + 0.5
            far_u, far_v = du - place * np.cos(at), dv - place * np.sin(at)
            yield np.asarray(np.hypot(far_u, far_v) - thick, np.float32)
