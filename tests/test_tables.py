"""Sampling tables: which voxels of a case patches are drawn round."""

from __future__ import annotations

import numpy as np

from kcalc.data.tables import MAX_SAMPLED_VOXELS, sample_imitators, sample_voxels

SPACING_MM = (3.0, 0.5, 0.5)


def _rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_imitators_are_as_large_as_calcium():
    hard = np.zeros((10, 200, 200), bool)
    hard[2, 10:14, 10:14] = True  # 16 voxels, 12 mm3: an imitator
    hard[5, 50, 50:53] = True  # 3 voxels: noise
    hard[:, 100:200, 100:200] = True  # 75 000 mm3: skeleton
    found = sample_imitators(hard, SPACING_MM, _rng())
    assert found.shape == (16, 3)
    assert set(found[:, 0]) == {2}
    assert found[:, 1:].min() >= 10
    assert found[:, 1:].max() <= 13


def test_a_large_imitator_counts_no_more_than_a_small_one():
    hard = np.zeros((4, 100, 100), bool)
    hard[1, 0:4, 0:4] = True
    hard[2, 40:80, 40:80] = True
    found = sample_imitators(hard, SPACING_MM, _rng())
    assert (found[:, 0] == 1).sum() == (found[:, 0] == 2).sum() == 16


def test_every_sampled_voxel_is_in_the_mask_and_none_twice():
    hard = np.random.default_rng(0).random((6, 60, 60)) > 0.7
    for table in (
        sample_imitators(hard, SPACING_MM, _rng()),
        sample_voxels(hard, _rng()),
    ):
        assert hard[tuple(table.T)].all()
        assert len(np.unique(table, axis=0)) == len(table) <= MAX_SAMPLED_VOXELS


def test_nothing_gives_an_empty_table():
    nothing = np.zeros((2, 8, 8), bool)
    assert sample_imitators(nothing, SPACING_MM, _rng()).shape == (0, 3)
    assert sample_voxels(nothing, _rng()).shape == (0, 3)
