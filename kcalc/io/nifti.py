"""NIfTI in and out: scans and masks enter as (z, y, x), masks leave whole.

A NIfTI file says neither its unit nor its tube voltage; kcalc accepts values that can
be HU, says so in a finding, and leaves the voltage unknown.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kcalc.errors import GeometryError, InputError, IntensityError
from kcalc.files import whole_or_absent
from kcalc.geometry import Geometry
from kcalc.io.acquisition import given_voltage
from kcalc.io.dicom_pixels import PixelTally, replace_padding
from kcalc.io.grid_corrections import (
    NO_CORRECTION,
    TILT_LIMIT_DEG,
    FittedGrid,
    GridCorrections,
    corrected_volume,
)
from kcalc.io.intensity import check_hounsfield
from kcalc.io.nifti_file import load_nifti, nifti_geometry
from kcalc.io.slice_positions import check_obliqueness, check_tilt
from kcalc.regrid import upright_grid
from kcalc.slices import SliceStack
from kcalc.volume import Acquisition, Finding, Volume

GRID_LIMIT_VOXELS = 0.1
"""How far a mask's corner may lie off the scan's voxel centres."""


def read_nifti(
    path: str | os.PathLike[str],
    *,
    modality: str = "CT",
    unit: Literal["HU", "arbitrary"] | None = None,
    tube_voltage_kvp: float | None = None,
    corrections: GridCorrections = NO_CORRECTION,
) -> Volume:
    """Return a 3-D NIfTI scan as a Volume on its stored grid.

    Args:
        path: A file ending in ``.nii`` or ``.nii.gz``.
        modality: ``"CT"`` demands axial slices and plausible HU.
        unit: None means HU for CT, arbitrary else; ``"HU"`` asserts it.
        tube_voltage_kvp: Tube voltage in kVp; the file has none.
        corrections: What of the grid may be corrected: a sheared affine, slices that
            are not axial.

    Returns:
        Array (z, y, x): the stored axes (x, y, z) in reverse. int16 where all
        values are integers, else float32.

    Raises:
        InputError: ``NOT_FOUND``, ``UNREADABLE``, ``TRUNCATED``, ``NIFTI_BROKEN``,
            ``NIFTI_DIMS``, ``NIFTI_DTYPE``, ``NIFTI_SCALE``, ``BUDGET``.
        GeometryError: ``NIFTI_AFFINE``, ``GEOM_ORIENT``, ``GEOM_SINGLE``,
            ``GEOM_TILT``.
        IntensityError: ``HU_NAN``, ``EMPTY``, ``HU_RANGE``.
    """
    source = Path(path)
    is_ct = modality.upper() == "CT"
    hounsfield = unit == "HU" or (unit is None and is_ct)
    values, affine, has_orientation = load_nifti(source)
    if values.shape[2] < 2:
        raise GeometryError(
            "GEOM_SINGLE",
            f"a volume needs at least 2 slices; received {values.shape[2]}.",
            path=source,
            hint="Give the whole series.",
        )
    geometry = nifti_geometry(affine, values.shape, source, sheared=corrections.untilt)
    grid, findings = _wanted_grid(geometry, source, corrections, axial=is_ct)
    if not has_orientation:
        message = "The file has no qform and no sform; left and right are unknown."
        findings.append(Finding("ORIENTATION_UNKNOWN", message, "warning"))
    num_bad = int(np.count_nonzero(~np.isfinite(values)))
    if num_bad:
        raise IntensityError(
            "HU_NAN",
            f"all values must be finite; {num_bad} of {values.size} are NaN or "
            "infinite.",
            path=source,
            hint="Replace them at the source; kcalc does not guess them.",
        )
    tally = PixelTally()
    array = _as_volume_array(values, tally, hounsfield=hounsfield)
    if hounsfield:
        replace_padding(array, tally)
        findings += tally.findings()
        findings += check_hounsfield(array, source)
    array, geometry, stored = corrected_volume(
        array, grid, source, hounsfield=hounsfield
    )
    if hounsfield and unit is None:
        message = "NIfTI names no unit; the values can be HU and were taken as HU."
        findings.append(Finding("UNIT_ASSUMED", message, "warning"))
    kvp = None
    if tube_voltage_kvp is not None:
        kvp = given_voltage(tube_voltage_kvp, source)
        message = f"The caller gave {kvp:g} kVp; the file says nothing usable."
        findings.append(Finding("KVP_GIVEN", message, "note"))
    elif is_ct:
        message = "The tube voltage is unknown; a score needs it from the caller."
        findings.append(Finding("KVP_UNKNOWN", message, "warning"))
    return Volume(
        array=array,
        geometry=geometry,
        unit="HU" if hounsfield else "arbitrary",
        acquisition=Acquisition(modality=modality.upper(), tube_voltage_kvp=kvp),
        findings=tuple(findings),
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
    return FittedGrid(stack, wanted, corrected=tilted, to_axial=to_axial), findings


def write_nifti(
    path: str | os.PathLike[str], array: npt.NDArray[Any], geometry: Geometry
) -> Path:
    """Write a mask or scan as NIfTI, whole or not at all; equal input, equal bytes.

    The file is written beside its final place, flushed to disk and renamed.

    Args:
        path: A name ending in ``.nii`` or ``.nii.gz``; its folder must exist.
        array: (z, y, x) of the geometry's shape: bool, uint8, int16 or float32.
        geometry: The grid; sform and qform carry it as scanner coordinates, of a
            tilted one only the sform, for a qform cannot be sheared.

    Returns:
        The path.

    Raises:
        ValueError: The name, shape or dtype breaks these rules.
        ResourceError: ``WRITE_FAILED``, for instance on a full disk.
    """
    import nibabel

    target = Path(path)
    name = target.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"path must end in .nii or .nii.gz. Received: {target.name!r}")
    values = np.asarray(array)
    if values.shape != geometry.shape_zyx:
        raise ValueError(
            "array must have the geometry's shape (z, y, x). "
            f"Received: {values.shape} against {geometry.shape_zyx}"
        )
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    if values.dtype not in (np.dtype("u1"), np.dtype("i2"), np.dtype("f4")):
        raise ValueError(
            "array must be bool, uint8, int16 or float32. "
            f"Received: dtype={values.dtype}"
        )
    affine = geometry.affine_ras_xyz()
    image = nibabel.Nifti1Image(np.asfortranarray(values.transpose(2, 1, 0)), affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1 if geometry.tilt_deg < TILT_LIMIT_DEG else 0)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    if name.endswith(".gz"):
        content = gzip.compress(content, compresslevel=6, mtime=0)
    with whole_or_absent(target) as temporary:
        temporary.write_bytes(content)
    return target


def read_mask(
    path: str | os.PathLike[str], geometry: Geometry
) -> npt.NDArray[np.uint8]:
    """Return a label mask on the scan's grid, (z, y, x) uint8.

    Viewers save a mask with flipped or permuted axes, or as float; it is turned back
    by its affine. A mask on another grid is refused, never resampled.

    Args:
        path: A file ending in ``.nii`` or ``.nii.gz``.
        geometry: The scan's grid.

    Returns:
        Labels 0 to 255 in the scan's order.

    Raises:
        InputError: ``MASK_GRID``, ``MASK_VALUES``, or those of ``read_nifti``.
    """
    source = Path(path)
    values, affine_ras, _ = load_nifti(source)
    own = nifti_geometry(affine_ras, values.shape, source, sheared=True)
    array = _onto_grid(values.transpose(2, 1, 0), own, geometry, source)
    if not np.isfinite(array).all():
        raise _no_labels(source, "NaN or infinite values")
    rounded = np.rint(array) if array.dtype.kind == "f" else array
    low, high = array.min(), array.max()
    if (array != rounded).any():
        raise _no_labels(source, f"fractions between {low} and {high}")
    if low < 0 or high > 255:
        raise _no_labels(source, f"values from {low} to {high}")
    return np.ascontiguousarray(rounded, dtype=np.uint8)


def _no_labels(path: Path, received: str) -> InputError:
    """Return the refusal of a mask whose values are no labels (C15)."""
    return InputError(
        "MASK_VALUES",
        f"a mask must hold whole labels from 0 to 255; received {received}.",
        path=path,
        hint="Save it as a label map, without interpolation.",
    )


def _as_volume_array(
    values: npt.NDArray[Any], tally: PixelTally, *, hounsfield: bool
) -> npt.NDArray[Any]:
    """Return (z, y, x) int16 of whole HU, else float32; own memory."""
    turned = values.transpose(2, 1, 0)
    if not hounsfield:
        return np.array(turned, dtype=np.float32, order="C")
    if turned.dtype.kind == "f":
        whole = np.rint(turned)
        if not np.array_equal(whole, turned):
            return np.array(turned, dtype=np.float32, order="C")
        turned = whole
    info = np.iinfo(np.int16)
    tally.num_clipped += int(np.count_nonzero(turned > info.max))
    return np.array(np.clip(turned, info.min, info.max), dtype=np.int16, order="C")


def _onto_grid(
    array_zyx: npt.NDArray[Any], own: Geometry, wanted: Geometry, path: Path
) -> npt.NDArray[Any]:
    """Return the array turned onto the wanted grid, if only flips are needed."""
    turn = np.linalg.inv(wanted.affine_lps) @ own.affine_lps
    signs = np.rint(turn[:3, :3])
    permutation = np.abs(signs).sum(axis=0).tolist() == [1, 1, 1]
    if permutation and abs(np.linalg.det(signs)) == 1:
        axes = [int(np.abs(row).argmax()) for row in signs]
        turned = array_zyx.transpose(axes)
        flipped = [k for k in range(3) if signs[k, axes[k]] < 0]
        turned = np.flip(turned, tuple(flipped))
        corners = np.array(
            [[0 if k & bit else 1 for bit in (4, 2, 1)] for k in range(8)]
        ) * (np.array(own.shape_zyx) - 1)
        found = corners @ turn[:3, :3].T + turn[:3, 3]
        exact = corners @ signs.T
        exact[:, flipped] += np.array(turned.shape)[flipped] - 1
        close = np.abs(found - exact).max() <= GRID_LIMIT_VOXELS
        if turned.shape == wanted.shape_zyx and close:
            return turned
    spacing = "x".join(f"{s:.3f}" for s in own.spacing_mm)
    expected = "x".join(f"{s:.3f}" for s in wanted.spacing_mm)
    raise InputError(
        "MASK_GRID",
        f"a mask must lie on the scan's grid of {wanted.shape_zyx} voxels of "
        f"{expected} mm (z, y, x); it has {own.shape_zyx} of {spacing} mm, or lies "
        "elsewhere.",
        path=path,
        hint="Draw or resample it on this very scan, with nearest neighbours.",
    )
