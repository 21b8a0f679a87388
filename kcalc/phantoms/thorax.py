"""The soft parts of the chest phantom: wall, lungs, airways, organs; the table.

Positions are LPS millimetres for a patient of median size whose heart lies at z = 0;
:class:`Build` scales them to a drawn patient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kcalc.phantoms.render import Paint
from kcalc.phantoms.shapes import Column, Tube, cylinder, ellipsoid

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Build:
    """Size and tissue of one patient.

    Args:
        scale_xyz: Size against the median patient along x, y, z.
        blood_hu: Blood, heart and vessels, 25 to 60 HU.
        soft_hu: Other soft tissue, up to 90 HU.
        fat_hu: Fat.
        bone_density: Factor on the HU of bone.
        wall_mm: Thickness of subcutaneous fat.
        rng: Source of everything that is drawn.
    """

    scale_xyz: tuple[float, float, float]
    blood_hu: float
    soft_hu: float
    fat_hu: float
    bone_density: float
    wall_mm: float
    rng: np.random.Generator

    def point(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """Scale one position of the median patient."""
        sx, sy, sz = self.scale_xyz
        return (x * sx, y * sy, z * sz)

    def points(self, *xyz_mm: tuple[float, float, float]) -> Points:
        """Scale several positions of the median patient, (n, 3)."""
        return np.asarray(np.array(xyz_mm, dtype=float) * np.array(self.scale_xyz))

    def chance(self, probability: float) -> bool:
        """Draw a yes with this probability."""
        return bool(self.rng.random() < probability)


def smooth_path(points_xyz_mm: Points, count: int = 40) -> Points:
    """Return a smooth curve through points, (count, 3)."""
    from scipy.interpolate import PchipInterpolator

    knots = np.linspace(0.0, 1.0, len(points_xyz_mm))
    curve = PchipInterpolator(knots, points_xyz_mm)(np.linspace(0, 1, count))
    return np.asarray(curve, dtype=float)


def thorax(build: Build, *, arms_down: bool) -> list[Paint]:
    """Return table, body wall, lungs and organs, in painting order."""
    return [
        *_table(build),
        *_body(build, arms_down),
        *_lungs(build),
        *_abdomen(build),
    ]


def _table(build: Build) -> list[Paint]:
    rng = build.rng
    depth = 118 * build.scale_xyz[1] + build.wall_mm + rng.uniform(3, 15)
    width = rng.uniform(190, 230)
    paints = [
        Paint(cylinder((0, depth + 14, 0), width, 14, 900, 6.0), -450.0),
        Paint(cylinder((0, depth + 14, 0), width - 4, 11, 900, 6.0), -930.0),
    ]
    for _ in range(int(rng.integers(0, 3))):
        x, radius = rng.uniform(-150, 150), rng.uniform(2, 7)
        hu = float(rng.choice([150.0, 400.0, 1200.0]))
        paints.append(
            Paint(cylinder((x, depth + rng.uniform(20, 40), 0), radius, 3, 900), hu)
        )
    return paints


def _body(build: Build, arms_down: bool) -> list[Paint]:
    sx, sy, _ = build.scale_xyz
    wall = build.wall_mm
    muscle = build.soft_hu + 8
    paints = [
        Paint(_trunk(build, wall + 2), 10.0),
        Paint(_trunk(build, wall), build.fat_hu, 6.0),
        Paint(_trunk(build, -9.0 * sx), muscle, 6.0),
        Paint(_cavity(build), build.fat_hu + 5, 6.0),
    ]
    for side in (-1, 1):
        breast = ellipsoid(
            (side * 80 * sx, -(100 * sy + wall), 25),
            (60 * sx, 18 + wall, 55),
        )
        paints.insert(2, Paint(breast, build.fat_hu + 15, 12.0))
        if arms_down:
            x = side * (215 * sx + wall)
            paints.append(Paint(cylinder((x, 15, -365), 42, 46, 1000), muscle))
            paints.append(Paint(cylinder((x, 15, -365), 12, 12, 1000), 1000.0))
            paints.append(Paint(cylinder((x, 15, -365), 7, 7, 1000), 60.0))
    for _ in range(int(build.rng.integers(0, 5))):
        paints.append(_something_outside(build))
    return paints


def _trunk(build: Build, extra_mm: float) -> Column:
    """The trunk from hips to neck with the shoulders, ``extra_mm`` larger."""
    sx, sy, sz = build.scale_xyz
    outline = (
        (-600.0, 158.0, 100.0),
        (-180.0, 156.0, 101.0),
        (0.0, 163.0, 102.0),
        (70.0, 178.0, 102.0),
        (120.0, 206.0, 96.0),
        (150.0, 216.0, 88.0),
        (172.0, 180.0, 78.0),
        (190.0, 95.0, 70.0),
        (205.0, 66.0, 66.0),
        (600.0, 64.0, 66.0),
    )
    n = len(outline)
    return Column(
        tuple(z * sz for z, _, _ in outline),
        (0.0,) * n,
        (2.0,) * n,
        tuple(x * sx + extra_mm for _, x, _ in outline),
        tuple(y * sy + extra_mm for _, _, y in outline),
        2.4,
    )


def _cavity(build: Build) -> Column:
    """Fat within the rib cage and below it."""
    sx, sy, sz = build.scale_xyz
    heights = (-600.0, -120.0, 40.0, 70.0, 90.0, 110.0, 130.0, 160.0, 168.0)
    share = [cage_share(z) for z in heights]
    n = len(heights)
    return Column(
        tuple(z * sz for z in heights),
        (0.0,) * n,
        tuple((4.0 + 10.0 * (1 - part)) * sy for part in share),
        tuple(141.0 * sx * part for part in share),
        (*(88.0 * sy * part**0.8 for part in share[:-1]), 0.0),
        2.2,
    )


def cage_share(z_mm: float) -> float:
    """Return the rib cage's width at a height of the median patient, of its widest."""
    heights = (-300.0, -150.0, -40.0, 40.0, 70.0, 90.0, 110.0, 130.0, 160.0)
    shares = (0.90, 0.98, 1.0, 0.98, 0.93, 0.86, 0.77, 0.65, 0.42)
    return float(np.interp(z_mm, heights, shares))


