"""Overlays of two masks on a scan: reference in red, result in green, as one PNG."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.geometry import Geometry
from kcalc.report.charts import png_picture
from kcalc.report.figures import (
    Box,
    DisplayPlane,
    body_box,
    border_runs,
    display_greys,
    zoom_box,
)

REFERENCE_COLOUR, RESULT_COLOUR = "#ff3b30", "#30e060"
MAX_SLICES = 6


def overlay_picture(
    path: str | os.PathLike[str],
    image_hu: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    result: npt.NDArray[Any],
    geometry: Geometry,
    *,
    slices: Sequence[int] | None = None,
    max_slices: int = MAX_SLICES,
    title: str = "",
) -> Path:
    """Draw the outlines of a reference (red) and a result (green) on slices of a scan.

    Outlines run along pixel borders; where both meet, the green line lies within the
    wider red one. Slices are shown in the radiological way, enlarged to the marks.

    Args:
        path: File ending in ``.png``.
        image_hu: The scan in HU, (z, y, x).
        reference: Mask of the reader, (z, y, x), above 0 where calcified.
        result: Mask of the network or of another reader, likewise.
        geometry: Grid of the scan.
        slices: Indices of the slices; None takes those with most marked voxels, or the
            middle one of a scan without any.
        max_slices: Most slices where ``slices`` is None.
        title: Line above the pictures; no patient data.

    Raises:
        ValueError: The shapes differ, or a slice lies outside the scan.
        ResourceError: The file cannot be written (``WRITE_FAILED``).

    References:
        Bortsova G et al. 2017, figure 2, right.
    """
    truth, found = np.asarray(reference) > 0, np.asarray(result) > 0
    if not image_hu.shape == truth.shape == found.shape or image_hu.ndim != 3:
        raise ValueError(
            "Scan and masks must have one shape (z, y, x). Received: "
            f"{image_hu.shape}, {truth.shape} and {found.shape}"
        )
    shown = marked_slices(truth | found, max_slices) if slices is None else slices
    outside = [z for z in shown if not 0 <= z < len(image_hu)]
    if outside or not len(shown):
        raise ValueError(
            f"slices must name at least one of 0 to {len(image_hu) - 1}. "
            f"Received: slices={list(shown)}"
        )
    plane = DisplayPlane.of(geometry)
    box = marks_box(image_hu, truth | found, shown, plane)
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    with png_picture(path, 3.2 * columns, 3.2 * rows + 0.4) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, z in zip(grid, shown, strict=False):
            outlines = (
                (plane.turn(truth[z]), REFERENCE_COLOUR, 2.4),
                (plane.turn(found[z]), RESULT_COLOUR, 1.0),
            )
            draw_slice(axes, plane, box, plane.turn(image_hu[z]), outlines)
            axes.set_title(f"slice {z}", fontsize=9)
        figure.suptitle(f"{title}   red: reference, green: result".strip(), fontsize=9)
    return Path(path)


def marked_slices(mask: npt.NDArray[np.bool_], max_slices: int) -> list[int]:
    """Return the slices with most voxels of a mask, in their order.

    Args:
        mask: (z, y, x).
        max_slices: Most slices.

    Returns:
        Indices; the middle slice where the mask is empty.
    """
    sizes = np.count_nonzero(mask, axis=(1, 2))
    order = np.argsort(-sizes, kind="stable")[:max_slices]
    chosen = sorted(int(z) for z in order if sizes[z])
    return chosen or [len(mask) // 2]


def marks_box(
    image_hu: npt.NDArray[Any],
    marked: npt.NDArray[np.bool_],
    shown: Sequence[int],
    plane: DisplayPlane,
) -> Box:
    """Return the displayed box of all marks in slices, or of the body without any."""
    chosen = list(shown)
    body = body_box(np.stack([plane.turn(image_hu[z]) for z in chosen]))
    marks = plane.turn(np.any(marked[chosen], axis=0))
    return zoom_box(marks, plane.spacing_mm, body) if marks.any() else body


def draw_slice(
    axes: Any,
    plane: DisplayPlane,
    box: Box,
    image_hu: npt.NDArray[Any],
    outlines: Sequence[tuple[npt.NDArray[np.bool_], str, float]],
) -> None:
    """Draw part of a displayed slice with the outlines of masks into axes.

    Args:
        axes: Axes of a matplotlib figure.
        plane: How the slice was turned.
        box: The part to show.
        image_hu: (row, column) of the displayed slice in HU.
        outlines: Displayed mask, colour and line width, the lowest first.
    """
    from matplotlib.collections import LineCollection

    row, row_end, column, column_end = box
    axes.imshow(
        display_greys(image_hu[row:row_end, column:column_end]),
        cmap="gray",
        vmin=0,
        vmax=255,
        extent=(column, column_end, row_end, row),
        aspect=plane.spacing_mm[0] / plane.spacing_mm[1],
        interpolation="nearest",
    )
    for mask, colour, width in outlines:
        horizontal, vertical = border_runs(mask)
        lines = [((x, y), (x + n, y)) for y, x, n in horizontal]
        lines += [((x, y), (x, y + n)) for x, y, n in vertical]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=width))
    axes.set_xlim(column, column_end)
    axes.set_ylim(row_end, row)
