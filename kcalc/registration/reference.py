"""The head that scans are registered to: kcalc's own phantom, or the user's scan."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from kcalc.phantoms.head_reference import (
    STUDY_CENTRE_XYZ_MM,
    ReferenceHead,
    reference_head,
)
from kcalc.registration.even_grid import BoolArray, EvenGrid

SPACING_MM = 2.0
"""Voxels of the reference, and the finest that registration looks at."""
_LEAST_Z_MM = -45.0
"""What lies lower, jaw and neck, moves against the skull base."""
_BASE_Z_MM = (-40.0, 35.0)
_BASE_HALF_MM = 58.0
"""The skull base round the siphons, as far as a field of view of 120 mm shows it."""
_SKIN_HU = -300.0


@dataclass(frozen=True, eq=False)
class Reference:
    """A head in the standard pose.

    Args:
        name: What it is, for records.
        grid: Its values on cubes of 2 mm.
        head: (z, y, x) the head with its skin, without jaw and neck.
        skull_base: (z, y, x) where the fit counts in the end.
        carotids_xyz_mm: (n, 3) points of both intracranial carotids.
    """

    name: str
    grid: EvenGrid
    head: BoolArray = field(repr=False)
    skull_base: BoolArray = field(repr=False)
    carotids_xyz_mm: npt.NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(cls, name: str, grid: EvenGrid, carotids_xyz_mm: object) -> Reference:
        """Return a reference of a head that is in the standard pose already."""
        from scipy import ndimage

        x, y, z = grid.positions_mm()
        body = ndimage.binary_fill_holes(grid.array_hu > _SKIN_HU)
        reach = ndimage.binary_dilation(body, iterations=3)  # skin against air
        low, high = _BASE_Z_MM
        beside = np.abs(x - STUDY_CENTRE_XYZ_MM[0]) <= _BASE_HALF_MM
        before = np.abs(y - STUDY_CENTRE_XYZ_MM[1]) <= _BASE_HALF_MM
        base = beside & before & (z >= low) & (z <= high)
        return cls(
            name,
            grid,
            reach & grid.inside & (z >= _LEAST_Z_MM),
            base & grid.inside,
            np.asarray(carotids_xyz_mm),
        )


@lru_cache(maxsize=1)
def _phantom() -> ReferenceHead:
    return reference_head()


@lru_cache(maxsize=1)
def phantom_reference() -> Reference:
    """Return kcalc's phantom head in the standard pose, rendered once a process."""
    head = _phantom()
    grid = EvenGrid.of(head.volume, SPACING_MM)
    return Reference.of("kcalc phantom head", grid, head.carotids_xyz_mm)
