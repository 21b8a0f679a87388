"""On which grid a scan is scored, and a mask on its stored slices.

A network sees a corrected grid. The score is taken on the stored slices wherever they
form a regular stack of slices in one direction: those of a tilted gantry do, and their
values were mixed with no others. A gap or a changed spacing leaves only the corrected
grid; then the mask on the stored slices is given beside the score.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.regrid import mask_on_slices
from kcalc.scoring import ScoringRule
from kcalc.scoring.components import calcium_voxels
from kcalc.slices import SliceStack
from kcalc.volume import Volume

_WORDS = {
    (): "the stored slices",
    ("untilted",): "the stored slices; the network saw them sheared upright",
    ("gap filled",): "a corrected grid: missing slices were interpolated",
    ("resampled",): "a corrected grid: the slices were resampled",
}


def scored_volume(volume: Volume) -> Volume:
    """Return the volume on the grid on which the score is taken."""
    source = volume.source
    if source is None or source.corrections != ("untilted",):
        return volume
    return volume.as_stored() or volume


def on_scored_grid(
    mask: npt.NDArray[Any], volume: Volume, scored: Volume
) -> npt.NDArray[Any]:
    """Return a mask found on a volume on the grid of the score, nearest voxel."""
    if scored is volume:
        return mask
    source = volume.source
    stack = (
        SliceStack.from_geometry(scored.geometry) if source is None else source.stack
    )
    return mask_on_slices(mask, volume.geometry, stack)


def calcium_of(
    array_hu: npt.NDArray[Any], mask: npt.NDArray[np.uint8], rule: ScoringRule
) -> npt.NDArray[np.uint8]:
    """Return the mask where the rule's score or volume looks at it, 0 elsewhere."""
    calcium = np.zeros_like(mask)
    for looks in {rule, rule.for_volume}:
        index = tuple(calcium_voxels(array_hu, mask, looks)[0].T)
        calcium[index] = mask[index]
    return calcium


def calcium_on_slices(
    volume: Volume, calcium: npt.NDArray[np.uint8], scored: Volume, rule: ScoringRule
) -> npt.NDArray[np.uint8]:
    """Return the calcium of a score on the stored slices, cut there at the threshold.

    Args:
        volume: The scan as it was read.
        calcium: (z, y, x) on the grid of the score.
        scored: That grid's volume.
        rule: Whose threshold is applied to the stored values.
    """
    if volume.source is None or scored is not volume:
        return calcium
    back = mask_on_slices(calcium, volume.geometry, volume.source.stack)
    return calcium_of(volume.source.array, back, rule)


def grid_facts(
    volume: Volume, scored: Volume, on_slices: npt.NDArray[np.uint8]
) -> dict[str, Any]:
    """Return what ``score.json`` says of the grid.

    Args:
        volume: The scan as it was read.
        scored: The volume on the grid of the score.
        on_slices: Its calcium on the stored slices.
    """
    source = volume.source
    corrections = () if source is None else source.corrections
    words = _WORDS.get(corrections)
    if words is None:
        words = f"a corrected grid: the slices were {' and '.join(corrections)}"
    own = source is None or scored is not volume
    return {
        "taken_on": "stored slices" if own else "corrected grid",
        "corrections": list(corrections),
        "description": words,
        "tilt_deg": round(scored.geometry.tilt_deg, 3),
        "stored_slices": len(on_slices),
        "calcium_voxels_on_stored_slices": int(np.count_nonzero(on_slices)),
    }
