"""Which devices train: every GPU, or one device; with ``TF_CONFIG`` many workers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

import tensorflow as tf

from kcalc.errors import UsageError
from kcalc.training.config import TrainingConfig


def training_strategy(devices: Sequence[str] | None = None) -> tf.distribute.Strategy:
    """Return the strategy for these devices.

    Args:
        devices: TensorFlow device names such as ``"CPU:0"``; None for every GPU, or
            the CPU where there is none, and for all workers where ``TF_CONFIG`` names
            them.

    Returns:
        MultiWorkerMirroredStrategy for workers, MirroredStrategy for two devices or
        more, else OneDeviceStrategy. The same object for the same devices, since two
        mirrored strategies with different networks in one process fail (stack.md
        section 10).
    """
    if devices is None and os.environ.get("TF_CONFIG"):
        return _workers()
    names = tuple(devices) if devices is not None else _every_gpu()
    return _strategy(names)


def check_devices(training: TrainingConfig, strategy: tf.distribute.Strategy) -> None:
    """Refuse a configuration that these devices cannot train, or not sensibly.

    Raises:
        UsageError: The batch cannot be shared (``BATCH``), float16 on a CPU
            (``PRECISION``), XLA on a CPU or on several devices (``XLA``).
    """
    replicas = strategy.num_replicas_in_sync
    if training.batch_size % (replicas * training.micro_batches):
        raise UsageError(
            "BATCH",
            "batch_size must be a multiple of devices times micro_batches. Received: "
            f"batch_size={training.batch_size}, {replicas} devices, "
            f"micro_batches={training.micro_batches}.",
        )
    on_gpu = all("GPU" in device for device in strategy.extended.worker_devices)
    if training.precision == "mixed_float16" and not on_gpu:
        raise UsageError(
            "PRECISION",
            "mixed_float16 needs a GPU; a CPU computes it many times slower than "
            "float32.",
            hint="Use precision='float32', or 'mixed_bfloat16'.",
        )
    if training.xla and (not on_gpu or replicas > 1):
        raise UsageError(
            "XLA",
            "xla needs one GPU: on a CPU it is many times slower, on several devices "
            f"TensorFlow cannot do it. Received: {replicas} devices, "
            f"{strategy.extended.worker_devices[0]}.",
            hint="Use xla=False.",
        )


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Return whether this process writes the run's files."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    return resolver.task_type == "chief" or (
        "chief" not in resolver.cluster_spec().jobs and resolver.task_id == 0
    )


def has_workers(strategy: tf.distribute.Strategy) -> bool:
    """Return whether other processes train with this one."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def of_chief(
    strategy: tf.distribute.Strategy, values: Sequence[float]
) -> Sequence[float]:
    """Return the chief's values in every worker, once all have come here.

    Machines may round differently, and what they decide must be the same.
    """
    if not has_workers(strategy):
        return values

    @tf.function  # type: ignore[untyped-decorator]
    def everywhere() -> tf.Tensor:
        def own() -> tf.Tensor:
            rank = tf.distribute.get_replica_context().replica_id_in_sync_group
            mine = tf.constant(list(values), tf.float64)
            return tf.where(tf.equal(rank, 0), mine, tf.zeros_like(mine))

        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(own), axis=None)

    return [float(value) for value in everywhere().numpy()]


def _every_gpu() -> tuple[str, ...]:
    num_gpus = len(tf.config.list_logical_devices("GPU"))
    return tuple(f"GPU:{index}" for index in range(num_gpus)) or ("CPU:0",)


@cache
def _strategy(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy(list(devices))
    return tf.distribute.OneDeviceStrategy(devices[0])


@cache
def _workers() -> tf.distribute.Strategy:
    return tf.distribute.MultiWorkerMirroredStrategy()
