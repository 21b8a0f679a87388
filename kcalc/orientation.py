"""The view of a volume that a network sees: the same voxels in LPS order.

Networks are trained on it, ``kcalc.predict`` shows it to them, and servers ask their
clients for it.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.geometry import Geometry


def lps_view(array: npt.NDArray[Any], geometry: Geometry) -> npt.NDArray[Any]:
    """Return a view that runs caudal to cranial, rows to posterior, columns to left.

    Flips and a permutation of axes only, no copy and no resampling: writing into the
    view of an array writes into the array, which is how a mask is mapped back to the
    stored grid.

    Args:
        array: (z, y, x) on the stored grid.
        geometry: The stored grid.

    Returns:
        View of the array in which index 0 is the most caudal slice, row 0 the most
        anterior and column 0 the patient's rightmost, as nearly as axes allow.

    Example:
        >>> head_to_feet = np.eye(4)[[2, 1, 0, 3]] * [-1, 1, 1, 1]
        >>> stored = np.arange(2).reshape(2, 1, 1)
        >>> lps_view(stored, Geometry((2, 1, 1), head_to_feet)).ravel().tolist()
        [1, 0]
    """
    order, flips = _lps_axes(geometry)
    return array.transpose(order)[flips]


def lps_spacing_mm(geometry: Geometry) -> tuple[float, float, float]:
    """Return the spacing (z, y, x) in mm of :func:`lps_view`'s axes.

    Example:
        >>> sagittal = np.diag([0.5, 1.0, 2.0, 1.0])
        >>> lps_spacing_mm(Geometry((1, 1, 1), sagittal))
        (2.0, 1.0, 0.5)
    """
    z, y, x = (geometry.spacing_mm[axis] for axis in _lps_axes(geometry)[0])
    return (z, y, x)


def lps_geometry(geometry: Geometry) -> Geometry:
    """Return the grid of :func:`lps_view`.

    Example:
        >>> head_to_feet = np.eye(4)[[2, 1, 0, 3]] * [-1, 1, 1, 1]
        >>> lps_geometry(Geometry((2, 1, 1), head_to_feet)).affine_lps[2].tolist()
        [1.0, 0.0, 0.0, -1.0]
    """
    order, flips = _lps_axes(geometry)
    affine = np.array(geometry.affine_lps)
    shape = geometry.shape_zyx
    for place, (axis, flip) in enumerate(zip(order, flips, strict=True)):
        step = geometry.affine_lps[:, axis]
        backwards = flip.step == -1
        affine[:, place] = -step if backwards else step
        affine[:, 3] += (shape[axis] - 1) * step if backwards else 0.0
    return Geometry((shape[order[0]], shape[order[1]], shape[order[2]]), affine)


def _lps_axes(geometry: Geometry) -> tuple[tuple[int, ...], tuple[slice, ...]]:
    """Return the stored axes that become z, y and x, and the flips that follow."""
    # Rows of `steps` are superior, posterior, left; columns the stored axes z, y, x.
    steps = geometry.affine_lps[:3, :3][::-1]
    cosines = steps / np.linalg.norm(steps, axis=0)
    order = max(
        permutations(range(3)),
        key=lambda axes: sum(abs(cosines[i, axis]) for i, axis in enumerate(axes)),
    )
    flips = tuple(
        slice(None, None, -1 if cosines[i, axis] < 0 else 1)
        for i, axis in enumerate(order)
    )
    return order, flips
