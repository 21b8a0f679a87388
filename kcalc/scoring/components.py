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

from kcalc.hounsfield import reaches
from kcalc.scoring.rules import ScoringRule

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


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

    def kept(self, rule: ScoringRule, pixel_area_mm2: float) -> BoolArray:
        """Return which components are as large as the rule asks, (num_components,)."""
        sizes = np.bincount(self.component, minlength=self.num_components)
        return np.asarray(sizes >= rule.minimum_voxels(pixel_area_mm2))

    def lesion_numbers(self, rule: ScoringRule, pixel_area_mm2: float) -> IntArray:
        """Return the lesion of each voxel, from 1; 0 where the rule leaves it out.

        Lesions, like components, are numbered by their first voxel in scan order.
        """
        kept = self.kept(rule, pixel_area_mm2)
        return np.where(kept, np.cumsum(kept), 0)[self.component]


def find_components(
    array_hu: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    rule: ScoringRule,
    *,
    labels: npt.NDArray[Any] | None = None,
) -> Components:
    """Return the connected components of mask AND threshold.

    Args:
        array_hu: Values in HU, real, (z, y, x); compared before any rounding.
        mask: bool or integer of the same shape; nonzero belongs to the mask.
        rule: Its threshold, comparison, specks and connectivity are used, as they
            stand (:meth:`ScoringRule.applied`).
        labels: Vessel map of the same shape, for a rule whose lesions are its labels.

    Example:
        >>> scan = np.array([[[200, 0, 200], [0, 200, 0]]])
        >>> find_components(scan, scan > 0, ScoringRule("8", "-")).num_components
        1
        >>> diagonal_apart = ScoringRule("4", "-", connectivity=4)
        >>> find_components(scan, scan > 0, diagonal_apart).num_components
        3
    """
    index_zyx, values_hu, num_mask_voxels = calcium_voxels(array_hu, mask, rule)
    shape_yx = (array_hu.shape[1], array_hu.shape[2])
    if rule.speck_voxels and len(index_zyx):
        speck_of, _ = _join_neighbours(index_zyx, shape_yx, 6)
        stays = np.bincount(speck_of)[speck_of] > rule.speck_voxels
        index_zyx, values_hu = index_zyx[stays], values_hu[stays]
    if rule.connectivity == "label" and labels is not None:
        component, num_components = _by_first_voxel(labels[tuple(index_zyx.T)])
    else:
        joined = 6 if rule.connectivity == "label" else rule.connectivity
        component, num_components = _join_neighbours(index_zyx, shape_yx, joined)
    return Components(index_zyx, values_hu, component, num_components, num_mask_voxels)


def calcium_voxels(
    array_hu: npt.NDArray[Any], mask: npt.NDArray[Any], rule: ScoringRule
) -> tuple[IntArray, FloatArray, int]:
    """Return mask AND threshold: indices (z, y, x), HU, and the size of the mask."""
    indices, values, num_mask_voxels = [], [], 0
    for z in range(array_hu.shape[0]):
        flat = _nonzero(mask[z])
        if flat.size == 0:
            continue
        num_mask_voxels += flat.size
        rows, columns = np.divmod(flat, array_hu.shape[2])
        values_hu = array_hu[z][rows, columns].astype(np.float64)
        keep = reaches_threshold(values_hu, rule)
        rows, columns = rows[keep], columns[keep]
        indices.append(np.stack((np.full_like(rows, z), rows, columns), axis=1))
        values.append(values_hu[keep])
    return (
        np.concatenate(indices) if indices else np.empty((0, 3), np.int64),
        np.concatenate(values) if values else np.empty(0),
        num_mask_voxels,
    )


def _nonzero(plane: npt.NDArray[Any]) -> IntArray:
    """Return the flat indices of a slice's nonzero pixels, in order."""
    if plane.itemsize != 1 or plane.size % 8 or not plane.flags.c_contiguous:
        return np.flatnonzero(plane)
    # Masks are sparse: looking at eight pixels at a time is several times faster.
    pixels = plane.reshape(-1)
    eights = np.flatnonzero(pixels.view(np.uint64) != 0)
    near = (eights[:, np.newaxis] * 8 + np.arange(8)).reshape(-1)
    return np.asarray(near[pixels[near] != 0])


def reaches_threshold(values_hu: FloatArray, rule: ScoringRule) -> BoolArray:
    """Return which values a rule takes for calcium."""
    if rule.threshold_hu is None:
        return np.ones(values_hu.shape, dtype=np.bool_)
    return np.asarray(reaches(values_hu, rule.threshold_hu, rule.threshold_comparison))


def _join_neighbours(
    index_zyx: IntArray, shape_yx: tuple[int, int], connectivity: int
) -> tuple[IntArray, int]:
    """Number the components of voxels given in scan order."""
    num_voxels = len(index_zyx)
    if num_voxels == 0 or connectivity == 1:
        return np.arange(num_voxels), num_voxels
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
    _, labels = connected_components(graph, directed=False)
    return _by_first_voxel(labels)


def _by_first_voxel(labels: npt.NDArray[Any]) -> tuple[IntArray, int]:
    """Number labels of any kind from 0, by the first voxel of each."""
    found, first_voxel, group = np.unique(
        labels, return_index=True, return_inverse=True
    )
    rank = np.empty(found.size, np.int64)
    rank[np.argsort(first_voxel)] = np.arange(found.size)
    return rank[group], int(found.size)


def _forward_offsets(connectivity: int) -> list[tuple[int, int, int]]:
    """Return one (z, y, x) step of each pair of opposite neighbours."""
    return [
        (dz, dy, dx)
        for dz, dy, dx in product((-1, 0, 1), repeat=3)
        if (dz, dy, dx) > (0, 0, 0)
        and (connectivity in (6, 26) or dz == 0)
        and (connectivity in (8, 26) or abs(dz) + abs(dy) + abs(dx) == 1)
    ]
