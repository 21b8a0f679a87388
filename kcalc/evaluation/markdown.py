"""Rows of plain values enter, tables in Markdown leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

NO_VALUE = "–"


def markdown_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return a table in Markdown, whose columns are the keys of the first row.

    Args:
        rows: At least one; all with the first one's keys.

    Example:
        >>> print(markdown_table([{"kind": "wide", "cases": 3}]))
        | kind | cases |
        |---|---|
        | wide | 3 |
    """
    columns = list(rows[0])
    lines = [columns, *([str(row[name]) for name in columns] for row in rows)]
    head, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(columns), *body])


def number(value: float | None, decimals: int) -> str:
    """Return a number with fixed decimals, a dash for None."""
    return NO_VALUE if value is None else f"{value:.{decimals}f}"


def percent(value: float | None) -> str:
    """Return a share as a percentage with one decimal, a dash for None.

    Example:
        >>> percent(0.8534), percent(None)
        ('85.3', '–')
    """
    return NO_VALUE if value is None else f"{100 * value:.1f}"


def span(ends: Sequence[float] | None, decimals: int) -> str:
    """Return an interval with fixed decimals, a dash for None."""
    if ends is None:
        return NO_VALUE
    return f"{ends[0]:.{decimals}f} to {ends[1]:.{decimals}f}"


def percents(ends: Sequence[float] | None) -> str:
    """Return an interval of shares as percentages, a dash for None."""
    return NO_VALUE if ends is None else span([100 * end for end in ends], 1)
