"""ROIs of OsiriX and Horos as XML property list: the annotations of Stanford COCA.

``Images`` hold an ``ImageIndex`` and ``ROIs`` with ``Name``, ``Point_px`` ("(x, y)")
and, in most, ``Point_mm`` ("(x, y, z)"). The index does not say from which end it
counts, so the slice comes from the millimetres or the object's UID; where neither is
there, both ends are tried, and the outlines must lie on calcium.
"""

from __future__ import annotations

import math
import plistlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.errors import InputError
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.io.discovery import file_size, read_whole
from kcalc.io.label_map import Labels
from kcalc.io.label_names import LabelScheme
from kcalc.io.labels_outlines import NamedOutline, painted_labels
from kcalc.io.outlines import (
    MAX_OUTLINES,
    MAX_POINTS,
    FloatArray,
    Outline,
    check_outlines,
    fill_outline,
)
from kcalc.volume import Finding, Volume

MAX_PLIST_BYTES = 1 << 25
SLICE_LIMIT = 0.25
"""How far from a slice's middle ``Point_mm`` may lie, in slices."""
PIXEL_LIMIT = 1.0
"""How far ``Point_mm`` may lie from ``Point_px``: half a pixel apart by convention."""

_NUMBER = r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?)\s*"


@dataclass(frozen=True)
class _Roi:
    """One ROI as the file has it."""

    name: str
    image_index: int
    points_xy_px: FloatArray
    points_xyz_mm: FloatArray | None
    sop_uid: str
    maximum_hu: float


