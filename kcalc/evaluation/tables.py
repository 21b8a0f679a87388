"""Cases and comparisons of cases enter, figures and tables in Markdown leave."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from kcalc.data.case import CaseRecord
from kcalc.data.splits import SPLITS
from kcalc.data.store import CaseStore
from kcalc.evaluation.comparison import CaseComparison, kind_of
from kcalc.evaluation.markdown import markdown_table
from kcalc.evaluation.overlap import pooled_dice
from kcalc.evaluation.patients import patient_figures


def summary(comparisons: Sequence[CaseComparison]) -> dict[str, Any]:
    """Return the figures over all cases together.

    Args:
        comparisons: At least one.

    Returns:
        ``cases``; ``patients``; ``pixel_f1``, 2 TP / (2 TP + FP + FN) over all voxels
        of all cases together, 1 where neither mask has any; ``agatston_bias`` and
        ``median_absolute_agatston_error``, mean and median of the difference network
        minus label, in Agatston points; ``risk_category_agreement``, the share of
        cases in the label's risk category; ``cases_without_calcium``, those whose
        label scores 0, and ``of_these_scored_zero``.

    Raises:
        ValueError: There is no case.
    """
    if not comparisons:
        raise ValueError("summary needs at least one case. Received: none")
    errors = [c.agatston_result - c.agatston_reference for c in comparisons]
    agreeing = sum(c.risk_result == c.risk_reference for c in comparisons)
    empty = [c for c in comparisons if c.agatston_reference == 0]
    return {
        "cases": len(comparisons),
        "patients": len({c.patient for c in comparisons}),
        "pixel_f1": round(pooled_dice(comparisons), 4),
        "agatston_bias": round(statistics.fmean(errors), 2),
        "median_absolute_agatston_error": round(
            statistics.median(abs(error) for error in errors), 2
        ),
        "risk_category_agreement": round(agreeing / len(comparisons), 4),
        "cases_without_calcium": len(empty),
        "of_these_scored_zero": sum(c.agatston_result == 0 for c in empty),
    }


def by_kind(comparisons: Sequence[CaseComparison]) -> dict[str, dict[str, Any]]:
    """Return :func:`summary` for each kind of case, in order of name."""
    kinds = sorted({c.kind for c in comparisons})
    return {kind: summary([c for c in comparisons if c.kind == kind]) for kind in kinds}


def figures(
    comparisons: Sequence[CaseComparison], *, rule: str = "agatston_1990"
) -> dict[str, Any]:
    """Return what a recipe's ``evaluation.json`` holds.

    Args:
        comparisons: At least one.
        rule: Name of the rule they were scored under.

    Returns:
        ``rule``, ``overall`` (:func:`summary`), ``by_kind``, ``agreement``
        (:func:`patient_figures <kcalc.evaluation.patient_figures>`) and ``rows``.

    Raises:
        ValueError: There is no case.
    """
    return {
        "rule": rule,
        "overall": summary(comparisons),
        "by_kind": by_kind(comparisons),
        "agreement": patient_figures(comparisons),
        "rows": [comparison.to_dict() for comparison in comparisons],
    }


def case_table(store: CaseStore) -> str:
    """Return what a store holds, a row for each split and kind of case, in Markdown."""
    groups: dict[tuple[int, str], list[CaseRecord]] = {}
    for record in store.records:
        key = (SPLITS.index(record.split), kind_of(record.name))
        groups.setdefault(key, []).append(record)
    return markdown_table(
        [
            {
                "split": SPLITS[split],
                "kind": kind,
                "cases": len(group),
                "patients": len({record.patient for record in group}),
                "with calcium": sum(
                    len(store.positive_slices(record.name)) > 0 for record in group
                ),
                "kVp": _range([r.tube_voltage_kvp for r in group], 0),
                "slice spacing mm": _range([r.spacing_mm[0] for r in group], 2),
                "pixel mm": _range([r.spacing_mm[1] for r in group], 2),
            }
            for (split, kind), group in sorted(groups.items())
        ]
    )


def _range(values: Sequence[float | None], decimals: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "unknown"
    low, high = f"{min(known):.{decimals}f}", f"{max(known):.{decimals}f}"
    return low if low == high else f"{low} to {high}"
