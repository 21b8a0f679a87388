"""``kcalc doctor``: whether kcalc can work on this machine."""

from __future__ import annotations

import argparse
import json

from kcalc.cli import arguments
from kcalc.terminal import print_result


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``kcalc doctor``."""
    parser = commands.add_parser(
        "doctor",
        help="say whether kcalc can work here: versions, devices, memory, decoders",
        description="Check the versions of what kcalc needs, devices, memory, disk, "
        "decoders of compressed DICOM and the shipped model. Exit code 0: a scan can "
        "be scored; 6: the model is missing or damaged; 7: something else is lacking.",
    )
    parser.add_argument(
        "--model",
        metavar="NAME|PATH",
        type=arguments.path,
        help="model to verify (default: the shipped one)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON object, and nothing else"
    )
    arguments.add_debug(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from kcalc.workflow import examine

    found = examine(options.model)
    print_result(
        json.dumps(found.to_dict(), indent=2) if options.json else found.summary()
    )
    found.refuse_if_unfit()