def _something_outside(build: Build) -> Paint:
    """An electrode, a cable or a line on or beside the body."""
    rng = build.rng
    sx, sy, _ = build.scale_xyz
    angle = rng.uniform(0.8 * np.pi, 2.2 * np.pi)
    away = rng.uniform(2, 60)
    start = np.array(
        [
            (165 * sx + build.wall_mm + away) * np.cos(angle),
            (104 * sy + build.wall_mm + away) * np.sin(angle),
            rng.uniform(-200, 200),
        ]
    )
    path = start + np.cumsum(rng.normal(0, 22, (6, 3)) * (1, 0.6, 1), axis=0)
    return Paint(Tube(path, rng.uniform(0.6, 3.0)), rng.uniform(150, 3000))


def _lungs(build: Build) -> list[Paint]:
    sx, sy, sz = build.scale_xyz
    rng = build.rng
    lung_hu = rng.uniform(-880, -780)
    heights = (-150.0, -60.0, 0.0, 60.0, 105.0, 135.0, 150.0)
    paints = []
    for side in (-1, 1):
        shape = Column(
            tuple(z * sz for z in heights),
            tuple(side * x * sx for x in (76, 76, 76, 72, 66, 58, 55)),
            tuple(y * sy for y in (8, 8, 4, 4, 8, 12, 14)),
            tuple(a * sx for a in (60, 61, 60, 56, 48, 30, 0)),
            tuple(b * sy for b in (76, 78, 79, 76, 64, 38, 0)),
            2.3,
        )
        paints.append(Paint(shape, lung_hu, 25.0))
    for side in (-1, 1):
        hilum = build.points((side * 34.0, 8.0, 38.0))[0]
        for _ in range(26):
            direction = rng.normal(size=3) * (1.0, 0.9, 1.1) + (side * 0.9, 0, -0.2)
            direction /= np.linalg.norm(direction)
            steps = np.array([0.0, 18.0, 38.0, 60.0])[:, None]
            path = hilum + steps * direction + rng.normal(0, 4, (4, 3)) * (steps / 40)
            radius = rng.uniform(1.8, 4.0) * np.array([1.0, 0.75, 0.45, 0.2])
            paints.append(Paint(Tube(path, radius), build.blood_hu))
    return paints


