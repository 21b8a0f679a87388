"""From a scored scan to the pictures of its slices with lesions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.report.figures import (
    Box,
    DisplayPlane,
    Outline,
    body_box,
    slice_svg,
    zoom_box,
)
from kcalc.scoring import CalciumScore
from kcalc.scoring.components import find_components
from kcalc.volume import Volume

MAX_PICTURES = 60
"""Slices shown; beyond that those stay that add most to the score."""


@dataclass(frozen=True)
class Picture:
    """One slice of the report.

    Args:
        slice_index: Index of the slice on the stored grid.
        position_mm: LPS z of the middle of the slice in mm.
        lesion_numbers: Numbers of the lesions in it.
        agatston: What its lesions add to the score; None for lesions across slices.
        whole_svg: The slice.
        zoom_svg: Its lesions, enlarged; about square.
        whole_aspect: Width of the slice's picture over its height.
    """

    slice_index: int
    position_mm: float
    lesion_numbers: tuple[int, ...]
    agatston: float | None
    whole_svg: str
    zoom_svg: str
    whole_aspect: float


def lesion_pictures(
    volume: Volume,
    mask: npt.NDArray[Any],
    score: CalciumScore,
    *,
    max_pictures: int = MAX_PICTURES,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Picture], int]:
    """Draw every slice with a lesion, up to a bound.

    Args:
        volume: The scan in HU.
        mask: (z, y, x) mask that was scored; its values are the vessel map where the
            score has totals by vessel.
        score: Its score.
        max_pictures: Most slices to draw.
        progress: Called with (pictures done, pictures to do).

    Returns:
        The pictures in slice order, and how many slices with lesions are left out.
    """
    vessels = None if score.per_vessel is None else mask
    components = find_components(volume.array, mask, score.rule, labels=vessels)
    numbers = components.lesion_numbers(
        score.rule, score.spacing_mm[1] * score.spacing_mm[2]
    )
    slices = components.index_zyx[:, 0]
    with_lesion = np.unique(slices[numbers > 0])
    agatston = {
        int(z): sum(
            score.lesions[number - 1].agatston
            for number in np.unique(numbers[(slices == z) & (numbers > 0)]).tolist()
        )
        for z in with_lesion
    }
    shown = sorted(sorted(agatston, key=lambda z: -agatston[z])[:max_pictures])
    if not shown:
        return [], 0
    plane = DisplayPlane.of(volume.geometry)
    box = body_box(np.stack([plane.turn(volume.array[z]) for z in shown]))
    pictures = []
    for done, z in enumerate(shown):
        here = slices == z
        number_image = np.zeros(volume.shape[1:], dtype=np.int32)
        number_image[tuple(components.index_zyx[here, 1:].T)] = np.where(
            numbers[here] > 0, numbers[here], -1
        )
        pictures.append(
            _picture(
                volume,
                z,
                plane.turn(number_image),
                plane,
                box,
                score,
            )
        )
        if progress is not None:
            progress(done + 1, len(shown))
    return pictures, len(agatston) - len(shown)


def _picture(
    volume: Volume,
    slice_index: int,
    number_image: npt.NDArray[np.int32],
    plane: DisplayPlane,
    box: Box,
    score: CalciumScore,
) -> Picture:
    numbers = [n for n in np.unique(number_image).tolist() if n > 0]
    agatston = {number: score.lesions[number - 1].agatston for number in numbers}
    places = []
    for number in sorted(numbers, key=lambda number: -agatston[number]):
        rows, columns = np.nonzero(number_image == number)
        places.append((number, float(rows.min()), float(columns.max()) + 1.5))
    kept = number_image > 0
    outlines = (Outline(number_image < 0, "dropped"), Outline(kept, "kept", places))
    middle = ((volume.shape[1] - 1) / 2, (volume.shape[2] - 1) / 2)
    position_mm = float(volume.geometry.index_to_mm((slice_index, *middle))[2])
    whole, zoom = slice_svg(
        plane.turn(volume.array[slice_index]),
        outlines,
        plane,
        picture_id=f"picture-{slice_index}",
        box=box,
        zoom=zoom_box(kept, plane.spacing_mm, box),
        label=f"Slice at z = {position_mm:+.1f} mm",
    )
    height_mm = (box[1] - box[0]) * plane.spacing_mm[0]
    width_mm = (box[3] - box[2]) * plane.spacing_mm[1]
    return Picture(
        slice_index,
        position_mm,
        tuple(numbers),
        sum(agatston.values()) if score.rule.ndim == 2 else None,
        whole,
        zoom,
        width_mm / height_mm,
    )
