"""The scoring choices of one scan, checked before any work."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Literal

from kcalc.errors import UsageError
from kcalc.io.acquisition import known_voltage
from kcalc.scoring import (
    TARGETS,
    ScoringRule,
    Target,
    adaptation_obstacle,
    kev_adapted,
    kvp_adapted,
)
from kcalc.scoring.calibration import ROD_DENSITY_MG_PER_ML
from kcalc.scoring.percentile import SEXES, Sex
from kcalc.scoring.rules import STANDARD_TUBE_VOLTAGE_KVP
from kcalc.scoring.targets import CAROTID_TASK
from kcalc.scoring.vessels import DEFAULT_DISTANCE_MM
from kcalc.volume import Acquisition, Finding


@dataclass(frozen=True)
class ScoreOptions:
    """What to score and how, beyond the rule; the defaults ask for nothing.

    Args:
        target: Name in :data:`kcalc.scoring.TARGETS`.
        kvp_adapted: Score at the thresholds of the scan's tube voltage
            (:func:`kcalc.scoring.kvp_adapted`) instead of at 130 HU.
        kev: Photon energy in keV of a mono-energetic image, to score it at that
            energy's thresholds (:func:`kcalc.scoring.kev_adapted`).
        vessels_path: Mask file with a segmentation of vessels; calcium belongs to the
            nearest one (:func:`kcalc.scoring.nearest_vessels`).
        vessel_distance_mm: How far that one may be.
        calibration_path: Mask file of a calibration rod
            (:func:`kcalc.scoring.rod_calibration`).
        rod_density_mg_per_ml: What the rod holds.
        risk_classes: ``"common"``, or ``"orcascore"`` for the classes of orCaScore.
        percentile_table: CSV file (:func:`kcalc.scoring.read_percentile_table`).
        age: Age in years, for the percentile.
        sex: ``"female"`` or ``"male"``, for percentile and aortic valve.
        group: Group of the percentile table.
        register: Register a head CT rigidly, so that a network sees it on the grid that
            it was trained on; the score is taken there and on the scan's own grid.
        reference_path: Head CT to register to; None for kcalc's phantom.

    Raises:
        UsageError: Choices that exclude or need each other (also a ValueError).
    """

    target: str = "coronary"
    kvp_adapted: bool = False
    kev: float | None = None
    vessels_path: str | os.PathLike[str] | None = None
    vessel_distance_mm: float = DEFAULT_DISTANCE_MM
    calibration_path: str | os.PathLike[str] | None = None
    rod_density_mg_per_ml: float = ROD_DENSITY_MG_PER_ML
    risk_classes: Literal["common", "orcascore"] = "common"
    percentile_table: str | os.PathLike[str] | None = None
    age: float | None = None
    sex: Sex | None = None
    group: str | None = None
    register: bool = False
    reference_path: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        _demand(
            self.target in TARGETS,
            f"target must be one of {', '.join(TARGETS)}; received {self.target!r}.",
        )
        _demand(
            not (self.kvp_adapted and self.kev is not None),
            "kvp_adapted is for scans of one tube voltage, kev for mono-energetic "
            "images; give one.",
        )
        _demand(
            0 < self.vessel_distance_mm < math.inf
            and 0 < self.rod_density_mg_per_ml < math.inf,
            "vessel_distance_mm and rod_density_mg_per_ml must be positive; received "
            f"{self.vessel_distance_mm} and {self.rod_density_mg_per_ml}.",
        )
        _demand(
            self.risk_classes in ("common", "orcascore"),
            "risk_classes must be common or orcascore; received "
            f"{self.risk_classes!r}.",
        )
        _demand(
            self.sex in (None, *SEXES),
            f"sex must be female or male; received {self.sex!r}.",
        )
        _demand(
            self.percentile_table is None
            or (self.age is not None and self.sex is not None),
            "a percentile needs age and sex beside its table.",
        )
        _demand(
            self.percentile_table is None or self.target_preset.has_classes,
            "percentiles are those of coronary scores, not of the target "
            f"{self.target}.",
        )
        _demand(
            self.target != "coronary-ordinal" or self.vessels_path is not None,
            "the ordinal score needs the course of the coronary arteries: give a "
            "segmentation of them (vessels_path, --vessels).",
        )
        _demand(
            not self.register or self.target_preset.task == CAROTID_TASK,
            "heads are registered for the target icac alone (register, --register); "
            f"received the target {self.target}.",
        )
        _demand(
            self.register or self.reference_path is None,
            "a reference is what a head is registered to; ask for that too "
            "(register=True, --register).",
        )

    @property
    def target_preset(self) -> Target:
        """The labelled preset that the target names."""
        return TARGETS[self.target]


def target_rule(rule: ScoringRule, target: Target) -> ScoringRule:
    """Return the rule of a target: its own, or the user's where it has none.

    Raises:
        UsageError: The target has a rule of its own and another one is asked for.
    """
    if target.rule is None:
        return rule
    _demand(
        rule.name in ("agatston_1990", target.rule.name),
        f"the target {target.name} has its own rule, {target.rule.name}; received "
        f"rule={rule.name!r}.",
    )
    return target.rule


def rule_for_beam(
    rule: ScoringRule, options: ScoreOptions, acquisition: Acquisition
) -> tuple[ScoringRule, list[Finding]]:
    """Return the rule for a scan's beam as the options ask, and what there is to say.

    Args:
        rule: The rule asked for.
        options: The choices.
        acquisition: Facts of the scan.

    Raises:
        UnfitError: ``KVP_UNKNOWN``, or ``KVP_RANGE`` where no adapted threshold exists.
        InputError: ``KEV_RANGE``, or ``RULE_NOT_ADAPTABLE``.
    """
    if options.kev is not None:
        adapted = kev_adapted(rule, options.kev)
        message = (
            f"Scored as a mono-energetic image of {options.kev:g} keV, as the caller "
            f"said, at {adapted.threshold_hu:g} HU; the score does not compare with "
            "one at 120 kVp."
        )
        return adapted, [Finding("KEV", message, "warning")]
    voltage = known_voltage(acquisition.tube_voltage_kvp)
    if not options.kvp_adapted:
        if not acquisition.spectral:
            return rule, []
        message = (
            "The scan is a mono- or multi-energy image, scored as one of "
            f"{voltage:g} kVp; give its photon energy with --kev."
        )
        return rule, [Finding("SPECTRAL", message, "warning")]
    kernel_alone = not (acquisition.tin_filter or acquisition.spectral)
    if kernel_alone and abs(voltage - STANDARD_TUBE_VOLTAGE_KVP) <= 0.5:
        return rule, []  # no kernel changes what 120 kVp is
    obstacle = adaptation_obstacle(acquisition)
    if obstacle is not None:
        message = f"Thresholds were not adapted to the scan, for {obstacle}."
        return rule, [Finding("KVP_NOT_ADAPTED", message, "warning")]
    return kvp_adapted(rule, voltage), []


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise UsageError("OPTIONS", otherwise)
