"""A scan averaged onto an upright grid of cubes: what registration looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.geometry import Geometry
from kcalc.regrid import axial_grid_round, onto_axial
from kcalc.volume import Volume

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class EvenGrid:
    """Values on an axial grid of cubes.

    Args:
        array_hu: (z, y, x) float32.
        inside: (z, y, x), where the scan has values.
        geometry: The grid, of one spacing.
    """

    array_hu: FloatArray
    inside: BoolArray
    geometry: Geometry

    @classmethod
    def of(cls, volume: Volume, spacing_mm: float) -> EvenGrid:
        """Return a scan on cubes, averaged first where its voxels are smaller.

        Args:
            volume: A scan on any regular grid, oblique or sheared ones too.
            spacing_mm: Side of the cubes.
        """
        blocks = tuple(max(1, int(spacing_mm / s + 1e-6)) for s in volume.spacing_mm)
        array, geometry = _averaged(volume.array, volume.geometry, blocks)
        target = axial_grid_round(geometry, (spacing_mm,) * 3)
        outside = float(array.min())
        inside = onto_axial(
            np.ones(array.shape, np.float32), geometry, target, outside=0.0
        )
        moved = onto_axial(array, geometry, target, outside=outside)
        return cls(moved, inside > 0.5, target)

    def coarser(self, factor: int) -> EvenGrid:
        """Return the mean over cubes of ``factor`` voxels a side."""
        blocks = (factor,) * 3
        array, geometry = _averaged(self.array_hu, self.geometry, blocks)
        inside, _ = _averaged(self.inside, self.geometry, blocks)
        return EvenGrid(array, inside > 0.5, geometry)

    @property
    def spacing_mm(self) -> float:
        """Side of a cube in mm."""
        return self.geometry.spacing_mm[0]

    @property
    def origin_xyz_mm(self) -> npt.NDArray[np.float64]:
        """LPS mm of voxel (0, 0, 0)."""
        return self.geometry.affine_lps[:3, 3]

    def positions_mm(self) -> tuple[npt.NDArray[np.float64], ...]:
        """Return x, y and z of the voxels, ready to be broadcast over (z, y, x)."""
        axes = [
            start + self.spacing_mm * np.arange(count)
            for start, count in zip(
                self.origin_xyz_mm, self.geometry.shape_zyx[::-1], strict=True
            )
        ]
        return axes[0], axes[1][:, None], axes[2][:, None, None]

    def resampled_to(
        self, target: Geometry, matrix: npt.NDArray[np.float64]
    ) -> EvenGrid:
        """Return the values where ``matrix`` takes the voxels of another grid.

        Args:
            target: An axial grid of cubes.
            matrix: 4 x 4, from its LPS mm to those of this grid.
        """
        turned = Geometry(target.shape_zyx, matrix @ target.affine_lps)
        low = float(self.array_hu.min())
        array = onto_axial(self.array_hu, self.geometry, turned, outside=low)
        inside = onto_axial(
            self.inside.astype(np.float32), self.geometry, turned, outside=0.0
        )
        return EvenGrid(array, inside > 0.5, target)


def _averaged(
    array: npt.NDArray[Any], geometry: Geometry, blocks: tuple[int, ...]
) -> tuple[FloatArray, Geometry]:
    """Return means over whole blocks of voxels; what is left at the end is dropped."""
    counts = [max(1, n // b) for n, b in zip(array.shape, blocks, strict=True)]
    sizes = [min(n, b) for n, b in zip(array.shape, blocks, strict=True)]
    whole = array[tuple(slice(n * b) for n, b in zip(counts, sizes, strict=True))]
    split = [part for pair in zip(counts, sizes, strict=True) for part in pair]
    mean = whole.reshape(split).mean(axis=(1, 3, 5), dtype=np.float32)
    affine = np.array(geometry.affine_lps)
    affine[:3, 3] += affine[:3, :3] @ ((np.array(sizes) - 1) / 2)
    affine[:3, :3] *= sizes
    z, y, x = mean.shape
    return np.asarray(mean, np.float32), Geometry((z, y, x), affine)
