"""Which voxels are supervised, and how many of each class there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kcalc import InputError
from kcalc.data import Case, CaseStore, count_supervised, supervised_label
from kcalc.data.supervision import SupervisedVoxels


def _store(folder: Path) -> CaseStore:
    cases = []
    for name, split, num_bone in (
        ("a", "train", 6),
        ("b", "train", 3),
        ("c", "test", 9),
    ):
        image = np.full((3, 8, 8), 40, np.int16)
        label = np.zeros((3, 8, 8), np.uint8)
        image[1, 0, :num_bone] = 800
        image[2, 4, 4], label[2, 4, 4] = 131, 5
        image[2, 5, 5], label[2, 5, 5] = 130, 5
        cases.append(Case(name, image, label, (1.0, 0.5, 0.5), name, split))
    return CaseStore.write(folder / "cases.h5", cases)


def test_only_voxels_above_the_threshold_are_supervised() -> None:
    hu = np.array([[-1000, 130, 131], [131, 400, 3071]], np.int16)
    label = np.array([[1, 1, 1], [0, 7, 0]], np.uint8)
    found = supervised_label(hu, label)
    assert found.dtype == np.uint8
    assert found.tolist() == [[255, 255, 1], [0, 1, 0]]
    assert supervised_label(hu, label, threshold_hu=399.5).tolist() == [
        [255, 255, 255],
        [255, 1, 0],
    ]


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"hu \(2,\), label \(3,\)"):
        supervised_label(np.zeros(2), np.zeros(3))


def test_the_ratio_of_a_split_is_counted(tmp_path: Path) -> None:
    store = _store(tmp_path)
    counts = count_supervised(store)
    assert counts == SupervisedVoxels(positive=2, negative=9)
    assert counts.negatives_per_positive == 4.5
    assert str(counts) == "supervised voxels: 2 positive, 9 negative (1 : 4)"
    assert count_supervised(store, "test") == SupervisedVoxels(1, 8)
    # At exactly 130 HU once the threshold is below it.
    assert count_supervised(store, threshold_hu=129.0).positive == 4


def test_a_split_without_calcium_has_no_finite_ratio(tmp_path: Path) -> None:
    counts = SupervisedVoxels(0, 7)
    assert counts.negatives_per_positive == float("inf")
    assert str(counts) == "supervised voxels: 0 positive, 7 negative (no positive)"
    with pytest.raises(InputError, match="STORE_SPLIT"):
        count_supervised(_store(tmp_path), "validation")
