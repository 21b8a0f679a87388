"""Step after step, epoch after epoch: to the end, to a signal or to a bad batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from kcalc.errors import KcalcError
from kcalc.training.config import Recipe, TrainingConfig
from kcalc.training.keeper import Keeper
from kcalc.training.objective import set_scheduled
from kcalc.training.step import TrainStep
from kcalc.training.stopping import StoppedError, StopRequest
from kcalc.training.strategy import has_workers


def train_epochs(
    step: TrainStep,
    keeper: Keeper,
    batches: tf.data.Dataset,
    recipe: Recipe,
    request: StopRequest,
    cases: Callable[..., Sequence[str]],
) -> None:
    """Go on until the epochs are done, patience ends or a signal asks to stop.

    Args:
        step: Makes a step.
        keeper: Has the state to go on from, and keeps it.
        batches: The global batches from there on.
        recipe: Its epochs and schedules.
        request: Whether a signal came.
        cases: Gives the cases of the samples from ``start`` to ``stop``.

    Raises:
        KcalcError: ``TRAIN_NONFINITE``, with the batch.
        StoppedError: A signal asked to stop; the run is saved.
    """
    state, training = keeper.state, recipe.training
    alone = not has_workers(step.strategy)  # workers agree on when to stop
    source = iter(step.strategy.experimental_distribute_dataset(batches))
    while not has_ended(state, training):
        scheduled = set_scheduled(step.objective, recipe.schedules, state["epoch"])
        while state["step"] < training.steps_per_epoch:
            with _naming_batch(state, training, cases):
                loss, asked = step(next(source), request.came)
                keeper.after_step(loss)
            if asked or (request.came and alone):
                keeper.save()
                raise _stopped(request, state)
        # One objective for all epochs, so that val_loss can choose among them.
        set_scheduled(step.objective, recipe.schedules, training.epochs - 1)
        keeper.after_epoch(scheduled)
        if request.came and alone and not has_ended(state, training):
            raise _stopped(request, state)


def _stopped(request: StopRequest, state: Mapping[str, Any]) -> StoppedError:
    return StoppedError(request.exit_code, state["epoch"] + 1, state["step"])


def has_ended(state: Mapping[str, Any], training: TrainingConfig) -> bool:
    """Return whether a run has no epoch left, or no patience."""
    if state["epoch"] >= training.epochs:
        return True
    if training.patience is None or state["best"] is None:
        return False
    return bool(state["epoch"] - state["best"]["epoch"] >= training.patience)


@contextmanager
def _naming_batch(
    state: Mapping[str, Any],
    training: TrainingConfig,
    cases: Callable[..., Sequence[str]],
) -> Iterator[None]:
    """Add the batch to an error: its samples are drawn from (seed, number) alone."""
    epoch, step = state["epoch"], state["step"]
    try:
        yield
    except KcalcError as error:
        if error.code != "TRAIN_NONFINITE":
            raise
        first = (epoch * training.steps_per_epoch + step) * training.batch_size
        stop = first + training.batch_size
        raise KcalcError(
            error.code,
            f"{error.rule} They are not in epoch {epoch + 1}, step {step + 1}: samples "
            f"{first} to {stop - 1} of the training split, of the cases "
            f"{', '.join(cases(start=first, stop=stop))}.",
            path=error.path,
            hint="The last checkpoint is finite; lower the learning rate or clip the "
            "gradient, as a new recipe.",
        ) from error
