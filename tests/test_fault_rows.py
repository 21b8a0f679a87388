"""Every row of the fault catalogue's sections A to C has a test of its name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

MUST = {
    "a": (*range(1, 19), 20, 21),
    "b": (*range(1, 5), *range(6, 14), 15, 16, 19),
    "c": (*range(1, 17), 18),
}
"""Rows that the first release must keep."""
SHOULD = {"a": (19, 22), "b": (5, 14, 17), "c": (17,)}
"""Rows kept beyond that. A23 is tested by its code FOV; B18 (IVUS) is not read yet."""


def _rows_of_tests() -> set[str]:
    """Return the rows that test names begin with: ``a1`` of ``test_a01_...``."""
    rows = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        text = path.read_text("utf-8")
        for prefix in re.findall(r"^def test_((?:[abc]\d+_)+)", text, re.MULTILINE):
            rows.update(f"{s}{int(n)}" for s, n in re.findall(r"([abc])(\d+)_", prefix))
    return rows


@pytest.mark.parametrize("rows", [MUST, SHOULD])
def test_each_row_has_a_test_of_its_name(rows: dict[str, tuple[int, ...]]) -> None:
    wanted = {
        f"{section}{number}" for section, numbers in rows.items() for number in numbers
    }
    assert wanted - _rows_of_tests() == set()
