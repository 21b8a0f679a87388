"""Rotation and elastic deformation: where voxels come from, and what they become."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from kcalc.data import (
    Augmentation,
    Case,
    CaseStore,
    PatchSampling,
    SliceData,
    VolumeData,
)
from kcalc.data.warp import Frame, coordinates, draw_warp, resampled, source_size
from kcalc.preparation import InputSpec

FRAME = Frame((6, 12, 10), (1.0, 0.5, 0.5), (1.0, 0.5, 0.5))
CENTRE = (7.0, 20.0, 18.0)
STILL = (False, False, False)
STRONG = Augmentation(
    rotate_deg=40, tilt_deg=15, elastic_mm=1.2, elastic_distance_mm=3.0
)
WIDE = InputSpec(window_hu=(-1000.0, 1000.0))


class Largest:
    """Draws the largest value of every range."""

    def uniform(self, low: float, high: float, size: object) -> np.ndarray:
        return np.full(size, high)


def where(augmentation: Augmentation, frame: Frame = FRAME, **changes) -> np.ndarray:
    arguments = {"centre": CENTRE, "flips": STILL, "rng": np.random.default_rng(0)}
    controls, *weights = draw_warp(augmentation, frame, **(arguments | changes))
    return coordinates(controls, weights, frame.size).numpy()


def indices(size: tuple[int, ...], centre: tuple[float, ...]) -> np.ndarray:
    shift = [c - (n - 1) / 2 for c, n in zip(centre, size, strict=True)]
    return np.indices(size) + np.reshape(shift, (-1, *(1,) * len(size)))


def test_without_a_change_every_voxel_comes_from_its_own_place():
    expected = indices(FRAME.size, CENTRE)
    np.testing.assert_allclose(where(Augmentation()), expected, atol=1e-5)
    nearly = Augmentation(elastic_mm=1e-9, elastic_distance_mm=3.0)
    np.testing.assert_allclose(where(nearly), expected, atol=1e-4)


def test_mirrored_axes_come_from_the_other_side():
    expected = indices(FRAME.size, CENTRE)
    for flips in itertools.product((False, True), repeat=3):
        found = where(Augmentation(), flips=flips)
        mirrored = np.stack(
            [np.flip(e, a) if flips[a] else e for a, e in enumerate(expected)]
        )
        np.testing.assert_allclose(found, mirrored, atol=1e-5)


def test_a_quarter_turn_about_the_slices_normal_is_numpy_s():
    frame = Frame((3, 9, 9), (2.0, 0.5, 0.5), (2.0, 0.5, 0.5))
    block = np.random.default_rng(1).normal(size=(5, 13, 13)).astype(np.float32)
    place = where(Augmentation(rotate_deg=90), frame, centre=(2, 6, 6), rng=Largest())
    found = resampled(block, place).numpy()
    expected = np.rot90(block[1:4, 2:11, 2:11], k=-1, axes=(1, 2))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_turns_are_rigid_in_millimetres_though_voxels_are_not_cubes():
    frame = Frame((9, 21, 21), (2.0, 0.5, 0.7), (2.0, 0.5, 0.7))
    turned = where(replace(STRONG, elastic_mm=0.0), frame)
    still = where(Augmentation(), frame)
    step = np.reshape(frame.step_mm, (3, 1))
    a, b = (place.reshape(3, -1)[:, ::97] * step for place in (turned, still))
    distances = [np.linalg.norm(p[:, :, None] - p[:, None], axis=0) for p in (a, b)]
    np.testing.assert_allclose(*distances, atol=1e-4)
    assert np.abs(a - b).max() > 2


def test_slices_shrink_and_turn_in_one_resampling():
    frame = Frame((4, 4), (1.0, 1.0), (0.5, 0.5))
    found = where(Augmentation(), frame, centre=(3.5, 3.5), flips=(False, False))
    np.testing.assert_allclose(found[0][:, 0], [0.5, 2.5, 4.5, 6.5], atol=1e-6)
    quarter = where(
        Augmentation(rotate_deg=90),
        frame,
        centre=(3.5, 3.5),
        flips=(False, False),
        rng=Largest(),
    )
    np.testing.assert_allclose(quarter[1], found[0], atol=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_no_voxel_comes_from_beyond_the_block_or_folds(seed):
    size = source_size(STRONG, FRAME)
    centre = [(n - 1) / 2 for n in size]
    rng = np.random.default_rng(seed)
    place = where(STRONG, centre=centre, rng=rng, flips=rng.random(3) < 0.5)
    assert (place.reshape(3, -1).min(axis=1) >= 0).all()
    assert (place.reshape(3, -1).max(axis=1) <= np.array(size) - 1).all()
    steps = np.stack([np.gradient(place, axis=a) for a in (1, 2, 3)])
    turns = np.linalg.det(np.moveaxis(steps, (0, 1), (-2, -1)))
    assert (turns > 0).all() or (turns < 0).all()


def test_the_largest_turn_reaches_no_further_than_the_block():
    turn = Augmentation(rotate_deg=30, tilt_deg=20, elastic_mm=1.0)
    size = source_size(turn, FRAME)
    centre = [(n - 1) / 2 for n in size]
    place = where(turn, centre=centre, rng=_Random(Largest()))
    assert place.min() >= 0
    assert (place.reshape(3, -1).max(axis=1) <= np.array(size) - 1).all()


class _Random:
    def __init__(self, largest: Largest) -> None:
        self.uniform = largest.uniform

    def random(self) -> float:
        return 0.5


def test_resampling_is_scipy_s_eagerly_compiled_and_in_map():
    block = np.random.default_rng(2).normal(size=(14, 40, 36)).astype(np.float32)
    place = where(STRONG)
    expected = ndimage.map_coordinates(block, place, order=1, mode="nearest")
    compiled = tf.function(resampled, jit_compile=True)
    dataset = tf.data.Dataset.from_tensors(place).map(lambda p: compiled(block, p))
    for found in (resampled(block, place), compiled(block, place), next(iter(dataset))):
        np.testing.assert_allclose(found, expected, atol=1e-4)


# In the pipeline.


def store_of(folder: Path, image: np.ndarray, label: np.ndarray) -> CaseStore:
    case = Case("a", image, label, (1.0, 0.5, 0.5), "p", "train")
    return CaseStore.write(folder / "s.h5", [case])


def speckled(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of -200 HU, and 600 where labelled: a function of its label."""
    label = (np.random.default_rng(3).random(shape) < 0.1).astype(np.uint8)
    return (-200 + 800 * label.astype(np.int16)).astype(np.int16), label


