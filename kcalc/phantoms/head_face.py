"""What lies before and below the head phantom's skull base: face, jaw, neck, ears."""

from __future__ import annotations

import numpy as np

from kcalc.phantoms.head_build import SIDES, HeadBuild
from kcalc.phantoms.relief import Layer, Relief
from kcalc.phantoms.render import Paint
from kcalc.phantoms.shapes import Column, Tube, ellipsoid

_AIR = -990.0


def face(build: HeadBuild, relief: Relief) -> list[Paint]:
    """Return face and neck below the skull base, in painting order."""
    return [
        *_soft_parts(build, relief),
        *_orbits(build),
        *_nose(build),
        *_jaws(build),
        *_neck(build),
    ]


def ears(build: HeadBuild) -> list[Paint]:
    """Return the auricles and the head rest, which lie outside the skin."""
    rng = build.rng
    paints: list[Paint] = []
    out = 74 * build.scale_xyz[0] + build.wall_mm
    for side in SIDES:
        for back in (0, 7, 14):
            lobe = build.points((0, 20 + back, -46 + back), (0, 30 + back, -6 - back))
            lobe[:, 0] = side * (out + 0.35 * back), side * (out + 3 + 0.6 * back)
            paints.append(Paint(Tube(lobe, np.array([2.5, 3.2])), build.soft_hu - 30))
    _, y, z = build.point(0, 18, 0)
    gap, deep = rng.uniform(2, 8), rng.uniform(95, 112)
    reach = out + gap + 6
    angle = np.linspace(0.12 * np.pi, 0.88 * np.pi, 25)
    rest = np.stack(
        [reach * np.cos(angle), y + (deep + 12) * np.sin(angle), 0 * angle], axis=1
    )
    for height in np.arange(z - 90, z + 120, 6.0):
        level = rest + np.array([0.0, 0.0, height])
        paints.append(Paint(Tube(level, 3.2), 150.0))
    return paints


def face_outline(build: HeadBuild) -> list[Paint]:
    """Return skin and fat of the face, with the nose, painted before the skull."""
    x, y, z = build.point(0, 0, 0)
    sx, sy, _ = build.scale_xyz

    def mask(less_mm: float) -> Column:
        knots = (-130.0, -105.0, -70.0, -35.0, -10.0, 12.0)
        front = (-60.0, -88.0, -93.0, -88.0, -82.0, -78.0)
        wide = (30.0, 44.0, 60.0, 68.0, 68.0, 66.0)
        return Column(
            tuple(z + k for k in knots),
            tuple(x - build.yaw_rad * f / 2 for f in front),
            tuple(y + f * sy / 2 for f in front),
            tuple(a * sx + build.wall_mm / 2 - less_mm for a in wide),
            tuple(-f * sy / 2 + 3 - less_mm for f in front),
            2.4,
            build.yaw_rad,
        )

    bridge = ((0, -76, 4), (0, -84, -12), (0, -97, -30), (0, -90, -38))
    size = np.array([4.0, 5.0, 8.5, 8.0])
    temples = [
        build.blob((side * 60, -20, -6), (12, 26, 36), build.soft_hu + 8, 8.0)
        for side in SIDES
    ]
    return [
        Paint(mask(0.0), build.soft_hu),
        build.tube(bridge, size, build.soft_hu - 10),
        Paint(mask(2.0), build.fat_hu + 15, 14.0),
        *temples,
    ]


