"""Positions of slices in order: whether they run straight, upright and evenly.

What does not is refused by name (faults A1, A6, A7, A10, A11), or reported where the
caller allows its correction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kcalc.errors import GeometryError
from kcalc.io.grid_corrections import (
    OBLIQUE_LIMIT_DEG,
    TILT_LIMIT_DEG,
    GridCorrections,
)
from kcalc.slices import REGULAR_LIMIT_FRACTION, REGULAR_LIMIT_MM
from kcalc.volume import Finding, GridCorrection

MAX_TILT_DEG = 35.0
"""Gantries tilt by 30 degrees at most; more is another fault than a tilt."""
MAX_GAP_RATIO = 3.0
"""Widest gap, in median spacings, that resampling bridges."""

_Vector = npt.NDArray[np.float64]


class Tilt(NamedTuple):
    """How the positions run: their direction per mm along the normal."""

    direction: _Vector
    corrected: bool
    findings: list[Finding]


class Line(NamedTuple):
    """The regular slices that are wanted, along the normal."""

    start_mm: float
    spacing_mm: float
    num_slices: int
    steps: tuple[GridCorrection, ...]
    findings: list[Finding]


def check_tilt(
    positions: _Vector, normal: _Vector, path: Path, *, allowed: bool
) -> Tilt:
    """Refuse positions that do not run along the normal (A7); note a small tilt.

    Args:
        positions: (n, 3) LPS mm, ascending along the normal.
        normal: Unit vector across the slices.
        path: The input, for messages.
        allowed: Whether a gantry tilt is to be sheared away.

    Raises:
        GeometryError: ``GEOM_TILT``, or ``GEOM_SHIFT`` for a slice off the line.
    """
    along = positions @ normal
    centred = along - along.mean()
    direction = centred @ (positions - positions.mean(axis=0)) / (centred @ centred)
    sideways = direction - (direction @ normal) * normal
    tilt_deg = math.degrees(math.atan2(float(np.linalg.norm(sideways)), 1.0))
    gaps = np.diff(along)
    tilted = tilt_deg > TILT_LIMIT_DEG
    if tilted and not (allowed and tilt_deg <= MAX_TILT_DEG):
        raise _tilt(tilt_deg, gaps, path)
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
    findings = []
    if tilted:
        message = (
            f"The gantry was tilted by {tilt_deg:.1f} degrees; the slices were sheared "
            "onto an orthogonal grid, as the caller asked."
        )
        findings.append(Finding("GEOM_TILT", message, "correction"))
    elif shift_mm > 0.01:
        message = (
            f"A tilt of {tilt_deg:.2f} degrees was accepted; positions at the ends are "
            f"up to {shift_mm:.2f} mm off in the plane."
        )
        findings.append(Finding("GEOM_TILT", message, "note"))
    unit = direction / np.linalg.norm(direction)
    return Tilt(np.asarray(unit), tilted, findings)


def fit_spacing(
    along: _Vector, names: Sequence[str], path: Path, corrections: GridCorrections
) -> Line:
    """Return the regular grid of slices along the normal.

    Refuses a missing slice (A1) and a spacing that changes (A6) unless their
    correction is allowed; deviations of rounding are accepted (A11).

    Args:
        along: (n,) positions in mm, ascending.
        names: File names of the slices, for messages.
        path: The input, for messages.
        corrections: What the caller allows.

    Raises:
        GeometryError: ``GEOM_GAP`` or ``GEOM_UNEVEN``.
    """
    gaps = np.diff(along)
    median = float(np.median(gaps))
    usual = np.abs(gaps - median) <= _tolerance_mm(median)
    nominal = median if usual.sum() * 2 > len(gaps) else float(np.min(gaps))
    steps = np.maximum(1, np.rint(gaps / nominal)).astype(int)
    index = np.concatenate([[0], np.cumsum(steps)])
    spacing, start = (float(value) for value in np.polyfit(index, along, 1))
    off_mm = float(np.abs(along - (start + spacing * index)).max())
    regular = off_mm <= _tolerance_mm(spacing)
    holes = np.flatnonzero(steps > 1)
    even = round(start, 9), round(spacing, 9)
    if regular and holes.size == 0:
        return Line(*even, len(along), (), [])
    if regular and holes.size <= max(1, len(gaps) // 4):
        missing = int((steps - 1).sum())
        if missing > corrections.allow_gap:
            raise _gap(int(holes[0]), missing, spacing, along, names, path)
        first, last = (float(along[holes[0]]), float(along[holes[-1] + 1]))
        message = (
            f"{missing} missing of {int(index[-1]) + 1} slices, between {first:.2f} "
            f"and {last:.2f} mm, were interpolated, as the caller allowed: calcium "
            "there is a guess."
        )
        finding = Finding("GEOM_GAP", message, "warning")
        return Line(*even, int(index[-1]) + 1, ("gap filled",), [finding])
    if not corrections.resample or float(gaps.max()) > MAX_GAP_RATIO * median:
        raise _uneven(gaps, nominal, median, path, asked=corrections.resample)
    length = float(along[-1] - along[0])
    num_steps = max(1, round(length / median))
    message = (
        f"The slice spacing is not uniform ({_runs(gaps)}); the slices were resampled "
        f"every {length / num_steps:.3f} mm. A score of it is not a standard one."
    )
    finding = Finding("GEOM_RESAMPLED", message, "warning")
    start = round(float(along[0]), 9)
    return Line(start, length / num_steps, num_steps + 1, ("resampled",), [finding])


def check_obliqueness(
    direction: _Vector, path: Path, *, resample: bool = False
) -> tuple[bool, list[Finding]]:
    """Refuse or report slices that are not axial (A10).

    Args:
        direction: Unit vector along which the slices are stacked, LPS (x, y, z).
        path: The input, for messages.
        resample: Whether slices that are not axial are to be turned.

    Returns:
        Whether they are to be turned, and what there is to say.

    Raises:
        GeometryError: ``GEOM_ORIENT`` from ``OBLIQUE_LIMIT_DEG`` on.
    """
    angle_deg = math.degrees(math.acos(min(1.0, abs(float(direction[2])))))
    if angle_deg < 0.1:
        return False, []
    if angle_deg < OBLIQUE_LIMIT_DEG:
        message = f"The slices are {angle_deg:.2f} degrees off axial."
        return False, [Finding("GEOM_OBLIQUE", message, "warning")]
    if not resample:
        raise GeometryError(
            "GEOM_ORIENT",
            f"slices must be axial within {OBLIQUE_LIMIT_DEG:g} degrees; these are "
            f"turned by {angle_deg:.1f} degrees.",
            path=path,
            hint="Use the axial reconstruction, with its slices along the third axis, "
            "or turn these with resample=True (--resample); a score is then not a "
            "standard one.",
        )
    message = (
        f"The slices are {angle_deg:.1f} degrees off axial; they were turned onto an "
        "axial grid, as the caller asked. A score of it is not a standard one."
    )
    return True, [Finding("GEOM_RESAMPLED", message, "warning")]


def _tilt(tilt_deg: float, gaps: _Vector, path: Path) -> GeometryError:
    """Return the refusal of a tilted gantry."""
    uneven = ""
    if np.ptp(gaps) > _tolerance_mm(float(np.median(gaps))):
        uneven = (
            f" Its spacing is not uniform either: {np.min(gaps):.3f} to "
            f"{np.max(gaps):.3f} mm."
        )
    untilt = " or shear it away with untilt=True (--untilt)"
    return GeometryError(
        "GEOM_TILT",
        f"slices must be stacked along their normal within {TILT_LIMIT_DEG} "
        f"degrees; this gantry was tilted by {tilt_deg:.1f} degrees.{uneven}",
        path=path,
        hint="Use a series scanned or reconstructed without tilt"
        f"{untilt if tilt_deg <= MAX_TILT_DEG else ''}.",
    )


def _gap(
    hole: int,
    missing: int,
    spacing: float,
    along: _Vector,
    names: Sequence[str],
    path: Path,
) -> GeometryError:
    """Return the refusal of missing slices."""
    return GeometryError(
        "GEOM_GAP",
        f"slices must follow each other every {spacing:.3f} mm; {missing} "
        f"missing, the first between {along[hole]:.2f} mm "
        f"({names[hole]}) and {along[hole + 1]:.2f} mm "
        f"({names[hole + 1]}), a gap of {along[hole + 1] - along[hole]:.2f} mm.",
        path=path,
        hint="Fetch the missing slices from the archive, or have them interpolated "
        f"with allow_gap={missing} (--allow-gap {missing}).",
    )


def _uneven(
    gaps: _Vector, nominal: float, median: float, path: Path, *, asked: bool
) -> GeometryError:
    """Return the refusal of a spacing that changes."""
    too_wide = float(gaps.max()) > MAX_GAP_RATIO * median
    bridged = f"No gap above {MAX_GAP_RATIO:g} x the median spacing is resampled"
    return GeometryError(
        "GEOM_UNEVEN",
        "the slice spacing must be uniform within "
        f"{_tolerance_mm(nominal):.2f} mm; received {_runs(gaps)}."
        + (f" {bridged}, which is {median:.3f} mm." if asked else ""),
        path=path,
        hint="Give one reconstruction with one spacing"
        + (
            "."
            if too_wide
            else ", or resample it with resample=True (--resample); a score is then "
            "not a standard one."
        ),
    )


def _tolerance_mm(spacing_mm: float) -> float:
    """Return how far a slice may lie off the fitted grid, in mm (A11)."""
    return max(REGULAR_LIMIT_MM, REGULAR_LIMIT_FRACTION * spacing_mm)


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
