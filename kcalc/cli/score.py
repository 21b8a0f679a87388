"""``kcalc score``: one scan in, its report out."""

from __future__ import annotations

import argparse
import json

from kcalc._version import NOTICE
from kcalc.cli import arguments, score_options
from kcalc.errors import InputError
from kcalc.terminal import print_result, progress_on_stderr, tell


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare ``kcalc score``."""
    parser = commands.add_parser(
        "score",
        help="score the calcium of one CT scan and write a report",
        description="Read a CT scan, find its calcium with a network (or take a mask) "
        "and write score.json, lesions.csv, mask.nii.gz and report.html. " + NOTICE,
        epilog="The mask.nii.gz of a result can be edited in a viewer and scored "
        "with --mask into another folder.",
    )
    option = parser.add_argument
    option(
        "-i",
        "--input",
        required=True,
        metavar="SCAN",
        type=arguments.path,
        help="folder or file of a DICOM series, or a NIfTI or MetaImage file in HU",
    )
    option(
        "-o",
        "--output",
        required=True,
        metavar="DIR",
        type=arguments.path,
        help="result folder: new, empty or an unchanged former result",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--model",
        metavar="NAME|PATH",
        type=arguments.path,
        help="model by name or folder (default: the shipped one)",
    )
    source.add_argument(
        "--mask",
        metavar="FILE",
        type=arguments.path,
        help="score this mask; no network is used. NIfTI, MetaImage, DICOM SEG, "
        "RTSTRUCT, ROIs of OsiriX (.xml), or a table of outlines (.csv)",
    )
    option(
        "--labels",
        metavar="SCHEME",
        type=arguments.labels,
        help="what the labels of --mask mean, where it does not say it: kcalc, "
        "orcascore, plain, or pairs such as 1=LAD,2=0",
    )
    option(
        "--rule",
        default="agatston_1990",
        metavar="NAME",
        type=arguments.rule_name,
        help="scoring rule: agatston_1990 (default), another preset, or all, which "
        "prints the same mask under every preset",
    )
    option(
        "--tube-voltage-kvp",
        type=arguments.positive,
        metavar="N",
        help="tube voltage in kV, for scans that do not state it",
    )
    beam = parser.add_mutually_exclusive_group()
    beam.add_argument(
        "--kvp-adapted",
        action="store_true",
        help="score at the thresholds of the scan's tube voltage (70 to 150 kVp) "
        "instead of at 130 HU",
    )
    beam.add_argument(
        "--kev",
        type=arguments.positive,
        metavar="N",
        help="the scan is a mono-energetic image of N keV (40 to 190): score it at the "
        "thresholds of that energy",
    )
    score_options.add(parser)
    option(
        "--series",
        metavar="ID",
        help="series to take where a folder holds several: the eight digits that the "
        "refusal lists, or the SeriesInstanceUID",
    )
    option(
        "--phase",
        type=arguments.not_negative,
        metavar="X",
        help="cardiac phase to take where a series holds several: percent of the "
        "cycle, or milliseconds after the trigger, as the refusal lists them",
    )
    option(
        "--allow-gap",
        type=arguments.count,
        default=0,
        metavar="N",
        help="interpolate up to N missing slices (default 0: refuse a gap)",
    )
    option(
        "--untilt",
        action="store_true",
        help="accept a tilted gantry: the network sees the slices sheared upright, "
        "the score is taken on the stored ones",
    )
    option(
        "--resample",
        action="store_true",
        help="accept a slice spacing that changes and slices that are not axial: the "
        "score is taken on a resampled grid and is not a standard one",
    )
    option(
        "--assume-spacing",
        type=arguments.positive,
        metavar="MM",
        help="distance of the slices in mm, for DICOM slices that state no position",
    )
    option(
        "--assume-hu",
        action="store_true",
        help="take DICOM slices without rescale tags for Hounsfield units",
    )
    option(
        "--dicom",
        action="store_true",
        help="write DICOM objects too: sr.dcm (the score) and, if there is calcium, "
        "seg.dcm (the mask)",
    )
    option(
        "--phi",
        choices=("remove", "keep"),
        default="remove",
        help="identifiers of patient and study in sr.dcm and seg.dcm: left empty "
        "(default), or kept so that an archive can file them",
    )
    option(
        "--json",
        action="store_true",
        help="print score.json on standard output, and nothing else there",
    )
    arguments.add_debug(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from kcalc.workflow import score_scan

    if options.labels is not None and options.mask is None:
        raise InputError(
            "LABEL_SCHEME",
            "--labels says what the labels of a mask mean; no --mask was given.",
            hint="Give --mask, or leave out --labels.",
        )
    with progress_on_stderr() as progress:
        result = score_scan(
            options.input,
            options.output,
            model=options.model,
            mask_path=options.mask,
            mask_labels=options.labels,
            rule=options.rule,
            mass_calibration=options.mass_calibration,
            tube_voltage_kvp=options.tube_voltage_kvp,
            series=options.series,
            dicom=options.dicom,
            phi=options.phi,
            options=score_options.taken(options),
            allow_gap=options.allow_gap,
            untilt=options.untilt,
            resample=options.resample,
            assume_spacing_mm=options.assume_spacing,
            assume_hu=options.assume_hu,
            phase=options.phase,
            progress=progress,
        )
    tell(f"{result.timing()}\n")
    print_result(
        json.dumps(result.record, indent=2) if options.json else result.summary(),
        result.directory,
    )