def _soft_parts(build: HeadBuild, relief: Relief) -> list[Paint]:
    """Muscles of the jaw, parotids, pharynx and the fat between them."""
    soft = build.soft_hu
    muscle = soft + 8
    sx, sy, _ = build.scale_xyz
    deep = ellipsoid(build.point(0, -10, -46), (48 * sx, 36 * sy, 34), build.yaw_rad)
    fat = Layer(relief, 0.0, None, below=True, within=deep)
    paints = [Paint(fat, build.fat_hu + 20, 14.0)]
    for side in SIDES:
        paints += [
            build.blob((side * 34, -6, -33), (14, 20, 10), muscle, 8.0),  # pterygoid
            build.blob((side * 26, -8, -55), (9, 15, 24), muscle, 8.0),
            build.blob((side * 58, -18, -62), (7, 16, 28), muscle, 8.0),  # masseter
            build.blob((side * 58, 16, -56), (12, 16, 22), soft - 45, 14.0),  # gland
            build.blob((side * 25, 10, -44), (5, 12, 20), build.fat_hu + 20, 8.0),
            build.blob((side * 9, 16, -52), (9, 7, 26), muscle, 6.0),  # longus
            build.tube(
                ((30, 31, -46), (31, 32, -80)), 5.0, build.blood_hu + 8, side=side
            ),
            build.tube(
                ((43, 28, -34), (33, 14, -66)), 2.0, 800.0, side=side
            ),  # styloid
        ]
    paints.append(build.blob((0, 2, -48), (17, 12, 26), muscle, 6.0))
    paints.append(build.blob((0, -8, -46), (10, 9, 17), _AIR))
    return paints


def _orbits(build: HeadBuild) -> list[Paint]:
    """Orbital cone with fat, globe, lens, optic nerve and the straight muscles."""
    rng = build.rng
    gain = build.bone_density
    bulge = rng.uniform(-3, 3)
    paints: list[Paint] = []
    for side in SIDES:
        axis = ((31, -58, 0), (29, -50, 0), (24, -37, 1), (16, -22, 2))
        wide = np.array([17.5, 17.0, 12.0, 4.0])
        paints.append(build.tube(axis, wide + 1.6, 850 * gain, side=side))
        paints.append(build.tube(axis, wide, build.fat_hu, side=side, texture_hu=6.0))
        lid = build.blob((side * 31, -71, 0), (15, 6, 14), build.soft_hu - 15)
        paints.append(lid)
        turn = np.linspace(0, 2 * np.pi, 19)
        edge = tuple(
            (32 + 19 * np.cos(a), -64 + 7 * np.cos(a), 1 + 18 * np.sin(a))
            for a in turn.tolist()
        )
        paints.append(build.tube(edge, 2.6, 900 * gain, side=side))
        for away, up in ((8.5, 0), (-8.5, 0), (0, 8.5), (0, -8.5)):
            muscle = (
                (31 + away, -53, up),
                (26.5 + 0.9 * away, -44, 1 + 0.9 * up),
                (17 + 0.3 * away, -24, 2 + 0.3 * up),
            )
            thick = np.array([1.2, 2.3, 1.2])
            paints.append(build.tube(muscle, thick, build.soft_hu + 12, side=side))
        nerve = ((29, -48, -1), (25, -38, 0), (16, -22, 2.5))
        paints.append(build.tube(nerve, 2.1, 34.0, side=side))
        eye = (side * 31.0, -60.0 - bulge, 0.0)
        paints.append(build.blob(eye, (12.2, 12.2, 12.2), 55.0))
        paints.append(build.blob(eye, (10.8, 10.8, 10.8), 12.0))
        lens = (eye[0], eye[1] - 7.5, eye[2])
        paints.append(build.blob(lens, (4.6, 2.3, 4.6), 85.0))
    return paints


