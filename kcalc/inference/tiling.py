"""Networks of valid convolutions on whole volumes, in memory that is a parameter.

Such a network's output depends on its own neighbourhood alone, so tiles that overlap by
what the network takes off, and lie on its total stride, give the very values of one run
over the whole volume. Only candidate voxels (>= 130 HU) can be calcium: tiles shrink to
the box of theirs, and those without any are skipped.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.preparation import Sizes, ValidGeometry

MAX_VOXELS = 3_200_000
"""Largest input of one run by default: a little more than the training patch. A voxel
takes about 230 bytes in the intracranial network at full width."""

Run = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


@dataclass(frozen=True)
class Tile:
    """Part of the output that one run gives: first voxel and size, (z, y, x)."""

    start_zyx: Sequence[int]
    size_zyx: Sequence[int]

    @property
    def window(self) -> tuple[slice, ...]:
        """The slices of the tile."""
        return tuple(
            slice(a, a + n) for a, n in zip(self.start_zyx, self.size_zyx, strict=True)
        )


def exact_tiles(
    candidates: npt.NDArray[np.bool_], geometry: ValidGeometry, max_voxels: int
) -> list[Tile]:
    """Return tiles that cover every candidate voxel, each within a bound.

    The box of all candidates is cut into the grid of equal slabs and tiles that costs
    the fewest input voxels; each tile then shrinks to the box of its own candidates.

    Args:
        candidates: (z, y, x) bool; what is not covered is never asked for.
        geometry: Of the network.
        max_voxels: Largest input of one run, in voxels.

    Returns:
        Tiles on the total stride; none where there is no candidate.

    Raises:
        ValueError: ``max_voxels`` is below the network's smallest useful input.
    """
    box = _box(candidates)
    if box is None:
        return []
    step = _cheapest_step(box, geometry, max_voxels)
    grid = [
        range(low, high, width)
        for low, high, width in zip(*_on_stride(box, geometry), step, strict=True)
    ]
    tiles = []
    for start in itertools.product(*grid):
        part = tuple(slice(a, a + n) for a, n in zip(start, step, strict=True))
        inner = _box(candidates[part])
        if inner is not None:
            low, high = (_sum(start, corner) for corner in inner)
            low, high = _on_stride((low, high), geometry)
            tiles.append(Tile(low, geometry.output_at_least(_difference(high, low))))
    return tiles


def predict_exact(
    run: Run,
    hu: npt.NDArray[Any],
    geometry: ValidGeometry,
    *,
    max_voxels: int = MAX_VOXELS,
    candidate_hu: float = AGATSTON_THRESHOLD_HU,
    candidates: npt.NDArray[np.bool_] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Return probabilities at the candidate voxels, as one run over the volume gives.

    The volume is thought to go on beyond its border with its outermost voxels, so that
    it may be of any size, also smaller than the receptive field.

    Args:
        run: Maps an input (z, y, x) in HU to probabilities, smaller by
            ``geometry.lost_zyx``.
        hu: Volume (z, y, x) in HU.
        geometry: Of the network.
        max_voxels: Largest input of one run, in voxels; memory grows with it.
        candidate_hu: Voxels below it are no candidates.
        candidates: bool (z, y, x), the voxels to answer for; None for those of at least
            ``candidate_hu``.
        progress: Called with (tiles done, tiles to do) after each.

    Returns:
        float32 (z, y, x): probabilities at the candidates, else 0.

    Raises:
        ValueError: ``hu`` has no voxel or another rank, ``max_voxels`` is too small, or
            ``run`` gives another size than the geometry says.
    """
    _check_volume(hu)
    if candidates is None:
        candidates = hu >= candidate_hu
    probabilities = np.zeros(hu.shape, np.float32)
    tiles = exact_tiles(candidates, geometry, max_voxels)
    for done, tile in enumerate(tiles, start=1):
        output = _run_tile(run, hu, tile, geometry)
        target = probabilities[tile.window]
        target[...] = output[tuple(slice(n) for n in target.shape)]
        if progress is not None:
            progress(done, len(tiles))
    probabilities[~candidates] = 0.0
    return probabilities


