"""Outlines drawn round calcium become labelled voxels.

People outline calcium generously and cut at 130 HU afterwards (Bortsova 2017, section
3.1, for the intracranial carotid; Stanford COCA for the coronaries).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kcalc.errors import InputError
from kcalc.volume import Finding

MAX_OUTLINES = 10_000
MAX_POINTS = 1_000_000
"""Points of all outlines of one file."""
MAX_PIXELS = 1 << 26
"""Pixels in the bounding boxes of all outlines of one file."""
MAX_CROSSINGS = 1 << 21
"""Crossings of edges with rows of pixels of one file; an outline has two a row."""
OUTSIDE_LIMIT_PX = 1.0
"""How far a point may lie outside the image, as on the outer edge of a pixel."""
_EPSILON = 1e-6

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outline:
    """A closed outline in one slice.

    Args:
        region: Number of the region it belongs to.
        z: Index of its slice.
        points_yx: (n, 2) fractional indices; whole numbers are voxel centres.
        exclusive: Whether it turns what lies in it round (``CLOSEDPLANAR_XOR``);
            else an outline within another one of its region is a hole.
    """

    region: int
    z: int
    points_yx: FloatArray
    exclusive: bool = False


def paint_outlines(
    outlines: Sequence[Outline],
    labels: Mapping[int, int],
    shape_zyx: tuple[int, int, int],
    path: Path,
) -> tuple[npt.NDArray[np.uint8], list[Finding]]:
    """Return a label map, (z, y, x), of the voxels within outlines.

    A voxel whose centre lies within an outline or on it is labelled. Outlines of fewer
    than three points enclose nothing and are left out; a voxel in two regions gets the
    smaller label. Both are told in the findings.

    Args:
        outlines: In the scan's slices.
        labels: Label of each region; 0 leaves it out.
        shape_zyx: The scan's.
        path: The file, for messages.

    Raises:
        InputError: ``BUDGET``, more points or pixels than an annotation has;
            ``LABEL_POINTS``, a point is no number or lies outside the image.
    """
    drawn = [o for o in outlines if labels.get(o.region) and len(o.points_yx) >= 3]
    num_small = sum(len(o.points_yx) < 3 for o in outlines if labels.get(o.region))
    check_outlines(drawn, shape_zyx, path)
    regions: dict[tuple[int, int], list[Outline]] = {}
    for outline in drawn:
        regions.setdefault((outline.z, outline.region), []).append(outline)
    array = np.zeros(shape_zyx, np.uint8)
    num_contested = num_holes = num_empty = 0
    for (z, region), members in regions.items():
        mask, holes, empty = _fill_region(members, shape_zyx[1:])
        num_holes, num_empty = num_holes + holes, num_empty + empty
        plane, label = array[z], labels[region]
        before = plane[mask]
        num_contested += int(np.count_nonzero((before > 0) & (before != label)))
        plane[mask] = np.where(before > 0, np.minimum(before, label), label)
    return array, _notes(num_small + num_empty, num_holes, num_contested)


def _notes(num_left_out: int, num_holes: int, num_contested: int) -> list[Finding]:
    findings = []
    if num_left_out:
        message = (
            f"Outlines that enclose no voxel and were left out: {num_left_out} (fewer "
            "than three points, or too small)."
        )
        findings.append(Finding("LABEL_SKIPPED", message, "warning"))
    if num_holes:
        message = (
            f"Outlines within another of their region, taken as holes: {num_holes}."
        )
        findings.append(Finding("LABEL_HOLES", message, "note"))
    if num_contested:
        message = (
            f"Voxels within outlines of two vessels: {num_contested}; they were given "
            "to the vessel of the smaller number."
        )
        findings.append(Finding("LABEL_OVERLAP", message, "warning"))
    return findings


def check_outlines(
    outlines: Sequence[Outline], shape_zyx: tuple[int, int, int], path: Path
) -> None:
    """Refuse points that cannot be, and more work than an annotation makes (C12).

    Raises:
        InputError: ``LABEL_POINTS`` or ``BUDGET``, as for :func:`paint_outlines`.
    """
    num_points = sum(len(outline.points_yx) for outline in outlines)
    if len(outlines) > MAX_OUTLINES or num_points > MAX_POINTS:
        raise _too_much(path, f"{len(outlines)} outlines with {num_points} points")
    last = np.array(shape_zyx[1:]) - 1 + OUTSIDE_LIMIT_PX
    num_pixels = num_crossings = 0
    for outline in outlines:
        points = outline.points_yx
        fits = np.isfinite(points).all() and 0 <= outline.z < shape_zyx[0]
        if not (
            fits and (points >= -OUTSIDE_LIMIT_PX).all() and (points <= last).all()
        ):
            raise InputError(
                "LABEL_POINTS",
                f"every point must lie in the scan of {shape_zyx} voxels (z, y, x); "
                f"those of region {outline.region} in slice {outline.z} do not.",
                path=path,
                hint="See that the outlines were drawn on this very series.",
            )
        height, width = np.ptp(points, axis=0) + 2
        num_pixels += int(height * width)
        num_crossings += int(np.abs(np.diff(points[:, 0])).sum())
    if num_pixels > MAX_PIXELS or num_crossings > MAX_CROSSINGS:
        raise _too_much(path, f"{num_pixels} pixels and {num_crossings} crossings")


def _too_much(path: Path, received: str) -> InputError:
    return InputError(
        "BUDGET",
        f"the outlines of one file may be {MAX_OUTLINES} with {MAX_POINTS} points, "
        f"{MAX_PIXELS} pixels and {MAX_CROSSINGS} crossings of rows; received "
        f"{received}.",
        path=path,
        hint="Give the outlines of calcium alone.",
    )


def _fill_region(
    outlines: Sequence[Outline], shape_yx: tuple[int, int]
) -> tuple[npt.NDArray[np.bool_], int, int]:
    """Return the mask of one region in one slice, its holes and its empty outlines.

    The largest comes first. One that lies wholly in what is filled already is a hole;
    a copy of another one is not.
    """
    filled = [(o, *fill_outline(o.points_yx, shape_yx)) for o in outlines]
    filled.sort(key=lambda item: -int(np.count_nonzero(item[2])))
    mask = np.zeros(shape_yx, np.bool_)
    seen: set[tuple[int, int, bytes]] = set()
    num_holes = num_empty = 0
    for outline, (row, column), inside in filled:
        if not inside.any():
            num_empty += 1
            continue
        height, width = inside.shape
        window = mask[row : row + height, column : column + width]
        key = (row, column, np.packbits(inside).tobytes())
        if outline.exclusive:
            window ^= inside
        elif key in seen:
            continue
        elif window[inside].all():
            window[inside] = False
            num_holes += 1
        else:
            window |= inside
        seen.add(key)
    return mask, num_holes, num_empty


def fill_outline(
    points_yx: FloatArray, shape_yx: tuple[int, int]
) -> tuple[tuple[int, int], npt.NDArray[np.bool_]]:
    """Return the pixels within a closed outline or on it: first pixel, and a mask.

    Even-odd rule. Rows are looked at a millionth above and below their centres, so
    that edges along a row of centres count too.

    Args:
        points_yx: (n, 2) fractional indices, within a pixel of the image.
        shape_yx: Rows and columns of the image, at which the mask is cut.

    Example:
        >>> fill_outline(np.array([[1.0, 1.0], [1.0, 2.0], [3.0, 1.0]]), (9, 9))[1]
        array([[ True,  True],
               [ True, False],
               [ True, False]])
    """
    last = np.array(shape_yx) - 1
    low = np.clip(np.ceil(points_yx.min(axis=0) - _EPSILON), 0, last).astype(int)
    high = np.clip(np.floor(points_yx.max(axis=0) + _EPSILON), 0, last).astype(int)
    height, width = (high - low + 1).clip(0)
    inside = np.zeros((height, width), np.bool_)
    if inside.size:
        y, x = points_yx[:, 0] - low[0], points_yx[:, 1] - low[1]
        for offset in (-_EPSILON, _EPSILON):
            inside |= _scanned(y, x, height, width, offset)
        # At a sharp tip both rows miss the centre that the tip itself lies on.
        corners = np.stack([y, x], axis=1)
        centres = np.rint(corners).astype(int)
        close = (np.abs(corners - centres) < _EPSILON).all(axis=1)
        within = (centres >= 0).all(axis=1) & (centres < inside.shape).all(axis=1)
        inside[tuple(centres[close & within].T)] = True
    return (int(low[0]), int(low[1])), inside


def _scanned(
    y: FloatArray, x: FloatArray, height: int, width: int, offset: float
) -> npt.NDArray[np.bool_]:
    """Return which pixel centres lie between pairs of crossings of their row."""
    next_y, next_x = np.roll(y, -1), np.roll(x, -1)
    first = np.ceil(np.minimum(y, next_y) - offset).clip(0, height).astype(int)
    stop = np.ceil(np.maximum(y, next_y) - offset).clip(0, height).astype(int)
    edge = np.repeat(np.arange(y.size), stop - first)
    row = np.arange(edge.size) - np.repeat(np.cumsum(stop - first) - stop, stop - first)
    share = (row + offset - y[edge]) / (next_y[edge] - y[edge])
    crossing = x[edge] + share * (next_x[edge] - x[edge])
    order = np.lexsort((crossing, row))
    row, crossing = row[order], crossing[order]
    begin = np.ceil(crossing[::2] - _EPSILON).clip(0, width).astype(int)
    end = (np.floor(crossing[1::2] + _EPSILON) + 1).clip(0, width).astype(int)
    ends = np.maximum(begin, end)
    change = np.zeros((height, width + 1), np.int32)
    np.add.at(change, (row[::2], begin), 1)
    np.add.at(change, (row[1::2], ends), -1)
    return np.asarray(change.cumsum(axis=1)[:, :-1] > 0)
