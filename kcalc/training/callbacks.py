"""What happens between steps and epochs: checks, validation, checkpoint, progress."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kcalc.errors import KcalcError
from kcalc.training.checkpoint import (
    BEST_WEIGHTS,
    LAST,
    save_checkpoint,
    save_weights,
)
from kcalc.training.epoch_schedules import EpochSchedule
from kcalc.training.objective import main_output
from kcalc.training.run_record import write_csv

log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 60.0


class StopAtNonFiniteLoss(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends the run with an error at the first loss that is NaN or infinite."""

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check the running mean of the loss, which one bad step makes non-finite."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise KcalcError(
                "TRAIN_NONFINITE",
                f"The loss must stay finite. Received: {loss} in epoch "
                f"{self._epoch + 1}, step {batch + 1}.",
                hint="The last checkpoint is from before; lower the learning rate or "
                "clip the gradient, as a new recipe.",
            )


class ScheduledValues(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets variables of a loss at the begin of every epoch, from the epoch alone.

    Their values are in no checkpoint: a resumed run computes them anew and equals an
    uninterrupted one.

    Args:
        values: Each variable with its schedule.
    """

    def __init__(self, values: Iterable[tuple[keras.Variable, EpochSchedule]]) -> None:
        super().__init__()
        self._values = list(values)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set every variable."""
        for variable, schedule in self._values:
            variable.assign(schedule.at(epoch))


class EpochEnd(keras.callbacks.Callback):  # type: ignore[misc]
    """Validates, keeps best and last checkpoint, rewrites the log, after each epoch.

    Args:
        out: Folder of the run.
        validate: Returns the validation figures of the model; ``val_f1`` decides.
        state: ``identity``, ``history`` and ``best`` of the run so far; kept up to
            date.
        epochs: Epochs of the whole run, for the time left.
    """

    def __init__(
        self,
        out: Path,
        validate: Callable[[keras.Model], dict[str, float]],
        state: dict[str, Any],
        epochs: int,
    ) -> None:
        super().__init__()
        self._out = out
        self._validate = validate
        self._epochs = epochs
        self._began = self._last_line = time.monotonic()
        self._first = 0
        self.state = state

    def on_train_begin(self, logs: Any = None) -> None:
        """Start the clock."""
        self._began = self._last_line = time.monotonic()
        self._first = len(self.state["history"])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Log a line a minute, so that a long epoch is not silent."""
        now = time.monotonic()
        if now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            steps = self.params["steps"]
            done = len(self.state["history"]) + (batch + 1) / steps
            log.info(
                "epoch %d/%d, step %d/%d: loss %.4f, %s left",
                len(self.state["history"]) + 1,
                self._epochs,
                batch + 1,
                steps,
                float((logs or {}).get("loss", math.nan)),
                self._time_left(done),
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Validate the averaged weights where there are any, then save."""
        with averaged_weights(self.model):
            figures = self._validate(self.model)
            row = {
                "epoch": epoch + 1,
                "loss": float((logs or {})["loss"]),
                "learning_rate": float(_value(self.model.optimizer.learning_rate)),
                **figures,
            }
            self.state["history"].append(row)
            best = self.state["best"]
            if best is None or row["val_f1"] > best["val_f1"]:
                self.state["best"] = row
                save_weights(self._out / BEST_WEIGHTS, self.model)
        self.state["epoch"] = epoch + 1
        save_checkpoint(self._out / LAST, self.model, self.state)
        write_csv(self._out / "log.csv", self.state["history"])
        self._last_line = time.monotonic()
        log.info(
            "epoch %d/%d: loss %.4f, val_loss %.4f, val_f1 %.4f (best %.4f in epoch "
            "%d), %s left",
            epoch + 1,
            self._epochs,
            row["loss"],
            row["val_loss"],
            row["val_f1"],
            self.state["best"]["val_f1"],
            self.state["best"]["epoch"],
            self._time_left(epoch + 1),
        )

    def _time_left(self, done: float) -> str:
        """Return the time left at this run's pace, as hours and minutes."""
        spent = time.monotonic() - self._began
        seconds = spent / max(done - self._first, 1e-9) * (self._epochs - done)
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Swap the optimiser's moving average into a model while the block runs.

    Does nothing where the optimiser keeps no average.
    """
    optimizer = model.optimizer
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
    dataset: tf.data.Dataset, loss: keras.losses.Loss, threshold: float
) -> Callable[[keras.Model], dict[str, float]]:
    """Return a function that measures a model on a validation set.

    Args:
        dataset: Batches of (image, label, candidates), see
            :func:`kcalc.data.pipeline.validation_dataset`.
        loss: The training loss.
        threshold: Probability from which a pixel counts as calcium.

    Returns:
        A function from a model to ``val_loss`` (mean over samples), ``val_f1``,
        ``val_precision``, ``val_recall`` (over all pixels of the set together,
        prediction = probability >= threshold and candidate) and ``val_f1_uncut``
        (without the candidates). F1, precision and recall of nothing are 1.
    """
    steps: dict[int, Any] = {}

    def step_of(model: keras.Model) -> Any:
        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def step(image: Any, label: Any, candidates: Any) -> tuple[Any, Any]:
            probabilities = main_output(model(image, training=False))
            values = tf.cast(loss.call(label, probabilities), tf.float32)
            values = tf.reshape(values, (tf.shape(label)[0], -1))
            truth = label > 0.5
            positive = probabilities >= threshold
            cut = tf.logical_and(positive, candidates > 0.5)
            counts = [
                tf.math.count_nonzero(found)
                for found in (cut & truth, cut, truth, positive & truth, positive)
            ]
            return tf.reduce_sum(tf.reduce_mean(values, axis=1)), tf.stack(counts)

        return step

    def validate(model: keras.Model) -> dict[str, float]:
        step = steps.setdefault(id(model), step_of(model))
        total, samples = 0.0, 0
        counts = np.zeros(5, dtype=np.int64)
        for image, label, candidates in dataset:
            value, found = step(image, label, candidates)
            total += float(value)
            counts += found.numpy()
            samples += int(image.shape[0])
        hits, cut, truth, uncut_hits, uncut = (int(count) for count in counts)
        return {
            "val_loss": total / samples,
            "val_f1": _ratio(2 * hits, cut + truth),
            "val_precision": _ratio(hits, cut),
            "val_recall": _ratio(hits, truth),
            "val_f1_uncut": _ratio(2 * uncut_hits, uncut + truth),
        }

    return validate


def _value(variable: Any) -> npt.NDArray[Any]:
    """Return a copy of a variable's or tensor's value."""
    return np.array(keras.ops.convert_to_numpy(variable))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
