"""ScoringRule: every field changes a number, every preset says what it does."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

import kcalc
from kcalc.errors import UnfitError
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


def test_the_presets_are_these():
    assert list(RULES) == [
        "agatston_1990",
        "fqm_siemens",
        "fqm_philips",
        "fqm_ge",
        "fqm_canon",
        "fqm_literature",
        "orcascore",
        "tiger",
        "deepcac",
        "ai_cac",
        "ai_cac_default",
        "calciumscoring_jl",
        "slicer_agatston",
        "lassoan",
        "dicom_viewer",
        "comp2comp",
    ]
    assert all(RULES[name].name == name for name in RULES)


def test_the_default_rule_is_agatston_1990():
    assert score([[[200.0]]]).rule == rule("agatston_1990")


def test_presets_cannot_be_changed():
    with pytest.raises(TypeError, match="does not support item assignment"):
        RULES["mine"] = PLAIN
    with pytest.raises(FrozenInstanceError, match="threshold_hu"):
        RULES["agatston_1990"].threshold_hu = 100
    assert len({*RULES.values(), PLAIN}) == 17  # hashable


def test_default_rule_reads_in_words():
    assert rule("agatston_1990").describe() == (
        "Calcium: voxels of the mask at or above 130 HU. "
        "Lesion: 8-connected, 2-D, within each slice, of at least 1 mm2. "
        "Weight by the maximum of the lesion: 1 from 130 HU, 2 from 200 HU, "
        "3 from 300 HU, 4 from 400 HU, else 0. "
        "Agatston score: sum of area in mm2 x weight x slice spacing / 3 mm. "
        "Volume: area x slice spacing over the lesions kept. Mass: volume x mean HU x "
        "calibration over the same."
    )


def test_canon_rule_reads_in_words():
    text = rule("fqm_canon").describe()
    assert "147 HU at 100 kVp, 130 HU at 120 kVp, and no other voltage." in text
    assert "8-connected, 2-D, within each slice, of more than 3 pixels." in text


@pytest.mark.parametrize("name", list(RULES))
def test_every_preset_cites_a_paper_a_commit_or_a_page(name):
    source = RULES[name].source
    assert any(mark in source for mark in ("doi 10.", " @", ".com/", ".nl/"))


def test_every_preset_but_the_default_says_where_its_origin_errs_or_is_left():
    assert [name for name in RULES if not RULES[name].remarks] == ["agatston_1990"]
    with_faults = [n for n in RULES if "faults of its origin" in RULES[n].remarks]
    assert with_faults == [
        "ai_cac",
        "ai_cac_default",
        "calciumscoring_jl",
        "slicer_agatston",
        "lassoan",
        "dicom_viewer",
        "comp2comp",
    ]
    assert "Keeps a fault of its origin" in RULES["deepcac"].remarks


VARIANTS = {
    "threshold_hu": (None, "without a threshold"),
    "threshold_comparison": (">", "mask above 130 HU"),
    "density_bins": (((100, 2),), "2 from 100 HU"),
    "bin_comparison": (">", "1 above 130 HU"),
    "connectivity": (26, "26-connected, 3-D, across slices"),
    "single_pixels_below": (2, "every pixel on its own where the smallest lesion has"),
    "speck_voxels": (3, "specks of calcium of at most 3 voxels are removed first"),
    "volume_of": ("mask", "over the whole mask, whatever its HU"),
    "volume_threshold_hu": (112.5, "by the same rule at or above 112.5 HU"),
    "pixel_decimals": (3, "area x scaling rounded to 3 decimals"),
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
    near = replace(PLAIN, minimum_area_mm2=1.0, minimum_rounding="nearest")
    assert "at least 1 mm2, to the nearest whole pixel" in near.describe()
    above = replace(PLAIN, volume_threshold_hu=99, volume_comparison=">")
    assert "by the same rule above 99 HU" in above.describe()
    alone = replace(PLAIN, kvp_table=(KvpRow(80, 177),), only_listed_kvp=True)
    assert "177 HU at 80 kVp, and no other voltage" in alone.describe()
    pooled = replace(PLAIN, connectivity="label")
    assert "all calcium under one number of the vessel map" in pooled.describe()
    single = replace(PLAIN, connectivity=1)
    assert "Lesion: every pixel on its own" in single.describe()
    every = replace(PLAIN, volume_of="calcium")
    assert "over all that calcium, whatever the size" in every.describe()
    shown = {
        "connectivity",
        "minimum_comparison",
        "minimum_rounding",
        "only_listed_kvp",
        "reference_slice_mm",
        "volume_comparison",
        "weight_from",
    }
    assert {f.name for f in fields(ScoringRule)} == {
        *VARIANTS,
        *shown,
        "name",
        "source",
        "remarks",
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
    [
        (1, [1, 1, 1, 1]),
        (4, [1, 1, 1, 1]),
        (8, [2, 2]),
        (6, [1, 2, 1]),
        (26, [4]),
        ("label", [1, 2, 1]),
    ],
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
        ({"minimum_area_mm2": 1.0, "minimum_rounding": "nearest"}, 0.488 * 0.488, 4),
        ({"minimum_area_mm2": 1.0, "minimum_rounding": "nearest"}, 0.7 * 0.7, 2),
        ({"minimum_area_mm2": 1.0, "minimum_rounding": "nearest"}, 0.4, 2),
        ({"minimum_area_mm2": 1.0, "minimum_rounding": "nearest"}, 2.1, 1),
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
    with pytest.raises(UnfitError, match="plain scales by slice thickness") as refusal:
        score([[[150.0]]], rule=replace(PLAIN, slice_scaling="thickness"))
    assert refusal.value.code == "RULE_THICKNESS"


def test_a_rule_of_listed_voltages_refuses_others_but_not_an_unknown_one():
    listed = replace(PLAIN, kvp_table=(KvpRow(80, 177),), only_listed_kvp=True)
    with pytest.raises(UnfitError, match="plain is defined at 80 kVp only") as refusal:
        score([[[150.0]]], rule=listed, tube_voltage_kvp=120)
    assert refusal.value.code == "RULE_KVP"
    assert score([[[150.0]]], rule=listed, tube_voltage_kvp=80).agatston == 0.0
    assert score([[[150.0]]], rule=listed).agatston == 1.0


def test_pixels_stand_alone_where_the_smallest_lesion_has_too_few():
    scan, changes = [[[150.0, 250.0]]], {"single_pixels_below": 3}
    joined = replace(PLAIN, minimum_pixels=2, **changes)
    assert score(scan, rule=joined).num_lesions == 0
    assert score(scan, rule=replace(joined, single_pixels_below=2)).agatston == 4.0
    alone = score(scan, rule=replace(PLAIN, **changes))
    assert (alone.agatston, alone.num_lesions, alone.rule.connectivity) == (3.0, 2, 1)


def test_specks_are_removed_across_slices_before_lesions_form():
    scan = np.zeros((2, 1, 4))
    scan[:, 0, 0] = scan[0, 0, 2] = 150.0
    cleaned = replace(PLAIN, speck_voxels=1)
    assert score(scan, rule=PLAIN).num_lesions == 3
    assert score(scan, rule=cleaned).num_lesions == 2
    assert score(scan, rule=replace(cleaned, speck_voxels=2)).num_lesions == 0


def test_a_label_is_one_lesion_weighed_by_its_brightest_voxel_in_each_slice():
    scan = [[[150.0, 0.0, 450.0]]]
    pooled = replace(PLAIN, connectivity="label")
    together = score(scan, rule=pooled, vessels=np.array([[[1, 0, 1]]]))
    assert (together.agatston, together.num_lesions) == (8.0, 1)
    apart = score(scan, rule=pooled, vessels=np.array([[[1, 0, 4]]]))
    assert [x.vessel for x in apart.lesions] == ["LM", "RCA"]
    assert apart.agatston == 5.0
    assert score(scan, rule=pooled).agatston == 5.0


def test_pixel_rounding_comes_before_the_multiplication():
    rounded = replace(PLAIN, slice_scaling="spacing", pixel_decimals=3)
    scan, spacing_mm = [[[150.0, 150.0]]], (0.625, 0.35, 0.35)
    assert score(scan, spacing_mm, rule=rounded).agatston == pytest.approx(0.052)
    exact = score(scan, spacing_mm, rule=replace(rounded, pixel_decimals=None))
    assert exact.agatston == pytest.approx(0.0510417, abs=1e-7)


def test_volume_counts_lesions_all_calcium_the_mask_or_lesions_of_its_own_threshold():
    scan = [[[150.0, 150.0, 0.0, 150.0, 120.0]]]
    two = replace(PLAIN, minimum_pixels=2)
    facts = {"mass_calibration": 1.0}
    lesions = score(scan, rule=two, **facts)
    assert (lesions.volume_mm3, lesions.mass_mg) == (6.0, 0.9)
    every = score(scan, rule=replace(two, volume_of="calcium"), **facts)
    assert (every.volume_mm3, every.mass_mg) == (9.0, pytest.approx(1.35))
    mask = score(scan, rule=replace(two, volume_of="mask"), **facts)
    assert (mask.volume_mm3, mask.mass_mg) == (15.0, pytest.approx(1.71))
    other = score(scan, rule=replace(two, volume_threshold_hu=120.0), **facts)
    assert (other.volume_mm3, other.mass_mg) == (12.0, pytest.approx(1.71))
    above = replace(two, volume_threshold_hu=120.0, volume_comparison=">")
    assert score(scan, rule=above).volume_mm3 == 6.0
    for result in (every, mask, other):
        assert (result.agatston, result.num_lesions) == (2.0, 1)


def test_volume_by_vessel_follows_what_the_rule_counts():
    scan = [[[150.0, 150.0, 0.0, 150.0]]]
    rule_ = replace(PLAIN, minimum_pixels=2, volume_of="calcium")
    result = score(scan, rule=rule_, vessels=np.array([[[2, 2, 0, 4]]]))
    assert result.per_vessel["RCA"].agatston == 0.0
    assert result.per_vessel["RCA"].volume_mm3 == 3.0
    assert result.per_vessel["LAD"].volume_mm3 == 6.0


def test_rules_that_look_below_130_hu_say_when_the_mask_was_cut_or_is_a_region():
    below = replace(PLAIN, threshold_hu=None)
    cut = score([[[150.0, 140.0]]], rule=below).warnings
    assert any(w.startswith("MASK_CUT: the rule plain counts") for w in cut)
    region = score([[[150.0, 40.0, 40.0]]], rule=below).warnings
    assert any("2 of its 3 voxels are below 130 HU" in w for w in region)
    fits = score([[[150.0, 120.0]]], rule=below).warnings
    assert not any(w.startswith("MASK_") for w in fits)
    usual = score([[[150.0, 140.0]]], rule=PLAIN).warnings
    assert not any(w.startswith("MASK_") for w in usual)


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
        ({"speck_voxels": -1}, "speck_voxels must be a whole number"),
        ({"single_pixels_below": 0.5}, "single_pixels_below must be a whole number"),
        ({"minimum_rounding": "down"}, "minimum_rounding must be one of"),
        ({"volume_of": "scan"}, "volume_of must be one of"),
        ({"volume_comparison": "<"}, "volume_comparison must be one of"),
        ({"volume_threshold_hu": float("inf")}, "threshold_hu must be a finite"),
        (
            {"volume_threshold_hu": 100, "volume_of": "mask"},
            "volume_threshold_hu makes lesions of its own",
        ),
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


def test_a_rule_without_threshold_refuses_a_mask_of_a_body_region(monkeypatch):
    monkeypatch.setattr("kcalc.scoring.calcium.MAX_MASK_AS_CALCIUM", 4)
    below = replace(PLAIN, threshold_hu=None)
    assert score([[[150.0, 40.0, 40.0, 40.0]]], rule=below).volume_mm3 == 12.0
    with pytest.raises(UnfitError, match="a mask of 5 voxels") as refusal:
        score([[[150.0, 40.0, 40.0, 40.0, 40.0]]], rule=below)
    assert refusal.value.code == "RULE_MASK"
    assert score([[[150.0, 40.0, 40.0, 40.0, 40.0]]], rule=PLAIN).volume_mm3 == 3.0
