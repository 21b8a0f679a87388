"""Scored cases enter, the figures of an evaluation by patient and their text leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcalc.evaluation.comparison import CaseComparison
from kcalc.evaluation.confusion import class_figures
from kcalc.evaluation.detection import LesionOverlap, rate
from kcalc.evaluation.image_figures import (
    agreement_figures,
    agreement_text,
    number_agreement,
    number_text,
)
from kcalc.evaluation.markdown import markdown_table, number, percent, percents, span
from kcalc.scoring.lesions import UNASSIGNED
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
        name Agatston totals, ICC, sensitivity and PPV (None where no label names a
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
    """Return figures by vessel over the cases whose label names vessels.

    A lesion is found if any of it is marked, whatever vessel the result names; volumes
    (``volume_sensitivity``, ``volume_ppv``) count only what both give to the vessel.
    """
    named = [c for c in comparisons if c.vessel_agatston_reference is not None]
    names = dict.fromkeys(
        name for c in named for name in (c.vessel_agatston_reference or {})
    )
    return {name: _one_vessel(name, named) for name in names} or None


def _one_vessel(name: str, named: Sequence[CaseComparison]) -> dict[str, Any]:
    told = [c for c in named if c.vessel_agatston_result is not None]
    scores = [(c.vessel_agatston_reference or {}).get(name, 0.0) for c in named]
    first = [(c.vessel_agatston_reference or {}).get(name, 0.0) for c in told]
    second = [(c.vessel_agatston_result or {}).get(name, 0.0) for c in told]
    lesions = [x for c in named for x in c.reference_lesions if _vessel(x) == name]
    own = [x for c in told for x in c.result_lesions if _vessel(x) == name]
    found, true = (sum(x.matched for x in part) for part in (lesions, own))
    reference_mm3, result_mm3, both_mm3 = (
        sum(
            getattr(c.vessels[name], f"voxels_{side}") * c.voxel_mm3
            for c in told
            if c.vessels is not None and name in c.vessels
        )
        for side in ("reference", "result", "both")
    )
    return {
        "cases": sum(score > 0 for score in scores),
        "lesions": len(lesions),
        "found": found,
        "sensitivity": rate(found, len(lesions)),
        "result_lesions": len(own) if told else None,
        "ppv": rate(true, len(own)),
        "volume_sensitivity": rate(both_mm3, reference_mm3),
        "volume_ppv": rate(both_mm3, result_mm3),
        "agatston_reference": sum(scores),
        "agatston_result": sum(second) if told else None,
        **number_agreement(first, second),
    }


def _vessel(lesion: LesionOverlap) -> str:
    return lesion.vessel or UNASSIGNED


def _vessel_text(vessels: Mapping[str, Any]) -> str:
    table = markdown_table(
        [
            {
                "vessel": name,
                "cases with it": one["cases"],
                "lesions": one["lesions"],
                "sensitivity, %": percent(one["sensitivity"]),
                "PPV, %": percent(one["ppv"]),
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
