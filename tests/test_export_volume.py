"""Exported networks of valid convolutions: signatures, masks, refusals, scores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from test_export import session_caller

from kcalc import artifact
from kcalc.cli import main
from kcalc.errors import GeometryError, ModelError
from kcalc.export import export_saved_model, save_keras_model
from kcalc.export.volume_signatures import _plan
from kcalc.geometry import Geometry
from kcalc.inference import (
    ValidGeometry,
    open_network,
    predict,
    predict_exact,
    residual_dropout_geometry,
    tiling,
    valid_run,
)
from kcalc.models import residual_dropout_fcn
from kcalc.phantoms import write_dicom_series
from kcalc.preparation import InputSpec
from kcalc.scoring import calcium_score
from kcalc.scoring.targets import ICAC_RULE
from kcalc.volume import Acquisition, Volume

SPACING_MM = (1.0, 0.49, 0.49)
SPEC = InputSpec((-1000.0, 1500.0), spacing_mm=SPACING_MM)
MAX_VOXELS = 400_000


def network(variant: str = "literal") -> keras.Model:
    """A narrow network whose batch normalisations have moments of their own."""
    keras.utils.set_random_seed(3)
    model = residual_dropout_fcn((None, None, None, 1), variant, channels=(2, 3, 4))
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if variable.name in ("moving_mean", "beta"):
            variable.assign(rng.normal(0.0, 0.1, variable.shape))
        if variable.name in ("moving_variance", "gamma"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def scan(shape_zyx: tuple[int, int, int] = (11, 21, 34), seed: int = 0) -> Volume:
    """Soft tissue with bright specks in two corners, one voxel of 130 HU exactly."""
    rng = np.random.default_rng(seed)
    hu = rng.normal(20.0, 40.0, shape_zyx).clip(-200, 129).astype(np.int16)
    for corner in (np.s_[:4, :6, :7], np.s_[-3:, -5:, -8:]):
        hu[corner] = rng.integers(100, 900, hu[corner].shape)
    hu[0, 0, 0], hu[-1, 0, -1] = 130, -1000
    return Volume(hu, Geometry.axial(shape_zyx, SPACING_MM))


def cut_of(model: keras.Model, volume: Volume) -> float:
    """A probability in a wide gap near the middle of those of the candidates."""
    probability = predict(
        model, volume, input_spec=SPEC, keep_probability=True
    ).probability
    values = np.sort(probability[volume.array > 130])
    middle = values[len(values) // 4 : -len(values) // 4]
    widest = np.argmax(np.diff(middle))
    return float(middle[widest : widest + 2].mean())


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network()


@pytest.fixture(scope="module")
def version(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_saved_model(
        model,
        tmp_path_factory.mktemp("models") / "icac",
        input_spec=SPEC,
        threshold=cut_of(model, scan()),
        max_voxels=MAX_VOXELS,
        trained_on="Noise.",
    )


def with_plate() -> Volume:
    """A component wider than one tile."""
    volume = scan()
    volume.array[5, 2:19, 2:32] = 500
    return volume


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path]:
    """The other variant, components taken whole, and a spec that repeats its halo."""
    model = network("aligned")
    version = export_saved_model(
        model,
        tmp_path_factory.mktemp("models") / "aligned",
        input_spec=replace(SPEC, halo_zyx=(18, 42, 42), stride_zyx=(2, 4, 4)),
        threshold=cut_of(model, with_plate()),
        component_share=0.3,
        max_voxels=40 * 90 * 98,
    )
    return model, version


@pytest.fixture(scope="module")
def loaded(version: Path) -> Any:
    return tf.saved_model.load(str(version))


def segment(loaded: Any, hu: Any, spacing_mm: Any = SPACING_MM) -> Any:
    answer = loaded.signatures["segment"](
        hu=tf.constant(hu, tf.int16), spacing_mm=tf.constant(spacing_mm, tf.float32)
    )
    return answer["mask"].numpy()


# The contract


def test_the_signatures_and_the_manifest_are_the_contract(
    version: Path, loaded: Any
) -> None:
    manifest = artifact.verify(version, task="intracranial_carotid_calcium")
    found = {
        name: tuple(
            {key: (spec.dtype.name, tuple(spec.shape)) for key, spec in side.items()}
            for side in (
                signature.structured_input_signature[1],
                signature.structured_outputs,
            )
        )
        for name, signature in loaded.signatures.items()
    }
    assert found["serving_default"] == (
        {"hu": ("int16", (None,) * 4)},
        {"probabilities": ("float32", (None,) * 4)},
    )
    assert found["segment"] == (
        {"hu": ("int16", (None,) * 3), "spacing_mm": ("float32", (3,))},
        {"mask": ("uint8", (None,) * 3)},
    )
    outputs = found["score"][1]
    assert outputs["lesions"] == ("float32", (None, 11))
    assert "agatston" not in outputs
    assert {
        name: tuple(
            {key: (info.dtype, info.shape) for key, info in side.items()}
            for side in (signature.inputs, signature.outputs)
        )
        for name, signature in manifest.signatures.items()
    } == found
    assert manifest.labels == ("intracranial_carotid_calcium",)
    assert (manifest.candidate_hu, manifest.candidate_comparison) == (130.0, ">")
    assert manifest.geometry == residual_dropout_geometry("literal")
    assert manifest.input_spec == SPEC


def test_auxiliary_heads_are_left_out_and_weights_are_stored_once(
    version: Path, model: keras.Model
) -> None:
    main = keras.Model(model.inputs, model.output["main"])
    assert main.count_params() < model.count_params()
    data = version / "variables" / "variables.data-00000-of-00001"
    assert data.stat().st_size == pytest.approx(4 * main.count_params(), abs=500)
    fresh = residual_dropout_fcn((None, None, None, 1), channels=(2, 3, 4))
    fresh.load_weights(version / "model.weights.h5")  # with the heads, to go on
    for mine, its in zip(fresh.weights, model.weights, strict=True):
        np.testing.assert_array_equal(mine, its)


def test_serving_default_gives_the_main_output(
    loaded: Any, model: keras.Model, aligned: tuple[keras.Model, Path]
) -> None:
    hu = np.random.default_rng(1).normal(100, 400, (2, 40, 90, 86)).astype(np.int16)
    scaled = (np.clip(hu.astype(np.float32), -1000.0, 1500.0) + 1000.0) / 2500.0
    for source, exported, shape in (
        (model, loaded, (2, 4, 8, 4)),
        (aligned[0], tf.saved_model.load(str(aligned[1])), (2, 4, 6, 2)),
    ):
        call = exported.signatures["serving_default"]
        got = call(hu=tf.constant(hu))["probabilities"].numpy()
        expected = source(scaled[..., np.newaxis])["main"][..., 0]
        assert got.shape == shape and got.std() > 1e-3
        np.testing.assert_allclose(got, expected, atol=1e-6)


# Masks


@pytest.mark.parametrize("shape", [(11, 21, 34), (1, 5, 4), (3, 16, 9)])
def test_segment_gives_the_mask_of_predict(
    version: Path, loaded: Any, model: keras.Model, shape: tuple[int, int, int]
) -> None:
    volume = scan(shape, seed=sum(shape))
    threshold = artifact.read_manifest(version).threshold
    mask = segment(loaded, volume.array)
    by_folder = predict(version, volume, max_voxels=1_000_000)
    by_keras = predict(model, volume, input_spec=SPEC, threshold=threshold)
    np.testing.assert_array_equal(mask, by_folder.mask)
    np.testing.assert_array_equal(mask, by_keras.mask)
    assert mask.max() == 1 and mask.sum() < (volume.array > 130).sum()


def test_the_mask_is_that_of_the_whole_volume_at_voxels_above_130_hu(
    version: Path, model: keras.Model, loaded: Any
) -> None:
    volume = scan()
    run = valid_run(model, SPEC)
    geometry = residual_dropout_geometry("literal")
    probability = predict_exact(run, volume.array, geometry, max_voxels=10**9)
    cut = artifact.read_manifest(version).threshold
    expected = (probability >= cut) & (volume.array > 130)
    np.testing.assert_array_equal(segment(loaded, volume.array), expected)
    prediction = predict(version, volume, keep_probability=True)
    np.testing.assert_allclose(
        prediction.probability, np.where(volume.array > 130, probability, 0), atol=1e-6
    )
    assert prediction.num_slices_run == 7


def test_score_gives_volume_and_lesions_of_the_mask(version: Path, loaded: Any) -> None:
    volume = scan()
    mask = predict(version, volume).mask
    expected = calcium_score(volume.array, mask, SPACING_MM, rule=ICAC_RULE)
    found = loaded.signatures["score"](
        hu=tf.constant(volume.array), spacing_mm=tf.constant(SPACING_MM)
    )
    assert found["volume_mm3"].numpy() == pytest.approx(expected.volume_mm3, rel=1e-6)
    assert found["lesion_count"].numpy() == expected.num_lesions > 1
    assert found["rule"].numpy() == b"icac_volume"
    np.testing.assert_allclose(
        found["lesions"].numpy()[:, 5], [x.volume_mm3 for x in expected.lesions], 1e-6
    )


def test_a_flipped_scan_gets_the_same_mask_on_its_own_grid(version: Path) -> None:
    volume = scan()
    affine = volume.geometry.affine_lps.copy()
    affine[2, 3] = (volume.shape[0] - 1) * affine[2, 0]
    affine[:, 0] *= -1
    flipped = Volume(volume.array[::-1], Geometry(volume.shape, affine))
    np.testing.assert_array_equal(
        predict(version, flipped).mask[::-1], predict(version, volume).mask
    )


def test_a_component_is_voted_for_whole_across_tiles(
    aligned: tuple[keras.Model, Path],
) -> None:
    volume = with_plate()
    mask = segment(tf.saved_model.load(str(aligned[1])), volume.array)
    np.testing.assert_array_equal(mask, predict(aligned[1], volume).mask)
    plate = mask[5, 2:19, 2:32]
    votes = predict(
        replace(open_network(aligned[1]), component_share=None), volume
    ).mask
    assert plate.all() and not votes[5, 2:19, 2:32].all()


def test_fractional_values_are_compared_before_they_are_rounded(
    version: Path,
) -> None:
    volume = scan()
    array = volume.array.astype(np.float32)
    array[0, 1, 1] = 130.4
    fractional = Volume(array, volume.geometry)
    network = replace(open_network(version), threshold=1e-9)
    mask = predict(network, fractional).mask
    assert mask[0, 1, 1] and not mask[0, 0, 0]


def test_no_tile_is_larger_than_the_bound(model: keras.Model) -> None:
    sizes: list[int] = []
    network = open_network(model, input_spec=SPEC)

    def run(hu: np.ndarray) -> np.ndarray:
        sizes.append(hu.size)
        return network.run(hu)

    predict(replace(network, run=run), scan(), max_voxels=MAX_VOXELS)
    assert max(sizes) <= MAX_VOXELS and len(sizes) > 1


def test_a_scan_without_candidates_has_an_empty_mask(
    version: Path, loaded: Any
) -> None:
    hu = np.full((3, 8, 8), 130, np.int16)
    hu[0, 0, 0] = -1000
    assert not segment(loaded, hu).any()
    prediction = predict(version, Volume(hu, Geometry.axial(hu.shape, SPACING_MM)))
    assert not prediction.mask.any() and prediction.num_slices_run == 0


def test_a_keras_file_gives_the_same_mask(
    model: keras.Model, version: Path, tmp_path: Path
) -> None:
    path = save_keras_model(
        model,
        tmp_path / "icac.keras",
        input_spec=SPEC,
        threshold=artifact.read_manifest(version).threshold,
    )
    manifest = artifact.verify(path)
    assert manifest.geometry == residual_dropout_geometry("literal")
    np.testing.assert_array_equal(
        predict(path, scan()).mask, predict(version, scan()).mask
    )


# kcalc score


def series_of(folder: Path, spacing_mm: tuple[float, float, float]) -> Path:
    volume = scan()
    acquisition = Acquisition(modality="CT", tube_voltage_kvp=120.0)
    geometry = Geometry.axial(volume.shape, spacing_mm)
    write_dicom_series(
        Volume(volume.array, geometry, acquisition=acquisition), folder / "series"
    )
    return folder / "series"


def test_a_scan_is_scored_by_volume_with_such_a_model(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series = series_of(tmp_path, SPACING_MM)
    command = ["score", "-i", str(series), "-o", str(tmp_path / "out"), "--json"]
    assert main([*command, "--model", str(version), "--target", "icac"]) == 0
    record = json.loads(capsys.readouterr().out)
    mask = predict(version, scan()).mask
    _, num_lesions = ndimage.label(mask, np.ones((3, 3, 3)))
    assert record["volume_mm3"] == pytest.approx(mask.sum() * 0.49**2)
    assert record["num_lesions"] == len(record["lesions"]) == num_lesions > 1
    assert record["agatston"] is None and record["risk_category"] is None
    assert record["model"]["name"] == "icac"
    assert record["model"]["task"] == "intracranial_carotid_calcium"


def test_a_scan_of_another_spacing_is_refused_with_a_way_out(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series = series_of(tmp_path, (2.0, 0.49, 0.49))
    command = ["score", "-i", str(series), "-o", str(tmp_path / "out")]
    assert main([*command, "--model", str(version), "--target", "icac"]) == 3
    message = capsys.readouterr().err
    assert "MODEL_SPACING" in message and "Resample" in message
    assert not (tmp_path / "out").exists()


def test_a_model_is_used_for_its_own_target_alone(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series = series_of(tmp_path, SPACING_MM)
    command = ["score", "-i", str(series), "-o", str(tmp_path / "out")]
    assert main([*command, "--model", str(version)]) == 6
    assert "--target icac" in capsys.readouterr().err
    shipped = [*command, "--target", "icac", "--model", artifact.DEFAULT_MODEL]
    assert main(shipped) == 6
    assert "--target coronary" in capsys.readouterr().err


# Refusals


@pytest.fixture(scope="module")
def session_call(version: Path) -> Any:
    with session_caller(version) as call:
        yield call


SCAN = scan().array
PATCH = np.zeros((1, 38, 86, 86), np.int16)


@pytest.mark.parametrize(
    ("hu", "spacing_mm", "message"),
    [
        (SCAN[0], SPACING_MM, "three axes. Send hu as int16"),
        (SCAN[:, :0], SPACING_MM, "must not be empty. Send hu"),
        (np.full_like(SCAN, -7), SPACING_MM, "every voxel has the same value"),
        (SCAN + 1024, SPACING_MM, "RescaleIntercept"),
        (SCAN, SPACING_MM[:2], "three finite, positive numbers"),
        (SCAN, (1.0, 0.49, 0.49, 0.49), "three finite, positive numbers"),
        (SCAN, (1.0, np.nan, 0.49), "three finite, positive numbers"),
        (SCAN, (3.0, 0.49, 0.49), "must be 1 x 0.49 x 0.49, 3% more or less"),
        (SCAN, (1.0, 0.49, 0.51), "Resample the scan to that spacing"),
    ],
)
def test_segment_refuses_and_says_what_to_send(
    session_call: Any, hu: Any, spacing_mm: Any, message: str
) -> None:
    spacing = np.array(spacing_mm, np.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        session_call("segment", hu=hu, spacing_mm=spacing)


def test_a_spacing_nearly_the_models_is_taken(session_call: Any, loaded: Any) -> None:
    mask = session_call(
        "segment", hu=SCAN, spacing_mm=np.array([1.02, 0.48, 0.5], np.float32)
    )
    np.testing.assert_array_equal(mask, segment(loaded, SCAN))


@pytest.mark.parametrize(
    ("hu", "message"),
    [
        (PATCH[0], "four axes. Send hu as int16 Hounsfield units .n, z, y, x."),
        (PATCH[:0], "cannot take this size"),
        (PATCH[:, :37], r"cannot take this size.*\(38, 86, 86\)"),
        (PATCH[:, :36], "cannot take this size"),
        (np.zeros((1, 38, 88, 86), np.int16), r"multiples of \(2, 4, 4\)"),
    ],
)
def test_serving_default_refuses_sizes_that_the_network_cannot_take(
    session_call: Any, hu: Any, message: str
) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        session_call("serving_default", hu=hu)


def test_patches_of_air_are_no_fault(session_call: Any) -> None:
    assert session_call("serving_default", hu=PATCH - 1024).shape == (1, 2, 4, 4)


def test_another_spacing_is_refused(version: Path, model: keras.Model) -> None:
    volume = Volume(SCAN, Geometry.axial(SCAN.shape, (3.0, 0.49, 0.49)))
    for source, spec in ((version, None), (model, SPEC)):
        with pytest.raises(GeometryError, match=r"1 x 0.49 x 0.49 mm.*3 x 0.49") as e:
            predict(source, volume, input_spec=spec)
        assert e.value.code == "MODEL_SPACING"


def test_probabilities_that_are_not_finite_are_refused(version: Path) -> None:
    spoilt = tf.saved_model.load(str(version))
    (weights,) = spoilt.tfvars
    weights.assign(tf.fill(weights.shape, np.nan))
    for name, inputs in (
        ("segment", {"hu": SCAN, "spacing_mm": SPACING_MM}),
        ("serving_default", {"hu": PATCH}),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match="NaN or infinite"):
            spoilt.signatures[name](
                **{key: tf.constant(value) for key, value in inputs.items()}
            )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (replace(SPEC, halo_zyx=(18, 44, 42)), "halo_zyx"),
        (replace(SPEC, stride_zyx=(4, 4, 4)), "stride_zyx"),
        (replace(SPEC, stack=9), "stack=1"),
    ],
)
def test_a_spec_that_contradicts_the_network_is_refused(
    model: keras.Model, tmp_path: Path, spec: InputSpec, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        export_saved_model(model, tmp_path / "icac", input_spec=spec)
    assert list(tmp_path.iterdir()) == []


def test_other_networks_on_volumes_are_refused(tmp_path: Path) -> None:
    inputs = keras.Input((None, None, None, 1))
    model = keras.Model(inputs, keras.layers.Conv3D(1, 3)(inputs))
    with pytest.raises(ModelError, match="residual_dropout_fcn") as caught:
        export_saved_model(model, tmp_path / "icac", input_spec=SPEC)
    assert caught.value.code == "MODEL_TASK"


def test_a_bound_below_the_smallest_tile_is_refused(
    model: keras.Model, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"at least 281048.*max_voxels=1000"):
        export_saved_model(model, tmp_path / "i", input_spec=SPEC, max_voxels=1000)


# The plan of tiles in the graph


@pytest.mark.parametrize("seed", range(12))
def test_the_graph_cuts_the_tiles_that_predict_exact_cuts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    candidates = rng.random(rng.integers(1, 90, 3)) < (0.001, 0.1)[seed % 2]
    candidates.flat[rng.integers(candidates.size)] = True
    geometry = ValidGeometry((1, 2, 2), (2, 3, 3), (2, 4, 4), (5, 9, 9))
    bound = int(rng.integers(405, 60_000))
    low, step, parts = _plan(tf.constant(candidates), geometry, bound)
    box = tiling._box(candidates)
    assert step.numpy().tolist() == list(tiling._cheapest_step(box, geometry, bound))
    start, stop = tiling._on_stride(box, geometry)
    assert low.numpy().tolist() == list(start)
    assert ((low + parts * step).numpy() >= stop).all()


def test_no_candidate_makes_no_tile() -> None:
    geometry = ValidGeometry((1, 2, 2), (2, 3, 3), (2, 4, 4), (5, 9, 9))
    _, _, parts = _plan(tf.zeros((4, 5, 6), tf.bool), geometry, 9999)
    assert parts.numpy().prod() == 0
