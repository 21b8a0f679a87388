"""The command line that all recipes share."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kcalc.errors import KcalcError
from kcalc.termination import (
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    TerminatedError,
    termination_as_exception,
)
from kcalc.training.config import Recipe
from kcalc.training.stopping import StoppedError

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

    A refusal is one paragraph on standard error, with the exit code of ``kcalc``. A run
    that a signal stopped ends with 143 (Ctrl-C: 130) and the command that resumes it;
    elsewhere a signal ends the command with the same codes and no unfinished file.

    Args:
        doc: The recipe's docstring; its first line is the help text.
        commands: Name to function; each gets the recipe and the options ``data``,
            ``out`` and those of :func:`fit_options`, and where one of them is
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
    add("--seed", type=_seed, default=0, help="of weights, samples and phantoms")
    add("--resume", action="store_true", help="go on after a kill")
    add("--smoke", action="store_true", help="two steps, tiny data")
    add("--deterministic", action="store_true", help="the same bits again (slower)")
    add("--tensorboard", action="store_true", help="write OUT/run/tensorboard too")
    add("--miniature", action="store_true", help="the small network")
    if "tables" in commands:
        add("--row", help="of tables: train and test this row (default: print all)")
    arguments = sys.argv[1:] if argv is None else [*argv]
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("absl").setLevel(logging.ERROR)  # TensorFlow names every weight
    try:
        with termination_as_exception():
            commands[options.command](small if options.miniature else full, options)
    except StoppedError as error:
        again = [*arguments, *([] if options.resume else ["--resume"])]
        command = shlex.join(["python", sys.argv[0], *again])
        sys.stderr.write(f"{error}\nResume with: {command}\n")
        return error.exit_code
    except KcalcError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:  # before or after training, or a second one
        sys.stderr.write("Interrupted; no unfinished file was left.\n")
        return EXIT_INTERRUPTED
    except TerminatedError:
        sys.stderr.write("Terminated; no unfinished file was left.\n")
        return EXIT_TERMINATED
    return 0


def _seed(text: str) -> int:
    """Take a seed that every generator takes."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 0 to 2**32 - 1, not {text!r}"
        )
    return int(text)


def fit_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a recipe's command that ``fit`` takes, by name."""
    names = ("seed", "resume", "smoke", "deterministic", "tensorboard")
    return {name: getattr(options, name) for name in names}
