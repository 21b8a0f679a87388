"""Which crop a training sample is, and its voxels: from a seed to a stack of slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kcalc.data.case import CaseRecord
from kcalc.data.store import CaseStore
from kcalc.preparation import InputSpec, stack_indices

Shares: TypeAlias = tuple[float, float, float]
"""Of patches that hold calcium, a hard negative, an imitator; the rest lie anywhere."""


@dataclass(frozen=True)
class PatchSampling:
    """How square in-plane crops are drawn and resized.

    Args:
        size: Rows and columns of a sample after resizing, in pixels.
        side: Smallest and largest side of the crop in the scan's pixels, drawn
            uniformly; cut to the slice where that is smaller. At most twice ``size``,
            up to which bilinear resizing uses every pixel.
        p_positive: Share of crops that hold a random labelled voxel.
        p_hard_negative: Share of crops that hold a random voxel >= 130 HU without
            a label.
        p_imitator: Share of crops that hold a voxel of a component >= 130 HU that is
            as large as calcium and has no label; the remaining crops lie anywhere.

    Raises:
        ValueError: An argument breaks these rules.
    """

    size: int = 256
    side: tuple[int, int] = (192, 384)
    p_positive: float = 0.0
    p_hard_negative: float = 0.0
    p_imitator: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.side[0] <= self.side[1] <= 2 * self.size:
            raise ValueError(
                "side must be (smallest, largest) in pixels, the largest at most twice "
                f"size. Received: side={self.side}, size={self.size}"
            )
        check_shares(self.shares)

    @property
    def shares(self) -> Shares:
        """Shares of crops that hold calcium, a hard negative, an imitator."""
        return (self.p_positive, self.p_hard_negative, self.p_imitator)


def check_shares(shares: Shares) -> None:
    """Refuse shares that are no shares.

    Raises:
        ValueError: One is negative, or they sum to more than 1.
    """
    if min(shares) < 0 or sum(shares) > 1:
        raise ValueError(
            "p_positive, p_hard_negative and p_imitator must be >= 0 and sum to at "
            f"most 1. Received: p_positive={shares[0]}, p_hard_negative={shares[1]}, "
            f"p_imitator={shares[2]}"
        )


class VoxelSampler:
    """Draws a case, and the kind of voxel that a patch of it is to hold.

    Args:
        store: The store.
        records: Cases to draw from, at least one.
        shares: Shares of patches that hold a labelled voxel, a voxel >= 130 HU without
            a label, and a voxel of an imitator. A share whose kind of voxel no case has
            goes to patches that lie anywhere.
    """

    def __init__(
        self, store: CaseStore, records: Sequence[CaseRecord], shares: Shares
    ) -> None:
        self.records = tuple(records)
        self._ends = tuple(np.cumsum(shares).tolist())
        self._tables = [
            _non_empty(table(record.name) for record in self.records)
            for table in (
                store.positive_zyx,
                store.hard_negative_zyx,
                store.imitator_zyx,
            )
        ]

    def draw(
        self, rng: np.random.Generator
    ) -> tuple[CaseRecord, npt.NDArray[np.int32] | None]:
        """Return a case and its table of voxels (n, 3), None for a patch anywhere.

        Cases that have such voxels count alike.
        """
        chance = rng.random()
        kinds = zip(self._ends, self._tables, strict=True)
        tables = next((table for end, table in kinds if chance < end), {})
        candidates = list(tables) or range(len(self.records))
        index = candidates[int(rng.integers(len(candidates)))]
        return self.records[index], tables.get(index)


def sample_rng(seed: int, index: int) -> np.random.Generator:
    """Return what training sample ``index`` is drawn with, from the two alone."""
    return np.random.default_rng([seed, 0, index])


@dataclass(frozen=True)
class Crop:
    """A square of one slice: case, slice index, first row and column, side."""

    case: str
    z: int
    y: int
    x: int
    side: int


class CropSampler:
    """Draws crops from the cases of one split.

    Args:
        store: The store.
        records: Cases to draw from, at least one.
        sampling: How crops are drawn.
    """

    def __init__(
        self,
        store: CaseStore,
        records: Sequence[CaseRecord],
        sampling: PatchSampling,
    ) -> None:
        self.sampling = sampling
        self.records = tuple(records)
        self._voxels = VoxelSampler(store, records, sampling.shares)

    def draw(self, rng: np.random.Generator) -> Crop:
        """Return one random crop.

        Cases count alike; a drawn voxel lies anywhere in the crop, an eighth of the
        side away from its edge where the slice allows it.
        """
        sampling = self.sampling
        record, table = self._voxels.draw(rng)
        num_slices, rows, columns = record.shape_zyx
        side = int(rng.integers(sampling.side[0], sampling.side[1] + 1))
        side = min(side, rows, columns)
        if table is None:
            z = int(rng.integers(num_slices))
            y = int(rng.integers(rows - side + 1))
            x = int(rng.integers(columns - side + 1))
            return Crop(record.name, z, y, x, side)
        voxel = table[int(rng.integers(len(table)))]
        start = [
            start_round(int(centre), side, size, rng)
            for centre, size in zip(voxel[1:], (rows, columns), strict=True)
        ]
        return Crop(record.name, int(voxel[0]), start[0], start[1], side)


def read_crop(
    store: CaseStore, crop: Crop, input_spec: InputSpec
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Read a crop's slices and the label of its middle slice.

    Args:
        store: The store.
        crop: What to read; it may reach beyond the slice.
        input_spec: Which slices make a stack; at the ends the border slice repeats.

    Returns:
        int16 HU (y, x, stack), caudal slice first, and uint8 label (y, x). Beyond the
        slice the value and label of its nearest pixel stand.
    """
    image = store.image(crop.case)
    rows, beyond_y = clipped(crop.y, crop.side, image.shape[1])
    columns, beyond_x = clipped(crop.x, crop.side, image.shape[2])
    slice_spacing_mm = store[crop.case].spacing_mm[0]
    slices = stack_indices(image.shape[0], input_spec, slice_spacing_mm)[crop.z]
    first, last = int(slices.min()), int(slices.max())
    block = np.asarray(image[first : last + 1, rows, columns])
    label = np.asarray(store.label(crop.case)[crop.z, rows, columns])
    stacked = np.moveaxis(block[slices - first], 0, -1)
    beyond = (beyond_y, beyond_x)
    if not np.any(beyond):
        return stacked, label
    stacked = np.pad(stacked, (*beyond, (0, 0)), mode="edge")
    return stacked, np.pad(label, beyond, mode="edge")


