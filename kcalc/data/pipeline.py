"""tf.data from a CaseStore: batches of slice stacks with the middle slice's label.

Sample ``i`` depends on (seed, i) alone, so that a resumed run sees what an
uninterrupted one would have seen, whatever the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kcalc.data.augment import Augmentation, changed_intensity, flipped, noise_like
from kcalc.data.case import CaseRecord, check_unit
from kcalc.data.patches import (
    Crop,
    CropSampler,
    PatchSampling,
    fixed_slices,
    read_crop,
    sample_rng,
)
from kcalc.data.store import CaseStore
from kcalc.data.warp import Frame, coordinates, draw_warp, resampled, source_size
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.preparation import InputSpec, windowed

LABEL_SHARE = 0.25
"""Least bilinear share of labelled pixels in a resized pixel that is labelled.

The cut at 130 HU follows, so a small lesion is lost only where it would not reach
130 HU on the coarser grid either; a share of 0.5 or nearest neighbours would lose more.
Without resizing the label stays as it is.
"""


def training_dataset(
    store: CaseStore,
    *,
    input_spec: InputSpec,
    sampling: PatchSampling,
    augmentation: Augmentation | None = None,
    batch_size: int = 1,
    seed: int = 0,
    start: int = 0,
    stop: int,
    threshold_hu: float = AGATSTON_THRESHOLD_HU,
    num_parallel_calls: int = 2,
    deterministic: bool = True,
) -> tf.data.Dataset:
    """Return batches of samples ``start`` to ``stop`` of the training split.

    A sample is a random square crop of ``input_spec.stack`` slices, resized (or turned
    and deformed in the same resampling), changed by the augmentation and windowed. Its
    label is 1 where the middle slice is labelled and >= ``threshold_hu`` after all
    changes.

    Args:
        store: Store with a training split.
        input_spec: Window and stack of the network.
        sampling: How crops are drawn.
        augmentation: Random changes; None for none.
        batch_size: Samples a batch.
        seed: Seed of all samples.
        start: First sample, the number of samples already seen when resuming.
        stop: One past the last sample.
        threshold_hu: Cut of the label in HU.
        num_parallel_calls: Threads; the order of samples does not depend on it.
        deterministic: Whether samples come in order. Without it each still comes once,
            the ready ones first, and a run that stopped cannot go on exactly.

    Returns:
        Dataset of (float32 (batch, y, x, slice) in [0, 1], float32 (batch, y, x, 1)).
        Where a turned or deformed crop reaches beyond its slice, value and label of the
        slice's nearest pixel stand.
    """
    for record in store.split("train"):
        check_unit(record, input_spec)
    sampler = CropSampler(store, store.split("train"), sampling)
    augmentation = augmentation or Augmentation()
    stack = input_spec.stack

    block_side = _block_side(augmentation, sampling, sampler.records)

    def load(index: np.int64) -> list[npt.NDArray[Any]]:
        rng = sample_rng(seed, int(index))
        crop = sampler.draw(rng)
        changes = augmentation.draw(rng)
        z, *in_plane = changes.flip_zyx
        warp: list[npt.NDArray[Any]] = []
        if augmentation.warps:
            frame = _frame(store[crop.case], crop.side, sampling)
            crop, centre = _enlarged(crop, block_side)
            warp = draw_warp(augmentation, frame, centre, in_plane, rng)
            in_plane = [False, False]
        image, label = read_crop(store, crop, input_spec)
        return [
            np.ascontiguousarray(flipped(image, (*in_plane, z))),
            np.ascontiguousarray(flipped(label, in_plane)),
            changes.intensity,
            *warp,
        ]

    def sample(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        types = [tf.int16, tf.uint8, tf.float32]
        types += [tf.float32] * (3 if augmentation.warps else 0)
        image, label, intensity, *warp = tf.numpy_function(load, [index], types)
        if warp:
            where = coordinates(warp[0], warp[1:], (sampling.size,) * 2)
            image = tf.ensure_shape(image, (block_side, block_side, stack))
            label = tf.ensure_shape(label, (block_side, block_side))
            hu, share = _resampled(image, label, where)
        else:
            hu, share = _resize(image, label, sampling.size, stack)
        intensity = tf.ensure_shape(intensity, (3,))
        noise = noise_like(hu, augmentation, seed, index)
        hu = changed_intensity(hu, intensity, noise)
        return _finish(hu, share, input_spec, threshold_hu)[:2]

    return (
        tf.data.Dataset.range(start, stop)
        .map(sample, num_parallel_calls=num_parallel_calls, deterministic=deterministic)
        .batch(batch_size, drop_remainder=True)
        .prefetch(2)
    )


def validation_dataset(
    store: CaseStore,
    *,
    input_spec: InputSpec,
    num_slices: int,
    size: int,
    batch_size: int = 1,
    seed: int = 0,
    split: str = "validation",
    threshold_hu: float = AGATSTON_THRESHOLD_HU,
) -> tf.data.Dataset:
    """Return batches of a fixed, seeded choice of whole slices.

    About half of them carry a label. Slices of another size than ``size`` are resized
    as in training.

    Args:
        store: Store with that split.
        input_spec: Window and stack of the network.
        num_slices: Number of slices, fewer if the split has fewer.
        size: Rows and columns of a sample in pixels.
        batch_size: Samples a batch; the last one may be smaller.
        seed: Seed of the choice.
        split: Split to take them from.
        threshold_hu: Cut of the label, and of the candidates, in HU.

    Returns:
        Dataset of (image, label, candidates): as in training, and float32
        (batch, y, x, 1), 1 where the middle slice is >= ``threshold_hu``.
    """
    for record in store.split(split):
        check_unit(record, input_spec)
    crops = fixed_slices(store, store.split(split), num_slices, seed)
    too_large = max(crop.side for crop in crops)
    if too_large > 2 * size:
        raise ValueError(
            "size must be at least half the side of a slice, so that resizing uses "
            f"every pixel. Received: size={size}, side of a slice {too_large}"
        )
    stack = input_spec.stack

    def load(index: np.int64) -> tuple[npt.NDArray[Any], ...]:
        crop: Crop = crops[int(index)]
        image, label = read_crop(store, crop, input_spec)
        return np.ascontiguousarray(image), label

    def sample(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        image, label = tf.numpy_function(load, [index], (tf.int16, tf.uint8))
        hu, share = _resize(image, label, size, stack)
        return _finish(hu, share, input_spec, threshold_hu)

    return (
        tf.data.Dataset.range(len(crops))
        .map(sample, num_parallel_calls=2, deterministic=True)
        .batch(batch_size)
        .prefetch(1)
    )


def _resize(
    image: tf.Tensor, label: tf.Tensor, size: int, stack: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Resize HU (y, x, slice) and the label's share (y, x, 1) with the same weights."""
    image = tf.cast(tf.ensure_shape(image, (None, None, stack)), tf.float32)
    label = tf.cast(tf.ensure_shape(label, (None, None)) > 0, tf.float32)
    hu = tf.image.resize(image, (size, size), "bilinear")
    share = tf.image.resize(label[..., None], (size, size), "bilinear")
    return hu, share


@tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
def _resampled(
    image: tf.Tensor, label: tf.Tensor, where: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return HU (y, x, slice) and the label's share (y, x, 1) at coordinates."""
    slices = tf.unstack(tf.cast(image, tf.float32), axis=-1)
    share = resampled(tf.cast(label > 0, tf.float32), where)
    return tf.stack([resampled(s, where) for s in slices], axis=-1), share[..., None]


def _frame(record: CaseRecord, side: int, sampling: PatchSampling) -> Frame:
    """Return how a crop of some side lies in its slice."""
    y_mm, x_mm = record.spacing_mm[1:]
    shrink = side / sampling.size
    return Frame((sampling.size,) * 2, (y_mm * shrink, x_mm * shrink), (y_mm, x_mm))


def _block_side(
    augmentation: Augmentation, sampling: PatchSampling, records: Sequence[CaseRecord]
) -> int:
    """Return the side of a block that holds whatever a crop can come from."""
    return max(
        max(source_size(augmentation, _frame(record, side, sampling)))
        for record in records
        for side in (min(sampling.side[1], *record.shape_zyx[1:]),)
    )


def _enlarged(crop: Crop, side: int) -> tuple[Crop, tuple[float, float]]:
    """Return a crop of another side round a crop, and the middle of that in it."""
    margin = (side - crop.side) // 2
    middle = margin + (crop.side - 1) / 2
    larger = Crop(crop.case, crop.z, crop.y - margin, crop.x - margin, side)
    return larger, (middle, middle)


def _finish(
    hu: tf.Tensor, share: tf.Tensor, input_spec: InputSpec, threshold_hu: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return windowed stack, label and candidates of one sample."""
    middle = input_spec.stack // 2
    candidates = hu[..., middle : middle + 1] >= threshold_hu
    label = tf.logical_and(share >= LABEL_SHARE, candidates)
    image = windowed(hu, input_spec)
    return image, tf.cast(label, tf.float32), tf.cast(candidates, tf.float32)
