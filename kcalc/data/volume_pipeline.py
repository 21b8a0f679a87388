"""tf.data from a CaseStore: batches of boxes of volumes with a label for every voxel.

Sample ``i`` depends on (seed, i) alone, as in :mod:`kcalc.data.pipeline`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kcalc.data.augment import changed_intensity, flipped, noise_like
from kcalc.data.boxes import BoxSampler, Triple, fixed_boxes, read_box
from kcalc.data.case import CaseRecord
from kcalc.data.patches import sample_rng
from kcalc.data.pipeline import LABEL_SHARE
from kcalc.data.store import CaseStore
from kcalc.data.warp import Frame, coordinates, draw_warp, resampled, source_size
from kcalc.preparation import NOT_SUPERVISED, InputSpec, volume_window, windowed

if TYPE_CHECKING:
    from kcalc.data.plans import VolumeData

_THREADS = max(2, (os.cpu_count() or 2) // 2)
"""Samples made at a time; what they are does not depend on it."""


def training_boxes(
    store: CaseStore,
    plan: VolumeData,
    *,
    input_spec: InputSpec,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    deterministic: bool = True,
) -> tf.data.Dataset:
    """Return batches of samples ``start`` to ``stop`` of the training split.

    Args:
        store: Store with a training split.
        plan: Size, shares, changes and rule of the label.
        input_spec: Window, halo and spacing of the network.
        batch_size: Samples a batch.
        seed: Seed of all samples.
        start: First sample, the number of samples already seen when resuming.
        stop: One past the last sample.
        deterministic: Whether samples come in order. Without it each still comes once,
            the ready ones first, and a run that stopped cannot go on exactly.

    Returns:
        Dataset of (float32 (batch, z, y, x, 1) in [0, 1], uint8 (batch, z, y, x, 1)).
        The label is 1 where labelled and above ``plan.threshold_hu`` after all changes;
        255 beyond the scan, where its nearest voxel's HU stand, and, if
        ``plan.supervise_above_threshold``, at or below the threshold; else 0.

    Raises:
        ValueError: As of :class:`kcalc.data.boxes.BoxSampler`.
        InputError: As of :class:`kcalc.data.boxes.BoxSampler`.
    """
    sampler = BoxSampler(store, "train", plan.patch_zyx, input_spec, plan.shares)
    augmentation, size_zyx = plan.augmentation, plan.patch_zyx
    frames = {record.name: _frame(record, plan) for record in sampler.records}
    block_zyx = size_zyx
    if augmentation.warps:
        block_zyx = _largest(source_size(augmentation, f) for f in frames.values())
    margin = [(b - p) // 2 for b, p in zip(block_zyx, size_zyx, strict=True)]
    centre = [m + (p - 1) / 2 for m, p in zip(margin, size_zyx, strict=True)]
    finish = _finish(input_spec, plan.threshold_hu, plan.supervise_above_threshold)
    window_of = _windows(store, input_spec)

    def load(index: np.int64) -> list[npt.NDArray[Any]]:
        rng = sample_rng(seed, int(index))
        box = sampler.draw(rng)
        changes = augmentation.draw(rng)
        flips: tuple[bool, ...] = changes.flip_zyx
        warp: list[npt.NDArray[Any]] = []
        if augmentation.warps:
            frame = frames[box.case]
            warp, flips = draw_warp(augmentation, frame, centre, flips, rng), ()
            box = box.moved(margin)
            first = -np.array(box.start_zyx)
            last = first + store[box.case].shape_zyx - 1
            warp.insert(0, np.stack([first, last]).astype(np.float32))
        image, label = read_box(store, box, block_zyx)
        return [
            np.ascontiguousarray(flipped(image, flips)),
            np.ascontiguousarray(flipped(label, flips)),
            window_of(box.case),
            changes.intensity,
            *warp,
        ]

    def sample(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        types = [tf.int16, tf.uint8, tf.float32, tf.float32]
        types += [tf.float32] * (5 if augmentation.warps else 0)
        image, label, window, intensity, *warp = tf.numpy_function(load, [index], types)
        image = tf.ensure_shape(image, block_zyx)
        label = tf.ensure_shape(label, block_zyx)
        window = tf.ensure_shape(window, (2,))
        intensity = tf.ensure_shape(intensity, (3,))
        if warp:
            where = coordinates(warp[1], warp[2:], size_zyx)
            image, label = _resampled(image, label, where, warp[0])
        noise = noise_like(image, augmentation, seed, index)
        parts = (image, label, window, intensity)
        return parts if noise is None else (*parts, noise)

    return (
        tf.data.Dataset.range(start, stop)
        .map(sample, num_parallel_calls=_THREADS, deterministic=deterministic)
        .batch(batch_size, drop_remainder=True)
        .map(finish, num_parallel_calls=_THREADS, deterministic=deterministic)
        .prefetch(2)
    )


def validation_boxes(
    store: CaseStore,
    plan: VolumeData,
    *,
    input_spec: InputSpec,
    seed: int,
    split: str = "validation",
) -> tf.data.Dataset:
    """Return batches of a fixed, seeded choice of boxes.

    Half of them hold calcium in their labelled part, the rest lie anywhere; nothing is
    changed.

    Args:
        store: Store with that split.
        plan: Size, number and rule of the label.
        input_spec: Window, halo and spacing of the network.
        seed: Seed of the choice.
        split: Split to take them from.

    Returns:
        Dataset of (image, label, candidates): as in training, and float32
        (batch, z, y, x, 1), 1 where a voxel of the scan is above the threshold. The
        last batch may be smaller.

    Raises:
        ValueError: As of :class:`kcalc.data.boxes.BoxSampler`.
        InputError: As of :class:`kcalc.data.boxes.BoxSampler`.
    """
    sampler = BoxSampler(store, split, plan.patch_zyx, input_spec)
    boxes = fixed_boxes(store, sampler, plan.validation_patches, seed)
    finish = _finish(input_spec, plan.threshold_hu, plan.supervise_above_threshold)
    window_of = _windows(store, input_spec)

    def load(index: np.int64) -> tuple[npt.NDArray[Any], ...]:
        box = boxes[int(index)]
        return *read_box(store, box, plan.patch_zyx), window_of(box.case)

    def sample(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        types = (tf.int16, tf.uint8, tf.float32)
        image, label, window = tf.numpy_function(load, [index], types)
        image = tf.ensure_shape(image, plan.patch_zyx)
        label = tf.ensure_shape(label, plan.patch_zyx)
        return image, label, tf.ensure_shape(window, (2,))

    def parts(
        image: tf.Tensor, label: tf.Tensor, window: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        inside = tf.not_equal(label, NOT_SUPERVISED)
        candidates = inside & (tf.cast(image, tf.float32) > plan.threshold_hu)
        image, label = finish(image, label, window)
        return image, label, tf.cast(candidates, tf.float32)[..., None]

    return (
        tf.data.Dataset.range(len(boxes))
        .map(sample, num_parallel_calls=_THREADS, deterministic=True)
        .batch(plan.validation_batch)
        .map(parts)
        .prefetch(1)
    )


@tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
def _resampled(
    image: tf.Tensor, label: tf.Tensor, where: tf.Tensor, ends: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return float32 HU, and the label 1, 0 or, beyond the scan, 255.

    ``ends`` (2, 3) are the first and the last voxel of the scan, in those of the block.
    """
    first, last = tf.unstack(tf.reshape(ends, (2, 3, 1, 1, 1)))
    beyond = tf.reduce_any((where < first - 0.5) | (where > last + 0.5), axis=0)
    where = tf.clip_by_value(where, first, last)
    share = resampled(tf.cast(label > 0, tf.float32), where)
    marked = tf.cast(share >= LABEL_SHARE, tf.uint8)
    hu = resampled(tf.cast(image, tf.float32), where)
    return hu, tf.where(beyond, tf.constant(NOT_SUPERVISED, tf.uint8), marked)


