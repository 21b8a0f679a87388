"""The options of ``kcalc score`` that choose what is scored and told."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kcalc.cli import arguments

if TYPE_CHECKING:
    from kcalc.workflow import ScoreOptions

TARGETS = ("coronary", "coronary-ordinal", "aortic-valve", "thoracic-aorta", "icac")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    option = parser.add_argument
    option(
        "--target",
        choices=TARGETS,
        default="coronary",
        help="what is scored: coronary (default); coronary-ordinal, with a score of 0 "
        "to 12 (needs --vessels); aortic-valve, with the cut-off of --sex; "
        "thoracic-aorta; icac, the intracranial carotid by volume above 130 HU. The "
        "valve and the aorta need --mask, icac needs it or a --model",
    )
    option(
        "--register",
        action="store_true",
        help="with --target icac: register the head rigidly, so that the network sees "
        "it on the grid that it was trained on; the volume is told on that grid and on "
        "the scan's own",
    )
    option(
        "--reference",
        type=arguments.path,
        metavar="HEAD",
        help="head CT to register to (default: kcalc's phantom head)",
    )
    option(
        "--vessels",
        type=arguments.path,
        metavar="FILE",
        help="NIfTI segmentation of vessels (1 LM, 2 LAD, 3 LCX, 4 RCA, 5 aorta, 6 "
        "aortic valve, 7 mitral annulus): calcium belongs to the nearest one",
    )
    option(
        "--vessel-distance",
        type=arguments.positive,
        default=5.0,
        metavar="MM",
        help="how far that one may be (default 5 mm)",
    )
    option(
        "--mass-calibration",
        type=arguments.calibration,
        metavar="X|population",
        help="mg/mL of hydroxyapatite per HU, or population, the mean over patients at "
        "120 kVp; without it no mass is given",
    )
    option(
        "--calibration-rod",
        type=arguments.path,
        metavar="FILE",
        help="NIfTI mask of a calibration rod (1), water (2) and tissue round the "
        "calcium (3): the mass is calibrated by it; with tissue also the indices "
        "without a threshold are told",
    )
    option(
        "--rod-density",
        type=arguments.positive,
        default=200.0,
        metavar="X",
        help="mg/mL of hydroxyapatite in that rod (default 200)",
    )
    option(
        "--risk-classes",
        choices=("common", "orcascore"),
        default="common",
        help="0, 1-10, 11-100, 101-400, >400 (default), or those of orCaScore, which "
        "join the first two",
    )
    option(
        "--percentiles",
        type=arguments.path,
        metavar="CSV",
        help="your table of percentiles: columns sex, group, age_from, age_to, p25, "
        "p50, ...; needs --age and --sex",
    )
    option("--age", type=arguments.positive, metavar="YEARS", help="age in years")
    option("--sex", choices=("female", "male"), help="for percentile and valve")
    option("--group", metavar="NAME", help="group of the table of percentiles")


def taken(options: argparse.Namespace) -> ScoreOptions:
    """Return the choices that were made."""
    from kcalc.workflow import ScoreOptions

    return ScoreOptions(
        target=options.target,
        kvp_adapted=options.kvp_adapted,
        kev=options.kev,
        vessels_path=options.vessels,
        vessel_distance_mm=options.vessel_distance,
        calibration_path=options.calibration_rod,
        rod_density_mg_per_ml=options.rod_density,
        risk_classes=options.risk_classes,
        percentile_table=options.percentiles,
        age=options.age,
        sex=options.sex,
        group=options.group,
        register=options.register,
        reference_path=options.reference,
    )
