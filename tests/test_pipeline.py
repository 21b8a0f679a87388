"""Patches, augmentation and the tf.data pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kcalc.data import Augmentation, Case, CaseStore, PatchSampling
from kcalc.data.patches import Crop, CropSampler, fixed_slices, read_crop
from kcalc.data.pipeline import training_dataset, validation_dataset
from kcalc.preparation import InputSpec

SPEC = InputSpec(window_hu=(-200.0, 800.0), stack=3)
SAMPLING = PatchSampling(size=32, side=(24, 48), p_positive=0.4, p_hard_negative=0.3)
STRONG = Augmentation(
    flip_left_right=True, flip_up_down=True, offset_hu=10, scale=0.05, noise_hu=10
)


def make_case(name: str, split: str, *, calcified: bool, rows: int = 64) -> Case:
    """Return a case of five slices whose HU tell slice, row and column."""
    z, y, x = np.indices((5, rows, 64))
    image = (10 * z + y % 8 + x % 4).astype(np.int16)
    image[:, 50:54, 4:8] = 300
    label = np.zeros(image.shape, np.uint8)
    if calcified:
        image[2, 20:23, 30:33] = 500
        label[2, 20:23, 30:33] = 2
    return Case(name, image, label, (3.0, 0.7, 0.7), f"patient-{name}", split)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    return CaseStore.write(
        tmp_path_factory.mktemp("store") / "cases.h5",
        [
            make_case("a", "train", calcified=True),
            make_case("b", "train", calcified=False),
            make_case("c", "validation", calcified=True),
            make_case("d", "test", calcified=False),
        ],
    )


def batches(store: CaseStore, **changes: object) -> list[tuple[np.ndarray, ...]]:
    arguments: dict[str, object] = {
        "input_spec": SPEC,
        "sampling": SAMPLING,
        "augmentation": STRONG,
        "batch_size": 2,
        "stop": 8,
    }
    dataset = training_dataset(store, **(arguments | changes))  # type: ignore[arg-type]
    return [(x.numpy(), y.numpy()) for x, y in dataset]


def single_case_store(tmp_path: Path, image: np.ndarray, label: np.ndarray):
    case = Case("a", image, label, (3.0, 0.7, 0.7), "p", "train")
    return CaseStore.write(tmp_path / "s.h5", [case])


def assert_same(left: list, right: list) -> None:
    assert len(left) == len(right)
    for (x, y), (other_x, other_y) in zip(left, right, strict=True):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(y, other_y)


# The dataset as a whole.


def test_a_batch_has_the_shapes_and_ranges_a_network_expects(store):
    first = batches(store)[0]
    assert [array.shape for array in first] == [(2, 32, 32, 3), (2, 32, 32, 1)]
    assert [array.dtype for array in first] == [np.float32, np.float32]
    assert first[0].min() >= 0 and first[0].max() <= 1
    assert set(np.unique(first[1])) <= {0.0, 1.0}


def test_the_same_seed_gives_the_same_batches_whatever_the_threads(store):
    assert_same(batches(store), batches(store, num_parallel_calls=1))


def test_another_seed_gives_other_batches(store):
    assert not np.array_equal(batches(store)[0][0], batches(store, seed=1)[0][0])


def test_a_resumed_dataset_goes_on_where_it_stopped(store):
    assert_same(batches(store)[2:], batches(store, start=4))


def test_without_resizing_or_augmentation_a_sample_is_the_windowed_crop(store):
    sampling = PatchSampling(size=64, side=(64, 64), p_positive=1.0)
    image, label = batches(store, sampling=sampling, augmentation=None)[0]
    expected = store.image("a")[1:4].astype(np.float32)
    expected = (np.clip(np.moveaxis(expected, 0, -1), -200, 800) + 200) / 1000
    np.testing.assert_allclose(image[0], expected, atol=1e-6)
    np.testing.assert_array_equal(label[0, ..., 0], store.label("a")[2] > 0)


def test_positive_crops_hold_a_label_and_hard_negative_crops_do_not(store):
    sampling = replace(SAMPLING, p_positive=1.0, p_hard_negative=0.0)
    for _, label in batches(store, sampling=sampling, augmentation=None, stop=20):
        assert (label.sum(axis=(1, 2, 3)) > 0).all()
    sampling = replace(SAMPLING, p_positive=0.0, p_hard_negative=1.0)
    for image, _ in batches(store, sampling=sampling, augmentation=None, stop=20):
        assert (image[..., 1].max(axis=(1, 2)) >= 0.33).all()


def test_imitator_crops_hold_a_component_as_large_as_calcium(store):
    sampling = replace(SAMPLING, p_positive=0.0, p_hard_negative=0.0, p_imitator=1.0)
    sampler = CropSampler(store, store.split("train"), sampling)
    rng = np.random.default_rng(1)
    for _ in range(20):
        crop = sampler.draw(rng)
        z, y, x = store.imitator_zyx(crop.case).T
        inside = (z == crop.z) & (y >= crop.y) & (x >= crop.x)
        inside &= (y < crop.y + crop.side) & (x < crop.x + crop.side)
        assert inside.any()


def test_flips_move_image_and_label_together(store):
    augmentation = Augmentation(flip_left_right=True, flip_up_down=True)
    sampling = PatchSampling(size=64, side=(64, 64), p_positive=1.0)
    seen = set()
    for image, label in batches(
        store, sampling=sampling, augmentation=augmentation, batch_size=1, stop=24
    ):
        lesion = image[0, :, :, 1] > 0.65  # 500 HU -> 0.7
        np.testing.assert_array_equal(lesion, label[0, ..., 0] > 0)
        seen.add(tuple(np.argwhere(lesion)[0]))
    assert seen == {(20, 30), (41, 30), (20, 31), (41, 31)}


def test_intensity_changes_stay_within_their_bounds(store):
    sampling = PatchSampling(size=64, side=(64, 64), p_positive=1.0)
    plain = batches(store, sampling=sampling, augmentation=None, stop=20)
    changed = batches(
        store, sampling=sampling, augmentation=Augmentation(offset_hu=10), stop=20
    )
    shifts = np.array(
        [
            np.median(1000 * (x - y), axis=(1, 2, 3))
            for (x, _), (y, _) in zip(changed, plain, strict=True)
        ]
    ).ravel()
    assert np.abs(shifts).max() <= 10.01
    assert shifts.min() < -2 and shifts.max() > 2


def test_labels_are_cut_at_130_hu_of_the_final_image(tmp_path):
    image = np.zeros((1, 32, 32), np.int16)
    label = np.zeros(image.shape, np.uint8)
    label[0, 4, 4:6] = 1
    image[0, 4, 4], image[0, 4, 5] = 129, 130
    one = single_case_store(tmp_path, image, label)
    sampling = PatchSampling(size=32, side=(32, 32))
    found = batches(one, sampling=sampling, augmentation=None, batch_size=1, stop=1)
    assert np.argwhere(found[0][1][0, ..., 0]).tolist() == [[4, 5]]


@pytest.mark.parametrize("y", [10, 11, 12])
@pytest.mark.parametrize("x", [10, 11, 12])
def test_a_lesion_of_three_pixels_survives_shrinking_to_two_thirds(tmp_path, y, x):
    image = np.full((1, 48, 48), -50, np.int16)
    label = np.zeros(image.shape, np.uint8)
    for row, column in ((y, x), (y, x + 1), (y + 1, x)):
        image[0, row, column], label[0, row, column] = 500, 1
    one = single_case_store(tmp_path, image, label)
    sampling = PatchSampling(size=32, side=(48, 48))  # as 384 to 256
    found = batches(one, sampling=sampling, augmentation=None, batch_size=1, stop=1)
    assert found[0][1].sum() >= 1


def test_a_split_without_any_calcium_is_sampled_everywhere(tmp_path):
    image = np.zeros((3, 40, 40), np.int16)
    one = single_case_store(tmp_path, image, np.zeros(image.shape, np.uint8))
    found = batches(one, stop=4)
    assert all(label.sum() == 0 for _, label in found)


# Validation.


def validation(store: CaseStore, **changes: object) -> list[tuple[np.ndarray, ...]]:
    arguments = {"input_spec": SPEC, "num_slices": 4, "size": 64} | changes
    dataset = validation_dataset(store, **arguments)  # type: ignore[arg-type]
    return [tuple(part.numpy() for part in batch) for batch in dataset]


def test_validation_is_fixed_and_holds_each_slice_once(store):
    first, second = validation(store, num_slices=9), validation(store, num_slices=9)
    assert len(first) == 5
    for left, right in zip(first, second, strict=True):
        for part, other in zip(left, right, strict=True):
            np.testing.assert_array_equal(part, other)


def test_validation_begins_with_labelled_slices_and_names_candidates(store):
    image, label, candidates = validation(store)[0]
    assert image.shape == (1, 64, 64, 3)
    assert label.sum() == 9
    np.testing.assert_array_equal(candidates[..., 0], image[..., 1] >= 0.33)
    assert candidates.sum() == 9 + 16


def test_validation_slices_more_than_twice_too_large_are_refused(store):
    with pytest.raises(ValueError, match="size=16, side of a slice 64"):
        validation(store, size=16)


def test_fixed_slices_of_a_long_image_are_its_middle_square(tmp_path):
    case = make_case("a", "train", calcified=True, rows=80)
    long = CaseStore.write(tmp_path / "s.h5", [case])
    assert fixed_slices(long, long.records, 1, 0) == [
        Crop("a", fixed_slices(long, long.records, 1, 0)[0].z, 8, 0, 64)
    ]


# Patches.


@pytest.mark.parametrize(("z", "slices"), [(0, [0, 0, 1]), (4, [3, 4, 4])])
def test_stacks_repeat_the_border_slice(store, z, slices):
    image, _ = read_crop(store, Crop("a", z, 8, 16, 24), SPEC)
    expected = store.image("a")[slices, 8:32, 16:40]
    np.testing.assert_array_equal(np.moveaxis(image, -1, 0), expected)


def test_crops_lie_inside_the_slice_and_hold_the_drawn_voxel(store):
    sampling = PatchSampling(size=32, side=(16, 64), p_positive=1.0)
    sampler = CropSampler(store, store.split("train"), sampling)
    rng = np.random.default_rng(0)
    for _ in range(200):
        crop = sampler.draw(rng)
        assert (crop.case, crop.z) == ("a", 2)
        assert 0 <= crop.y <= 64 - crop.side and 0 <= crop.x <= 64 - crop.side
        _, label = read_crop(store, crop, SPEC)
        assert label.any()


def test_a_side_larger_than_the_slice_is_cut_to_it(store):
    sampling = PatchSampling(size=64, side=(128, 128))
    crop = CropSampler(store, store.records, sampling).draw(np.random.default_rng(0))
    assert (crop.y, crop.x, crop.side) == (0, 0, 64)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"side": (192, 600)}, r"at most twice size. Received: side=\(192, 600\)"),
        ({"side": (0, 100)}, "smallest, largest"),
        ({"side": (200, 100)}, "smallest, largest"),
        ({"p_positive": 0.8, "p_hard_negative": 0.3}, "sum to at most 1"),
        ({"p_positive": -0.1}, "must be >= 0"),
    ],
)
def test_impossible_sampling_is_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        PatchSampling(**arguments)


@pytest.mark.parametrize("arguments", [{"noise_hu": -1.0}, {"scale": 1.0}])
def test_impossible_augmentation_is_refused(arguments):
    with pytest.raises(ValueError, match="must be >= 0 and scale < 1"):
        Augmentation(**arguments)