def samples(plan, store, spec=WIDE, **changes) -> list[tuple[np.ndarray, ...]]:
    arguments = {"batch_size": 1, "seed": 0, "start": 0, "stop": 4}
    dataset = plan.training(store, input_spec=spec, **(arguments | changes))
    return [(x.numpy(), y.numpy()) for x, y in dataset]


VOLUMES = VolumeData(
    (6, 12, 10),
    threshold_hu=-900.0,
    augmentation=replace(STRONG, flip_left_right=True, flip_head_foot=True),
)
SLICES = SliceData(
    PatchSampling(size=16, side=(12, 24)),
    replace(STRONG, tilt_deg=0.0, flip_left_right=True, flip_up_down=True),
    threshold_hu=-900.0,
)


def assert_label_follows_image(hu: np.ndarray, label: np.ndarray) -> None:
    """A share of 0.25 of the label is 0 HU."""
    clear = np.abs(hu) > 0.01
    np.testing.assert_array_equal(label[clear], (hu > 0)[clear])
    assert label[clear].any() and not label[clear].all()


def test_the_label_of_a_volume_moves_exactly_with_it(tmp_path):
    store = store_of(tmp_path, *speckled((20, 60, 60)))
    found = samples(VOLUMES, store)
    for image, label in found:
        inside = label != 255
        assert_label_follows_image((2000 * image - 1000)[inside], label[inside])
    assert len({image.tobytes() for image, _ in found}) == 4


def test_the_label_of_a_slice_moves_exactly_with_it(tmp_path):
    image, label = speckled((5, 80, 80))
    image[[0, 1, 3, 4]] = 0
    store = store_of(tmp_path, image, label)
    for image, label in samples(SLICES, store, replace(WIDE, stack=3), stop=12):
        hu = 2000 * image - 1000
        if (np.abs(hu[..., 1]) > 0.01).any():  # else another slice than the third
            assert_label_follows_image(hu[..., 1], label[..., 0])
            np.testing.assert_allclose(hu[..., (0, 2)], 0, atol=1e-3)


@pytest.mark.parametrize("plan", [VOLUMES, SLICES])
def test_changed_samples_depend_on_seed_and_number_alone(tmp_path, plan):
    store = store_of(tmp_path, *speckled((20, 60, 60)))
    noisy = replace(plan.augmentation, noise_hu=20, offset_hu=5, scale=0.02)
    plan = replace(plan, augmentation=noisy)
    whole, rest = samples(plan, store, stop=6), samples(plan, store, start=3, stop=6)
    for (x, y), (other_x, other_y) in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(y, other_y)
    assert not np.array_equal(whole[0][0], samples(plan, store, seed=1)[0][0])


def test_beyond_a_turned_scan_nothing_is_supervised(tmp_path):
    image = np.full((6, 24, 24), 400, np.int16)
    store = store_of(tmp_path, image, np.ones(image.shape, np.uint8))
    plan = VolumeData((10, 40, 40), augmentation=Augmentation(rotate_deg=45))
    for image, label in samples(plan, store):
        assert (label[:, :2] == 255).all() and (label[:, 8:] == 255).all()
        assert set(np.unique(label[:, 2:8])) == {1, 255}
        share = np.count_nonzero(label[:, 2:8] == 1) / (6 * 24 * 24)
        assert share == pytest.approx(1, abs=0.05)
        assert np.allclose(image, 0.7)  # the edge's HU stand there


def test_beyond_a_turned_slice_its_edge_repeats_with_its_label(tmp_path):
    image = np.full((1, 24, 24), 400, np.int16)
    store = store_of(tmp_path, image, np.ones(image.shape, np.uint8))
    plan = SliceData(PatchSampling(size=24, side=(24, 24)), Augmentation(rotate_deg=45))
    for image, label in samples(plan, store, start=1):
        assert np.allclose(image, 0.7)
        assert label.all()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rotate_deg": -1}, "between 0 and 180. Received: rotate_deg=-1, tilt_deg=0"),
        ({"tilt_deg": 181}, "between 0 and 180"),
        ({"elastic_mm": 6.5}, "0.4 of elastic_distance_mm. Received: elastic_mm=6.5"),
        ({"elastic_mm": -1}, "elastic_mm must lie between 0"),
    ],
)
def test_impossible_warps_are_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        Augmentation(**changes)


def test_slices_cannot_be_tilted():
    with pytest.raises(ValueError, match=r"plane alone\. Received: tilt_deg=3"):
        SliceData(augmentation=Augmentation(tilt_deg=3))
