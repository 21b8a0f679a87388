"""The presets: scoring rules by name, each with the source it follows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kcalc.scoring.rules import AGATSTON_BINS, KvpRow, ScoringRule

_PRESETS = (
    ScoringRule(
        name="agatston_1990",
        source=(
            "Agatston AS et al., J Am Coll Cardiol 1990, "
            "doi 10.1016/0735-1097(90)90282-T (contiguous 3 mm slices, electron-beam "
            "CT); 120 kVp, 8-connectivity and spacing / 3 mm are later conventions"
        ),
        minimum_area_mm2=1.0,
    ),
    ScoringRule(
        name="fqm_canon",
        source=(
            "FQM, Canon preset: van Praagh GD et al., Med Phys 2021, "
            "doi 10.1002/mp.14912; 8-connected with more than 3 pixels, as its "
            "published scores need (its MATLAB code has 4-connected, at least 3)"
        ),
        minimum_pixels=3,
        minimum_comparison=">",
        kvp_table=(KvpRow(100, 147, AGATSTON_BINS),),
    ),
)

RULES: Mapping[str, ScoringRule] = MappingProxyType({r.name: r for r in _PRESETS})
"""The presets by name; read-only."""


def rule(name: str | ScoringRule) -> ScoringRule:
    """Return a preset by its name; a ScoringRule is returned as it is.

    Args:
        name: One of the names in :data:`RULES`, or a rule of your own.

    Raises:
        ValueError: No preset has that name.
        TypeError: name is neither a string nor a ScoringRule.

    Example:
        >>> rule("agatston_1990").minimum_area_mm2
        1.0
    """
    if isinstance(name, ScoringRule):
        return name
    if not isinstance(name, str):
        raise TypeError(
            "rule must be the name of a preset or a ScoringRule. "
            f"Received: {type(name).__name__}"
        )
    if name not in RULES:
        raise ValueError(
            f"rule must be one of {', '.join(sorted(RULES))}, or a ScoringRule. "
            f"Received: rule={name!r}"
        )
    return RULES[name]
