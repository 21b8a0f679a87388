"""``rule="all"``: one mask under every preset, beside the default rule's result."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.errors import UsageError
from kcalc.scoring import ScoringRule, score_under_all_rules
from kcalc.scoring import rule as rule_named
from kcalc.volume import Volume
from kcalc.workflow.options import ScoreOptions, rule_for_beam, target_rule

ALL_RULES = "all"
"""Asks for every preset; the result's own figures are those of the default rule."""
DEFAULT_RULE = "agatston_1990"


def leading_rule(rule: str | ScoringRule, options: ScoreOptions) -> ScoringRule:
    """Return the rule of the result's own figures.

    Args:
        rule: Name of a preset, a rule, or :data:`ALL_RULES`.
        options: The choices.

    Raises:
        UsageError: The target has a rule of its own and another one is asked for.
        ValueError: No preset has that name.
    """
    target = options.target_preset
    if rule != ALL_RULES:
        return target_rule(rule_named(rule), target)
    if target.rule is not None or not target.has_agatston:
        raise UsageError(
            "OPTIONS",
            f"all rules are rules of an Agatston score; the target {target.name} has "
            "its own rule (leave out --rule).",
        )
    return rule_named(DEFAULT_RULE)


def under_all_rules(
    rule: str | ScoringRule,
    volume: Volume,
    mask: npt.NDArray[np.uint8],
    options: ScoreOptions,
    facts: dict[str, Any],
) -> list[dict[str, Any]] | None:
    """Return ``all_rules`` of ``score.json``, None where one rule was asked for.

    Args:
        rule: What was asked for.
        volume: The scan.
        mask: The mask.
        options: The choices; thresholds are adapted for every rule as they ask.
        facts: What :func:`kcalc.calcium_score` takes beside them.
    """
    if rule != ALL_RULES:
        return None
    outcomes = score_under_all_rules(
        volume.array,
        mask,
        volume.spacing_mm,
        adapt=lambda preset: rule_for_beam(preset, options, volume.acquisition)[0],
        **facts,
    )
    return [outcome.to_dict() for outcome in outcomes]