def looks_like_plist(prefix: bytes) -> bool:
    """Return whether a file begins as an XML property list.

    Example:
        >>> looks_like_plist(b'<?xml version="1.0"?><!DOCTYPE plist PUBLIC')
        True
    """
    begin = prefix[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    return begin.startswith((b"<?xml", b"<!DOCTYPE", b"<plist")) and b"plist" in begin


def coca_labels(path: Path, volume: Volume, scheme: LabelScheme | None) -> Labels:
    """Return the labels of a property list of ROIs.

    Raises:
        InputError: ``BUDGET``, ``LABEL_BROKEN``, ``LABEL_POINTS``, ``LABEL_ORDER``,
            ``LABEL_MISPLACED``, or those of
            ``kcalc.io.labels_outlines.painted_labels``.
    """
    rois, num_repeated = _read_rois(path)
    drawn = [roi for roi in rois if len(roi.points_xy_px) >= 3]
    points = [Outline(0, 0, roi.points_xy_px[:, ::-1]) for roi in drawn]
    check_outlines(points, volume.shape, path)
    placed, maxima, message = _place(drawn, volume, path)
    _refuse_misplaced(maxima, path)
    findings = [Finding("LABEL_ORDER", message, "note")] if placed else []
    if num_repeated:
        message = f"Images that the file lists more than once: {num_repeated}."
        findings.append(Finding("LABEL_REPEATED", message, "warning"))
    if len(drawn) < len(rois):
        message = (
            f"ROIs of fewer than three points, left out: {len(rois) - len(drawn)}."
        )
        findings.append(Finding("LABEL_SKIPPED", message, "warning"))
    return painted_labels(placed, volume, scheme, path, "coca", findings)


def _read_rois(path: Path) -> tuple[list[_Roi], int]:
    """Return all ROIs, and how many images are listed again."""
    if file_size(path) > MAX_PLIST_BYTES:
        raise InputError(
            "BUDGET",
            f"a property list of ROIs may have {MAX_PLIST_BYTES} bytes; received "
            f"{file_size(path)}.",
            path=path,
            hint="Export the ROIs of one scan.",
        )
    text = read_whole(path)
    try:
        content = plistlib.loads(text, fmt=plistlib.FMT_XML)
    except MemoryError:
        raise
    except Exception as error:  # expat, plistlib and its converters raise many kinds
        raise _broken(path, "be a whole XML property list without entities") from error
    images = content.get("Images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise _broken(path, "have Images")
    rois: list[_Roi] = []
    indices: list[int] = []
    num_points = 0
    for image in images:
        members = image.get("ROIs") if isinstance(image, dict) else None
        if not isinstance(members, list):
            raise _broken(path, "have ROIs in each of its Images")
        if image.get("NumberOfROIs", len(members)) != len(members):
            raise _broken(path, "have as many ROIs as NumberOfROIs says")
        if members:
            indices.append(_index(image.get("ImageIndex"), path))
        for member in members:
            rois.append(_roi(member, indices[-1], path))
            num_points += len(rois[-1].points_xy_px)
            if len(rois) > MAX_OUTLINES or num_points > MAX_POINTS:
                raise InputError(
                    "BUDGET",
                    f"a file may have {MAX_OUTLINES} ROIs with {MAX_POINTS} points.",
                    path=path,
                    hint="Export the ROIs of one scan.",
                )
    return rois, len(indices) - len(set(indices))


def _index(value: Any, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _broken(path, "have an ImageIndex of at least 0 where there are ROIs")
    return value


def _roi(member: Any, image_index: int, path: Path) -> _Roi:
    if not isinstance(member, dict):
        raise _broken(path, "have ROIs that are dictionaries")
    points = _points(member.get("Point_px"), 2, path)
    if member.get("NumberOfPoints", len(points)) != len(points):
        raise _broken(path, "have as many points as NumberOfPoints says")
    points_mm = None
    if member.get("Point_mm"):
        points_mm = _points(member["Point_mm"], 3, path)
        if len(points_mm) != len(points):
            raise _broken(path, "have a Point_mm for each Point_px")
    maximum = member.get("Max")
    return _Roi(
        name=str(member.get("Name") or "")[:200].strip(),
        image_index=image_index,
        points_xy_px=points,
        points_xyz_mm=points_mm,
        sop_uid=str(member.get("SOPInstanceUID") or ""),
        maximum_hu=float(maximum) if isinstance(maximum, int | float) else math.nan,
    )


def _points(value: Any, count: int, path: Path) -> FloatArray:
    """Return "(x, y)" texts as numbers; nothing in them is evaluated (C12)."""
    form = re.compile(r"\s*[({]" + ",".join([_NUMBER] * count) + r"[)}]\s*")
    if not isinstance(value, list):
        raise _broken(path, "have Point_px in each ROI")
    rows = []
    for text in value:
        match = form.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InputError(
                "LABEL_POINTS",
                f"a point must be {count} numbers in brackets, such as (1.5, 2).",
                path=path,
                hint="Export the ROIs again.",
            )
        rows.append([float(number) for number in match.groups()])
    points = np.array(rows, dtype=np.float64).reshape(len(rows), count)
    if not np.isfinite(points).all():
        raise InputError(
            "LABEL_POINTS",
            "a point must be finite numbers.",
            path=path,
            hint="Export the ROIs again.",
        )
    return points


_Placed = tuple[list[NamedOutline], list[float], str]
"""Outlines in their slices, the largest HU within each, by what they were placed."""


def _place(rois: Sequence[_Roi], volume: Volume, path: Path) -> _Placed:
    by_mm = [_by_millimetres(roi, volume) for roi in rois]
    placed = [outline for outline in by_mm if outline is not None]
    if len(placed) == len(rois):
        return _measured(placed, volume, "by their millimetres")
    slices = {frame.sop_instance_uid: z for z, frame in enumerate(volume.frames)}
    if all(roi.sop_uid in slices for roi in rois):
        by_uid = [_outline(roi, slices[roi.sop_uid]) for roi in rois]
        return _measured(by_uid, volume, "by the UID of their slices")
    return _by_index(rois, volume, path)


def _measured(outlines: list[NamedOutline], volume: Volume, how: str) -> _Placed:
    maxima = [
        _maximum_hu(fill_outline(o.points_yx, volume.shape[1:]), volume.array[o.z])
        for o in outlines
    ]
    return outlines, maxima, f"The ROIs were placed {how}."


def _outline(roi: _Roi, z: int) -> NamedOutline:
    return NamedOutline(roi.name, z, roi.points_xy_px[:, ::-1])


def _by_millimetres(roi: _Roi, volume: Volume) -> NamedOutline | None:
    """Return a ROI placed by ``Point_mm``, None where that contradicts ``Point_px``."""
    if roi.points_xyz_mm is None:
        return None
    index = volume.geometry.mm_to_index(roi.points_xyz_mm)
    z = np.rint(index[0, 0])
    off_px = np.abs(index[:, 1:] - roi.points_xy_px[:, ::-1]).max()
    if (
        not 0 <= z < volume.shape[0]
        or np.abs(index[:, 0] - z).max() > SLICE_LIMIT
        or off_px > PIXEL_LIMIT
    ):
        return None
    return NamedOutline(roi.name, int(z), index[:, 1:])


def _by_index(rois: Sequence[_Roi], volume: Volume, path: Path) -> _Placed:
    """Return the ROIs placed from the end of the scan where they lie on calcium."""
    last = volume.shape[0] - 1
    highest = max(roi.image_index for roi in rois)
    if highest > last:
        raise InputError(
            "LABEL_POINTS",
            f"ImageIndex must be below the scan's {last + 1} slices; it is {highest}.",
            path=path,
            hint="See that the ROIs were drawn on this very series.",
        )
    ends: tuple[tuple[str, Callable[[int], int]], ...] = (
        ("caudal", lambda index: index),
        ("cranial", lambda index: last - index),
    )
    filled = [fill_outline(r.points_xy_px[:, ::-1], volume.shape[1:]) for r in rois]
    tried = []
    for end, slice_of in ends:
        outlines = [_outline(roi, slice_of(roi.image_index)) for roi in rois]
        maxima = [
            _maximum_hu(fill, volume.array[outline.z])
            for fill, outline in zip(filled, outlines, strict=True)
        ]
        on_calcium = sum(hu >= AGATSTON_THRESHOLD_HU for hu in maxima)
        as_stated = sum(
            abs(hu - roi.maximum_hu) <= 1 for hu, roi in zip(maxima, rois, strict=True)
        )
        tried.append(((on_calcium, as_stated), end, outlines, maxima))
    (count, end, outlines, maxima), (other, _, others, _) = sorted(
        tried, key=lambda item: item[0], reverse=True
    )
    same = all(a.z == b.z for a, b in zip(outlines, others, strict=True))
    if count == other and not same:
        raise InputError(
            "LABEL_ORDER",
            "ImageIndex must count from the end at which the outlines lie on calcium; "
            f"from either end {count[0]} of {len(rois)} do.",
            path=path,
            hint="Export the ROIs with their points in mm.",
        )
    message = f"ImageIndex was found to count from the {end} end of the scan."
    return outlines, maxima, message


def _maximum_hu(
    filled: tuple[tuple[int, int], npt.NDArray[np.bool_]], plane: npt.NDArray[Any]
) -> float:
    """Return the largest HU within a filled outline, minus infinity for no pixel."""
    (row, column), inside = filled
    window = plane[row : row + inside.shape[0], column : column + inside.shape[1]]
    return float(window[inside].max()) if inside.any() else -math.inf


def _refuse_misplaced(maxima: Sequence[float], path: Path) -> None:
    """Refuse outlines of which fewer than half lie on calcium."""
    num_good = sum(hu >= AGATSTON_THRESHOLD_HU for hu in maxima)
    if 2 * num_good < len(maxima):
        raise InputError(
            "LABEL_MISPLACED",
            f"at least half of the outlines must hold a voxel of "
            f"{AGATSTON_THRESHOLD_HU} HU; {num_good} of {len(maxima)} do, so they "
            "belong to another scan or another order of slices.",
            path=path,
            hint="See that the ROIs were drawn on this very series.",
        )


def _broken(path: Path, rule: str) -> InputError:
    return InputError(
        "LABEL_BROKEN",
        f"a property list of ROIs must {rule}.",
        path=path,
        hint="Export the ROIs again.",
    )