def _abdomen(build: Build) -> list[Paint]:
    rng = build.rng
    sx, sy, sz = build.scale_xyz
    dome = rng.uniform(-70, -42)
    liver_hu = rng.uniform(40, 70)

    def organ(
        centre: tuple[float, float, float], half: tuple[float, float, float]
    ) -> Column:
        return ellipsoid(
            build.point(*centre), (half[0] * sx, half[1] * sy, half[2] * sz), power=2.3
        )

    paints = [
        Paint(organ((-55, 0, dome - 90), (86, 82, 90)), liver_hu, 4.0),
        Paint(organ((70, 5, dome - 100), (66, 76, 88)), build.soft_hu, 8.0),
        Paint(organ((60, 35, dome - 105), (40, 36, 80)), liver_hu - 5, 4.0),
    ]
    for side in (-1, 1):
        kidney = organ((side * 58, 42, -190), (24, 28, 55))
        paints.append(Paint(kidney, build.soft_hu - 12, 5.0))
    if build.chance(0.6):
        gas = organ((62, -35, dome - 60), (26, 22, 28))
        paints.append(Paint(gas, -900.0))
    for _ in range(int(rng.integers(0, 10))):
        size = rng.uniform(4, 18)
        centre = rng.uniform((-90, -70, -320), (90, 20, dome - 70))
        loop = organ((centre[0], centre[1], centre[2]), (size, size * 0.8, size))
        contents = rng.choice([-900.0, 15.0, rng.uniform(100, 700)])
        paints.append(Paint(loop, float(contents), 20.0))
    for _ in range(int(rng.integers(0, 4))):
        # Stones of gall bladder and kidneys, calcium of the spleen and its artery.
        size = rng.uniform(1.0, 6.0)
        centre = rng.uniform((-85, -50, -250), (85, 60, dome - 50))
        stone = organ((centre[0], centre[1], centre[2]), (size, size, size))
        paints.append(Paint(stone, rng.uniform(150, 900)))
    return paints


def airways(build: Build) -> list[Paint]:
    """Return trachea, main bronchi and oesophagus, walls first."""
    rng = build.rng
    trunk = build.points((0, 0, 170), (1, 4, 110), (0, 8, 62))
    right = build.points((0, 8, 62), (-22, 10, 48), (-45, 12, 36))
    left = build.points((0, 8, 62), (24, 14, 46), (48, 16, 40))
    radius = rng.uniform(7.5, 9.5)
    wall = rng.uniform(1.2, 2.2)
    wall_hu = float(rng.choice([build.soft_hu, build.soft_hu + 60]))
    paints = []
    for grow, hu in ((wall, wall_hu), (0.0, -990.0)):
        paints.append(Paint(Tube(trunk, radius + grow), hu))
        for branch in (right, left):
            paints.append(Paint(Tube(branch, radius * 0.72 + grow), hu))
    gullet = smooth_path(
        build.points((3, 18, 170), (6, 26, 90), (6, 33, 30), (14, 30, -60)), 20
    )
    paints.insert(0, Paint(Tube(gullet, rng.uniform(6, 9)), build.soft_hu))
    if build.chance(0.4):
        paints.insert(1, Paint(Tube(gullet[4:14], rng.uniform(1.5, 4)), -950.0))
    return paints
