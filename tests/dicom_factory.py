"""Tiny DICOM CT series written by the tests, whole or with one defect put in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


def body_hu(num_slices: int = 5, size: int = 16) -> npt.NDArray[np.int16]:
    """Return air round soft tissue with one bright voxel, told apart by slice."""
    array_hu = np.full((num_slices, size, size), -1000, np.int16)
    array_hu[:, 3:-3, 3:-3] = 40
    array_hu[:, 8, 8] = 300 + np.arange(num_slices)
    return array_hu


def ct_slice(
    plane_hu: npt.NDArray[Any],
    *,
    position_xyz_mm: tuple[float, float, float],
    spacing_yx_mm: tuple[float, float] = (0.5, 0.5),
    thickness_mm: float = 3.0,
    series_uid: str,
    instance: int = 1,
    intercept: int = -1024,
) -> FileDataset:
    """Return one CT slice as a data set, 16-bit unsigned with that intercept."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(CT_IMAGE_STORAGE)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", Dataset(), file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.SeriesInstanceUID = series_uid
    ds.StudyInstanceUID = "1.2.3.4"
    ds.FrameOfReferenceUID = "1.2.3.5"
    ds.PatientName = "Nobody^Of^Note"
    ds.PatientID = "SECRET-ID"
    ds.Modality = "CT"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Manufacturer = "kcalc"
    ds.SeriesNumber = 3
    ds.InstanceNumber = instance
    ds.KVP = 120
    ds.ConvolutionKernel = "B35f"
    ds.SliceThickness = thickness_mm
    ds.PixelSpacing = list(spacing_yx_mm)
    ds.ImagePositionPatient = list(position_xyz_mm)
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.RescaleSlope = 1
    ds.RescaleIntercept = intercept
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = plane_hu.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = 0
    stored = (plane_hu.astype(np.int32) - intercept).astype("<u2")
    ds.PixelData = stored.tobytes()
    return ds


def write_series(
    directory: Path,
    array_hu: npt.NDArray[Any] | None = None,
    spacing_mm: tuple[float, float, float] = (3.0, 0.5, 0.5),
    *,
    origin_xyz_mm: tuple[float, float, float] = (-10.0, -20.0, 100.0),
    series_uid: str = "1.2.840.99.1",
    stem: str = "slice",
    edit: Callable[[FileDataset, int], None] | None = None,
) -> list[Path]:
    """Write a standard axial series, caudal first, and return its files.

    Args:
        directory: Made where it is missing.
        array_hu: (z, y, x); ``body_hu()`` by default.
        spacing_mm: (z, y, x).
        origin_xyz_mm: Position of the first slice.
        series_uid: SeriesInstanceUID.
        stem: Begin of the file names.
        edit: Called with each data set and its index, to put a defect in.
    """
    array_hu = body_hu() if array_hu is None else array_hu
    directory.mkdir(parents=True, exist_ok=True)
    x, y, z = origin_xyz_mm
    paths = []
    for index, plane_hu in enumerate(array_hu):
        ds = ct_slice(
            plane_hu,
            position_xyz_mm=(x, y, z + index * spacing_mm[0]),
            spacing_yx_mm=(spacing_mm[1], spacing_mm[2]),
            thickness_mm=spacing_mm[0],
            series_uid=series_uid,
            instance=index + 1,
        )
        if edit is not None:
            edit(ds, index)
        path = directory / f"{stem}{index:03d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths
