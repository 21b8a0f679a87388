"""Vessels by nearness, and the ordinal score along the arteries."""

from __future__ import annotations

import numpy as np
import pytest

import kcalc
from kcalc.errors import InputError
from kcalc.scoring import nearest_vessels, ordinal_from_segmentation, ordinal_score

SPACING_MM = (3.0, 0.5, 0.5)


def test_calcium_gets_the_nearest_vessel_within_the_distance():
    mask = np.zeros((2, 1, 30), bool)
    mask[0, 0, [3, 9, 20]] = True
    vessels = np.zeros(mask.shape, np.uint8)
    vessels[0, 0, 0], vessels[0, 0, 13] = 2, 4
    found = nearest_vessels(mask, vessels, SPACING_MM, max_distance_mm=3)
    # 1.5 mm from the LAD; 4.5 mm from it and 2 mm from the RCA; 3.5 mm from the RCA.
    assert found[0, 0, [3, 9, 20]].tolist() == [2, 4, 0]
    assert np.count_nonzero(found) == 2


def test_distance_is_in_millimetres_across_slices_too():
    mask = np.zeros((2, 1, 8), bool)
    mask[1, 0, 0] = True
    vessels = np.zeros(mask.shape, np.uint8)
    vessels[0, 0, 0], vessels[1, 0, 5] = 1, 3  # 3 mm below, 2.5 mm beside
    assert nearest_vessels(mask, vessels, SPACING_MM)[1, 0, 0] == 3
    assert nearest_vessels(mask, vessels, (2.0, 0.5, 0.5))[1, 0, 0] == 1


def test_the_distance_itself_still_counts_and_the_lower_label_wins_a_tie():
    mask = np.zeros((1, 1, 9), bool)
    mask[0, 0, 4] = True
    vessels = np.zeros(mask.shape, np.uint8)
    vessels[0, 0, 0], vessels[0, 0, 8] = 4, 2
    assert nearest_vessels(mask, vessels, SPACING_MM, max_distance_mm=2)[0, 0, 4] == 2
    assert not nearest_vessels(mask, vessels, SPACING_MM, max_distance_mm=1.99).any()


def test_nearest_vessels_make_the_vessels_of_a_score():
    scan = np.full((3, 20, 20), 40, np.int16)
    scan[1, 2:6, 2:6] = 250  # beside the lumen of the LAD
    scan[2, 2:6, 12:16] = 150  # far from any vessel
    vessels = np.zeros(scan.shape, np.uint8)
    vessels[:, 2:6, 7:9] = 2
    mask = scan > 100
    labels = nearest_vessels(mask, vessels, SPACING_MM, max_distance_mm=1.5)
    score = kcalc.calcium_score(scan, mask, SPACING_MM, vessels=labels)
    # Its two nearer columns lie within 1.5 mm: the majority of its labelled voxels.
    assert [lesion.vessel for lesion in score.lesions] == ["LAD", None]
    assert score.cac_drs == "A1/N?"


@pytest.mark.parametrize(
    "vessels", [np.zeros((1, 2, 2), np.uint8), np.full((1, 2, 2), 12)]
)
def test_a_segmentation_without_known_vessels_is_refused(vessels):
    with pytest.raises(InputError, match="VESSEL_LABELS"):
        nearest_vessels(np.ones((1, 2, 2), bool), vessels, SPACING_MM)


@pytest.mark.parametrize("distance", [0, -1, float("inf"), float("nan")])
def test_a_distance_that_is_none_is_refused(distance):
    vessels = np.ones((1, 2, 2), np.uint8)
    with pytest.raises(ValueError, match="must be a positive distance"):
        nearest_vessels(vessels, vessels, SPACING_MM, max_distance_mm=distance)


# --- the ordinal score


