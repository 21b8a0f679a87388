"""Intracranial carotid arteries of the head phantom: siphons and their calcium.

Segments as the paper scores them, from the petrous part to the circle of Willis
(Bortsova 2017, section 1): petrous, lacerum, cavernous, clinoid, supraclinoid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kcalc.anatomy import INTRACRANIAL_CAROTIDS
from kcalc.phantoms.chest_calcium import rotation_to
from kcalc.phantoms.deposits import Deposit, Part
from kcalc.phantoms.head_build import SIDES, HeadBuild
from kcalc.phantoms.render import Paint
from kcalc.phantoms.shapes import Tube
from kcalc.phantoms.thorax import Points, smooth_path

_COURSE = (
    *((30, 32, -70), (29, 33, -44), (28, 32, -35), (27, 30.5, -28)),
    *((25, 27, -23.5), (20, 21.5, -21.5), (15.5, 16, -19), (12.8, 12.5, -13.5)),
    *((12, 10, -7.5), (12.3, 6, -4.0), (12.8, -1.5, -4.6), (12.2, -7.5, -3.6)),
    *((10.8, -10.2, 0.6), (10.3, -7.5, 4.6), (11.2, -4.0, 8.0), (12.6, -1.2, 11.5)),
    (14.8, 1.0, 15.5),
)
"""Left internal carotid artery of the median head, from the neck to its division."""

PETROUS_FROM_KNOT = 2.4
"""Index of the course at which the petrous part begins, and the calcium that counts."""

_ENDS = {
    "cervical": PETROUS_FROM_KNOT,
    "petrous": 6.2,
    "lacerum": 7.8,
    "cavernous": 11.9,
    "clinoid": 13.3,
    "supraclinoid": 16.0,
}
"""Where each segment ends, as an index of the course."""

_SHARE = {
    "petrous": 0.14,
    "lacerum": 0.08,
    "cavernous": 0.48,
    "clinoid": 0.17,
    "supraclinoid": 0.13,
}
"""Share of lesions of a segment: most lie in the cavernous part and its genua."""

_STEPS = 240


@dataclass(frozen=True, eq=False)
class Carotid:
    """One internal carotid artery.

    Args:
        label: Its number in ``kcalc.anatomy``.
        side: -1 right, 1 left.
        path_xyz_mm: Centreline, (n, 3).
        radius_mm: Outer radius along it, (n,).
        segments: Name of the segment at each point of the path.
    """

    label: int
    side: int
    path_xyz_mm: Points
    radius_mm: Points
    segments: tuple[str, ...]

    def knots_xyz_mm(self) -> list[list[float]]:
        """Return 17 points from neck to division, rounded: for records."""
        steps = np.linspace(0, len(self.path_xyz_mm) - 1, len(_COURSE)).round()
        knots: list[list[float]] = self.path_xyz_mm[steps.astype(int)].round(2).tolist()
        return knots


def median_course() -> Points:
    """Return the left artery of the median head, petrous part to its end, (n, 3)."""
    path = smooth_path(np.array(_COURSE, dtype=float), _STEPS)
    where = np.linspace(0, len(_COURSE) - 1, _STEPS)
    return path[where >= PETROUS_FROM_KNOT]


def carotids(build: HeadBuild) -> list[Carotid]:
    """Draw both internal carotid arteries, each with its own bends and width."""
    rng = build.rng
    labels = {vessel.name: vessel.label for vessel in INTRACRANIAL_CAROTIDS}
    width = rng.uniform(0.88, 1.18)
    drawn = []
    for side, name in zip(SIDES, ("right ICA", "left ICA"), strict=True):
        course = np.array(_COURSE, dtype=float)
        siphon = slice(8, 14)
        bend = rng.uniform(0.65, 1.45)
        course[siphon, 2] = 0.5 + (course[siphon, 2] - 0.5) * bend
        course[siphon, 0] += rng.uniform(-1.0, 1.5)
        course[10:15, 1] += rng.normal(0, 1.2)
        course[2:] += rng.normal(0, 0.45, course[2:].shape)
        knots = tuple((side * x, y, z) for x, y, z in course.tolist())
        path = smooth_path(build.points(*knots), _STEPS)
        where = np.linspace(0, len(course) - 1, _STEPS)
        radius = np.interp(where, [0, 5, 9, 12, 16], [2.7, 2.7, 2.55, 2.4, 2.0])
        radius = radius * width * rng.uniform(0.93, 1.07)
        names, ends = list(_ENDS), list(_ENDS.values())
        segments = tuple(names[int(np.searchsorted(ends, at))] for at in where)
        drawn.append(Carotid(labels[name], side, path, radius, segments))
    return drawn


def walls(build: HeadBuild, arteries: list[Carotid]) -> list[Paint]:
    """Return the carotid canals and the blood in the arteries."""
    paints = []
    for artery in arteries:
        in_bone = [
            index
            for index, name in enumerate(artery.segments)
            if name in ("petrous", "lacerum")
        ]
        canal = slice(in_bone[4], in_bone[-1] - 8)
        path, radius = artery.path_xyz_mm, artery.radius_mm
        wall = build.rng.uniform(0.9, 1.5)
        bone_hu = build.rng.uniform(750, 1150) * build.bone_density
        paints.append(Paint(Tube(path[canal][::2], radius[canal][::2] + wall), bone_hu))
        sheath = Tube(path[::2], radius[::2] + build.rng.uniform(0.1, 0.5))
        paints.append(Paint(sheath, build.soft_hu))
        paints.append(Paint(Tube(path[::2], radius[::2]), build.blood_hu + 4))
    return paints


def carotid_lesions(
    build: HeadBuild, arteries: list[Carotid], count: int
) -> tuple[list[Deposit], list[dict[str, str]]]:
    """Draw calcium of the carotid walls: spots, plaques and rings.

    Spots are small, and 55 % of them so faint that their peak comes near 130 HU once
    blurred: the lesions that the paper's network misses. A lesion sits anywhere round
    the wall, so some touch the bone of canal, sella or clinoids.

    Args:
        build: The patient.
        arteries: Their centrelines.
        count: Number of lesions.

    Returns:
        Target deposits, and for each in words its side, segment and kind.
    """
    rng = build.rng
    names = list(_SHARE)
    heavier = rng.beta(2, 2)  # one side has more than the other
    deposits, facts = [], []
    for _ in range(count):
        artery = arteries[int(rng.random() < heavier)]
        segment = str(rng.choice(names, p=list(_SHARE.values())))
        at = [i for i, name in enumerate(artery.segments) if name == segment]
        index = int(rng.choice(at[2:-2]))
        kind = str(rng.choice(["spot", "plaque", "ring"], p=[0.42, 0.40, 0.18]))
        faint = kind == "spot" and rng.random() < 0.55
        density = (
            rng.uniform(110, 260)
            if faint
            else float(np.clip(rng.lognormal(np.log(420), 0.5), 140, 1100))
        )
        parts = _wall_parts(artery, index, kind, rng)
        deposits.append(Deposit(parts, float(density), artery.label))
        facts.append(
            {
                "side": "left" if artery.side > 0 else "right",
                "segment": segment,
                "kind": "faint spot" if faint else kind,
            }
        )
    return deposits, facts


def _wall_parts(
    artery: Carotid, index: int, kind: str, rng: np.random.Generator
) -> tuple[Part, ...]:
    """Ellipsoids on the wall over an arc and a length: their union is the lesion."""
    spans = {"spot": (0.0, 0.0), "plaque": (0.4, 1.7), "ring": (2.4, 5.6)}
    lengths = {"spot": (0.0, 0.0), "plaque": (1.5, 6.0), "ring": (2.5, 10.0)}
    thick = float(rng.uniform(0.3, 0.65 if kind == "ring" else 0.95))
    arc, length = rng.uniform(*spans[kind]), rng.uniform(*lengths[kind])
    radius = float(artery.radius_mm[index])
    step = max(1.6 * thick, 0.9)
    num_arc = 1 + int(np.ceil(arc * radius / step))
    num_along = 1 + int(np.ceil(length / (1.4 * step)))
    path = artery.path_xyz_mm
    spacing = np.linalg.norm(np.diff(path, axis=0), axis=1).mean()
    start = rng.uniform(0, 2 * np.pi)
    frame = rotation_to(path[index + 1] - path[index - 1], rng)
    parts = []
    for along in range(num_along):
        shift = (along - (num_along - 1) / 2) * length / max(num_along - 1, 1)
        here = int(np.clip(index + round(shift / spacing), 1, len(path) - 2))
        tangent = path[here + 1] - path[here - 1]
        tangent = tangent / np.linalg.norm(tangent)
        first = frame[:, 0] - tangent * (frame[:, 0] @ tangent)
        first /= np.linalg.norm(first)
        second = np.cross(tangent, first)
        for turn in range(num_arc):
            if num_arc * num_along > 4 and rng.random() < 0.15:
                continue  # plaques have gaps
            angle = start + (turn - (num_arc - 1) / 2) * arc / max(num_arc - 1, 1)
            out = np.cos(angle) * first + np.sin(angle) * second
            round_wall = np.cross(tangent, out)
            depth = float(thick * rng.uniform(0.75, 1.2))
            centre = path[here] + out * (radius - 0.55 * depth)
            half = (
                depth,
                float(step * rng.uniform(0.6, 0.9)),
                float(step * rng.uniform(0.75, 1.2)),
            )
            x, y, z = (float(value) for value in centre)
            axes = np.stack([out, round_wall, tangent], axis=1)
            parts.append(Part((x, y, z), half, axes))
    if not parts:
        return _wall_parts(artery, index, kind, rng)
    return tuple(parts)
