"""A trained run's folder enters, its network and its record leave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcalc.artifact import sha256_of
from kcalc.errors import InputError
from kcalc.training.checkpoint import BEST_WEIGHTS, load_weights
from kcalc.training.config import Recipe, recipe_to_dict
from kcalc.training.run_record import git_state, versions, write_json

if TYPE_CHECKING:
    import keras

RUN_FOLDER = "run"
EVALUATION_FILE = "evaluation.json"


def best_model(recipe: Recipe, out: Path) -> keras.Model:
    """Return the recipe's network with the best epoch's weights.

    Args:
        recipe: What was trained.
        out: The recipe's ``--out``, which holds the run's folder.

    Raises:
        InputError: ``RUN_MISSING``: there are none; ``RUN_DIFFERS``: they are of
            another network, or damaged.
    """
    weights = out / RUN_FOLDER / BEST_WEIGHTS
    if not weights.is_file():
        raise InputError(
            "RUN_MISSING",
            "The run must have been trained; there are no weights.",
            path=weights,
            hint="Run the recipe's train command with the same --out.",
        )
    model = recipe.build_model()
    load_weights(weights, model, of=recipe.name)
    return model


def read_record(path: Path, *, made_by: str) -> dict[str, Any]:
    """Return a JSON object that another command of the recipe wrote.

    Args:
        path: The file.
        made_by: The command, for the way out.

    Raises:
        InputError: ``RUN_MISSING``: it is not there, or not such a file.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
        reason = "" if isinstance(values, dict) else "another kind of JSON"
    except (OSError, ValueError) as error:
        reason = error.strerror or "" if isinstance(error, OSError) else "not JSON"
    if reason:
        raise InputError(
            "RUN_MISSING",
            f"The run's record must be there and whole. Received: {reason}.",
            path=path,
            hint=f"Run the recipe's {made_by} command with the same --out.",
        )
    return dict(values)


def write_evaluation(out: Path, figures: Mapping[str, Any]) -> None:
    """Write figures as ``OUT/evaluation.json``, with the sha256 of the weights.

    Raises:
        ResourceError: The file cannot be written.
    """
    digest = sha256_of(out / RUN_FOLDER / BEST_WEIGHTS)
    write_json(out / EVALUATION_FILE, {**figures, "weights_sha256": digest})


def read_evaluation(out: Path) -> dict[str, Any]:
    """Return ``OUT/evaluation.json``, if it is of the weights that are there now.

    Raises:
        InputError: ``RUN_MISSING``: it is not there; ``RUN_DIFFERS``: the run was
            trained on since.
    """
    figures = read_record(out / EVALUATION_FILE, made_by="evaluate")
    if figures.get("weights_sha256") != sha256_of(out / RUN_FOLDER / BEST_WEIGHTS):
        raise InputError(
            "RUN_DIFFERS",
            "The figures must be of the weights that are exported; the run has others.",
            path=out / EVALUATION_FILE,
            hint="Run the recipe's evaluate command again.",
        )
    return figures


def record_for_export(recipe: Recipe, run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a finished run's ``run.json`` with what the model was exported by.

    The key ``export`` is added: commit and versions of the exporting program.

    Args:
        recipe: The recipe as it stands now.
        run: The run's record.

    Raises:
        InputError: ``RUN_UNFINISHED``; ``RUN_DIFFERS``: the recipe has another value
            than the run's.
    """
    if not run.get("finished"):
        raise InputError(
            "RUN_UNFINISHED",
            "Only a finished run is exported.",
            hint="Run the recipe's train command with --resume.",
        )
    now = json.loads(json.dumps(recipe_to_dict(recipe)))
    then = _with_defaults(run.get("recipe", {}), recipe)
    differing = sorted(
        name
        for name in now.keys() | then.keys()
        if _without_module(now.get(name)) != _without_module(then.get(name))
    )
    if differing:
        raise InputError(
            "RUN_DIFFERS",
            "A run is exported with its own recipe. Different: "
            f"{', '.join(differing)}.",
            hint="Use the recipe (and --miniature, --smoke) it was trained with.",
        )
    return {**run, "export": {"git": git_state(), "versions": versions()}}


def _with_defaults(values: Mapping[str, Any], like: Any) -> dict[str, Any]:
    """Give a record made before a field existed that field's default."""
    filled = dict(values)
    for item in fields(like):
        if item.name in filled:
            inner = getattr(like, item.name)
            if is_dataclass(inner) and isinstance(filled[item.name], dict):
                filled[item.name] = _with_defaults(filled[item.name], inner)
        elif item.default is not MISSING:
            filled[item.name] = item.default
        elif item.default_factory is not MISSING:
            filled[item.name] = item.default_factory()
    return filled


def _without_module(value: Any) -> Any:
    """Drop the module of a function: ``__main__`` where a recipe is run as a script."""
    if isinstance(value, dict) and "function" in value:
        return {**value, "function": value["function"].rpartition(".")[2]}
    return value
