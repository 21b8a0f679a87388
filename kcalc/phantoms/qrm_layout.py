"""What a cardiac calcification insert holds: calcium and rods, standard or drawn.

Positions are millimetres from the insert's centre: x to the left, y to the back, z to
the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kcalc.anatomy import INSERT_LABEL
from kcalc.phantoms.deposits import Deposit, Part

PRODUCT_DIAMETERS_MM = (5.0, 3.0, 1.0)
"""Diameter and length of the cylinders of each row, outermost first (digest F.1)."""
PRODUCT_DENSITIES_MG_PER_ML = (800.0, 400.0, 200.0)
PRODUCT_RADII_MM = (37.0, 24.5, 12.0)
"""Distance of the cylinders from the insert's centre, as the real scan shows."""
PRODUCT_ANGLES_DEG = (180.0, -60.0, 60.0)
"""Direction of the rows of 800, 400 and 200 mg/mL, from x to y."""
PRODUCT_ROD_DENSITY_MG_PER_ML = 200.0
SHARE_WITHOUT_CALCIUM = 0.45
"""Share of drawn layouts without any calcium; digest F.5 asks for 40 % or more."""
MOST_LESIONS = 14

_MATCH_MM = 3.0
_MOST_MATCHES = 4
_GAP_MM = 1.5


@dataclass(frozen=True)
class Rod:
    """An upright rod of one material, which is never a lesion.

    Args:
        centre_xyz_mm: Position of its middle.
        radius_mm: Radius.
        length_mm: Length along z.
        hu: Value in HU of the material, or None for hydroxyapatite of 200 mg/mL.
    """

    centre_xyz_mm: tuple[float, float, float]
    radius_mm: float
    length_mm: float
    hu: float | None


@dataclass(frozen=True)
class InsertLayout:
    """The calcium and the rods of one insert."""

    lesions: tuple[Deposit, ...]
    rods: tuple[Rod, ...]


def product_positions_mm() -> npt.NDArray[np.float64]:
    """Return the (9, 2) positions x, y of the product's cylinders, row by row."""
    angles = np.deg2rad(PRODUCT_ANGLES_DEG)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    positions = directions[:, None, :] * np.array(PRODUCT_RADII_MM)[None, :, None]
    return np.asarray(positions.reshape(-1, 2))


def product_layout() -> InsertLayout:
    """Return the QRM insert: nine cylinders, and two rods on other slices.

    Cylinders of 5, 3 and 1 mm diameter and length with 800, 400 and 200 mg/mL, in
    rows at 120 degrees; a 200 mg/mL rod in the centre, a water rod beside it.
    """
    lesions = []
    for index, (x, y) in enumerate(product_positions_mm().tolist()):
        diameter = PRODUCT_DIAMETERS_MM[index % 3]
        part = Part((x, y, 0.0), (diameter / 2,) * 3, kind="cylinder")
        density = PRODUCT_DENSITIES_MG_PER_ML[index // 3]
        lesions.append(Deposit((part,), density, INSERT_LABEL))
    rods = (
        Rod((0.0, 0.0, 36.0), 10.0, 20.0, None),
        Rod((-12.0, -17.0, 36.0), 10.0, 20.0, 0.0),
    )
    return InsertLayout(tuple(lesions), rods)


def random_layout(
    rng: np.random.Generator, radius_mm: float, half_height_mm: float
) -> InsertLayout:
    """Draw an insert for training, never one like the product's.

    None to 14 cylinders (upright or tilted) and ellipsoids of 0.8 to 6 mm and 150 to
    1000 mg/mL, on one plane or anywhere, and none to three rods. Nothing overlaps.

    Args:
        rng: Source of randomness.
        radius_mm: Radius of the insert.
        half_height_mm: Half the height within which calcium may lie.
    """
    while True:
        rods = _draw_rods(rng, radius_mm, half_height_mm)
        lesions = _draw_lesions(rng, rods, radius_mm, half_height_mm)
        positions = np.array([lesion.centre_xyz_mm for lesion in lesions])
        if product_matches(positions.reshape(-1, 3)[:, :2]) <= _MOST_MATCHES:
            return InsertLayout(lesions, rods)


def product_matches(positions_xy_mm: npt.NDArray[np.float64]) -> int:
    """Return how many of the product's nine places are taken within 3 mm.

    The most over all rotations about the insert's centre and over both sides of it.
    """
    if len(positions_xy_mm) == 0:
        return 0
    angles = np.deg2rad(np.arange(0.0, 360.0, 2.0))
    cos, sin = np.cos(angles), np.sin(angles)
    turns = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    both_sides = np.concatenate([turns, turns * np.array([1.0, -1.0])])
    places = np.einsum("rij,pj->rpi", both_sides, product_positions_mm())
    gaps = np.linalg.norm(places[:, :, None] - positions_xy_mm[None, None], axis=-1)
    return int((gaps.min(axis=2) <= _MATCH_MM).sum(axis=1).max())


def _draw_rods(
    rng: np.random.Generator, radius_mm: float, half_height_mm: float
) -> tuple[Rod, ...]:
    rods: list[Rod] = []
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.2, 0.3, 0.3, 0.2]))):
        radius = float(rng.uniform(6.0, 15.0))
        length = float(rng.uniform(8.0, 40.0))
        centred = rng.random() < 0.3
        x, y = _in_disc(rng, 0.0 if centred else radius_mm - radius - 2.0)
        z = float(rng.uniform(-1.5, 1.5)) * half_height_mm
        kind = rng.random()
        if kind < 0.2:
            hu: float | None = None
        elif kind < 0.35:
            hu = float(rng.uniform(-20.0, 20.0))
        elif kind < 0.4:
            hu = -950.0
        else:
            hu = float(rng.uniform(0.0, 450.0))
        rod = Rod((x, y, z), radius, length, hu)
        if all(_apart(rod, other) for other in rods):
            rods.append(rod)
    return tuple(rods)


