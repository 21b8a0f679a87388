"""Skull of the head phantom: vault, the base as a relief, petrous bones, sella.

The endocranial surface of the base is one height field over the axial plane through
landmarks; sections of it are what axial slices show: the three fossae as pits, the
petrous pyramids and the clivus as bone between them.
"""

from __future__ import annotations

import numpy as np

from kcalc.phantoms.head_build import SIDES, HeadBuild, Place
from kcalc.phantoms.relief import Layer, Relief
from kcalc.phantoms.render import Paint
from kcalc.phantoms.shapes import Column, Tube, ellipsoid

_MIDLINE: tuple[Place, ...] = (
    # frontal wall, cribriform plate, planum, tuberculum
    *((0, -74, 32), (0, -68, 22), (0, -58, 9), (0, -45, 4), (0, -32, 6), (0, -20, 8)),
    *((0, -12, 8), (0, -7.5, 4)),
    # pituitary fossa, dorsum, clivus, rim of the foramen magnum
    *((0, -4, -5), (0, 0, -8), (0, 4.5, -7), (0, 8.5, 3), (0, 10.5, 4), (0, 13, -6)),
    *((0, 18, -16), (0, 24, -26), (0, 31, -36), (0, 48, -42), (0, 66, -40)),
    # occipital
    *((0, 80, -33), (0, 92, -22), (0, 100, -8), (0, 106, 14)),
)
_LEFT: tuple[Place, ...] = (
    # anterior fossa: orbital roofs
    *((8, -58, 12), (8, -42, 8), (8, -26, 8), (18, -62, 20), (18, -45, 15)),
    *((18, -30, 12), (30, -60, 23), (32, -44, 18), (44, -42, 20), (36, -30, 15)),
    *((48, -50, 28), (58, -34, 26)),
    # lesser wing, then the drop into the middle fossa
    *((9, -15, 8), (14, -15, 9), (28, -19, 11), (40, -22, 13), (52, -24, 18)),
    *((18, -8, -4), (24, -11, -8), (32, -14, -10), (42, -17, -10), (54, -16, -4)),
    *((10, -3, -6), (10, 4, -6), (14, -3, -9), (14, 4, -10), (18, 2, -14)),
    *((24, -2, -19), (30, 4, -22), (32, -5, -20), (42, 0, -24), (42, 10, -22)),
    *((52, 6, -22), (52, -6, -18), (60, 8, -14), (64, 0, -2)),
    # petrous pyramid: front slope, ridge, back slope
    *((22, 11, -17), (32, 17, -17), (42, 20, -17), (52, 24, -14)),
    *((12, 14, -11), (16, 17, -8), (24, 22, -5), (33, 28, -3.5), (42, 33, -3)),
    *((52, 38, -4), (60, 40, 2)),
    *((14, 21, -17), (22, 28, -15), (32, 35, -14), (42, 42, -15), (50, 48, -17)),
    # posterior fossa
    *((8, 18, -18), (8, 28, -32), (16, 32, -30), (24, 40, -35), (17, 40, -37)),
    *((17, 52, -42), (14, 64, -41), (28, 54, -40), (38, 54, -34), (24, 70, -39)),
    *((38, 68, -30), (20, 84, -29), (48, 62, -22), (56, 56, -10), (36, 84, -18)),
    *((50, 76, -6), (22, 98, -10), (40, 94, 4), (60, 66, 4)),
)
_THICKNESS: tuple[Place, ...] = (
    *((0, -60, 2.0), (0, -40, 1.5), (0, -18, 3.0), (0, 0, 14.0), (0, 10, 20.0)),
    *((0, 18, 13.0), (0, 28, 9.0), (0, 66, 5.0), (0, 85, 8.0), (0, 100, 12.0)),
    *((8, 0, 12.0), (30, -45, 1.8), (20, -30, 2.2), (50, -45, 4.0), (30, -18, 5.0)),
    *((50, -24, 6.0), (14, 2, 8.0), (24, 0, 4.0), (40, 2, 3.2), (58, 6, 3.5)),
    *((14, 15, 11.0), (22, 21, 19.0), (32, 26, 23.0), (44, 32, 26.0), (56, 40, 26.0)),
    *((18, 34, 9.0), (28, 42, 9.0), (44, 50, 13.0), (20, 60, 4.5), (36, 70, 4.5)),
    *((18, 50, 8.0), (10, 26, 9.0), (50, 80, 5.5), (64, 0, 4.0), (60, 66, 6.0)),
)


