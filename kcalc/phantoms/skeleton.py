"""The bones of the chest phantom's trunk: spine, ribs with cartilage, sternum."""

from __future__ import annotations

import numpy as np

from kcalc.phantoms.physics import MATERIALS_HU
from kcalc.phantoms.render import Paint
from kcalc.phantoms.shapes import Column, Tube, cylinder, ellipsoid
from kcalc.phantoms.thorax import Build, Points, cage_share

_PITCH_MM = 24.0
"""Distance of vertebrae and ribs of the median patient."""


def skeleton(build: Build) -> list[Paint]:
    """Return spine, ribs with cartilage and sternum, in painting order."""
    return [*_spine(build), *_ribs(build), *_sternum(build)]


def bone(
    build: Build,
    path_xyz_mm: Points,
    radius_mm: float,
    cortex_mm: float,
    flatten_z: float = 1.0,
) -> list[Paint]:
    """Return a long bone: a cortical tube with a spongy core, densities drawn."""
    rng = build.rng
    gain = build.bone_density
    core_mm = radius_mm - cortex_mm
    paints = [
        Paint(Tube(path_xyz_mm, radius_mm, flatten_z), rng.uniform(500, 1100) * gain)
    ]
    if core_mm > 0.4:
        spongy = rng.uniform(40, 330) * gain
        paints.append(Paint(Tube(path_xyz_mm, core_mm, flatten_z), spongy, 40.0))
    return paints


def _shell(
    build: Build, outer: Column, inner: Column, cortical: float, spongy: float
) -> list[Paint]:
    gain = build.bone_density
    return [
        Paint(outer, cortical * gain, 40.0),
        Paint(inner, spongy * gain, 35.0),
    ]


def _spine(build: Build) -> list[Paint]:
    rng = build.rng
    sx, sy, sz = build.scale_xyz
    paints = [Paint(cylinder((0, 66 * sy, 0), 20 * sx, 17 * sy, 1200), build.soft_hu)]
    cortical, spongy = rng.uniform(350, 800), rng.uniform(90, 260)
    pitch = _PITCH_MM * sz
    spur = rng.uniform(0, 0.7)
    arch_gain = rng.uniform(0.7, 1.1)
    for level in range(-14, 11):
        z = level * pitch + rng.uniform(-1, 1)
        y = 66 * sy - 0.0007 * max(z, -150.0) ** 2
        size = float(np.interp(z, (-300, 0, 200), (1.2, 1.0, 0.75)))
        a, b = 17.5 * sx * size, 14 * sy * size
        wall = rng.uniform(1.0, 2.2)
        body = cylinder((0, y, z), a, b, 0.8 * pitch, 2.5)
        core = cylinder((0, y, z), a - wall, b - wall, 0.8 * pitch - 2 * wall, 2.5)
        paints += _shell(build, body, core, cortical, spongy)
        paints += _arch(build, y, z, b, cortical * arch_gain, spongy + 60)
        if build.chance(spur):
            angle = rng.uniform(np.pi, 2 * np.pi)
            centre = (a * np.cos(angle), y + b * np.sin(angle), z + 0.42 * pitch)
            spur_mm = rng.uniform(2, 5)
            paints.append(
                Paint(ellipsoid(centre, (spur_mm, spur_mm, 4.0)), rng.uniform(300, 800))
            )
    canal = cylinder((0, 66 * sy + 14 * sy + 8, 0), 9, 7.5, 1200)
    paints.append(Paint(canal, 25.0))
    return paints


