"""Splits: deterministic, by patient, never one patient in two."""

from __future__ import annotations

import pytest

from kcalc import InputError
from kcalc.data.splits import check_no_leak, split_patients

PATIENTS = [f"patient-{index}" for index in range(40)]


def test_the_order_of_patients_and_repetitions_do_not_matter():
    forward = split_patients(PATIENTS, seed=3)
    backward = split_patients([*reversed(PATIENTS), PATIENTS[0]], seed=3)
    assert forward == backward


def test_the_shares_are_the_fractions():
    splits = list(split_patients(PATIENTS, fractions=(0.5, 0.25, 0.25)).values())
    assert [splits.count(s) for s in ("train", "validation", "test")] == [20, 10, 10]


def test_another_seed_gives_another_split():
    assert split_patients(PATIENTS, seed=0) != split_patients(PATIENTS, seed=1)


def test_every_wanted_split_gets_a_patient():
    splits = split_patients(["a", "b", "c"], fractions=(0.98, 0.01, 0.01))
    assert sorted(splits.values()) == ["test", "train", "validation"]


def test_a_fraction_of_zero_gets_nobody():
    assert "test" not in split_patients(PATIENTS, fractions=(0.9, 0.1, 0.0)).values()


def test_fractions_that_are_no_shares_are_refused():
    with pytest.raises(ValueError, match=r"sum to 1. Received: fractions=\(0.5, 0.1"):
        split_patients(PATIENTS, fractions=(0.5, 0.1, 0.1))


def test_a_patient_in_two_splits_is_refused_without_being_named():
    with pytest.raises(InputError, match=r"LEAK.*'train' and 'test'") as caught:
        check_no_leak([("Jane", "train"), ("Joe", "test"), ("Jane", "test")])
    assert "Jane" not in str(caught.value)
