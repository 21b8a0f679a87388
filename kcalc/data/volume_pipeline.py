"""tf.data from a CaseStore: batches of boxes of volumes with a label for every voxel.

Sample ``i`` depends on (seed, i) alone, as in :mod:`kcalc.data.pipeline`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kcalc.data.augment import changed_intensity, flipped
from kcalc.data.boxes import BoxSampler, fixed_boxes, read_box
from kcalc.data.store import CaseStore
from kcalc.preparation import NOT_SUPERVISED, InputSpec, windowed

if TYPE_CHECKING:
    from kcalc.data.plans import VolumeData

_THREADS = 2


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
    augmentation = plan.augmentation

    def load(index: np.int64) -> tuple[npt.NDArray[Any], ...]:
        rng = np.random.default_rng([seed, 0, int(index)])
        image, label = read_box(store, sampler.draw(rng), plan.patch_zyx)
        changes = augmentation.draw(rng)
        return (
            np.ascontiguousarray(flipped(image, changes.flip_zyx)),
            np.ascontiguousarray(flipped(label, changes.flip_zyx)),
            changes.intensity,
        )

    def sample(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, label, intensity = tf.numpy_function(
            load, [index], (tf.int16, tf.uint8, tf.float32)
        )
        hu, label = _shaped(image, label, plan)
        hu = changed_intensity(hu, intensity, seed, index, augmentation.noise_hu > 0)
        return _finish(hu, label, input_spec, plan)[:2]

    return (
        tf.data.Dataset.range(start, stop)
        .map(sample, num_parallel_calls=_THREADS, deterministic=deterministic)
        .batch(batch_size, drop_remainder=True)
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

    def load(index: np.int64) -> tuple[npt.NDArray[Any], ...]:
        return read_box(store, boxes[int(index)], plan.patch_zyx)

    def sample(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        image, label = tf.numpy_function(load, [index], (tf.int16, tf.uint8))
        hu, label = _shaped(image, label, plan)
        return _finish(hu, label, input_spec, plan)

    return (
        tf.data.Dataset.range(len(boxes))
        .map(sample, num_parallel_calls=_THREADS, deterministic=True)
        .batch(plan.validation_batch)
        .prefetch(1)
    )


def _shaped(
    image: tf.Tensor, label: tf.Tensor, plan: VolumeData
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return float32 HU and the label (z, y, x, 1), of known size."""
    hu = tf.cast(tf.ensure_shape(image, plan.patch_zyx), tf.float32)
    return hu[..., None], tf.ensure_shape(label, plan.patch_zyx)[..., None]


def _finish(
    hu: tf.Tensor, label: tf.Tensor, input_spec: InputSpec, plan: VolumeData
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return windowed box, label and candidates of one sample."""
    beyond = tf.equal(label, NOT_SUPERVISED)
    candidates = tf.logical_and(hu > plan.threshold_hu, ~beyond)
    left_out = ~candidates if plan.supervise_above_threshold else beyond
    target = tf.cast(tf.logical_and(label > 0, candidates), tf.uint8)
    target = tf.where(left_out, tf.constant(NOT_SUPERVISED, tf.uint8), target)
    return windowed(hu, input_spec), target, tf.cast(candidates, tf.float32)
