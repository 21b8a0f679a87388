"""What becomes of a slice's probabilities: the components that are calcium, whole.

A network marks where calcium is; how far a lesion reaches is a matter of the scan's
HU, as for a reader who clicks on a lesion and gets all that is connected with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]


def check_component_share(component_share: float | None) -> None:
    """Refuse a share outside (0, 1].

    Raises:
        ValueError: It is neither None nor in (0, 1].
    """
    if component_share is not None and not 0.0 < component_share <= 1.0:
        raise ValueError(
            "component_share must be None or above 0 and at most 1. "
            f"Received: component_share={component_share}"
        )


def calcium_of_slices(
    probability: npt.NDArray[Any],
    candidates: BoolArray,
    threshold: float,
    component_share: float | None,
) -> BoolArray:
    """Return the mask of slices: threshold, HU cut and, if asked for, components.

    The connected components of Ma and Zhang 2019's post-processing, whose details are
    not published; the vote is ours. :func:`kcalc.export.components.vote` does the same
    in a graph.

    Args:
        probability: (n, y, x).
        candidates: (n, y, x), voxels that reach the candidate HU.
        threshold: Probability at and above which the network votes for a voxel.
        component_share: A component of candidates (8-connected within its slice) is
            in the mask, whole, if at least this share of its voxels got a vote, and
            else no voxel of it is. None takes each voxel for itself.

    Returns:
        (n, y, x) bool, within ``candidates``.

    Example:
        >>> p = np.array([[[0.9, 0.9, 0.1, 0.0, 0.9, 0.1, 0.1]]])
        >>> hu = np.array([[[200, 300, 150, 40, 130, 130, 130]]])
        >>> calcium_of_slices(p, hu >= 130, 0.5, 0.5).astype(int)
        array([[[1, 1, 1, 0, 0, 0, 0]]])
    """
    votes = (probability >= threshold) & candidates
    if component_share is None:
        return votes
    from scipy import ndimage

    mask = np.zeros_like(votes)
    for slice_mask, slice_votes, slice_candidates in zip(
        mask, votes, candidates, strict=True
    ):
        if not slice_votes.any():
            continue
        component, num = ndimage.label(slice_candidates, np.ones((3, 3), np.int8))
        size = np.bincount(component.ravel(), minlength=num + 1)
        voted = np.bincount(component[slice_votes], minlength=num + 1)
        keep = voted >= component_share * size
        keep[0] = False
        slice_mask[:] = keep[component]
    return mask
