"""Where stored slices lie: parallel planes of one size, at any positions.

A :class:`~kcalc.geometry.Geometry` is regular; the slices of a scanner need not be,
when its gantry was tilted, a slice is missing or the spacing changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kcalc.geometry import Geometry

REGULAR_LIMIT_MM = 0.1
REGULAR_LIMIT_FRACTION = 0.03
"""How far a slice may lie off a regular grid: the larger of the two (fault A11)."""


@dataclass(frozen=True)
class SliceStack:
    """Positions of parallel slices in patient space, in order along their normal.

    Args:
        corners_xyz_mm: (n, 3) LPS centre of pixel (0, 0) of each slice, ascending
            along row direction x column direction.
        row_step_mm: (3,) from one row to the next.
        column_step_mm: (3,) from one column to the next.
        shape_yx: Rows and columns of every slice.
    """

    corners_xyz_mm: npt.NDArray[np.float64]
    row_step_mm: npt.NDArray[np.float64]
    column_step_mm: npt.NDArray[np.float64]
    shape_yx: tuple[int, int]

    @classmethod
    def from_geometry(cls, geometry: Geometry) -> SliceStack:
        """Return the slices of a regular grid."""
        affine = geometry.affine_lps
        steps = np.arange(geometry.shape_zyx[0])[:, None] * affine[:3, 0]
        return cls(
            steps + affine[:3, 3], affine[:3, 1], affine[:3, 2], geometry.shape_zyx[1:]
        )

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit vector along which the slices ascend."""
        cross = np.cross(self.column_step_mm, self.row_step_mm)
        normal = cross / np.linalg.norm(cross)
        ascent = (self.corners_xyz_mm[-1] - self.corners_xyz_mm[0]) @ normal
        return np.asarray(-normal if ascent < 0 else normal)

    @property
    def along_mm(self) -> npt.NDArray[np.float64]:
        """(n,) position of each slice along the normal, ascending."""
        return np.asarray(self.corners_xyz_mm @ self.normal)

    def geometry(self) -> Geometry | None:
        """Return the regular grid of the slices, sheared or not; None if uneven.

        Example:
            >>> even = Geometry.axial((3, 4, 5), (2.0, 1.0, 1.0))
            >>> SliceStack.from_geometry(even).geometry().spacing_mm
            (2.0, 1.0, 1.0)
        """
        count = len(self.corners_xyz_mm)
        if count < 2:
            return None
        index = np.arange(count) - (count - 1) / 2
        mean = self.corners_xyz_mm.mean(axis=0)
        step = index @ (self.corners_xyz_mm - mean) / (index @ index)
        off_mm = np.abs(self.corners_xyz_mm - mean - index[:, None] * step).max()
        limit_mm = max(
            REGULAR_LIMIT_MM, REGULAR_LIMIT_FRACTION * float(abs(step @ self.normal))
        )
        if off_mm > limit_mm:
            return None
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1] = step, self.row_step_mm
        affine[:3, 2] = self.column_step_mm
        affine[:3, 3] = mean + index[0] * step
        return Geometry((count, *self.shape_yx), np.round(affine, 9))
