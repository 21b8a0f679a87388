"""``kcalc phantom``: a simulated scan whose calcium, or left ventricle, is known."""

from __future__ import annotations

import argparse

from kcalc.cli import arguments
from kcalc.terminal import print_result, progress_on_stderr


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``kcalc phantom``."""
    parser = commands.add_parser(
        "phantom",
        help="render a simulated scan whose calcium or left ventricle is known",
        description="Render a phantom and write dicom/ (a CT series), label.nii.gz "
        "(the mask a perfect reader would draw) and truth.json (true volume and mass); "
        "of a head outlines.csv too (regions as observers draw them); of a ventricle "
        "scan.nii.gz instead of dicom/ (MR in arbitrary units).",
    )
    kinds = parser.add_subparsers(
        dest="kind", metavar="chest|head|qrm|ventricle", required=True
    )
    chest = kinds.add_parser("chest", help="a chest with coronary calcium")
    chest.add_argument(
        "--preset",
        choices=("wide", "cardiac"),
        default="wide",
        help="wide field (default) or gated cardiac",
    )
    head = kinds.add_parser("head", help="a head with intracranial carotid calcium")
    head.add_argument(
        "--preset",
        choices=("study", "native", "full"),
        default="study",
        help="120 mm field resampled to 0.49 mm (default), the same at 0.23 mm as "
        "reconstructed, or the whole head",
    )
    qrm = kinds.add_parser("qrm", help="the QRM thorax phantom with calcium insert")
    qrm.set_defaults(preset=None)
    ventricle = kinds.add_parser(
        "ventricle", help="short-axis cardiac MR with cavity (1) and myocardium (2)"
    )
    ventricle.add_argument(
        "--phase",
        choices=("diastole", "systole"),
        help="end-diastole or end-systole (default: drawn from the seed)",
    )
    for kind in (chest, head, qrm, ventricle):
        kind.add_argument(
            "-o",
            "--output",
            required=True,
            metavar="DIR",
            type=arguments.path,
            help="folder: new, empty or an unchanged former phantom",
        )
        kind.add_argument(
            "--seed",
            type=arguments.count,
            default=0,
            metavar="N",
            help="seed of the noise and of all that is drawn (default 0)",
        )
        if kind is not ventricle:
            kind.add_argument(
                "--nifti", action="store_true", help="write the scan as scan.nii.gz too"
            )
        arguments.add_debug(kind)
        kind.set_defaults(run=_run_ventricle if kind is ventricle else _run)


def _run(options: argparse.Namespace) -> None:
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


def _run_ventricle(options: argparse.Namespace) -> None:
    from kcalc.workflow.ventricle import render_ventricle

    result = render_ventricle(options.output, seed=options.seed, phase=options.phase)
    print_result(result.summary(), result.directory)
