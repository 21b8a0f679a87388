"""Rows of a paper's table enter, the table, what is missing and what reproduced leave.

The rows are those of :mod:`kcalc.training.ablation`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from kcalc.errors import InputError
from kcalc.evaluation import TTest, markdown_table, paired_t_test
from kcalc.evaluation.checks import defined
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
    """A claim of the paper: one row is better than another in one figure.

    Args:
        claim: What the paper says, as a sentence without its full stop.
        better: Name of the row that should be better.
        worse: Name of the other row; may be the same one, with ``worse_column``.
        column: The figure.
        worse_column: Figure of the other row, where it is not the same one, such as
            the rate without post-processing.
    """

    claim: str
    better: str
    worse: str
    column: Column
    worse_column: Column | None = None


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
                other = by_row.get(baseline, []) if row.name != baseline else []
                test = _case_test(own, other, column.cases, column.cases)
                line[f"P of {column.title}"] = _p_text(test)
        table.append(line)
    return markdown_table(table)


def findings_text(findings: Sequence[Finding], results: Sequence[RowResult]) -> str:
    """Return for each claim of the paper whether it reproduced, from the numbers.

    "Reproduced" is a mean difference over the seeds in the claim's direction with
    P < 0.05, over cases where the column has values by case (whose mean difference must
    have that direction too) and else over seeds.

    Returns:
        One line of Markdown a claim, with the difference, in how many seeds it has the
        claim's direction, and P.
    """
    by_row = _by_row(results)
    lines = []
    for finding in findings:
        column, other = finding.column, finding.worse_column or finding.column
        better = by_row.get(finding.better, [])
        worse = by_row.get(finding.worse, [])
        sign = -1.0 if column.lower_is_better else 1.0
        gains = [sign * gain for gain in _gains(better, worse, column, other)]
        verdict = "not measured"
        if gains:
            mean, ahead = statistics.fmean(gains), sum(gain > 0 for gain in gains)
            if column.cases is None or other.cases is None:
                test = _test(gains, [0.0] * len(gains))
            else:
                test = _case_test(better, worse, column.cases, other.cases)
            clear = (
                test is not None
                and test.p < SIGNIFICANT_P
                and (column.cases is None or sign * test.difference * mean > 0)
            )
            verdict = (
                f"{_verdict(mean, clear)} ({column.title} {mean:+.{column.decimals}f}, "
                f"better in {ahead} of {len(gains)} seeds, P {_p_text(test)})"
            )
        lines.append(f"- {finding.claim}: {verdict}.")
    return "\n".join(lines)


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


def _case_test(
    ones: Sequence[RowResult],
    others: Sequence[RowResult],
    figure: str,
    other_figure: str,
) -> TTest | None:
    """Return the paired t-test over cases, each averaged over the common seeds.

    None where the rows have no common seed or the test has no value.

    Raises:
        InputError: ``ROW_INVALID``: the cases differ.
    """
    seeds = {result.seed for result in ones} & {result.seed for result in others}
    if not seeds:
        return None
    one, other = (
        _mean_by_case([result for result in side if result.seed in seeds], name)
        for side, name in ((ones, figure), (others, other_figure))
    )
    if one.keys() != other.keys():
        raise InputError(
            "ROW_INVALID",
            "Rows of one table must be tested on the same cases. Received: other cases "
            f"in row {ones[0].row!r} than in row {others[0].row!r}.",
            hint="Make the rows again from one store.",
        )
    cases = sorted(one)
    return _test([one[case] for case in cases], [other[case] for case in cases])


def _test(first: Sequence[float], second: Sequence[float]) -> TTest | None:
    return defined(lambda: paired_t_test(first, second))


def _by_row(results: Sequence[RowResult]) -> dict[str, list[RowResult]]:
    found: dict[str, list[RowResult]] = {}
    for result in results:
        found.setdefault(result.row, []).append(result)
    return found


def _gains(
    better: Sequence[RowResult],
    worse: Sequence[RowResult],
    column: Column,
    other_column: Column,
) -> list[float]:
    """Return one row's figure minus the other's, for each common seed."""
    gains = []
    for one in better:
        for other in worse:
            if one.seed == other.seed:
                a = one.figure(column.figure)
                b = other.figure(other_column.figure)
                if a is not None and b is not None:
                    gains.append(a - b)
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


def _verdict(mean: float, clear: bool) -> str:
    if mean > 0:
        return "reproduced" if clear else "same direction, not significant"
    return "the opposite, significantly" if clear and mean < 0 else "not reproduced"


def _p_text(test: TTest | None) -> str:
    if test is None:
        return "–"
    return "< 0.001" if test.p < 0.001 else f"{test.p:.3f}"
