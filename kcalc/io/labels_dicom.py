"""Labels in DICOM: segmentations (SEG) and structure sets (RTSTRUCT)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.errors import InputError
from kcalc.io.dicom_object import (
    LABEL_MAP_SEGMENTATION,
    codes_of,
    read_object,
    refusing_broken,
    whole_number,
)
from kcalc.io.label_map import Labels, Part, part_labels
from kcalc.io.label_names import LabelScheme, part_number
from kcalc.io.labels_outlines import in_slice
from kcalc.io.mask_grid import foreign_grid, frame_view
from kcalc.io.outlines import MAX_OUTLINES, MAX_POINTS, Outline, paint_outlines
from kcalc.io.pixel_checks import MAX_VOXELS
from kcalc.volume import Finding, Volume

MAX_FRAMES = 100_000
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
"""Contours that enclose something (PS3.3 C.8.8.6)."""


def seg_labels(path: Path, volume: Volume, scheme: LabelScheme | None) -> Labels:
    """Return the labels of a DICOM SEG: binary, fractional without fractions, labelmap.

    Frames may cover some of the slices, part of a slice, or lie across them, as long
    as their pixels are voxels of the scan.

    Raises:
        InputError: ``MASK_GRID``, ``MASK_VALUES``, ``LABEL_OVERLAP``, ``BUDGET``,
            ``TRUNCATED``, ``DECODER``, those of ``kcalc.io.dicom_object.read_object``
            and of ``kcalc.io.label_map.part_labels``.
    """
    dataset = read_object(path)
    with refusing_broken(path):
        findings = _check_reference(dataset, volume, path)
        parts = [_segment(item, path) for item in dataset.SegmentSequence]
        parts = [part for part in parts if part.number]  # 0 is a map's background
        labels, named, notes = part_labels(parts, scheme, path)
        array = np.zeros(volume.shape, np.uint8)
        for frame, view, number in _frames(dataset, array, volume, path):
            _add_frame(view, frame, labels if number is None else labels[number], path)
    return Labels(array, "dicom_seg", named, (*findings, *notes))


def rtstruct_labels(path: Path, volume: Volume, scheme: LabelScheme | None) -> Labels:
    """Return the labels of an RTSTRUCT's closed contours, each in a slice of the scan.

    Raises:
        InputError: ``MASK_GRID``, ``LABEL_POINTS``, ``BUDGET``, those of
            ``kcalc.io.dicom_object.read_object`` and of
            ``kcalc.io.label_map.part_labels``.
    """
    dataset = read_object(path)
    with refusing_broken(path):
        findings = _check_reference(dataset, volume, path)
        contours = {
            whole_number(
                item.ReferencedROINumber, "ReferencedROINumber", path, least=0
            ): (item.get("ContourSequence", None) or ())
            for item in dataset.ROIContourSequence
        }
        parts = [
            part
            for item in dataset.StructureSetROISequence
            if contours.get((part := _roi(item, path)).number)
        ]
        labels, named, notes = part_labels(parts, scheme, path)
        wanted = {number for number, label in labels.items() if label}
        outlines, num_open = _outlines(contours, wanted, volume, path)
        array, more = paint_outlines(outlines, labels, volume.shape, path)
    if num_open:
        message = f"Contours that are not closed and were left out: {num_open}."
        more.append(Finding("LABEL_SKIPPED", message, "warning"))
    return Labels(array, "rtstruct", named, (*findings, *notes, *more))


def _check_reference(dataset: Any, volume: Volume, path: Path) -> list[Finding]:
    """Refuse labels of another frame of reference; report those of another series."""
    facts = volume.acquisition
    frames = {str(dataset.get("FrameOfReferenceUID", "") or "")} | {
        str(item.get("ReferencedFrameOfReferenceUID", "") or "")
        for item in dataset.get("StructureSetROISequence", None) or ()
    }
    foreign = facts.frame_of_reference_uid and frames - {
        "",
        facts.frame_of_reference_uid,
    }
    if foreign:
        raise foreign_grid(
            volume.geometry, path, "it was made in another frame of reference"
        )
    series = {
        str(item.SeriesInstanceUID)
        for item in _referenced_series(dataset)
        if "SeriesInstanceUID" in item
    }
    if series and facts.series_uid and facts.series_uid not in series:
        message = (
            "The labels were made on another series than the scan; their voxels fit."
        )
        return [Finding("LABEL_SERIES", message, "warning")]
    return []


def _referenced_series(dataset: Any) -> Iterator[Any]:
    """Give the items that name the series of a SEG or an RTSTRUCT."""
    yield from dataset.get("ReferencedSeriesSequence", None) or ()
    for frame in dataset.get("ReferencedFrameOfReferenceSequence", None) or ():
        for study in frame.get("RTReferencedStudySequence", None) or ():
            yield from study.get("RTReferencedSeriesSequence", None) or ()


def _segment(item: Any, path: Path) -> Part:
    name = str(item.get("SegmentLabel", "") or "")
    codes = codes_of(
        item,
        "PrimaryAnatomicStructureSequence",
        "AnatomicRegionSequence",
        "SegmentedPropertyTypeCodeSequence",
    )
    number = whole_number(item.SegmentNumber, "SegmentNumber", path, least=0)
    return Part(number, name, part_number(name, codes))


def _roi(item: Any, path: Path) -> Part:
    name = str(item.get("ROIName", "") or "")
    number = whole_number(item.ROINumber, "ROINumber", path, least=0)
    return Part(number, name, part_number(name))


def _frames(
    dataset: Any, array: npt.NDArray[np.uint8], volume: Volume, path: Path
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[np.uint8], int | None]]:
    """Give each frame, the view of the array that it covers, and its segment.

    The segment is None in a labelmap, whose pixels are segment numbers.
    """
    shape_yx = (
        whole_number(dataset.Rows, "Rows", path),
        whole_number(dataset.Columns, "Columns", path),
    )
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    _check_pixels(dataset, len(groups), shape_yx, path)
    is_map = dataset.SOPClassUID == LABEL_MAP_SEGMENTATION
    highest = None
    if not is_map and str(dataset.SegmentationType).upper() == "FRACTIONAL":
        highest = whole_number(
            dataset.MaximumFractionalValue, "MaximumFractionalValue", path
        )
    shared = (dataset.get("SharedFunctionalGroupsSequence", None) or [{}])[0]
    views = []
    for group in groups:
        found = None
        if not is_map:
            item = _macro((group, shared), "SegmentIdentificationSequence")
            found = int(item.ReferencedSegmentNumber)
        views.append((_view(group, shared, array, volume, shape_yx, path), found))
    pixels = _decoded(dataset, shape_yx)
    for view, number in views:
        try:
            frame = next(pixels)
        except Exception as error:
            raise InputError(
                "DECODER",
                f"the frames cannot be decoded ({type(error).__name__}).",
                path=path,
                hint='Install the decoders with: pip install "kcalc[decode]", or '
                "export the object uncompressed.",
            ) from error
        if highest is not None:
            if not np.isin(frame, (0, highest)).all():
                raise InputError(
                    "MASK_VALUES",
                    "a mask must not hold fractions; this fractional SEG does.",
                    path=path,
                    hint="Cut it at a probability and save it as binary.",
                )
            frame = frame == highest
        yield frame, view, number


def _decoded(dataset: Any, shape_yx: tuple[int, int]) -> Iterator[npt.NDArray[Any]]:
    """Give the frames one by one; pydicom misreads those of one bit a pixel."""
    from pydicom.pixels import iter_pixels
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    if dataset.BitsAllocated != 1 or syntax.is_encapsulated:
        plugin = "pydicom" if syntax == RLELossless else ""
        yield from iter_pixels(dataset, decoding_plugin=plugin)
        return
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    size = math.prod(shape_yx)
    for first in range(0, int(dataset.NumberOfFrames) * size, size):
        window = packed[first // 8 : (first + size + 7) // 8]
        bits = np.unpackbits(window, bitorder="little")
        yield bits[first % 8 : first % 8 + size].reshape(shape_yx)


def _check_pixels(
    dataset: Any, num_groups: int, shape_yx: tuple[int, int], path: Path
) -> None:
    """Refuse frames that are too many, or not there, before memory is taken."""
    num_frames = whole_number(dataset.get("NumberOfFrames", 1), "NumberOfFrames", path)
    num_pixels = num_frames * math.prod(shape_yx)
    if num_frames > MAX_FRAMES or num_pixels > MAX_VOXELS:
        raise InputError(
            "BUDGET",
            f"a SEG may have {MAX_FRAMES} frames and {MAX_VOXELS} pixels; received "
            f"{num_frames} and {num_pixels}.",
            path=path,
            hint="Export the labels of one scan.",
        )
    bits = whole_number(dataset.BitsAllocated, "BitsAllocated", path)
    expected = math.ceil(num_pixels * bits / 8)
    present = len(dataset.get("PixelData", None) or b"")
    native = not dataset.file_meta.TransferSyntaxUID.is_encapsulated
    if num_groups != num_frames or not present or (native and present < expected):
        raise InputError(
            "TRUNCATED",
            f"a SEG of {num_frames} frames must describe each and hold {expected} "
            f"bytes; {num_groups} are described and {present} bytes are there.",
            path=path,
            hint="Export it again.",
        )


def _view(
    group: Any,
    shared: Any,
    array: npt.NDArray[np.uint8],
    volume: Volume,
    shape_yx: tuple[int, int],
    path: Path,
) -> npt.NDArray[np.uint8]:
    """Return the part of the array that a frame covers."""
    both = (group, shared)
    position = _macro(both, "PlanePositionSequence").ImagePositionPatient
    directions = _macro(both, "PlaneOrientationSequence").ImageOrientationPatient
    spacing_yx = _macro(both, "PixelMeasuresSequence").PixelSpacing
    row, column = np.array(directions, dtype=np.float64).reshape(2, 3)
    down_mm, right_mm = (float(value) for value in spacing_yx)
    steps = np.stack([column * down_mm, row * right_mm], axis=1)
    first = np.array(position, dtype=np.float64)
    if not (np.isfinite(steps).all() and np.isfinite(first).all()):
        raise foreign_grid(volume.geometry, path, "a frame of it has no position")
    return frame_view(
        array,
        volume.geometry,
        position_xyz_mm=first,
        steps_mm=steps,
        shape_yx=shape_yx,
        path=path,
    )


def _macro(groups: Sequence[Any], keyword: str) -> Any:
    """Return the item of a functional group, the frame's own before the shared one."""
    for group in groups:
        if keyword in group:
            return group[keyword].value[0]
    raise KeyError(keyword)


