"""Components that a network voted for: in NumPy and in the graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

import kcalc
from kcalc.artifact import read_manifest
from kcalc.export import export_saved_model, save_keras_model
from kcalc.export.components import component_of_voxels, vote
from kcalc.geometry import Geometry
from kcalc.inference import open_network
from kcalc.inference.postprocess import calcium_of_slices
from kcalc.preparation import InputSpec
from kcalc.volume import Volume

SPEC = InputSpec(
    window_hu=(-200.0, 800.0), stack=1, multiple_zyx=(1, 1, 1), context="slice"
)
MASKS = hnp.arrays(
    np.bool_, st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12))
)


def row(*values: float) -> np.ndarray:
    return np.array([[values]])


# --- the vote -------------------------------------------------------------------


def test_without_a_share_each_voxel_stands_for_itself():
    mask = calcium_of_slices(
        row(0.9, 0.4, 0.5),
        row(1, 1, 0).astype(bool),
        threshold=0.5,
        component_share=None,
    )
    assert mask.tolist() == [[[True, False, False]]]


@pytest.mark.parametrize(("share", "kept"), [(0.5, True), (0.51, False)])
def test_a_component_is_kept_whole_from_the_share_on(share: float, kept: bool):
    mask = calcium_of_slices(
        row(0.9, 0.9, 0.1, 0.1), np.ones((1, 1, 4), bool), 0.5, share
    )
    assert mask.tolist() == [[[kept] * 4]]


def test_components_end_at_their_slice_and_join_over_corners():
    candidates = np.zeros((2, 3, 3), bool)
    candidates[0, 0, 0] = candidates[0, 1, 1] = True
    candidates[1, 1, 1] = True
    probability = np.zeros((2, 3, 3))
    probability[0, 0, 0] = 1.0
    mask = calcium_of_slices(probability, candidates, 0.5, 0.5)
    assert mask[0].sum() == 2
    assert not mask[1].any()


def test_a_vote_below_the_candidate_hu_counts_for_nothing():
    mask = calcium_of_slices(row(1.0, 0.0), row(0, 1).astype(bool), 0.5, 0.5)
    assert not mask.any()


# --- the graph ------------------------------------------------------------------


def component_of(mask: np.ndarray, connectivity: int) -> np.ndarray:
    index = tf.constant(np.argwhere(mask).reshape(-1, 3), tf.int64)
    size = tf.constant(mask.shape, tf.int64)
    return component_of_voxels(index, size, connectivity).numpy()


@given(mask=MASKS, connectivity=st.sampled_from([4, 8, 6, 26]))
@settings(max_examples=100, deadline=None)
def test_components_in_the_graph_are_those_of_scipy(
    mask: np.ndarray, connectivity: int
):
    component = component_of(mask, connectivity)
    structure = ndimage.generate_binary_structure(3, 1 if connectivity < 8 else 3)
    if connectivity in (4, 8):
        structure[[0, 2]] = False
    expected = ndimage.label(mask, structure)[0][mask]
    pairs = set(zip(component.tolist(), expected.tolist(), strict=True))
    assert len(pairs) == len(set(component.tolist())) == len(set(expected.tolist()))
    # The number of a component is that of its first voxel.
    assert all(
        np.flatnonzero(component == number)[0] == number for number in set(component)
    )


def test_a_long_winding_component_is_one():
    mask = np.zeros((1, 41, 41), bool)
    mask[0, ::2] = True
    mask[0, 1::4, -1] = True
    mask[0, 3::4, 0] = True
    assert set(component_of(mask, 8)) == {0}


@given(data=st.data(), mask=MASKS, share=st.sampled_from([0.1, 1 / 3, 0.5, 1.0]))
@settings(max_examples=50, deadline=None)
def test_the_vote_in_the_graph_equals_the_vote_outside(data, mask, share):
    probability = data.draw(
        hnp.arrays(np.float32, mask.shape, elements=st.sampled_from([0.0, 0.5, 1.0]))
    )
    votes = tf.constant((probability >= 0.5) & mask)
    in_graph = vote(votes, tf.constant(mask), share).numpy()
    assert np.array_equal(in_graph, calcium_of_slices(probability, mask, 0.5, share))


# --- each stage by itself ---------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "candidate_hu", "share", "expected"),
    [
        (0.25, -np.inf, None, [[1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 1, 0]]),  # p alone
        (0.40, -np.inf, None, [[0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 0]]),
        (0.25, 130.0, None, [[0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 1, 0]]),  # and 130 HU
        (0.40, 130.0, 0.5, [[0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 1, 0]]),  # and components
        (0.40, 130.0, 0.7, [[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]),
    ],
)
def test_every_stage_of_the_post_processing_can_be_switched(
    threshold: float, candidate_hu: float, share: float | None, expected: list
):
    image = keras.Input((None, None, 1))
    output = keras.layers.Conv2D(1, 1, use_bias=False)(image)
    model = keras.Model(image, output)
    model.set_weights([np.ones((1, 1, 1, 1))])  # the windowed HU is the probability
    # p 0.29 0.33 0.39 0.45 0.53 0; five candidates in one component, three of p >= 0.4.
    rows = [[90, 130, 190, 250, 330, -900], [90, 0, 0, 0, 330, -900]]
    array = np.array([rows], np.int16)
    volume = Volume(array, Geometry.axial(array.shape, (3.0, 0.5, 0.5)))
    network = replace(
        open_network(model, input_spec=SPEC),
        threshold=threshold,
        candidate_hu=candidate_hu,
        component_share=share,
    )
    found = kcalc.predict(network, volume).mask[0].astype(int)
    assert found.tolist() == expected


# --- a model that says so -------------------------------------------------------


@pytest.fixture(scope="module")
def bright() -> keras.Model:
    """A network that votes for what exceeds 300 HU."""
    image = keras.Input((None, None, 1))
    output = keras.layers.Conv2D(1, 1, activation="sigmoid")(image)
    model = keras.Model(image, output)
    model.set_weights([np.full((1, 1, 1, 1), 100.0), np.array([-50.0])])
    return model


@pytest.fixture(scope="module")
def scan() -> Volume:
    """Random HU; some slices have bright spots in larger components."""
    rng = np.random.default_rng(5)
    array = ndimage.gaussian_filter(rng.normal(0, 1, (6, 40, 44)), (0, 1.6, 1.6))
    array = np.int16(100 + 1300 * array)
    array[3] = -100
    return Volume(array, Geometry.axial(array.shape, (3.0, 0.5, 0.5)))


def test_predict_and_segment_give_the_same_mask_with_components(
    bright: keras.Model, scan: Volume, tmp_path: Path
):
    version = export_saved_model(
        bright, tmp_path / "model", input_spec=SPEC, component_share=0.5, batch_slices=2
    )
    assert read_manifest(version).component_share == 0.5
    loaded = tf.saved_model.load(str(version))
    served = loaded.signatures["segment"](
        hu=tf.constant(scan.array), spacing_mm=tf.constant([3.0, 0.5, 0.5])
    )["mask"].numpy()
    mask = kcalc.predict(version, scan).mask
    by_voxel = kcalc.predict(bright, scan, input_spec=SPEC).mask
    assert np.array_equal(served > 0, mask)
    assert (mask & ~by_voxel).any()
    assert (by_voxel & ~mask).any()


def test_a_keras_file_keeps_the_share(
    bright: keras.Model, scan: Volume, tmp_path: Path
):
    path = save_keras_model(
        bright, tmp_path / "m.keras", input_spec=SPEC, component_share=0.5
    )
    expected = kcalc.predict(bright, scan, input_spec=SPEC)
    found = kcalc.predict(path, scan)
    assert (found.mask != expected.mask).any()


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
def test_a_share_out_of_range_is_refused(bright: keras.Model, share: float, tmp_path):
    with pytest.raises(ValueError, match="component_share"):
        export_saved_model(bright, tmp_path, input_spec=SPEC, component_share=share)
