"""Thresholds of other beams: a rule and a voltage or photon energy in, a rule out.

Calcium reads higher at a lower voltage, so 130 HU at 100 kVp is not 130 HU at 120 kVp.
Nothing here is applied unasked: a scan that is not 120 kVp is scored at 130 HU with a
warning, and at adapted thresholds only on request.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import replace

from kcalc.errors import InputError, UnfitError
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.scoring.rules import (
    AGATSTON_BINS,
    STANDARD_TUBE_VOLTAGE_KVP,
    KvpRow,
    ScoringRule,
)
from kcalc.volume import Acquisition

Edges = tuple[float, float, float, float]

ADAPTED_EDGES_HU: dict[float, Edges] = {
    70.0: (207, 318, 477, 636),
    80.0: (177, 271, 408, 544),
    100.0: (147, 226, 339, 452),
    120.0: (130, 200, 300, 400),
}
"""Lower edges of weights 1 to 4 in HU by tube voltage in kVp (digest E.4).

70 and 80 kVp: Gräni 2018, doi 10.1093/ehjci/jey019, as CalciumScoring.jl has them; 100
kVp: the 147 HU of the vendors and of van Praagh 2021, doi 10.1002/mp.14912, with the
other edges in the same ratio.
"""
ADAPTED_RANGE_KVP = (70.0, 150.0)

MONO_EDGES_HU: dict[float, Edges] = {
    40.0: (339, 515, 773, 1029),
    50.0: (229, 348, 522, 694),
    60.0: (167, 254, 381, 508),
    70.0: (132, 200, 300, 400),
    80.0: (110, 168, 251, 335),
    90.0: (97, 147, 220, 293),
    100.0: (87, 133, 199, 265),
    110.0: (81, 123, 185, 246),
    120.0: (77, 116, 174, 232),
    130.0: (73, 111, 167, 222),
    140.0: (71, 107, 161, 215),
    150.0: (69, 104, 157, 209),
    160.0: (67, 102, 153, 204),
    170.0: (66, 100, 151, 201),
    180.0: (65, 99, 148, 198),
    190.0: (64, 98, 147, 195),
}
"""The same for mono-energetic images by photon energy in keV.

