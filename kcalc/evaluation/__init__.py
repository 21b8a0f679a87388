"""Evaluation: masks of a network and of a reader enter, tables of agreement leave."""

from kcalc.evaluation.comparison import CaseComparison, compare_masks, compare_split
from kcalc.evaluation.tables import (
    by_kind,
    case_table,
    figures,
    markdown_table,
    summary,
)

__all__ = [
    "CaseComparison",
    "by_kind",
    "case_table",
    "compare_masks",
    "compare_split",
    "figures",
    "markdown_table",
    "summary",
]
