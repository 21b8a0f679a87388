"""A short run of the fuzzer: damaged files end in a refusal or are read (fault C18).

The long runs, and how to repeat them, stand in the README.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fuzz_readers import Outcome, Seed, every_bit_and_cut, mutated, outcome_of, seeds
from fuzz_seeds import WRITERS

from kcalc.errors import InputError

INPUTS_A_SEED = 12


@pytest.fixture(scope="module")
def good_inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Seed]:
    return seeds(tmp_path_factory.mktemp("seeds"))


def _of_kind(found: list[Seed], kind: str) -> Iterator[tuple[Seed, bytes]]:
    family = [one for one in found if one.kind == kind]
    for place, one in enumerate(family):
        for number in range(INPUTS_A_SEED):
            rng = np.random.default_rng([7, place, number])
            other = family[int(rng.integers(0, len(family)))]
            yield one, mutated(rng, one.content, other.content)


def test_c18_twenty_small_dicom_files_and_every_other_format_are_damaged() -> None:
    assert len(WRITERS["dicom"]) == 20
    assert set(WRITERS) == {"dicom", "nifti", "metaimage", "plist", "labels"}


def test_every_good_input_is_read_before_it_is_damaged(good_inputs) -> None:
    for one in good_inputs:
        assert one.try_with(one.content) == Outcome("ok"), one.name


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_c18_damaged_files_end_in_a_refusal_or_are_read(good_inputs, kind) -> None:
    words = set()
    for one, content in _of_kind(good_inputs, kind):
        outcome = one.try_with(content)
        assert outcome.failure == "", f"{one.name}: {outcome.failure}"
        words.add(outcome.word)
        one.path.write_bytes(one.content)
    assert len(words) > 1


@pytest.mark.slow
def test_c18_every_bit_and_every_cut_of_a_slice(good_inputs) -> None:
    one = next(one for one in good_inputs if one.name == "implicit")
    for number, content in enumerate(every_bit_and_cut(one.content)):
        if number % 3:
            continue
        assert one.try_with(content).failure == ""


def test_the_fuzzer_sees_what_is_no_refusal() -> None:
    def refused() -> None:
        raise InputError("GEOM_GAP", "there is a gap")

    def broken() -> None:
        raise KeyError("x")

    assert outcome_of(refused) == Outcome("GEOM_GAP")
    assert outcome_of(lambda: None) == Outcome("ok")
    found = outcome_of(broken)
    assert found.word == "KeyError"
    assert "raise KeyError" in found.failure


def test_the_fuzzer_sees_an_input_that_takes_long(monkeypatch) -> None:
    clock = iter((0.0, 5.5))
    monkeypatch.setattr(time, "process_time", lambda: next(clock))
    assert outcome_of(lambda: None).word == "slow"


def test_equal_numbers_give_equal_damage() -> None:
    content = Path(__file__).read_bytes()
    one, other = (mutated(np.random.default_rng(3), content, b"") for _ in range(2))
    assert one == other != content


def test_every_bit_and_cut_are_all_different() -> None:
    damaged = list(every_bit_and_cut(b"abc"))
    assert len(damaged) == len(set(damaged)) == 3 * 8 + 3
