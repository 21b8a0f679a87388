"""fit: one training run from a recipe, a store and a folder."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from kcalc.artifact import sha256_of
from kcalc.data.store import CaseStore
from kcalc.errors import InputError
from kcalc.files import writable_folder
from kcalc.training.callbacks import (
    EpochEnd,
    ScheduledValues,
    StopAtNonFiniteLoss,
    pooled_validation,
)
from kcalc.training.checkpoint import (
    BEST_WEIGHTS,
    LAST,
    load_checkpoint,
    load_weights,
    read_state,
)
from kcalc.training.config import Recipe, recipe_to_dict, smoke_recipe
from kcalc.training.objective import (
    compile_arguments,
    main_loss,
    main_part,
    scheduled_variable,
    with_targets,
)
from kcalc.training.run_record import git_state, versions, write_json
from kcalc.training.strategy import training_strategy

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """A finished run.

    Args:
        model: The network with the weights of the best epoch.
        best: Row of the log with the highest ``val_f1``.
        last: Row of the last epoch.
        weights: File of the best weights (Keras ``.weights.h5``).
        record: The run's ``run.json``.
    """

    model: keras.Model
    best: dict[str, float]
    last: dict[str, float]
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
) -> TrainingResult:
    """Train a recipe's network on a store and write the run's folder.

    The folder gets ``run.json``, ``log.csv``, ``last.checkpoint.h5`` (everything that
    resuming needs) and ``best.weights.h5``, each whole or absent, after every epoch. A
    run that was killed goes on from its last whole epoch with ``resume=True`` and sees
    the samples that an uninterrupted run would have seen.

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

    Returns:
        The trained network, with the best epoch's weights, and the figures.

    Raises:
        ValueError: The batch cannot be divided by the number of devices, or a schedule
            is of no variable of the loss.
        InputError: The folder has a run already and ``resume`` is False
            (``RUN_EXISTS``), it was made with another recipe, store or seed
            (``RUN_DIFFERS``), or the store lacks a split.
        KcalcError: A loss or a weight is not finite (``TRAIN_NONFINITE``).
        ResourceError: The folder cannot be written.
    """
    folder = writable_folder(out)
    if not isinstance(store, CaseStore):
        store = CaseStore(store)
    if smoke:
        recipe = smoke_recipe(recipe)
    record = {
        "recipe": recipe_to_dict(recipe),
        "seed": seed,
        "store_fingerprint": store.fingerprint(),
        "initial_weights_sha256": None
        if initial_weights is None
        else sha256_of(Path(initial_weights)),
    }
    checkpoint = folder / LAST
    state = _begin_or_resume(checkpoint, record, resume)

    strategy = training_strategy(devices)
    replicas = strategy.num_replicas_in_sync
    training = recipe.training
    if training.batch_size % replicas:
        raise ValueError(
            "batch_size must be a multiple of the number of devices. "
            f"Received: batch_size={training.batch_size}, {replicas} devices"
        )
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        model = recipe.build_model()
        if initial_weights is not None:
            load_weights(initial_weights, model, of=recipe.name)
        objective = recipe.build_loss()
        model.compile(
            recipe.build_optimizer(), **compile_arguments(objective), jit_compile=False
        )
        model.optimizer.build(model.trainable_variables)
    if state["epoch"]:
        load_checkpoint(checkpoint, model)
        log.info("resumed after epoch %d", state["epoch"])

    validation = recipe.data.validation(store, input_spec=recipe.input_spec, seed=seed)
    scheduled = ScheduledValues(
        (scheduled_variable(objective, name), schedule)
        for name, schedule in recipe.schedules.items()
    )
    epoch_end = EpochEnd(
        folder,
        pooled_validation(
            main_part(validation, objective), main_loss(objective), recipe.threshold
        ),
        state,
        training.epochs,
    )
    record |= {
        "versions": versions(),
        "git": git_state(),
        "devices": list(strategy.extended.worker_devices),
        "parameters": model.count_params(),
        "finished": False,
    }
    write_json(folder / "run.json", record)
    began = time.monotonic()
    if state["epoch"] < training.epochs:
        per_epoch = training.steps_per_epoch * training.batch_size
        samples = recipe.data.training(
            store,
            input_spec=recipe.input_spec,
            batch_size=training.batch_size,
            seed=seed,
            start=state["epoch"] * per_epoch,
            stop=training.epochs * per_epoch,
        )
        model.fit(
            with_targets(samples, objective),
            epochs=training.epochs,
            initial_epoch=state["epoch"],
            steps_per_epoch=training.steps_per_epoch,
            shuffle=False,
            callbacks=[scheduled, StopAtNonFiniteLoss(), epoch_end],
            verbose=1 if sys.stdout.isatty() else 0,
        )
    weights = folder / BEST_WEIGHTS
    keras.Model(model.inputs, model.outputs).load_weights(weights)
    best, last = state["best"], state["history"][-1]
    record |= {
        "finished": True,
        "seconds_since_start_or_resume": round(time.monotonic() - began, 1),
        "best": best,
        "last": last,
    }
    write_json(folder / "run.json", record)
    return TrainingResult(model, best, last, weights, folder / "run.json")


def _begin_or_resume(
    checkpoint: Path, record: dict[str, Any], resume: bool
) -> dict[str, Any]:
    """Return the state to go on from, or a fresh one."""
    if not checkpoint.exists():
        return {"epoch": 0, "history": [], "best": None, "identity": record.copy()}
    if not resume:
        raise InputError(
            "RUN_EXISTS",
            "The folder of a new run must not hold another run's checkpoint.",
            path=checkpoint,
            hint="Pass --resume to go on, or another --out.",
        )
    state = read_state(checkpoint)
    differing = list(_differences(state["identity"], record))
    if differing:
        raise InputError(
            "RUN_DIFFERS",
            "A run resumes only with its own recipe, store and seed. Different: "
            f"{'; '.join(differing)}.",
            path=checkpoint,
            hint="Restore them, or begin anew with another --out.",
        )
    return state


def _differences(saved: Any, now: Any, where: str = "") -> Sequence[str]:
    """Return where two plain values differ, as ``key: saved -> now``."""
    if isinstance(saved, dict) and isinstance(now, dict):
        found: list[str] = []
        for key in sorted(saved.keys() | now.keys()):
            inner = f"{where}.{key}" if where else str(key)
            found += _differences(saved.get(key), now.get(key), inner)
        return found
    return [] if saved == now else [f"{where}: {saved!r} -> {now!r}"]