@pytest.mark.parametrize(
    ("grades", "score", "category"),
    [
        ((0, 0, 0, 0), 0, "0"),
        ((0, 1, 0, 0), 1, "1-3"),
        ((0, 2, 1, 0), 3, "1-3"),
        ((1, 1, 1, 1), 4, "4-6"),
        ((0, 3, 3, 0), 6, "4-6"),
        ((1, 3, 3, 0), 7, "7-12"),
        ((3, 3, 3, 3), 12, "7-12"),
    ],
)
def test_grades_of_four_arteries_add_up_to_a_class(grades, score, category):
    found = ordinal_score(dict(zip(("LM", "LAD", "LCX", "RCA"), grades, strict=True)))
    assert (found.score, found.category, found.calcified_share) == (
        score,
        category,
        None,
    )


@pytest.mark.parametrize(
    "grades",
    [
        {"LM": 0, "LAD": 1, "LCX": 1},
        {"LM": 0, "LAD": 4, "LCX": 1, "RCA": 0},
        {"LM": 0, "LAD": 1, "LCX": 1, "RCA": 0, "aorta": 1},
    ],
)
def test_grades_that_are_not_of_the_four_arteries_are_refused(grades):
    with pytest.raises(ValueError, match="must give each of LM, LAD, LCX, RCA"):
        ordinal_score(grades)


def straight_arteries():
    """Four arteries of 30 voxels of 1 mm, 8 mm apart."""
    vessels = np.zeros((4, 40, 30), np.uint8)
    for label in (1, 2, 3, 4):
        vessels[1:3, 8 * label : 8 * label + 2, :] = label
    return vessels


def test_the_calcified_share_of_each_artery_gives_its_grade():
    vessels = straight_arteries()
    calcium = np.zeros(vessels.shape, bool)
    calcium[1, 18, 5:12] = True  # LAD: 7 of 30 mm, just beside its voxels
    calcium[2, 24, :12] = True  # LCX: 12 of 30 mm
    calcium[1, 32, 3:27] = True  # RCA: 24 of 30 mm
    found = ordinal_from_segmentation(calcium, vessels, (1.0, 1.0, 1.0))
    # Pieces are counted along the shortest way, so an oblique start may shift one.
    assert found.calcified_share == pytest.approx(
        {"LM": 0.0, "LAD": 7 / 30, "LCX": 12 / 30, "RCA": 24 / 30}, abs=1.5 / 30
    )
    assert found.grades == {"LM": 0, "LAD": 1, "LCX": 2, "RCA": 3}
    assert (found.score, found.category) == (6, "4-6")


def test_length_runs_along_a_bent_artery():
    # A hair-pin of the LAD: two arms of 20 mm, 4 mm apart, joined at one end. Calcium
    # fills one arm: half its length, though it spans the whole of its extent.
    vessels = straight_arteries()
    vessels[vessels == 2] = 0
    vessels[0, 14, :20] = vessels[0, 18, :20] = 2
    vessels[0, 14:19, 20] = 2
    calcium = np.zeros(vessels.shape, bool)
    calcium[0, 14, :20] = True
    found = ordinal_from_segmentation(
        calcium, vessels, (1.0, 1.0, 1.0), max_distance_mm=1.0
    )
    assert found.calcified_share["LAD"] == pytest.approx(0.45, abs=0.06)
    assert found.grades["LAD"] == 2


def test_an_artery_in_two_parts_counts_both():
    vessels = straight_arteries()
    vessels[:, :, 14:16] = 0
    calcium = np.zeros(vessels.shape, bool)
    calcium[1, 16, :14] = True
    found = ordinal_from_segmentation(calcium, vessels, (1.0, 1.0, 1.0))
    assert found.calcified_share["LAD"] == pytest.approx(0.5, abs=0.05)


def test_an_artery_that_is_not_segmented_is_refused():
    vessels = straight_arteries()
    vessels[vessels == 1] = 0
    with pytest.raises(InputError, match=r"VESSEL_ABSENT: .*not segmented: LM\."):
        ordinal_from_segmentation(vessels > 0, vessels, (1.0, 1.0, 1.0))
