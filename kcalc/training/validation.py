"""How good a network is between epochs: pooled figures over a fixed set of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kcalc.errors import InputError
from kcalc.preparation import NOT_SUPERVISED
from kcalc.training.objective import Objective, main_output, main_part, main_values


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Swap the optimiser's moving average into a model while the block runs.

    Does nothing where the optimiser keeps no average.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        yield
        return
    averages = optimizer._model_variables_moving_average
    variables = model.trainable_variables
    raw = [_value(variable) for variable in variables]
    for variable, average in zip(variables, averages, strict=True):
        variable.assign(_value(average))
    try:
        yield
    finally:
        for variable, value in zip(variables, raw, strict=True):
            variable.assign(value)


def pooled_validation(
    dataset: tf.data.Dataset, objective: Objective, threshold: float
) -> Callable[[keras.Model], dict[str, float]]:
    """Return a function that measures a model on a validation set.

    Args:
        dataset: Batches of (image, target, candidates). Truth is ``target == 1``;
            voxels whose target is 255 are not supervised and not counted.
        objective: The recipe's loss; of several outputs ``main`` alone is measured.
        threshold: Probability from which a pixel counts as calcium.

    Returns:
        A function from a model to ``val_loss`` (mean over samples), ``val_f1``,
        ``val_precision``, ``val_recall`` (over all pixels of the set together,
        prediction = probability >= threshold and candidate) and ``val_f1_uncut``
        (without the candidates). F1, precision and recall of nothing are 1. It raises
        InputError (``STORE_SPLIT``) if the set is empty.
    """
    steps: dict[int, Any] = {}

    def step_of(model: keras.Model) -> Any:
        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def step(image: Any, target: Any, candidates: Any) -> tuple[Any, Any]:
            target = main_part(objective, target)
            probabilities = main_output(model(image, training=False))
            values = main_values(objective, target, probabilities)
            classes = tf.cast(target, tf.int32)
            truth = classes == 1
            positive = (probabilities >= threshold) & (classes != NOT_SUPERVISED)
            cut = positive & (main_part(objective, candidates) > 0.5)
            counts = [
                tf.math.count_nonzero(found)
                for found in (cut & truth, cut, truth, positive & truth, positive)
            ]
            return tf.reduce_sum(values), tf.stack(counts)

        return step

    def validate(model: keras.Model) -> dict[str, float]:
        step = steps.setdefault(id(model), step_of(model))
        total, samples = 0.0, 0
        counts = np.zeros(5, dtype=np.int64)
        for image, target, candidates in dataset:
            value, found = step(image, target, candidates)
            total += float(value)
            counts += found.numpy()
            samples += int(image.shape[0])
        if not samples:
            raise InputError(
                "STORE_SPLIT",
                "The validation split must give at least one sample; it gives none.",
                hint="Prepare cases that are large enough, or smaller samples.",
            )
        hits, cut, truth, uncut_hits, uncut = (int(count) for count in counts)
        return {
            "val_loss": total / samples,
            "val_f1": _ratio(2 * hits, cut + truth),
            "val_precision": _ratio(hits, cut),
            "val_recall": _ratio(hits, truth),
            "val_f1_uncut": _ratio(2 * uncut_hits, uncut + truth),
        }

    return validate


def with_training_split(
    validate: Callable[[keras.Model], dict[str, float]],
    on_training: Callable[[keras.Model], dict[str, float]],
) -> Callable[[keras.Model], dict[str, float]]:
    """Return a function that adds ``train_loss`` and ``train_f1`` to what it measures.

    Args:
        validate: Measures on the validation split, see :func:`pooled_validation`.
        on_training: The same on samples of the training split.
    """

    def both(model: keras.Model) -> dict[str, float]:
        figures, trained = validate(model), on_training(model)
        return figures | {
            "train_loss": trained["val_loss"],
            "train_f1": trained["val_f1"],
        }

    return both


def _value(variable: Any) -> npt.NDArray[Any]:
    """Return a copy of a variable's or tensor's value."""
    return np.array(keras.ops.convert_to_numpy(variable))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
