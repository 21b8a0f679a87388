"""Intraclass correlation and Bland-Altman, against published worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kcalc.evaluation import (
    UndefinedStatisticError,
    bland_altman,
    icc,
    number_agreement,
)

SHROUT_FLEISS = [
    [9, 2, 5, 8],
    [6, 1, 3, 2],
    [8, 4, 6, 8],
    [7, 1, 2, 6],
    [10, 5, 6, 9],
    [6, 2, 4, 7],
]
"""Table 2 of Shrout and Fleiss 1979: six targets, four judges."""

LARGE_METER = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478,
               178, 423, 427]  # fmt: skip
MINI_METER = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477,
              259, 350, 451]  # fmt: skip
"""Peak flow by two meters, first readings: Bland and Altman 1986, table 1."""

RATINGS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(3, 8), st.integers(2, 4)),
    elements=st.integers(0, 50).map(float),
)


@pytest.mark.parametrize(
    ("variant", "value", "low", "high"),
    [("2,1", 0.290, 0.019, 0.761), ("3,1", 0.715, 0.342, 0.946)],
)
def test_icc_of_shrout_and_fleiss(variant, value, low, high):
    # 1979, table 4: 0.29 and 0.71; the intervals as R's psych and irr print them.
    got = icc(SHROUT_FLEISS, variant)
    assert (got.subjects, got.raters, got.variant) == (6, 4, variant)
    assert [got.value, got.low, got.high] == pytest.approx([value, low, high], abs=6e-4)


def test_icc_by_hand_from_the_mean_squares():
    # Rows have the means 2, 3, 5.5, columns 3 and 4, all 3.5. MSR = 2 (1.5^2 + 0.5^2
    # + 2^2) / 2 = 6.5; MSC = 3 (0.5^2 + 0.5^2) / 1 = 1.5; residuals -0.5, 0.5, 0.5,
    # -0.5, 0, 0, so MSE = 1 / 2.
    table = [[1, 3], [3, 3], [5, 6]]
    assert icc(table, "3,1").value == pytest.approx((6.5 - 0.5) / (6.5 + 0.5))
    assert icc(table, "2,1").value == pytest.approx(
        (6.5 - 0.5) / (6.5 + 0.5 + 2 * (1.5 - 0.5) / 3)
    )


def test_a_constant_difference_is_consistent_but_not_absolute_agreement():
    table = [[1, 6], [2, 7], [3, 8], [9, 14]]
    consistent, absolute = icc(table, "3,1"), icc(table, "2,1")
    assert (consistent.value, consistent.low, consistent.high) == (1.0, 1.0, 1.0)
    assert absolute.value < 0.6
    assert absolute.low < absolute.value < absolute.high


def test_two_raters_who_agree_on_all_have_icc_one():
    got = icc([[0.1, 0.1], [0.7, 0.7], [33.3, 33.3]], "2,1")
    assert (got.value, got.low, got.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("table", "variant"),
    [
        ([[0, 0], [0, 0], [0, 0]], "2,1"),
        ([[1, 5], [1, 5]], "3,1"),
        ([[3, 4]], "2,1"),
        ([[0, 1], [1, 0]], "2,1"),
    ],
)
def test_icc_without_a_value_is_refused_as_undefined(table, variant):
    with pytest.raises(UndefinedStatisticError):
        icc(table, variant)


@pytest.mark.parametrize(
    ("table", "variant", "words"),
    [
        ([[1, 2], [3, np.nan]], "2,1", "finite"),
        ([1, 2, 3], "2,1", "2 axes"),
        ([[1], [2]], "2,1", "two raters"),
        ([[1, 2], [3, 4]], "1,1", "variant must be"),
    ],
)
def test_ratings_that_are_no_table_are_refused(table, variant, words):
    with pytest.raises(ValueError, match=words):
        icc(table, variant)


@settings(max_examples=50, deadline=None)
@given(RATINGS, st.sampled_from(["2,1", "3,1"]), st.randoms())
def test_icc_does_not_depend_on_order_shift_or_unit(table, variant, random):
    try:
        got = icc(table, variant)
    except UndefinedStatisticError:
        return
    assert got.value <= 1
    rows, columns = list(range(len(table))), list(range(table.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    other = icc(3 * table[rows][:, columns] + 7, variant)
    assert other.value == pytest.approx(got.value, abs=1e-9)
    assert [other.low, other.high] == pytest.approx([got.low, got.high], abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(RATINGS)
def test_the_interval_of_icc_3_1_holds_its_value(table):
    try:
        got = icc(table, "3,1")
    except UndefinedStatisticError:
        return
    assert got.low - 1e-9 <= got.value <= got.high + 1e-9
    assert icc(table, "3,1", confidence=0.5).low >= got.low - 1e-9


def test_bland_altman_of_the_peak_flow_meters():
    # 1986: mean -2.1 (large minus mini), SD 38.8, interval of the bias -22.0 to 17.8.
    got = bland_altman(MINI_METER, LARGE_METER)
    assert got.pairs == 17
    assert [got.bias, got.sd] == pytest.approx([-2.1, 38.8], abs=0.05)
    assert got.bias_interval == pytest.approx((-22.0, 17.8), abs=0.1)
    assert got.low == pytest.approx(-2.1 - 1.96 * 38.8, abs=0.1)


def test_intervals_of_the_limits_as_bland_and_altman_print_them_in_1999():
    # Blood pressure of 85 subjects, observer J minus machine S: bias -16.29, SD 19.61,
    # limits -54.7 (-61.9 to -47.5) and 22.1 (14.9 to 29.4), bias -20.5 to -12.1.
    shape = np.linspace(-1, 1, 85)
    difference = -16.29 + 19.61 * shape / shape.std(ddof=1)
    got = bland_altman(np.zeros(85), difference)
    assert [got.low, got.high] == pytest.approx([-54.7, 22.1], abs=0.1)
    assert got.bias_interval == pytest.approx((-20.5, -12.1), abs=0.1)
    assert got.low_interval == pytest.approx((-61.9, -47.5), abs=0.1)
    assert got.high_interval == pytest.approx((14.9, 29.4), abs=0.1)


def test_the_log_scale_tells_ratios():
    # (x + 1) doubles in every pair.
    got = bland_altman([0, 9, 99], [1, 19, 199], scale="log1p")
    assert got.bias == pytest.approx(np.log(2))
    plain = got.to_dict()
    assert plain["ratio"] == pytest.approx(2)
    assert plain["ratio_limits"] == pytest.approx([2, 2])
    assert "ratio" not in bland_altman([0, 9], [1, 19]).to_dict()


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.just(2), st.integers(2, 20)),
        elements=st.floats(0, 1e4),
    )
)
def test_bland_altman_turns_round_with_its_readers(pair):
    got, turned = bland_altman(*pair), bland_altman(pair[1], pair[0])
    assert turned.bias == pytest.approx(-got.bias)
    assert (turned.low, turned.high) == pytest.approx((-got.high, -got.low))
    assert got.low <= got.bias <= got.high
    assert got.low_interval[0] <= got.low <= got.low_interval[1]


@pytest.mark.parametrize(
    ("arguments", "keywords", "words"),
    [
        (([1, 2], [1, 2, 3]), {}, "one length"),
        (([1, 2], [1, np.inf]), {}, "finite"),
        (([-1, 2], [1, 2]), {"scale": "log1p"}, "at least 0"),
        (([1, 2], [1, 2]), {"scale": "log"}, "scale must be"),
        (([1, 2], [1, 2]), {"confidence": 95}, "between 0 and 1"),
    ],
)
def test_what_bland_altman_refuses(arguments, keywords, words):
    with pytest.raises(ValueError, match=words):
        bland_altman(*arguments, **keywords)


def test_one_pair_has_no_limits():
    with pytest.raises(UndefinedStatisticError, match="at least 2"):
        bland_altman([1], [2])


def test_numbers_without_a_statistic_are_none_in_a_table():
    got = number_agreement([0, 0], [0, 0])
    assert got["icc_2_1"] is None
    assert got["icc_3_1"] is None
    assert got["bland_altman"]["bias"] == 0
    assert set(number_agreement([5], [6]).values()) == {None}
