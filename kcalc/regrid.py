"""Slices onto a regular grid, and masks back: linear for HU, nearest for masks.

Reading corrects a grid only when the caller asks for it (untilt, fill gaps, resample).
A mask found on the corrected grid goes back to the stored slices, where the threshold
is applied to the stored values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.geometry import Geometry
from kcalc.slices import SliceStack
from kcalc.volume import SourceSlices

_WHOLE_PIXEL = 1e-3
"""Shifts this near to whole pixels move values without mixing them."""


def upright_grid(
    stack: SliceStack, start_mm: float, spacing_mm: float, num_slices: int
) -> Geometry:
    """Return the orthogonal grid in the planes of a stack that holds all of it.

    Args:
        stack: The slices, possibly shifted against each other in their planes.
        start_mm: Position of the first slice of the grid along the stack's normal.
        spacing_mm: Distance of its slices.
        num_slices: Their number.
    """
    row, column = stack.row_step_mm, stack.column_step_mm
    corner = stack.corners_xyz_mm[0]
    shifts = _pixel_shifts(stack, corner)
    low = np.floor(shifts.min(axis=0) + _WHOLE_PIXEL).astype(int)
    high = np.ceil(shifts.max(axis=0) - _WHOLE_PIXEL).astype(int)
    rows, columns = np.array(stack.shape_yx) + high - low
    affine = np.eye(4)
    affine[:3, 0] = spacing_mm * stack.normal
    affine[:3, 1], affine[:3, 2] = row, column
    across = corner - (corner @ stack.normal) * stack.normal
    affine[:3, 3] = start_mm * stack.normal + across + low[0] * row + low[1] * column
    return Geometry((num_slices, int(rows), int(columns)), np.round(affine, 9))


def onto_grid(
    source: SourceSlices, geometry: Geometry, *, outside: float
) -> npt.NDArray[Any]:
    """Return the slices on an orthogonal grid in their own planes.

    Within a plane values are mixed only where it is shifted by part of a pixel, and
    between planes only where no slice lies at the position.

    Args:
        source: The stored slices.
        geometry: What :func:`upright_grid` returned for them.
        outside: Value where no slice reaches, such as air.

    Returns:
        (z, y, x) of the source's dtype; integers are rounded.
    """
    array, stack = source.array, source.stack
    along = stack.along_mm
    shifts = _pixel_shifts(stack, geometry.affine_lps[:3, 3])
    start = float(geometry.affine_lps[:3, 3] @ stack.normal)
    spacing = geometry.spacing_mm[0]
    near_mm = max(0.1, 0.03 * spacing)
    result = np.empty(geometry.shape_zyx, array.dtype)
    for index, plane in enumerate(result):
        position = start + index * spacing
        nearest = int(np.argmin(np.abs(along - position)))
        if abs(along[nearest] - position) <= near_mm:
            pairs = [(nearest, 1.0)]
        else:
            above = int(np.clip(np.searchsorted(along, position), 1, len(along) - 1))
            weight = (position - along[above - 1]) / (along[above] - along[above - 1])
            weight = float(np.clip(weight, 0.0, 1.0))
            pairs = [(above - 1, 1.0 - weight), (above, weight)]
        _mix(plane, [(array[k], shifts[k], weight) for k, weight in pairs], outside)
    return result


def onto_axial(
    array: npt.NDArray[Any], geometry: Geometry, target: Geometry, *, outside: float
) -> npt.NDArray[Any]:
    """Return a volume resampled onto another regular grid, linearly.

    Args:
        array: (z, y, x) of the geometry.
        geometry: Its grid.
        target: The wanted grid.
        outside: Value beyond the volume.

    Returns:
        (z, y, x) of the target and the dtype of the array; integers are rounded.
    """
    from scipy import ndimage

    turn = np.linalg.inv(geometry.affine_lps) @ target.affine_lps
    mixed = ndimage.affine_transform(
        array,
        turn[:3, :3],
        turn[:3, 3],
        output_shape=target.shape_zyx,
        output=np.float32,
        order=1,
        mode="grid-constant",
        cval=outside,
    )
    return _as_dtype(mixed, array.dtype)


def axial_grid_round(
    geometry: Geometry, spacing_mm: tuple[float, float, float] | None = None
) -> Geometry:
    """Return the axial grid that holds a turned one.

    Args:
        geometry: The turned grid.
        spacing_mm: Spacing (z, y, x) wanted; None for that of the grid's axes.
    """
    last = np.array(geometry.shape_zyx) - 1
    corners = geometry.index_to_mm(
        [[last[d] * (k >> d & 1) for d in range(3)] for k in range(8)]
    )
    low = corners.min(axis=0)
    spacing_mm = geometry.spacing_mm if spacing_mm is None else spacing_mm
    extent_zyx = (corners.max(axis=0) - low)[::-1]
    z, y, x = (
        int(np.ceil(e / s - 1e-6)) + 1
        for e, s in zip(extent_zyx, spacing_mm, strict=True)
    )
    origin = (float(low[0]), float(low[1]), float(low[2]))
    return Geometry.axial((z, y, x), spacing_mm, origin)


def mask_on_slices(
    mask: npt.NDArray[Any], geometry: Geometry, stack: SliceStack
) -> npt.NDArray[Any]:
    """Return a mask on the stored slices: each pixel takes the nearest voxel's value.

    Args:
        mask: (z, y, x) of the geometry, bool or labels.
        geometry: The grid on which it was found.
        stack: The stored slices.

    Returns:
        (z, y, x) of the stack and the dtype of the mask; 0 beyond the grid.

    Example:
        >>> grid = Geometry.axial((2, 2, 2), (2.0, 1.0, 1.0))
        >>> finer = Geometry.axial((3, 2, 2), (1.0, 1.0, 1.0))
        >>> mask = np.zeros((2, 2, 2), bool)
        >>> mask[1, 0, 1] = True
        >>> mask_on_slices(mask, grid, SliceStack.from_geometry(finer))[:, 0, 1]
        array([False,  True,  True])
    """
    back = np.linalg.inv(geometry.affine_lps)
    corners = stack.corners_xyz_mm @ back[:3, :3].T + back[:3, 3]
    step_y, step_x = (
        back[:3, :3] @ stack.row_step_mm,
        back[:3, :3] @ stack.column_step_mm,
    )
    rows, columns = stack.shape_yx
    used = np.flatnonzero(mask.any(axis=(1, 2)))
    result = np.zeros((len(corners), rows, columns), mask.dtype)
    if not used.size:
        return result
    i, j = np.arange(rows)[:, None], np.arange(columns)[None, :]
    for plane, corner in zip(result, corners, strict=True):
        ends_z = [
            corner[0] + a * step_y[0] + b * step_x[0]
            for a in (0, rows - 1)
            for b in (0, columns - 1)
        ]
        if max(ends_z) < used[0] - 1 or min(ends_z) > used[-1] + 1:
            continue
        index = [
            np.floor(corner[d] + i * step_y[d] + j * step_x[d] + 0.5).astype(np.int64)
            for d in range(3)
        ]
        inside = np.logical_and.reduce(
            [(n >= 0) & (n < size) for n, size in zip(index, mask.shape, strict=True)]
        )
        plane[inside] = mask[tuple(n[inside] for n in index)]
    return result


def _pixel_shifts(
    stack: SliceStack, corner_xyz_mm: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return (n, 2) where each slice's corner lies, in rows and columns."""
    offsets = stack.corners_xyz_mm - corner_xyz_mm
    steps = np.stack([stack.row_step_mm, stack.column_step_mm])
    lengths = np.linalg.norm(steps, axis=1)
    return np.asarray(offsets @ (steps / lengths[:, None] ** 2).T)


