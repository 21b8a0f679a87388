"""Readers: whatever enters is either a valid Volume or a refusal with a reason code.

Outputs of nifti.write_nifti are whole or absent. No module here imports TensorFlow,
and pydicom and nibabel are loaded when a file is read.
"""

from __future__ import annotations

import importlib
import os
import stat
from pathlib import Path
from typing import Any, Literal

from kcalc.errors import InputError
from kcalc.volume import Volume

__all__ = ["inspect_folder", "read_labels", "read_volume"]

NIFTI_SUFFIXES = (".nii", ".nii.gz")
MHD_SUFFIXES = (".mhd", ".mha")
_MODULES = {"inspect_folder": "inspection", "read_labels": "labels"}


def read_volume(
    path: str | os.PathLike[str],
    *,
    series: str | None = None,
    modality: str = "CT",
    unit: Literal["HU", "arbitrary"] | None = None,
    tube_voltage_kvp: float | None = None,
    allow_gap: int = 0,
    untilt: bool = False,
    resample: bool = False,
    assume_spacing_mm: float | None = None,
    phase: float | None = None,
) -> Volume:
    """Return a scan as a Volume, or refuse it with a reason code.

    Args:
        path: A DICOM folder (searched with its subfolders), a DICOM file, or a file
            ending in ``.nii``, ``.nii.gz``, ``.mhd`` or ``.mha``.
        series: Which DICOM series, where several fit; see
            :func:`kcalc.io.dicom_series.read_dicom_series`.
        modality: Wanted modality; a DICOM scan of another one is refused.
        unit: ``"HU"`` or ``"arbitrary"``; None means HU for CT, arbitrary else.
            ``"HU"`` asserts it where the file does not say so.
        tube_voltage_kvp: Tube voltage in kVp where the file lacks it; overrides
            the file and is recorded in the findings.
        allow_gap: Most missing slices that are interpolated from their neighbours;
            0 refuses a gap.
        untilt: Shear the slices of a tilted gantry onto an orthogonal grid rather
            than refuse them.
        resample: Bring a spacing that changes onto an even one, and slices that are
            not axial onto an axial grid, rather than refuse them.
        assume_spacing_mm: Slice spacing in mm of DICOM slices that state no position;
            their order is that of InstanceNumber. None refuses such slices.
        phase: Cardiac phase to take where a DICOM series holds several, in the unit of
            its file: percent of the cycle, or milliseconds after the trigger.

    Returns:
        Volume with array (z, y, x) in HU (int16; float32 for fractional HU),
        geometry in LPS mm, acquisition facts and findings. An unknown tube voltage
        is None there; scoring refuses it, reading does not. Where a correction
        was allowed and needed, the array lies on the corrected grid, the finding says
        so, and ``source`` holds the stored slices.

    Raises:
        InputError: Code, path and way out; its children are GeometryError,
            IntensityError and UnfitError. Also a ValueError.
    """
    from kcalc.io.discovery import mode_of
    from kcalc.io.grid_corrections import GridCorrections

    source = Path(path)
    is_folder = stat.S_ISDIR(mode_of(source))
    corrections = GridCorrections(allow_gap, untilt, resample, assume_spacing_mm)
    name = source.name.lower()
    if not is_folder and name.endswith((*NIFTI_SUFFIXES, *MHD_SUFFIXES)):
        if series is not None:
            raise InputError(
                "SERIES_UNKNOWN",
                "series= names a DICOM series; a NIfTI or MetaImage file has none.",
                path=source,
                hint="Leave out series= (--series).",
            )
        if name.endswith(NIFTI_SUFFIXES):
            from kcalc.io.nifti import read_nifti as read_file
        else:
            from kcalc.io.metaimage import read_metaimage as read_file
        return read_file(
            source,
            modality=modality,
            unit=unit,
            tube_voltage_kvp=tube_voltage_kvp,
            corrections=corrections,
        )
    from kcalc.io.dicom_series import read_dicom_series

    return read_dicom_series(
        source,
        series=series,
        phase=phase,
        modality=modality,
        unit=unit,
        tube_voltage_kvp=tube_voltage_kvp,
        corrections=corrections,
    )


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"kcalc.io.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'kcalc.io' has no attribute {name!r}")
