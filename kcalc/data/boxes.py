"""Which box of a scan a 3-D training sample is, and its voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kcalc.data.case import CaseRecord, check_unit
from kcalc.data.patches import Shares, VoxelSampler, clipped, start_round
from kcalc.data.store import CaseStore
from kcalc.errors import InputError
from kcalc.preparation import NOT_SUPERVISED, SPACING_TOLERANCE, InputSpec

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Box:
    """A box of one scan: case and first voxel, which may lie before the scan's."""

    case: str
    start_zyx: Triple

    def moved(self, back_zyx: Sequence[int]) -> Box:
        """Return a box that begins so many voxels earlier."""
        z, y, x = (s - b for s, b in zip(self.start_zyx, back_zyx, strict=True))
        return Box(self.case, (z, y, x))


class BoxSampler:
    """Draws boxes from the cases of one split.

    The part of a box that a network of valid convolutions labels, which is the box
    without ``halo_zyx`` at each side, lies within the scan wherever the scan is that
    large; its halo may reach beyond. So every voxel of a scan is trained on.

    Args:
        store: The store.
        split: Name of the split.
        patch_zyx: Size of a box.
        input_spec: Its halo and spacing are used.
        shares: Shares of boxes whose labelled part holds calcium, a hard negative, an
            imitator; see :class:`kcalc.data.patches.VoxelSampler`.

    Raises:
        ValueError: The patch is not larger than its halo, or the network takes stacks
            of slices.
        InputError: The split has no case (``STORE_SPLIT``), a scan is smaller than the
            receptive field, 2 * halo + 1 (``STORE_SMALL``), or has another spacing than
            the network's (``STORE_SPACING``), or is in arbitrary units where the
            network's window is in HU (``STORE_UNIT``).
    """

    def __init__(
        self,
        store: CaseStore,
        split: str,
        patch_zyx: Triple,
        input_spec: InputSpec,
        shares: Shares = (0.0, 0.0, 0.0),
    ) -> None:
        if input_spec.stack != 1:
            raise ValueError(
                "A network for volumes must have a stack of 1. "
                f"Received: stack={input_spec.stack}"
            )
        self.records = store.split(split)
        self.patch_zyx = patch_zyx
        self._halo = input_spec.halo_zyx
        self._window = [p - 2 * h for p, h in zip(patch_zyx, self._halo, strict=True)]
        if min(self._window) < 1:
            raise ValueError(
                "patch_zyx must be larger than twice the network's halo. Received: "
                f"patch_zyx={patch_zyx}, halo_zyx={self._halo}"
            )
        for record in self.records:
            _check(record, input_spec)
        self._voxels = VoxelSampler(store, self.records, shares)

    def draw(self, rng: np.random.Generator) -> Box:
        """Return one random box; a drawn voxel lies anywhere in its labelled part."""
        record, table = self._voxels.draw(rng)
        voxel = None if table is None else table[int(rng.integers(len(table)))]
        return self.box(record, voxel, rng)

    def box(
        self,
        record: CaseRecord,
        voxel: npt.NDArray[np.int32] | None,
        rng: np.random.Generator,
    ) -> Box:
        """Return a random box of a scan whose labelled part holds a voxel, if given."""
        starts = []
        for axis, (size, window) in enumerate(
            zip(record.shape_zyx, self._window, strict=True)
        ):
            if size < window:
                start = -((window - size) // 2)
            elif voxel is None:
                start = int(rng.integers(size - window + 1))
            else:
                start = start_round(int(voxel[axis]), window, size, rng)
            starts.append(start - self._halo[axis])
        z, y, x = starts
        return Box(record.name, (z, y, x))


def read_box(
    store: CaseStore, box: Box, size_zyx: Triple
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Read the voxels of a box and their labels.

    Args:
        store: The store.
        box: What to read.
        size_zyx: Size of the box.

    Returns:
        int16 HU and uint8 label (z, y, x). Beyond the scan the value of its nearest
        voxel stands, and the label 255.
    """
    image, label = store.image(box.case), store.label(box.case)
    parts = [
        clipped(start, size, limit)
        for start, size, limit in zip(box.start_zyx, size_zyx, image.shape, strict=True)
    ]
    inside, beyond = tuple(part for part, _ in parts), [lack for _, lack in parts]
    hu, marked = np.asarray(image[inside]), np.asarray(label[inside])
    if not np.any(beyond):
        return hu, marked
    return (
        np.pad(hu, beyond, mode="edge"),
        np.pad(marked, beyond, constant_values=NOT_SUPERVISED),
    )


def fixed_boxes(
    store: CaseStore, sampler: BoxSampler, count: int, seed: int
) -> list[Box]:
    """Return a fixed, seeded choice of boxes for validation.

    Half of them hold a random labelled voxel in their labelled part, of each case with
    calcium in turn; the rest lie anywhere, in each case in turn.

    Args:
        store: The store.
        sampler: Sampler of the split.
        count: Number of boxes.
        seed: Same seed, same boxes.
    """
    rng = np.random.default_rng([seed, 1])
    positive = [r for r in sampler.records if len(store.positive_zyx(r.name))]
    half = count // 2 if positive else 0
    boxes = []
    for record in _in_turn(positive, half, rng):
        table = store.positive_zyx(record.name)
        boxes.append(sampler.box(record, table[int(rng.integers(len(table)))], rng))
    for record in _in_turn(sampler.records, count - half, rng):
        boxes.append(sampler.box(record, None, rng))
    return boxes


def _in_turn(
    records: Sequence[CaseRecord], count: int, rng: np.random.Generator
) -> list[CaseRecord]:
    order = rng.permutation(len(records))
    return [records[order[i % len(order)]] for i in range(count)]


def _check(record: CaseRecord, input_spec: InputSpec) -> None:
    check_unit(record, input_spec)
    field = tuple(2 * h + 1 for h in input_spec.halo_zyx)
    if any(n < least for n, least in zip(record.shape_zyx, field, strict=True)):
        raise InputError(
            "STORE_SMALL",
            f"Every scan must be at least as large as the network's receptive field, "
            f"{field} voxels (z, y, x). Received: {record.name} of {record.shape_zyx}.",
            hint="Leave the case out, or give more of the scan when preparing.",
        )
    if not input_spec.takes_spacing(record.spacing_mm):
        raise InputError(
            "STORE_SPACING",
            "Every scan must have the network's spacing (z, y, x), "
            f"{input_spec.spacing_mm} mm, {SPACING_TOLERANCE:.0%} more or less. "
            f"Received: {record.name} of {record.spacing_mm} mm.",
            hint="Resample when preparing, or leave the case out.",
        )
