"""The command ``tables`` of a recipe: one row made, or all that are there printed."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcalc.data.store import CaseStore
from kcalc.errors import UsageError
from kcalc.files import whole_or_absent, writable_folder
from kcalc.training.ablation import AblationRow, is_written, write_row
from kcalc.training.command_line import fit_options
from kcalc.training.config import Recipe, recipe_to_dict, smoke_recipe

if TYPE_CHECKING:
    from kcalc.training.loop import TrainingResult

log = logging.getLogger(__name__)

Tested = tuple[Mapping[str, Any], Mapping[str, Mapping[str, float]]]
"""Figures of a row, and values by case: what :func:`write_row` takes."""


def row_named(rows: Sequence[AblationRow], name: str) -> AblationRow:
    """Return the row that ``--row`` names.

    Raises:
        UsageError: ``USAGE``: there is no such row.
    """
    known = {row.name: row for row in rows}
    if name not in known:
        raise UsageError(
            "USAGE", f"--row must be one of {', '.join(known)}. Received: {name!r}."
        )
    return known[name]


def print_tables(text: str, folder: Path) -> None:
    """Print the tables and write them as ``tables.md`` beside their rows."""
    with whole_or_absent(writable_folder(folder) / "tables.md") as path:
        path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{text}\n")


def make_row(
    recipe: Recipe,
    row: AblationRow,
    *,
    store: CaseStore,
    folder: Path,
    arguments: argparse.Namespace,
    test: Callable[[TrainingResult], Tested],
) -> None:
    """Train and test one row with one seed and write its file, unless it is there.

    A run that was killed goes on where it was.

    Args:
        recipe: What the row trains.
        row: The row.
        store: Cases to train and to test on.
        folder: Of the table's rows.
        arguments: Options of the recipe's command line: ``seed``, ``out``, ``smoke``.
        test: Measures the trained network on the test split.

    Raises:
        InputError: As of :func:`kcalc.training.ablation.is_written` and of ``fit``.
    """
    from kcalc.training.loop import fit

    seed = arguments.seed
    settings = {
        "recipe": recipe_to_dict(smoke_recipe(recipe) if arguments.smoke else recipe),
        "cases": store.fingerprint(),
    }
    if is_written(folder, row, seed, settings):
        log.info("%s-%d is in %s already", row.name, seed, folder)
        return
    began = time.process_time()
    result = fit(
        recipe,
        store=store,
        out=writable_folder(arguments.out) / f"{row.name}-{seed}",
        **{**fit_options(arguments), "resume": True},
    )
    figures, cases = test(result)
    path = write_row(
        folder,
        row,
        seed,
        {"best_epoch": result.best["epoch"], **figures},
        cases=cases,
        settings=settings,
        cpu_seconds=time.process_time() - began,
    )
    log.info("written %s", path)