def _nose(build: HeadBuild) -> list[Paint]:
    """Ethmoid and maxillary sinuses, nasal cavity with septum and conchae."""
    rng = build.rng
    gain = build.bone_density
    paints = [
        build.blob((0, -45, -6), (12.5, 22, 14), 600 * gain, power=3.0),
        build.blob((0, -45, -6), (11.8, 21.4, 13.4), 35.0, power=3.0),
    ]
    for side in SIDES:
        cells = (side * 6.6, -45.0, -6.0)
        paints.append(build.blob(cells, (4.6, 20.5, 12.5), _AIR, power=3.0))
        for y in np.arange(-62.0, -26, 6.0) + rng.uniform(-2, 2, 6):
            bend = rng.normal(0, 2)
            plate = ((2.2, y, -5), (7, y + bend, -6), (11.3, y + rng.normal(0, 2), -5))
            paints.append(
                build.tube(plate, 0.45, 420 * gain, side=side, flatten_z=30.0)
            )
        shelf = rng.uniform(-12, 0)
        for y in (-58.0, -46.0, -34.0):
            leaf = ((6.5, y - 6, shelf), (6.5 + rng.normal(0, 1), y + 6, shelf))
            paints.append(build.tube(leaf, 0.45, 420 * gain, side=side, flatten_z=18.0))
        for _ in range(3):  # swollen cells
            swollen = (side * rng.uniform(4, 10), rng.uniform(-60, -30), -6.0)
            paints.append(build.blob(swollen, (2.5, 3.5, 5), 25.0))
    paints.append(build.blob((0, -48, -36), (15, 38, 18), 550 * gain, power=3.0))
    paints.append(build.blob((0, -48, -36), (14, 40, 17), 45.0, power=3.0))
    bent = rng.normal(0, 2)
    for side in SIDES:
        cavity = (side * 7.0, -48.0, -33.0)
        paints.append(build.blob(cavity, (5.6, 40, 15), _AIR, power=3.0))
        for low, size in ((-44, 3.2), (-34, 2.6), (-25, 1.8)):
            concha = ((9.5, -70, low), (9.0, -50, low - 1), (8.0, -24, low - 1))
            swell = size * rng.uniform(0.7, 1.2)
            paints.append(build.tube(concha, swell, 45.0, side=side, flatten_z=1.7))
            paints.append(build.tube(concha, 0.6, 450 * gain, side=side, flatten_z=3.0))
        frontal = (side * rng.uniform(6, 10), -71.5, rng.uniform(12, 20))
        half = (rng.uniform(4, 10), 3.4, rng.uniform(5, 11))
        rim = (half[0] + 1, half[1] + 1, half[2] + 1)
        paints.append(build.blob(frontal, rim, 900 * gain))
        paints.append(build.blob(frontal, half, _AIR))
        room = (side * 30.0, -46.0, -37.0)
        paints.append(build.blob(room, (14, 18, 17), 700 * gain, power=2.2))
        wall = rng.uniform(0.7, 1.2)
        inside = (14 - wall, 18 - wall, 17 - wall)
        paints.append(build.blob(room, inside, _AIR, power=2.2))
        if build.chance(0.3):  # swollen lining
            lining = (room[0], room[1] + 6, room[2] - 9)
            paints.append(build.blob(lining, (9, 9, 6), 25.0))
    for height in np.arange(-50.0, -8, 4.0):
        septum = ((0, -82, height), (bent, -55, height), (0, -22, height))
        hu = 45.0 if height > -40 else 350 * gain
        paints.append(build.tube(septum, 0.9, hu, flatten_z=3.0))
    return paints


