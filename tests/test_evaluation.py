"""Comparison of a network's masks with labels, and the tables made of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kcalc.data import Case, CaseStore
from kcalc.errors import InputError
from kcalc.evaluation import (
    CaseComparison,
    LesionOverlap,
    VesselOverlap,
    by_kind,
    case_table,
    compare_split,
    figures,
    markdown_table,
    patient_text,
    summary,
)
from kcalc.volume import Volume

LESION = LesionOverlap(voxels=10, volume_mm3=20.0, shared_voxels=10, vessel="LAD")
ALIKE = CaseComparison(
    case="wide-1",
    patient="a",
    voxel_mm3=2.0,
    voxels_reference=10,
    voxels_result=10,
    voxels_both=10,
    reference_lesions=(LESION,),
    result_lesions=(LESION,),
    agatston_reference=100.0,
    agatston_result=100.0,
    scored_mm3_reference=20.0,
    scored_mm3_result=20.0,
    risk_reference="11-100",
    risk_result="11-100",
)
TOO_HIGH = replace(
    ALIKE, case="wide-2", agatston_result=160.0, risk_result="101-400",
    voxels_result=30,
)  # fmt: skip
NOTHING = replace(
    ALIKE, case="qrm-1", patient="b", agatston_reference=0.0, agatston_result=0.0,
    risk_reference="0", risk_result="0", voxels_reference=0, voxels_result=0,
    voxels_both=0, reference_lesions=(), result_lesions=(),
)  # fmt: skip
FALSE_ALARM = replace(
    NOTHING, case="qrm-2", patient="c", agatston_result=6.0, risk_result="1-10",
    voxels_result=20,
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
    got = summary([replace(ALIKE, agatston_result=40.0)])
    assert got["agatston_bias"] == -60.0
    assert got["median_absolute_agatston_error"] == 60.0


def test_a_case_prints_as_one_line():
    line = "wide-2: Dice 0.500, Agatston 100.0 by the label, 160.0 found, risk class "
    assert str(TOO_HIGH) == line + "11-100, 101-400"


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


def test_the_figures_of_patients_by_hand():
    got = figures([ALIKE, TOO_HIGH, NOTHING, FALSE_ALARM])["agreement"]
    assert got["risk"]["counts"] == [
        [1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    # Distances sum to 2; expected: margins (2, 0, 2, 0, 0) and (1, 1, 1, 1, 0), so
    # 2 (0 + 1 + 2 + 3) + 2 (2 + 1 + 0 + 1) = 20, over 4 cases 5: 1 - 2 / 5.
    assert got["risk"]["kappa_linear"] == pytest.approx(0.6)
    assert (got["risk"]["accuracy"], got["risk"]["within_one_class"]) == (0.5, 1.0)
    assert got["risk_orcascore"]["accuracy"] == 0.75
    assert got["agatston"]["bland_altman"]["bias"] == pytest.approx(16.5)
    assert got["image"]["detection"]["sensitivity"] == 1.0
    assert got["image"]["dice"]["pooled"] == 0.5
    assert (got["vessels"], "rows" in got["image"]) == (None, False)
    text = patient_text(got)
    assert "Accuracy 50.0 % (" in text
    assert "kappa 0.600 (" in text
    assert "| bias, points | 16.5 |" in text
    # 161 / 101 and 7 / 1 of the two that differ: (1.594 x 7) ^ (1 / 4).
    assert "| ratio of (points + 1), result to reference | 1.828 |" in text


def test_vessels_are_compared_where_the_labels_have_them():
    with_vessels = [
        replace(
            case,
            vessel_agatston_reference={"LAD": case.agatston_reference, "RCA": 0.0},
            vessel_agatston_result={"LAD": 60.0, "RCA": case.agatston_result - 60},
            result_lesions=(LESION, replace(LESION, shared_voxels=0)),
            vessels={"LAD": VesselOverlap(10, 6, 3), "RCA": VesselOverlap(0, 4, 0)},
        )
        for case in (ALIKE, TOO_HIGH)
    ]
    got = figures([*with_vessels, NOTHING])["agreement"]["vessels"]
    assert (got["LAD"]["cases"], got["LAD"]["lesions"], got["LAD"]["found"]) == (
        2,
        2,
        2,
    )
    assert (got["LAD"]["result_lesions"], got["LAD"]["ppv"]) == (4, 0.5)
    assert (got["LAD"]["volume_sensitivity"], got["LAD"]["volume_ppv"]) == (0.3, 0.5)
    assert (got["RCA"]["volume_sensitivity"], got["RCA"]["volume_ppv"]) == (None, 0.0)
    assert got["LAD"]["agatston_reference"] == 200.0
    assert got["LAD"]["agatston_result"] == 120.0
    assert got["RCA"]["bland_altman"]["bias"] == pytest.approx(70.0)
    assert (got["RCA"]["sensitivity"], got["RCA"]["cases"]) == (None, 0)
    text = patient_text(figures(with_vessels)["agreement"])
    assert "| RCA | 0 | 0 | – | – | 0.0 | 140.0 |" in text
    silent = [replace(case, vessel_agatston_result=None) for case in with_vessels]
    told = figures(silent)["agreement"]
    assert told["vessels"]["LAD"]["agatston_result"] is None
    assert "per vessel, not available" in patient_text(told)


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
    assert (calcified.agatston_reference, calcified.agatston_result) == (8.0, 10.0)
    assert (calcified.scored_mm3_reference, calcified.scored_mm3_result) == (12.0, 18.0)
    assert (calcified.voxels_reference, calcified.voxels_result) == (4, 6)
    assert calcified.voxels_both == 4
    assert (calcified.risk_reference, calcified.kind) == ("1-10", "wide")
    assert (clean.agatston_reference, clean.agatston_result) == (0.0, 2.0)
    assert (clean.risk_reference, clean.voxels_both) == ("0", 0)


def test_lesions_and_vessels_are_compared_too(store: CaseStore):
    def all_bright(volume: Volume) -> np.ndarray:
        return np.where(volume.array >= 130, 2, 0).astype(np.uint8)

    calcified, clean = compare_split(all_bright, store, finds_vessels=True)
    (lesion,) = calcified.reference_lesions
    assert (lesion.vessel, lesion.peak_hu, lesion.matched) == ("LAD", 250, True)
    assert [lesion.matched for lesion in calcified.result_lesions] == [True, False]
    assert (calcified.vessel_agatston_reference or {})["LAD"] == 8.0
    assert (calcified.vessel_agatston_result or {})["LAD"] == 10.0
    assert (calcified.vessels or {})["LAD"].voxels_both == 4
    assert clean.vessel_agatston_reference is None
    (silent, _) = compare_split(lambda v: v.array >= 130, store)
    assert silent.vessel_agatston_result is None
    row = json.loads(json.dumps(silent.to_dict()))
    assert (row["kind"], row["agatston_reference"]) == ("wide", 8.0)
    assert CaseComparison.from_dict(row) == silent


def test_a_split_without_cases_is_refused(store: CaseStore):
    with pytest.raises(InputError, match="STORE_SPLIT"):
        list(compare_split(lambda volume: volume.array > 0, store, "train"))


def test_the_table_of_a_store_counts_cases_and_patients(store: CaseStore):
    row = case_table(store).splitlines()[2]
    assert row == "| test | wide | 2 | 2 | 1 | unknown | 3.00 | 1.00 |"


def test_a_table_has_a_line_a_row():
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert markdown_table(rows) == "| a | b |\n|---|---|\n| 1 | x |\n| 2 | y |"
