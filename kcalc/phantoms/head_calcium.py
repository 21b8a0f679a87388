"""What the head phantom calcifies without being a target, and its artefacts.

Hard negatives (digest F.5 item 4): choroid plexus, pineal gland, falx, petroclinoid
ligaments, basal ganglia, vertebral, basilar and middle cerebral arteries. Artefacts:
bands between the petrous bones, streaks of dental metal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kcalc.phantoms.chest_calcium import density_mg_per_ml, rotation_to
from kcalc.phantoms.deposits import Deposit, Part
from kcalc.phantoms.head_brain import BASILAR, VERTEBRAL
from kcalc.phantoms.head_build import SIDES, HeadBuild, Place
from kcalc.phantoms.prisms import trimmed
from kcalc.phantoms.render import Paint
from kcalc.phantoms.shapes import FloatArray, Patch
from kcalc.phantoms.thorax import Points, smooth_path


@dataclass(frozen=True)
class Band:
    """A share that runs as a straight band across some slices and fades out.

    Args:
        through_xyz_mm: A point on its middle line.
        angle_rad: Direction in the plane, 0 along x.
        sd_mm: Standard deviation across the line.
        reach_mm: Standard deviation along it.
        height_mm: Standard deviation along z.
        share: Largest share.
    """

    through_xyz_mm: Place
    angle_rad: float
    sd_mm: float
    reach_mm: float
    height_mm: float
    share: float

    def patch(self, z_mm: float, y_mm: FloatArray, x_mm: FloatArray) -> Patch | None:
        """Return the touched part of the slice at ``z_mm``, or None."""
        x0, y0, z0 = self.through_xyz_mm
        fade = float(np.exp(-0.5 * ((z_mm - z0) / self.height_mm) ** 2))
        if fade < 0.02:
            return None
        dx, dy = x_mm[None, :] - np.float32(x0), y_mm[:, None] - np.float32(y0)
        cos = np.float32(np.cos(self.angle_rad))
        sin = np.float32(np.sin(self.angle_rad))
        near = np.abs(dy * cos - dx * sin) < 3.5 * self.sd_mm
        rows = np.flatnonzero(near.any(axis=1))
        if rows.size == 0:
            return None
        first = int(rows[0])
        dy = dy[first : int(rows[-1]) + 1]
        along, across = dx * cos + dy * sin, dy * cos - dx * sin
        power = (across / self.sd_mm) ** 2 + (along / self.reach_mm) ** 2
        patch = trimmed((self.share * fade * np.exp(-0.5 * power)).astype(np.float32))
        if patch is None:
            return None
        moved = slice(patch.rows.start + first, patch.rows.stop + first)
        return Patch(moved, patch.columns, patch.occupancy)


def other_head_calcium(build: HeadBuild) -> list[Deposit]:
    """Draw calcium that is no lesion of the carotids: label 0."""
    rng = build.rng
    deposits: list[Deposit] = []
    if build.chance(0.6):  # choroid plexus of the lateral ventricles, both or one
        for side in SIDES:
            if build.chance(0.8):
                deposits += _cluster(build, (side * 22, 46, 24), (3.5, 5, 4), 2.2)
    if build.chance(0.6):
        deposits += _cluster(build, (0, 33, 13), (1.6, 2.0, 1.6), 1.9)
    if build.chance(0.45):
        for _ in range(int(rng.integers(1, 5))):
            y = float(rng.choice([rng.uniform(-64, -25), rng.uniform(60, 90)]))
            place = build.points((0, y, rng.uniform(26, 70)))[0]
            deposits.append(
                _flake(place, (0.7, rng.uniform(2, 6), rng.uniform(1.5, 4)), rng)
            )
    for side in SIDES:
        if build.chance(0.45):  # petroclinoid ligament, beside the siphon
            line = build.points(
                (side * 15, 16, -7), (side * 11.5, 11, 0), (side * 9, 8.5, 5)
            )
            deposits += _along(line, 0.7, (0.05, 0.95), int(rng.integers(1, 6)), rng)
        if build.chance(0.15):
            deposits += _cluster(build, (side * 19, 2, 22), (3, 6, 4), 1.2)
        if build.chance(0.35):
            left = build.points(*((side * x, y, z) for x, y, z in VERTEBRAL))
            deposits += _along(left, 1.6, (0.2, 0.95), int(rng.integers(1, 5)), rng)
        if build.chance(0.12):
            course = build.points((side * 18, -2, 14.5), (side * 30, -7, 13.5))
            deposits += _along(course, 1.2, (0.0, 1.0), int(rng.integers(1, 3)), rng)
    if build.chance(0.22):
        line = build.points(*BASILAR)
        deposits += _along(line, 1.6, (0.0, 1.0), int(rng.integers(1, 4)), rng)
    return deposits


def _flake(centre: Points, half_mm: Place, rng: np.random.Generator) -> Deposit:
    """A piece that keeps the patient's axes, as in falx and ligaments."""
    x, y, z = (float(value) for value in centre)
    part = Part((x, y, z), half_mm)
    return Deposit((part,), density_mg_per_ml(rng), 0)


