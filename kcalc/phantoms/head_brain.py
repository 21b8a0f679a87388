"""Inside of the head phantom's skull: brain, cisterns, ventricles, veins, arteries."""

from __future__ import annotations

import numpy as np

from kcalc.phantoms.head_build import SIDES, HeadBuild
from kcalc.phantoms.render import Paint
from kcalc.phantoms.shapes import Column
from kcalc.phantoms.skull_base import vault

VERTEBRAL = ((17, 42, -62), (15, 40, -50), (11, 36, -40), (5, 28, -30), (0, 23, -25))
"""Left vertebral artery up to the basilar artery."""
BASILAR = ((0, 23, -25), (0.5, 19, -15), (0, 15.5, -5), (0, 13.5, 5))
_CSF = 7.0


def brain(build: HeadBuild) -> list[Paint]:
    """Return the brain with its cisterns, to be painted before the skull base."""
    rng = build.rng
    grey, white = rng.uniform(36, 41), rng.uniform(27, 31)
    shrunk = rng.uniform(1.0, 4.0)
    wall = 8.0
    cortex = rng.uniform(3.0, 4.5)
    return [
        Paint(vault(build, -wall - shrunk), grey, 5.0),
        Paint(vault(build, -wall - shrunk - cortex - 4), white + 3, 4.0),
        *_hemispheres(build, white),
        *_deep_grey(build, grey),
        *_hindbrain(build, grey, white),
    ]


def _hemispheres(build: HeadBuild, white: float) -> list[Paint]:
    """White matter with gyri at its edge, and the fissures between the lobes."""
    rng = build.rng
    paints = []
    for side in SIDES:
        paints.append(build.blob((side * 28, 20, 42), (22, 62, 30), white, 4.0))
        paints.append(build.blob((side * 42, 4, -6), (12, 22, 11), white, 4.0))
        for _ in range(34):  # sulci run inwards from the surface
            angle = rng.uniform(-np.pi, np.pi)
            height = rng.uniform(-4, 75)
            out = np.array([66 * np.cos(angle), 18 + 84 * np.sin(angle)])
            out *= np.sqrt(np.clip(1 - ((height - 20) / 78) ** 2, 0.1, 1))
            if out[0] * side < 0:
                continue
            inner = 18 + (out - 18) * (1, 1) * rng.uniform(0.72, 0.88)
            start = (float(abs(out[0]) - 3), float(out[1]), height)
            end = (
                float(abs(out[0]) * rng.uniform(0.72, 0.86)),
                float(inner[1] + rng.normal(0, 4)),
                height + rng.normal(0, 6),
            )
            width = np.array([rng.uniform(0.7, 1.8), 0.4])
            paints.append(
                build.tube((start, end), width, _CSF + 6, side=side, flatten_z=3.0)
            )
        sylvian = ((17, -4, 11), (30, -8, 12), (44, -6, 17), (56, 8, 28), (60, 24, 38))
        wide = np.array([2.0, 1.5, 1.8, 2.2, 1.5]) * rng.uniform(0.8, 1.7)
        paints.append(build.tube(sylvian, wide, _CSF, side=side, flatten_z=1.6))
    length = np.linspace(-62, 92, 24)
    for height in np.arange(14.0, 80, 5.0):
        if height < 30:
            course = tuple((0.0, float(y), float(height)) for y in length if y < -18)
        else:
            reach = np.sqrt(np.clip(1 - ((height - 20) / 80) ** 2, 0.05, 1))
            course = tuple(
                (0.0, float(18 + (y - 18) * reach), float(height))
                for y in length
                if height > 52 or y < -22 or y > 62
            )
        for part in (
            [p for p in course if p[1] < 20],
            [p for p in course if p[1] >= 20],
        ):
            if len(part) > 2:
                gap = rng.uniform(0.6, 1.1)
                paints.append(build.tube(tuple(part), gap, _CSF + 5, flatten_z=3.5))
    return paints