FQM: van Praagh 2021, doi 10.1002/mp.14912, github.com/nwerf/FQM_Analysis.
"""


def kvp_adapted(rule: ScoringRule, tube_voltage_kvp: float) -> ScoringRule:
    """Return a rule with the calcium threshold and weights of another tube voltage.

    Between the rows of :data:`ADAPTED_EDGES_HU` the logarithm of each edge is linear in
    the voltage; above 120 kVp the line of the last two rows goes on. Such a rule says
    that it is interpolated. A rule that has a row of its own for the voltage is
    returned as it is, and so is any rule at 120 kVp.

    See :func:`adaptation_obstacle` for the scans that this must not be used on.

    Args:
        rule: A rule with the threshold of 130 HU and weights from 130, 200, 300 and
            400 HU.
        tube_voltage_kvp: Tube voltage in kV, 70 to 150.

    Raises:
        UnfitError: ``KVP_RANGE``, the voltage is outside the range.
        InputError: ``RULE_NOT_ADAPTABLE``, the rule has other edges.

    Example:
        >>> from kcalc.scoring import rule
        >>> kvp_adapted(rule("agatston_1990"), 100).threshold_hu
        147
        >>> round(kvp_adapted(rule("agatston_1990"), 110).threshold_hu, 1)
        138.2
    """
    voltage = float(tube_voltage_kvp)
    standard = abs(voltage - STANDARD_TUBE_VOLTAGE_KVP) <= 0.5
    if standard or rule.kvp_row(voltage) is not None:
        return rule
    low, high = ADAPTED_RANGE_KVP
    if not low <= voltage <= high:
        raise UnfitError(
            "KVP_RANGE",
            f"adapted thresholds exist from {low:g} to {high:g} kVp; received "
            f"tube_voltage_kvp={tube_voltage_kvp}.",
            hint="Score it at 130 HU, without adapting (no --kvp-adapted).",
        )
    _check_adaptable(rule)
    edges, exact = _edges_at(ADAPTED_EDGES_HU, voltage)
    row = KvpRow(voltage, edges[0], _bins(edges))
    how = "" if exact else ", interpolated"
    return replace(
        rule,
        name=f"{rule.name}_kvp_adapted",
        source=f"{rule.source}; thresholds adapted to {voltage:g} kVp{how}: Gräni C "
        "et al. 2018, doi 10.1093/ehjci/jey019 (70, 80 kVp), and van Praagh GD et al. "
        "2021, doi 10.1002/mp.14912 (100 kVp)",
        threshold_hu=row.threshold_hu,
        density_bins=row.density_bins,
        kvp_table=(row,),
    )


def kev_adapted(rule: ScoringRule, kev: float) -> ScoringRule:
    """Return a rule for a virtual mono-energetic image of a photon energy.

    Between the rows of :data:`MONO_EDGES_HU` the logarithm of each edge is linear in
    the energy, and the rule says that it is interpolated.

    Args:
        rule: As for :func:`kvp_adapted`.
        kev: Photon energy of the image in keV, 40 to 190.

    Raises:
        InputError: ``KEV_RANGE``, or ``RULE_NOT_ADAPTABLE`` as above.

    Example:
        >>> from kcalc.scoring import rule
        >>> kev_adapted(rule("agatston_1990"), 40).density_bins[3]
        (1029, 4)
    """
    energy = float(kev)
    low, high = min(MONO_EDGES_HU), max(MONO_EDGES_HU)
    if not low <= energy <= high:
        raise InputError(
            "KEV_RANGE",
            f"mono-energetic thresholds exist from {low:g} to {high:g} keV; received "
            f"kev={kev}.",
            hint="Give the photon energy of the image in keV, such as 70.",
        )
    _check_adaptable(rule)
    edges, exact = _edges_at(MONO_EDGES_HU, energy)
    how = "" if exact else ", interpolated"
    return replace(
        rule,
        name=f"{rule.name}_{energy:g}_kev",
        source=f"{rule.source}; thresholds of mono-energetic images of {energy:g} keV"
        f"{how}: van Praagh GD et al. 2021, doi 10.1002/mp.14912",
        threshold_hu=edges[0],
        density_bins=_bins(edges),
        kvp_table=(),
    )


def adaptation_obstacle(acquisition: Acquisition) -> str | None:
    """Return why thresholds must not be adapted to a scan's tube voltage, or None.

    A tin filter makes a beam harder than its voltage says, images of Siemens' kernel
    Sa36 show calcium as at 120 kVp whatever the voltage, and the values of mono- and
    multi-energy images follow a photon energy (digest E.4).

    Args:
        acquisition: Facts of the scan.

    Example:
        >>> adaptation_obstacle(Acquisition(convolution_kernel="Sa36f"))
        'its kernel Sa36 shows calcium as at 120 kVp'
    """
    if acquisition.tin_filter:
        return "a tin filter makes its beam harder than its tube voltage says"
    if (acquisition.convolution_kernel or "").strip().upper().startswith("SA36"):
        return "its kernel Sa36 shows calcium as at 120 kVp"
    if acquisition.spectral:
        return "it is a mono- or multi-energy image, whose photon energy counts"
    return None


def _check_adaptable(rule: ScoringRule) -> None:
    if (rule.threshold_hu, rule.density_bins) != (AGATSTON_THRESHOLD_HU, AGATSTON_BINS):
        raise InputError(
            "RULE_NOT_ADAPTABLE",
            "only a rule with the threshold of 130 HU and weights from 130, 200, 300 "
            f"and 400 HU can be adapted; {rule.name} has the threshold "
            f"{rule.threshold_hu} HU and {len(rule.density_bins)} weights from "
            f"{rule.density_bins[0][0]:g} HU.",
            hint="Adapt agatston_1990, or score with this rule unadapted.",
        )


def _bins(edges: Edges) -> tuple[tuple[float, int], ...]:
    return tuple((edge, weight + 1) for weight, edge in enumerate(edges))


def _edges_at(table: dict[float, Edges], position: float) -> tuple[Edges, bool]:
    """Return the edges at a voltage or energy, and whether the table has them."""
    rows = sorted(table)
    for row in rows:
        if abs(row - position) <= 0.5:
            return table[row], True
    upper = min(max(bisect_right(rows, position), 1), len(rows) - 1)
    low, high = rows[upper - 1], rows[upper]
    share = (position - low) / (high - low)
    first, second, third, fourth = (
        math.exp((1 - share) * math.log(a) + share * math.log(b))
        for a, b in zip(table[low], table[high], strict=True)
    )
    return (first, second, third, fourth), False
