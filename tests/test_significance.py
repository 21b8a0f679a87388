"""Paired and Welch's t-test, and the bootstrap over patients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcalc.evaluation import (
    UndefinedStatisticError,
    bootstrap_interval,
    paired_t_test,
    sums_by_patient,
    welch_t_test,
)

SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
"""Student's sleep data, 1908: extra hours of ten patients under two drugs."""


def test_paired_t_test_of_students_sleep_data():
    # As R's t.test prints them: t = -4.0621, df = 9, p = 0.002833.
    got = paired_t_test(SLEEP_1, SLEEP_2)
    assert got.t == pytest.approx(-4.0621, abs=5e-5)
    assert got.p == pytest.approx(0.002833, abs=5e-7)
    assert (got.degrees_of_freedom, got.size) == (9, (10, 10))
    assert got.difference == pytest.approx(-1.58)
    assert (got.low, got.high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-6)


def test_welch_t_test_of_students_sleep_data():
    # R: t = -1.8608, df = 17.776, p = 0.07939, interval -3.3654832 to 0.2054832.
    got = welch_t_test(SLEEP_1, SLEEP_2)
    assert got.t == pytest.approx(-1.8608, abs=5e-5)
    assert got.degrees_of_freedom == pytest.approx(17.776, abs=5e-4)
    assert got.p == pytest.approx(0.07939, abs=5e-6)
    assert (got.low, got.high) == pytest.approx((-3.3654832, 0.2054832), abs=1e-6)


def test_methods_that_agree_on_every_image_do_not_differ():
    got = paired_t_test([0.5, 0.7], [0.5, 0.7])
    assert (got.t, got.p, got.difference) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("test", "first", "second"),
    [
        (paired_t_test, [0.5], [0.7]),
        (paired_t_test, [0.5, 0.6, 0.9], [0.4, 0.5, 0.8]),
        (welch_t_test, [0.5], [0.7, 0.8]),
        (welch_t_test, [0.5, 0.5], [0.7, 0.7]),
    ],
)
def test_a_test_without_a_value_is_refused_as_undefined(test, first, second):
    with pytest.raises(UndefinedStatisticError):
        test(first, second)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [([1, 2], [1, 2, 3], "one length"), ([1, math.nan], [1, 2], "finite")],
)
def test_what_a_paired_test_refuses(first, second, words):
    with pytest.raises(ValueError, match=words):
        paired_t_test(first, second)


PAIRS = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=12
).map(np.array)


@settings(max_examples=50, deadline=None)
@given(PAIRS, st.randoms())
def test_the_t_test_turns_round_and_knows_no_order(pairs, random):
    try:
        got = paired_t_test(pairs[:, 0], pairs[:, 1])
    except UndefinedStatisticError:
        return
    assert 0 <= got.p <= 1
    turned = paired_t_test(pairs[:, 1], pairs[:, 0])
    assert (turned.t, turned.p) == pytest.approx((-got.t, got.p))
    order = list(range(len(pairs)))
    random.shuffle(order)
    shuffled = paired_t_test(pairs[order, 0], pairs[order, 1])
    assert shuffled.p == pytest.approx(got.p, rel=1e-6, abs=1e-12)


def test_differences_too_small_to_be_squared_have_no_test():
    with pytest.raises(UndefinedStatisticError, match="floating point"):
        paired_t_test([0.0, 0.0], [0.0, 5e-324])


def test_images_of_a_patient_are_added_up():
    got = sums_by_patient(["b", "a", "b"], [[1, 10], [2, 20], [3, 30]])
    assert got.tolist() == [[2, 20], [4, 40]]


def _mean(totals):
    return totals[:, 0] / totals[:, 1]


def test_the_bootstrap_of_a_mean_is_near_students_interval():
    values = np.random.default_rng(5).normal(3, 1, 200)
    totals = sums_by_patient([str(i) for i in range(200)], [(v, 1) for v in values])
    low, high = bootstrap_interval(totals, _mean)
    half = 1.96 * values.std(ddof=1) / math.sqrt(200)
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)
    assert bootstrap_interval(totals, _mean) == [low, high]
    assert bootstrap_interval(totals, _mean, seed=1) != [low, high]


def test_patients_are_drawn_not_images():
    # Two patients of three equal images each: a resample is one, the other or both.
    totals = sums_by_patient(["a"] * 3 + ["b"] * 3, [(0, 1)] * 3 + [(1, 1)] * 3)
    assert bootstrap_interval(totals, _mean) == [0.0, 1.0]


def test_one_patient_and_values_of_nothing_have_no_interval():
    assert bootstrap_interval(np.array([[1.0, 2.0]]), _mean) is None
    with np.errstate(invalid="ignore"):
        assert bootstrap_interval(np.zeros((5, 2)), _mean) is None
