"""calcium_score: hand-worked numbers, vessels, what the result says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

import kcalc
from kcalc.anatomy import INSERT_LABEL, UNDETERMINED_LABEL
from kcalc.scoring import Lesion, VesselScore, rule

SPACING_MM = (3.0, 0.5, 0.5)


def scan_with(*blocks, shape=(5, 20, 20), background_hu=40, dtype=np.int16):
    """Return a scan with blocks (z, first row, last row, first col, last col, HU)."""
    scan = np.full(shape, background_hu, dtype)
    for z, r0, r1, c0, c1, hu in blocks:
        scan[z, r0 : r1 + 1, c0 : c1 + 1] = hu
    return scan


def whole(scan):
    return np.ones(scan.shape, bool)


# --- numbers worked by hand


def test_empty_mask_scores_zero_without_a_warning():
    scan = scan_with((2, 5, 8, 5, 8, 250))
    score = kcalc.calcium_score(scan, np.zeros(scan.shape, bool), SPACING_MM)
    assert (score.agatston, score.volume_mm3, score.mass_mg) == (0.0, 0.0, None)
    assert (score.lesions, score.risk_category, score.cac_drs) == ((), "0", "A0/N?")
    assert score.warnings == ()


def test_empty_mask_has_zero_mass_where_a_calibration_is_given():
    scan = scan_with()
    score = kcalc.calcium_score(
        scan, whole(scan) & False, SPACING_MM, mass_calibration=0.75
    )
    assert score.mass_mg == 0.0


def test_one_lesion_has_every_quantity_that_arithmetic_gives():
    scan = scan_with((2, 5, 8, 5, 8, 150))
    scan[2, 5, 5] = 310
    score = kcalc.calcium_score(scan, whole(scan), SPACING_MM, mass_calibration=0.8)
    # 16 pixels x 0.25 mm2 = 4 mm2; weight 3; 3 mm spacing; mean (15 x 150 + 310) / 16
    assert score.agatston == 12.0
    assert score.volume_mm3 == 12.0
    assert score.mass_mg == pytest.approx(12.0 * 160.0 * 0.8 / 1000, rel=1e-12)
    assert score.lesions == (
        Lesion(
            number=1,
            slice_index=2,
            first_slice_index=2,
            last_slice_index=2,
            area_mm2=4.0,
            num_pixels=16,
            max_hu=310.0,
            mean_hu=160.0,
            weight=3.0,
            agatston=12.0,
            volume_mm3=12.0,
            mass_mg=score.mass_mg,
            centroid_index_zyx=(2.0, 6.5, 6.5),
            vessel=None,
        ),
    )


@pytest.mark.parametrize(
    ("peak_hu", "agatston"),
    [
        (129, 0.0),
        (130, 4.0),
        (199, 4.0),
        (200, 8.0),
        (299, 8.0),
        (300, 12.0),
        (399, 12.0),
        (400, 16.0),
        (3071, 16.0),
    ],
)
def test_weight_steps_at_130_200_300_400(peak_hu, agatston):
    scan = scan_with((2, 5, 8, 5, 8, peak_hu))
    score = kcalc.calcium_score(scan, whole(scan), SPACING_MM)
    assert score.agatston == agatston


def test_fractional_hu_are_compared_before_they_are_rounded():
    scan = scan_with((1, 5, 8, 5, 8, 129.9), (3, 5, 8, 5, 8, 199.9), dtype=np.float32)
    score = kcalc.calcium_score(scan, whole(scan), SPACING_MM)
    assert [(lesion.slice_index, lesion.weight) for lesion in score.lesions] == [(3, 1)]


def test_mask_limits_the_lesion_and_its_weight():
    scan = scan_with((2, 5, 8, 5, 8, 150), (2, 5, 8, 9, 9, 500))
    mask = np.zeros(scan.shape, bool)
    mask[2, 5:9, 5:9] = True
    score = kcalc.calcium_score(scan, mask, SPACING_MM)
    assert score.agatston == 4.0


def test_components_are_formed_on_mask_and_threshold_not_on_the_mask():
    scan = scan_with((2, 5, 8, 5, 6, 150), (2, 5, 8, 8, 9, 450))
    score = kcalc.calcium_score(scan, whole(scan), SPACING_MM)
    # two lesions of 8 pixels, weights 1 and 4; joined they would score 16
    assert [lesion.agatston for lesion in score.lesions] == [2.0, 8.0]


def test_diagonal_neighbours_are_one_lesion():
    scan = scan_with((2, 5, 6, 5, 6, 150), (2, 7, 8, 7, 8, 450))
    score = kcalc.calcium_score(scan, whole(scan), SPACING_MM)
    assert [(x.num_pixels, x.weight) for x in score.lesions] == [(8, 4.0)]


def test_a_row_s_end_does_not_touch_the_next_row_s_beginning():
    scan = scan_with((2, 5, 8, 18, 19, 150), (2, 6, 9, 0, 1, 450))
    score = kcalc.calcium_score(scan, whole(scan), SPACING_MM)
    assert score.num_lesions == 2
    corner = scan_with((1, 18, 19, 18, 19, 150), (2, 0, 1, 0, 1, 450))
    score = kcalc.calcium_score(
        corner,
        whole(corner),
        SPACING_MM,
        rule=replace(rule("fqm_canon"), connectivity=26),
    )
    assert score.num_lesions == 2


def test_each_slice_has_its_own_lesion_and_weight():
    scan = scan_with((2, 5, 8, 5, 8, 150), (3, 5, 8, 5, 8, 350))
    score = kcalc.calcium_score(scan, whole(scan), SPACING_MM)
    assert [lesion.agatston for lesion in score.lesions] == [4.0, 12.0]


def test_lesion_below_one_square_millimetre_is_ignored():
    scan = scan_with((1, 5, 5, 5, 7, 150), (3, 5, 5, 5, 8, 150))
    score = kcalc.calcium_score(scan, whole(scan), SPACING_MM)
    # three pixels are 0.75 mm2, four are exactly 1 mm2 and stay
    assert [lesion.num_pixels for lesion in score.lesions] == [4]
    assert score.volume_mm3 == 3.0


def test_score_scales_with_slice_spacing_over_three():
    scan = scan_with((2, 5, 8, 5, 8, 150))
    half = kcalc.calcium_score(scan, whole(scan), (1.5, 0.5, 0.5))
    assert (half.agatston, half.volume_mm3) == (2.0, 6.0)


def test_pixel_area_is_the_product_of_both_spacings():
    scan = scan_with((2, 5, 8, 5, 8, 150))
    score = kcalc.calcium_score(scan, whole(scan), (3.0, 0.25, 1.0))
    assert score.lesions[0].area_mm2 == 4.0


def test_thickness_does_not_change_the_score_of_a_rule_by_spacing():
    scan = scan_with((2, 5, 8, 5, 8, 150))
    score = kcalc.calcium_score(scan, whole(scan), SPACING_MM, slice_thickness_mm=1.5)
    assert score.agatston == 4.0


@pytest.mark.parametrize(
    "dtype", [np.int16, np.int32, np.int64, np.float32, np.float64]
)
def test_every_numeric_type_of_scan_gives_the_same_score(dtype):
    scan = scan_with((2, 5, 8, 5, 8, 250), dtype=dtype)
    assert kcalc.calcium_score(scan, whole(scan), SPACING_MM).agatston == 8.0


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.int64])
def test_every_nonzero_value_of_a_mask_is_mask(dtype):
    scan = scan_with((2, 5, 8, 5, 8, 250))
    mask = (scan > 100).astype(dtype) * dtype(3)
    assert kcalc.calcium_score(scan, mask, SPACING_MM).agatston == 8.0


def test_a_scan_that_is_not_contiguous_gives_the_same_score():
    scan = scan_with((2, 5, 8, 4, 8, 250), shape=(5, 20, 12))
    turned = np.asfortranarray(scan.transpose(2, 1, 0)).transpose(2, 1, 0)
    score = kcalc.calcium_score(turned, np.asfortranarray(turned > 100), SPACING_MM)
    assert score == kcalc.calcium_score(scan, scan > 100, SPACING_MM)


def test_input_arrays_are_not_changed():
    scan = scan_with((2, 5, 8, 5, 8, 250))
    mask = scan > 100
    before = scan.copy(), mask.copy()
    kcalc.calcium_score(scan, mask, SPACING_MM)
    assert np.array_equal(scan, before[0]) and np.array_equal(mask, before[1])


# --- vessels


def vessels_like(scan, *blocks):
    labels = np.zeros(scan.shape, np.uint8)
    for z, r0, r1, c0, c1, label in blocks:
        labels[z, r0 : r1 + 1, c0 : c1 + 1] = label
    return labels


def test_per_vessel_totals_add_up_to_the_score():
    scan = scan_with((1, 2, 5, 2, 5, 150), (2, 2, 5, 2, 5, 450), (3, 2, 5, 2, 5, 250))
    labels = vessels_like(
        scan, (1, 0, 9, 0, 9, 2), (2, 0, 9, 0, 9, 2), (3, 0, 9, 0, 9, 4)
    )
    score = kcalc.calcium_score(
        scan, whole(scan), SPACING_MM, vessels=labels, mass_calibration=1.0
    )
    assert score.per_vessel == {
        "LM": VesselScore(0.0, 0.0, 0.0, 0),
        "LAD": VesselScore(20.0, 24.0, pytest.approx(7.2), 2),
        "LCX": VesselScore(0.0, 0.0, 0.0, 0),
        "RCA": VesselScore(8.0, 12.0, pytest.approx(3.0), 1),
    }
    assert score.agatston == 28.0
    assert score.cac_drs == "A1/N2"


def test_a_lesion_belongs_to_the_vessel_of_most_of_its_labelled_voxels():
    scan = scan_with((2, 2, 5, 2, 6, 150))
    labels = vessels_like(scan, (2, 2, 5, 2, 2, 1), (2, 2, 5, 3, 4, 3))
    score = kcalc.calcium_score(scan, whole(scan), SPACING_MM, vessels=labels)
    assert score.lesions[0].vessel == "LCX"
    tied = vessels_like(scan, (2, 2, 5, 2, 3, 4), (2, 2, 5, 4, 5, 2))
    score = kcalc.calcium_score(scan, whole(scan), SPACING_MM, vessels=tied)
    assert score.lesions[0].vessel == "LAD"


@pytest.mark.parametrize("label", [UNDETERMINED_LABEL, INSERT_LABEL])
def test_calcium_outside_every_vessel_is_unassigned_and_leaves_n_open(label):
    scan = scan_with((1, 2, 5, 2, 5, 150), (2, 2, 5, 2, 5, 150), (3, 2, 5, 2, 5, 150))
    labels = vessels_like(scan, (1, 0, 9, 0, 9, 2), (2, 0, 9, 0, 9, label))
    score = kcalc.calcium_score(scan, whole(scan), SPACING_MM, vessels=labels)
    assert score.per_vessel is not None
    assert score.per_vessel["unassigned"] == VesselScore(8.0, 24.0, None, 2)
    assert [lesion.vessel for lesion in score.lesions] == ["LAD", None, None]
    assert score.cac_drs == "A1/N?"


def test_a_vessel_map_without_calcium_gives_n0():
    scan = scan_with()
    score = kcalc.calcium_score(
        scan, scan > 100, SPACING_MM, vessels=np.zeros(scan.shape, np.uint8)
    )
    assert score.cac_drs == "A0/N0"


def test_calcium_beside_the_coronaries_is_scored_but_in_no_risk_class():
    scan = scan_with((1, 2, 5, 2, 5, 150), (2, 2, 5, 2, 5, 450), (3, 2, 5, 2, 5, 250))
    labels = vessels_like(scan, (1, 0, 9, 0, 9, 2), (2, 0, 9, 0, 9, 5))
    labels = labels + vessels_like(scan, (3, 0, 9, 0, 9, 6))
    score = kcalc.calcium_score(scan, whole(scan), SPACING_MM, vessels=labels)
    # 4 mm2 each; weights 1 in the LAD, 4 in the aorta, 2 in the aortic valve
    assert (score.agatston, score.coronary_agatston) == (28.0, 4.0)
    assert (score.risk_category, score.cac_drs) == ("1-10", "A1/N1")
    assert score.per_vessel is not None
    assert score.per_vessel["aorta"] == VesselScore(16.0, 12.0, None, 1)
    assert score.per_vessel["aortic valve"].agatston == 8.0
    assert "mitral annulus" not in score.per_vessel
    assert score.to_dict()["coronary_agatston"] == 4.0


# --- what the result says


def test_result_and_lesions_are_frozen():
    scan = scan_with((2, 5, 8, 5, 8, 250))
    score = kcalc.calcium_score(scan, whole(scan), SPACING_MM)
    with pytest.raises(FrozenInstanceError, match="agatston"):
        score.agatston = 1.0
    with pytest.raises(FrozenInstanceError, match="weight"):
        score.lesions[0].weight = 1.0


def test_dictionary_survives_json_and_carries_the_rule_in_words():
    scan = scan_with((2, 5, 8, 5, 8, 250))
    labels = vessels_like(scan, (2, 0, 9, 0, 9, 2))
    score = kcalc.calcium_score(
        scan, whole(scan), SPACING_MM, rule="fqm_canon", vessels=labels
    )
    record = score.to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["agatston"] == 8.0
    assert record["mass_mg"] is None
    assert record["risk_category"] == "1-10"
    assert record["lesions"][0]["vessel"] == "LAD"
    assert record["per_vessel"]["LAD"]["agatston"] == 8.0
    assert record["rule"]["name"] == "fqm_canon"
    assert record["rule"]["description"] == score.rule.describe()
    assert record["rule"]["parameters"]["connectivity"] == 8


def score_with(**facts):
    scan = scan_with((2, 5, 8, 5, 8, 140), (3, 5, 8, 5, 8, 150))
    spacing = facts.pop("spacing", SPACING_MM)
    return kcalc.calcium_score(scan, whole(scan), spacing, **facts)


@pytest.mark.parametrize("kvp", [None, 120, 119.8, 120.0])
def test_120_kvp_and_unknown_kvp_change_nothing_and_warn_of_nothing(kvp):
    score = score_with(tube_voltage_kvp=kvp)
    assert (score.agatston, score.warnings) == (8.0, ())


def test_another_tube_voltage_is_scored_at_130_hu_with_a_warning():
    score = score_with(tube_voltage_kvp=100)
    assert score.agatston == 8.0
    assert score.rule.threshold_hu == 130
    assert len(score.warnings) == 1
    assert score.warnings[0].startswith("KVP: scanned at 100 kVp, scored with")


def test_a_rule_with_its_own_row_for_a_tube_voltage_uses_it_and_says_so():
    score = score_with(tube_voltage_kvp=100, rule="fqm_canon")
    # 147 HU at 100 kVp drops the 140 HU lesion; the bins are kept, so 150 weighs 1
    assert score.agatston == 4.0
    assert score.rule.threshold_hu == 147
    assert score.warnings == (
        "KVP: scanned at 100 kVp and scored at the 147 HU that the rule fqm_canon "
        "has for it.",
    )
    assert "at or above 147 HU" in score.to_dict()["rule"]["description"]


@pytest.mark.parametrize(
    ("thickness", "spacing", "warned"),
    [
        (3.0, 3.0, ""),
        (2.5, 2.5, ""),
        (3.0, 1.5, ""),
        (None, 3.0, ""),
        (5.0, 5.0, "thickness 5 mm"),
        (None, 1.0, "spacing 1 mm"),
    ],
)
def test_slices_outside_the_protocol_are_warned_of(thickness, spacing, warned):
    score = score_with(slice_thickness_mm=thickness, spacing=(spacing, 0.5, 0.5))
    assert [warned in text for text in score.warnings] == ([True] if warned else [])


def test_an_acquisition_off_the_standard_is_named_by_its_codes():
    assert score_with(tube_voltage_kvp=120).non_standard_acquisition == ()
    score = score_with(tube_voltage_kvp=100, slice_thickness_mm=5.0)
    assert score.non_standard_acquisition == ("KVP", "PROTOCOL")
    assert score.to_dict()["non_standard_acquisition"] == ["KVP", "PROTOCOL"]


def test_a_mask_without_any_lesion_is_warned_of():
    scan = scan_with((2, 5, 5, 5, 7, 150))
    score = kcalc.calcium_score(scan, scan > 0, SPACING_MM)
    assert score.agatston == 0.0
    assert score.warnings[0].startswith(
        "NO_LESION: the mask has 2000 voxels, of which 3 reach the threshold"
    )


def test_import_loads_neither_tensorflow_nor_scipy():
    code = (
        "import sys, kcalc.scoring; "
        "print(sorted({'tensorflow', 'keras', 'scipy', 'pydicom'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
