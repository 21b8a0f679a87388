"""VolumeData: boxes of volumes, their labels, and what is drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kcalc import InputError
from kcalc.data import Augmentation, Case, CaseStore, VolumeData
from kcalc.data.augment import changed_intensity, noise_like
from kcalc.data.boxes import Box, BoxSampler, fixed_boxes, read_box
from kcalc.data.sources import PhantomOrder, render_case
from kcalc.preparation import InputSpec

SPEC = InputSpec(window_hu=(-1000.0, 1000.0))
VALID = InputSpec(window_hu=(-1000.0, 1000.0), halo_zyx=(2, 3, 3))
PLAN = VolumeData((6, 12, 12), p_positive=0.4, p_hard_negative=0.3)
SPACING = (1.0, 0.5, 0.5)


def make_case(name: str, split: str, *, calcified: bool = True) -> Case:
    """Return a case whose HU tell slice, row and column."""
    z, y, x = np.indices((10, 24, 20))
    image = (-500 + 20 * z + y + x).astype(np.int16)
    image[1, 2, 2:4] = 700
    label = np.zeros(image.shape, np.uint8)
    if calcified:
        image[5, 12:14, 9], label[5, 12:14, 9] = 400, 10
    return Case(name, image, label, SPACING, f"patient-{name}", split)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    return CaseStore.write(
        tmp_path_factory.mktemp("store") / "cases.h5",
        [
            make_case("a", "train"),
            make_case("b", "train", calcified=False),
            make_case("c", "validation"),
            make_case("d", "validation", calcified=False),
        ],
    )


def batches(
    store: CaseStore, plan: VolumeData = PLAN, spec: InputSpec = SPEC, **changes: object
) -> list[tuple[np.ndarray, ...]]:
    arguments: dict[str, object] = {"batch_size": 2, "seed": 0, "start": 0, "stop": 8}
    dataset = plan.training(store, input_spec=spec, **(arguments | changes))  # type: ignore[arg-type]
    return [(x.numpy(), y.numpy()) for x, y in dataset]


def hu_of(image: np.ndarray) -> np.ndarray:
    return np.rint(2000.0 * image[..., 0] - 1000.0)


def test_a_batch_has_the_shapes_and_types_a_network_expects(store):
    image, label = batches(store)[0]
    assert (image.shape, image.dtype) == ((2, 6, 12, 12, 1), np.float32)
    assert (label.shape, label.dtype) == ((2, 6, 12, 12, 1), np.uint8)
    assert image.min() >= 0 and image.max() <= 1


def test_a_sample_depends_on_seed_and_number_alone(store):
    strong = Augmentation(
        flip_left_right=True,
        flip_up_down=True,
        flip_head_foot=True,
        offset_hu=10,
        scale=0.05,
        noise_hu=10,
    )
    plan = replace(PLAN, augmentation=strong)
    whole = batches(store, plan, stop=16)
    for (x, y), (other_x, other_y) in zip(
        whole[5:], batches(store, plan, start=10, stop=16), strict=True
    ):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(y, other_y)
    assert not np.array_equal(whole[0][0], batches(store, plan, seed=1)[0][0])


def test_without_an_order_each_sample_still_comes_once(store):
    ordered = batches(store, batch_size=1, stop=24)
    free = batches(store, batch_size=1, stop=24, deterministic=False)
    assert sorted(x.tobytes() for x, _ in free) == sorted(
        x.tobytes() for x, _ in ordered
    )


def test_labels_are_those_of_the_paper_or_of_every_voxel(store):
    plan = VolumeData((10, 24, 20), p_positive=1.0)
    image, label = batches(store, plan, batch_size=1, stop=1)[0]
    hu = hu_of(image)[0]
    calcium = hu == 400
    assert np.count_nonzero(hu > 130) == 4 and np.count_nonzero(calcium) == 2
    expected = np.where(hu > 130, calcium, 255)
    np.testing.assert_array_equal(label[0, ..., 0], expected)
    everywhere = replace(plan, supervise_above_threshold=False)
    label = batches(store, everywhere, batch_size=1, stop=1)[0][1]
    np.testing.assert_array_equal(label[0, ..., 0], calcium)


def test_a_label_at_the_threshold_is_no_calcium(tmp_path):
    image = np.zeros((1, 1, 3), np.int16)
    image[0, 0] = (129, 130, 131)
    case = Case("a", image, np.full_like(image, 10, np.uint8), SPACING, "p", "train")
    one = CaseStore.write(tmp_path / "s.h5", [case])
    plan = VolumeData((1, 1, 3))
    ((_, label),) = batches(one, plan, batch_size=1, stop=1)
    assert label.ravel().tolist() == [255, 255, 1]
    plan = replace(plan, supervise_above_threshold=False)
    ((_, label),) = batches(one, plan, batch_size=1, stop=1)
    assert label.ravel().tolist() == [0, 0, 1]


def test_drawn_voxels_lie_in_the_part_that_a_valid_network_labels(store):
    plan = replace(PLAN, p_positive=1.0, p_hard_negative=0.0)
    for _, label in batches(store, plan, VALID, stop=40):
        assert (label[:, 2:-2, 3:-3, 3:-3] == 1).any(axis=(1, 2, 3, 4)).all()
    plan = replace(PLAN, p_positive=0.0, p_hard_negative=1.0)
    for _, label in batches(store, plan, VALID, stop=40):
        assert (label[:, 2:-2, 3:-3, 3:-3] == 0).any(axis=(1, 2, 3, 4)).all()


def test_the_labelled_part_reaches_every_voxel_and_never_leaves_the_scan(store):
    sampler = BoxSampler(store, "train", (6, 12, 12), VALID)
    rng = np.random.default_rng(0)
    starts = np.array([sampler.draw(rng).start_zyx for _ in range(3000)])
    assert starts.min(axis=0).tolist() == [-2, -3, -3]
    assert starts.max(axis=0).tolist() == [10 - 4, 24 - 9, 20 - 9]


def test_beyond_the_scan_its_edge_repeats_without_supervision(store):
    image, label = read_box(store, Box("a", (-2, -3, 14)), (6, 12, 12))
    whole = store.image("a")
    np.testing.assert_array_equal(image[2:, 3:, :6], whole[:4, :9, 14:])
    assert (image[:3, :4, 5:] == whole[0, 0, 19]).all()
    beyond = np.ones(label.shape, bool)
    beyond[2:, 3:, :6] = False
    np.testing.assert_array_equal(label == 255, beyond)


@pytest.mark.parametrize("above", [True, False])
def test_a_scan_smaller_than_the_patch_is_padded_and_not_supervised_there(store, above):
    plan = VolumeData((16, 24, 26), supervise_above_threshold=above)
    image, label = batches(store, plan, batch_size=1, stop=1)[0]
    assert (label[0, :3] == 255).all() and (label[0, 13:] == 255).all()
    assert (label[0, :, :, :3] == 255).all() and (label[0, :, :, 23:] == 255).all()
    supervised = np.count_nonzero(label[0, 3:13, :, 3:23] != 255)
    assert (0 < supervised < 10) if above else (supervised == 10 * 24 * 20)
    np.testing.assert_array_equal(image[0, 0], image[0, 3])


def test_flips_move_image_and_label_together(store):
    plan = VolumeData(
        (10, 24, 20),
        p_positive=1.0,
        augmentation=Augmentation(
            flip_left_right=True, flip_up_down=True, flip_head_foot=True
        ),
    )
    seen = set()
    for image, label in batches(store, plan, batch_size=1, stop=64):
        lesion = hu_of(image)[0] == 400
        np.testing.assert_array_equal(lesion, label[0, ..., 0] == 1)
        seen.add(tuple(np.argwhere(lesion)[0].tolist()))
    assert seen == {(z, y, x) for z in (5, 4) for y in (12, 10) for x in (9, 10)}


def test_changed_hu_decide_what_is_supervised(store):
    shifted = Augmentation(scale=0.9)
    plan = replace(PLAN, p_positive=1.0, p_hard_negative=0.0, augmentation=shifted)
    for image, label in batches(store, plan, stop=20):
        np.testing.assert_array_equal(label == 255, image <= (130 + 1000) / 2000)


def test_intensity_and_noise_are_the_same_eagerly_and_in_map():
    noisy, factors = Augmentation(noise_hu=1), np.float32([1.1, -5, 3])
    hu = np.linspace(-100, 900, 24, dtype=np.float32).reshape(2, 3, 4)

    def change(index: tf.Tensor) -> tf.Tensor:
        return changed_intensity(hu, factors, noise_like(hu, noisy, 7, index))

    eager = [change(tf.constant(i, tf.int64)).numpy() for i in (4, 5)]
    mapped = [x.numpy() for x in tf.data.Dataset.range(4, 6).map(change)]
    np.testing.assert_allclose(eager, mapped, rtol=1e-6)
    noise = (np.stack(eager) - (1.1 * hu - 5)) / 3
    assert not np.allclose(noise[0], noise[1]) and 0.5 < noise.std() < 1.5
    plain = changed_intensity(hu, factors, noise_like(hu, Augmentation(), 7, 4))
    np.testing.assert_allclose(plain, 1.1 * hu - 5, rtol=1e-6)


# Validation.


def test_validation_is_fixed_and_half_of_it_holds_calcium(store):
    plan = replace(PLAN, validation_patches=6, validation_batch=4)
    first, again = (
        [[part.numpy() for part in batch] for batch in dataset]
        for dataset in (
            plan.validation(store, input_spec=VALID, seed=3) for _ in range(2)
        )
    )
    assert [batch[0].shape[0] for batch in first] == [4, 2]
    for left, right in zip(first, again, strict=True):
        for part, other in zip(left, right, strict=True):
            np.testing.assert_array_equal(part, other)
    labels = np.concatenate([batch[1] for batch in first])
    assert (labels[:3, 2:-2, 3:-3, 3:-3] == 1).any(axis=(1, 2, 3, 4)).all()
    candidates = np.concatenate([batch[2] for batch in first])
    np.testing.assert_array_equal(candidates == 1, labels != 255)


def test_validation_takes_each_case_in_turn(store):
    sampler = BoxSampler(store, "validation", (6, 12, 12), SPEC)
    boxes = fixed_boxes(store, sampler, 6, 0)
    assert [box.case for box in boxes[:3]] == ["c"] * 3
    assert {box.case for box in boxes[3:5]} == {"c", "d"}


def test_validation_without_calcium_lies_anywhere(tmp_path):
    case = make_case("a", "validation", calcified=False)
    one = CaseStore.write(tmp_path / "s.h5", [case])
    sampler = BoxSampler(one, "validation", (6, 12, 12), SPEC)
    assert len(fixed_boxes(one, sampler, 5, 0)) == 5


def test_smoke_cuts_the_validation_set():
    assert PLAN.smoke() == replace(PLAN, validation_patches=4)


# Refusals.


def test_scans_smaller_than_the_receptive_field_are_refused(store):
    spec = replace(SPEC, halo_zyx=(5, 1, 1))
    with pytest.raises(InputError, match=r"STORE_SMALL.*\(11, 3, 3\).*a of \(10, 24"):
        BoxSampler(store, "train", (12, 12, 12), spec)


def test_scans_of_another_spacing_than_the_network_s_are_refused(store):
    BoxSampler(store, "train", (6, 12, 12), replace(SPEC, spacing_mm=(1.0, 0.49, 0.49)))
    spec = replace(SPEC, spacing_mm=(1.0, 0.4, 0.4))
    with pytest.raises(InputError, match=r"STORE_SPACING.*0\.4.*a of \(1\.0, 0\.5"):
        BoxSampler(store, "train", (6, 12, 12), spec)


def test_stacks_of_slices_are_no_volumes(store):
    with pytest.raises(ValueError, match=r"a stack of 1\. Received: stack=9"):
        BoxSampler(store, "train", (6, 12, 12), replace(SPEC, stack=9))


def test_a_patch_that_is_all_halo_is_refused(store):
    with pytest.raises(ValueError, match=r"patch_zyx=\(4, 12, 12\), halo_zyx=\(2, 3"):
        BoxSampler(store, "train", (4, 12, 12), VALID)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"patch_zyx": (0, 4, 4)}, "patch_zyx must be three sizes above 0"),
        ({"p_positive": 0.8}, "sum to at most 1"),
        ({"validation_patches": 0}, "validation_patches must be above 0"),
        ({"validation_batch": 0}, "validation_batch must be above 0"),
    ],
)
def test_impossible_plans_are_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        replace(PLAN, **changes)


# Head phantoms.


def test_an_unknown_kind_of_phantom_is_refused():
    with pytest.raises(ValueError, match=r"'ventricle'\). Received: kind='foot'"):
        PhantomOrder("foot", 0, "train")


@pytest.mark.slow
def test_head_phantoms_make_a_store_with_labels_of_the_carotids(tmp_path: Path):
    scanner = {"num_lesions": 4, "shape_zyx": (12, 96, 96), "pixel_mm": 1.0}
    order = PhantomOrder("head", 3, "train", {**scanner, "resampled_pixel_mm": None})
    store = CaseStore.write(tmp_path / "s.h5", [render_case(order)])
    (record,) = store.records
    assert (record.name, record.shape_zyx) == ("head-study-0000003", (12, 96, 96))
    label = store.label(record.name)
    assert set(np.unique(label)) <= {0, 10, 11} and label.any()
    assert store.image(record.name)[label > 0].min() > 130