def _mix(
    plane: npt.NDArray[Any],
    parts: list[tuple[npt.NDArray[Any], npt.NDArray[np.float64], float]],
    outside: float,
) -> None:
    """Write the weighted sum of shifted slices to a plane of the grid."""
    if len(parts) == 1:
        plane[:] = _as_dtype(_placed(plane.shape, *parts[0][:2], outside), plane.dtype)
        return
    total = np.zeros(plane.shape, np.float32)
    for stored, shift, weight in parts:
        total += np.float32(weight) * _placed(plane.shape, stored, shift, outside)
    plane[:] = _as_dtype(total, plane.dtype)


def _placed(
    shape: tuple[int, ...],
    stored: npt.NDArray[Any],
    shift: npt.NDArray[np.float64],
    outside: float,
) -> npt.NDArray[Any]:
    """Return a slice at its place in a larger plane, mixed for parts of a pixel."""
    whole = np.floor(shift + _WHOLE_PIXEL).astype(int)
    rest = shift - whole
    canvas = np.full(shape, outside, stored.dtype)
    rows, columns = stored.shape
    canvas[whole[0] : whole[0] + rows, whole[1] : whole[1] + columns] = stored
    if np.abs(rest).max() <= _WHOLE_PIXEL:
        return canvas
    from scipy import ndimage

    mixed: npt.NDArray[Any] = ndimage.shift(
        canvas, rest, output=np.float32, order=1, mode="grid-constant", cval=outside
    )
    return mixed


def _as_dtype(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return values of a dtype, rounded for integers."""
    if values.dtype == dtype:
        return values
    return (np.rint(values) if dtype.kind == "i" else values).astype(dtype)
