"""Class confusion, Cohen's kappa and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kcalc.evaluation import (
    UndefinedStatisticError,
    class_confusion,
    class_figures,
    cohen_kappa,
)
from kcalc.scoring.risk import RISK_CATEGORIES

WEIGHTINGS = [None, "linear", "quadratic"]


def test_rows_are_the_reference_and_columns_the_result():
    counts = class_confusion(["a", "a", "b"], ["a", "b", "b"], ["a", "b", "c"])
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_kappa_of_fleiss_levin_and_paik():
    # Statistical Methods for Rates and Proportions, table 18.1, two raters of 100
    # patients (psychotic, neurotic, organic): kappa 0.68.
    counts = [[75, 1, 4], [5, 4, 1], [0, 0, 10]]
    assert cohen_kappa(counts) == pytest.approx(0.68, abs=0.005)


def test_weighted_kappas_by_hand():
    # Margins (3, 1, 2) and (2, 2, 2) of 6 cases.
    counts = [[2, 0, 1], [0, 1, 0], [0, 1, 1]]
    # Expected agreement (3 x 2 + 1 x 2 + 2 x 2) / 36 = 1 / 3, observed 4 / 6.
    assert cohen_kappa(counts) == pytest.approx(0.5)
    # Linear: observed 2 + 1 = 3 steps; expected (3 (2 + 4) + (2 + 2) + 2 (4 + 2)) / 6.
    assert cohen_kappa(counts, "linear") == pytest.approx(1 - 3 / (34 / 6))
    # Quadratic: 4 + 1 = 5; expected (3 (2 + 8) + (2 + 2) + 2 (8 + 2)) / 6 = 9.
    assert cohen_kappa(counts, "quadratic") == pytest.approx(1 - 5 / 9)


@pytest.mark.parametrize("counts", [[[0, 0], [0, 0]], [[7, 0], [0, 0]]])
def test_kappa_without_a_value_is_refused_as_undefined(counts):
    with pytest.raises(UndefinedStatisticError, match="two classes"):
        cohen_kappa(counts)


@pytest.mark.parametrize(
    ("counts", "weights", "words"),
    [
        ([[1, 2, 3], [1, 2, 3]], None, "square"),
        ([[1, -2], [1, 2]], None, "square"),
        ([[1, 2], [1, 2]], "cubic", "weights must be"),
    ],
)
def test_what_kappa_refuses(counts, weights, words):
    with pytest.raises(ValueError, match=words):
        cohen_kappa(counts, weights)


COUNTS = hnp.arrays(np.int64, (4, 4), elements=st.integers(0, 20))


@settings(max_examples=50, deadline=None)
@given(COUNTS, st.sampled_from(WEIGHTINGS))
def test_kappa_is_that_of_scikit_learn(counts, weights):
    from sklearn.metrics import cohen_kappa_score

    try:
        got = cohen_kappa(counts, weights)
    except UndefinedStatisticError:
        return
    reference, result = np.indices(counts.shape).reshape(2, -1)
    expected = cohen_kappa_score(
        reference,
        result,
        labels=range(4),
        weights=weights,
        sample_weight=counts.ravel(),
    )
    assert got == pytest.approx(expected, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(COUNTS, st.sampled_from(WEIGHTINGS))
def test_kappa_is_symmetric_bounded_and_free_of_scale(counts, weights):
    try:
        got = cohen_kappa(counts, weights)
    except UndefinedStatisticError:
        return
    assert got <= 1
    assert cohen_kappa(counts.T, weights) == pytest.approx(got, abs=1e-9)
    assert cohen_kappa(3 * counts, weights) == pytest.approx(got, abs=1e-9)
    if weights is None:
        assert got >= -1
        order = [2, 0, 3, 1]
        assert cohen_kappa(counts[order][:, order]) == pytest.approx(got, abs=1e-9)


def test_class_figures_of_forty_patients():
    reference = ["0"] * 10 + ["1-10"] * 10 + ["11-100"] * 10 + [">400"] * 10
    result = ["0"] * 9 + ["1-10"] * 11 + ["11-100"] * 10 + ["101-400"] * 4
    result += [">400"] * 6
    patients = [str(i) for i in range(40)]
    got = class_figures(reference, result, RISK_CATEGORIES, patients)
    assert got["accuracy"] == 35 / 40
    assert got["within_one_class"] == 1.0
    assert got["kappa_linear"] == cohen_kappa(got["counts"], "linear")
    low, high = got["kappa_linear_interval"]
    assert low < got["kappa_linear"] < high < 1
    # Normal approximation: 0.875 +- 1.96 sqrt(0.875 x 0.125 / 40).
    assert got["accuracy_interval"] == pytest.approx([0.7725, 0.9775], abs=0.026)


def test_cases_of_one_class_have_no_kappa():
    got = class_figures(["0", "0"], ["0", "0"], RISK_CATEGORIES, ["a", "b"])
    assert (got["kappa_linear"], got["kappa_linear_interval"]) == (None, None)
    assert got["accuracy"] == 1


@pytest.mark.parametrize(
    ("reference", "result", "patients", "words"),
    [
        (["0"], ["0", "0"], ["a"], "1 and 2 cases"),
        (["0"], ["few"], ["a"], "few"),
        ([], [], [], "at least one case"),
        (["0"], ["0"], [], "0 patients"),
    ],
)
def test_cases_that_cannot_be_classed_are_refused(reference, result, patients, words):
    with pytest.raises(ValueError, match=words):
        class_figures(reference, result, RISK_CATEGORIES, patients)
