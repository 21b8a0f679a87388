"""Batch normalisation by one kernel while a network trains on one device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import tensorflow as tf


@contextmanager
def fused_normalization(model: keras.Model) -> Iterator[None]:
    """Let TensorFlow's fused kernel do a model's batch normalisation in training.

    Keras computes moments, normalisation and their gradients by a dozen passes over
    each map; the kernel takes a third of their time. Results differ by rounding. It
    takes the moments of one device, so this is not for several replicas.

    Args:
        model: Any network; layers that normalise another axis than the last, or maps
            of other ranks than (batch, y, x, channel) and (batch, z, y, x, channel),
            stay as they are.
    """
    layers = [
        layer
        for layer in model._flatten_layers()
        if type(layer) is keras.layers.BatchNormalization and _fits(layer)
    ]
    for layer in layers:
        layer.call = partial(_call, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def _fits(layer: keras.layers.BatchNormalization) -> bool:
    rank = layer.input_spec.ndim
    return (
        rank in (4, 5)
        and layer.axis in (-1, rank - 1)
        and layer.center
        and layer.scale
        and layer.gamma.dtype == "float32"
    )


def _call(
    layer: keras.layers.BatchNormalization,
    inputs: Any,
    training: bool | None = None,
    mask: Any = None,
) -> Any:
    if not training or not layer.trainable or mask is not None:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    shape, channels = tf.shape(inputs), inputs.shape[-1]
    maps = tf.reshape(inputs, (shape[0], -1, shape[-2], channels))
    output, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=maps,
        scale=tf.convert_to_tensor(layer.gamma),
        offset=tf.convert_to_tensor(layer.beta),
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=layer.epsilon,
        is_training=True,
    )
    # The kernel's variance has n - 1 in its denominator, Keras's has n.
    count = tf.cast(tf.size(inputs) // channels, variance.dtype)
    variance *= tf.maximum(count - 1.0, 1.0) / count
    for moving, new in (
        (layer.moving_mean, mean),
        (layer.moving_variance, variance),
    ):
        moving.assign(moving * layer.momentum + new * (1.0 - layer.momentum))
    return tf.reshape(output, shape)
