"""Where a volume lies: shape, spacing and the affine between index and millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Geometry:
    """Position of a regular voxel grid in patient space.

    Args:
        shape_zyx: Number of slices, rows and columns, each at least 1.
        affine_lps: 4 x 4 matrix from the homogeneous index (z, y, x, 1) to LPS
            millimetres (x, y, z, 1): its first three columns are the steps in mm of
            one slice, one row and one column, its last column the centre of voxel
            (0, 0, 0).

    Raises:
        ValueError: The shape or the affine is not of that form, or is singular.
    """

    shape_zyx: tuple[int, int, int]
    affine_lps: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.array(self.affine_lps, dtype=np.float64)
        shape = tuple(int(n) for n in self.shape_zyx)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(
                "shape_zyx must be three sizes of at least 1. "
                f"Received: shape_zyx={self.shape_zyx}"
            )
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError(
                "affine_lps must be a finite 4 x 4 matrix. "
                f"Received: shape {affine.shape}"
            )
        if abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise ValueError("affine_lps must not be singular.")
        affine.setflags(write=False)
        object.__setattr__(self, "affine_lps", affine)
        object.__setattr__(self, "shape_zyx", shape)

    @classmethod
    def axial(
        cls,
        shape_zyx: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        origin_xyz_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> Geometry:
        """Return a standard axial grid, caudal to cranial, rows to the back.

        Args:
            shape_zyx: Number of slices, rows, columns.
            spacing_mm: Distance of slices, rows, columns in mm, (z, y, x).
            origin_xyz_mm: LPS position of voxel (0, 0, 0) in mm.
        """
        affine = np.eye(4)
        affine[:3, :3] = 0.0
        affine[2, 0], affine[1, 1], affine[0, 2] = spacing_mm
        affine[:3, 3] = origin_xyz_mm
        return cls(shape_zyx, affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of slices along their normal, of rows and of columns, in mm.

        For slices of a tilted gantry, whose step is not along the normal, the first
        is the one that volumes need: the product is always that of a voxel in mm3.
        """
        step, row, column = self.affine_lps[:3, :3].T
        normal = np.cross(row, column)
        along = abs(float(step @ normal)) / float(np.linalg.norm(normal))
        return along, float(np.linalg.norm(row)), float(np.linalg.norm(column))

    @property
    def tilt_deg(self) -> float:
        """Angle between the step of a slice and the normal of the slices, degrees."""
        step = self.affine_lps[:3, 0]
        cosine = self.spacing_mm[0] / float(np.linalg.norm(step))
        return float(np.degrees(np.arccos(min(1.0, cosine))))

    def index_to_mm(self, index_zyx: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map voxel indices (..., 3) in (z, y, x) to LPS mm (..., 3) in (x, y, z)."""
        index = np.asarray(index_zyx, dtype=np.float64)
        steps, origin = self.affine_lps[:3, :3], self.affine_lps[:3, 3]
        return np.asarray(index @ steps.T + origin)

    def mm_to_index(self, point_xyz_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map LPS mm (..., 3), (x, y, z), to fractional indices (..., 3), (z, y, x)."""
        point = np.asarray(point_xyz_mm, dtype=np.float64) - self.affine_lps[:3, 3]
        index = np.linalg.solve(self.affine_lps[:3, :3], point.reshape(-1, 3).T)
        return np.asarray(index.T.reshape(point.shape))

    def affine_ras_xyz(self) -> npt.NDArray[np.float64]:
        """Return the affine of NIfTI: index (x, y, z) to RAS mm."""
        flip = np.diag([-1.0, -1.0, 1.0, 1.0])
        return flip @ self.affine_lps[:, [2, 1, 0, 3]]

    @classmethod
    def from_affine_ras_xyz(
        cls, affine_ras: npt.ArrayLike, shape_zyx: tuple[int, int, int]
    ) -> Geometry:
        """Return the geometry of a NIfTI affine, index (x, y, z) to RAS mm."""
        flip = np.diag([-1.0, -1.0, 1.0, 1.0])
        affine = flip @ np.asarray(affine_ras, dtype=np.float64)
        return cls(shape_zyx, affine[:, [2, 1, 0, 3]])
