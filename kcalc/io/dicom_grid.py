"""The regular grid of a series: headers enter, sorted headers and a grid leave.

Every slice must lie on one regular grid. What breaks it is refused by name (faults
A1 to A18) unless the caller allows its correction: nothing is guessed from
SliceThickness, SpacingBetweenSlices or InstanceNumber.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kcalc.errors import GeometryError
from kcalc.io.dicom_header import SliceHeader
from kcalc.io.grid_corrections import NO_CORRECTION, FittedGrid, GridCorrections
from kcalc.io.series_files import PHASE_UNITS, phase_words
from kcalc.io.slice_positions import check_obliqueness, check_tilt, fit_spacing
from kcalc.regrid import upright_grid
from kcalc.slices import SliceStack
from kcalc.volume import Finding

DUPLICATE_LIMIT_MM = 0.01

_AGAIN = "Fetch the series again from its archive."
_PHASE_KEYWORDS = (
    *("AcquisitionNumber", "TriggerTime", "NominalPercentageOfCardiacPhase"),
    *("TemporalPositionIdentifier", "ConvolutionKernel", "SliceThickness", "KVP"),
    *("ImageType", "ContrastBolusAgent", "ReconstructionDiameter", "AcquisitionTime"),
)

_Vector = npt.NDArray[np.float64]


def fit_grid(
    headers: Sequence[SliceHeader],
    path: Path,
    *,
    axial: bool,
    corrections: GridCorrections = NO_CORRECTION,
) -> tuple[list[SliceHeader], FittedGrid, list[Finding]]:
    """Return the slices in order along the normal, their grid, and findings.

    Args:
        headers: The slices of one series, in any order.
        path: The input, for messages.
        axial: Whether slices ``OBLIQUE_LIMIT_DEG`` or more off axial are refused.
        corrections: What the caller allows to be corrected.

    Returns:
        The headers sorted by position along row direction x column direction, the
        grid, and what there is to say of it.

    Raises:
        GeometryError: ``GEOM_SHAPE``, ``GEOM_SPACING``, ``GEOM_POSITION``,
            ``GEOM_ORIENT``, ``GEOM_FRAME``, ``GEOM_SINGLE``, ``GEOM_DUP``,
            ``GEOM_TILT``, ``GEOM_SHIFT``, ``GEOM_GAP`` or ``GEOM_UNEVEN``.
    """
    shape_yx = _common_shape(headers)
    if len(headers) == 1:
        raise GeometryError(
            "GEOM_SINGLE",
            "a volume needs at least 2 slices, because the slice spacing comes from "
            "their positions; received 1.",
            path=path,
            hint="Give the folder of the whole series.",
        )
    spacing_yx = _common_spacing(headers)
    row, column = _common_orientation(headers)
    _refuse_mixed_frames(headers, path)
    normal = np.cross(row, column)
    positions = np.array([_position(header) for header in headers])
    order = np.argsort(positions @ normal, kind="stable")
    ordered = [headers[k] for k in order]
    positions = positions[order]
    along = positions @ normal
    _refuse_duplicates(ordered, along, path)
    tilt = check_tilt(positions, normal, path, allowed=corrections.untilt)
    names = [header.path.name for header in ordered]
    line = fit_spacing(along, names, path, corrections)
    findings = [*tilt.findings, *line.findings]
    to_axial = False
    if axial:
        stacked_along = tilt.direction if tilt.corrected else normal
        to_axial, notes = check_obliqueness(
            stacked_along, path, resample=corrections.resample
        )
        findings += notes
    if not tilt.corrected:
        across = positions - along[:, None] * normal
        positions = along[:, None] * normal + (across[0] + across[-1]) / 2
    stack = SliceStack(positions, spacing_yx[0] * column, spacing_yx[1] * row, shape_yx)
    grid = FittedGrid(
        stack,
        upright_grid(stack, line.start_mm, line.spacing_mm, line.num_slices),
        steps=(*(("untilted",) if tilt.corrected else ()), *line.steps),
        to_axial=to_axial,
    )
    return ordered, grid, findings


def _common_shape(headers: Sequence[SliceHeader]) -> tuple[int, int]:
    """Return Rows and Columns, the same in every slice."""
    first = headers[0]
    for header in headers:
        rows, columns = (header.integers.get(k, 0) for k in ("Rows", "Columns"))
        if rows < 1 or columns < 1:
            raise GeometryError(
                "GEOM_SHAPE",
                f"Rows and Columns must be positive; received {rows} and {columns}.",
                path=header.path,
                hint=_AGAIN,
            )
        expected = (first.integers["Rows"], first.integers["Columns"])
        if (rows, columns) != expected:
            raise GeometryError(
                "GEOM_SHAPE",
                f"all slices must have one size; {first.path.name} has {expected} "
                f"rows and columns, {header.path.name} ({rows}, {columns}).",
                path=header.path,
                hint="Give one reconstruction alone.",
            )
    return first.integers["Rows"], first.integers["Columns"]


def _common_spacing(headers: Sequence[SliceHeader]) -> tuple[float, float]:
    """Return PixelSpacing (row, column) in mm, the same in every slice."""
    first = headers[0].numbers("PixelSpacing")
    for header in headers:
        values = header.numbers("PixelSpacing")
        good = len(values) == 2 and all(math.isfinite(v) and v > 0 for v in values)
        if not good:
            received = header.get("PixelSpacing")[:40] or "nothing"
            raise GeometryError(
                "GEOM_SPACING",
                "PixelSpacing must be two positive numbers in mm; received "
                f"{received!r}.",
                path=header.path,
                hint=_AGAIN,
            )
        if not np.allclose(values, first, rtol=1e-4, atol=0.0):
            raise GeometryError(
                "GEOM_SPACING",
                "PixelSpacing must be the same in all slices; received "
                f"{list(first)} mm in {headers[0].path.name} and {list(values)} mm.",
                path=header.path,
                hint="Give one reconstruction alone.",
            )
    return first[0], first[1]


def _common_orientation(headers: Sequence[SliceHeader]) -> tuple[_Vector, _Vector]:
    """Return the unit row and column directions, the same in every slice."""
    first: _Vector | None = None
    for header in headers:
        values = header.numbers("ImageOrientationPatient")
        if len(values) != 6 or not np.isfinite(values).all():
            raise _no_position(header, "ImageOrientationPatient")
        pair = np.array(values).reshape(2, 3)
        lengths = np.linalg.norm(pair, axis=1)
        if np.abs(lengths - 1).max() > 0.01 or abs(pair[0] @ pair[1]) > 0.01:
            raise GeometryError(
                "GEOM_ORIENT",
                "ImageOrientationPatient must be two orthogonal unit vectors; "
                f"received {list(values)}.",
                path=header.path,
                hint=_AGAIN,
            )
        pair /= lengths[:, None]
        if first is None:
            first = pair
        elif np.abs(pair - first).max() > 1e-3:
            raise GeometryError(
                "GEOM_ORIENT",
                "all slices must have one orientation; "
                f"{headers[0].path.name} and {header.path.name} differ.",
                path=header.path,
                hint="Give the axial slices alone.",
            )
    if first is None:
        raise ValueError("headers must not be empty.")
    column = first[1] - (first[1] @ first[0]) * first[0]
    return first[0], column / np.linalg.norm(column)


def _refuse_mixed_frames(headers: Sequence[SliceHeader], path: Path) -> None:
    """Refuse slices of two frames of reference (A19)."""
    frames = {header.get("FrameOfReferenceUID") for header in headers}
    if len(frames) > 1:
        raise GeometryError(
            "GEOM_FRAME",
            "all slices must share one FrameOfReferenceUID; received "
            f"{len(frames)} of them.",
            path=path,
            hint="Give one acquisition alone.",
        )


def _position(header: SliceHeader) -> tuple[float, ...]:
    """Return ImagePositionPatient in mm."""
    values = header.numbers("ImagePositionPatient")
    if len(values) != 3 or not np.isfinite(values).all():
        raise _no_position(header, "ImagePositionPatient")
    return values


def _no_position(header: SliceHeader, keyword: str) -> GeometryError:
    """Return the refusal of a slice without a usable position or orientation."""
    received = header.get(keyword)[:60] or "nothing"
    return GeometryError(
        "GEOM_POSITION",
        f"every slice needs {keyword}; received {received!r}.",
        path=header.path,
        hint="Use the scanner's own series, or state the slice spacing with "
        "assume_spacing_mm= (--assume-spacing).",
    )


def _refuse_duplicates(
    ordered: Sequence[SliceHeader], along: _Vector, path: Path
) -> None:
    """Refuse two slices at one position (A3)."""
    close = np.flatnonzero(np.diff(along) < DUPLICATE_LIMIT_MM)
    if close.size == 0:
        return
    one, other = ordered[close[0]], ordered[close[0] + 1]
    differing = [k for k in _PHASE_KEYWORDS if one.get(k) != other.get(k)]
    raise GeometryError(
        "GEOM_DUP",
        f"every position must occur once; {close.size} occur twice, the first at "
        f"{along[close[0]]:.2f} mm along the normal ({one.path.name} and "
        f"{other.path.name}). They differ in "
        f"{', '.join(differing) or 'none of the tags that tell phases apart'}.",
        path=path,
        hint="Give one reconstruction alone"
        + (
            f", or choose one {phase_words(ordered)} with phase= (--phase)."
            if any(keyword in PHASE_UNITS for keyword in differing)
            else "."
        ),
    )