def clipped(start: int, size: int, limit: int) -> tuple[slice, tuple[int, int]]:
    """Return the part of [start, start + size) in [0, limit), and what lacks.

    Args:
        start: May be negative.
        size: Voxels.
        limit: Voxels that there are; one of them at least is taken.

    Returns:
        The slice, and the voxels that lack before and behind it.

    Example:
        >>> clipped(-2, 5, 10)
        (slice(0, 3, None), (2, 0))
    """
    first = min(max(start, 0), limit - 1)
    last = max(min(start + size, limit), first + 1)
    return slice(first, last), (first - start, start + size - last)


def fixed_slices(
    store: CaseStore, records: Sequence[CaseRecord], count: int, seed: int
) -> list[Crop]:
    """Return a fixed, seeded choice of whole slices for validation.

    About half are slices with a label, as many as there are; the rest are any slices.
    Slices that are not square are cut to their middle square.

    Args:
        store: The store.
        records: Cases to choose from.
        count: Number of slices wanted.
        seed: Same seed, same slices.
    """
    rng = np.random.default_rng([seed, 1])
    every = [(r, z) for r in records for z in range(r.shape_zyx[0])]
    positive = [(r, int(z)) for r in records for z in store.positive_slices(r.name)]
    half = min(count // 2, len(positive))
    chosen = [positive[i] for i in rng.permutation(len(positive))[:half]]
    taken = {(r.name, z) for r, z in chosen}
    rest = [every[i] for i in rng.permutation(len(every))]
    rest = [pair for pair in rest if (pair[0].name, pair[1]) not in taken]
    chosen += rest[: count - half]
    crops = []
    for record, z in chosen:
        _, rows, columns = record.shape_zyx
        side = min(rows, columns)
        crops.append(
            Crop(record.name, z, (rows - side) // 2, (columns - side) // 2, side)
        )
    return crops


def start_round(centre: int, side: int, size: int, rng: np.random.Generator) -> int:
    """Return a random start so that [start, start + side) holds the centre.

    The centre keeps an eighth of the side from both ends where the size allows it.
    """
    margin = side // 8
    start = centre - int(rng.integers(margin, side - margin))
    return int(np.clip(start, 0, size - side))


def _non_empty(tables: object) -> dict[int, npt.NDArray[np.int32]]:
    """Return the tables that have rows, by the index of their case."""
    return {i: table for i, table in enumerate(tables) if len(table)}  # type: ignore[arg-type, var-annotated]
