"""Dice of an image, of all images pooled, and by quarter of the volume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcalc.evaluation import (
    EqualBins,
    ImageOverlap,
    UndefinedStatisticError,
    dice,
    dice_figures,
    equal_bins,
    pooled_dice,
    volume_groups,
)


def image(case: str, reference: int, result: int, both: int) -> ImageOverlap:
    """Return the counts of an image with voxels of half a cubic millimetre."""
    return ImageOverlap(
        case=case,
        patient=f"patient {case}",
        voxel_mm3=0.5,
        voxels_reference=reference,
        voxels_result=result,
        voxels_both=both,
    )


SIX = [
    image("a", 0, 0, 0),  # 1
    image("b", 0, 4, 0),  # 0
    image("c", 10, 10, 5),  # 0.5
    image("d", 20, 20, 18),  # 0.9
    image("e", 30, 10, 10),  # 0.5
    image("f", 40, 60, 40),  # 0.8
]


def test_dice_figures_by_hand():
    got = dice_figures(SIX)
    assert got["images"] == 6
    assert got["pooled"] == pytest.approx(2 * 73 / (100 + 104))
    assert got["mean"] == pytest.approx(3.7 / 6)
    # squares 1 + 0 + 0.25 + 0.81 + 0.25 + 0.64 = 2.95
    assert got["sd"] == pytest.approx(((2.95 - 3.7**2 / 6) / 5) ** 0.5)
    assert [part["images"] for part in got["by_quarter"].values()] == [2, 2, 1, 1]
    assert [part["mean_dice"] for part in got["by_quarter"].values()] == pytest.approx(
        [0.5, 0.7, 0.5, 0.8]
    )
    assert [part["to_mm3"] for part in got["by_quarter"].values()] == [0, 10, 15, 20]
    assert (got["empty_references"], got["of_these_empty_results"]) == (2, 1)


@pytest.mark.parametrize(
    ("counts", "value"),
    [((0, 0, 0), 1), ((0, 7, 0), 0), ((7, 0, 0), 0), ((4, 4, 4), 1)],
)
def test_the_value_of_empty_masks_is_stated(counts, value):
    assert dice(*counts) == value
    assert pooled_dice([image("a", *counts)]) == value


def test_a_single_image_has_no_spread_and_no_interval():
    got = dice_figures([image("a", 4, 4, 2)])
    assert (got["sd"], got["by_quarter"], got["mean_interval"]) == (None, None, None)
    assert got["mean"] == 0.5


def test_an_interval_is_over_patients_and_holds_the_value():
    got = dice_figures(SIX)
    for name in ("pooled", "mean"):
        low, high = got[f"{name}_interval"]
        assert 0 <= low < got[name] < high <= 1
    one_patient = [replace(row, patient="p") for row in SIX]
    assert dice_figures(one_patient)["mean_interval"] is None


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="at least one image"):
        dice_figures([])


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((3, 5, 4), "smaller mask"),
        ((3, 5, -1), "smaller mask"),
        ((-1, 5, -1), "smaller"),
    ],
)
def test_counts_that_no_masks_have_are_refused(counts, words):
    with pytest.raises(ValueError, match=words):
        image("a", *counts)


def test_a_voxel_has_a_volume():
    with pytest.raises(ValueError, match="above 0"):
        replace(SIX[0], voxel_mm3=0.0)


def test_images_of_one_volume_are_told_apart_by_name():
    rows = [image(name, 0, 0, 0) for name in "dbca"]
    assert [group[0].case for group in volume_groups(rows)] == list("abcd")
    with pytest.raises(ValueError, match="at least one image a group"):
        volume_groups(rows[:3])


COUNTS = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60)).map(
    lambda n: (n[0] + n[2], n[1] + n[2], n[2])
)


@settings(max_examples=50, deadline=None)
@given(COUNTS)
def test_dice_is_symmetric_and_within_bounds(counts):
    reference, result, both = counts
    value = dice(reference, result, both)
    assert 0 <= value <= 1
    if reference and result:
        assert dice(result, reference, both) == value


@settings(max_examples=50, deadline=None)
@given(st.lists(COUNTS, min_size=4, max_size=9), st.randoms())
def test_figures_do_not_depend_on_the_order_of_images(counts, random):
    rows = [image(str(i), *one) for i, one in enumerate(counts)]
    got = dice_figures(rows)
    random.shuffle(rows)
    other = dice_figures(rows)
    assert other["pooled"] == got["pooled"]
    assert other["mean"] == pytest.approx(got["mean"])
    assert [
        part["mean_dice"] for part in other["by_quarter"].values()
    ] == pytest.approx([part["mean_dice"] for part in got["by_quarter"].values()])
    sizes = [part["images"] for part in got["by_quarter"].values()]
    assert sum(sizes) == len(rows)
    assert max(sizes) - min(sizes) <= 1


def test_bins_of_the_histogram_hold_equally_many_images():
    reference = np.array([0, 0, 0, 10, 20, 40])
    result = np.array([0, 0, 5, 12, 44, 30])
    got = equal_bins(reference, result, 3)
    assert got.counts.tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]
    assert got.reference_edges.tolist() == [0, 0, 15, 40]
    assert got.result_edges.tolist() == [0, 2.5, 21, 44]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=5, max_size=40)
)
def test_rows_and_columns_of_the_histogram_are_equally_full(pairs):
    reference, result = np.array(pairs).T
    got: EqualBins = equal_bins(reference, result, 5)
    for axis in (0, 1):
        filled = got.counts.sum(axis=axis)
        assert filled.max() - filled.min() <= 1
    assert got.counts.sum() == len(pairs)
    assert (np.diff(got.reference_edges) >= 0).all()
    same = equal_bins(reference, reference, 5).counts
    assert np.array_equal(same, np.diag(np.diag(same)))
    assert np.array_equal(equal_bins(result, reference, 5).counts, got.counts.T)


def test_a_histogram_needs_an_image_a_bin():
    with pytest.raises(UndefinedStatisticError, match="at least 5"):
        equal_bins([1, 2], [1, 2], 5)
    with pytest.raises(ValueError, match="num_bins"):
        equal_bins([1, 2], [1, 2], 0)