def _deep_grey(build: HeadBuild, grey: float) -> list[Paint]:
    """Ventricles and the nuclei beside them."""
    rng = build.rng
    wide = rng.uniform(0.8, 1.7)
    paints = []
    for side in SIDES:
        paints.append(build.blob((side * 9, 16, 20), (7, 13, 9), grey, 3.0))
        paints.append(build.blob((side * 24, 0, 21), (6, 17, 10), grey, 3.0))
        paints.append(build.blob((side * 35, 2, 22), (2.5, 20, 12), grey, 3.0))
        horn = ((6, -20, 27), (9, -6, 31), (12, 16, 38), (20, 38, 30), (24, 54, 22))
        sizes = np.array([2.5, 3.5, 4.0, 5.5, 3.0]) * wide
        paints.append(build.tube(horn, sizes, _CSF, side=side, jitter_mm=0.8))
        temporal = ((24, 44, 18), (30, 28, 0), (32, 12, -8), (29, 2, -9))
        sizes = np.array([4.0, 2.2, 1.8, 1.2]) * wide
        paints.append(build.tube(temporal, sizes, _CSF, side=side, jitter_mm=0.8))
        head = ((10, -16, 28), (12, -4, 32), (17, 12, 38))
        paints.append(build.tube(head, np.array([4.5, 4, 2]), grey, side=side))
    third = build.blob((0, 12, 18), (1.6 * wide, 11, 9), _CSF)
    return [*paints, third]


def _hindbrain(build: HeadBuild, grey: float, white: float) -> list[Paint]:
    """Cisterns of the base, brain stem, cerebellum, fourth ventricle, tentorium."""
    rng = build.rng
    paints = [
        build.blob((0, 6, 6), (15, 14, 10), _CSF),
        build.blob((0, 20, -8), (17, 10, 26), _CSF),
        build.blob((0, 33, -30), (16, 14, 22), _CSF),
        build.blob((0, 34, 12), (14, 9, 8), _CSF),
        build.blob((0, 72, -34), (12, 9, 8), _CSF + 3),
    ]
    for side in SIDES:
        lobe = build.blob((side * 23, 60, -18), (26, 29, 21), grey, 6.0)
        core = build.blob((side * 20, 56, -18), (14, 17, 10), white, 4.0)
        ambient = ((10, 14, 6), (19, 24, 7), (14, 36, 10))
        paints += [lobe, core, build.tube(ambient, 2.0, _CSF, side=side)]
        for _ in range(7):  # folia
            depth = rng.uniform(-34, -2)
            y = rng.uniform(46, 84)
            groove = ((8, y + 4, depth), (24, y + 6, depth), (40, y - 4, depth + 2))
            paints.append(build.tube(groove, 0.5, _CSF + 12, side=side))
    paints += [
        build.blob((0, 58, -14), (7, 20, 16), grey, 4.0),
        build.blob((0, 31, -12), (16, 12.5, 14), white + 3, 4.0),
        build.blob((0, 25, 7), (17, 10, 11), white + 3, 4.0),
    ]
    medulla = ((0, 33, -22), (0, 38, -34), (0, 47, -50), (0, 50, -120))
    paints.append(build.tube(medulla, np.array([10.0, 7.5, 6.0, 5.5]), white + 4))
    paints.append(build.blob((0, 45, -12), (6.5, 4.5, 8), _CSF))
    return paints


