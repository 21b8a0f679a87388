"""Out of memory as an error that says what a step needs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from kcalc.errors import ResourceError


@contextmanager
def enough_memory(
    model: keras.Model,
    samples: tf.data.Dataset,
    strategy: tf.distribute.Strategy,
    micro_batches: int,
) -> Iterator[None]:
    """Turn an exhausted memory inside the block into a refusal with numbers.

    Args:
        model: Compiled model that is trained.
        samples: Its batches, (image, ...).
        strategy: What shares a batch among devices.
        micro_batches: Parts of a device's share.

    Raises:
        ResourceError: ``MEMORY``: an allocation failed.
    """
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        batch, *rest = samples.element_spec[0].shape
        part = batch // strategy.num_replicas_in_sync // micro_batches
        found = re.search(r"tensor with (shape\[[\d,]*\])", str(error))
        wanted = f"a tensor of {found[1]}" if found else "an allocation"
        needs = step_bytes(model, (part, *rest))
        raise ResourceError(
            "MEMORY",
            "Training must fit in memory. Weights, gradients, optimiser and "
            f"the layers' outputs need at least {needs / 2**30:.3g} GiB for "
            f"{part} samples of {tuple(rest)} at a time on each of "
            f"{strategy.num_replicas_in_sync} devices (batch_size={batch}, "
            f"micro_batches={micro_batches}); {wanted} failed.",
            hint="Raise micro_batches, lower batch_size or the size of a sample, or "
            "take precision='mixed_bfloat16', as a new recipe.",
        ) from error


def step_bytes(model: keras.Model, shape: tuple[int, ...]) -> int:
    """Return the least memory of a training step in bytes.

    Weights, their gradients and the optimiser's variables, and every layer's output
    once; what layers keep inside comes on top.

    Args:
        model: Compiled functional model.
        shape: Shape of the input, batch included.
    """
    kept = [*model.variables, *model.trainable_variables, *model.optimizer.variables]
    weights = sum(_bytes(variable.shape, variable.dtype) for variable in kept)
    outputs = [tensor for layer in model.layers for tensor in _outputs(layer)]
    every = keras.Model(model.inputs, outputs)
    specs = every.compute_output_spec(
        keras.KerasTensor(shape, dtype=model.inputs[0].dtype)
    )
    return weights + sum(_bytes(spec.shape, spec.dtype) for spec in specs)


def _outputs(layer: keras.Layer) -> list[Any]:
    return list(tf.nest.flatten(layer.output))


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    return int(math.prod(shape) * tf.as_dtype(dtype).size)