def vault(build: HeadBuild, extra_mm: float) -> Column:
    """Return the outside of the skull, ``extra_mm`` larger, cut by the base below."""
    outline = (
        # height, middle along y, half width, half length
        (-60.0, 62.0, 44.0, 32.0),
        (-45.0, 44.0, 60.0, 54.0),
        (-30.0, 25.0, 67.0, 77.0),
        (-10.0, 19.0, 70.0, 88.0),
        (10.0, 18.0, 72.0, 92.0),
        (35.0, 18.0, 73.0, 94.0),
        (58.0, 18.0, 69.0, 87.0),
        (78.0, 18.0, 56.0, 70.0),
        (92.0, 18.0, 36.0, 45.0),
        (99.0, 18.0, 10.0, 12.0),
    )
    sx, sy, _ = build.scale_xyz
    middle = [build.point(0, y, z) for z, y, _, _ in outline]
    last = len(outline) - 1
    top = [extra_mm if index == last else 0.0 for index in range(len(outline))]
    return Column(
        tuple(m[2] + t for m, t in zip(middle, top, strict=True)),
        tuple(m[0] for m in middle),
        tuple(m[1] for m in middle),
        tuple(max(a * sx + extra_mm, 0.5) for _, _, a, _ in outline),
        tuple(max(b * sy + extra_mm, 0.5) for _, _, _, b in outline),
        2.0,
        build.yaw_rad,
        0.06,
    )


def skull_base(build: HeadBuild) -> Relief:
    """Draw the relief of the base: landmarks moved a little, either side on its own."""
    rng = build.rng
    points = [*_MIDLINE]
    for side in SIDES:
        points += [(side * x, y, z) for x, y, z in _LEFT]
    places = build.points(*points)
    places += rng.normal(0, 0.7, places.shape) * (1.0, 1.0, 0.8)
    # Each fossa of each side is deeper or shallower as a whole.
    for centre, sd_mm in (((34, 2), 15.0), ((30, 60), 22.0), ((30, -45), 18.0)):
        for side in SIDES:
            away = places[:, :2] - build.points((side * centre[0], centre[1], 0))[0, :2]
            near = np.exp(-0.5 * (away**2).sum(axis=1) / sd_mm**2)
            places[:, 2] += rng.normal(0, 1.6) * near
    thick = np.array(
        [(s * x, y, t) for s in SIDES for x, y, t in _THICKNESS if x or s > 0],
        dtype=float,
    )
    where = build.points(*((x, y, 0.0) for x, y, _ in thick.tolist()))
    where[:, 2] = thick[:, 2] * rng.uniform(0.85, 1.2)
    return Relief(places, where)


def skull(build: HeadBuild, relief: Relief) -> list[Paint]:
    """Return the bony layers of vault and base; the brain lies under them.

    They are painted over a cavity that is filled already (``head_brain``).
    """
    rng = build.rng
    gain = build.bone_density
    room = vault(build, 0.0)
    cortical, spongy = rng.uniform(950, 1300) * gain, rng.uniform(250, 480) * gain
    flesh = Layer(relief, 0.0, None, below=True, within=vault(build, 1.0))
    return [
        Paint(Layer(relief, 0.0, 0.0, within=room), cortical, 60.0),
        Paint(Layer(relief, 1.1, 1.0, within=room), spongy, 90.0),
        Paint(flesh, build.soft_hu, 10.0),
        *_petrous(build),
        *_holes(build),
    ]


def calvaria(build: HeadBuild) -> list[Paint]:
    """Return the vault: outer table, diploe, inner table; the inside comes next."""
    rng = build.rng
    gain = build.bone_density
    cortical = rng.uniform(1200, 1600) * gain
    wall = rng.uniform(5.0, 8.0)
    return [
        Paint(vault(build, 0.0), cortical, 40.0),
        Paint(vault(build, -1.6), rng.uniform(450, 800) * gain, 90.0),
        Paint(vault(build, 1.4 - wall), cortical, 40.0),
        Paint(vault(build, -wall), 8.0),
    ]


def _petrous(build: HeadBuild) -> list[Paint]:
    """Otic capsules with their lumina, canals, middle ears and mastoid cells."""
    rng = build.rng
    gain = build.bone_density
    dense = rng.uniform(1300, 1700) * gain
    paints: list[Paint] = []
    for side in SIDES:
        pyramid = ((15, 16.5, -15), (22, 21, -16), (32, 27, -16), (44, 33, -16))
        radius = np.array([3.5, 6.0, 8.5, 9.0])
        paints.append(build.tube(pyramid, radius, dense * 0.62, side=side, jitter_mm=1))
        capsule = build.points((side * 27, 24.5, -14), (side * 35, 30, -12))
        paints.append(Paint(Tube(capsule, np.array([5.5, 6.0])), dense, 80.0))
        paints += _mastoid(build, side)
        paints += _inner_ear(build, side)
        drum = ellipsoid(build.point(side * 39, 23, -18), (3.0, 5.0, 6.5))
        paints.append(Paint(drum, -980.0))
        ossicle = build.points((side * 38.5, 22, -14.5), (side * 39.5, 23.5, -18))
        paints.append(Paint(Tube(ossicle, 0.7), 900.0 * gain))
        meatus = ((40, 22, -21), (52, 21, -21), (64, 20, -22), (84, 20, -23))
        paints.append(build.tube(meatus[:3], 4.6, 900 * gain, side=side))
        paints.append(build.tube(meatus, rng.uniform(2.6, 3.6), -980.0, side=side))
    return paints


