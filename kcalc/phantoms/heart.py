"""Heart, epicardial fat, great vessels, coronary centrelines of the chest phantom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kcalc.phantoms.render import Paint
from kcalc.phantoms.shapes import Column, Tube, ellipsoid
from kcalc.phantoms.thorax import Build, smooth_path

Points = npt.NDArray[np.float64]

_COURSES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "LM": ((11, -20, 30), (17, -18, 30), (25, -19, 28)),
    "LAD": (
        (25, -19, 28),
        (31, -38, 24),
        (35, -54, 12),
        (43, -60, -6),
        (55, -58, -24),
        (66, -48, -38),
    ),
    "LCX": (
        (25, -19, 28),
        (44, -8, 24),
        (60, 4, 12),
        (60, 14, -6),
        (46, 20, -24),
    ),
    "RCA": (
        (-5, -34, 27),
        (-20, -50, 20),
        (-32, -50, 4),
        (-34, -40, -16),
        (-22, -22, -34),
        (2, 0, -42),
    ),
}
"""Courses on the heart of the median patient, LPS mm; projected on to its surface."""


@dataclass(frozen=True, eq=False)
class Heart:
    """The heart and what hangs on it.

    Args:
        paints: In painting order.
        coronaries: Centreline of each vessel by name, (n, 3) LPS mm.
        coronary_radius_mm: Radius of the coronary tubes at their origin.
        aorta: Centreline of the aorta from root to abdomen, (n, 3).
        aorta_radius_mm: Radius along it, (n,).
        sac: The pericardium, within which everything moves.
        centre_xyz_mm: Middle of the heart.
    """

    paints: list[Paint]
    coronaries: dict[str, Points]
    coronary_radius_mm: float
    aorta: Points
    aorta_radius_mm: npt.NDArray[np.float64]
    sac: Column
    centre_xyz_mm: tuple[float, float, float]


def heart(build: Build) -> Heart:
    """Draw a heart with epicardial fat, great vessels and coronary arteries."""
    rng = build.rng
    size = rng.uniform(0.88, 1.15)
    centre = np.array(build.point(20 + rng.uniform(-4, 4), -24 + rng.uniform(-4, 4), 0))
    half = np.array([56.0, 44.0, 52.0]) * size * np.array(build.scale_xyz)
    angle = rng.uniform(0.35, 0.75)
    fat_mm = rng.uniform(4, 11)
    x, y, z = (float(value) for value in centre)
    sac = ellipsoid((x, y, z), tuple((half + fat_mm).tolist()), angle, 2.0)
    muscle = ellipsoid((x, y, z), tuple(half.tolist()), angle)
    sx, sy, sz = build.scale_xyz
    paints = [
        Paint(ellipsoid((x, y, z), tuple((half + fat_mm + 1.5).tolist()), angle), 20.0),
        Paint(sac, build.fat_hu + 10, 6.0),
        Paint(muscle, build.blood_hu + 8, 4.0),
    ]
    for where, semi in (
        ((34, -30, -8), (26, 18, 28)),
        ((2, -38, -2), (22, 16, 26)),
        ((6, 4, 18), (30, 17, 20)),
        ((-26, -18, 2), (18, 20, 24)),
    ):
        chamber = ellipsoid(
            build.point(*where), (semi[0] * sx, semi[1] * sy, semi[2] * sz), angle
        )
        paints.append(Paint(chamber, build.blood_hu))
    paints += _grooves(build, centre, half, angle)
    coronaries = _coronaries(build, centre, half, angle, fat_mm)
    aorta, aorta_radius = _aorta(build)
    paints += _great_vessels(build, aorta, aorta_radius)
    radius = rng.uniform(1.3, 2.4)
    for name, path in coronaries.items():
        taper = np.linspace(1.0, 1.0 if name == "LM" else 0.5, len(path))
        width = radius * (1.25 if name == "LM" else 1.0)
        paints.append(Paint(Tube(path, width * taper + 1.5), build.fat_hu + 10))
        paints.append(Paint(Tube(path, width * taper), build.blood_hu))
    return Heart(paints, coronaries, radius, aorta, aorta_radius, sac, (x, y, z))


def _on_surface(
    points: Points, centre: Points, half: Points, angle: float, gap_mm: float
) -> Points:
    """Move points along their rays on to the ellipsoid, ``gap_mm`` above it."""
    cos, sin = np.cos(angle), np.sin(angle)
    rays = points - centre
    u = (rays[:, 0] * cos + rays[:, 1] * sin) / half[0]
    v = (rays[:, 1] * cos - rays[:, 0] * sin) / half[1]
    w = rays[:, 2] / half[2]
    reach = np.sqrt(u * u + v * v + w * w)[:, None]
    length = np.linalg.norm(rays, axis=1, keepdims=True)
    return np.asarray(centre + rays / reach + gap_mm * rays / length)


def _coronaries(
    build: Build, centre: Points, half: Points, angle: float, fat_mm: float
) -> dict[str, Points]:
    rng = build.rng
    depth = rng.uniform(0.0, 0.45) * fat_mm
    courses = {}
    for name, course in _COURSES.items():
        points = build.points(*course)
        points[1:] += rng.normal(0, 2.5, points[1:].shape)
        surface = _on_surface(points, centre, half, angle, depth)
        if name in ("LM", "RCA"):
            surface[0] = points[0]
        courses[name] = smooth_path(surface)
    end = courses["LM"][-1]
    for name in ("LAD", "LCX"):
        shift = end - courses[name][0]
        fade = np.linspace(1, 0, len(courses[name]))[:, None] ** 2
        courses[name] = courses[name] + fade * shift
    return courses


def _grooves(build: Build, centre: Points, half: Points, angle: float) -> list[Paint]:
    """Fat in the atrioventricular groove, where RCA and LCX run."""
    paints = []
    for name in ("RCA", "LCX", "LAD"):
        points = build.points(*_COURSES[name])
        path = smooth_path(_on_surface(points, centre, half, angle, 1.0), 16)
        width = build.rng.uniform(2.5, 6.5)
        paints.append(Paint(Tube(path, width), build.fat_hu + 12))
    return paints


def _aorta(build: Build) -> tuple[Points, npt.NDArray[np.float64]]:
    rng = build.rng
    path = build.points(
        (2, -22, 18),
        (-4, -28, 38),
        (-14, -30, 60),
        (-10, -24, 82),
        (4, -8, 93),
        (19, 14, 90),
        (26, 32, 74),
        (27, 42, 45),
        (24, 44, 0),
        (12, 38, -90),
        (8, 24, -160),
        (4, 22, -320),
    )
    path[1:] += rng.normal(0, 2, path[1:].shape)
    width = rng.uniform(0.85, 1.25)
    along = np.linspace(0, 1.1, 77)
    radius = width * np.interp(
        along, [0, 0.3, 0.5, 0.7, 1.0], [15.5, 16.5, 14, 12.5, 11]
    )
    return smooth_path(path, len(along)), radius


def _great_vessels(
    build: Build, aorta: Points, aorta_radius: npt.NDArray[np.float64]
) -> list[Paint]:
    blood = build.blood_hu
    trunk = smooth_path(
        build.points((16, -44, 26), (20, -42, 42), (22, -30, 54), (24, -14, 56)), 16
    )
    left = smooth_path(build.points((24, -14, 56), (38, 2, 54), (58, 14, 42)), 12)
    right = smooth_path(build.points((22, -16, 54), (-10, -4, 50), (-48, 6, 40)), 12)
    cava = build.points((-28, -20, 130), (-27, -18, 80), (-24, -14, 24))
    lower = build.points((-22, -4, -30), (-24, 4, -60), (-24, 10, -150))
    neck = [
        build.points((-10, -20, 88), (-16, -18, 120), (-26, -14, 160)),
        build.points((4, -8, 92), (8, -6, 125), (18, -2, 160)),
        build.points((17, 10, 92), (24, 10, 125), (40, 4, 160)),
    ]
    vessels = [
        (trunk, 13.0),
        (left, 9.0),
        (right, 9.0),
        (cava, 9.0),
        (lower, 11.0),
        *((path, 4.5) for path in neck),
    ]
    paints = [Paint(Tube(path, radius), blood) for path, radius in vessels]
    paints.append(Paint(Tube(aorta[14:], aorta_radius[14:] + 1.5), build.fat_hu + 40))
    paints.append(Paint(Tube(aorta, aorta_radius), blood))
    return paints
