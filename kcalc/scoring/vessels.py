"""From calcium to vessels: a segmentation of arteries in, labels of calcium out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.anatomy import CORONARY_VESSELS, NOT_CORONARY
from kcalc.errors import InputError
from kcalc.scoring import checks

DEFAULT_DISTANCE_MM = 5.0
"""How far calcium may lie from a segmented vessel to be its own: about one lumen."""
_LABELS = tuple(part.label for part in (*CORONARY_VESSELS, *NOT_CORONARY))


def nearest_vessels(
    mask: npt.ArrayLike,
    vessels: npt.ArrayLike,
    spacing_mm: Sequence[float],
    *,
    max_distance_mm: float = DEFAULT_DISTANCE_MM,
) -> npt.NDArray[np.uint8]:
    """Return a vessel map of the mask's voxels: the nearest vessel, 0 if none is near.

    For a segmentation of vessels or structures that does not follow the lesions, such
    as the lumen of arteries. Distances run between voxel centres; of two vessels
    equally near, the one of the lower label counts.

    Args:
        mask: Calcium, bool or integer, (z, y, x).
        vessels: Labels of vessels and structures (:mod:`kcalc.anatomy`), 0 elsewhere,
            (z, y, x).
        spacing_mm: Distance of voxels in mm, (z, y, x).
        max_distance_mm: Farthest vessel that counts, in mm.

    Returns:
        Labels, uint8 (z, y, x), 0 outside the mask; give it to
        :func:`kcalc.calcium_score` as ``vessels``.

    Raises:
        InputError: ``VESSEL_LABELS``, a label that is no vessel, or none at all.
        ValueError: Shapes or the distance break these rules.

    Example:
        >>> vessels = np.zeros((1, 1, 9), np.uint8)
        >>> vessels[0, 0, 0], vessels[0, 0, 8] = 2, 4
        >>> mask = np.ones((1, 1, 9), bool)
        >>> nearest_vessels(mask, vessels, (3, 1, 1), max_distance_mm=3)[0, 0].tolist()
        [2, 2, 2, 2, 0, 4, 4, 4, 4]
    """
    from scipy.spatial import cKDTree

    if not 0 < max_distance_mm < float("inf"):
        raise ValueError(
            "max_distance_mm must be a positive distance in mm. "
            f"Received: max_distance_mm={max_distance_mm}"
        )
    calcium = np.asarray(mask)
    labels = checked_vessels(vessels, calcium.shape)
    spacing = np.array(checks.checked_spacing(spacing_mm))
    index = np.argwhere(calcium != 0)
    result = np.zeros(calcium.shape, np.uint8)
    if not len(index):
        return result
    nearest = np.full(len(index), np.inf)
    names = np.zeros(len(index), np.uint8)
    for label in np.unique(labels[labels > 0]).tolist():
        tree = cKDTree(np.argwhere(labels == label) * spacing)
        # The bound is exclusive, so it is widened by less than any voxel's rounding.
        distance, _ = tree.query(
            index * spacing, distance_upper_bound=max_distance_mm * (1 + 1e-9)
        )
        nearer = distance < nearest - 1e-9
        nearest[nearer], names[nearer] = distance[nearer], label
    result[tuple(index.T)] = names
    return result


def checked_vessels(
    vessels: npt.ArrayLike, shape_zyx: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Return a segmentation of vessels after a check of its labels.

    Raises:
        InputError: ``VESSEL_LABELS``.
        ValueError: Another shape than the scan's.
    """
    labels = checks.checked_labels(vessels, "vessels", shape_zyx)
    found = np.unique(labels).tolist()
    if not set(found) - {0} or set(found) - {0, *_LABELS}:
        known = ", ".join(
            f"{part.label} {part.name}" for part in (*CORONARY_VESSELS, *NOT_CORONARY)
        )
        raise InputError(
            "VESSEL_LABELS",
            f"a segmentation of vessels must hold labels of kcalc ({known}); received "
            f"the values {found[:8]}.",
            hint="Map your labels to these first.",
        )
    return labels