def _add_frame(
    view: npt.NDArray[np.uint8],
    frame: npt.NDArray[Any],
    label: int | Mapping[int, int],
    path: Path,
) -> None:
    """Write the label of a frame, or of its values, and refuse two in one voxel."""
    labels = {1: label} if isinstance(label, int) else label
    for value in np.unique(frame):
        if not value:
            continue
        number = labels[int(value)]
        mask = frame == value
        before = view[mask]
        if number and (before[before > 0] != number).any():
            raise InputError(
                "LABEL_OVERLAP",
                "a voxel must lie in one segment; some lie in segments of two labels.",
                path=path,
                hint="Leave one out with --labels (scheme=), such as 1=LAD,2=0.",
            )
        if number:
            view[mask] = number


def _outlines(
    contours: Mapping[int, Sequence[Any]], wanted: set[int], volume: Volume, path: Path
) -> tuple[list[Outline], int]:
    """Return the closed contours of the wanted regions, and how many are not closed."""
    outlines: list[Outline] = []
    num_open = num_points = 0
    for number in wanted:
        for item in contours[number]:
            kind = str(item.ContourGeometricType).upper()
            if kind not in CLOSED:
                num_open += 1
                continue
            points = np.array(item.ContourData, dtype=np.float64).reshape(-1, 3)
            num_points += len(points)
            if len(outlines) >= MAX_OUTLINES or num_points > MAX_POINTS:
                raise InputError(
                    "BUDGET",
                    f"an RTSTRUCT may have {MAX_OUTLINES} contours with {MAX_POINTS} "
                    "points.",
                    path=path,
                    hint="Export the structures of calcium alone.",
                )
            z, points_yx = in_slice(points, volume, path)
            outlines.append(Outline(number, z, points_yx, kind == CLOSED[1]))
    return outlines, num_open
