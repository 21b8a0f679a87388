"""Tests of kcalc.inference.same_tiling: tiles of a planar U-Net equal the whole."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kcalc.inference import predict_tiled, same_tiles
from kcalc.models import planar_unet, planar_unet_halo_zyx


def _run(model: keras.Model) -> Any:
    return lambda box: np.asarray(model(box[None, ..., None]))[0]


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(3)
    return planar_unet(channels=(3, 4, 5))


IMAGE = np.random.default_rng(0).random((13, 90, 117), "float32")


def test_tiles_equal_the_whole(network: keras.Model) -> None:
    whole = _run(network)(IMAGE)
    halo = planar_unet_halo_zyx(3)
    calls: list[tuple[int, int]] = []
    tiled = predict_tiled(
        _run(network),
        IMAGE,
        halo_zyx=halo,
        multiple_zyx=(4, 4, 4),
        max_voxels=16 * 76 * 84,
        progress=lambda done, number: calls.append((done, number)),
    )
    assert len(calls) > 2 and calls[-1] == (len(calls), len(calls))
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_a_halo_that_is_too_small_leaves_seams(network: keras.Model) -> None:
    whole = _run(network)(IMAGE)
    tiled = predict_tiled(
        _run(network),
        IMAGE,
        halo_zyx=(4, 4, 4),
        multiple_zyx=(4, 4, 4),
        max_voxels=16 * 40 * 40,
    )
    assert np.abs(tiled - whole).max() > 1e-4


def test_a_volume_that_fits_is_run_once() -> None:
    (spans,) = same_tiles((16, 64, 64), (48, 72, 72), (8, 8, 8), 16 * 64 * 64)
    assert [(s.run_from, s.run_to) for s in spans] == [(0, 16), (0, 64), (0, 64)]


def test_kept_parts_cover_every_voxel_once() -> None:
    shape = (16, 120, 72)
    tiles = same_tiles(shape, (8, 16, 16), (8, 8, 8), 16 * 64 * 64)
    times = np.zeros(shape, int)
    for spans in tiles:
        times[tuple(slice(s.keep_from, s.keep_to) for s in spans)] += 1
        assert all(s.run_from % 8 == 0 and s.run_to % 8 == 0 for s in spans)
        assert np.prod([s.run_to - s.run_from for s in spans]) <= 16 * 64 * 64
    assert len(tiles) > 1
    np.testing.assert_array_equal(times, 1)


def test_memory_that_no_tile_keeps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"max_voxels must be at least 13824"):
        same_tiles((64, 64, 64), (8, 8, 8), (8, 8, 8), 1000)


def test_a_halo_off_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"halo_zyx must be multiples of \(8, 8, 8\)"):
        same_tiles((64, 64, 64), (8, 8, 5), (8, 8, 8))


def test_a_network_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="The network must give"):
        predict_tiled(lambda box: box[:-1, ..., None], IMAGE, halo_zyx=(8, 8, 8))
    with pytest.raises(ValueError, match=r"Received: shape \(4, 4\)"):
        predict_tiled(lambda box: box, np.zeros((4, 4)), halo_zyx=(8, 8, 8))
