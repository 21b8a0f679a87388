"""A surface as a height over the axial plane, and layers beneath it: the skull base."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kcalc.phantoms.shapes import FloatArray, Patch, Shape, soft_edge

_KNOT_MM = 1.5
"""Grid on which the smooth surface is evaluated before it is interpolated."""


@dataclass(frozen=True, eq=False)
class Relief:
    """A smooth height field through landmarks, with a thickness below it.

    Args:
        landmarks_xyz_mm: (n, 3) points of the surface.
        thickness_xyt_mm: (m, 3) x, y and the thickness there.
        thinnest_mm: Lower limit of the thickness.
    """

    landmarks_xyz_mm: npt.NDArray[np.float64]
    thickness_xyt_mm: npt.NDArray[np.float64]
    thinnest_mm: float = 1.2
    _kept: dict[tuple[float, ...], tuple[FloatArray, FloatArray, FloatArray]] = field(
        default_factory=dict, repr=False
    )

    def maps(
        self, y_mm: FloatArray, x_mm: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return height, thickness and cosine of the slope on a grid, each (y, x)."""
        ends = (y_mm[0], y_mm[-1], x_mm[0], x_mm[-1])
        key = (len(y_mm), len(x_mm), *map(float, ends))
        if key not in self._kept:
            self._kept[key] = self._evaluate(y_mm, x_mm)
        return self._kept[key]

    def depth(
        self, z_mm: float, y_mm: FloatArray, x_mm: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return how far a slice lies below the surface, and the thickness there."""
        height, thickness, cosine = self.maps(y_mm, x_mm)
        return (height - np.float32(z_mm)) * cosine, thickness

    def _evaluate(
        self, y_mm: FloatArray, x_mm: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        from scipy.interpolate import RBFInterpolator, RectBivariateSpline

        y, x = (
            np.arange(float(axis[0]) - 2, float(axis[-1]) + 2 + _KNOT_MM, _KNOT_MM)
            for axis in (y_mm, x_mm)
        )
        where = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        fields = []
        for table, kernel in (
            (self.landmarks_xyz_mm, "thin_plate_spline"),
            (self.thickness_xyt_mm, "linear"),
        ):
            fit = RBFInterpolator(table[:, :2], table[:, 2], kernel=kernel)
            fields.append(fit(where).reshape(len(y), len(x)))
        height, thickness = fields
        down, across = np.gradient(height, _KNOT_MM)
        cosine = 1 / np.sqrt(1 + down**2 + across**2)
        return tuple(
            RectBivariateSpline(y, x, values, kx=1, ky=1)(y_mm, x_mm).astype(np.float32)
            for values in (height, thickness.clip(self.thinnest_mm), cosine)
        )


@dataclass(frozen=True, eq=False)
class Layer:
    """What lies between two depths below a relief.

    Args:
        relief: The surface.
        top_mm: Distance of the upper side from the surface.
        inset_mm: Distance of the lower side from the relief's own lower side, upwards;
            None for everything below ``top_mm``.
        below: Whether the layer begins at the relief's lower side instead.
        within: Shape outside which there is nothing.
    """

    relief: Relief
    top_mm: float
    inset_mm: float | None
    below: bool = False
    within: Shape | None = None

    def patch(self, z_mm: float, y_mm: FloatArray, x_mm: FloatArray) -> Patch | None:
        """Return the touched part of the slice at ``z_mm``, or None."""
        depth, thickness = self.relief.depth(z_mm, y_mm, x_mm)
        pixel = float(x_mm[1] - x_mm[0])
        above = depth - self.top_mm
        if self.below:
            above -= thickness
        if self.inset_mm is not None:
            np.minimum(above, thickness - depth - np.float32(self.inset_mm), out=above)
        rows = np.flatnonzero(above.max(axis=1) > -pixel)
        if rows.size == 0:
            return None
        inside = slice(max(int(rows[0]) - 1, 0), int(rows[-1]) + 2)
        share = soft_edge(above[inside], pixel)
        if self.within is None:
            return Patch(inside, slice(0, len(x_mm)), share)
        room = self.within.patch(z_mm, y_mm[inside], x_mm)
        if room is None:
            return None
        top = inside.start
        return Patch(
            slice(room.rows.start + top, room.rows.stop + top),
            room.columns,
            share[room.rows, room.columns] * room.occupancy,
        )