def predict_averaged(
    run: Run,
    hu: npt.NDArray[Any],
    geometry: ValidGeometry,
    *,
    patch_zyx: Sizes,
    candidate_hu: float = AGATSTON_THRESHOLD_HU,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Return probabilities as the paper made them: equal tiles, averaged in overlaps.

    Tiles of one patch size are spread evenly over each axis, as few as cover it. Their
    starts do not lie on the total stride, so overlapping tiles differ, and the result
    is not :func:`predict_exact`'s.

    Args:
        run: As of :func:`predict_exact`.
        hu: Volume (z, y, x) in HU; continued beyond its border as there.
        geometry: Of the network.
        patch_zyx: Input of every run, such as the training patch (98, 178, 178).
        candidate_hu: Voxels below it get 0.
        progress: Called with (tiles done, tiles to do) after each.

    Returns:
        float32 (z, y, x): mean probabilities where ``hu >= candidate_hu``, else 0.

    Raises:
        ValueError: As of :func:`predict_exact`, or the network cannot take the patch.

    References:
        Bortsova et al. 2017, doi 10.1007/978-3-319-66179-7_41, section 3.
    """
    _check_volume(hu)
    size = _difference(patch_zyx, geometry.lost_zyx)
    if geometry.output_at_least(size) != size:
        raise ValueError(
            f"patch_zyx must be {geometry.smallest_zyx} plus multiples of "
            f"{geometry.stride_zyx}. Received: patch_zyx={patch_zyx}"
        )
    total = np.zeros(hu.shape, np.float32)
    count = np.zeros(hu.shape, np.float32)
    starts = [_spread(n, width) for n, width in zip(hu.shape, size, strict=True)]
    num_tiles = int(np.prod([len(part) for part in starts]))
    for done, start in enumerate(itertools.product(*starts), start=1):
        tile = Tile(start, size)
        output = _run_tile(run, hu, tile, geometry)
        target = total[tile.window]
        target += output[tuple(slice(n) for n in target.shape)]
        count[tile.window] += 1.0
        if progress is not None:
            progress(done, num_tiles)
    return np.where(hu >= candidate_hu, total / count, np.float32(0.0))


def _run_tile(
    run: Run, hu: npt.NDArray[Any], tile: Tile, geometry: ValidGeometry
) -> npt.NDArray[Any]:
    """Return the network's output for a tile, whose halo may lie beyond the border."""
    inside, beyond = [], []
    for n, start, size, before, after in zip(
        hu.shape,
        tile.start_zyx,
        tile.size_zyx,
        geometry.before_zyx,
        geometry.after_zyx,
        strict=True,
    ):
        low, high = start - before, start + size + after
        inside.append(slice(max(low, 0), min(high, n)))
        beyond.append((max(-low, 0), max(high - n, 0)))
    output = run(np.pad(hu[tuple(inside)], beyond, mode="edge"))
    if output.shape != tile.size_zyx:
        raise ValueError(
            f"The network must give {tile.size_zyx} voxels here, as its geometry says. "
            f"Received: {output.shape}"
        )
    return output


def _cheapest_step(
    box: tuple[Sizes, Sizes], geometry: ValidGeometry, max_voxels: int
) -> Sizes:
    """Return the tile size on the stride that covers a box with the fewest voxels."""
    low, high = _on_stride(box, geometry)
    extent = _difference(high, low)

    def choices(axis: int) -> Iterator[int]:
        stride = geometry.stride_zyx[axis]
        widths = {
            -(-extent[axis] // (parts * stride)) * stride
            for parts in range(1, extent[axis] // stride + 2)
        }
        yield from sorted(widths, reverse=True)

    def cost(step: Sizes) -> tuple[int, int]:
        """Voxels of all inputs, and of one."""
        one = _input_voxels(step, geometry)
        parts = [-(-n // width) for n, width in zip(extent, step, strict=True)]
        return one * int(np.prod(parts)), one

    check_max_voxels(max_voxels, geometry)
    steps = itertools.product(choices(0), choices(1), choices(2))
    return min(
        (step for step in steps if cost(step)[1] <= max_voxels),
        key=lambda step: cost(step)[0],
    )


def check_max_voxels(max_voxels: int, geometry: ValidGeometry) -> None:
    """Refuse a bound on the input that no tile keeps.

    Raises:
        ValueError: ``max_voxels`` is below the input of the smallest tile.
    """
    least = _input_voxels(geometry.stride_zyx, geometry)
    if max_voxels < least:
        raise ValueError(
            f"max_voxels must be at least {least}, the input of the smallest tile on "
            f"the network's stride. Received: max_voxels={max_voxels}"
        )


def _input_voxels(size: Sizes, geometry: ValidGeometry) -> int:
    return int(np.prod(_sum(geometry.output_at_least(size), geometry.lost_zyx)))


def _on_stride(
    box: tuple[Sizes, Sizes], geometry: ValidGeometry
) -> tuple[Sizes, Sizes]:
    """Return a box with its start moved down onto the stride."""
    z, y, x = (
        n // stride * stride
        for n, stride in zip(box[0], geometry.stride_zyx, strict=True)
    )
    return (z, y, x), box[1]


def _box(mask: npt.NDArray[np.bool_]) -> tuple[Sizes, Sizes] | None:
    """Return first and one past the last index of the true voxels; None without any."""
    low, high = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        places = np.flatnonzero(mask.any(axis=others))
        if not len(places):
            return None
        low.append(int(places[0]))
        high.append(int(places[-1]) + 1)
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _spread(length: int, width: int) -> list[int]:
    """Return the starts of as few tiles as cover a length, evenly spread."""
    parts = -(-length // width)
    if parts == 1:
        return [0]
    return [round(i * (length - width) / (parts - 1)) for i in range(parts)]


def _sum(a: Sequence[int], b: Sequence[int]) -> Sizes:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def _difference(a: Sizes, b: Sizes) -> Sizes:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def _check_volume(hu: npt.NDArray[Any]) -> None:
    if hu.ndim != 3 or 0 in hu.shape:
        raise ValueError(
            "A volume must be (z, y, x) with at least one voxel. "
            f"Received: shape {hu.shape}"
        )
