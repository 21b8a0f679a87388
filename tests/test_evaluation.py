"""Comparison of a network's masks with labels, and the tables made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kcalc.data import Case, CaseStore
from kcalc.errors import InputError
from kcalc.evaluation import (
    CaseComparison,
    by_kind,
    case_table,
    compare_split,
    figures,
    markdown_table,
    summary,
)
from kcalc.volume import Volume

ALIKE = CaseComparison(
    case="wide-1",
    kind="wide",
    patient="a",
    agatston_label=100.0,
    agatston_network=100.0,
    volume_mm3_label=50.0,
    volume_mm3_network=50.0,
    risk_label="11-100",
    risk_network="11-100",
    voxels_label=10,
    voxels_network=10,
    voxels_both=10,
)
TOO_HIGH = replace(
    ALIKE, case="wide-2", agatston_network=160.0, risk_network="101-400",
    voxels_network=30,
)  # fmt: skip
NOTHING = replace(
    ALIKE, case="qrm-1", kind="qrm", patient="b", agatston_label=0.0,
    agatston_network=0.0, risk_label="0", risk_network="0", voxels_label=0,
    voxels_network=0, voxels_both=0,
)  # fmt: skip
FALSE_ALARM = replace(
    NOTHING, case="qrm-2", patient="c", agatston_network=6.0, risk_network="1-10",
    voxels_network=20,
)  # fmt: skip


def test_figures_over_all_cases_by_hand():
    assert summary([ALIKE, TOO_HIGH, NOTHING, FALSE_ALARM]) == {
        "cases": 4,
        "patients": 3,
        "pixel_f1": 0.5,  # 2 * 20 / (20 + 60)
        "agatston_bias": 16.5,  # (0 + 60 + 0 + 6) / 4
        "median_absolute_agatston_error": 3.0,
        "risk_category_agreement": 0.5,
        "cases_without_calcium": 2,
        "of_these_scored_zero": 1,
    }


def test_a_score_too_low_makes_the_bias_negative_but_not_the_error():
    got = summary([replace(ALIKE, agatston_network=40.0)])
    assert got["agatston_bias"] == -60.0
    assert got["median_absolute_agatston_error"] == 60.0


def test_nothing_to_find_and_nothing_found_is_full_agreement():
    got = summary([NOTHING])
    assert (got["pixel_f1"], got["risk_category_agreement"]) == (1.0, 1.0)


def test_figures_of_no_case_are_refused():
    with pytest.raises(ValueError, match="at least one case"):
        summary([])


def test_kinds_are_told_apart_and_the_rows_are_kept():
    got = figures([ALIKE, NOTHING, FALSE_ALARM], rule="fqm_canon")
    assert got["rule"] == "fqm_canon"
    assert list(got["by_kind"]) == ["qrm", "wide"]
    assert got["by_kind"]["wide"] == summary([ALIKE])
    assert by_kind([ALIKE, NOTHING, FALSE_ALARM]) == got["by_kind"]
    assert [row["case"] for row in got["rows"]] == ["wide-1", "qrm-1", "qrm-2"]


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    """Return a store with one calcified and one clean scan in the test split."""
    cases = []
    for number, calcified in enumerate((True, False)):
        image = np.full((3, 8, 8), -100, np.int16)
        label = np.zeros(image.shape, np.uint8)
        if calcified:
            image[1, 2:4, 2:4], label[1, 2:4, 2:4] = 250, 2
        image[2, 6, 6:8] = 150
        cases.append(
            Case(f"wide-{number}", image, label, (3.0, 1.0, 1.0), f"p{number}", "test")
        )
    return CaseStore.write(tmp_path / "cases.h5", cases)


def test_a_split_is_scored_with_labels_and_with_the_masks_of_the_network(
    store: CaseStore,
):
    def all_bright(volume: Volume) -> np.ndarray:
        return volume.array >= 130

    calcified, clean = compare_split(all_bright, store)
    # 4 pixels of 1 mm2, weight 2 at 250 HU; the network adds 2 of weight 1.
    assert (calcified.agatston_label, calcified.agatston_network) == (8.0, 10.0)
    assert (calcified.volume_mm3_label, calcified.volume_mm3_network) == (12.0, 18.0)
    assert (calcified.voxels_label, calcified.voxels_network) == (4, 6)
    assert calcified.voxels_both == 4
    assert (calcified.risk_label, calcified.kind) == ("1-10", "wide")
    assert (clean.agatston_label, clean.agatston_network) == (0.0, 2.0)
    assert (clean.risk_label, clean.voxels_both) == ("0", 0)


def test_a_split_without_cases_is_refused(store: CaseStore):
    with pytest.raises(InputError, match="STORE_SPLIT"):
        list(compare_split(lambda volume: volume.array > 0, store, "train"))


def test_the_table_of_a_store_counts_cases_and_patients(store: CaseStore):
    row = case_table(store).splitlines()[2]
    assert row == "| test | wide | 2 | 2 | 1 | unknown | 3.00 | 1.00 |"


def test_a_table_has_a_line_a_row():
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert markdown_table(rows) == "| a | b |\n|---|---|\n| 1 | x |\n| 2 | y |"
