"""Percentiles from a table of the user's: reading it, finding a place, refusing."""

from __future__ import annotations

import pytest

from kcalc.errors import InputError
from kcalc.scoring import percentile, read_percentile_table

# Invented numbers; no published table.
TABLE = """sex,group,age_from,age_to,p25,p50,p75,p90
female,north,45,54,0,0,1,40
female,north,55,64,0,2,50,200
male,north,45,54,0,4,70,300
M,south,45,54,0,1,30,150
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    return read_percentile_table(path)


def test_a_table_is_read_with_its_groups_and_ages(table):
    assert len(table) == 4
    assert table[3].sex == "male"
    assert table[1].scores == ((25, 0), (50, 2), (75, 50), (90, 200))


@pytest.mark.parametrize(
    ("agatston", "above", "at_most"),
    [
        (0, 0, 25),
        (0.5, 25, 50),
        (2, 25, 50),
        (2.01, 50, 75),
        (50, 50, 75),
        (199.9, 75, 90),
        (201, 90, 100),
    ],
)
def test_a_score_lies_between_two_percentiles(table, agatston, above, at_most):
    found = percentile(agatston, table, age=60, sex="female", group="north")
    assert (found.above, found.at_most) == (above, at_most)


def test_half_of_a_group_without_calcium(table):
    # Nobody is below 0; half of them at least are below 0.5.
    zero = percentile(0, table, age=50, sex="female", group="north")
    some = percentile(0.5, table, age=50, sex="female", group="north")
    assert (zero.above, zero.at_most) == (0, 25)
    assert (some.above, some.at_most) == (50, 75)


@pytest.mark.parametrize("age", [45, 54, 54.9])
def test_ages_run_to_the_next_birthday(table, age):
    assert percentile(5, table, age=age, sex="male", group="SOUTH").above == 50


@pytest.mark.parametrize(
    ("age", "sex", "group"),
    [
        (44.9, "female", "north"),
        (65, "female", "north"),
        (60, "male", "north"),
        (60, "female", "south"),
        (60, "female", None),
    ],
)
def test_outside_the_table_nothing_is_guessed(table, age, sex, group):
    with pytest.raises(InputError, match=r"PERCENTILE_RANGE: .*it has 0\."):
        percentile(5, table, age=age, sex=sex, group=group)


def test_two_rows_for_one_person_are_refused(table):
    with pytest.raises(InputError, match=r"it has 2\."):
        percentile(5, (*table, table[0]), age=50, sex="female", group="north")


def test_a_table_without_groups_takes_none(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("age_from,age_to,sex,p50\n40,80,f,10\n")
    rows = read_percentile_table(path)
    found = percentile(11, rows, age=50, sex="female")
    assert (found.above, found.at_most, found.group) == (50, 100, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it has 0 columns"),
        ("sex,age_from,age_to\nmale,1,2\n", "some p<number>"),
        ("sex,age_from,age_to,p50,p50\nmale,1,2,3,4\n", "each once"),
        ("sex,age_from,age_to,p50\n", "at least one row"),
        ("sex,age_from,age_to,p50,p100\nmale,1,2,3,4\n", "1 begin like one"),
        ("x" * 200_000, "must be a CSV file"),
        ("sex,age_from,age_to,p50\nboth,1,2,3\n", "line 2: sex must be"),
        ("sex,age_from,age_to,p50\nmale,1,2,\n", "line 2: ages and scores must be"),
        ("sex,age_from,age_to,p50\nmale,1\n", "line 2: ages and scores must be"),
        ("sex,age_from,age_to,p50\nmale,9,2,3\n", "ages must rise"),
        ("sex,age_from,age_to,p50\nmale,1,2,nan\n", "must not fall"),
        ("sex,age_from,age_to,p25,p50\nmale,1,2,5,4\n", "must not fall"),
        ("sex,age_from,age_to,p50\nmale,1,2,-1\n", "must not fall"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(tmp_path, text, reason):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError, match="PERCENTILE_TABLE") as caught:
        read_percentile_table(path)
    assert reason in str(caught.value)


def test_a_table_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00sex")
    with pytest.raises(InputError, match="UNREADABLE"):
        read_percentile_table(tmp_path / "t.csv")
    with pytest.raises(InputError, match="NOT_FOUND"):
        read_percentile_table(tmp_path / "absent.csv")
    with pytest.raises(InputError, match="UNREADABLE"):
        read_percentile_table(tmp_path)


@pytest.mark.parametrize(
    "arguments", [{"age": float("nan"), "sex": "male"}, {"age": 50, "sex": "other"}]
)
def test_a_person_without_age_or_sex_is_refused(table, arguments):
    with pytest.raises(ValueError, match="must be"):
        percentile(5, table, **arguments)
