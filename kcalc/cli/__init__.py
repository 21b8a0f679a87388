"""The command line: parse, call, print. No logic and, until needed, no TensorFlow.

One module a command, each with ``add``, which declares it.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from kcalc._version import NOTICE, __version__
from kcalc.cli import doctor, inspect, phantom, prepare, score
from kcalc.errors import EXIT_OK, EXIT_RESOURCE, EXIT_USAGE, KcalcError
from kcalc.terminal import tell
from kcalc.termination import (
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    TerminatedError,
    termination_as_exception,
)

EXIT_INTERNAL = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``kcalc`` and return its exit code.

    0 done; 2 usage; 3 input refused; 5 readable but unfit to score; 6 model; 7 disk,
    memory or permission; 130 and 143 interrupted; 1 a defect of kcalc.

    Args:
        argv: Arguments without the program's name; None for those of the process.
    """
    # TensorFlow's later notices; its first ones heed no setting (terminal.py).
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_USAGE
    try:
        with termination_as_exception():
            options.run(options)
    except KcalcError as error:
        return _fail(str(error), error.exit_code, options.debug)
    except KeyboardInterrupt:
        return _fail(
            "Interrupted; nothing unfinished was left.", EXIT_INTERRUPTED, False
        )
    except TerminatedError:
        return _fail("Terminated; nothing unfinished was left.", EXIT_TERMINATED, False)
    except MemoryError:
        return _fail(
            "MEMORY: The scan does not fit in memory. Close other programs or use a "
            "machine with more.",
            EXIT_RESOURCE,
            options.debug,
        )
    except Exception as error:  # the last line of defence: a paragraph, no traceback
        return _fail(
            f"INTERNAL: kcalc met a case that it does not handle ({_place(error)}). "
            "Run again with --debug and report what it prints.",
            EXIT_INTERNAL,
            options.debug,
        )
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kcalc",
        description=f"Find vascular calcification in CT scans and score it. {NOTICE}",
    )
    parser.add_argument(
        "--version", action="version", version=f"kcalc {__version__}. {NOTICE}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (inspect, score, prepare, phantom, doctor):
        command.add(commands)
    return parser


def _fail(text: str, exit_code: int, debug: bool) -> int:
    if debug:
        tell(_trace(sys.exception()))
    tell(f"kcalc: {' '.join(text.split())}\n")
    return exit_code


def _trace(error: BaseException | None) -> str:
    """Return the traceback of an error and of what led to it, as far as it is safe.

    The text of an error that kcalc did not word might hold patient data: pydicom's
    and Python's own name the value that they could not convert.
    """
    if error is None:
        return ""
    hidden = error.__context__ if not error.__suppress_context__ else None
    before = _trace(error.__cause__ or hidden)
    words = str(error) if isinstance(error, KcalcError) else "(text not shown)"
    frames = "".join(traceback.format_tb(error.__traceback__))
    return (
        f"{before}Traceback (most recent call last):\n{frames}"
        f"{type(error).__name__}: {words}\n"
    )


def _place(error: BaseException) -> str:
    """Name an unforeseen error by type and line; its text might hold patient data."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}"
    return f"{type(error).__name__}{where}"
