"""What a recipe's loss means to ``fit``: one loss, or one on every output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from kcalc.errors import UsageError
from kcalc.losses import DeepSupervision, PooledOverBatch
from kcalc.training.epoch_schedules import EpochSchedule

Objective: TypeAlias = "keras.losses.Loss | DeepSupervision"


def sample_values(objective: Objective, label: Any, outputs: Any) -> Any:
    """Return the objective of each sample, float32 (batch,), weights included.

    Args:
        objective: One loss, or one on every output with the outputs' weights.
        label: (batch, ..., channel) as large as the network's input.
        outputs: What the network gives: a tensor, or a mapping with ``main``.
    """
    if not isinstance(objective, DeepSupervision):
        return _per_sample(objective, label, main_output(outputs))
    weights = objective.loss_weights
    return tf.add_n(
        [
            tf.convert_to_tensor(weights[name])
            * _per_sample(objective.loss, target, outputs[name])
            for name, target in objective.targets(label).items()
        ]
    )


def adds_samples(objective: Objective) -> bool:
    """Return whether a batch counts by its sum (``reduction="sum"``), not its mean."""
    return bool(main_loss(objective).reduction == "sum")


def check_pooling(objective: Objective, parts: int) -> None:
    """Refuse a loss of the whole batch where a batch is computed in parts.

    Args:
        objective: One loss, or one on every output.
        parts: Devices times micro-batches.

    Raises:
        UsageError: ``POOLED``.
    """
    if isinstance(main_loss(objective), PooledOverBatch) and parts > 1:
        raise UsageError(
            "POOLED",
            "A loss pooled over the batch needs all of it on one device at once. "
            f"Received: {parts} parts (devices times micro_batches).",
            hint="Train on one device with micro_batches=1, or take the loss itself.",
        )


def main_loss(objective: Objective) -> keras.losses.Loss:
    """Return the loss of the output that is used."""
    return objective.loss if isinstance(objective, DeepSupervision) else objective


def main_values(objective: Objective, label: Any, probabilities: Any) -> Any:
    """Return the loss of the output that is used, float32 (batch,).

    Args:
        objective: One loss, or one on every output.
        label: What ``main`` covers, see :func:`main_part`.
        probabilities: The output ``main``.
    """
    return _per_sample(main_loss(objective), label, probabilities)


def main_part(objective: Objective, values: Any) -> Any:
    """Return a batch of labels or masks cut to what ``main`` covers."""
    if not isinstance(objective, DeepSupervision):
        return values
    return values[:, *objective.windows["main"]]


def main_output(outputs: Any) -> Any:
    """Return the output that is used, of a network with one or with several."""
    return outputs["main"] if isinstance(outputs, Mapping) else outputs


def scheduled_variable(objective: Objective, name: str) -> keras.Variable:
    """Return the variable of an objective, or of its loss, that a schedule sets.

    Raises:
        ValueError: There is no variable of that name.
    """
    main = main_loss(objective)
    for owner in (objective, main, getattr(main, "loss", None)):
        variable = getattr(owner, name, None)
        if isinstance(variable, keras.Variable):
            return variable
    raise ValueError(
        "A schedule must have the name of a variable of the recipe's loss, such as "
        f"'positive_weight'. Received: {name!r} with {type(objective).__name__} of "
        f"{type(main).__name__}"
    )


def set_scheduled(
    objective: Objective, schedules: Mapping[str, EpochSchedule], epoch: int
) -> dict[str, float]:
    """Set the variables of an objective to their values in an epoch, counted from 0.

    Their values are in no checkpoint: they follow from the epoch alone.

    Returns:
        The values by name.
    """
    values = {name: float(schedule.at(epoch)) for name, schedule in schedules.items()}
    for name, value in values.items():
        scheduled_variable(objective, name).assign(value)
    return values


def _per_sample(loss: keras.losses.Loss, label: Any, output: Any) -> Any:
    """Return (batch,) from a loss that gives a value a sample, or a map of them."""
    values = tf.cast(loss.call(label, output), tf.float32)
    return tf.reduce_mean(tf.reshape(values, (tf.shape(label)[0], -1)), axis=1)
