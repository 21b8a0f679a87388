"""Rows of a paper's table enter, the table, what is missing and what reproduced leave.

The rows are those of :mod:`kcalc.training.ablation`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from kcalc.errors import InputError
from kcalc.evaluation import markdown_table
from kcalc.training.ablation import AblationRow, RowResult

SIGNIFICANT_P = 0.05


@dataclass(frozen=True)
class Column:
    """One figure of a table.

    Args:
        title: Head of the column.
        figure: Path of the figure, such as ``"overall.pixel_f1"``.
        decimals: Digits after the point.
        cases: Name of the values by case on which P rests; None for no P.
        lower_is_better: Whether a smaller figure is the better one.
    """

    title: str
    figure: str
    decimals: int = 3
    cases: str | None = None
    lower_is_better: bool = False


@dataclass(frozen=True)
class Finding:
    """A claim of the paper: one row is better than another in one figure."""

    claim: str
    better: str
    worse: str
    column: Column


def missing_text(
    rows: Sequence[AblationRow], results: Sequence[RowResult], seeds: Sequence[int]
) -> str:
    """Return one line that names every row x seed that has not been made."""
    there = {(result.row, result.seed) for result in results}
    absent = [f"{r.name}-{s}" for r in rows for s in seeds if (r.name, s) not in there]
    if not absent:
        return f"All {len(rows)} rows x {len(seeds)} seeds are there."
    return f"Missing: {', '.join(absent)}."


def ablation_table(
    rows: Sequence[AblationRow],
    results: Sequence[RowResult],
    columns: Sequence[Column],
    *,
    baseline: str | None = None,
) -> str:
    """Return the table in Markdown: mean and SD of every figure over the seeds.

    A column with values by case is followed by P against the baseline row: paired
    t-test over cases, each case's value averaged over the seeds that both rows have.
    A row without any seed is there, with dashes.

    Args:
        rows: At least one.
        results: From :func:`read_rows`.
        columns: What to print.
        baseline: Name of the row that others are compared with; None for no P.

    Raises:
        InputError: A row lacks a figure, or two rows were tested on other cases
            (``ROW_INVALID``).
    """
    by_row = _by_row(results)
    table = []
    for row in rows:
        own = by_row.get(row.name, [])
        line: dict[str, object] = {"row": row.title, "seeds": len(own)}
        for column in columns:
            values = [result.figure(column.figure) for result in own]
            line[column.title] = mean_and_sd(values, column.decimals)
            if column.cases is not None and baseline is not None:
                p = (
                    None
                    if row.name == baseline
                    else paired_p(own, by_row.get(baseline, []), column.cases)
                )
                line[f"P of {column.title}"] = _p_text(p)
        table.append(line)
    return markdown_table(table)


def findings_text(findings: Sequence[Finding], results: Sequence[RowResult]) -> str:
    """Return for each claim of the paper whether it reproduced, from the numbers.

    "Reproduced" is a mean difference over the seeds in the claim's direction with
    P < 0.05, over cases where the column has values by case and else over seeds.

    Returns:
        One line of Markdown a claim, with the difference, in how many seeds it has the
        claim's direction, and P.
    """
    by_row = _by_row(results)
    lines = []
    for finding in findings:
        column = finding.column
        better = by_row.get(finding.better, [])
        worse = by_row.get(finding.worse, [])
        gains = _gains(better, worse, column)
        if not gains:
            verdict = "not measured"
        else:
            mean = statistics.fmean(gains)
            p = (
                _paired_t(gains)
                if column.cases is None
                else paired_p(better, worse, column.cases)
            )
            ahead = sum(gain > 0 for gain in gains)
            verdict = (
                f"{_verdict(mean, p)} ({column.title} {mean:+.{column.decimals}f}, "
                f"better in {ahead} of {len(gains)} seeds, P {_p_text(p)})"
            )
        lines.append(f"- {finding.claim}: {verdict}.")
    return "\n".join(lines)


def paired_p(
    ones: Sequence[RowResult], others: Sequence[RowResult], figure: str
) -> float | None:
    """Return P of a paired t-test over cases between two rows, two-sided.

    Args:
        ones: Results of one row.
        others: Results of the other.
        figure: Name of the values by case; their mean over the common seeds is tested.

    Returns:
        P; None where the rows have no common seed, or fewer than two cases, or no
        case differs.

    Raises:
        InputError: ``ROW_INVALID``: the cases differ.
    """
    seeds = {result.seed for result in ones} & {result.seed for result in others}
    if not seeds:
        return None
    one, other = (
        _mean_by_case([result for result in side if result.seed in seeds], figure)
        for side in (ones, others)
    )
    if one.keys() != other.keys():
        raise InputError(
            "ROW_INVALID",
            "Rows of one table must be tested on the same cases. Received: other cases "
            f"in row {ones[0].row!r} than in row {others[0].row!r}.",
            hint="Make the rows again from one store.",
        )
    return _paired_t([one[case] - other[case] for case in sorted(one)])


def mean_and_sd(values: Sequence[float | None], decimals: int = 3) -> str:
    """Return "mean ± SD" over seeds (n - 1 in the SD); undefined values are counted.

    Example:
        >>> mean_and_sd([0.5, 0.75, None], 2)
        '0.62 ± 0.18 (2 of 3)'
    """
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    text = f"{statistics.fmean(known):.{decimals}f}"
    if len(known) > 1:
        text += f" ± {statistics.stdev(known):.{decimals}f}"
    return (
        text if len(known) == len(values) else f"{text} ({len(known)} of {len(values)})"
    )


def _by_row(results: Sequence[RowResult]) -> dict[str, list[RowResult]]:
    found: dict[str, list[RowResult]] = {}
    for result in results:
        found.setdefault(result.row, []).append(result)
    return found


def _gains(
    better: Sequence[RowResult], worse: Sequence[RowResult], column: Column
) -> list[float]:
    """Return by how much one row is better than another, for each common seed."""
    sign = -1.0 if column.lower_is_better else 1.0
    gains = []
    for one in better:
        for other in worse:
            if one.seed == other.seed:
                a, b = one.figure(column.figure), other.figure(column.figure)
                if a is not None and b is not None:
                    gains.append(sign * (a - b))
    return gains


def _mean_by_case(results: Sequence[RowResult], figure: str) -> dict[str, float]:
    tables = [result.cases.get(figure, {}) for result in results]
    cases = set().union(*tables)
    if any(table.keys() != cases for table in tables):
        raise InputError(
            "ROW_INVALID",
            f"All seeds of row {results[0].row!r} must give {figure!r} of the same "
            "cases.",
            hint="Remove the files of the odd seeds and run them again.",
        )
    return {case: statistics.fmean(table[case] for table in tables) for case in cases}


def _paired_t(differences: Sequence[float]) -> float | None:
    if len(differences) < 2 or len(set(differences)) < 2:
        return None
    from scipy import stats

    p = float(stats.ttest_1samp(differences, 0.0).pvalue)
    return p if math.isfinite(p) else None


def _verdict(mean: float, p: float | None) -> str:
    clear = p is not None and p < SIGNIFICANT_P
    if mean > 0:
        return "reproduced" if clear else "same direction, not significant"
    return "the opposite, significantly" if clear and mean < 0 else "not reproduced"


def _p_text(p: float | None) -> str:
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
