"""Masks of one slice side by side: without and with post-processing, and the truth."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.geometry import Geometry
from kcalc.report.charts import png_picture
from kcalc.report.figures import DisplayPlane
from kcalc.report.overlay import (
    RESULT_COLOUR,
    draw_slice,
    marked_slices,
    marks_box,
)

_INCHES = 2.8


@dataclass(frozen=True, eq=False)
class StagedScan:
    """A scan with masks of several stages, a row of the picture.

    Args:
        title: What stands at its left; no patient data.
        image_hu: (z, y, x) in HU.
        geometry: Its grid.
        masks: By the head of a column, (z, y, x), above 0 where calcium is marked; the
            last one, the truth, chooses the slice.

    Raises:
        ValueError: There is no mask, or a shape differs.
    """

    title: str
    image_hu: npt.NDArray[Any]
    geometry: Geometry
    masks: Mapping[str, npt.NDArray[Any]]

    def __post_init__(self) -> None:
        shapes = {np.shape(mask) for mask in self.masks.values()}
        if shapes != {self.image_hu.shape}:
            raise ValueError(
                f"Every mask must have the scan's shape, {self.image_hu.shape}. "
                f"Received: {sorted(shapes)}"
            )


def stages_picture(
    path: str | os.PathLike[str], scans: Sequence[StagedScan], *, title: str = ""
) -> Path:
    """Draw for each scan the slice with most true calcium, once a stage, side by side.

    Args:
        path: File ending in ``.png``.
        scans: Rows; at least one, all with the first one's stages.
        title: Line above the picture; no patient data.

    Raises:
        ValueError: There is no scan, or the stages differ.
        ResourceError: The file cannot be written (``WRITE_FAILED``).

    References:
        Ma, Zhang 2019, arXiv 1907.11392, figure 2.
    """
    stages = [list(scan.masks) for scan in scans]
    if not stages or any(names != stages[0] for names in stages):
        raise ValueError(
            f"Scans must be one or more, of the same stages. Received: {stages}"
        )
    rows, columns = len(scans), len(stages[0])
    size = (_INCHES * columns + 0.3, _INCHES * rows + 0.5)
    with png_picture(path, *size) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for line, scan in zip(grid, scans, strict=True):
            _draw_row(line, scan)
        for axes, name in zip(grid[0], stages[0], strict=True):
            axes.set_title(name, fontsize=9)
        figure.suptitle(title, fontsize=9)
    return Path(path)


def _draw_row(line: Sequence[Any], scan: StagedScan) -> None:
    masks = [np.asarray(mask) > 0 for mask in scan.masks.values()]
    plane = DisplayPlane.of(scan.geometry)
    (z,) = marked_slices(masks[-1], 1)
    box = marks_box(scan.image_hu, np.any(masks, axis=0), [z], plane)
    for axes, mask in zip(line, masks, strict=True):
        outline = (plane.turn(mask[z]), RESULT_COLOUR, 1.2)
        draw_slice(axes, plane, box, plane.turn(scan.image_hu[z]), [outline])
        axes.set_xticks([])
        axes.set_yticks([])
    line[0].set_ylabel(f"{scan.title}, slice {z}", fontsize=9)
