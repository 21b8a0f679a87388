"""The regular grid of a series: headers enter, sorted headers and a Geometry leave.

Every slice must lie on one regular grid. What breaks it is refused by name (faults
A1 to A18): nothing is guessed from SliceThickness, SpacingBetweenSlices or
InstanceNumber.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kcalc.errors import GeometryError
from kcalc.geometry import Geometry
from kcalc.io.dicom_header import SliceHeader
from kcalc.volume import Finding

TILT_LIMIT_DEG = 0.5
"""Largest angle between the slice normal and the line of the positions (A7)."""
OBLIQUE_LIMIT_DEG = 5.0
"""Largest angle between the slice normal and the body axis for a CT score (A10)."""
POSITION_LIMIT_MM = 0.1
POSITION_LIMIT_FRACTION = 0.03
"""Allowed deviation from the fitted grid: the larger of the two (A11)."""
DUPLICATE_LIMIT_MM = 0.01

_AGAIN = "Fetch the series again from its archive."
_PHASE_KEYWORDS = (
    *("AcquisitionNumber", "TriggerTime", "NominalPercentageOfCardiacPhase"),
    *("TemporalPositionIdentifier", "ConvolutionKernel", "SliceThickness", "KVP"),
    *("ImageType", "ContrastBolusAgent", "ReconstructionDiameter", "AcquisitionTime"),
)

_Vector = npt.NDArray[np.float64]


def fit_grid(
    headers: Sequence[SliceHeader], path: Path, *, axial: bool
) -> tuple[list[SliceHeader], Geometry, list[Finding]]:
    """Return the slices in order along the normal, their grid, and findings.

    Args:
        headers: The slices of one series, in any order.
        path: The input, for messages.
        axial: Whether slices more than ``OBLIQUE_LIMIT_DEG`` off axial are refused.

    Returns:
        The headers sorted by position along row direction x column direction, the
        grid, and notes on tilt and obliqueness that were accepted.

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
    findings = _check_tilt(positions, along, normal, path)
    start, step = _fit_spacing(ordered, along, path)
    if axial:
        findings += check_obliqueness(normal, path)
    across = positions - along[:, None] * normal
    affine = np.eye(4)
    affine[:3, 0] = step * normal
    affine[:3, 1] = spacing_yx[0] * column
    affine[:3, 2] = spacing_yx[1] * row
    affine[:3, 3] = start * normal + (across[0] + across[-1]) / 2
    return ordered, Geometry((len(ordered), *shape_yx), affine), findings


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
        hint="kcalc does not assume a spacing; use the scanner's own series.",
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
        hint="Give one reconstruction or one phase alone.",
    )


def _check_tilt(
    positions: _Vector, along: _Vector, normal: _Vector, path: Path
) -> list[Finding]:
    """Refuse positions that do not run along the normal (A7); note a small tilt."""
    centred = along - along.mean()
    direction = centred @ (positions - positions.mean(axis=0)) / (centred @ centred)
    sideways = direction - (direction @ normal) * normal
    tilt_deg = math.degrees(math.atan2(float(np.linalg.norm(sideways)), 1.0))
    gaps = np.diff(along)
    if tilt_deg > TILT_LIMIT_DEG:
        uneven = ""
        if np.ptp(gaps) > _tolerance_mm(float(np.median(gaps))):
            uneven = (
                f" Its spacing is not uniform either: {np.min(gaps):.3f} to "
                f"{np.max(gaps):.3f} mm."
            )
        raise GeometryError(
            "GEOM_TILT",
            f"slices must be stacked along their normal within {TILT_LIMIT_DEG} "
            f"degrees; this gantry was tilted by {tilt_deg:.1f} degrees.{uneven}",
            path=path,
            hint="Use a series scanned or reconstructed without tilt.",
        )
    fitted = positions.mean(axis=0) + centred[:, None] * direction
    off_mm = np.linalg.norm(positions - fitted, axis=1)
    worst = int(np.argmax(off_mm))
    if off_mm[worst] > _tolerance_mm(float(np.median(gaps))) and len(along) > 2:
        raise GeometryError(
            "GEOM_SHIFT",
            "slices must lie over one another; the one at "
            f"{along[worst]:.2f} mm is {off_mm[worst]:.2f} mm off the line.",
            path=path,
            hint="Give one reconstruction alone.",
        )
    shift_mm = float(np.linalg.norm(sideways)) * float(np.ptp(along)) / 2
    if shift_mm <= 0.01:
        return []
    message = (
        f"A tilt of {tilt_deg:.2f} degrees was accepted; positions at the ends are "
        f"up to {shift_mm:.2f} mm off in the plane."
    )
    return [Finding("GEOM_TILT", message, "note")]


