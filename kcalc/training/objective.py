"""What a recipe's loss means to ``fit``: one loss, or one on every output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from kcalc.losses import DeepSupervision

Objective: TypeAlias = "keras.losses.Loss | DeepSupervision"


def compile_arguments(objective: Objective) -> dict[str, Any]:
    """Return the loss and its weights as ``model.compile`` takes them."""
    if isinstance(objective, DeepSupervision):
        return {"loss": objective.losses, "loss_weights": objective.loss_weights}
    return {"loss": objective}


def main_loss(objective: Objective) -> keras.losses.Loss:
    """Return the loss of the output that is used."""
    return objective.loss if isinstance(objective, DeepSupervision) else objective


def with_targets(dataset: tf.data.Dataset, objective: Objective) -> tf.data.Dataset:
    """Return batches of (image, label) with the label of each output."""
    if not isinstance(objective, DeepSupervision):
        return dataset
    return dataset.map(lambda image, label: (image, objective.targets(label)))


def main_part(dataset: tf.data.Dataset, objective: Objective) -> tf.data.Dataset:
    """Return batches whose labels and masks are cut to what ``main`` covers."""
    if not isinstance(objective, DeepSupervision):
        return dataset
    window = objective.windows["main"]
    return dataset.map(
        lambda image, *rest: (image, *(part[:, *window] for part in rest))
    )


def main_output(outputs: Any) -> Any:
    """Return the output that is used, of a network with one or with several."""
    return outputs["main"] if isinstance(outputs, Mapping) else outputs


def scheduled_variable(objective: Objective, name: str) -> keras.Variable:
    """Return the variable of an objective, or of its loss, that a schedule sets.

    Raises:
        ValueError: There is no variable of that name.
    """
    for owner in (objective, main_loss(objective)):
        variable = getattr(owner, name, None)
        if isinstance(variable, keras.Variable):
            return variable
    raise ValueError(
        "A schedule must have the name of a variable of the recipe's loss, such as "
        f"'positive_weight'. Received: {name!r} with {type(objective).__name__} of "
        f"{type(main_loss(objective)).__name__}"
    )
