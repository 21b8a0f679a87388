"""Rows of a paper's tables: files, the table, what is missing, what reproduced."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from kcalc.errors import InputError
from kcalc.training.ablation import (
    AblationRow,
    RowResult,
    is_written,
    read_rows,
    row_file,
    write_row,
)
from kcalc.training.ablation_table import (
    Column,
    Finding,
    ablation_table,
    findings_text,
    mean_and_sd,
    missing_text,
)

PLAIN = AblationRow("plain", "Dense U-Net", "Table 1")
RAU = AblationRow("rau", "+ RAU", "Table 1", {"residual_atrous": True})
ROWS = (PLAIN, RAU)
F1 = Column("F1", "overall.f1", 2, cases="f1")
SETTINGS = {"epochs": 3, "sides": (192, 384)}


def result(row: AblationRow, seed: int, cases: dict[str, float]) -> RowResult:
    mean = sum(cases.values()) / len(cases)
    return RowResult(
        row.name, seed, {"overall": {"f1": mean}}, {"f1": cases}, {}, {}, 1, {}, {}
    )


RESULTS = [
    result(PLAIN, 0, {"a": 0.4, "b": 0.5, "c": 0.6}),
    result(PLAIN, 1, {"a": 0.6, "b": 0.5, "c": 0.4}),
    result(RAU, 0, {"a": 0.6, "b": 0.75, "c": 0.6}),
    result(RAU, 1, {"a": 0.8, "b": 0.75, "c": 0.7}),
]


def write(folder: Path, row: AblationRow, seed: int, f1: float = 0.5, **kwargs: Any):
    arguments = {"settings": SETTINGS, "cpu_seconds": 12.34, **kwargs}
    return write_row(folder, row, seed, {"overall": {"f1": f1}}, **arguments)


# --- files ----------------------------------------------------------------------


def test_a_written_row_is_read_again_with_what_it_was_made_of(tmp_path: Path):
    path = write(tmp_path / "new", RAU, 2, cases={"f1": {"a": 0.5}})
    assert path == tmp_path / "new" / "rau-2.json"
    (found,) = read_rows(tmp_path / "new", ROWS)
    assert (found.row, found.seed, found.cpu_seconds) == ("rau", 2, 12.3)
    assert found.changes == {"residual_atrous": True}
    assert found.settings == {"epochs": 3, "sides": [192, 384]}
    assert found.cases == {"f1": {"a": 0.5}}
    assert set(found.git) == {"commit", "dirty"}
    assert {"python", "kcalc", "numpy"} <= set(found.versions)


def test_a_figure_of_a_group_without_a_value_has_none(tmp_path: Path):
    figures = {"overall": {"f1": 0.5}, "quarters": None}
    write_row(tmp_path, RAU, 0, figures, settings={}, cpu_seconds=1)
    (found,) = read_rows(tmp_path, ROWS)
    assert found.figure("quarters.1.mean") is None
    with pytest.raises(InputError, match="ROW_INVALID"):
        found.figure("overall.f2")


def test_a_setting_that_came_later_does_not_make_a_row_anew(tmp_path: Path):
    write(tmp_path, RAU, 0)
    later = {**SETTINGS, "patience": None}
    assert is_written(tmp_path, RAU, 0, later)
    write(tmp_path, RAU, 1, settings=later)
    assert [found.seed for found in read_rows(tmp_path, ROWS)] == [0, 1]
    with pytest.raises(InputError, match="RUN_DIFFERS"):
        is_written(tmp_path, RAU, 0, {**later, "epochs": 4})


def test_rows_come_in_the_order_of_the_table_then_of_the_seeds(tmp_path: Path):
    for row, seed in ((RAU, 10), (RAU, 2), (PLAIN, 1)):
        write(tmp_path, row, seed)
    (tmp_path / "rau-note.json").write_text("{}")
    found = [(r.row, r.seed) for r in read_rows(tmp_path, ROWS)]
    assert found == [("plain", 1), ("rau", 2), ("rau", 10)]


def test_a_row_whose_name_begins_like_another_is_not_taken_for_it(tmp_path: Path):
    other = AblationRow("rau-edb", "+ EDB")
    write(tmp_path, other, 0)
    assert read_rows(tmp_path, [RAU]) == []
    assert len(read_rows(tmp_path, [other])) == 1


def test_nothing_is_read_from_a_folder_that_is_not_there(tmp_path: Path):
    assert read_rows(tmp_path / "none", ROWS) == []


def test_a_row_that_is_there_needs_not_be_made_again(tmp_path: Path):
    assert not is_written(tmp_path, RAU, 0, SETTINGS)
    write(tmp_path, RAU, 0)
    assert is_written(tmp_path, RAU, 0, SETTINGS)
    with pytest.raises(InputError, match=r"RUN_DIFFERS.*settings of today"):
        is_written(tmp_path, RAU, 0, {**SETTINGS, "epochs": 4})
    changed = AblationRow("rau", "+ RAU", changes={"dilations": (1,)})
    with pytest.raises(InputError, match="RUN_DIFFERS"):
        is_written(tmp_path, changed, 0, SETTINGS)


def test_seeds_made_with_different_settings_are_not_averaged(tmp_path: Path):
    write(tmp_path, RAU, 0)
    write(tmp_path, RAU, 1, settings={"epochs": 5})
    with pytest.raises(InputError, match="seeds 0 and 1 differ"):
        read_rows(tmp_path, ROWS)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"row": "rau"}'])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str):
    row_file(tmp_path, RAU, 0).write_text(text)
    with pytest.raises(InputError, match="ROW_INVALID"):
        read_rows(tmp_path, ROWS)


@pytest.mark.parametrize(("row", "seed"), [("plain", 0), ("rau", 1)])
def test_a_file_of_another_row_or_seed_is_refused(tmp_path: Path, row: str, seed: int):
    path = write(tmp_path, RAU, 0)
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "row": row, "seed": seed})
    )
    with pytest.raises(InputError, match="another row or seed"):
        read_rows(tmp_path, ROWS)


def test_a_figure_that_is_not_a_number_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path, RAU, 0, f1=float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_file_name_is_refused():
    with pytest.raises(ValueError, match="name must be letters"):
        AblationRow("../rau", "")


# --- the table ------------------------------------------------------------------


def test_the_table_has_mean_sd_and_p_against_the_baseline():
    # Means over seeds of the differences: a 0.2, b 0.25, c 0.15; t = 0.2 / (0.05/√3).
    p = 2 * stats.t.sf(0.2 / (0.05 / 3**0.5), df=2)
    assert p == pytest.approx(0.0202, abs=1e-4)
    assert ablation_table(ROWS, RESULTS, [F1], baseline="plain").splitlines() == [
        "| row | seeds | F1 | P of F1 |",
        "|---|---|---|---|",
        "| Dense U-Net | 2 | 0.50 ± 0.00 | – |",
        "| + RAU | 2 | 0.70 ± 0.07 | 0.020 |",
    ]


def test_a_row_without_seeds_is_there_with_dashes():
    table = ablation_table(ROWS, RESULTS[:2], [F1], baseline="plain")
    assert table.splitlines()[-1] == "| + RAU | 0 | – | – |"


def p_of_rau(*results: RowResult) -> str:
    """P in the last row of the table of these results and those of the plain row."""
    table = ablation_table(ROWS, [*RESULTS[:2], *results], [F1], baseline="plain")
    return table.splitlines()[-1].split("|")[-2].strip()


def test_only_common_seeds_are_compared():
    alone = result(RAU, 7, {"a": 1.0, "b": 1.0, "c": 1.0})
    p = stats.ttest_rel([0.6, 0.75, 0.6], [0.4, 0.5, 0.6]).pvalue
    assert p_of_rau(alone) == "–"
    assert p_of_rau(alone, RESULTS[2]) == f"{p:.3f}"


def test_rows_that_are_equal_in_every_case_have_p_one():
    assert p_of_rau(*(result(RAU, r.seed, r.cases["f1"]) for r in RESULTS[:2])) == (
        "1.000"
    )


def test_rows_tested_on_other_cases_are_not_compared():
    other = result(RAU, 0, {"a": 0.6, "b": 0.7, "d": 0.6})
    with pytest.raises(InputError, match="tested on the same cases"):
        p_of_rau(other)
    with pytest.raises(InputError, match="of the same cases"):
        p_of_rau(other, RESULTS[3])


def test_a_row_without_the_figure_is_refused():
    with pytest.raises(InputError, match=r"has no 'overall\.dice'"):
        ablation_table(ROWS, RESULTS, [Column("Dice", "overall.dice")])


@pytest.mark.parametrize(
    ("values", "text"),
    [([], "–"), ([None], "–"), ([0.5], "0.500"), ([1, 2, 3], "2.000 ± 1.000")],
)
def test_mean_and_sd_over_seeds(values: list[float | None], text: str):
    assert mean_and_sd(values) == text


def test_missing_rows_are_named():
    assert missing_text(ROWS, RESULTS[:3], (0, 1)) == "Missing: rau-1."
    assert missing_text(ROWS, RESULTS, (0, 1)) == "All 2 rows x 2 seeds are there."


# --- what reproduced ------------------------------------------------------------


def say(better: str, worse: str, column: Column = F1, results: Any = RESULTS) -> str:
    return findings_text([Finding("It helps", better, worse, column)], results)


def test_a_clear_gain_reproduces():
    assert say("rau", "plain") == (
        "- It helps: reproduced (F1 +0.20, better in 2 of 2 seeds, P 0.020)."
    )


def test_a_clear_loss_is_called_the_opposite():
    assert say("plain", "rau").startswith("- It helps: the opposite, significantly")


def test_a_gain_by_chance_is_not_called_reproduced():
    weak = [*RESULTS[:2], result(RAU, 0, {"a": 0.3, "b": 0.5, "c": 0.9})]
    assert say("rau", "plain", results=weak).startswith(
        "- It helps: same direction, not significant (F1 +0.07, better in 1 of 1 seeds"
    )


def test_a_gain_of_the_pool_that_the_cases_contradict_is_not_called_reproduced():
    # The pooled figure rises, while every case falls, significantly.
    odd = [
        replace(r, figures={"overall": {"f1": 0.5 + gain}}, cases={"f1": cases})
        for r, gain, cases in (
            (RESULTS[0], 0.0, {"a": 0.5, "b": 0.6, "c": 0.7}),
            (RESULTS[2], 0.1, {"a": 0.30, "b": 0.41, "c": 0.5}),
        )
    ]
    assert say("rau", "plain", results=odd).startswith(
        "- It helps: same direction, not significant (F1 +0.10"
    )


def test_two_figures_of_one_row_can_be_compared():
    raw = Column("rate", "overall.raw", 2, cases="raw")
    finding = Finding("Filtering helps", "rau", "rau", F1, worse_column=raw)
    both = [
        replace(
            r,
            figures={**r.figures, "overall": {**r.figures["overall"], "raw": 0.5}},
            cases={**r.cases, "raw": {"a": 0.5, "b": 0.5, "c": 0.5}},
        )
        for r in RESULTS[2:]
    ]
    assert findings_text([finding], both).startswith(
        "- Filtering helps: reproduced (F1 +0.20, better in 2 of 2 seeds, P 0.0"
    )


def test_no_difference_does_not_reproduce():
    assert say("plain", "plain").startswith("- It helps: not reproduced (F1 +0.00")


def test_a_claim_on_missing_rows_is_not_measured():
    assert say("edb", "plain") == "- It helps: not measured."


def test_where_lower_is_better_a_smaller_figure_gains():
    column = Column("error", "overall.f1", 2, lower_is_better=True)
    assert "error +0.20, better in 2 of 2 seeds" in say("plain", "rau", column)


def test_without_values_by_case_p_rests_on_the_seeds():
    column = Column("F1", "overall.f1", 2)
    # Gains by seed 0.15 and 0.25: t = 0.2 / (0.0707 / √2) = 4 with one degree.
    assert f"P {2 * stats.t.sf(4, df=1):.3f}" in say("rau", "plain", column)
