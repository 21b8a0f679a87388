"""Labelled voxels go in, the outlines come out that observers would draw round them.

Observers of the intracranial carotid draw generous regions round calcium, keep clear
of bone, and cut at 130 HU afterwards (Bortsova 2017, section 3).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kcalc.anatomy import LABEL_NAMES
from kcalc.geometry import Geometry
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.io.labels_outlines import TABLE_COLUMNS
from kcalc.io.outlines import fill_outline
from kcalc.phantoms.case import Phantom, RoiOutline

MARGIN_MM = 0.9
"""How far outside the calcium an observer draws, where no bone is in the way."""
_ROUND_PX = 0.6
"""Smoothing of an outline: a hand follows no pixel edges."""


def draw_outlines(
    label: npt.NDArray[np.uint8],
    array_hu: npt.NDArray[np.int16],
    geometry: Geometry,
) -> tuple[RoiOutline, ...]:
    """Draw the outlines of all labelled lesions, slice by slice.

    Args:
        label: (z, y, x) vessel numbers of the voxels that are calcium.
        array_hu: (z, y, x), the scan they were marked on.
        geometry: Its grid.
    """
    outlines = []
    for z in np.flatnonzero(label.any(axis=(1, 2))).tolist():
        for number in np.unique(label[z][label[z] > 0]).tolist():
            mask = label[z] == number
            barred = (array_hu[z] > AGATSTON_THRESHOLD_HU) & ~mask
            for points_yx in _contours(mask, barred, geometry.spacing_mm[1]):
                index = np.insert(points_yx, 0, z, axis=1)
                outlines.append(RoiOutline(number, z, geometry.index_to_mm(index)))
    return tuple(outlines)


def _contours(
    mask: npt.NDArray[np.bool_], barred: npt.NDArray[np.bool_], pixel_mm: float
) -> list[npt.NDArray[np.float64]]:
    """Return closed curves (n, 2) round a mask, outside what is barred."""
    from contourpy import contour_generator
    from scipy import ndimage

    reach = int(np.ceil(MARGIN_MM / pixel_mm)) + 4
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    window = tuple(
        slice(max(int(found[0]) - reach, 0), int(found[-1]) + reach + 1)
        for found in (rows, columns)
    )
    inner, outer = np.pad(mask[window], 1), np.pad(barred[window], 1)
    far_mm = ndimage.distance_transform_edt(~inner) * pixel_mm
    region = (far_mm <= MARGIN_MM) & ~outer
    # Rounded, but never so far that a calcified voxel is lost or bone is taken in.
    soft = ndimage.gaussian_filter(region.astype(np.float64), _ROUND_PX)
    soft[inner] = np.maximum(soft[inner], 0.75)
    soft[outer] = np.minimum(soft[outer], 0.25)
    soft[[0, -1], :] = soft[:, [0, -1]] = 0.0
    origin = np.array([window[0].start - 1, window[1].start - 1], dtype=float)
    limit = np.array(mask.shape) - 1
    lines = contour_generator(z=soft).lines(0.5)
    return [
        np.clip(np.asarray(line)[:-1, ::-1] + origin, 0, limit)
        for line in lines
        if len(line) > 3
    ]


def cut_at_threshold(
    outlines: Sequence[RoiOutline],
    array_hu: npt.NDArray[np.int16],
    geometry: Geometry,
) -> npt.NDArray[np.uint8]:
    """Return the lesions of outlines: their voxels above 130 HU, by vessel number.

    Of one vessel's outlines in a slice, one within another is a hole.

    Args:
        outlines: Of one scan.
        array_hu: (z, y, x), the scan.
        geometry: Its grid.
    """
    label = np.zeros(array_hu.shape, np.uint8)
    groups: dict[tuple[int, int], list[RoiOutline]] = {}
    for outline in outlines:
        key = (outline.slice_index, outline.vessel_label)
        groups.setdefault(key, []).append(outline)
    for (z, number), members in groups.items():
        shape_yx = (array_hu.shape[1], array_hu.shape[2])
        inside = np.zeros(shape_yx, np.bool_)
        for outline in members:
            points = geometry.mm_to_index(outline.points_xyz_mm)[:, 1:]
            (row, column), filled = fill_outline(points, shape_yx)
            height, width = filled.shape
            inside[row : row + height, column : column + width] ^= filled
        inside &= array_hu[z] > AGATSTON_THRESHOLD_HU
        label[z][inside & (label[z] == 0)] = number
    return label


def write_outlines(phantom: Phantom, path: str | os.PathLike[str]) -> Path:
    """Write a phantom's outlines as the table that ``kcalc.io`` reads as labels.

    Columns ``outline``, ``name`` of the vessel, ``x_mm``, ``y_mm``, ``z_mm`` (LPS).

    Args:
        phantom: Whose ``outlines`` are written.
        path: The CSV file.
    """
    target = Path(path)
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(TABLE_COLUMNS)
        for number, outline in enumerate(phantom.outlines, start=1):
            name = LABEL_NAMES[outline.vessel_label]
            for x, y, z in outline.points_xyz_mm.tolist():
                writer.writerow((number, name, f"{x:.4f}", f"{y:.4f}", f"{z:.4f}"))
    return target
