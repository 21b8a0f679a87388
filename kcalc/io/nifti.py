"""NIfTI in and out: scans and masks enter as (z, y, x), masks leave whole.

A scan's values are taken as ``kcalc.io.stored_volume`` tells.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kcalc.files import whole_or_absent
from kcalc.geometry import Geometry
from kcalc.io.grid_corrections import NO_CORRECTION, TILT_LIMIT_DEG, GridCorrections
from kcalc.io.mask_grid import turn_onto_grid, whole_labels
from kcalc.io.nifti_file import load_nifti, nifti_geometry
from kcalc.io.stored_volume import orientation_unknown, stored_volume
from kcalc.volume import Volume


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
    values, affine, has_orientation = load_nifti(source)
    return stored_volume(
        values.transpose(2, 1, 0),
        nifti_geometry(affine, values.shape, source, sheared=corrections.untilt),
        source,
        file_format="NIfTI",
        modality=modality,
        unit=unit,
        tube_voltage_kvp=tube_voltage_kvp,
        corrections=corrections,
        findings=()
        if has_orientation
        else (orientation_unknown("qform and no sform"),),
    )


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
    array = turn_onto_grid(values.transpose(2, 1, 0), own, geometry, source)
    return whole_labels(array, source)
