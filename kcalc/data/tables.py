"""Which voxels of a case patches are drawn round: tables stored with the case."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MAX_SAMPLED_VOXELS = 4096
"""Voxels of each kind kept per case for patch sampling."""
IMITATOR_VOLUME_MM3 = (3.0, 3000.0)
"""Components of this size are as large as calcium; skeleton is larger, noise less."""
_VOXELS_PER_IMITATOR = 16
_LEAST_VOXELS = 6


def sample_voxels(
    mask: npt.NDArray[np.bool_], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return up to 4096 of the mask's voxels (n, 3), sorted, without repetition."""
    found = np.flatnonzero(mask)
    if found.size > MAX_SAMPLED_VOXELS:
        found = np.sort(rng.choice(found, MAX_SAMPLED_VOXELS, replace=False))
    return np.stack(np.unravel_index(found, mask.shape), axis=1)


def sample_imitators(
    hard: npt.NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Return voxels (n, 3) of components that are as large as calcium, and are none.

    Plaques of the aorta, valves, nodes, airway rings, stents: a random voxel >= 130 HU
    is nearly always bone, so these are drawn by component, up to 16 voxels each.

    Args:
        hard: (z, y, x), voxels >= 130 HU without a label.
        spacing_mm: Voxel spacing (z, y, x) in mm.
        rng: Chooses the voxels.
    """
    from scipy import ndimage

    components, _ = ndimage.label(hard)
    found = np.flatnonzero(components)
    numbers = components.ravel()[found]
    sizes = np.bincount(numbers, minlength=1)
    volumes_mm3 = sizes * float(np.prod(spacing_mm))
    low_mm3, high_mm3 = IMITATOR_VOLUME_MM3
    wanted = (volumes_mm3 >= low_mm3) & (volumes_mm3 <= high_mm3)
    wanted &= sizes >= _LEAST_VOXELS
    wanted[0] = False
    chosen = wanted[numbers]
    found, numbers = found[chosen], numbers[chosen]
    order = np.lexsort((rng.random(found.size), numbers))
    found, numbers = found[order], numbers[order]
    starts = np.searchsorted(numbers, numbers)
    found = found[np.arange(found.size) - starts < _VOXELS_PER_IMITATOR]
    if found.size > MAX_SAMPLED_VOXELS:
        found = rng.choice(found, MAX_SAMPLED_VOXELS, replace=False)
    return np.stack(np.unravel_index(np.sort(found), hard.shape), axis=1)
