"""Shapes that are the same on every slice, and shares that vary over a slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kcalc.phantoms.shapes import FloatArray, Patch, Shape

FOREVER_MM = 1.0e6
"""A height beyond every scan."""


class Prism:
    """A shape that is the same on every slice, painted once and kept.

    Args:
        outline: Shape whose patch at z = 0 is used everywhere.
        low_mm: Lower end; the phantom's own end if none.
        high_mm: Upper end.
    """

    def __init__(
        self,
        outline: Shape,
        low_mm: float = -FOREVER_MM,
        high_mm: float = FOREVER_MM,
    ) -> None:
        self.outline = outline
        self.low_mm = low_mm
        self.high_mm = high_mm
        self._kept: dict[tuple[float, ...], Patch | None] = {}

    def patch(self, z_mm: float, y_mm: FloatArray, x_mm: FloatArray) -> Patch | None:
        """Return the touched part of the slice at ``z_mm``, or None."""
        if not self.low_mm <= z_mm <= self.high_mm:
            return None
        ends = (y_mm[0], y_mm[-1], x_mm[0], x_mm[-1])
        key = (len(y_mm), len(x_mm), *map(float, ends))
        if key not in self._kept:
            self._kept[key] = self.outline.patch(0.0, y_mm, x_mm)
        return self._kept[key]


@dataclass(frozen=True)
class Convex:
    """A convex polygon of corners (x, y) in mm, in either sense of rotation."""

    corners_xy_mm: tuple[tuple[float, float], ...]

    def patch(self, z_mm: float, y_mm: FloatArray, x_mm: FloatArray) -> Patch | None:
        """Return the touched part of any slice, or None."""
        x, y = x_mm[None, :], y_mm[:, None]
        inside = np.full((len(y_mm), len(x_mm)), np.inf, np.float32)
        centre_x, centre_y = np.mean(self.corners_xy_mm, axis=0).tolist()
        following = (*self.corners_xy_mm[1:], self.corners_xy_mm[0])
        for (ax, ay), (bx, by) in zip(self.corners_xy_mm, following, strict=True):
            across, down = bx - ax, by - ay
            turn = across * (centre_y - ay) - down * (centre_x - ax)
            length = float(np.copysign(np.hypot(across, down), turn))
            distance = (across * (y - ay) - down * (x - ax)) / length
            np.minimum(inside, distance, out=inside)
        pixel = float(x_mm[1] - x_mm[0])
        filled = np.clip(0.5 + inside / pixel, 0.0, 1.0).astype(np.float32)
        return trimmed(filled)


@dataclass(frozen=True)
class Rim:
    """A share that rises towards the edge of a truncated field of view."""

    centre_xy_mm: tuple[float, float]
    radius_mm: float
    gain: float

    def patch(self, z_mm: float, y_mm: FloatArray, x_mm: FloatArray) -> Patch | None:
        """Return the touched part of any slice, or None."""
        x, y = self.centre_xy_mm
        distance = np.hypot(y_mm[:, None] - y, x_mm[None, :] - x)
        rise = np.clip((distance / self.radius_mm - 0.8) / 0.2, 0.0, 1.2) ** 2
        return trimmed((self.gain * rise).astype(np.float32))


@dataclass(frozen=True)
class Shade:
    """A share that falls off like a Gaussian from its centre."""

    x_mm: float
    y_mm: float
    sd_mm: float
    share: float

    def patch(self, z_mm: float, y_mm: FloatArray, x_mm: FloatArray) -> Patch | None:
        """Return the touched part of any slice, or None."""
        along_y = np.exp(-0.5 * ((y_mm - self.y_mm) / self.sd_mm) ** 2)
        along_x = np.exp(-0.5 * ((x_mm - self.x_mm) / self.sd_mm) ** 2)
        share = self.share * np.outer(along_y, along_x)
        return trimmed(share.astype(np.float32))


def trimmed(occupancy: FloatArray) -> Patch | None:
    """Return the box of non-zero values, or None if there are none."""
    rows = np.flatnonzero(occupancy.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(occupancy.any(axis=0))
    box = (
        slice(int(rows[0]), int(rows[-1]) + 1),
        slice(int(columns[0]), int(columns[-1]) + 1),
    )
    return Patch(*box, occupancy[box])
