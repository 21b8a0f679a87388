"""Geometric primitives in LPS millimetres, painted slice by slice with soft edges.

A shape answers, for one z, which rows and columns it touches and which fraction of
each pixel it fills. x runs to the patient's left, y to the back, z to the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

_CELL = 16
"""Side in pixels of the cells in which large patches are filled."""
_LARGE = 1 << 13
"""Pixels from which that is worth the while."""


@dataclass(frozen=True)
class Patch:
    """The part of a slice that a shape touches: rows, columns and filled fraction."""

    rows: slice
    columns: slice
    occupancy: FloatArray


class Shape(Protocol):
    """Anything that can be painted into a slice."""

    def patch(self, z_mm: float, y_mm: FloatArray, x_mm: FloatArray) -> Patch | None:
        """Return the touched part of the slice at ``z_mm``, or None."""
        ...


def _window(axis_mm: FloatArray, low_mm: float, high_mm: float) -> slice:
    step = float(axis_mm[1] - axis_mm[0])
    start = int(np.floor((low_mm - float(axis_mm[0])) / step)) - 1
    stop = int(np.ceil((high_mm - float(axis_mm[0])) / step)) + 2
    return slice(max(start, 0), max(min(stop, len(axis_mm)), 0))


def _box(
    y_mm: FloatArray,
    x_mm: FloatArray,
    low_yx: tuple[float, float],
    high_yx: tuple[float, float],
) -> tuple[slice, slice] | None:
    rows = _window(y_mm, low_yx[0], high_yx[0])
    columns = _window(x_mm, low_yx[1], high_yx[1])
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    return rows, columns


def soft_edge(distance_mm: npt.NDArray[np.floating], pixel_mm: float) -> FloatArray:
    """Filled fraction of a pixel whose centre lies ``distance_mm`` inside the edge."""
    share = np.clip(0.5 + distance_mm / pixel_mm, 0.0, 1.0)
    return np.asarray(share, dtype=np.float32)


@dataclass(frozen=True)
class Column:
    """A stack of (super-)ellipses whose centre and half-axes vary along z.

    Args:
        z_mm: Increasing heights of the knots in mm; nothing outside them.
        centre_x_mm: Centre along x at each knot, mm.
        centre_y_mm: Centre along y at each knot, mm.
        half_x_mm: Half-axis along x at each knot, mm; 0 closes the shape.
        half_y_mm: Half-axis along y at each knot, mm.
        power: 2 for an ellipse, larger for a rounder box.
        angle_rad: Rotation in the plane, from x to y.
        taper: Share by which the half-axis along x grows from the middle to the end
            of high y and shrinks to that of low y: an egg.
    """

    z_mm: tuple[float, ...]
    centre_x_mm: tuple[float, ...]
    centre_y_mm: tuple[float, ...]
    half_x_mm: tuple[float, ...]
    half_y_mm: tuple[float, ...]
    power: float = 2.0
    angle_rad: float = 0.0
    taper: float = 0.0

    def patch(self, z_mm: float, y_mm: FloatArray, x_mm: FloatArray) -> Patch | None:
        """Return the touched part of the slice at ``z_mm``, or None."""
        if not self.z_mm[0] <= z_mm <= self.z_mm[-1]:
            return None
        cx, cy, a, b = (
            float(np.interp(z_mm, self.z_mm, values))
            for values in (
                self.centre_x_mm,
                self.centre_y_mm,
                self.half_x_mm,
                self.half_y_mm,
            )
        )
        if a <= 0 or b <= 0:
            return None
        cos, sin = np.cos(self.angle_rad), np.sin(self.angle_rad)
        reach_x = float(np.hypot(a * cos, b * sin)) if self.power <= 2 else max(a, b)
        reach_y = float(np.hypot(a * sin, b * cos)) if self.power <= 2 else max(a, b)
        if self.power > 2 and self.angle_rad == 0.0:
            reach_x, reach_y = a, b
        reach_x *= 1 + abs(self.taper)
        box = _box(
            y_mm, x_mm, (cy - reach_y, cx - reach_x), (cy + reach_y, cx + reach_x)
        )
        if box is None:
            return None
        dy = y_mm[box[0]][:, None] - np.float32(cy)
        dx = x_mm[box[1]][None, :] - np.float32(cx)
        pixel = float(x_mm[1] - x_mm[0])
        if dx.size * dy.size < _LARGE:
            return Patch(*box, soft_edge(self._inside_mm(dx, dy, a, b), pixel))
        return Patch(*box, self._by_cells(dx, dy, a, b, pixel))

    def _inside_mm(
        self, dx: FloatArray, dy: FloatArray, a: float, b: float
    ) -> npt.NDArray[np.floating]:
        """Distance inside the edge at offsets from the centre, mm."""
        u, v, half_x = self._scaled(dx, dy, a, b)
        p = self.power
        if p == 2.0:
            radius = np.sqrt(u * u + v * v) + 1e-6
            slope = np.sqrt((u / half_x) ** 2 + (v / b) ** 2) / radius
        else:
            radius = (u**p + v**p) ** (1 / p) + 1e-6
            slope = np.sqrt(
                (u ** (p - 1) / half_x) ** 2 + (v ** (p - 1) / b) ** 2
            ) / radius ** (p - 1)
        inside: npt.NDArray[np.floating] = (1 - radius) / np.maximum(
            slope, 1e-3 / max(a, b)
        )
        return inside

    def _scaled(
        self, dx: FloatArray, dy: FloatArray, a: float, b: float
    ) -> tuple[FloatArray, FloatArray, FloatArray | float]:
        """Offsets along the own axes as shares of the half-axes, and that along x."""
        if self.angle_rad:
            cos, sin = np.cos(self.angle_rad), np.sin(self.angle_rad)
            dx, dy = dx * cos + dy * sin, dy * cos - dx * sin
        half_x: FloatArray | float = a
        if self.taper:
            half_x = a * (1 + np.float32(self.taper) * np.clip(dy / b, -1, 1))
        u = np.asarray(np.abs(dx) / half_x, np.float32)
        return u, np.asarray(np.abs(dy) / b, np.float32), half_x

    def _by_cells(
        self, dx: FloatArray, dy: FloatArray, a: float, b: float, pixel_mm: float
    ) -> FloatArray:
        """Fill a large patch, looking closely only at the cells that the edge crosses.

        A cell whose corners lie well inside is full, for the shape is convex; one
        whose corner lies farther out than the cell is wide is empty, for the scaled
        radius changes by at most 1 / (shorter half-axis) a millimetre.
        """
        rows, columns = dy.shape[0], dx.shape[1]
        y, x = (_in_cells(axis.ravel()) for axis in (dy, dx))
        ends_y = np.append(y[:, 0], y[-1, -1])[:, None]
        ends_x = np.append(x[:, 0], x[-1, -1])[None, :]
        u, v, _ = self._scaled(ends_x, ends_y, a, b)
        radius = (u**self.power + v**self.power) ** (1 / self.power)
        corners = np.stack(
            [radius[:-1, :-1], radius[1:, :-1], radius[:-1, 1:], radius[1:, 1:]]
        )
        shorter = min(a, b) * (1 - abs(self.taper)) / (1 + abs(self.taper))
        reach = (1.5 * _CELL + 2) * pixel_mm / shorter
        full = corners.max(axis=0) < 1 - 2 * pixel_mm / shorter
        near = ~full & (corners.min(axis=0) < 1 + reach)
        cells = np.zeros((len(y), len(x), _CELL, _CELL), np.float32)
        cells[full] = 1.0
        at_y, at_x = np.nonzero(near)
        if at_y.size:
            inside = self._inside_mm(x[at_x][:, None, :], y[at_y][:, :, None], a, b)
            cells[at_y, at_x] = soft_edge(inside, pixel_mm)
        whole = cells.transpose(0, 2, 1, 3).reshape(len(y) * _CELL, len(x) * _CELL)
        return whole[:rows, :columns]


def _in_cells(axis_mm: FloatArray) -> FloatArray:
    """Return an axis in rows of one cell each, carried on beyond its end."""
    step = axis_mm[1] - axis_mm[0]
    count = -(-len(axis_mm) // _CELL) * _CELL
    more = axis_mm[-1] + step * np.arange(1, count - len(axis_mm) + 1, dtype=np.float32)
    return np.concatenate([axis_mm, more]).astype(np.float32).reshape(-1, _CELL)


def cylinder(
    centre_xyz_mm: tuple[float, float, float],
    half_x_mm: float,
    half_y_mm: float,
    length_mm: float,
    power: float = 2.0,
    angle_rad: float = 0.0,
) -> Column:
    """Return an upright (elliptic) cylinder."""
    x, y, z = centre_xyz_mm
    ends = (z - length_mm / 2, z + length_mm / 2)
    return Column(
        ends, (x, x), (y, y), (half_x_mm,) * 2, (half_y_mm,) * 2, power, angle_rad
    )


def ellipsoid(
    centre_xyz_mm: tuple[float, float, float],
    half_xyz_mm: tuple[float, float, float],
    angle_rad: float = 0.0,
    power: float = 2.0,
) -> Column:
    """Return an ellipsoid, rotated in the axial plane."""
    x, y, z = centre_xyz_mm
    a, b, c = half_xyz_mm
    heights = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 25))
    scale = np.sqrt(np.maximum(1 - heights**2, 0.0))
    n = len(heights)
    return Column(
        tuple((z + c * heights).tolist()),
        (x,) * n,
        (y,) * n,
        tuple((a * scale).tolist()),
        tuple((b * scale).tolist()),
        power,
        angle_rad,
    )


@dataclass(frozen=True, eq=False)
class Tube:
    """A tube round a polyline, its radius varying linearly between the points.

    Args:
        points_xyz_mm: (n, 3) LPS positions in mm, n >= 2.
        radius_mm: Radius at each point in mm, or one for all.
        flatten_z: Radius along z as a share of the radius; 1 is round, 0.5 a ribbon
            that is half as high (ribs are flat).
    """

    points_xyz_mm: npt.NDArray[np.float64]
    radius_mm: npt.NDArray[np.float64] | float
    flatten_z: float = 1.0

    def patch(self, z_mm: float, y_mm: FloatArray, x_mm: FloatArray) -> Patch | None:
        """Return the touched part of the slice at ``z_mm``, or None."""
        points = self.points_xyz_mm
        radii = np.broadcast_to(np.asarray(self.radius_mm, float), (len(points),))
        reach = np.maximum(radii[:-1], radii[1:])
        low = np.minimum(points[:-1], points[1:])
        high = np.maximum(points[:-1], points[1:])
        reach_z = reach * self.flatten_z
        near = (low[:, 2] - reach_z <= z_mm) & (high[:, 2] + reach_z >= z_mm)
        chosen = np.flatnonzero(near)
        if chosen.size == 0:
            return None
        span = reach[chosen].max()
        box = _box(
            y_mm,
            x_mm,
            (low[chosen, 1].min() - span, low[chosen, 0].min() - span),
            (high[chosen, 1].max() + span, high[chosen, 0].max() + span),
        )
        if box is None:
            return None
        pixel = float(x_mm[1] - x_mm[0])
        rows, columns = y_mm[box[0]], x_mm[box[1]]
        occupancy = np.zeros((len(rows), len(columns)), np.float32)
        for i in chosen.tolist():
            part = (
                _box(
                    rows,
                    columns,
                    (low[i, 1] - reach[i], low[i, 0] - reach[i]),
                    (high[i, 1] + reach[i], high[i, 0] + reach[i]),
                )
                if min(len(rows), len(columns)) > 1
                else None
            )
            if part is None:
                continue
            distance = self._inside_mm(
                i, radii, z_mm, rows[part[0]][:, None], columns[part[1]][None, :]
            )
            view = occupancy[part]
            np.maximum(view, soft_edge(distance, pixel), out=view)
        return Patch(*box, occupancy)

    def _inside_mm(
        self,
        i: int,
        radii: npt.NDArray[np.float64],
        z_mm: float,
        y: FloatArray,
        x: FloatArray,
    ) -> npt.NDArray[np.floating]:
        """Distance inside the surface of segment ``i``, mm; negative outside."""
        scale = 1.0 / self.flatten_z
        ax, ay, az = self.points_xyz_mm[i]
        bx, by, bz = self.points_xyz_mm[i + 1]
        dx, dy, dz = bx - ax, by - ay, (bz - az) * scale
        length2 = max(dx * dx + dy * dy + dz * dz, 1e-9)
        height = (z_mm - az) * scale
        along = np.clip(
            ((x - ax) * dx + (y - ay) * dy + height * dz) / length2, 0.0, 1.0
        )
        gap = np.sqrt(
            (x - ax - along * dx) ** 2
            + (y - ay - along * dy) ** 2
            + (height - along * dz) ** 2
        )
        inside: npt.NDArray[np.floating] = (
            radii[i] + along * (radii[i + 1] - radii[i]) - gap
        )
        return inside
