"""The command line: parse, call, print. No logic and, until needed, no TensorFlow."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from kcalc._version import NOTICE, __version__
from kcalc.errors import EXIT_OK, EXIT_RESOURCE, EXIT_USAGE, KcalcError
from kcalc.terminal import print_result, progress_on_stderr, tell

EXIT_INTERNAL = 1
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


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
        with _termination_as_exception():
            options.run(options)
    except KcalcError as error:
        return _fail(str(error), error.exit_code, options.debug)
    except KeyboardInterrupt:
        return _fail(
            "Interrupted; nothing unfinished was left.", EXIT_INTERRUPTED, False
        )
    except _TerminatedError:
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


class _TerminatedError(BaseException):
    """SIGTERM, as an exception so that partial results are removed."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kcalc",
        description=f"Find vascular calcification in CT scans and score it. {NOTICE}",
    )
    parser.add_argument(
        "--version", action="version", version=f"kcalc {__version__}. {NOTICE}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_score(commands)
    _add_phantom(commands)
    return parser


def _add_score(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "score",
        help="score the calcium of one CT scan and write a report",
        description="Read a CT scan, find its calcium with a network (or take a mask) "
        "and write score.json, lesions.csv, mask.nii.gz and report.html. " + NOTICE,
        epilog="The mask.nii.gz of a result can be edited in a viewer and scored "
        "with --mask into another folder.",
    )
    add = parser.add_argument
    add(
        "-i",
        "--input",
        required=True,
        metavar="SCAN",
        type=_path,
        help="folder or file of a DICOM series, or a NIfTI file in HU",
    )
    add(
        "-o",
        "--output",
        required=True,
        metavar="DIR",
        type=_path,
        help="result folder: new, empty or an unchanged former result",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--model",
        metavar="NAME|PATH",
        type=_path,
        help="model by name or folder (default: the shipped one)",
    )
    source.add_argument(
        "--mask",
        metavar="FILE",
        type=_path,
        help="score this NIfTI mask; no network is used",
    )
    add(
        "--rule",
        default="agatston_1990",
        metavar="NAME",
        type=_rule_name,
        help="scoring rule: agatston_1990 (default) or fqm_canon",
    )
    add(
        "--mass-calibration",
        type=_calibration,
        metavar="X",
        help="mg/mL of hydroxyapatite per HU; without it no mass is given",
    )
    add(
        "--tube-voltage-kvp",
        type=_positive,
        metavar="N",
        help="tube voltage in kV, for scans that do not state it",
    )
    add(
        "--series",
        metavar="ID",
        help="series to take where a folder holds several: the eight digits that the "
        "refusal lists, or the SeriesInstanceUID",
    )
    add(
        "--json",
        action="store_true",
        help="print score.json on standard output, and nothing else there",
    )
    _add_debug(parser)
    parser.set_defaults(run=_score)


def _add_phantom(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "phantom",
        help="render a simulated CT scan whose calcium is known",
        description="Render a phantom and write dicom/ (a CT series), label.nii.gz "
        "(the mask a perfect reader would draw) and truth.json (true volume and mass).",
    )
    kinds = parser.add_subparsers(dest="kind", metavar="chest|qrm", required=True)
    chest = kinds.add_parser("chest", help="a chest with coronary calcium")
    chest.add_argument(
        "--preset",
        choices=("wide", "cardiac"),
        default="wide",
        help="wide field (default) or gated cardiac",
    )
    qrm = kinds.add_parser("qrm", help="the QRM thorax phantom with calcium insert")
    qrm.set_defaults(preset=None)
    for kind in (chest, qrm):
        kind.add_argument(
            "-o",
            "--output",
            required=True,
            metavar="DIR",
            type=_path,
            help="folder: new, empty or an unchanged former phantom",
        )
        kind.add_argument(
            "--seed",
            type=_seed,
            default=0,
            metavar="N",
            help="seed of the noise and of all that is drawn (default 0)",
        )
        kind.add_argument(
            "--nifti", action="store_true", help="write the scan as scan.nii.gz too"
        )
        _add_debug(kind)
        kind.set_defaults(run=_phantom)


def _add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--debug", action="store_true", help="show the traceback of an error"
    )


def _score(options: argparse.Namespace) -> None:
    from kcalc.workflow import score_scan

    with progress_on_stderr() as progress:
        result = score_scan(
            options.input,
            options.output,
            model=options.model,
            mask_path=options.mask,
            rule=options.rule,
            mass_calibration=options.mass_calibration,
            tube_voltage_kvp=options.tube_voltage_kvp,
            series=options.series,
            progress=progress,
        )
    tell(f"{result.timing()}\n")
    print_result(
        json.dumps(result.record, indent=2) if options.json else result.summary(),
        result.directory,
    )


def _phantom(options: argparse.Namespace) -> None:
    from kcalc.workflow import render_phantom

    with progress_on_stderr() as progress:
        result = render_phantom(
            options.kind,
            options.output,
            seed=options.seed,
            preset=options.preset,
            nifti=options.nifti,
            progress=progress,
        )
    print_result(result.summary(), result.directory)


def _path(text: str) -> str:
    """Refuse an empty path, which would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"must be a whole number of at least 0, not {text!r}"
        )
    return int(text)


def _rule_name(text: str) -> str:
    from kcalc.scoring import RULES

    if text not in RULES:
        raise argparse.ArgumentTypeError(
            f"no rule is named {text!r}; there are {', '.join(sorted(RULES))}"
        )
    return text


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
    return value


def _calibration(text: str) -> float:
    from kcalc.scoring.mass import check_calibration

    value = _positive(text)
    try:
        check_calibration(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return value


@contextmanager
def _termination_as_exception() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that no partial result stays."""

    def stop(signal_number: int, frame: FrameType | None) -> NoReturn:
        raise _TerminatedError

    try:
        former = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _fail(text: str, exit_code: int, debug: bool) -> int:
    if debug:
        tell(traceback.format_exc())
    tell(f"kcalc: {' '.join(text.split())}\n")
    return exit_code


def _place(error: BaseException) -> str:
    """Name an unforeseen error by type and line; its text might hold patient data."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}"
    return f"{type(error).__name__}{where}"


if __name__ == "__main__":
    sys.exit(main())
