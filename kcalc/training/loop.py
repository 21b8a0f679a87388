"""fit: one training run from a recipe, a store and a folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kcalc.artifact import sha256_of
from kcalc.data.store import CaseStore
from kcalc.errors import InputError
from kcalc.files import writable_folder
from kcalc.training.board import Board, require_tensorboard
from kcalc.training.checkpoint import (
    BEST_WEIGHTS,
    LAST,
    load_checkpoint,
    load_weights,
)
from kcalc.training.config import Recipe, recipe_to_dict, smoke_recipe
from kcalc.training.epochs import has_ended, train_epochs
from kcalc.training.fused_normalization import fused_normalization
from kcalc.training.keeper import Keeper
from kcalc.training.memory import enough_memory
from kcalc.training.objective import check_pooling
from kcalc.training.resuming import begin_or_resume
from kcalc.training.run_record import (
    RUN_RECORD,
    git_state,
    is_finished,
    versions,
    write_json,
)
from kcalc.training.step import TrainStep
from kcalc.training.stopping import stop_request
from kcalc.training.strategy import (
    check_devices,
    is_chief,
    of_chief,
    training_strategy,
)
from kcalc.training.validation import pooled_validation, with_training_split

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """A finished run.

    Args:
        model: The network with the weights of the best epoch.
        best: Row of the log that the recipe's ``best_by`` prefers.
        last: Row of the last epoch.
        history: The log's rows.
        weights: File of the best weights (Keras ``.weights.h5``).
        record: The run's ``run.json``.
    """

    model: keras.Model
    best: dict[str, float]
    last: dict[str, float]
    history: list[dict[str, float]]
    weights: Path
    record: Path


def fit(
    recipe: Recipe,
    *,
    store: CaseStore | str | os.PathLike[str],
    out: str | os.PathLike[str],
    seed: int = 0,
    resume: bool = False,
    smoke: bool = False,
    initial_weights: str | os.PathLike[str] | None = None,
    devices: Sequence[str] | None = None,
    deterministic: bool = False,
    checkpoint_minutes: float = 10.0,
    tensorboard: bool = False,
) -> TrainingResult:
    """Train a recipe's network on a store and write the run's folder.

    The folder gets ``run.json``, ``log.csv``, ``log.jsonl``, ``curve.png``,
    ``last.checkpoint.h5`` (everything that resuming needs) and ``best.weights.h5``,
    each whole or absent. A run that was killed goes on from its last checkpoint with
    ``resume=True`` and sees the samples that an uninterrupted run would have seen.
    SIGTERM and Ctrl-C end it after the step, with a checkpoint.

    With ``TF_CONFIG`` in the environment every worker calls this with the same
    arguments and a folder that all see; the chief writes.

    Args:
        recipe: What to train.
        store: Prepared cases with the splits train and validation.
        out: Folder of the run; made if absent.
        seed: Seed of weights and samples.
        resume: Go on from the folder's checkpoint; begin anew where there is none.
        smoke: Two steps and four validation samples, to see that all parts fit.
        initial_weights: ``.weights.h5`` to begin with, of the same network; None for
            the recipe's own initialisation.
        devices: TensorFlow devices; None for every GPU, or the CPU.
        deterministic: Ask TensorFlow for deterministic operations, for the whole
            process; on the CPU the same run then gives the same bits.
        checkpoint_minutes: Time between two checkpoints within an epoch.
        tensorboard: Write ``tensorboard/`` too: the log's figures and overlays of
            validation samples, after every epoch. Needs the extra ``tensorboard``.

    Returns:
        The trained network, with the best epoch's weights, and the figures.

    Raises:
        ValueError: A schedule is of no variable of the loss.
        UsageError: The devices cannot train this configuration (``BATCH``,
            ``PRECISION``, ``XLA``, ``POOLED``), or TensorBoard is not there
            (``TENSORBOARD``).
        InputError: The folder has a run already and ``resume`` is False
            (``RUN_EXISTS``), it was made with another recipe, store or seed
            (``RUN_DIFFERS``), the initial weights cannot be read (``RUN_MISSING``) or
            are of another network (``RUN_DIFFERS``), or the store lacks a split.
        KcalcError: A loss, gradient, weight or figure is not finite
            (``TRAIN_NONFINITE``); the last checkpoint is from before.
        StoppedError: A signal asked to stop; the run is saved.
        ResourceError: The folder cannot be written (``WRITE_FAILED``), or a step does
            not fit in memory (``MEMORY``).
    """
    if not isinstance(store, CaseStore):
        store = CaseStore(store)
    folder = writable_folder(out)
    if smoke:
        recipe = smoke_recipe(recipe)
    identity = {
        "recipe": recipe_to_dict(recipe),
        "seed": seed,
        "store_fingerprint": store.fingerprint(),
        "deterministic": deterministic,
        "initial_weights_sha256": _digest(initial_weights),
    }
    checkpoint = folder / LAST
    state = begin_or_resume(checkpoint, identity, resume)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    training = recipe.training
    strategy = training_strategy(devices)
    check_devices(training, strategy)
    if tensorboard:
        require_tensorboard()
    with stop_request() as request:
        keras.utils.set_random_seed(seed)
        with strategy.scope(), _precision(training.precision):
            model = recipe.build_model()
            if initial_weights is not None:
                load_weights(initial_weights, model, of=recipe.name)
            objective = recipe.build_loss()
            check_pooling(
                objective, strategy.num_replicas_in_sync * training.micro_batches
            )
            model.compile(recipe.build_optimizer(), jit_compile=False)
            model.optimizer.build(model.trainable_variables)
        if state["epoch"] or state["step"]:
            load_checkpoint(checkpoint, model)
            log.info(
                "resumed in epoch %d after step %d", state["epoch"] + 1, state["step"]
            )
        if has_ended(state, training) and is_finished(folder):
            return _result(folder, model, state)
        measured = recipe.data.validation(
            store, input_spec=recipe.input_spec, seed=seed
        )
        validate = pooled_validation(measured, objective, recipe.threshold)
        if training.measure_training:
            trained = recipe.data.validation(
                store, input_spec=recipe.input_spec, seed=seed, split="train"
            )
            validate = with_training_split(
                validate, pooled_validation(trained, objective, recipe.threshold)
            )
        keeper = Keeper(
            folder,
            model,
            lambda model: _agreed(strategy, validate(model)),
            state,
            training,
            checkpoint_seconds=60.0 * checkpoint_minutes,
            writes=is_chief(strategy),
            board=Board(folder / "tensorboard", measured, objective, recipe.threshold)
            if tensorboard and is_chief(strategy)
            else None,
        )
        record = {
            **identity,
            "versions": versions(),
            "git": git_state(),
            "devices": list(strategy.extended.worker_devices),
            "parameters": model.count_params(),
            "finished": False,
        }
        if is_chief(strategy):
            write_json(folder / RUN_RECORD, record)
        keeper.catch_up()
        began = time.monotonic()
        steps_done = state["epoch"] * training.steps_per_epoch + state["step"]
        batches = recipe.data.training(
            store,
            input_spec=recipe.input_spec,
            batch_size=training.batch_size,
            seed=seed,
            start=steps_done * training.batch_size,
            stop=training.total_steps * training.batch_size,
        )
        cases = partial(
            recipe.data.cases, store, input_spec=recipe.input_spec, seed=seed
        )
        step = TrainStep(
            model, objective, strategy, training.micro_batches, training.xla
        )
        one = strategy.num_replicas_in_sync == 1
        with (
            fused_normalization(model) if one else nullcontext(),
            enough_memory(model, batches, strategy, training.micro_batches),
        ):
            train_epochs(step, keeper, batches, recipe, request, cases)
    of_chief(strategy, [0.0])  # which has written the weights now
    record |= {
        "finished": True,
        "seconds_since_start_or_resume": round(time.monotonic() - began, 1),
        "best": state["best"],
        "last": state["history"][-1],
    }
    if is_chief(strategy):
        write_json(folder / RUN_RECORD, record)
    return _result(folder, model, state)


def _result(
    folder: Path, model: keras.Model, state: Mapping[str, Any]
) -> TrainingResult:
    weights = folder / BEST_WEIGHTS
    keras.Model(model.inputs, model.outputs).load_weights(weights)
    history = state["history"]
    return TrainingResult(
        model, state["best"], history[-1], history, weights, folder / RUN_RECORD
    )


def _digest(weights: str | os.PathLike[str] | None) -> str | None:
    """Return the sha256 of the initial weights, None where there are none."""
    if weights is None:
        return None
    try:
        return sha256_of(Path(weights))
    except OSError as error:
        raise InputError(
            "RUN_MISSING",
            "The initial weights must be a file that can be read. Received: "
            f"{error.strerror}.",
            path=weights,
            hint="Name the best.weights.h5 of a run that was trained.",
        ) from error


def _agreed(
    strategy: tf.distribute.Strategy, figures: Mapping[str, float]
) -> dict[str, float]:
    """Return the chief's figures, so that all workers decide alike."""
    values = of_chief(strategy, list(figures.values()))
    return dict(zip(figures, values, strict=True))


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Build layers under a Keras dtype policy."""
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)
