"""Networks of "same" convolutions on whole volumes, in memory that is a parameter.

A planar U-Net gives as many voxels as it gets. Near the border of its input they feel
the zeros beyond it, up to the network's reach; so tiles overlap by that reach on every
side that is no border of the volume, only their inner part is kept, and tiles begin and
end on multiples of the total stride, where the poolings of the whole volume do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.inference.tiling import MAX_VOXELS, Run
from kcalc.preparation import Sizes


@dataclass(frozen=True)
class Span:
    """A tile along one axis: the voxels it is run on, and those it answers for."""

    run_from: int
    run_to: int
    keep_from: int
    keep_to: int

    @property
    def kept(self) -> slice:
        """What is kept of the run's output."""
        return slice(self.keep_from - self.run_from, self.keep_to - self.run_from)


def predict_tiled(
    run: Run,
    image: npt.NDArray[Any],
    *,
    halo_zyx: Sizes,
    multiple_zyx: Sizes = (8, 8, 8),
    max_voxels: int = MAX_VOXELS,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Return what one run over a whole volume gives, from runs over parts of it.

    The volume is first continued by its mirror image to multiples of ``multiple_zyx``,
    as :class:`kcalc.layers.PadToMultiple` does, and the result cropped back. Of all
    grids of equal tiles that keep ``max_voxels`` the one with the fewest voxels to run
    is taken; an axis that is not cut has no overlap. Tiles equal the whole up to the
    rounding of float32 (at most 1e-5 of a probability).

    Args:
        run: Maps an input (z, y, x) to its output (z, y, x, classes), for instance
            ``lambda box: model(box[None, ..., None])[0]``.
        image: Volume (z, y, x), already scaled as the network wants it.
        halo_zyx: How far the network sees round a voxel, rounded up to
            ``multiple_zyx``: :func:`kcalc.models.planar_unet_halo_zyx`. A smaller one
            leaves seams.
        multiple_zyx: Total stride of the network.
        max_voxels: Largest input of one run, in voxels; memory grows with it.
        progress: Called with (tiles done, tiles to do) after each.

    Returns:
        float32 (z, y, x, classes).

    Raises:
        ValueError: ``image`` has no voxel or another rank, the halo is none of the
            multiples, ``max_voxels`` is below the smallest tile, or ``run`` gives
            another size.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(
            "A volume must be (z, y, x) with at least one voxel. "
            f"Received: shape {image.shape}"
        )
    padded = np.pad(
        image,
        [(0, -n % m) for n, m in zip(image.shape, multiple_zyx, strict=True)],
        mode="symmetric",
    )
    tiles = same_tiles(padded.shape, halo_zyx, multiple_zyx, max_voxels)
    parts = []
    for done, spans in enumerate(tiles, start=1):
        box = padded[tuple(slice(s.run_from, s.run_to) for s in spans)]
        output = np.asarray(run(box))
        if output.shape[:3] != box.shape or output.ndim != 4:
            raise ValueError(
                f"The network must give {(*box.shape, 'classes')} here. "
                f"Received: {output.shape}"
            )
        parts.append((spans, output[tuple(s.kept for s in spans)]))
        if progress is not None:
            progress(done, len(tiles))
    result = np.zeros((*padded.shape, output.shape[3]), np.float32)
    for spans, part in parts:
        result[tuple(slice(s.keep_from, s.keep_to) for s in spans)] = part
    return result[tuple(slice(n) for n in image.shape)]


def same_tiles(
    shape_zyx: Sequence[int],
    halo_zyx: Sizes,
    multiple_zyx: Sizes,
    max_voxels: int = MAX_VOXELS,
) -> list[tuple[Span, ...]]:
    """Return the tiles of a volume, each as its spans along (z, y, x).

    Args:
        shape_zyx: Size of the volume, a multiple of ``multiple_zyx``.
        halo_zyx: Overlap on each side, multiples of ``multiple_zyx``.
        multiple_zyx: Grid on which tiles begin and end.
        max_voxels: Largest input of one run, in voxels.

    Returns:
        Tiles whose kept parts cover every voxel once.

    Raises:
        ValueError: The halo is none of the multiples, or ``max_voxels`` is too small.
    """
    if any(h < 0 or h % m for h, m in zip(halo_zyx, multiple_zyx, strict=True)):
        raise ValueError(
            f"halo_zyx must be multiples of {multiple_zyx}. Received: {halo_zyx}"
        )
    options = [
        [_spans(n, parts, halo, multiple) for parts in range(1, n // multiple + 1)]
        for n, halo, multiple in zip(shape_zyx, halo_zyx, multiple_zyx, strict=True)
    ]
    grids = list(itertools.product(*options))
    fitting = [grid for grid in grids if _largest(grid) <= max_voxels]
    if not fitting:
        raise ValueError(
            f"max_voxels must be at least {min(map(_largest, grids))} for a volume of "
            f"{tuple(shape_zyx)} and a halo of {halo_zyx}. "
            f"Received: max_voxels={max_voxels}"
        )
    best = min(fitting, key=lambda grid: (_total(grid), -_largest(grid)))
    return list(itertools.product(*best))


def _spans(length: int, parts: int, halo: int, multiple: int) -> tuple[Span, ...]:
    """Cut a length into at most some parts of equal size on a grid."""
    width = -(-length // (parts * multiple)) * multiple
    return tuple(
        Span(
            max(start - halo, 0),
            min(start + width + halo, length),
            start,
            min(start + width, length),
        )
        for start in range(0, length, width)
    )


def _largest(grid: Sequence[Sequence[Span]]) -> int:
    """Return the voxels of the largest input of a grid."""
    return int(np.prod([max(s.run_to - s.run_from for s in spans) for spans in grid]))


def _total(grid: Sequence[Sequence[Span]]) -> int:
    """Return the voxels of all inputs of a grid."""
    return int(np.prod([sum(s.run_to - s.run_from for s in spans) for spans in grid]))
