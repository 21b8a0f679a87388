"""Label files of every format, written by the tests from small arrays."""

from __future__ import annotations

import plistlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from kcalc.geometry import Geometry

_ELEMENT_TYPES = {"u1": "MET_UCHAR", "i2": "MET_SHORT", "f4": "MET_FLOAT"}


def write_mhd(
    path: Path,
    array: npt.NDArray[Any],
    spacing_mm: tuple[float, float, float] = (3.0, 0.5, 0.5),
    origin_xyz_mm: tuple[float, float, float] = (-10.0, -20.0, 100.0),
    *,
    compressed: bool = False,
    **changes: str | None,
) -> Path:
    """Write (z, y, x) as MetaImage, data in the same file where it ends in .mha.

    ``changes`` are header lines by key; None leaves one out.
    """
    z, y, x = array.shape
    data = array.tobytes()
    local = path.suffix == ".mha"
    header: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": str(array.dtype.str.startswith(">")),
        "CompressedData": str(compressed),
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": " ".join(map(str, origin_xyz_mm)),
        "ElementSpacing": f"{spacing_mm[2]} {spacing_mm[1]} {spacing_mm[0]}",
        "DimSize": f"{x} {y} {z}",
        "ElementType": _ELEMENT_TYPES[array.dtype.str[1:]],
        **changes,
    }
    name = header.pop("ElementDataFile", "LOCAL" if local else f"{path.stem}.raw")
    lines = [f"{key} = {value}\n" for key, value in header.items() if value is not None]
    text = "".join([*lines, f"ElementDataFile = {name}\n"]).encode()
    payload = zlib.compress(data) if compressed else data
    if local:
        path.write_bytes(text + payload)
    else:
        path.write_bytes(text)
        path.with_suffix(".raw").write_bytes(payload)
    return path


def square(row: float, column: float, size: float = 3.0) -> npt.NDArray[np.float64]:
    """Return the corners (y, x) of a square outline from its first corner."""
    corners = np.array([[0.0, 0.0], [0.0, size], [size, size], [size, 0.0]])
    return corners + np.array([row, column])


def coca_roi(
    points_yx: npt.NDArray[Any],
    name: str = "Left Anterior Descending Artery",
    *,
    geometry: Geometry | None = None,
    z: int = 0,
    **changes: Any,
) -> dict[str, Any]:
    """Return one ROI as OsiriX writes it; with millimetres where a grid is given."""
    roi = {
        "Area": 1.0,
        "Name": name,
        "NumberOfPoints": len(points_yx),
        "Point_px": [f"({x:f}, {y:f})" for y, x in points_yx],
        "Type": 15,
    }
    if geometry is not None:
        mm = geometry.index_to_mm([(z, y, x) for y, x in points_yx])
        roi["Point_mm"] = [f"({x:f}, {y:f}, {z:f})" for x, y, z in mm]
    return {**roi, **changes}


def write_coca(path: Path, images: Mapping[int, Sequence[dict[str, Any]]]) -> Path:
    """Write ROIs by ImageIndex as COCA's property list."""
    content = {
        "Images": [
            {"ImageIndex": index, "NumberOfROIs": len(rois), "ROIs": list(rois)}
            for index, rois in images.items()
        ]
    }
    path.write_bytes(plistlib.dumps(content))
    return path


def code(value: str, meaning: str) -> Dataset:
    """Return a SNOMED CT code item."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        value,
        "SCT",
        meaning,
    )
    return item


def dicom_object(sop_class: str, modality: str) -> FileDataset:
    """Return an object of the frame of reference that the test series have."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", Dataset(), file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.Modality = modality
    ds.PatientName = "Nobody^Of^Note"
    ds.FrameOfReferenceUID = "1.2.3.5"
    ds.SeriesInstanceUID = "1.2.840.99.7"
    return ds


def rtstruct(
    geometry: Geometry,
    regions: Mapping[str, Sequence[tuple[int, npt.NDArray[Any]]]],
    kind: str = "CLOSED_PLANAR",
) -> FileDataset:
    """Return an RTSTRUCT of contours (slice, points (y, x)) by region name."""
    ds = dicom_object("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT")
    ds.StructureSetROISequence, ds.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(regions.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = "1.2.3.5"
        drawn.ReferencedROINumber = number
        drawn.ContourSequence = []
        for z, points_yx in contours:
            contour = Dataset()
            contour.ContourGeometricType = kind
            contour.NumberOfContourPoints = len(points_yx)
            mm = geometry.index_to_mm([(z, y, x) for y, x in points_yx])
            contour.ContourData = [f"{value:.4f}" for value in mm.ravel()]
            drawn.ContourSequence.append(contour)
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(drawn)
    return ds


def seg(
    geometry: Geometry,
    segments: Mapping[str, npt.NDArray[np.bool_]],
    codes: Mapping[str, Dataset] | None = None,
) -> FileDataset:
    """Return a binary SEG, one frame a slice of a segment that is not empty."""
    ds = dicom_object("1.2.840.10008.5.1.4.1.1.66.4", "SEG")
    ds.SegmentationType = "BINARY"
    _, ds.Rows, ds.Columns = geometry.shape_zyx
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = ds.PixelRepresentation = 0
    down, right = geometry.affine_lps[:3, 1], geometry.affine_lps[:3, 2]
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [float(np.linalg.norm(down)), float(np.linalg.norm(right))]
    unit = [right / np.linalg.norm(right), down / np.linalg.norm(down)]
    plane.ImageOrientationPatient = [float(v) for v in np.concatenate(unit)]
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [plane]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.SegmentSequence, ds.PerFrameFunctionalGroupsSequence = [], []
    bits = []
    for number, (name, mask) in enumerate(segments.items(), start=1):
        item = Dataset()
        item.SegmentNumber, item.SegmentLabel = number, name
        if codes and name in codes:
            item.AnatomicRegionSequence = [codes[name]]
        ds.SegmentSequence.append(item)
        for z in np.flatnonzero(mask.any(axis=(1, 2))):
            group, position, segment = Dataset(), Dataset(), Dataset()
            corner = geometry.index_to_mm([z, 0, 0])
            position.ImagePositionPatient = [f"{value:.4f}" for value in corner]
            segment.ReferencedSegmentNumber = number
            group.PlanePositionSequence = [position]
            group.SegmentIdentificationSequence = [segment]
            ds.PerFrameFunctionalGroupsSequence.append(group)
            bits.append(mask[z].ravel())
    ds.NumberOfFrames = len(bits)
    packed = np.packbits(np.concatenate(bits), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    return ds


def save(ds: FileDataset, path: Path) -> Path:
    """Write a DICOM object."""
    ds.save_as(path, enforce_file_format=True)
    return path
