"""Masks onto the scan's grid: flips and permutations of axes, never resampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.errors import InputError
from kcalc.geometry import Geometry

GRID_LIMIT_VOXELS = 0.1
"""How far a mask's corner may lie off the scan's voxel centres."""


def turn_onto_grid(
    array_zyx: npt.NDArray[Any], own: Geometry, wanted: Geometry, path: Path
) -> npt.NDArray[Any]:
    """Return a view of a mask turned onto the scan's grid.

    Args:
        array_zyx: (z, y, x) on its own grid.
        own: The mask's grid.
        wanted: The scan's grid.
        path: The mask, for messages.

    Raises:
        InputError: ``MASK_GRID``, more than flips and permutations would be needed.
    """
    turn = np.linalg.inv(wanted.affine_lps) @ own.affine_lps
    signs = np.rint(turn[:3, :3])
    permutation = np.abs(signs).sum(axis=0).tolist() == [1, 1, 1]
    if permutation and abs(np.linalg.det(signs)) == 1:
        axes = [int(np.abs(row).argmax()) for row in signs]
        turned = array_zyx.transpose(axes)
        flipped = [k for k in range(3) if signs[k, axes[k]] < 0]
        turned = np.flip(turned, tuple(flipped))
        corners = np.array(
            [[0 if k & bit else 1 for bit in (4, 2, 1)] for k in range(8)]
        ) * (np.array(own.shape_zyx) - 1)
        found = corners @ turn[:3, :3].T + turn[:3, 3]
        exact = corners @ signs.T
        exact[:, flipped] += np.array(turned.shape)[flipped] - 1
        close = np.abs(found - exact).max() <= GRID_LIMIT_VOXELS
        if turned.shape == wanted.shape_zyx and close:
            return turned
    spacing = "x".join(f"{s:.3f}" for s in own.spacing_mm)
    raise foreign_grid(
        wanted, path, f"it has {own.shape_zyx} of {spacing} mm, or lies elsewhere"
    )


def frame_view(
    array_zyx: npt.NDArray[Any],
    geometry: Geometry,
    *,
    position_xyz_mm: npt.ArrayLike,
    steps_mm: npt.NDArray[np.float64],
    shape_yx: tuple[int, int],
    path: Path,
) -> npt.NDArray[Any]:
    """Return the view of an array that one frame covers, turned as the frame is.

    Writing into the view writes into the array. A frame may cover a part of a slice,
    and may lie along any two axes of the grid.

    Args:
        array_zyx: (z, y, x) on the scan's grid.
        geometry: The scan's grid.
        position_xyz_mm: LPS centre of the frame's first pixel in mm.
        steps_mm: (3, 2), LPS mm from one row to the next, and one column to the next.
        shape_yx: Rows and columns of the frame.
        path: The mask, for messages.

    Raises:
        InputError: ``MASK_GRID``, pixels of the frame are no voxels of the scan.
    """
    turn = np.linalg.solve(geometry.affine_lps[:3, :3], steps_mm)
    signs = np.rint(turn)
    first = geometry.mm_to_index(position_xyz_mm)
    last_yx = np.array(shape_yx) - 1
    axes = [int(np.abs(column).argmax()) for column in signs.T]
    if (np.abs(signs).sum(axis=0) == 1).all() and axes[0] != axes[1]:
        begin = np.rint(first)
        end = begin + signs @ last_yx
        size = np.array(geometry.shape_zyx)
        corners = np.array([[y, x] for y in (0, last_yx[0]) for x in (0, last_yx[1])])
        off = np.abs(first + corners @ turn.T - begin - corners @ signs.T).max()
        inside = (np.minimum(begin, end) >= 0).all() and (
            np.maximum(begin, end) < size
        ).all()
        if off <= GRID_LIMIT_VOXELS and inside:
            across = 3 - sum(axes)
            plane: npt.NDArray[Any] = array_zyx.transpose(across, *axes)[
                int(begin[across])
            ]
            rows, columns = (
                _run(int(begin[axis]), int(end[axis]), int(signs[axis, k]))
                for k, axis in enumerate(axes)
            )
            return plane[rows, columns]
    raise foreign_grid(geometry, path, "a frame of it lies elsewhere")


def foreign_grid(wanted: Geometry, path: Path, received: str) -> InputError:
    """Return the refusal of a mask on another grid (C15).

    Args:
        wanted: The scan's grid.
        path: The mask.
        received: What is wrong with the mask's grid, as a sentence's end.
    """
    expected = "x".join(f"{s:.3f}" for s in wanted.spacing_mm)
    return InputError(
        "MASK_GRID",
        f"a mask must lie on the scan's grid of {wanted.shape_zyx} voxels of "
        f"{expected} mm (z, y, x); {received}.",
        path=path,
        hint="Draw or resample it on this very scan, with nearest neighbours.",
    )


def whole_labels(array: npt.NDArray[Any], path: Path) -> npt.NDArray[np.uint8]:
    """Return labels as uint8; viewers save them as float or wider integers.

    Args:
        array: (z, y, x), integers or floats.
        path: The mask, for messages.

    Raises:
        InputError: ``MASK_VALUES``, a value is no whole number from 0 to 255.
    """
    if not np.isfinite(array).all():
        raise _no_labels(path, "NaN or infinite values")
    rounded = np.rint(array) if array.dtype.kind == "f" else array
    low, high = array.min(), array.max()
    if (array != rounded).any():
        raise _no_labels(path, f"fractions between {low} and {high}")
    if low < 0 or high > 255:
        raise _no_labels(path, f"values from {low} to {high}")
    return np.ascontiguousarray(rounded, dtype=np.uint8)


def _no_labels(path: Path, received: str) -> InputError:
    """Return the refusal of a mask whose values are no labels (C15)."""
    return InputError(
        "MASK_VALUES",
        f"a mask must hold whole labels from 0 to 255; received {received}.",
        path=path,
        hint="Save it as a label map, without interpolation.",
    )


def _run(begin: int, end: int, sign: int) -> slice:
    """Return the slice from begin to end, both included, in steps of one."""
    stop: int | None = end + sign
    return slice(begin, None if stop == -1 else stop, sign)
