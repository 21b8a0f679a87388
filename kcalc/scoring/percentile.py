"""Percentile of a score: a table of the user's and a person's group in, a range out.

kcalc brings no table: published ones stand under their journals' copyright, and none
fits every population. The table is a CSV file with a row for each sex, group and range
of ages, and a column ``p<number>`` for each percentile.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from kcalc.errors import InputError

Sex = Literal["female", "male"]
SEXES: tuple[Sex, ...] = ("female", "male")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)")
_MAX_BYTES = 1_000_000
_SEX_CELLS = {"f": "female", "female": "female", "m": "male", "male": "male"}


@dataclass(frozen=True)
class PercentileRow:
    """Scores at some percentiles, of one sex, group and range of ages.

    Args:
        sex: ``"female"`` or ``"male"``.
        group: Name of the group, "" where the table has none.
        age_from: First age in years.
        age_to: Last age in years, included up to the next birthday.
        scores: (percentile, Agatston score), rising.
    """

    sex: str
    group: str
    age_from: float
    age_to: float
    scores: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Percentile:
    """Between which percentiles of the people alike a score lies.

    Args:
        above: At least this percentage of them has a lower score.
        at_most: At most this percentage of them has a lower score.
        age: Age in years.
        sex: ``"female"`` or ``"male"``.
        group: Group of the table, "" where it has none.
    """

    above: float
    at_most: float
    age: float
    sex: str
    group: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary ready for JSON."""
        return asdict(self)


def read_percentile_table(path: str | os.PathLike[str]) -> tuple[PercentileRow, ...]:
    """Return the rows of a percentile table.

    The CSV file has the columns ``sex`` (female, male, f, m), ``age_from``, ``age_to``
    (whole years, both included), ``p<number>`` for each percentile with the Agatston
    score there, and, if it tells groups apart, ``group``.

    Args:
        path: The CSV file, in UTF-8.

    Raises:
        InputError: ``NOT_FOUND``, ``UNREADABLE`` or ``PERCENTILE_TABLE``.
    """
    source = Path(path)
    try:
        if source.stat().st_size > _MAX_BYTES:
            raise _bad_table("it must be a table of at most 1 MB", source)
        text = source.read_text("utf-8-sig")
    except FileNotFoundError:
        hint = "Give the CSV file of the percentile table."
        raise InputError(
            "NOT_FOUND", "the file does not exist.", path=source, hint=hint
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "UNREADABLE",
            f"the file cannot be read as text ({type(error).__name__}).",
            path=source,
            hint="Save the table as CSV in UTF-8.",
        ) from None
    reader = csv.DictReader(text.splitlines())
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
    except csv.Error:
        raise _bad_table("it must be a CSV file", source) from None
    reader.fieldnames = columns
    unknown = [n for n in columns if n[:1] == "p" and not _PERCENTILE.fullmatch(n)]
    percentiles = sorted(
        (float(found[1]), name)
        for name in columns
        if (found := _PERCENTILE.fullmatch(name))
    )
    wanted = {"sex", "age_from", "age_to"}
    if (
        not wanted <= set(columns)
        or not percentiles
        or len(set(columns)) < len(columns)
    ):
        raise _bad_table(
            "it must have the columns sex, age_from, age_to and some p<number>, each "
            f"once; it has {len(columns)} columns",
            source,
        )
    if unknown:
        raise _bad_table(
            f"percentiles are columns p1 to p99; {len(unknown)} begin like one and are "
            "none",
            source,
        )
    try:
        rows = tuple(
            _row(cells, percentiles, f"line {reader.line_num}", source)
            for cells in reader
        )
    except csv.Error:
        raise _bad_table("it must be a CSV file", source) from None
    if not rows:
        raise _bad_table("it must have at least one row", source)
    return rows


def percentile(
    agatston: float,
    table: Iterable[PercentileRow],
    *,
    age: float,
    sex: Sex,
    group: str | None = None,
) -> Percentile:
    """Return between which percentiles of people of that age, sex and group a score is.

    Args:
        agatston: Agatston score.
        table: Rows of :func:`read_percentile_table`.
        age: Age in years.
        sex: ``"female"`` or ``"male"``.
        group: Group of the table; None where the table has none.

    Raises:
        InputError: ``PERCENTILE_RANGE``, the table has no row, or several, for them.
        ValueError: The score, age or sex is none.

    Example:
        >>> row = PercentileRow("male", "", 45, 54, ((25, 0), (50, 3), (75, 60)))
        >>> found = percentile(20, [row], age=50, sex="male")
        >>> found.above, found.at_most
        (50, 75)
    """
    if not (math.isfinite(agatston) and agatston >= 0 and math.isfinite(age)):
        raise ValueError(
            "agatston must be at least 0, and both it and age finite. "
            f"Received: agatston={agatston}, age={age}"
        )
    if sex not in SEXES:
        raise ValueError(f"sex must be one of {SEXES}. Received: sex={sex!r}")
    rows = tuple(table)
    groups = sorted({row.group for row in rows})
    name = (group or "").strip()
    found = [
        row
        for row in rows
        if row.sex == sex
        and row.group.casefold() == name.casefold()
        and row.age_from <= age < row.age_to + 1
    ]
    if len(found) != 1:
        same_sex = [row for row in rows if row.sex == sex]
        span = ""
        if same_sex:
            low = min(row.age_from for row in same_sex)
            high = max(row.age_to for row in same_sex)
            span = f" For this sex it has ages {low:g} to {high:g}."
        raise InputError(
            "PERCENTILE_RANGE",
            "the percentile table must have one row for the age, sex and group given; "
            f"it has {len(found)}.{span} Its groups: "
            f"{', '.join(group or 'none' for group in groups)}.",
            hint="Nothing is guessed outside the table; leave the percentile out.",
        )
    row = found[0]
    above = max((p for p, score in row.scores if score < agatston), default=0.0)
    at_most = min((p for p, score in row.scores if score >= agatston), default=100.0)
    return Percentile(above, at_most, float(age), sex, row.group)


def _row(
    cells: dict[str | Any, str | Any],
    percentiles: list[tuple[float, str]],
    where: str,
    path: Path,
) -> PercentileRow:
    sex = _SEX_CELLS.get(str(cells["sex"] or "").strip().lower())
    if sex is None:
        raise _bad_table(f"{where}: sex must be female or male", path)
    try:
        age_from, age_to = float(cells["age_from"]), float(cells["age_to"])
        scores = tuple((share, float(cells[name])) for share, name in percentiles)
    except (TypeError, ValueError):
        raise _bad_table(f"{where}: ages and scores must be numbers", path) from None
    values = [score for _, score in scores]
    if not 0 <= age_from <= age_to < 150:
        raise _bad_table(f"{where}: ages must rise within 0 to 150", path)
    if not all(math.isfinite(value) and value >= 0 for value in values) or any(
        high < low for low, high in pairwise(values)
    ):
        raise _bad_table(
            f"{where}: scores must not fall from one percentile to the next", path
        )
    group = str(cells.get("group") or "").strip()
    return PercentileRow(sex, group, age_from, age_to, scores)


def _bad_table(rule: str, path: Path) -> InputError:
    return InputError(
        "PERCENTILE_TABLE",
        f"the percentile table cannot be used: {rule}.",
        path=path,
        hint="Columns: sex,group,age_from,age_to,p25,p50,p75,p90.",
    )