def _jaws(build: HeadBuild) -> list[Paint]:
    """Cheek bones, pterygoid plates, palate with teeth, mandible."""
    rng = build.rng
    gain = build.bone_density
    hard, soft_bone = 1000 * gain, 350 * gain
    paints: list[Paint] = []
    palate = build.blob((0, -48, -54), (24, 30, 2.2), hard, power=2.5)
    tongue = build.blob((0, -42, -80), (26, 36, 24), build.soft_hu + 5, 10.0)
    paints += [tongue, palate]
    for side in SIDES:
        arch = ((66, 12, -22), (69, -8, -25), (66, -28, -26), (52, -50, -24))
        thick = np.array([2.4, 2.2, 3.0, 5.0])
        paints.append(build.tube(arch, thick, hard, side=side))
        paints.append(build.tube(arch, thick - 1.2, soft_bone, side=side))
        wing = ((42, -58, -22), (44, -38, -8), (40, -24, -4))
        paints.append(build.tube(wing, 1.8, hard, side=side, flatten_z=5.0))
        for away, back in ((11.5, -8), (17.0, -6)):
            plate = ((12, -19, -40), (away, -12, -40), (away + 0.5, back, -40))
            paints.append(build.tube(plate, 0.8, hard, side=side, flatten_z=17.0))
        condyle = (side * 50.0, 13.0, -31.0)
        paints.append(build.blob(condyle, (9, 4.5, 6), hard))
        paints.append(build.blob(condyle, (7.6, 3.2, 4.8), soft_bone))
        ramus = ((50, 12, -34), (49, 6, -58), (46, -2, -84))
        for shift in (-8, -4, 0, 4):
            piece = tuple((x, y + shift * (z < -40), z) for x, y, z in ramus)
            paints.append(build.tube(piece, 3.2, hard, side=side))
            paints.append(build.tube(piece, 1.6, soft_bone, side=side))
        crown = ((50, -16, -34), (50, -12, -48), (48, -8, -66))
        paints.append(build.tube(crown, np.array([1.6, 2.6, 3.2]), hard, side=side))
        body = ((46, -4, -88), (40, -34, -98), (22, -66, -104), (0, -76, -106))
        paints.append(build.tube(body, 6.5, hard, side=side, flatten_z=1.8))
        paints.append(build.tube(body, 4.5, soft_bone, side=side, flatten_z=1.8))
    for row, height in ((1, -64.0), (0, -84.0)):
        for angle in np.linspace(-1.25, 1.25, 14):
            x, y = 27 * np.sin(angle), -32 - 40 * np.cos(angle)
            if rng.random() < 0.15:
                continue
            root = height + (9 if row else -9)
            tooth = ((x, y, root), (x * 1.02, y * 1.01, height))
            paints.append(build.tube(tooth, np.array([2.0, 3.8]), 1600.0))
    return paints


def _neck(build: HeadBuild) -> list[Paint]:
    """Atlas with the dens, occipital condyles, muscles of the nape."""
    rng = build.rng
    gain = build.bone_density
    hard, spongy = 950 * gain, 300 * gain
    paints: list[Paint] = []
    for side in SIDES:
        for x, y, half in ((12, 84, (10, 18, 34)), (28, 74, (9, 14, 34))):
            nape = (side * float(x), float(y), -78.0)
            paints.append(build.blob(nape, half, build.soft_hu + 8, 10.0))
        condyle = ((18, 43, -46), (15, 38, -52))
        paints.append(build.tube(condyle, np.array([6.5, 6.0]), hard, side=side))
        paints.append(build.tube(condyle, np.array([5.2, 4.6]), spongy, side=side))
        mass = (side * 19.0, 40.0, -66.0)
        paints.append(build.blob(mass, (9, 11, 8), hard))
        paints.append(build.blob(mass, (7.4, 9.4, 6.4), spongy))
        arch = ((20, 46, -66), (19, 62, -67), (9, 74, -67), (0, 77, -67))
        front = ((18, 34, -65), (9, 25, -64), (0, 22, -64))
        wing = ((27, 40, -66), (38, 42, -66))
        for course, size in ((arch, 3.6), (front, 3.8), (wing, 4.0)):
            paints.append(build.tube(course, size, hard, side=side))
            paints.append(build.tube(course, size - 1.5, spongy, side=side))
        hole = ((32, 42, -78), (31, 42, -58))
        paints.append(build.tube(hole, 2.8, build.soft_hu, side=side))
    dens = ((0, 31, -55), (0, 31, -68), (0, 33, -86))
    wide = np.array([3.5, 5.0, 7.0]) * rng.uniform(0.9, 1.1)
    paints.append(build.tube(dens, wide, hard))
    paints.append(build.tube(dens, wide - 1.4, spongy))
    return paints
