"""Exact, bounded inference with networks of valid convolutions, and the paper's."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcalc.errors import ModelError
from kcalc.inference import (
    ValidGeometry,
    predict_averaged,
    predict_exact,
    residual_dropout_geometry,
    valid_run,
)
from kcalc.inference.tiling import exact_tiles
from kcalc.models import residual_dropout_fcn
from kcalc.preparation import InputSpec

SPEC = InputSpec(window_hu=(-1000.0, 1500.0))
GEOMETRY = ValidGeometry((1, 2, 2), (2, 3, 3), (2, 4, 4), (5, 9, 9))
"""Of :func:`stand_in`."""


def stand_in(hu: np.ndarray) -> np.ndarray:
    """A "network" that sees its neighbourhood and its place on the stride (2, 4, 4)."""
    z, y, x = (n - lost for n, lost in zip(hu.shape, (3, 5, 5), strict=True))
    assert z % 2 == 0 and y % 4 == 0 and x % 4 == 0
    output = np.zeros((z, y, x), np.float32)
    for dz, dy, dx in ((0, 0, 0), (1, 2, 2), (3, 5, 5)):
        output += hu[dz : dz + z, dy : dy + y, dx : dx + x]
    phase = np.arange(z)[:, None, None] % 2 + np.arange(y)[:, None] % 4
    return (output + phase + np.arange(x) % 4).astype(np.float32)


def whole(run: Any, hu: np.ndarray, geometry: ValidGeometry) -> np.ndarray:
    """One run over the whole volume, continued beyond its border."""
    size = geometry.output_at_least(hu.shape)
    pads = [
        (before, after + n - m)
        for before, after, n, m in zip(
            geometry.before_zyx, geometry.after_zyx, size, hu.shape, strict=True
        )
    ]
    return run(np.pad(hu, pads, mode="edge"))[tuple(slice(n) for n in hu.shape)]


def scan(shape: tuple[int, int, int], share: float, seed: int = 0) -> np.ndarray:
    """Air with a share of bright voxels."""
    rng = np.random.default_rng(seed)
    hu = rng.integers(-1000, 130, shape)
    bright = rng.random(shape) < share
    return np.where(bright, rng.integers(130, 2000, shape), hu).astype(np.int16)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*(st.integers(1, 23) for _ in range(3))),
    share=st.sampled_from([0.0, 0.002, 0.05, 0.5, 1.0]),
    max_voxels=st.integers(405, 20_000),
    seed=st.integers(0, 99),
)
def test_tiles_give_what_one_run_over_the_volume_gives(
    shape: tuple[int, int, int], share: float, max_voxels: int, seed: int
) -> None:
    hu = scan(shape, share, seed)
    largest = 0

    def run(part: np.ndarray) -> np.ndarray:
        nonlocal largest
        largest = max(largest, part.size)
        return stand_in(part)

    found = predict_exact(run, hu, GEOMETRY, max_voxels=max_voxels)
    expected = np.where(hu >= 130, whole(stand_in, hu, GEOMETRY), 0)
    np.testing.assert_array_equal(found, expected)
    assert largest <= max_voxels


def test_nothing_is_run_where_nothing_can_be_calcium() -> None:
    def refuse(part: np.ndarray) -> np.ndarray:
        raise AssertionError("run")

    hu = np.full((9, 20, 20), 129, np.int16)
    found = predict_exact(refuse, hu, GEOMETRY, max_voxels=405)
    assert found.dtype == np.float32 and not found.any()


def test_tiles_shrink_to_their_candidates_and_empty_ones_are_left_out() -> None:
    candidates = np.zeros((40, 80, 80), bool)
    candidates[3, 5, 7] = candidates[33:35, 70:75, 60] = True
    tiles = exact_tiles(candidates, GEOMETRY, max_voxels=20_000)
    found = {(tile.start_zyx, tile.size_zyx) for tile in tiles}
    # Starts on (2, 4, 4); 33..34 from 32 and 70..74 from 68.
    assert found == {((2, 4, 4), (2, 4, 4)), ((32, 68, 60), (4, 8, 4))}


def test_a_generous_bound_takes_the_candidates_box_in_one_run() -> None:
    candidates = np.zeros((40, 80, 80), bool)
    candidates[4:20, 10:50, 8:60] = True
    (tile,) = exact_tiles(candidates, GEOMETRY, max_voxels=10**9)
    assert (tile.start_zyx, tile.size_zyx) == ((4, 8, 8), (16, 44, 52))


def test_a_tight_bound_cuts_where_the_halo_costs_least() -> None:
    # 16 x 64 x 64 of candidates; a halo of 3 x 5 x 5. One input is 19 * 69 * 69 =
    # 90 459 voxels; in two the cheapest cut is in plane, 2 * 19 * 37 * 69.
    candidates = np.ones((16, 64, 64), bool)
    tiles = exact_tiles(candidates, GEOMETRY, max_voxels=60_000)
    assert {tile.size_zyx for tile in tiles} in ({(16, 32, 64)}, {(16, 64, 32)})


def test_progress_counts_the_tiles() -> None:
    seen: list[tuple[int, int]] = []
    predict_exact(
        stand_in,
        scan((8, 40, 40), 1.0),
        GEOMETRY,
        max_voxels=4000,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(seen) > 2
    assert seen == [(n, len(seen)) for n in range(1, len(seen) + 1)]


def test_the_candidate_threshold_is_inclusive_and_can_be_moved() -> None:
    hu = np.full((4, 8, 8), -500, np.int16)
    hu[1, 1, 1], hu[2, 2, 2] = 130, 129
    assert np.argwhere(
        predict_exact(stand_in, hu, GEOMETRY, max_voxels=5000)
    ).tolist() == [[1, 1, 1]]
    moved = predict_exact(stand_in, hu, GEOMETRY, max_voxels=5000, candidate_hu=129)
    assert np.argwhere(moved).tolist() == [[1, 1, 1], [2, 2, 2]]


# The paper's way.


def test_the_papers_tiles_begin_at_0_73_and_146() -> None:
    starts: list[tuple[int, ...]] = []
    place = np.indices((100, 240, 240)).astype(np.int16)
    hu = 1000 + place[1]

    def run(part: np.ndarray) -> np.ndarray:
        starts.append(part.shape)
        return part[18:-18, 42:-42, 42:-42].astype(np.float32)

    found = predict_averaged(
        run, hu, residual_dropout_geometry("aligned"), patch_zyx=(98, 178, 178)
    )
    assert starts == [(98, 178, 178)] * 18
    # Every tile gives the voxel itself, so the mean does too.
    np.testing.assert_allclose(found, hu, rtol=1e-6)


def test_overlaps_are_averaged_by_hand() -> None:
    # Outputs of 4 x 4 x 4 on 4 x 4 x 6: from 0, giving 1, and from 2, giving 3.
    geometry = ValidGeometry((0, 0, 0), (0, 0, 0), (1, 1, 1), (4, 4, 4))
    values = iter((1.0, 3.0))

    def run(part: np.ndarray) -> np.ndarray:
        return np.full(part.shape, next(values), np.float32)

    hu = np.full((4, 4, 6), 200, np.int16)
    hu[0, 0, 0] = 129
    found = predict_averaged(run, hu, geometry, patch_zyx=(4, 4, 4))
    assert found[1, 1].tolist() == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    assert found[0, 0, 0] == 0.0


def test_a_volume_smaller_than_the_patch_takes_one_run() -> None:
    hu = scan((3, 5, 6), 1.0)
    found = predict_averaged(stand_in, hu, GEOMETRY, patch_zyx=(9, 17, 17))
    np.testing.assert_array_equal(found, whole(stand_in, hu, GEOMETRY))


# The network.


@pytest.mark.parametrize("variant", ["literal", "aligned"])
def test_the_network_in_tiles_equals_it_on_the_whole_volume(variant: str) -> None:
    keras.utils.set_random_seed(0)
    model = residual_dropout_fcn((None, None, None, 1), variant, channels=(3, 4, 6))
    run = valid_run(model, SPEC)
    geometry = residual_dropout_geometry(variant)
    hu = scan((9, 14, 30), 0.05)
    hu[5:, 7:] = 40
    found = predict_exact(run, hu, geometry, max_voxels=400_000)
    expected = whole(run, hu, geometry)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, np.where(hu >= 130, expected, 0), atol=1e-6)


def test_the_networks_geometry_is_the_digests() -> None:
    literal, aligned = map(residual_dropout_geometry, ("literal", "aligned"))
    assert literal.before_zyx == (17, 39, 39) and literal.lost_zyx == (36, 82, 82)
    assert aligned.before_zyx == aligned.after_zyx == (18, 42, 42)
    assert aligned.output_at_least((62, 94, 94)) == (62, 94, 94)
    assert aligned.output_at_least((61, 95, 91)) == (62, 98, 94)
    assert literal.output_at_least((1, 1, 1)) == (2, 4, 4)


def test_a_network_of_fixed_size_is_refused() -> None:
    model = residual_dropout_fcn((38, 86, 86, 1), channels=(1, 1, 1))
    with pytest.raises(ModelError, match=r"MODEL_TASK.*free sizes.*38, 86, 86"):
        valid_run(model, SPEC)


# Refusals.


@pytest.mark.parametrize("shape", [(0, 9, 9), (9, 9)])
def test_volumes_without_voxels_or_of_another_rank_are_refused(shape: Any) -> None:
    hu = np.zeros(shape, np.int16)
    with pytest.raises(ValueError, match="at least one voxel"):
        predict_exact(stand_in, hu, GEOMETRY, max_voxels=5000)
    with pytest.raises(ValueError, match="at least one voxel"):
        predict_averaged(stand_in, hu, GEOMETRY, patch_zyx=(9, 17, 17))


def test_a_bound_below_the_smallest_tile_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 405,.*max_voxels=404"):
        predict_exact(stand_in, scan((4, 8, 8), 1.0), GEOMETRY, max_voxels=404)


def test_a_patch_off_the_stride_is_refused() -> None:
    with pytest.raises(ValueError, match=r"patch_zyx=\(9, 18, 17\)"):
        predict_averaged(
            stand_in, scan((4, 8, 8), 1.0), GEOMETRY, patch_zyx=(9, 18, 17)
        )


def test_a_network_that_gives_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="as its geometry says"):
        predict_exact(
            lambda part: part, scan((4, 8, 8), 1.0), GEOMETRY, max_voxels=5000
        )


def test_an_impossible_geometry_is_refused() -> None:
    with pytest.raises(ValueError, match="gives at least one voxel"):
        ValidGeometry((1, 1, 1), (1, 1, 1), (2, 2, 2), (2, 5, 5))
    with pytest.raises(ValueError, match="strides of at least 1"):
        ValidGeometry((1, 1, 1), (1, 1, 1), (0, 2, 2), (5, 5, 5))
