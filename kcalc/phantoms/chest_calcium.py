"""Calcium of the chest phantom: coronary lesions, and what must not be taken for them.

Targets are deposits on the walls of the four coronary arteries. Hard negatives:
calcium of aorta, valves, mitral annulus, lymph nodes and airways; stents, sternal
wires, pacemaker leads (digest F.5 item 2).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kcalc.anatomy import CORONARY_VESSELS
from kcalc.phantoms.deposits import Deposit, Part
from kcalc.phantoms.heart import Heart
from kcalc.phantoms.render import Paint
from kcalc.phantoms.shapes import Tube, ellipsoid
from kcalc.phantoms.thorax import Build

Points = npt.NDArray[np.float64]

_VESSEL_SHARE = {"LM": 0.13, "LAD": 0.40, "LCX": 0.20, "RCA": 0.27}


def density_mg_per_ml(rng: np.random.Generator) -> float:
    """Draw a calcium density, log-normal about 350, 130 to 1100 mg/mL."""
    return float(np.clip(rng.lognormal(np.log(350), 0.55), 130, 1100))


def rotation_to(axis: Points, rng: np.random.Generator) -> Points:
    """Return a rotation whose third axis is ``axis`` and whose others are random."""
    third = axis / max(float(np.linalg.norm(axis)), 1e-9)
    first = np.cross(third, rng.normal(size=3))
    first /= max(float(np.linalg.norm(first)), 1e-9)
    return np.stack([first, np.cross(third, first), third], axis=1)


def coronary_lesions(build: Build, heart: Heart, count: int) -> list[Deposit]:
    """Draw target lesions on the coronary walls.

    Args:
        build: The patient.
        heart: Its centrelines.
        count: Number of lesions.
    """
    rng = build.rng
    labels = {vessel.name: vessel.label for vessel in CORONARY_VESSELS}
    names = list(_VESSEL_SHARE)
    lesions = []
    for _ in range(count):
        name = str(rng.choice(names, p=list(_VESSEL_SHARE.values())))
        path = heart.coronaries[name]
        where = int(rng.beta(1.1, 1.9) * (len(path) - 6)) + 2
        volume_mm3 = float(np.clip(rng.lognormal(np.log(16), 1.1), 1.0, 400))
        parts = _plaque(path, where, volume_mm3, heart.coronary_radius_mm, rng)
        lesions.append(Deposit(parts, density_mg_per_ml(rng), labels[name]))
    return lesions


def _plaque(
    path: Points,
    where: int,
    volume_mm3: float,
    radius_mm: float,
    rng: np.random.Generator,
) -> tuple[Part, ...]:
    """A spot on the wall, or a chain of them along the vessel when it is large."""
    tangent = path[min(where + 1, len(path) - 1)] - path[where - 1]
    across = rotation_to(tangent, rng)
    wall = across[:, 0] * radius_mm * rng.uniform(0.3, 1.0)
    links = 1 if volume_mm3 < 40 else int(rng.integers(2, 7))
    links = min(links, len(path) - where)
    each = volume_mm3 / links
    stretch = rng.uniform(0.9, 2.2)
    thick = (each * 3 / (4 * np.pi) / stretch) ** (1 / 3)
    flat = rng.uniform(0.75, 1.0)
    half = (thick * flat, thick / flat, thick * stretch)
    gap = float(np.linalg.norm(tangent)) / 2
    step = max(1, round(1.3 * half[2] / max(gap, 1e-3)))
    parts = []
    for link in range(links):
        index = min(where + link * step, len(path) - 1)
        x, y, z = path[index] + wall + rng.normal(0, 0.2, 3)
        parts.append(Part((float(x), float(y), float(z)), half, across))
    return tuple(parts)


def _blob(
    centre: Points,
    half_mm: tuple[float, float, float],
    axis: Points,
    rng: np.random.Generator,
) -> Deposit:
    x, y, z = (float(value) for value in centre)
    part = Part((x, y, z), half_mm, rotation_to(axis, rng))
    return Deposit((part,), density_mg_per_ml(rng), 0)


def other_calcium(build: Build, heart: Heart) -> list[Deposit]:
    """Draw calcium that is no coronary lesion: label 0."""
    deposits = []
    if build.chance(0.65):
        deposits += _aortic(build, heart)
    if build.chance(0.25):
        deposits += _ring(build, build.points((2, -22, 20))[0], 9.0, (0.2, 0.3, 1.0))
    if build.chance(0.15):
        deposits += _ring(build, build.points((26, -8, 2))[0], 15.0, (1.0, 0.3, 0.3))
    if build.chance(0.35):
        deposits += _nodes(build)
    if build.chance(0.25):
        deposits += _airway(build)
    return deposits


def _aortic(build: Build, heart: Heart) -> list[Deposit]:
    """Plaques on the aortic wall, mostly in the arch, some large."""
    rng = build.rng
    deposits = []
    for _ in range(int(rng.integers(1, 12))):
        place = rng.normal(34, 14) if rng.random() < 0.75 else rng.uniform(0, 77)
        where = int(np.clip(place, 1, len(heart.aorta) - 2))
        tangent = heart.aorta[where + 1] - heart.aorta[where - 1]
        across = rotation_to(tangent, rng)
        along, thick = rng.uniform(1.0, 8.0), rng.uniform(0.6, 2.2)
        round_mm = rng.uniform(1.0, 6.0)
        centre = heart.aorta[where] + across[:, 0] * heart.aorta_radius_mm[where]
        x, y, z = (float(value) for value in centre)
        part = Part((x, y, z), (thick, round_mm, along), across)
        deposits.append(Deposit((part,), density_mg_per_ml(rng), 0))
    return deposits


def _ring(
    build: Build, centre: Points, radius_mm: float, normal: tuple[float, float, float]
) -> list[Deposit]:
    """Calcium on an arc of a valve ring."""
    rng = build.rng
    frame = rotation_to(np.array(normal) + rng.normal(0, 0.2, 3), rng)
    start, span = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 3.5)
    deposits = []
    for angle in start + span * rng.random(int(rng.integers(2, 9))):
        out = frame[:, 0] * np.cos(angle) + frame[:, 1] * np.sin(angle)
        size = rng.uniform(0.8, 3.2, 3)
        half = (float(size[0]), float(size[1]), float(size[2]))
        deposits.append(_blob(centre + radius_mm * out, half, frame[:, 2], rng))
    return deposits


def _nodes(build: Build) -> list[Deposit]:
    """Calcified lymph nodes of hila and mediastinum."""
    rng = build.rng
    places = ((-14, 4, 75), (30, 6, 66), (-40, 10, 38), (44, 14, 34), (0, 18, 44))
    deposits = []
    for _ in range(int(rng.integers(1, 4))):
        place = build.points(places[int(rng.integers(len(places)))])[0]
        size = rng.uniform(1.2, 5.0, 3)
        half = (float(size[0]), float(size[1]), float(size[2]))
        deposits.append(
            _blob(place + rng.normal(0, 4, 3), half, rng.normal(size=3), rng)
        )
    return deposits


def _airway(build: Build) -> list[Deposit]:
    """Calcified cartilage rings of trachea and main bronchi."""
    rng = build.rng
    deposits = []
    for _ in range(int(rng.integers(3, 14))):
        z = rng.uniform(62, 140)
        angle = rng.uniform(np.pi, 2 * np.pi)
        centre = build.points((9.5 * np.cos(angle), 6 + 9.5 * np.sin(angle), z))[0]
        out = np.array([np.cos(angle), np.sin(angle), 0.0])
        half = (rng.uniform(1, 3), rng.uniform(1, 2), 0.7)
        deposits.append(_blob(centre, half, out, rng))
    return deposits


def devices(build: Build, heart: Heart) -> list[Paint]:
    """Draw stents, sternal wires and pacemaker leads."""
    rng = build.rng
    paints: list[Paint] = []
    if build.chance(0.06):
        path = heart.coronaries[str(rng.choice(["LAD", "RCA", "LCX"]))]
        start = int(rng.integers(2, 22))
        piece = path[start : start + int(rng.integers(6, 12))]
        width = heart.coronary_radius_mm
        paints.append(Paint(Tube(piece, width + 0.35), rng.uniform(900, 2400)))
        paints.append(Paint(Tube(piece, width - 0.25), build.blood_hu))
    if build.chance(0.07):
        for level in range(5):
            x, y, z = build.point(rng.uniform(-3, 3), -90, -40 + 30 * level)
            turn = np.linspace(0, 2 * np.pi, 14)
            loop = np.stack(
                [x + 10 * np.cos(turn), y + 7 * np.sin(turn), z + 0 * turn], axis=1
            )
            paints.append(Paint(Tube(loop, 0.45), 6000.0))
    if build.chance(0.06):
        lead = build.points(
            (-40, -70, 120),
            (-27, -20, 110),
            (-26, -16, 30),
            (-14, -24, -10),
            (20, -44, -34),
        )
        paints.append(Paint(Tube(lead, 0.9), 5000.0))
    return paints


def masses(build: Build) -> list[Paint]:
    """Draw a lung mass beside the mediastinum, or none."""
    rng = build.rng
    if not build.chance(0.15):
        return []
    side = rng.choice([-1, 1])
    x, y, z = build.point(side * rng.uniform(38, 80), rng.uniform(-40, 50), 60)
    size = rng.uniform(8, 30)
    centre = (x, y, z + rng.uniform(-60, 40))
    return [Paint(ellipsoid(centre, (size, size * 0.8, size)), build.soft_hu, 8.0)]
