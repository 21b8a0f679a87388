"""From a mask and HU to connected components: calcium voxels in, their labels out.

Only the voxels of the mask are looked at: they are few, so joining neighbours in a
sorted list of voxels is faster than labelling the scan or even its bounding box.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.scoring.rules import Comparison, ScoringRule

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """Calcium voxels in scan order, each with the number of its component.

    Args:
        index_zyx: Voxel indices, int64 (num_voxels, 3), in (z, y, x) order.
        values_hu: Values in HU, float64 (num_voxels,).
        component: Component of each voxel, int64 (num_voxels,), from 0, numbered by
            the first voxel of each.
        num_components: How many components there are, of whatever size.
        num_mask_voxels: Voxels of the mask, calcium or not.
    """

    index_zyx: IntArray
    values_hu: FloatArray
    component: IntArray
    num_components: int
    num_mask_voxels: int


def find_components(
    array_hu: npt.NDArray[Any], mask: npt.NDArray[Any], rule: ScoringRule
) -> Components:
    """Return the connected components of mask AND threshold.

    Args:
        array_hu: Values in HU, real, (z, y, x); compared before any rounding.
        mask: bool or integer of the same shape; nonzero belongs to the mask.
        rule: Its threshold, comparison and connectivity are used, as they stand.

    Example:
        >>> scan = np.array([[[200, 0, 200], [0, 200, 0]]])
        >>> find_components(scan, scan > 0, ScoringRule("8", "-")).num_components
        1
        >>> diagonal_apart = ScoringRule("4", "-", connectivity=4)
        >>> find_components(scan, scan > 0, diagonal_apart).num_components
        3
    """
    num_slices, num_rows, num_columns = array_hu.shape
    indices, values, num_mask_voxels = [], [], 0
    for z in range(num_slices):
        plane = mask[z]
        if not plane.any():
            continue
        flat = np.flatnonzero(plane if plane.dtype == np.bool_ else plane != 0)
        num_mask_voxels += flat.size
        rows, columns = np.divmod(flat, num_columns)
        values_hu = array_hu[z][rows, columns].astype(np.float64)
        keep = _reaches(values_hu, rule.threshold_hu, rule.threshold_comparison)
        rows, columns = rows[keep], columns[keep]
        indices.append(np.stack((np.full_like(rows, z), rows, columns), axis=1))
        values.append(values_hu[keep])
    index_zyx = np.concatenate(indices) if indices else np.empty((0, 3), np.int64)
    component, num_components = _join_neighbours(
        index_zyx, (num_rows, num_columns), rule.connectivity
    )
    return Components(
        index_zyx=index_zyx,
        values_hu=np.concatenate(values) if values else np.empty(0),
        component=component,
        num_components=num_components,
        num_mask_voxels=num_mask_voxels,
    )


def _reaches(
    values_hu: FloatArray, threshold_hu: float | None, comparison: Comparison
) -> npt.NDArray[np.bool_]:
    if threshold_hu is None:
        return np.ones(values_hu.shape, dtype=np.bool_)
    return values_hu >= threshold_hu if comparison == ">=" else values_hu > threshold_hu


def _join_neighbours(
    index_zyx: IntArray, shape_yx: tuple[int, int], connectivity: int
) -> tuple[IntArray, int]:
    """Number the components of voxels given in scan order."""
    num_voxels = len(index_zyx)
    if num_voxels == 0:
        return np.empty(0, np.int64), 0
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    # One column and one row of padding keep neighbours from wrapping round an edge.
    strides = np.array([(shape_yx[0] + 1) * (shape_yx[1] + 1), shape_yx[1] + 1, 1])
    keys = index_zyx @ strides
    starts, ends = [], []
    for offset in _forward_offsets(connectivity):
        wanted = keys + int(np.dot(offset, strides))
        position = np.minimum(np.searchsorted(keys, wanted), num_voxels - 1)
        found = np.flatnonzero(keys[position] == wanted)
        starts.append(found)
        ends.append(position[found])
    start, end = np.concatenate(starts), np.concatenate(ends)
    graph = coo_matrix(
        (np.ones(start.size, np.bool_), (start, end)), shape=(num_voxels, num_voxels)
    )
    num_components, labels = connected_components(graph, directed=False)
    _, first_voxel = np.unique(labels, return_index=True)
    rank = np.empty(num_components, np.int64)
    rank[np.argsort(first_voxel)] = np.arange(num_components)
    return rank[labels], int(num_components)


def _forward_offsets(connectivity: int) -> list[tuple[int, int, int]]:
    """Return one (z, y, x) step of each pair of opposite neighbours."""
    return [
        (dz, dy, dx)
        for dz, dy, dx in product((-1, 0, 1), repeat=3)
        if (dz, dy, dx) > (0, 0, 0)
        and (connectivity in (6, 26) or dz == 0)
        and (connectivity in (8, 26) or abs(dz) + abs(dy) + abs(dx) == 1)
    ]