def _fit_spacing(
    ordered: Sequence[SliceHeader], along: _Vector, path: Path
) -> tuple[float, float]:
    """Return first position and spacing of the regular grid, in mm.

    Refuses a missing slice (A1) and a spacing that changes (A6); deviations of
    rounding are accepted (A11).
    """
    gaps = np.diff(along)
    median = float(np.median(gaps))
    usual = np.abs(gaps - median) <= _tolerance_mm(median)
    nominal = median if usual.sum() * 2 > len(gaps) else float(np.min(gaps))
    steps = np.maximum(1, np.rint(gaps / nominal)).astype(int)
    index = np.concatenate([[0], np.cumsum(steps)])
    spacing, start = np.polyfit(index, along, 1)
    off_mm = float(np.abs(along - (start + spacing * index)).max())
    regular = off_mm <= _tolerance_mm(float(spacing))
    holes = np.flatnonzero(steps > 1)
    if regular and holes.size == 0:
        return round(float(start), 9), round(float(spacing), 9)
    if regular and holes.size <= max(1, len(gaps) // 4):
        hole = int(holes[0])
        missing = int((steps - 1).sum())
        raise GeometryError(
            "GEOM_GAP",
            f"slices must follow each other every {spacing:.3f} mm; {missing} "
            f"missing, the first between {along[hole]:.2f} mm "
            f"({ordered[hole].path.name}) and {along[hole + 1]:.2f} mm "
            f"({ordered[hole + 1].path.name}), a gap of {gaps[hole]:.2f} mm.",
            path=path,
            hint="Fetch the missing slices from the archive.",
        )
    raise GeometryError(
        "GEOM_UNEVEN",
        "the slice spacing must be uniform within "
        f"{_tolerance_mm(nominal):.2f} mm; received {_runs(gaps)}.",
        path=path,
        hint="Give one reconstruction with one spacing.",
    )


def _tolerance_mm(spacing_mm: float) -> float:
    """Return how far a slice may lie off the fitted grid, in mm (A11)."""
    return max(POSITION_LIMIT_MM, POSITION_LIMIT_FRACTION * spacing_mm)


def _runs(gaps: _Vector) -> str:
    """Return runs of equal spacing in words, at most six of them."""
    runs: list[list[float]] = []
    for gap in gaps:
        if runs and abs(runs[-1][1] - gap) < 0.02:
            runs[-1][0] += 1
        else:
            runs.append([1, float(gap)])
    words = [f"{int(count)} x {gap:.3f} mm" for count, gap in runs[:6]]
    return ", ".join(words) + (", ..." if len(runs) > 6 else "")


def check_obliqueness(normal: _Vector, path: Path) -> list[Finding]:
    """Refuse or report slices that are not axial (A10).

    Args:
        normal: Unit vector across the slices, LPS (x, y, z).
        path: The input, for messages.

    Raises:
        GeometryError: ``GEOM_ORIENT`` from ``OBLIQUE_LIMIT_DEG`` on.
    """
    angle_deg = math.degrees(math.acos(min(1.0, abs(float(normal[2])))))
    if angle_deg < 0.1:
        return []
    if angle_deg >= OBLIQUE_LIMIT_DEG:
        raise GeometryError(
            "GEOM_ORIENT",
            f"slices must be axial within {OBLIQUE_LIMIT_DEG:g} degrees; these are "
            f"turned by {angle_deg:.1f} degrees.",
            path=path,
            hint="Use the axial reconstruction, with its slices along the third axis.",
        )
    message = f"The slices are {angle_deg:.2f} degrees off axial."
    return [Finding("GEOM_OBLIQUE", message, "warning")]
