"""Which devices train: MirroredStrategy over every GPU, or one device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import tensorflow as tf


def training_strategy(devices: Sequence[str] | None = None) -> tf.distribute.Strategy:
    """Return the strategy for these devices.

    Args:
        devices: TensorFlow device names such as ``"CPU:0"``; None for every GPU, or
            the CPU where there is none.

    Returns:
        MirroredStrategy for two devices or more, else OneDeviceStrategy. The same
        object for the same devices, since two mirrored strategies with different
        networks in one process fail (stack.md section 10).
    """
    names = tuple(devices) if devices is not None else _every_gpu()
    return _strategy(names)


def _every_gpu() -> tuple[str, ...]:
    num_gpus = len(tf.config.list_logical_devices("GPU"))
    return tuple(f"GPU:{index}" for index in range(num_gpus)) or ("CPU:0",)


@cache
def _strategy(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy(list(devices))
    return tf.distribute.OneDeviceStrategy(devices[0])
