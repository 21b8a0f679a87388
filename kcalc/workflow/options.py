"""The scoring choices of one scan, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass

from kcalc.errors import UnfitError
from kcalc.scoring import ScoringRule, adaptation_obstacle, kev_adapted, kvp_adapted
from kcalc.volume import Acquisition, Finding


@dataclass(frozen=True)
class ScoreOptions:
    """What to score and how, beyond the rule; the defaults ask for nothing.

    Args:
        kvp_adapted: Score at the thresholds of the scan's tube voltage
            (:func:`kcalc.scoring.kvp_adapted`) instead of at 130 HU.
        kev: Photon energy in keV of a mono-energetic image, to score it at that
            energy's thresholds (:func:`kcalc.scoring.kev_adapted`).

    Raises:
        ValueError: Choices that exclude each other.
    """

    kvp_adapted: bool = False
    kev: float | None = None

    def __post_init__(self) -> None:
        if self.kvp_adapted and self.kev is not None:
            raise ValueError(
                "kvp_adapted is for scans of one tube voltage, kev for mono-energetic "
                f"images; give one. Received: kvp_adapted=True, kev={self.kev}"
            )


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
    voltage = acquisition.tube_voltage_kvp
    if options.kev is not None:
        adapted = kev_adapted(rule, options.kev)
        message = (
            f"Scored as a mono-energetic image of {options.kev:g} keV, as the caller "
            f"said, at {adapted.threshold_hu:g} HU; the score does not compare with "
            "one at 120 kVp."
        )
        return adapted, [Finding("KEV", message, "warning")]
    if voltage is None:
        raise UnfitError(
            "KVP_UNKNOWN",
            "A score needs the tube voltage, for the calcium threshold depends on it; "
            "the scan does not state one.",
            hint="State it with --tube-voltage-kvp (tube_voltage_kvp=), for instance "
            "120, if you know it.",
        )
    obstacle = adaptation_obstacle(acquisition)
    if not options.kvp_adapted:
        if not acquisition.spectral:
            return rule, []
        message = (
            "The scan is a mono- or multi-energy image, scored as one of "
            f"{voltage:g} kVp; give its photon energy with --kev."
        )
        return rule, [Finding("SPECTRAL", message, "warning")]
    if obstacle is not None:
        message = f"Thresholds were not adapted to the scan, for {obstacle}."
        return rule, [Finding("KVP_NOT_ADAPTED", message, "warning")]
    return kvp_adapted(rule, voltage), []
