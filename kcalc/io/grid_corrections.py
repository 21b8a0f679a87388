"""Corrections of a scan's grid that the caller asked for: slices in, a grid out.

Without being asked, reading corrects nothing: a gap, a tilt or uneven spacing is a
refusal (faults A1, A6, A7, A10). With a correction the Volume lies on the corrected
grid and keeps the stored slices as its ``source``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.errors import InputError, UsageError
from kcalc.geometry import Geometry
from kcalc.hounsfield import CT_MIN_HU
from kcalc.io.pixel_checks import MAX_VOXELS
from kcalc.orientation import lps_geometry, lps_view
from kcalc.regrid import axial_grid_round, onto_axial, onto_grid
from kcalc.slices import SliceStack
from kcalc.volume import GridCorrection, SourceSlices

TILT_LIMIT_DEG = 0.5
"""Largest angle between the slice normal and the line of the positions (A7)."""
OBLIQUE_LIMIT_DEG = 5.0
"""Least angle off axial at which a CT is no longer scored as it is stored (A10)."""
MAX_ASSUMED_SPACING_MM = 20.0
"""Widest slice spacing that a caller may state; CT slices are 10 mm apart at most."""


@dataclass(frozen=True)
class GridCorrections:
    """What the caller allows to be corrected.

    Args:
        allow_gap: Most missing slices that are interpolated; 0 refuses a gap.
        untilt: Shear the slices of a tilted gantry onto an orthogonal grid.
        resample: Bring uneven spacing onto an even one, and slices that are not axial
            onto an axial grid.
        assume_spacing_mm: Slice spacing in mm of DICOM slices that state no position;
            None refuses them.
    """

    allow_gap: int = 0
    untilt: bool = False
    resample: bool = False
    assume_spacing_mm: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.allow_gap, bool) or not isinstance(self.allow_gap, int):
            raise TypeError(
                "allow_gap must be the number of slices that may be interpolated. "
                f"Received: allow_gap={self.allow_gap!r}"
            )
        if self.allow_gap < 0:
            raise ValueError(
                f"allow_gap must be at least 0. Received: allow_gap={self.allow_gap}"
            )
        spacing_mm = self.assume_spacing_mm
        if spacing_mm is not None and not 0 < spacing_mm <= MAX_ASSUMED_SPACING_MM:
            raise UsageError(
                "OPTIONS",
                "assume_spacing_mm must be above 0 and at most "
                f"{MAX_ASSUMED_SPACING_MM:g} mm. Received: "
                f"assume_spacing_mm={spacing_mm}.",
            )


NO_CORRECTION = GridCorrections()


@dataclass(frozen=True)
class FittedGrid:
    """Where the slices of a series lie and on which grid they are wanted.

    Args:
        stack: The stored slices in order.
        geometry: The grid of the stored slices, or the corrected one in their planes.
        steps: What leads from the slices to the corrected grid, in order.
        to_axial: Whether the volume is turned onto an axial grid afterwards.
    """

    stack: SliceStack
    geometry: Geometry
    steps: tuple[GridCorrection, ...] = ()
    to_axial: bool = False

    @property
    def corrections(self) -> tuple[GridCorrection, ...]:
        """All corrections, that onto an axial grid with them."""
        turned = self.to_axial and "resampled" not in self.steps
        return (*self.steps, "resampled") if turned else self.steps


def corrected_volume(
    array: npt.NDArray[Any], grid: FittedGrid, path: Path, *, hounsfield: bool
) -> tuple[npt.NDArray[Any], Geometry, SourceSlices | None]:
    """Return a volume on the wanted grid, and its stored slices where they differ.

    Args:
        array: (z, y, x) the stored slices.
        grid: Where they lie and are wanted.
        path: The input, for messages.
        hounsfield: Whether voxels that no slice reaches become air, -1024 HU; else
            they get the lowest value.

    Raises:
        InputError: ``BUDGET`` where the corrected grid is too large.
    """
    if not grid.corrections:
        return array, grid.geometry, None
    source = SourceSlices(array, grid.stack, grid.corrections)
    outside = float(CT_MIN_HU) if hounsfield else float(array.min())
    geometry = grid.geometry
    if grid.steps:
        _check_budget(geometry, path)
        array = onto_grid(source, geometry, outside=outside)
    if grid.to_axial:
        turned = lps_geometry(geometry)
        if _off_axial_deg(turned) < OBLIQUE_LIMIT_DEG:
            array, geometry = np.ascontiguousarray(lps_view(array, geometry)), turned
        else:
            target = axial_grid_round(turned)
            _check_budget(target, path)
            array = onto_axial(array, geometry, target, outside=outside)
            geometry = target
    return array, geometry, source


def _off_axial_deg(geometry: Geometry) -> float:
    """Return the angle between the slices of a grid and the axial plane, in degrees."""
    _, row, column = geometry.affine_lps[:3, :3].T
    normal = np.cross(column, row)
    cosine = abs(float(normal[2])) / float(np.linalg.norm(normal))
    return float(np.degrees(np.arccos(min(1.0, cosine))))


def _check_budget(geometry: Geometry, path: Path) -> None:
    """Refuse a corrected grid that is too large, before it is made."""
    z, y, x = geometry.shape_zyx
    if z * y * x > MAX_VOXELS:
        raise InputError(
            "BUDGET",
            f"a volume may have {MAX_VOXELS} voxels; the corrected grid would have "
            f"{z} x {y} x {x}.",
            path=path,
            hint="Use a series that needs no correction.",
        )
