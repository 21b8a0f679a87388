"""Scored cases enter, the figures of an evaluation by patient and their text leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcalc.evaluation.comparison import CaseComparison
from kcalc.evaluation.confusion import class_figures
from kcalc.evaluation.image_figures import (
    agreement_figures,
    agreement_text,
    number_agreement,
    number_text,
)
from kcalc.evaluation.markdown import markdown_table, number, percent, percents, span
from kcalc.scoring.risk import (
    ORCASCORE_CATEGORIES,
    RISK_CATEGORIES,
    orcascore_category,
)


def patient_figures(
    comparisons: Sequence[CaseComparison], *, seed: int = 0
) -> dict[str, Any]:
    """Return the figures that the protocols of coronary calcium scoring ask for.

    Args:
        comparisons: One a case, at least one.
        seed: Seed of the bootstrap.

    Returns:
        ``risk``, five risk classes, and ``risk_orcascore``, its four
        (:func:`class_figures`: confusion, accuracy, linearly weighted kappa);
        ``agatston`` (:func:`number_agreement`: ICC, Bland-Altman); ``vessels``, by
        name Agatston totals, ICC and lesions found (None where no label names a
        vessel); and ``image``, what :func:`agreement_figures` gives of the masks,
        detection by lesion and volume among it.

    Raises:
        ValueError: There is no case, or one stands twice.
    """
    image = agreement_figures(comparisons, seed=seed)
    del image["rows"]
    keys = [c.patient for c in comparisons]
    reference = [c.agatston_reference for c in comparisons]
    result = [c.agatston_result for c in comparisons]
    return {
        "risk": class_figures(
            [c.risk_reference for c in comparisons],
            [c.risk_result for c in comparisons],
            RISK_CATEGORIES,
            keys,
            seed=seed,
        ),
        "risk_orcascore": class_figures(
            [orcascore_category(score) for score in reference],
            [orcascore_category(score) for score in result],
            ORCASCORE_CATEGORIES,
            keys,
            seed=seed,
        ),
        "agatston": number_agreement(reference, result),
        "vessels": _vessel_figures(comparisons),
        "image": image,
    }


def patient_text(figures: Mapping[str, Any]) -> str:
    """Return the tables of :func:`patient_figures` in Markdown."""
    parts = [
        "Risk class, rows by the label, columns by the result:",
        class_text(figures["risk"]),
        "The same in orCaScore's classes:",
        class_text(figures["risk_orcascore"]),
        "Agatston score, result against label:",
        number_text(figures["agatston"], "points"),
    ]
    if figures["vessels"]:
        parts += ["By vessel:", _vessel_text(figures["vessels"])]
    return "\n\n".join([*parts, agreement_text(figures["image"])])


def class_text(figures: Mapping[str, Any]) -> str:
    """Return a confusion with accuracy and kappa in Markdown."""
    table = markdown_table(
        [
            {"label": name, **dict(zip(figures["classes"], counts, strict=True))}
            for name, counts in zip(figures["classes"], figures["counts"], strict=True)
        ]
    )
    return (
        f"{table}\n\nAccuracy {percent(figures['accuracy'])} % "
        f"({percents(figures['accuracy_interval'])}), at most one class off "
        f"{percent(figures['within_one_class'])} %, linearly weighted kappa "
        f"{number(figures['kappa_linear'], 3)} "
        f"({span(figures['kappa_linear_interval'], 3)})."
    )


def _vessel_figures(comparisons: Sequence[CaseComparison]) -> dict[str, Any] | None:
    """Return figures by vessel over the cases whose label names vessels."""
    named = [c for c in comparisons if c.vessel_agatston_reference is not None]
    names = dict.fromkeys(
        name for c in named for name in (c.vessel_agatston_reference or {})
    )
    if not names:
        return None
    told = [c for c in named if c.vessel_agatston_result is not None]
    figures = {}
    for name in names:
        lesions = [
            lesion
            for c in named
            for lesion in c.reference_lesions
            if (lesion.vessel or "unassigned") == name
        ]
        scores = [(c.vessel_agatston_reference or {}).get(name, 0.0) for c in named]
        both = [
            (
                (c.vessel_agatston_reference or {}).get(name, 0.0),
                (c.vessel_agatston_result or {}).get(name, 0.0),
            )
            for c in told
        ]
        found = sum(lesion.matched for lesion in lesions)
        figures[name] = {
            "cases": sum(score > 0 for score in scores),
            "lesions": len(lesions),
            "found": found,
            "sensitivity": found / len(lesions) if lesions else None,
            "agatston_reference": sum(scores),
            "agatston_result": sum(one[1] for one in both) if both else None,
            **number_agreement([one[0] for one in both], [one[1] for one in both]),
        }
    return figures


def _vessel_text(vessels: Mapping[str, Any]) -> str:
    table = markdown_table(
        [
            {
                "vessel": name,
                "cases with it": one["cases"],
                "lesions": one["lesions"],
                "found, %": percent(one["sensitivity"]),
                "Agatston, label": number(one["agatston_reference"], 1),
                "Agatston, result": number(one["agatston_result"], 1),
                "ICC(2,1)": number(one["icc_2_1"] and one["icc_2_1"]["value"], 3),
            }
            for name, one in vessels.items()
        ]
    )
    if all(one["agatston_result"] is None for one in vessels.values()):
        return f"{table}\n\nThe result names no vessel: per vessel, not available."
    return table