def _apart(rod: Rod, other: Rod) -> bool:
    (x, y, z), (u, v, w) = rod.centre_xyz_mm, other.centre_xyz_mm
    if abs(z - w) > (rod.length_mm + other.length_mm) / 2 + _GAP_MM:
        return True
    return float(np.hypot(x - u, y - v)) > rod.radius_mm + other.radius_mm + _GAP_MM


def _draw_lesions(
    rng: np.random.Generator,
    rods: tuple[Rod, ...],
    radius_mm: float,
    half_height_mm: float,
) -> tuple[Deposit, ...]:
    if rng.random() < SHARE_WITHOUT_CALCIUM:
        return ()
    wanted = int(rng.integers(1, MOST_LESIONS + 1))
    flat = rng.random() < 0.5
    plane_mm = float(rng.uniform(-0.8, 0.8)) * half_height_mm
    lesions: list[Deposit] = []
    for _ in range(6 * wanted):
        if len(lesions) == wanted:
            break
        part = _draw_part(rng, radius_mm, plane_mm if flat else None, half_height_mm)
        density = float(np.exp(rng.uniform(np.log(150.0), np.log(1000.0))))
        if abs(part.centre_xyz_mm[2]) + part.reach_mm[2] > half_height_mm:
            continue
        free_of_rods = all(_clear_of_rod(part, rod) for rod in rods)
        if free_of_rods and all(_clear_of(part, other.parts[0]) for other in lesions):
            lesions.append(Deposit((part,), density, INSERT_LABEL))
    return tuple(lesions)


def _draw_part(
    rng: np.random.Generator,
    radius_mm: float,
    plane_mm: float | None,
    half_height_mm: float,
) -> Part:
    diameter = float(np.exp(rng.uniform(np.log(0.8), np.log(6.0))))
    length = float(np.clip(diameter * np.exp(rng.normal(0.0, 0.5)), 0.8, 9.0))
    flattening = float(rng.uniform(0.5, 1.0))
    kind = rng.choice(3, p=[0.4, 0.25, 0.35])
    tilt, turn = rng.uniform(0.0, np.pi / 2), rng.uniform(0.0, 2 * np.pi)
    x, y = _in_disc(rng, radius_mm - 2.0 - diameter)
    z = float(rng.uniform(-1.0, 1.0)) * half_height_mm
    if plane_mm is not None:
        z = plane_mm + float(rng.normal(0.0, 0.5))
    if kind == 0:
        half = (diameter / 2, diameter / 2, length / 2)
        return Part((x, y, z), half, kind="cylinder")
    rotation = _rotation(tilt, turn)
    if kind == 1:
        half = (diameter / 2, diameter / 2, length / 2)
        return Part((x, y, z), half, rotation, kind="cylinder")
    half = (diameter / 2, diameter / 2 * flattening, length / 2)
    return Part((x, y, z), half, rotation, kind="ellipsoid")


def _rotation(tilt_rad: float, turn_rad: float) -> npt.NDArray[np.float64]:
    """Tilt the axis about y, then turn it about z."""
    ct, st = np.cos(tilt_rad), np.sin(tilt_rad)
    cz, sz = np.cos(turn_rad), np.sin(turn_rad)
    tilt = np.array([[ct, 0.0, st], [0.0, 1.0, 0.0], [-st, 0.0, ct]])
    turn = np.array([[cz, -sz, 0.0], [sz, cz, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(turn @ tilt)


def _in_disc(rng: np.random.Generator, radius_mm: float) -> tuple[float, float]:
    """Draw a place uniformly from a disc."""
    reach = radius_mm * float(np.sqrt(rng.random()))
    angle = float(rng.uniform(0.0, 2 * np.pi))
    return reach * float(np.cos(angle)), reach * float(np.sin(angle))


def _clear_of(part: Part, other: Part) -> bool:
    reach = float(np.linalg.norm(part.half_mm) + np.linalg.norm(other.half_mm))
    gap = np.subtract(part.centre_xyz_mm, other.centre_xyz_mm)
    return float(np.linalg.norm(gap)) > reach + _GAP_MM


def _clear_of_rod(part: Part, rod: Rod) -> bool:
    (x, y, z), (u, v, w) = part.centre_xyz_mm, rod.centre_xyz_mm
    reach = part.reach_mm
    if abs(z - w) > rod.length_mm / 2 + float(reach[2]) + _GAP_MM:
        return True
    radius = rod.radius_mm + float(np.hypot(reach[0], reach[1]))
    return float(np.hypot(x - u, y - v)) > radius + _GAP_MM
