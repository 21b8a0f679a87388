"""Stacks of slices a fixed distance apart: the same in training, predict and export."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stand_in_network import SPEC, noise_volume, picking_network, random_network

import kcalc
from kcalc.artifact import read_manifest
from kcalc.data import Case, CaseStore
from kcalc.data.patches import Crop, read_crop
from kcalc.export import export_saved_model
from kcalc.geometry import Geometry
from kcalc.orientation import lps_view
from kcalc.preparation import InputSpec, stack_indices
from kcalc.volume import Volume


def apart(step_mm: float | None) -> InputSpec:
    return replace(SPEC, stack_step_mm=step_mm)


def steps(step_mm: float | None, slice_spacing_mm: float) -> list[int]:
    """Slices of the middle stack of a long volume, counted from its middle one."""
    return (stack_indices(101, apart(step_mm), slice_spacing_mm)[50] - 50).tolist()


# --- which slices -----------------------------------------------------------------


def test_without_a_step_neighbours_are_taken_whatever_their_distance():
    for spacing_mm in (0.5, 1.0, 5.0):
        assert steps(None, spacing_mm) == [-4, -3, -2, -1, 0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("step_mm", "spacing_mm", "upper"),
    [
        (3.0, 1.0, [3, 6, 9, 12]),
        (3.0, 3.0, [1, 2, 3, 4]),
        (5.0, 2.5, [2, 4, 6, 8]),
        (1.0, 3.0, [0, 1, 1, 1]),  # thick slices come more than once
        (3.0, 0.7, [4, 9, 13, 17]),  # 4.29, 8.57, 12.86, 17.14
        (1.5, 1.0, [1, 3, 4, 6]),  # of two equally near ones the inner one
        (3.0, 2.0, [1, 3, 4, 6]),
    ],
)
def test_the_nearest_slices_are_taken(
    step_mm: float, spacing_mm: float, upper: list[int]
):
    lower = [-n for n in reversed(upper)]
    assert steps(step_mm, spacing_mm) == [*lower, 0, *upper]


@pytest.mark.parametrize("step_mm", [1.0, 2.0, 5.0])
def test_nine_slices_span_nine_to_forty_five_mm_in_every_scan(step_mm: float):
    for spacing_mm in (0.625, 0.8, 1.0, 1.5, 3.0):
        reach = steps(step_mm, spacing_mm)[-1] * spacing_mm
        assert abs(reach - 4 * step_mm) <= spacing_mm / 2


def test_the_border_slice_repeats_beyond_the_scan():
    assert stack_indices(4, apart(3.0), 1.0)[1].tolist() == [0] * 4 + [1] + [3] * 4
    assert stack_indices(1, apart(3.0), 1e-30).tolist() == [[0] * 9]


# --- the spec -----------------------------------------------------------------------


@pytest.mark.parametrize("step_mm", [0.0, -1.0, float("nan"), float("inf")])
def test_a_step_that_is_no_distance_is_refused(step_mm: float):
    with pytest.raises(ValueError, match="stack_step_mm must be None, or a distance"):
        apart(step_mm)


def test_a_single_slice_has_no_step():
    with pytest.raises(ValueError, match=r"stack_step_mm=3\.0, stack=1"):
        InputSpec((-200, 800), stack=1, stack_step_mm=3.0)


def test_a_spec_written_before_there_was_a_step_takes_neighbours():
    values = {k: v for k, v in SPEC.to_dict().items() if k != "stack_step_mm"}
    assert InputSpec.from_dict(values) == SPEC
    assert SPEC.stack_step_mm is None
    again = InputSpec.from_dict(json.loads(json.dumps(apart(2.5).to_dict())))
    assert again == apart(2.5)


# --- training, predict and export -----------------------------------------------------


def test_a_training_crop_takes_them_by_the_cases_own_spacing(tmp_path: Path):
    image = np.arange(30, dtype=np.int16)[:, None, None].repeat(8, 1).repeat(8, 2)
    cases = [
        Case(
            name,
            image,
            np.zeros_like(image, np.uint8),
            (spacing, 0.7, 0.7),
            name,
            "train",
        )
        for name, spacing in (("thin", 1.0), ("thick", 3.0))
    ]
    store = CaseStore.write(tmp_path / "s.h5", cases)
    stacks = [
        read_crop(store, Crop(name, 15, 0, 0, 8), apart(3.0))[0][0, 0].tolist()
        for name in ("thin", "thick")
    ]
    assert stacks[0] == [3, 6, 9, 12, 15, 18, 21, 24, 27]
    assert stacks[1] == [11, 12, 13, 14, 15, 16, 17, 18, 19]


def test_predict_takes_them_along_the_patients_axis_however_the_scan_is_stored():
    head = noise_volume((24, 8, 8)).array
    plain = Volume(head, Geometry.axial(head.shape, (1.5, 0.5, 0.5)))
    # The same voxels stored as a sagittal series: z of the patient is its row axis.
    stored = np.ascontiguousarray(head.transpose(2, 0, 1))
    affine = np.diag([0.5, 0.5, 1.5, 1.0])[:, [0, 2, 1, 3]]
    sagittal = Volume(stored, Geometry(stored.shape, affine))
    np.testing.assert_array_equal(lps_view(sagittal.array, sagittal.geometry), head)
    first = picking_network(channel=0)  # four steps below
    found = [
        kcalc.predict(first, volume, input_spec=apart(3.0), keep_probability=True)
        for volume in (plain, sagittal)
    ]
    scaled = np.clip((head.astype(np.float32) + 200) / 1000, 0, 1)
    expected = scaled[np.clip(np.arange(24) - 8, 0, None)]
    run = (head >= 130).any(axis=(1, 2))
    assert found[0].probability is not None
    np.testing.assert_allclose(found[0].probability[run], expected[run], atol=1e-6)
    np.testing.assert_array_equal(
        lps_view(found[1].mask, sagittal.geometry), found[0].mask
    )


def test_segment_takes_the_same_slices_as_predict(tmp_path: Path):
    import tensorflow as tf

    spec = apart(2.1)
    model = random_network()
    version = export_saved_model(model, tmp_path / "model", input_spec=spec)
    assert read_manifest(version).input_spec == spec
    segment = tf.saved_model.load(str(version)).signatures["segment"]
    array = noise_volume((20, 12, 12)).array
    masks = []
    # 0.7 and 4.2 make ties, which float32 must not break another way.
    for spacing_mm in (0.3, 0.7, 1.4, 2.1, 4.2, 7.5):
        spacing = (spacing_mm, 0.5, 0.5)
        volume = Volume(array, Geometry.axial(array.shape, spacing))
        mask = kcalc.predict(version, volume).mask
        graph = segment(
            hu=tf.constant(array), spacing_mm=tf.constant(spacing, tf.float32)
        )["mask"].numpy()
        np.testing.assert_array_equal(graph.astype(bool), mask)
        masks.append(mask)
    assert any((masks[0] != mask).any() for mask in masks[1:])
