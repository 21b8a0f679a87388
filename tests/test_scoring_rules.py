"""ScoringRule: every field changes a number, every preset says what it does."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

import kcalc
from kcalc.scoring import (
    RULES,
    KvpRow,
    ScoringRule,
    cac_drs,
    orcascore_category,
    risk_category,
    rule,
)
from kcalc.scoring.mass import mass_mg

PLAIN = ScoringRule("plain", "made for this test", slice_scaling="none")


def score(scan, spacing_mm=(3.0, 1.0, 1.0), **arguments):
    scan = np.asarray(scan, np.float64)
    return kcalc.calcium_score(scan, np.ones(scan.shape, bool), spacing_mm, **arguments)


def test_the_presets_are_these_two():
    assert list(RULES) == ["agatston_1990", "fqm_canon"]
    assert all(RULES[name].name == name for name in RULES)


def test_the_default_rule_is_agatston_1990():
    assert score([[[200.0]]]).rule == rule("agatston_1990")


def test_presets_cannot_be_changed():
    with pytest.raises(TypeError, match="does not support item assignment"):
        RULES["mine"] = PLAIN
    with pytest.raises(FrozenInstanceError, match="threshold_hu"):
        RULES["agatston_1990"].threshold_hu = 100
    assert len({*RULES.values(), PLAIN}) == 3  # hashable


def test_default_rule_reads_in_words():
    assert rule("agatston_1990").describe() == (
        "Calcium: voxels of the mask at or above 130 HU. "
        "Lesion: 8-connected, 2-D, within each slice, of at least 1 mm2. "
        "Weight by the maximum of the lesion: 1 from 130 HU, 2 from 200 HU, "
        "3 from 300 HU, 4 from 400 HU, else 0. "
        "Agatston score: sum of area in mm2 x weight x slice spacing / 3 mm. "
        "Volume: area x slice spacing over the lesions kept. Mass: volume x mean HU x "
        "calibration over the same lesions."
    )


def test_canon_rule_reads_in_words():
    text = rule("fqm_canon").describe()
    assert "The rule's table: 147 HU at 100 kVp." in text
    assert "8-connected, 2-D, within each slice, of more than 3 pixels." in text


@pytest.mark.parametrize("name", list(RULES))
def test_every_preset_cites_its_source(name):
    assert "doi 10." in RULES[name].source


VARIANTS = {
    "threshold_hu": (None, "without a threshold"),
    "threshold_comparison": (">", "mask above 130 HU"),
    "density_bins": (((100, 2),), "2 from 100 HU"),
    "bin_comparison": (">", "1 above 130 HU"),
    "connectivity": (26, "26-connected, 3-D, across slices"),
    "minimum_area_mm2": (2.5, "at least 2.5 mm2"),
    "minimum_pixels": (1, "at least 1 pixel."),
    "slice_scaling": ("thickness", "x slice thickness / 3 mm"),
    "lesion_decimals": (3, "each lesion rounded to 3 decimals"),
    "total_decimals": (0, "the total rounded to 0 decimals"),
    "kvp_table": ((KvpRow(80, 177),), "177 HU at 80 kVp"),
}


@pytest.mark.parametrize("field", VARIANTS)
def test_every_field_shows_in_the_words(field):
    value, words = VARIANTS[field]
    assert words in replace(PLAIN, **{field: value}).describe()
    assert words not in PLAIN.describe()


def test_the_fields_that_need_others_show_in_the_words():
    spatial = replace(PLAIN, connectivity=6, minimum_pixels=2, minimum_comparison=">")
    assert "maximum of the lesion in each slice:" in spatial.describe()
    assert "more than 2 voxels" in spatial.describe()
    whole = replace(spatial, weight_from="lesion")
    assert "maximum of the lesion:" in whole.describe()
    scaled = replace(PLAIN, slice_scaling="spacing", reference_slice_mm=2.5)
    assert "slice spacing / 2.5 mm" in scaled.describe()
    shown = {"connectivity", "minimum_comparison", "weight_from", "reference_slice_mm"}
    assert {f.name for f in fields(ScoringRule)} == {
        *VARIANTS,
        *shown,
        "name",
        "source",
    }


def test_threshold_comparison_decides_the_threshold_itself():
    scan = [[[130.0, 131.0]]]
    assert score(scan, rule=PLAIN).agatston == 2.0
    assert score(scan, rule=replace(PLAIN, threshold_comparison=">")).agatston == 1.0


def test_no_threshold_takes_the_mask_and_weighs_its_dim_lesions_zero():
    scan = [[[129.0, 50.0, -10.0]]]
    result = score(scan, rule=replace(PLAIN, threshold_hu=None))
    assert (result.agatston, result.volume_mm3) == (0.0, 9.0)
    scan[0][0][2] = 200.0
    assert score(scan, rule=replace(PLAIN, threshold_hu=None)).agatston == 6.0


def test_bin_comparison_decides_the_edges_of_the_bins():
    above = replace(PLAIN, bin_comparison=">")
    assert score([[[200.0]]], rule=PLAIN).agatston == 2.0
    assert score([[[200.0]]], rule=above).agatston == 1.0
    assert score([[[200.5]]], rule=above).agatston == 2.0
    # a voxel at the threshold is in the mask of the rule and in none of its bins
    assert score([[[130.0]]], rule=above).agatston == 0.0
    assert score([[[130.0]]], rule=above).volume_mm3 == 3.0


def test_bins_may_go_on_for_as_many_rows_as_an_origin_has():
    hundreds = tuple((100 * step, step) for step in range(1, 31))
    assert (
        score([[[1234.0]]], rule=replace(PLAIN, density_bins=hundreds)).agatston == 12
    )


STAIR = np.zeros((2, 3, 3))
STAIR[0, 0, 0] = STAIR[0, 1, 1] = STAIR[1, 1, 1] = STAIR[1, 2, 2] = 150
STAIR[1, 2, 2] = 450


@pytest.mark.parametrize(
    ("connectivity", "sizes"),
    [(4, [1, 1, 1, 1]), (8, [2, 2]), (6, [1, 2, 1]), (26, [4])],
)
def test_connectivity_joins_what_it_says(connectivity, sizes):
    result = score(STAIR, rule=replace(PLAIN, connectivity=connectivity))
    assert [lesion.num_pixels for lesion in result.lesions] == sizes


def test_weight_of_a_3d_lesion_is_by_slice_or_by_lesion():
    by_slice = score(STAIR, rule=replace(PLAIN, connectivity=26))
    assert by_slice.agatston == 2 * 1 + 2 * 4
    assert by_slice.lesions[0].weight == 2.5
    by_lesion = score(STAIR, rule=replace(PLAIN, connectivity=26, weight_from="lesion"))
    assert by_lesion.agatston == 4 * 4
    lesion = by_lesion.lesions[0]
    assert (lesion.slice_index, lesion.first_slice_index) == (1, 0)
    assert (lesion.last_slice_index, lesion.area_mm2) == (1, 4.0)
    assert lesion.centroid_index_zyx == (0.5, 1.0, 1.0)


def test_several_3d_lesions_each_take_the_maximum_of_their_own():
    scan = np.zeros((3, 1, 5))
    scan[:, 0, 0] = 150, 350, 150
    scan[:, 0, 4] = 250, 150, 450
    spatial = replace(PLAIN, connectivity=6)
    assert [x.agatston for x in score(scan, rule=spatial).lesions] == [5.0, 7.0]
    whole = replace(spatial, weight_from="lesion")
    assert [x.agatston for x in score(scan, rule=whole).lesions] == [9.0, 12.0]


@pytest.mark.parametrize(
    ("minimum", "pixel_area_mm2", "voxels"),
    [
        ({"minimum_area_mm2": 1.0}, 1.0, 1),
        ({"minimum_area_mm2": 1.0}, 0.25, 4),
        ({"minimum_area_mm2": 1.0}, 0.1 * 0.1, 100),
        ({"minimum_area_mm2": 1.0}, 0.7071067 * 0.7071067, 2),
        ({"minimum_area_mm2": 1.0}, 0.488 * 0.488, 5),
        ({"minimum_area_mm2": 1.0}, 0.8418 * 0.8418, 2),
        ({"minimum_area_mm2": 1.0, "minimum_comparison": ">"}, 0.25, 5),
        ({"minimum_area_mm2": 1.0, "minimum_comparison": ">"}, 0.1 * 0.1, 101),
        ({"minimum_area_mm2": 1.0, "minimum_comparison": ">"}, 0.5000001, 3),
        ({"minimum_area_mm2": 1.0, "minimum_comparison": ">"}, 0.3, 4),
        ({"minimum_pixels": 3}, 0.3, 3),
        ({"minimum_pixels": 3, "minimum_comparison": ">"}, 0.3, 4),
        ({"minimum_pixels": 3, "minimum_area_mm2": 1.0}, 0.25, 4),
        ({"minimum_comparison": ">"}, 0.25, 1),
        ({}, 0.25, 1),
    ],
)
def test_minimum_lesion_is_one_whole_number_of_voxels(minimum, pixel_area_mm2, voxels):
    assert replace(PLAIN, **minimum).minimum_voxels(pixel_area_mm2) == voxels


def test_minimum_of_a_3d_rule_counts_the_voxels_of_all_slices():
    spatial = replace(PLAIN, connectivity=26, minimum_pixels=4)
    assert score(STAIR, rule=spatial).num_lesions == 1
    assert score(STAIR, rule=replace(spatial, minimum_pixels=5)).num_lesions == 0


def test_slice_scaling_by_spacing_thickness_or_not_at_all():
    scan, spacing_mm = [[[150.0]]], (1.5, 1.0, 1.0)
    by_spacing = replace(PLAIN, slice_scaling="spacing")
    by_thickness = replace(PLAIN, slice_scaling="thickness")
    thick = {"slice_thickness_mm": 6.0}
    assert score(scan, spacing_mm, rule=PLAIN, **thick).agatston == 1.0
    assert score(scan, spacing_mm, rule=by_spacing, **thick).agatston == 0.5
    assert score(scan, spacing_mm, rule=by_thickness, **thick).agatston == 2.0
    other = replace(by_spacing, reference_slice_mm=1.5)
    assert score(scan, spacing_mm, rule=other).agatston == 1.0


def test_a_rule_by_thickness_refuses_an_unknown_thickness():
    with pytest.raises(ValueError, match="plain scales by slice thickness"):
        score([[[150.0]]], rule=replace(PLAIN, slice_scaling="thickness"))


def test_rounding_by_lesion_and_by_total_differ():
    scan, spacing_mm = [[[150.0, 0.0, 150.0, 0.0, 150.0]]], (3.0, 0.6, 1.0)
    assert score(scan, spacing_mm, rule=PLAIN).agatston == pytest.approx(1.8)
    by_lesion = score(scan, spacing_mm, rule=replace(PLAIN, lesion_decimals=0))
    assert by_lesion.agatston == 3.0
    assert [lesion.agatston for lesion in by_lesion.lesions] == [1.0, 1.0, 1.0]
    by_total = score(scan, spacing_mm, rule=replace(PLAIN, total_decimals=0))
    assert by_total.agatston == 2.0
    assert by_total.lesions[0].agatston == 0.6


def test_kvp_table_changes_threshold_and_bins_within_half_a_kilovolt():
    table = (KvpRow(80, 177, ((177, 1), (271, 2))), KvpRow(100, 145, ((145, 3),)))
    adapted = replace(PLAIN, kvp_table=table)
    scan = [[[150.0, 0.0, 280.0]]]
    assert score(scan, rule=adapted).agatston == 3.0
    assert score(scan, rule=adapted, tube_voltage_kvp=120).agatston == 3.0
    assert score(scan, rule=adapted, tube_voltage_kvp=80).agatston == 2.0
    assert score(scan, rule=adapted, tube_voltage_kvp=100.4).agatston == 6.0
    between = score(scan, rule=adapted, tube_voltage_kvp=90)
    assert between.agatston == 3.0
    assert "scored with the thresholds of 120 kVp" in between.warnings[0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": ""}, "must have a name and a source"),
        ({"source": ""}, "must have a name and a source"),
        ({"threshold_hu": float("nan")}, "threshold_hu must be a finite value"),
        ({"threshold_comparison": "=="}, "threshold_comparison must be one of"),
        ({"bin_comparison": "<"}, "bin_comparison must be one of"),
        ({"minimum_comparison": ""}, "minimum_comparison must be one of"),
        ({"connectivity": 18}, "connectivity must be one of"),
        ({"weight_from": "scan"}, "weight_from must be one of"),
        ({"slice_scaling": True}, "slice_scaling must be one of"),
        ({"minimum_area_mm2": -1.0}, "minimum_area_mm2 must be an area"),
        ({"minimum_pixels": 1.5}, "minimum_pixels must be a whole number"),
        ({"reference_slice_mm": 0.0}, "reference_slice_mm must be a positive"),
        ({"density_bins": ()}, "density_bins must be rows"),
        ({"density_bins": ((200, 1), (130, 2))}, "density_bins must be rows"),
        ({"density_bins": ((130, -1),)}, "density_bins must be rows"),
        ({"kvp_table": (KvpRow(100, 147), KvpRow(80, 177))}, "must rise in tube"),
    ],
)
def test_a_rule_outside_its_ranges_is_refused(change, text):
    with pytest.raises(ValueError, match=text):
        replace(PLAIN, **change)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ((0.0, 130.0), "tube_voltage_kvp must be a positive number"),
        ((100.0, float("inf")), "threshold_hu must be a finite value"),
        ((100.0, 147.0, ()), "density_bins must be rows"),
    ],
)
def test_a_row_outside_its_ranges_is_refused(row, text):
    with pytest.raises(ValueError, match=text):
        KvpRow(*row)


def test_lists_in_a_rule_become_tuples():
    listed = replace(
        PLAIN, density_bins=[[130, 1]], kvp_table=[KvpRow(80, 177, [[9, 1]])]
    )
    assert listed.density_bins == ((130, 1),)
    assert hash(listed) == hash(replace(listed))


# --- risk classes and mass


@pytest.mark.parametrize(
    ("agatston", "risk", "drs"),
    [
        (0.0, "0", "A0"),
        (1e-9, "1-10", "A1"),
        (0.5, "1-10", "A1"),
        (10.0, "1-10", "A1"),
        (10.001, "11-100", "A1"),
        (99.999, "11-100", "A1"),
        (100.0, "11-100", "A2"),
        (100.001, "101-400", "A2"),
        (299.999, "101-400", "A2"),
        (300.0, "101-400", "A3"),
        (400.0, "101-400", "A3"),
        (400.001, ">400", "A3"),
    ],
)
def test_risk_class_and_cac_drs_at_their_edges(agatston, risk, drs):
    assert (risk_category(agatston), cac_drs(agatston)) == (risk, f"{drs}/N?")
    assert cac_drs(agatston, 2) == f"{drs}/N2"


@pytest.mark.parametrize(
    ("agatston", "expected"),
    [
        (0.0, "0-10"),
        (10.0, "0-10"),
        (10.001, "11-100"),
        (100.0, "11-100"),
        (100.001, "101-400"),
        (400.0, "101-400"),
        (400.001, ">400"),
    ],
)
def test_orcascore_has_no_class_of_its_own_for_zero(agatston, expected):
    assert orcascore_category(agatston) == expected


@pytest.mark.parametrize("agatston", [-1.0, float("nan"), float("inf")])
def test_a_score_that_is_none_has_no_class(agatston):
    with pytest.raises(ValueError, match="must be finite and at least 0"):
        risk_category(agatston)
    with pytest.raises(ValueError, match="must be finite and at least 0"):
        cac_drs(agatston)


def test_cac_drs_names_the_vessels_and_refuses_a_fifth():
    assert cac_drs(0, 0) == "A0/N0"
    assert cac_drs(500, 4) == "A3/N4"
    assert cac_drs(0, None) == "A0/N?"
    with pytest.raises(ValueError, match="num_vessels must be 0 to 4"):
        cac_drs(500, 5)


def test_mass_is_volume_times_mean_times_calibration():
    # a 5 mm cylinder of 400 mg/mL, 98.17 mm3, that reads 520 HU at 400/520 mg/mL/HU
    assert mass_mg(98.17, 520.0, 400 / 520) == pytest.approx(39.268)
