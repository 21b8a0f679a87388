"""Outlines in patient space: from a table, and what every format of them shares.

A table is CSV with the columns ``outline``, ``name``, ``x_mm``, ``y_mm``, ``z_mm``
(LPS): one row a point, the points of one outline after one another.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kcalc.errors import InputError
from kcalc.io.discovery import file_size, read_whole
from kcalc.io.label_map import Labels, Part, part_labels
from kcalc.io.label_names import LabelScheme, vessel_number
from kcalc.io.mask_grid import GRID_LIMIT_VOXELS, foreign_grid
from kcalc.io.outlines import MAX_POINTS, FloatArray, Outline, paint_outlines
from kcalc.volume import Finding, Volume

TABLE_COLUMNS = ("outline", "name", "x_mm", "y_mm", "z_mm")
MAX_TABLE_BYTES = 1 << 28


@dataclass(frozen=True)
class NamedOutline:
    """An outline with the name of what it surrounds.

    Args:
        name: Name of the vessel or region.
        z: Index of its slice.
        points_yx: (n, 2) fractional indices.
    """

    name: str
    z: int
    points_yx: FloatArray


def named_parts(names: Iterable[str]) -> list[Part]:
    """Return one part for each name, numbered from 1 as the names first occur."""
    return [
        Part(number, name, vessel_number(name))
        for number, name in enumerate(dict.fromkeys(names), start=1)
    ]


def painted_labels(
    outlines: Sequence[NamedOutline],
    volume: Volume,
    scheme: LabelScheme | None,
    path: Path,
    file_format: str,
    findings: Sequence[Finding] = (),
) -> Labels:
    """Return the labels of named outlines.

    Raises:
        InputError: Those of ``kcalc.io.label_map.part_labels`` and
            ``kcalc.io.outlines.paint_outlines``.
    """
    parts = named_parts(outline.name for outline in outlines)
    numbers = {part.name: part.number for part in parts}
    labels, named, notes = part_labels(parts, scheme, path)
    drawn = [Outline(numbers[o.name], o.z, o.points_yx) for o in outlines]
    array, more = paint_outlines(drawn, labels, volume.shape, path)
    return Labels(array, file_format, named, (*findings, *notes, *more))


def in_slice(
    points_xyz_mm: FloatArray, volume: Volume, path: Path
) -> tuple[int, FloatArray]:
    """Return the slice in which all points lie, and their indices (n, 2) in it.

    Raises:
        InputError: ``LABEL_POINTS`` for points that are no numbers, ``MASK_GRID`` for
            points that lie in no slice of the scan.
    """
    if not np.isfinite(points_xyz_mm).all():
        raise InputError(
            "LABEL_POINTS",
            "every point must be three finite numbers in mm.",
            path=path,
            hint="Export the outlines again.",
        )
    index = volume.geometry.mm_to_index(points_xyz_mm)
    z = np.rint(index[:, 0])
    inside = 0 <= z[0] < volume.shape[0]
    if not inside or np.abs(index[:, 0] - z[0]).max() > GRID_LIMIT_VOXELS:
        raise foreign_grid(
            volume.geometry, path, "the points of an outline lie in no slice of it"
        )
    return int(z[0]), index[:, 1:]


def looks_like_table(prefix: bytes) -> bool:
    """Return whether the first line of a file names the columns of a table."""
    line = prefix.partition(b"\n")[0].decode("utf-8-sig", "replace")
    return set(TABLE_COLUMNS) <= {name.strip() for name in line.split(",")}


def table_labels(path: Path, volume: Volume, scheme: LabelScheme | None) -> Labels:
    """Return the labels of a table of outlines.

    Raises:
        InputError: ``LABEL_BROKEN``, ``LABEL_POINTS``, ``MASK_GRID``, ``BUDGET``, or
            those of :func:`painted_labels`.
    """
    outlines = []
    for name, points in _rows_by_outline(path):
        z, points_yx = in_slice(np.array(points), volume, path)
        outlines.append(NamedOutline(name, z, points_yx))
    return painted_labels(outlines, volume, scheme, path, "outlines")


def _rows_by_outline(path: Path) -> list[tuple[str, list[list[float]]]]:
    if file_size(path) > MAX_TABLE_BYTES:
        raise InputError(
            "BUDGET",
            f"a table of outlines may have {MAX_TABLE_BYTES} bytes.",
            path=path,
            hint="Give the outlines of calcium alone.",
        )
    text = read_whole(path).decode("utf-8-sig", "replace")
    groups: list[tuple[str, list[list[float]]]] = []
    last = None
    try:
        rows = csv.DictReader(io.StringIO(text), strict=True, skipinitialspace=True)
        for count, row in enumerate(rows):
            if count >= MAX_POINTS:
                raise csv.Error
            key = (row["outline"], row["name"] or "")
            point = [float(row[axis]) for axis in ("x_mm", "y_mm", "z_mm")]
            if key != last:
                groups.append((key[1].strip(), []))
                last = key
            groups[-1][1].append(point)
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise InputError(
            "LABEL_BROKEN",
            f"a table of outlines must have the columns {', '.join(TABLE_COLUMNS)}, "
            f"numbers in the last three, and at most {MAX_POINTS} rows.",
            path=path,
            hint="Write it again.",
        ) from error
    return groups
