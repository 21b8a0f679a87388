"""Checkpoints in one file that is whole or absent: weights, optimiser and progress.

HDF5 with one dataset per variable, in the order of ``model.variables`` (seed
generators included) and ``optimizer.variables`` (step, slots, averages), and the rest
as JSON. One file, because a kill between two would leave a pair that do not match.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from kcalc.errors import InputError, KcalcError, ModelError
from kcalc.files import whole_or_absent

LAST = "last.checkpoint.h5"
BEST_WEIGHTS = "best.weights.h5"
_HDF5_BYTES_A_VARIABLE = 8192
"""More than the groups and headers of a variable take."""


def save_checkpoint(path: Path, model: keras.Model, state: Mapping[str, Any]) -> None:
    """Write a compiled model's whole training state.

    Args:
        path: File to replace.
        model: Compiled model whose optimiser is built.
        state: What else is needed to go on, as plain values for JSON.

    Raises:
        KcalcError: A weight is not finite (``TRAIN_NONFINITE``); the former file
            stays.
        ResourceError: The file cannot be written; the former file stays.
    """
    groups = {
        name: [keras.ops.convert_to_numpy(v) for v in variables]
        for name, variables in _variables(model).items()
    }
    for variable, value in zip(model.variables, groups["model"], strict=True):
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise KcalcError(
                "TRAIN_NONFINITE",
                f"Weights must stay finite; {variable.path} is not.",
                path=path,
                hint="The last checkpoint is finite; lower the learning rate.",
            )
    # In memory first: HDF5 ends the process if the disk fills up while it writes.
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        file.attrs["state"] = json.dumps(state)
        for name, values in groups.items():
            group = file.create_group(name)
            for index, value in enumerate(values):
                group.create_dataset(f"{index:05d}", data=value)
        file.flush()
        image = file.id.get_file_image()
    with whole_or_absent(path) as temporary:
        temporary.write_bytes(image)


def load_checkpoint(path: Path, model: keras.Model) -> dict[str, Any]:
    """Put a checkpoint's values into a compiled model and its optimiser.

    Args:
        path: File that :func:`save_checkpoint` wrote.
        model: Compiled model of the same architecture, optimiser built.

    Returns:
        The state that was saved.

    Raises:
        ModelError: The file is damaged or of another network (``CHECKPOINT``).
    """
    try:
        with h5py.File(path, "r") as file:
            state: dict[str, Any] = json.loads(file.attrs["state"])
            for name, variables in _variables(model).items():
                _assign(variables, [file[name][key][()] for key in sorted(file[name])])
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(
            "CHECKPOINT",
            f"The checkpoint is damaged or of another network ({error}).",
            path=path,
            hint="Resume with the recipe that wrote it, or begin in another folder.",
        ) from error
    return state


def read_state(path: Path) -> dict[str, Any]:
    """Return a checkpoint's state without its weights.

    Raises:
        ModelError: The file is damaged (``CHECKPOINT``).
    """
    try:
        with h5py.File(path, "r") as file:
            state: dict[str, Any] = json.loads(file.attrs["state"])
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(
            "CHECKPOINT",
            "The checkpoint is damaged.",
            path=path,
            hint="Begin the run anew in another folder.",
        ) from error
    return state


def save_weights(path: Path, model: keras.Model) -> None:
    """Write a model's weights in Keras's format, whole or not at all.

    Of a compiled model Keras would store the optimiser too; a second model of the same
    layers leaves it out.

    Raises:
        ResourceError: The file cannot be written; the former file stays.
    """
    bare = keras.Model(model.inputs, model.outputs, name=model.name)
    size = sum(keras.ops.convert_to_numpy(v).nbytes for v in bare.variables)
    with whole_or_absent(path, suffix=".weights.h5") as temporary:
        _reserve(temporary, size + _HDF5_BYTES_A_VARIABLE * (1 + len(bare.variables)))
        bare.save_weights(temporary)


def load_weights(path: str | os.PathLike[str], model: keras.Model, of: str) -> None:
    """Load weights into a model that is not compiled yet, every variable or none.

    Args:
        path: File of :func:`save_weights`.
        model: Network of the same layers.
        of: Name of the recipe, for the message.

    Raises:
        InputError: ``RUN_DIFFERS``: they are of another network, or damaged.
    """
    try:
        with warnings.catch_warnings():
            # Keras warns of variables that it leaves as they were initialised.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise InputError(
            "RUN_DIFFERS",
            f"The weights must be whole and of the network of {of}.",
            path=path,
            hint="Use the recipe (and --miniature) that the run was trained with.",
        ) from error


def _reserve(path: Path, size: int) -> None:
    """Try whether so many bytes fit on the disk, where the system can tell.

    HDF5 ends the process if the disk fills up while it writes, and Keras's writer
    takes no file in memory.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o666)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def _variables(model: keras.Model) -> dict[str, list[keras.Variable]]:
    return {"model": model.variables, "optimizer": model.optimizer.variables}


def _assign(variables: Iterable[keras.Variable], values: list[Any]) -> None:
    variables = list(variables)
    if len(variables) != len(values):
        raise ValueError(f"{len(values)} values for {len(variables)} variables")
    for variable, value in zip(variables, values, strict=True):
        if tuple(variable.shape) != np.shape(value):
            raise ValueError(
                f"{variable.path} has shape {tuple(variable.shape)}, the file "
                f"{np.shape(value)}"
            )
        variable.assign(value)
