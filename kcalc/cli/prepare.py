"""``kcalc prepare``: a data set of labelled scans in, a case store out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from kcalc.cli import arguments
from kcalc.errors import UsageError
from kcalc.terminal import print_result, progress_on_stderr


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``kcalc prepare``."""
    parser = commands.add_parser(
        "prepare",
        help="make a case store of labelled scans, to train and evaluate on",
        description="Read every case of a data set, report every problem, split by "
        "patient, and write a case store (HDF5), whole or not at all. A run that was "
        "killed goes on where it was.",
    )
    option = parser.add_argument
    option(
        "-i",
        "--input",
        required=True,
        metavar="ROOT",
        type=arguments.path,
        help="folder of the data set",
    )
    option(
        "-o",
        "--output",
        required=True,
        metavar="STORE.h5",
        type=arguments.path,
        help="store to write; its report goes beside it, as STORE.h5.report.json",
    )
    option(
        "--format",
        choices=("nnunet", "coca", "orcascore", "folders", "dicom"),
        help="layout of the data set (default: whichever it looks like); nnunet is MSD "
        "too, dicom is a folder a case with a CT series and its SEG or RTSTRUCT",
    )
    option(
        "--labels",
        metavar="SCHEME",
        type=arguments.labels,
        help="what the labels mean, where the data set does not say it: kcalc, "
        "orcascore, plain, or pairs such as 1=LAD,2=0",
    )
    option(
        "--unlabelled",
        choices=("refuse", "empty"),
        default="refuse",
        help="scans without a file of labels: a problem (default), or free of calcium, "
        "as those of COCA are",
    )
    option(
        "--leave-out",
        action="store_true",
        help="leave out the cases with a problem; else any problem refuses all",
    )
    option(
        "--fractions",
        type=arguments.fractions,
        default=(0.7, 0.1, 0.2),
        metavar="TRAIN,VALIDATION,TEST",
        help="share of the patients in each split (default 0.7,0.1,0.2)",
    )
    option(
        "--seed",
        type=arguments.count,
        default=0,
        metavar="N",
        help="seed of the splits (default 0)",
    )
    option(
        "--register",
        action="store_true",
        help="the scans are heads: register them and bring them and their labels onto "
        "the grid of the network for the intracranial carotids",
    )
    option(
        "--reference",
        metavar="HEAD",
        type=arguments.path,
        help="head CT to register to (default: kcalc's phantom head)",
    )
    option(
        "--json",
        action="store_true",
        help="print the report as JSON on standard output, and nothing else there",
    )
    arguments.add_debug(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from kcalc.data import (
        CasesRefusedError,
        CaseStore,
        PreparationReport,
        count_supervised,
        prepare_store,
    )

    if options.reference is not None and not options.register:
        raise UsageError(
            "OPTIONS",
            "a reference is what heads are registered to; ask for that too "
            "(--register).",
        )

    def show(report: PreparationReport) -> None:
        text = json.dumps(report.to_dict(), indent=2) if options.json else report.text()
        print_result(text, Path(options.output).parent)

    try:
        with progress_on_stderr() as progress:
            report = prepare_store(
                options.input,
                options.output,
                layout=options.format,
                scheme=options.labels,
                unlabelled=options.unlabelled,
                leave_out=options.leave_out,
                fractions=options.fractions,
                seed=options.seed,
                register=options.register,
                reference_path=options.reference,
                progress=progress,
            )
    except CasesRefusedError as refusal:
        show(refusal.report)
        raise
    show(report)
    if not options.json and any(case.split == "train" for case in report.cases):
        counts = count_supervised(CaseStore(options.output))
        print_result(f"Training split, {counts}.", Path(options.output).parent)
