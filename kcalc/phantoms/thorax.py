"""The thorax of the chest phantom: wall, lungs, airways, bones, organs, table.

Positions are LPS millimetres for a patient of median size whose heart lies at z = 0;
:class:`Build` scales them to a drawn patient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kcalc.phantoms.physics import MATERIALS_HU
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
    """Return body wall, lungs, organs, airways, bones, table, in painting order."""
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
        Paint(cylinder((0, 2, 0), 165 * sx + wall, 104 * sy + wall, 900, 2.4), 10.0),
        Paint(
            cylinder((0, 2, 0), 163 * sx + wall, 102 * sy + wall, 900, 2.4),
            build.fat_hu,
            6.0,
        ),
        Paint(cylinder((0, 4, 0), 154 * sx, 98 * sy, 900, 2.3), muscle, 6.0),
        Paint(cylinder((0, 4, 0), 141 * sx, 88 * sy, 900, 2.2), build.fat_hu + 5, 6.0),
    ]
    for side in (-1, 1):
        breast = ellipsoid(
            (side * 80 * sx, -(100 * sy + wall), 25),
            (60 * sx, 18 + wall, 55),
        )
        paints.insert(2, Paint(breast, build.fat_hu + 15, 12.0))
        if arms_down:
            x = side * (215 * sx + wall)
            paints.append(Paint(cylinder((x, 15, 0), 42, 46, 900), muscle))
            paints.append(Paint(cylinder((x, 15, 0), 12, 12, 900), 1000.0))
            paints.append(Paint(cylinder((x, 15, 0), 7, 7, 900), 60.0))
    return paints


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
    if build.chance(0.6):
        gas = organ((62, -35, dome - 60), (26, 22, 28))
        paints.append(Paint(gas, -900.0))
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


def bones(build: Build) -> list[Paint]:
    """Return spine, ribs with cartilage, sternum, clavicles and scapulae."""
    return [*_spine(build), *_ribs(build), *_front_and_shoulders(build)]


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
    paints = [Paint(cylinder((0, 66 * sy, 0), 20 * sx, 17 * sy, 900), build.soft_hu)]
    cortical, spongy = rng.uniform(350, 700), rng.uniform(110, 240)
    pitch = 24.0 * sz
    spur = rng.uniform(0, 0.7)
    for level in range(-8, 9):
        z = level * pitch + rng.uniform(-1, 1)
        y = 66 * sy - 0.0007 * z * z
        a, b = 17.5 * sx, 14 * sy
        body = cylinder((0, y, z), a, b, 0.8 * pitch, 2.5)
        core = cylinder((0, y, z), a - 1.6, b - 1.6, 0.8 * pitch - 3, 2.5)
        paints += _shell(build, body, core, cortical, spongy)
        arch_y = y + b + 9
        for side in (-1, 1):
            pedicle = np.array(
                [[side * 11, y + b - 2, z + 3], [side * 12, arch_y + 6, z + 2]]
            )
            wing = np.array(
                [[side * 12, arch_y + 4, z + 2], [side * 34, arch_y + 9, z + 5]]
            )
            blade = np.array([[side * 12, arch_y + 6, z], [0, arch_y + 13, z - 5]])
            for path, radius in ((pedicle, 4.5), (wing, 4.5), (blade, 3.5)):
                paints.append(Paint(Tube(path, radius), cortical * 0.8))
                paints.append(Paint(Tube(path, radius - 1.6), spongy + 60))
        process = np.array([[0, arch_y + 12, z - 5], [0, arch_y + 32, z - 22]])
        paints.append(Paint(Tube(process, 3.6), cortical * 0.7))
        if build.chance(spur):
            angle = rng.uniform(np.pi, 2 * np.pi)
            centre = (a * np.cos(angle), y + b * np.sin(angle), z + 0.42 * pitch)
            size = rng.uniform(2, 5)
            paints.append(
                Paint(ellipsoid(centre, (size, size, 4.0)), rng.uniform(300, 800))
            )
    canal = cylinder((0, 66 * sy + 14 * sy + 8, 0), 9, 7.5, 900)
    paints.append(Paint(canal, 25.0))
    return paints


def _ribs(build: Build) -> list[Paint]:
    rng = build.rng
    sx, sy, sz = build.scale_xyz
    cortical, spongy = rng.uniform(450, 900), rng.uniform(120, 260)
    chalk = rng.uniform(0, 1)
    paints = []
    progress = np.linspace(0, 1, 36)
    for level in range(-7, 9):
        top = level * 24.0 * sz
        drop = rng.uniform(70, 95) * sz
        for side in (-1, 1):
            angle = np.deg2rad(78 - 146 * progress)
            path = np.stack(
                [
                    side * (148 * sx * np.cos(angle) ** 0.9 + 3),
                    4 * sy + 93 * sy * np.sin(angle),
                    top + 8 - drop * progress**1.2,
                ],
                axis=1,
            )
            path[0, :2] = side * 14, 76 * sy
            bone, gristle = path[:28], path[27:]
            paints.append(Paint(Tube(bone, 5.4, 1.25), cortical * build.bone_density))
            paints.append(Paint(Tube(bone, 3.7, 1.25), spongy, 30.0))
            paints.append(
                Paint(Tube(gristle, 5.0, 1.2), MATERIALS_HU["cartilage"], 15.0)
            )
            if build.chance(0.6 * chalk):
                start = int(rng.integers(0, 6))
                chip = gristle[start : start + 3] + rng.normal(0, 1, 3)
                paints.append(
                    Paint(Tube(chip, rng.uniform(1.0, 3.5)), rng.uniform(200, 600))
                )
    return paints


def _front_and_shoulders(build: Build) -> list[Paint]:
    rng = build.rng
    sx, sy, sz = build.scale_xyz
    y = -90 * sy
    cortical, spongy = rng.uniform(300, 550), rng.uniform(80, 180)
    z = (-55 * sz, -20 * sz, 60 * sz, 95 * sz, 110 * sz)
    widths = (8.0, 15.0, 17.0, 28.0, 20.0)
    outer = Column(z, (0.0,) * 5, (y, y, y, y + 6, y + 12), widths, (5.5,) * 5, 3.0)
    inner = Column(
        z,
        (0.0,) * 5,
        (y, y, y, y + 6, y + 12),
        tuple(w - 2 for w in widths),
        (3.6,) * 5,
        3.0,
    )
    paints = _shell(build, outer, inner, cortical, spongy)
    for side in (-1, 1):
        clavicle = build.points(
            (side * 22, -72, 112), (side * 70, -62, 128), (side * 130, -25, 140)
        )
        paints.append(Paint(Tube(smooth_path(clavicle, 12), 6.5), 800.0))
        paints.append(Paint(Tube(smooth_path(clavicle, 12), 4.2), 200.0))
        blade = cylinder(
            build.point(side * 112, 74, 85),
            34 * sx,
            3.2,
            110 * sz,
            2.0,
            side * -0.75,
        )
        paints.append(Paint(blade, rng.uniform(400, 700)))
    return paints
