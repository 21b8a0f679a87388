"""fill_outline: against a loop over every pixel, and at its edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_files import square

import kcalc
from kcalc.io.outlines import Outline, fill_outline, paint_outlines

SHAPE = (14, 17)


def filled(points: np.ndarray, shape=SHAPE) -> np.ndarray:
    (row, column), inside = fill_outline(np.asarray(points, float), shape)
    mask = np.zeros(shape, bool)
    mask[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return mask


def slow(points: np.ndarray, shape=SHAPE) -> np.ndarray:
    """Return the even-odd rule by one loop over pixels and one over edges."""
    mask = np.zeros(shape, bool)
    for row, column in np.ndindex(*shape):
        for (y0, x0), (y1, x1) in zip(points, np.roll(points, -1, 0), strict=True):
            crosses = (y0 <= row) != (y1 <= row)
            if crosses and column < x0 + (row - y0) / (y1 - y0) * (x1 - x0):
                mask[row, column] = not mask[row, column]
    return mask


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-9, 1400).map(lambda v: v / 100 + 0.0037),
            st.integers(-9, 1700).map(lambda v: v / 100 + 0.0051),
        ),
        min_size=3,
        max_size=9,
    )
)
def test_off_the_centres_it_is_the_even_odd_rule(points):
    points = np.array(points)
    np.testing.assert_array_equal(filled(points), slow(points))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 5), st.integers(1, 5))
def test_a_rectangle_on_the_centres_holds_its_edge(y: int, x: int, h: int, w: int):
    corners = [(y, x), (y, x + w), (y + h, x + w), (y + h, x)]
    expected = np.zeros(SHAPE, bool)
    expected[y : y + h + 1, x : x + w + 1] = True
    for begin in range(4):
        turned = np.roll(corners, begin, axis=0)
        np.testing.assert_array_equal(filled(turned), expected)
        np.testing.assert_array_equal(filled(turned[::-1]), expected)


def test_the_contour_of_a_mask_gives_the_mask_again():
    # The boundary voxels of this shape, as contour tracers list them.
    mask = np.zeros(SHAPE, bool)
    for row, (first, last) in enumerate([(5, 5), (4, 7), (3, 9), (4, 8), (6, 6)], 3):
        mask[row, first : last + 1] = True
    points = [(3, 5), (4, 7), (5, 9), (6, 8), (7, 6), (6, 4), (5, 3), (4, 4)]
    np.testing.assert_array_equal(filled(np.array(points)), mask)


def test_a_sharp_tip_on_a_centre_belongs_to_it():
    assert filled(np.array([(3.0, 1.0), (4.0, 16.0), (4.5, 1.0)]))[4, 16]


def test_it_is_cut_at_the_image():
    assert filled(square(-0.9, -0.9, 2.0)).sum() == 4
    assert filled(square(12.6, 15.6, 1.3)).sum() == 1


def test_an_outline_between_the_centres_is_empty_and_told():
    outline = Outline(1, 0, square(2.2, 2.2, 0.5))
    array, findings = paint_outlines([outline], {1: 5}, (1, *SHAPE), Path("x"))
    assert not array.any()
    assert [f.code for f in findings] == ["LABEL_SKIPPED"]


def test_more_pixels_than_an_annotation_has_are_refused():
    outlines = [Outline(1, 0, square(0, 0, 2000.0)) for _ in range(40)]
    with pytest.raises(kcalc.InputError, match="BUDGET"):
        paint_outlines(outlines, {1: 1}, (1, 2048, 2048), Path("x"))


def test_a_region_of_label_0_is_left_out():
    outline = Outline(1, 0, square(2, 2))
    array, findings = paint_outlines([outline], {1: 0}, (1, *SHAPE), Path("x"))
    assert not array.any()
    assert findings == []