def vessels(build: HeadBuild) -> list[Paint]:
    """Return veins and arteries but the carotids, painted after the skull base."""
    rng = build.rng
    blood = build.blood_hu
    paints = []
    size = rng.uniform(0.8, 1.25)
    for side in SIDES:
        sinus = ((0, 99, -2), (30, 92, 0), (52, 72, -3), (58, 54, -8), (48, 45, -20))
        down = ((48, 45, -20), (38, 45, -32), (25, 38, -32), (26, 35, -54))
        share = rng.uniform(0.6, 1.3)
        for course in (sinus, down):
            paints.append(
                build.tube(course, 4.0 * share, blood + 12, side=side, jitter_mm=1)
            )
        bed = ((11.5, -7, -2), (12, -2, -4.5), (12.5, 7, -5))
        paints.append(build.tube(bed, 4.6, build.soft_hu + 2, side=side))
        cerebral = ((15, 1, 15.5), (24, -5, 13), (36, -8, 14), (46, -6, 19))
        radius = np.array([1.7, 1.5, 1.2, 1.0])
        paints.append(build.tube(cerebral, radius, blood + 5, side=side, jitter_mm=1))
        anterior = ((14, 0, 15), (7, -6, 15), (2, -10, 18), (2, -22, 30), (2, -8, 48))
        paints.append(build.tube(anterior, 1.1, blood + 5, side=side, jitter_mm=0.5))
        posterior = ((0, 13, 6), (10, 14, 8), (19, 25, 8), (14, 38, 12))
        paints.append(build.tube(posterior, 1.1, blood + 5, side=side, jitter_mm=0.5))
        joining = ((12.5, 0, 12), (11, 6, 10), (10, 14, 8))
        paints.append(build.tube(joining, 0.7, blood + 5, side=side))
        weak = rng.uniform(0.6, 1.2) * size
        paints.append(
            build.tube(VERTEBRAL, 1.7 * weak, blood + 4, side=side, jitter_mm=0.5)
        )
    paints.append(build.tube(BASILAR, 1.7 * size, blood + 6, jitter_mm=0.5))
    falx = ((0, -66, 40), (0, -52, 60), (0, -10, 84), (0, 60, 84), (0, 96, 40))
    paints.append(build.tube(falx, 1.6, blood + 12))
    return [*paints, *_tentorium(build)]


def _tentorium(build: HeadBuild) -> list[Paint]:
    """Its free edge, and the sheet as ribbons that rise to the straight sinus."""
    paints = []
    for share in np.linspace(0.0, 1.0, 7):
        for side in SIDES:
            x = 14 + 40 * share
            ribbon = (
                (x, 18 + 22 * share, -5 + 2 * share),
                (0.8 * x, 50 + 10 * share, 8 - 8 * share),
                (0.35 * x, 74 + 8 * share, 14 - 12 * share),
                (0.0, 92, 4),
            )
            paints.append(build.tube(ribbon, 0.7, 58.0, side=side))
    return paints


def scalp(build: HeadBuild) -> list[Paint]:
    """Return skin, fat and muscle round the skull, down to the neck."""
    x, y, z = build.point(0, 0, 0)
    sx, sy, _ = build.scale_xyz
    wall = build.wall_mm

    def trunk(less_mm: float) -> Column:
        knots = (-400.0, -110.0, -62.0, -30.0, 4.0)
        middle = (42.0, 34.0, 24.0, 18.0, 15.0)
        wide = (66.0, 64.0, 68.0, 71.0, 72.0)
        deep = (64.0, 72.0, 84.0, 86.0, 84.0)
        return Column(
            tuple(z + k for k in knots),
            tuple(x + 0 * k for k in knots),
            tuple(y + m * sy for m in middle),
            tuple(a * sx + wall - less_mm for a in wide),
            tuple(b * sy + wall - less_mm for b in deep),
            2.3,
            build.yaw_rad,
        )

    muscle = build.soft_hu + 8
    return [
        Paint(trunk(0.0), build.soft_hu),
        Paint(vault(build, wall), build.soft_hu),
        Paint(trunk(2.2), build.fat_hu, 8.0),
        Paint(vault(build, wall - 2.2), build.fat_hu, 8.0),
        Paint(trunk(wall + 2), muscle, 8.0),
        Paint(vault(build, 1.0), muscle, 6.0),
    ]
