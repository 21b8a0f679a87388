"""Lesions as a table: the lesions of a record enter, CSV text leaves."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class LesionColumn:
    """A column of the lesion table.

    Args:
        key: Key in a lesion of ``score.json``; with an index, ``key[i]``.
        title: Heading in the report, with its unit.
        header: Heading in the CSV file, with its unit as suffix.
        decimals: Decimals shown in the report; None for text.
        index: Element to take where the value is a list.
        in_report: Whether the report shows the column.
    """

    key: str
    title: str
    header: str
    decimals: int | None
    index: int | None = None
    in_report: bool = True

    def value(self, lesion: Mapping[str, Any]) -> Any:
        """Return the unrounded value of a lesion, or None."""
        value = lesion.get(self.key)
        return value if self.index is None or value is None else value[self.index]

    def text(self, lesion: Mapping[str, Any]) -> str:
        """Return the value of a lesion as the report shows it."""
        value = self.value(lesion)
        if value is None:
            return "–"
        return str(value) if self.decimals is None else f"{value:.{self.decimals}f}"


LESION_COLUMNS: tuple[LesionColumn, ...] = (
    LesionColumn("number", "Lesion", "lesion", 0),
    LesionColumn("vessel", "Vessel", "vessel", None),
    LesionColumn("slice_index", "Slice index", "slice_index", 0),
    LesionColumn("first_slice_index", "", "first_slice_index", 0, in_report=False),
    LesionColumn("last_slice_index", "", "last_slice_index", 0, in_report=False),
    LesionColumn("centroid_xyz_mm", "x, mm", "x_mm", 1, index=0),
    LesionColumn("centroid_xyz_mm", "y, mm", "y_mm", 1, index=1),
    LesionColumn("centroid_xyz_mm", "z, mm", "z_mm", 1, index=2),
    LesionColumn("centroid_index_zyx", "", "z_index", 2, index=0, in_report=False),
    LesionColumn("centroid_index_zyx", "", "y_index", 2, index=1, in_report=False),
    LesionColumn("centroid_index_zyx", "", "x_index", 2, index=2, in_report=False),
    LesionColumn("num_pixels", "Pixels", "num_pixels", 0),
    LesionColumn("area_mm2", "Area, mm²", "area_mm2", 2),
    LesionColumn("mean_hu", "Mean, HU", "mean_hu", 0),
    LesionColumn("max_hu", "Maximum, HU", "max_hu", 0),
    LesionColumn("weight", "Weight", "weight", 0),
    LesionColumn("agatston", "Agatston", "agatston", 1),
    LesionColumn("volume_mm3", "Volume, mm³", "volume_mm3", 1),
    LesionColumn("mass_mg", "Mass, mg", "mass_mg", 2),
)
"""Columns of lesions.csv, in order.

Positions are those of the lesion's middle, in LPS millimetres and in voxels of the
scan's own grid from 0.
"""


def lesions_csv(lesions: Sequence[Mapping[str, Any]]) -> str:
    """Return the lesions as CSV text, numbers unrounded and never quoted.

    A text that a spreadsheet would take for a formula gets a leading apostrophe.

    Args:
        lesions: The ``lesions`` of a record.

    Example:
        >>> lesions_csv([]).split(",")[:3]
        ['lesion', 'vessel', 'slice_index']
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(column.header for column in LESION_COLUMNS)
    for lesion in lesions:
        writer.writerow(csv_cell(column.value(lesion)) for column in LESION_COLUMNS)
    return stream.getvalue()


def csv_cell(value: object) -> str:
    """Return a CSV cell that no spreadsheet runs as a formula.

    Example:
        >>> csv_cell("=1+1"), csv_cell(-219.5), csv_cell(None)
        ("'=1+1", '-219.5', '')
    """
    if value is None:
        return ""
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
