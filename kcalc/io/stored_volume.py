"""Values on a grid become a Volume: for files that say neither unit nor voltage.

NIfTI and MetaImage are such; kcalc accepts values that can be HU, says so in a finding,
and leaves the tube voltage unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kcalc.errors import GeometryError, IntensityError
from kcalc.geometry import Geometry
from kcalc.io.acquisition import given_voltage
from kcalc.io.dicom_pixels import PixelTally, replace_padding
from kcalc.io.grid_corrections import (
    NO_CORRECTION,
    FittedGrid,
    GridCorrections,
    corrected_volume,
)
from kcalc.io.intensity import check_hounsfield
from kcalc.io.slice_positions import check_obliqueness, check_tilt
from kcalc.regrid import upright_grid
from kcalc.slices import SliceStack
from kcalc.volume import Acquisition, Finding, GridCorrection, Volume


def stored_volume(
    values_zyx: npt.NDArray[Any],
    geometry: Geometry,
    path: Path,
    *,
    file_format: str,
    modality: str,
    unit: Literal["HU", "arbitrary"] | None,
    tube_voltage_kvp: float | None,
    corrections: GridCorrections = NO_CORRECTION,
    findings: Sequence[Finding] = (),
) -> Volume:
    """Return values on a grid as a Volume.

    Args:
        values_zyx: (z, y, x), integers or floats.
        geometry: The grid.
        path: The file, for messages.
        file_format: Its name in findings.
        modality: ``"CT"`` demands axial slices and plausible HU.
        unit: None means HU for CT, arbitrary else; ``"HU"`` asserts it.
        tube_voltage_kvp: Tube voltage in kVp; the file has none.
        corrections: What of the grid may be corrected: a sheared affine, slices that
            are not axial.
        findings: What the reader of the file noticed.

    Returns:
        int16 where all values are integers, else float32.

    Raises:
        GeometryError: ``GEOM_ORIENT``, ``GEOM_SINGLE``, ``GEOM_TILT``.
        IntensityError: ``HU_NAN``, ``EMPTY``, ``HU_RANGE``.
    """
    noticed = list(findings)
    is_ct = modality.upper() == "CT"
    hounsfield = unit == "HU" or (unit is None and is_ct)
    if values_zyx.shape[0] < 2:
        raise GeometryError(
            "GEOM_SINGLE",
            f"a volume needs at least 2 slices; received {values_zyx.shape[0]}.",
            path=path,
            hint="Give the whole series.",
        )
    grid, notes = _wanted_grid(geometry, path, corrections, axial=is_ct)
    noticed += notes
    num_bad = int(np.count_nonzero(~np.isfinite(values_zyx)))
    if num_bad:
        raise IntensityError(
            "HU_NAN",
            f"all values must be finite; {num_bad} of {values_zyx.size} are NaN or "
            "infinite.",
            path=path,
            hint="Replace them at the source; kcalc does not guess them.",
        )
    tally = PixelTally()
    array = _as_volume_array(values_zyx, tally, hounsfield=hounsfield)
    if hounsfield:
        replace_padding(array, tally)
        noticed += tally.findings()
        noticed += check_hounsfield(array, path)
    array, geometry, stored = corrected_volume(array, grid, path, hounsfield=hounsfield)
    if hounsfield and unit is None:
        message = (
            f"{file_format} names no unit; the values can be HU and were taken as HU."
        )
        noticed.append(Finding("UNIT_ASSUMED", message, "warning"))
    kvp = None
    if tube_voltage_kvp is not None:
        kvp = given_voltage(tube_voltage_kvp, path)
        message = f"The caller gave {kvp:g} kVp; the file says nothing usable."
        noticed.append(Finding("KVP_GIVEN", message, "note"))
    elif is_ct:
        message = "The tube voltage is unknown; a score needs it from the caller."
        noticed.append(Finding("KVP_UNKNOWN", message, "warning"))
    return Volume(
        array=array,
        geometry=geometry,
        unit="HU" if hounsfield else "arbitrary",
        acquisition=Acquisition(modality=modality.upper(), tube_voltage_kvp=kvp),
        findings=tuple(noticed),
        source=stored,
    )


def _wanted_grid(
    geometry: Geometry, path: Path, corrections: GridCorrections, *, axial: bool
) -> tuple[FittedGrid, list[Finding]]:
    """Return where the slices lie and are wanted, and what there is to say of it."""
    stack = SliceStack.from_geometry(geometry)
    findings: list[Finding] = []
    tilted = False
    if corrections.untilt:
        tilt = check_tilt(stack.corners_xyz_mm, stack.normal, path, allowed=True)
        tilted = tilt.corrected
        findings += tilt.findings
    to_axial = False
    if axial:
        step = geometry.affine_lps[:3, 0]
        to_axial, notes = check_obliqueness(
            step / np.linalg.norm(step), path, resample=corrections.resample
        )
        findings += notes
    wanted = geometry
    if tilted:
        wanted = upright_grid(
            stack, float(stack.along_mm[0]), geometry.spacing_mm[0], len(stack.along_mm)
        )
    steps: tuple[GridCorrection, ...] = ("untilted",) if tilted else ()
    return FittedGrid(stack, wanted, steps, to_axial=to_axial), findings


def orientation_unknown(missing: str) -> Finding:
    """Return the warning that a file does not say where left is."""
    message = f"The file has no {missing}; left and right are unknown."
    return Finding("ORIENTATION_UNKNOWN", message, "warning")


def _as_volume_array(
    values_zyx: npt.NDArray[Any], tally: PixelTally, *, hounsfield: bool
) -> npt.NDArray[Any]:
    """Return int16 of whole HU, else float32; own memory."""
    if not hounsfield:
        return np.array(values_zyx, dtype=np.float32, order="C")
    if values_zyx.dtype.kind == "f":
        whole = np.rint(values_zyx)
        if not np.array_equal(whole, values_zyx):
            return np.array(values_zyx, dtype=np.float32, order="C")
        values_zyx = whole
    info = np.iinfo(np.int16)
    tally.num_clipped += int(np.count_nonzero(values_zyx > info.max))
    clipped = np.clip(values_zyx, info.min, info.max)
    return np.array(clipped, dtype=np.int16, order="C")