def _arch(
    build: Build, y: float, z: float, half_y: float, cortical: float, spongy: float
) -> list[Paint]:
    """Pedicles, laminae, facets, transverse and spinous process of one vertebra."""
    rng = build.rng
    arch_y = y + half_y + 9
    reach = rng.uniform(26, 40)
    rise, back = rng.uniform(-3, 9), rng.uniform(4, 16)
    parts: list[tuple[Points, float]] = []
    for side in (-1, 1):
        pedicle = ((side * 11, y + half_y - 2, z + 3), (side * 12, arch_y + 6, z + 2))
        wing = (
            (side * 12, arch_y + 4, z + 2),
            (side * reach, arch_y + back, z + rise),
        )
        blade = ((side * 12, arch_y + 6, z), (0.0, arch_y + 13, z - 5))
        facet = (
            (side * 14, arch_y + 3, z - 11),
            (side * 13, arch_y + 5, z + 11),
        )
        for path, radius in (
            (pedicle, 4.5),
            (wing, rng.uniform(3.2, 5.2)),
            (blade, 3.5),
            (facet, rng.uniform(3.0, 5.5)),
        ):
            parts.append((np.array(path), radius))
    length, drop = rng.uniform(14, 30), rng.uniform(4, 30)
    process = ((0.0, arch_y + 12, z - 5), (0.0, arch_y + 12 + length, z - 5 - drop))
    parts.append((np.array(process), rng.uniform(2.6, 4.6)))
    paints = []
    for points, radius in parts:
        paints.append(Paint(Tube(points, radius), cortical))
        paints.append(Paint(Tube(points, radius - rng.uniform(1.1, 1.9)), spongy))
    return paints


def _ribs(build: Build) -> list[Paint]:
    rng = build.rng
    sx, sy, sz = build.scale_xyz
    chalk = rng.uniform(0, 1)
    cortex, thickness = rng.uniform(0.8, 1.7), rng.uniform(3.2, 5.4)
    height = rng.uniform(1.2, 1.9)
    bend = rng.uniform(0.7, 1.2)
    progress = np.linspace(0, 1, 40)
    paints = []
    for level in range(-8, 8):
        top = level * _PITCH_MM
        drop = rng.uniform(60, 125)
        for side in (-1, 1):
            angle = np.deg2rad(78 - rng.uniform(138, 150) * progress)
            heights = top + 8 - drop * progress**bend
            share = np.array([cage_share(float(z)) for z in heights])
            path = np.stack(
                [
                    side * (148 * np.cos(angle) ** 0.9 * share + 3) * sx,
                    (4 + 10 * (1 - share) + 93 * np.sin(angle) * share**0.8) * sy,
                    heights * sz,
                ],
                axis=1,
            )
            path[0, :2] = side * 14, 76 * sy
            path[1:] += np.cumsum(rng.normal(0, 0.5, (39, 3)), axis=0)
            # The lowest ribs end early, in the flank.
            end = 40 if level > -5 else int(rng.integers(14, 28))
            shaft, gristle = path[: min(29, end)], path[28:end]
            paints += bone(build, shaft, thickness, cortex, height)
            if len(gristle) < 2:
                continue
            paints.append(
                Paint(Tube(gristle, 5.0, 1.2), MATERIALS_HU["cartilage"], 15.0)
            )
            if build.chance(0.6 * chalk):
                start = int(rng.integers(0, 7))
                chip = gristle[start : start + 3] + rng.normal(0, 1, 3)
                paints.append(
                    Paint(Tube(chip, rng.uniform(1.0, 3.5)), rng.uniform(200, 600))
                )
    return paints


def _sternum(build: Build) -> list[Paint]:
    rng = build.rng
    sx, sy, sz = build.scale_xyz
    y = -90 * sy
    cortical, spongy = rng.uniform(300, 650), rng.uniform(80, 220)
    z = tuple(height * sz for height in (-55, -20, 60, 95, 110))
    widths = tuple(width * sx for width in (8.0, 15.0, 17.0, 28.0, 20.0))
    middle = (y, y, y, y + 6, y + 12)
    wall = rng.uniform(1.2, 2.2)
    narrow = tuple(width - wall for width in widths)
    outer = Column(z, (0.0,) * 5, middle, widths, (5.5,) * 5, 3.0)
    inner = Column(z, (0.0,) * 5, middle, narrow, (5.5 - wall,) * 5, 3.0)
    return _shell(build, outer, inner, cortical, spongy)