def _inner_ear(build: HeadBuild, side: int) -> list[Paint]:
    """Internal meatus, cochlea, vestibule and semicircular canals: fluid in bone."""
    rng = build.rng
    meatus = ((17.5, 29.5, -12.5), (22, 27.5, -12.5), (26.5, 26, -13))
    wide = rng.uniform(1.8, 2.6)
    paints = [build.tube(meatus, np.array([wide + 0.8, wide, wide]), 12.0, side=side)]
    turn = np.linspace(0, 4 * np.pi, 22)
    coil = 3.2 * (1 - turn / 16)
    middle = build.points((side * 26, 20.5, -15.5))[0]
    spiral = np.stack(
        [coil * np.cos(turn), turn / 4 - 1.5, coil * np.sin(turn)], axis=1
    )
    paints.append(Paint(Tube(middle + spiral * (side, 1, 1), 0.7), 60.0))
    hall = build.points((side * 30, 25.5, -14.5))[0]
    paints.append(Paint(ellipsoid(tuple(hall.tolist()), (1.6, 2.4, 2.0)), 25.0))
    ring = np.linspace(0, 2 * np.pi, 15)
    zero = np.zeros_like(ring)
    for loop in (
        np.stack([np.cos(ring), np.sin(ring), zero], axis=1),
        np.stack([0.7 * np.cos(ring), 0.7 * np.cos(ring), np.sin(ring)], axis=1),
        np.stack([0.7 * np.cos(ring), -0.7 * np.cos(ring), np.sin(ring)], axis=1),
    ):
        place = hall + np.array([side * 3.0, 2.5, 1.5]) + 3.0 * loop * (side, 1, 1)
        paints.append(Paint(Tube(place, 0.55), 40.0))
    return paints


def _mastoid(build: HeadBuild, side: int) -> list[Paint]:
    """The mastoid with its air cells, few in a sclerotic one."""
    rng = build.rng
    gain = build.bone_density
    tip = build.points((side * 54, 34, -18), (side * 53, 33, -34), (side * 50, 30, -44))
    paints = [
        Paint(Tube(tip, np.array([12.0, 9.0, 4.0])), 1000 * gain, 50.0),
        Paint(Tube(tip, np.array([10.8, 7.8, 2.8])), 450 * gain, 120.0),
    ]
    for _ in range(int(rng.choice([8, 45, 70, 90]))):
        along, height = rng.uniform(-1, 1), rng.uniform(-40, -6)
        spread = 9.0 * np.sqrt(np.clip((height + 46) / 30, 0.05, 1))
        place = build.point(
            side * (52 + spread * along + rng.normal(0, 1)),
            34 + spread * rng.uniform(-1, 1.2),
            height,
        )
        size = rng.uniform(0.9, 2.8, 3)
        cell = ellipsoid(place, (float(size[0]), float(size[1]), float(size[2])))
        paints.append(Paint(cell, rng.choice([-980.0, -950.0, -600.0])))
    return paints


def sella(build: HeadBuild) -> list[Paint]:
    """Return sphenoid body, wings and sinus, pituitary fossa, dorsum and clinoids.

    They are painted after the face, which ends at them.
    """
    rng = build.rng
    gain = build.bone_density
    cortical = rng.uniform(700, 1050) * gain
    paints = [*_greater_wings(build), *_sphenoid_sinus(build)]
    high, bow = rng.uniform(2.5, 6.0), rng.uniform(0.5, 2.0)
    wide = np.linspace(-1, 1, 9)
    for height in np.arange(-8.0, high, 1.6):
        reach = np.interp(height, (-8, 0, high), (9.5, 7.5, 6.0))
        back = 10.0 + bow * (1 - wide**2) - 0.15 * (height + 8)
        course = np.stack([reach * wide, back, 0 * wide + height], axis=1)
        edge = build.points(*((x, y, z) for x, y, z in course.tolist()))
        thick = rng.uniform(0.8, 1.5, len(edge)) + 0.5 * wide**2
        paints.append(Paint(Tube(edge, thick, 1.2), cortical))
    for side in SIDES:
        tip = build.points((side * 6.5, 9.5, high - 1), (side * 7.5, 7.8, high + 1.0))
        paints.append(Paint(Tube(tip, np.array([2.0, 1.2])), cortical))
        front, lower = rng.uniform(-7.5, -4.5), rng.uniform(5.5, 8.0)
        clinoid = ((22, -14, 9.5), (15.5, -9.5, 8.8), (13.6, front, lower))
        size = np.array([4.0, 3.2, 1.5])
        paints.append(build.tube(clinoid, size, cortical, side=side))
        if build.chance(0.5):  # marrow, or air as the sinus reaches into it
            inside = float(rng.choice([250.0, 120.0, -900.0]))
            core = np.array([2.6, 2.0, 0.4])
            paints.append(build.tube(clinoid, core, inside, side=side))
    return paints


