"""The fast scorer against a slow loop, and properties that hold for every scan."""

from __future__ import annotations

import random
from dataclasses import replace

import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference_scorer import loop_score
from rule_properties import (
    EXCEPTIONS,
    LEVELS_HU,
    PROPERTIES,
    SPACING_MM,
    Case,
    cases,
    shapes,
)

import kcalc
from kcalc.scoring import RULES, ScoringRule, rule

PIXELS_MM = (0.35, 0.5, 0.7, 0.9, 1.5)
RULE_VARIANTS = [
    *RULES.values(),
    ScoringRule("4", "test", connectivity=4, threshold_comparison=">"),
    ScoringRule("6", "test", connectivity=6, minimum_area_mm2=1.0),
    ScoringRule("26", "test", connectivity=26, weight_from="lesion", minimum_pixels=2),
    ScoringRule("mask", "test", threshold_hu=None, bin_comparison=">", connectivity=6),
    ScoringRule("specks", "test", speck_voxels=2, volume_threshold_hu=112),
    ScoringRule("near", "test", minimum_area_mm2=2, minimum_rounding="nearest"),
]


@st.composite
def scans(draw):
    """Draw a small scan in HU and a mask."""
    shape = draw(shapes)
    scan = draw(hnp.arrays(np.int16, shape, elements=st.sampled_from(LEVELS_HU)))
    return scan, draw(hnp.arrays(np.bool_, shape))


def many(function):
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=25, deadline=None, suppress_health_check=checks)(
        function
    )


def assert_equal_to_loop(scan, mask, spacing_mm, a_rule, **facts):
    """Compare the fast scorer with the slow loop: score, volume, mass, lesions."""
    fast = kcalc.calcium_score(
        scan,
        mask,
        spacing_mm,
        rule=a_rule,
        tube_voltage_kvp=facts.get("kvp"),
        slice_thickness_mm=facts.get("thickness_mm"),
        vessels=facts.get("labels"),
        mass_calibration=0.72,
    )
    slow = loop_score(scan, mask, spacing_mm, a_rule, calibration=0.72, **facts)
    assert fast.agatston == pytest.approx(slow.agatston, rel=1e-12, abs=1e-12)
    assert fast.volume_mm3 == pytest.approx(slow.volume_mm3, rel=1e-12, abs=1e-12)
    assert fast.mass_mg == pytest.approx(slow.mass_mg, rel=1e-11, abs=1e-9)
    assert [lesion.num_pixels for lesion in fast.lesions] == slow.sizes
    return slow


@pytest.mark.parametrize("a_rule", RULE_VARIANTS, ids=lambda r: r.name)
def test_fast_scorer_equals_the_slow_loop(a_rule):
    voltages = [None, *(row.tube_voltage_kvp for row in a_rule.kvp_table)]

    @many
    @given(
        scans(), st.sampled_from(PIXELS_MM), st.sampled_from(voltages), st.booleans()
    )
    def check(drawn, pixel_mm, kvp, with_vessels):
        scan, mask = drawn
        labels = np.indices(scan.shape).sum(axis=0) % 5 if with_vessels else None
        assert_equal_to_loop(
            scan,
            mask,
            (2.5, pixel_mm, pixel_mm),
            a_rule,
            kvp=kvp,
            thickness_mm=4.0,
            labels=labels,
        )

    check()


@pytest.mark.parametrize("a_rule", RULE_VARIANTS, ids=lambda r: r.name)
@pytest.mark.parametrize("filled", [0.1, 0.7])
def test_fast_scorer_equals_the_slow_loop_on_a_large_random_mask(a_rule, filled):
    rng = np.random.default_rng(7)
    scan = rng.choice(LEVELS_HU, size=(5, 24, 31)).astype(np.float32)
    mask = rng.random(scan.shape) < filled
    slow = assert_equal_to_loop(scan, mask, SPACING_MM, a_rule, thickness_mm=5.0)
    assert slow.sizes


def counterexample(holds, name):
    """Return a case that the property fails on: drawn, or where that is rare, built."""
    if holds == "score never falls as calcium grows":
        mask = np.zeros((1, 5, 9), bool)
        mask[0, 4, :] = mask[0, :, 4] = True
        part = mask.copy()
        part[0, 4, 4] = False  # three arms of four voxels, 1.63 points each
        return Case(np.full(mask.shape, 150, np.int16), mask, part, 0)
    if holds == "nothing falls as calcium brightens":
        scan = np.array([[[1200, 1200, 1200]], [[112, 40, 40]]], np.int16)
        return Case(scan, scan > 100, scan > 1000, brighter_hu=20)
    return hypothesis.find(
        cases(),
        lambda case: not PROPERTIES[holds](case, rule(name)),
        settings=settings(
            max_examples=20_000, database=None, deadline=None, phases=[Phase.generate]
        ),
        random=random.Random(0),
    )


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("holds", PROPERTIES)
def test_property_holds_for_a_preset_or_is_shown_not_to(holds, name):
    prop, preset = PROPERTIES[holds], rule(name)
    if (holds, name) in EXCEPTIONS:
        assert not prop(counterexample(holds, name), preset)
        return

    @many
    @given(cases())
    def check(case):
        assert prop(case, preset)

    check()


def test_exceptions_name_presets_and_properties_that_exist():
    assert {holds for holds, _ in EXCEPTIONS} <= set(PROPERTIES)
    assert {name for _, name in EXCEPTIONS} <= set(RULES)


def test_lesions_come_in_scan_order_and_are_numbered_from_one():
    rng = np.random.default_rng(3)
    scan = rng.choice(LEVELS_HU, size=(4, 30, 30)).astype(np.int16)
    dense = replace(rule("agatston_1990"), minimum_area_mm2=0.0, connectivity=4)
    score = kcalc.calcium_score(scan, scan > 250, SPACING_MM, rule=dense)
    slices = [lesion.slice_index for lesion in score.lesions]
    assert slices == sorted(slices)
    assert [x.number for x in score.lesions] == list(range(1, score.num_lesions + 1))