def _cluster(
    build: HeadBuild, centre: Place, spread: Place, size_mm: float
) -> list[Deposit]:
    """Several grains round a place, of one density."""
    rng = build.rng
    middle = build.points(centre)[0]
    parts = []
    for _ in range(int(rng.integers(1, 8))):
        x, y, z = (middle + rng.normal(0, 0.6, 3) * np.array(spread)).tolist()
        size = rng.uniform(0.4, 1.0, 3) * size_mm
        half = (float(size[0]), float(size[1]), float(size[2]))
        parts.append(Part((x, y, z), half))
    return [Deposit(tuple(parts), density_mg_per_ml(rng), 0)]


def _along(
    course: Points,
    off_mm: float,
    between: tuple[float, float],
    count: int,
    rng: np.random.Generator,
) -> list[Deposit]:
    """Flat pieces beside a course, as plaques on the wall of an artery."""
    path = smooth_path(course, 60)
    deposits = []
    for _ in range(count):
        index = int(np.clip(rng.uniform(*between) * 59, 1, 58))
        axes = rotation_to(path[index + 1] - path[index - 1], rng)
        x, y, z = (path[index] + axes[:, 0] * off_mm).tolist()
        half = (rng.uniform(0.35, 0.8), rng.uniform(0.5, 1.4), rng.uniform(0.6, 2.2))
        part = Part((x, y, z), half, axes)
        deposits.append(Deposit((part,), density_mg_per_ml(rng), 0))
    return deposits


def artefacts(build: HeadBuild) -> list[Paint]:
    """Draw beam hardening between the petrous bones, and streaks of dental metal."""
    rng = build.rng
    strength = rng.uniform(0.3, 1.6)
    paints = []
    for _ in range(int(rng.integers(4, 9))):
        place = build.point(0, rng.uniform(16, 40), rng.uniform(-24, -6))
        dark = rng.random() < 0.65
        band = Band(
            place,
            rng.normal(0, 0.14) + build.yaw_rad,
            rng.uniform(0.8, 4.0),
            rng.uniform(14, 26),
            rng.uniform(2, 5),
            float(strength * rng.uniform(0.005, 0.018)),
        )
        paints.append(Paint(band, -1000.0 if dark else 1000.0))
    if build.chance(0.4):
        paints += _dental_metal(build)
    return paints


def _dental_metal(build: HeadBuild) -> list[Paint]:
    """Crowns and fillings of upper teeth, with streaks over their slices."""
    rng = build.rng
    paints = []
    for _ in range(int(rng.integers(1, 4))):
        angle = float(rng.uniform(-1.25, 1.25))
        x, y = 27 * np.sin(angle), -32 - 40 * np.cos(angle)
        height = float(rng.uniform(-68, -60))
        crown = ((x, y, height - 2), (x, y, height + 3))
        paints.append(build.tube(crown, 3.4, 8000.0))
        for _ in range(int(rng.integers(5, 12))):
            band = Band(
                build.point(x, y, height),
                float(rng.uniform(-np.pi / 2, np.pi / 2)),
                rng.uniform(0.6, 2.2),
                rng.uniform(25, 60),
                rng.uniform(2.0, 4.5),
                float(rng.uniform(0.03, 0.16)),
            )
            paints.append(Paint(band, float(rng.choice([-1000.0, 1500.0]))))
    return paints
