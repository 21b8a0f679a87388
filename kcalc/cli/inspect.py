"""``kcalc inspect``: what a folder holds, and what of it can be scored."""

from __future__ import annotations

import argparse
import json

from kcalc.cli import arguments
from kcalc.terminal import print_result, progress_on_stderr


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``kcalc inspect``."""
    parser = commands.add_parser(
        "inspect",
        help="list the DICOM series of a folder and whether each can be scored",
        description="List every DICOM series under a folder: what it is, how it was "
        "scanned, whether it can be scored and why not. Only headers are read; no "
        "names, numbers or dates of patients are printed.",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "folder", nargs="?", metavar="DIR", type=arguments.path, help="folder or file"
    )
    where.add_argument(
        "-i", "--input", metavar="DIR", type=arguments.path, help="the same"
    )
    parser.add_argument(
        "--folders",
        action="store_true",
        help="print the folder of each series too; its name may hold a patient's",
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON object, and nothing else"
    )
    arguments.add_debug(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from kcalc.io import inspect_folder

    with progress_on_stderr() as progress:
        found = inspect_folder(options.folder or options.input, progress=progress)
    if options.json:
        text = json.dumps(found.to_dict(folders=options.folders), indent=2)
    else:
        text = found.summary(folders=options.folders)
    print_result(text)
