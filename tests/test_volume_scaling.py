"""Tests of scaling by a volume's own percentiles: spec, data plan, segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kcalc.data import Case, CaseStore, SliceData, VolumeData
from kcalc.errors import InputError, IntensityError
from kcalc.geometry import Geometry
from kcalc.inference import segment_volume
from kcalc.preparation import InputSpec, volume_window, windowed
from kcalc.volume import Volume

SPEC = InputSpec(None, volume_percentiles=(0, 50))
HU_SPEC = InputSpec((-200, 800))


def test_percentiles_of_the_volume_are_the_windows_edges() -> None:
    volume = np.arange(101, dtype=np.int16)
    window = volume_window(volume, SPEC)
    assert window == (0.0, 50.0)
    scaled = np.asarray(windowed(volume.astype("float32"), SPEC, window))
    np.testing.assert_allclose(scaled[[0, 25, 50, 100]], [0.0, 0.5, 1.0, 1.0])


def test_a_window_in_hu_is_every_volumes_own() -> None:
    assert volume_window(np.zeros(3), HU_SPEC) == (-200.0, 800.0)


def test_a_unit_twice_as_large_gives_the_same_input() -> None:
    one = np.random.default_rng(0).random((3, 4, 5), "float32") * 100
    inputs = [
        np.asarray(windowed(v, SPEC, volume_window(v, SPEC))) for v in (one, 2 * one)
    ]
    np.testing.assert_allclose(inputs[0], inputs[1], atol=1e-6)


def test_spec_survives_its_dictionary() -> None:
    assert InputSpec.from_dict(SPEC.to_dict()) == SPEC
    former = {k: v for k, v in HU_SPEC.to_dict().items() if k != "volume_percentiles"}
    assert InputSpec.from_dict(former) == HU_SPEC


def test_a_path_that_knows_no_volume_refuses() -> None:
    with pytest.raises(ValueError, match="needs the volume's window"):
        windowed(np.zeros(3, "float32"), SPEC)


@pytest.mark.parametrize(
    ("window", "percentiles", "message"),
    [
        (None, None, "and not both"),
        ((0, 1), (0, 50), "and not both"),
        (None, (50, 50), r"Received: volume_percentiles=\(50, 50\)"),
        (None, (0, 101), r"in \[0, 100\]"),
    ],
)
def test_impossible_scalings_are_refused(
    window: Any, percentiles: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        InputSpec(window, volume_percentiles=percentiles)


def test_a_constant_volume_is_refused() -> None:
    with pytest.raises(IntensityError, match="EMPTY"):
        volume_window(np.ones(9), SPEC)


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    """Two MR cases, alike but for their unit."""
    image = np.arange(8 * 9 * 10, dtype=np.int16).reshape(8, 9, 10)
    label = (image > 400).astype(np.uint8)
    cases = [
        Case(
            name,
            (image * factor).astype(np.int16),
            label,
            (8.0, 1.5, 1.5),
            name,
            split,
            unit="arbitrary",
        )
        for name, split, factor in (("a", "train", 1), ("b", "validation", 5))
    ]
    return CaseStore.write(tmp_path / "store.h5", cases)


PLAN = VolumeData(
    (8, 9, 10), threshold_hu=-1, supervise_above_threshold=False, validation_patches=1
)


def test_boxes_are_scaled_by_the_whole_volume_in_any_unit(store: CaseStore) -> None:
    spec = InputSpec(None, volume_percentiles=(0, 100))
    ((image, target),) = PLAN.training(
        store, input_spec=spec, batch_size=1, seed=0, start=0, stop=1
    )
    expected = np.arange(720).reshape(8, 9, 10) / 719
    np.testing.assert_allclose(np.asarray(image)[0, ..., 0], expected, atol=1e-6)
    np.testing.assert_array_equal(
        np.asarray(target)[0, ..., 0], np.arange(720).reshape(8, 9, 10) > 400
    )
    ((other, *_),) = PLAN.validation(store, input_spec=spec, seed=0)
    np.testing.assert_allclose(np.asarray(other), np.asarray(image), atol=1e-6)


@pytest.mark.parametrize("plan", [PLAN, SliceData()])
def test_a_window_in_hu_refuses_arbitrary_units(store: CaseStore, plan: Any) -> None:
    with pytest.raises(InputError, match="STORE_UNIT"):
        plan.training(store, input_spec=HU_SPEC, batch_size=1, seed=0, start=0, stop=1)
    with pytest.raises(InputError, match="STORE_UNIT"):
        plan.validation(store, input_spec=HU_SPEC, seed=0)


def _brighter_than_half() -> keras.Model:
    inputs = keras.Input((None, None, None, 1))
    outputs = keras.layers.Concatenate()([1.0 - inputs, inputs])
    return keras.Model(inputs, outputs)


def test_segment_volume_labels_the_stored_grid() -> None:
    image = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
    volume = Volume(image, Geometry.axial((5, 6, 7), (8, 1, 1)), unit="arbitrary")
    spec = InputSpec(None, volume_percentiles=(0, 100))
    labels = segment_volume(
        _brighter_than_half(), volume, input_spec=spec, halo_zyx=(0, 0, 0)
    )
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, image > 104)
    with pytest.raises(IntensityError, match="HU_UNKNOWN"):
        segment_volume(
            _brighter_than_half(), volume, input_spec=HU_SPEC, halo_zyx=(0, 0, 0)
        )
