"""The command line that all recipes share."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kcalc.errors import KcalcError
from kcalc.training.config import Recipe

Command = Callable[[Recipe, argparse.Namespace], None]


def run_recipe(
    doc: str,
    commands: Mapping[str, Command],
    *,
    full: Recipe,
    small: Recipe,
    argv: Sequence[str] | None = None,
) -> int:
    """Run one command of a recipe and return the exit code.

    A refusal is one paragraph on standard error, with the exit code of ``kcalc``.

    Args:
        doc: The recipe's docstring; its first line is the help text.
        commands: Name to function; each gets the recipe and the options ``data``,
            ``out``, ``seed``, ``resume`` and ``smoke``, and where one of them is
            ``tables`` also ``row``, the row to make or None
            (:mod:`kcalc.training.ablation`).
        full: The published network.
        small: What ``--miniature`` trains.
        argv: Arguments without the program's name; None for those of the process.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    add = parser.add_argument
    add("command", choices=commands)
    add("--data", type=Path, help="folder of labelled cases (default: phantoms)")
    add("--out", type=Path, default=Path("runs") / full.name, help="folder of the run")
    add("--seed", type=int, default=0, help="of weights, samples and phantoms")
    add("--resume", action="store_true", help="go on after a kill")
    add("--smoke", action="store_true", help="two steps, tiny data")
    add("--miniature", action="store_true", help="the small network")
    if "tables" in commands:
        add("--row", help="of tables: train and test this row (default: print all)")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("absl").setLevel(logging.ERROR)  # TensorFlow names every weight
    try:
        commands[options.command](small if options.miniature else full, options)
    except KcalcError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0