@lru_cache
def _finish(input_spec: InputSpec, threshold_hu: float, supervise_above: bool) -> Any:
    """Return a function from HU, label and changes of intensity to a training batch.

    It is compiled: one pass over the voxels, not one for each operation. As int16, a
    batch is made of its samples in a third of the time that float32 takes.
    """

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def finish(
        hu: tf.Tensor,
        label: tf.Tensor,
        window: tf.Tensor,
        intensity: tf.Tensor | None = None,
        noise: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, ...]:
        hu = tf.cast(hu, tf.float32)
        if intensity is not None:
            columns = tf.reshape(tf.transpose(intensity), (3, -1, 1, 1, 1))
            hu = changed_intensity(hu, columns, noise)
        beyond = tf.equal(label, NOT_SUPERVISED)
        candidates = tf.logical_and(hu > threshold_hu, ~beyond)
        target = tf.cast(tf.logical_and(label > 0, candidates), tf.uint8)
        left_out = ~candidates if supervise_above else beyond
        target = tf.where(left_out, tf.constant(NOT_SUPERVISED, tf.uint8), target)
        edges = None
        if input_spec.volume_percentiles is not None:
            edges = tf.reshape(tf.transpose(window), (2, -1, 1, 1, 1))
        return windowed(hu, input_spec, edges)[..., None], target[..., None]

    return finish


def _windows(
    store: CaseStore, input_spec: InputSpec
) -> Callable[[str], npt.NDArray[np.float32]]:
    """Return a function from a case to the edges of its window, found once a case."""

    @cache
    def window_of(case: str) -> npt.NDArray[np.float32]:
        return np.array(volume_window(store.image(case), input_spec), np.float32)

    return window_of


def _frame(record: CaseRecord, plan: VolumeData) -> Frame:
    return Frame(plan.patch_zyx, record.spacing_mm, record.spacing_mm)


def _largest(sizes: Iterable[tuple[int, ...]]) -> Triple:
    z, y, x = (int(n) for n in np.max(list(sizes), axis=0))
    return (z, y, x)
