"""The fast scorer against a slow loop, and properties that hold for every scan."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import kcalc
from kcalc.scoring import RULES, ScoringRule, rule

LEVELS_HU = (-1000, 40, 129, 130, 199, 200, 299, 300, 399, 400, 1200)
SPACING_MM = (2.5, 0.7, 0.7)
RULE_VARIANTS = [
    *RULES.values(),
    ScoringRule("4", "test", connectivity=4, threshold_comparison=">"),
    ScoringRule("6", "test", connectivity=6, minimum_area_mm2=1.0),
    ScoringRule("26", "test", connectivity=26, weight_from="lesion", minimum_pixels=2),
    ScoringRule("mask", "test", threshold_hu=None, bin_comparison=">", connectivity=6),
]
shapes = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))


@st.composite
def scans(draw):
    """Draw a small scan in HU and a mask."""
    shape = draw(shapes)
    scan = draw(hnp.arrays(np.int16, shape, elements=st.sampled_from(LEVELS_HU)))
    return scan, draw(hnp.arrays(np.bool_, shape))


def many(function):
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=60, deadline=None, suppress_health_check=checks)(
        function
    )


def loop_components(scan, mask, a_rule):
    """Return the components as lists of voxels, found by walking."""
    wanted = set()
    for voxel in np.ndindex(scan.shape):
        if not mask[voxel]:
            continue
        hu, threshold = float(scan[voxel]), a_rule.threshold_hu
        if threshold is None:
            wanted.add(voxel)
        elif hu > threshold or (
            hu == threshold and a_rule.threshold_comparison == ">="
        ):
            wanted.add(voxel)
    components = []
    while wanted:
        todo, members = [min(wanted)], []
        wanted.remove(todo[0])
        while todo:
            z, y, x = todo.pop()
            members.append((z, y, x))
            for dz, dy, dx in product((-1, 0, 1), repeat=3):
                steps = abs(dz) + abs(dy) + abs(dx)
                if a_rule.connectivity in (4, 8) and dz != 0:
                    continue
                if a_rule.connectivity in (4, 6) and steps != 1:
                    continue
                neighbour = (z + dz, y + dy, x + dx)
                if neighbour in wanted:
                    wanted.remove(neighbour)
                    todo.append(neighbour)
        components.append(sorted(members))
    return components


def loop_weight(maximum_hu, a_rule):
    weight = 0
    for edge, value in a_rule.density_bins:
        if maximum_hu > edge or (maximum_hu == edge and a_rule.bin_comparison == ">="):
            weight = value
    return weight


def loop_score(scan, mask, spacing_mm, a_rule, calibration):
    """Return (agatston, volume, mass, sizes) in the most obvious way there is."""
    area = spacing_mm[1] * spacing_mm[2]
    agatston = volume = mass = 0.0
    sizes = []
    for members in loop_components(scan, mask, a_rule):
        n = len(members)
        too_small = n * area < a_rule.minimum_area_mm2 or n < a_rule.minimum_pixels
        if a_rule.minimum_comparison == ">" and n == a_rule.minimum_pixels:
            too_small = True
        if too_small:
            continue
        for z in {voxel[0] for voxel in members}:
            part = [voxel for voxel in members if voxel[0] == z]
            look_at = members if a_rule.weight_from == "lesion" else part
            weight = loop_weight(max(float(scan[v]) for v in look_at), a_rule)
            agatston += len(part) * area * weight * spacing_mm[0] / 3.0
        volume += n * area * spacing_mm[0]
        for voxel in members:
            mass += area * spacing_mm[0] * float(scan[voxel]) * calibration / 1000.0
        sizes.append(n)
    return agatston, volume, mass, sizes


@pytest.mark.parametrize("a_rule", RULE_VARIANTS, ids=lambda r: r.name)
def test_fast_scorer_equals_the_slow_loop(a_rule):
    @many
    @given(scans())
    def check(drawn):
        scan, mask = drawn
        fast = kcalc.calcium_score(
            scan, mask, SPACING_MM, rule=a_rule, mass_calibration=0.72
        )
        agatston, volume, mass, sizes = loop_score(scan, mask, SPACING_MM, a_rule, 0.72)
        assert fast.agatston == pytest.approx(agatston, rel=1e-12, abs=1e-12)
        assert fast.volume_mm3 == pytest.approx(volume, rel=1e-12, abs=1e-12)
        assert fast.mass_mg == pytest.approx(mass, rel=1e-12, abs=1e-12)
        assert [lesion.num_pixels for lesion in fast.lesions] == sizes

    check()


@pytest.mark.parametrize("a_rule", RULE_VARIANTS, ids=lambda r: r.name)
@pytest.mark.parametrize("filled", [0.1, 0.7])
def test_fast_scorer_equals_the_slow_loop_on_a_large_random_mask(a_rule, filled):
    rng = np.random.default_rng(7)
    scan = rng.choice(LEVELS_HU, size=(5, 24, 31)).astype(np.float32)
    mask = rng.random(scan.shape) < filled
    fast = kcalc.calcium_score(
        scan, mask, SPACING_MM, rule=a_rule, mass_calibration=1.0
    )
    agatston, volume, mass, sizes = loop_score(scan, mask, SPACING_MM, a_rule, 1.0)
    assert fast.agatston == pytest.approx(agatston)
    assert (fast.volume_mm3, fast.mass_mg) == (
        pytest.approx(volume),
        pytest.approx(mass),
    )
    assert [lesion.num_pixels for lesion in fast.lesions] == sizes
    assert len(sizes) > 3 or filled > 0.5


@pytest.mark.parametrize("name", list(RULES))
def test_score_adds_up_over_its_lesions_and_over_separate_slices(name):
    @many
    @given(scans())
    def check(drawn):
        scan, mask = drawn
        score = kcalc.calcium_score(scan, mask, SPACING_MM, rule=name)
        by_slice = [
            kcalc.calcium_score(
                scan[z : z + 1], mask[z : z + 1], SPACING_MM, rule=name
            ).agatston
            for z in range(len(scan))
        ]
        assert score.agatston == pytest.approx(math.fsum(by_slice))
        parts = [lesion.agatston for lesion in score.lesions]
        assert score.agatston == math.fsum(parts)
        factor = SPACING_MM[0] / 3.0
        for lesion in score.lesions:
            assert lesion.agatston == pytest.approx(
                lesion.area_mm2 * lesion.weight * factor
            )
            assert 130 <= lesion.mean_hu <= lesion.max_hu

    check()


MOVES = {
    "flip of rows": (lambda a: a[:, ::-1], (0, 1, 2)),
    "flip of columns": (lambda a: a[:, :, ::-1], (0, 1, 2)),
    "flip of slices": (lambda a: a[::-1], (0, 1, 2)),
    "quarter turn": (lambda a: np.rot90(a, axes=(1, 2)), (0, 2, 1)),
    "shift": (lambda a: np.pad(a, ((1, 0), (3, 1), (0, 2))), (0, 1, 2)),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("a_rule", RULE_VARIANTS, ids=lambda r: r.name)
def test_score_is_unchanged_by_a(move, a_rule):
    moved, order = MOVES[move]

    @many
    @given(scans())
    def check(drawn):
        scan, mask = drawn
        spacing_mm = (3.0, 0.5, 0.75)
        here = kcalc.calcium_score(scan, mask, spacing_mm, rule=a_rule)
        there = kcalc.calcium_score(
            moved(scan), moved(mask), [spacing_mm[i] for i in order], rule=a_rule
        )
        assert there.agatston == pytest.approx(here.agatston, rel=1e-12)
        assert there.volume_mm3 == pytest.approx(here.volume_mm3, rel=1e-12)
        assert there.num_lesions == here.num_lesions

    check()


@many
@given(scans())
def test_doubling_in_plane_spacing_gives_four_times_the_lesion_area(drawn):
    scan, mask = drawn
    by_pixels = rule("fqm_canon")
    near = kcalc.calcium_score(scan, mask, (3.0, 0.5, 0.5), rule=by_pixels)
    far = kcalc.calcium_score(scan, mask, (3.0, 1.0, 1.0), rule=by_pixels)
    assert [x.area_mm2 for x in far.lesions] == [4 * x.area_mm2 for x in near.lesions]
    assert far.agatston == 4 * near.agatston
    assert far.volume_mm3 == 4 * near.volume_mm3


@pytest.mark.parametrize("name", list(RULES))
def test_score_never_falls_when_calcium_grows_or_brightens(name):
    @many
    @given(scans(), st.integers(1, 300), st.randoms(use_true_random=False))
    def check(drawn, brighter_hu, random):
        scan, mask = drawn
        few = mask.copy()
        for voxel in np.argwhere(mask):
            if random.random() < 0.3:
                few[tuple(voxel)] = False
        facts = {"rule": name, "mass_calibration": 0.8}
        smaller = kcalc.calcium_score(scan, few, SPACING_MM, **facts)
        larger = kcalc.calcium_score(scan, mask, SPACING_MM, **facts)
        brighter = kcalc.calcium_score(
            scan + np.int16(brighter_hu) * mask, mask, SPACING_MM, **facts
        )
        for low, high in ((smaller, larger), (larger, brighter)):
            assert low.agatston <= high.agatston + 1e-9
            assert low.volume_mm3 <= high.volume_mm3 + 1e-9
            assert low.mass_mg <= high.mass_mg + 1e-9

    check()


@many
@given(shapes, st.sampled_from(LEVELS_HU))
def test_score_of_nothing_is_zero(shape, hu):
    scan = np.full(shape, hu, np.int16)
    score = kcalc.calcium_score(scan, np.zeros(shape, bool), SPACING_MM)
    assert (score.agatston, score.volume_mm3, score.lesions) == (0.0, 0.0, ())


@many
@given(scans())
def test_per_vessel_totals_add_up_whatever_the_map(drawn):
    scan, mask = drawn
    labels = np.indices(scan.shape).sum(axis=0) % 5
    score = kcalc.calcium_score(scan, mask, SPACING_MM, vessels=labels)
    assert score.per_vessel is not None
    totals = score.per_vessel.values()
    assert sum(v.num_lesions for v in totals) == score.num_lesions
    assert math.fsum(v.agatston for v in totals) == pytest.approx(score.agatston)
    assert math.fsum(v.volume_mm3 for v in totals) == pytest.approx(score.volume_mm3)


def test_lesions_come_in_scan_order_and_are_numbered_from_one():
    rng = np.random.default_rng(3)
    scan = rng.choice(LEVELS_HU, size=(4, 30, 30)).astype(np.int16)
    dense = replace(rule("agatston_1990"), minimum_area_mm2=0.0, connectivity=4)
    score = kcalc.calcium_score(scan, scan > 250, SPACING_MM, rule=dense)
    slices = [lesion.slice_index for lesion in score.lesions]
    assert slices == sorted(slices)
    assert [x.number for x in score.lesions] == list(range(1, score.num_lesions + 1))