def _greater_wings(build: HeadBuild) -> list[Paint]:
    """Bone between orbit and middle fossa."""
    gain = build.bone_density
    paints = []
    for side in SIDES:
        wing = ((16, -16, -8), (26, -22, -6), (38, -31, -4), (49, -43, 0))
        size = np.array([3.6, 3.8, 4.4, 3.6])
        paints.append(
            build.tube(wing, size, 950 * gain, side=side, jitter_mm=0.5, flatten_z=3.6)
        )
        paints.append(
            build.tube(wing, size - 1.4, 380 * gain, side=side, flatten_z=3.6)
        )
    return paints


def _sphenoid_sinus(build: HeadBuild) -> list[Paint]:
    """Air in front of and below the sella, as far back as this patient's reaches."""
    rng = build.rng
    gain = build.bone_density
    sx, sy, sz = build.scale_xyz
    back = rng.choice([-7.0, 0.0, 6.0])
    front = -29.0
    middle, half = (front + back) / 2, (back - front) / 2
    floor, roof = rng.uniform(-23, -18), 3.0
    split = rng.normal(0, 3)
    fluid = build.chance(0.15)
    body = ellipsoid(
        build.point(0, -13, -10), (12.5 * sx, 18 * sy, 14.5 * sz), build.yaw_rad, 2.6
    )
    core = ellipsoid(
        build.point(0, -13, -10), (11.3 * sx, 17 * sy, 13 * sz), build.yaw_rad, 2.6
    )
    paints = [Paint(body, 850 * gain, 60.0), Paint(core, 330 * gain, 90.0)]
    for side in SIDES:
        edge = split + side * 0.5
        wide = max(rng.uniform(9.0, 11.5) - side * edge, 3.0) / 2
        centre = build.point(edge + side * wide, middle, (floor + roof) / 2 - 1.5)
        deep = (roof - floor) / 2 * sz
        for grow, hu in ((0.9, 800 * gain), (0.0, -990.0)):
            size = (wide * sx + grow, half * sy + grow, deep + grow)
            room = ellipsoid(centre, size, build.yaw_rad, 2.7)
            paints.append(Paint(room, hu))
        if fluid:
            low = (centre[0], centre[1] + 6, centre[2])
            size = (wide * sx, (half - 6) * sy, 0.6 * deep)
            paints.append(Paint(ellipsoid(low, size, build.yaw_rad, 2.7), 25.0))
    fossa = ellipsoid(build.point(0, 2, 0.5), (9.5 * sx, 7.5 * sy, 8 * sz))
    gland = ellipsoid(build.point(0, 1.5, -2.5), (7 * sx, 6 * sy, 4.5 * sz))
    return [*paints, Paint(fossa, 14.0), Paint(gland, 54.0)]


def _holes(build: HeadBuild) -> list[Paint]:
    """Foramen magnum and jugular foramina, oval foramina, optic canals, fissures."""
    soft = build.soft_hu
    sx, sy, _ = build.scale_xyz
    x, y, z = build.point(0, 48, -60)
    magnum = Column(
        (z - 60, z + 24.0),
        (x, x),
        (y + 2.0, y),
        (15.5 * sx, 14.0 * sx),
        (16.5 * sy, 16.0 * sy),
    )
    paints = [Paint(magnum, 12.0)]
    for side in SIDES:
        jugular = ((23, 38, -28), (25, 36, -36), (27, 34, -52))
        oval = ((22, 4, -14), (23, 3, -22), (25, 3, -34))
        optic = ((5, -7, 6.5), (10, -14, 5), (15, -24, 1))
        fissure = ((13, -12, 0), (17, -18, 0), (22, -24, 3))
        for course, radius in ((jugular, 4.2), (oval, 2.4), (fissure, 2.6)):
            paints.append(build.tube(course, radius, soft, side=side, jitter_mm=0.7))
        paints.append(build.tube(optic, 2.2, 30.0, side=side))
    return paints
