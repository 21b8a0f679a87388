"""predict: what the network sees, which voxels it gives back, what it refuses."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import stand_in_network as stand_in

import kcalc
from kcalc.errors import IntensityError, ModelError
from kcalc.export import save_keras_model
from kcalc.geometry import Geometry
from kcalc.inference import network as network_module
from kcalc.inference import open_network, predict
from kcalc.models import dense_ra_unet
from kcalc.orientation import lps_view
from kcalc.preparation import InputSpec
from kcalc.volume import Volume

SPEC = stand_in.SPEC
UNIT = (1.0, 1.0, 1.0)


def axial(array: Any) -> Volume:
    array = np.asarray(array)
    return Volume(array, Geometry.axial(array.shape, UNIT))


def probability_by_hand(model: keras.Model, array: Any) -> Any:
    """Windowing, padding to multiples of 4 with air, and one call of the model."""
    pad_y, pad_x = -array.shape[1] % 4, -array.shape[2] % 4
    padded = np.pad(array, ((0, 0), (0, pad_y), (0, pad_x)), constant_values=-1024)
    stacks = stand_in.stacks_of(padded.astype(np.float32))
    scaled = (np.clip(stacks, -200.0, 800.0) + 200.0) / 1000.0
    output = np.asarray(model(scaled, training=False))[..., 0]
    return output[:, : array.shape[1], : array.shape[2]]


def test_the_mask_is_probability_and_threshold_on_every_slice_with_a_candidate() -> (
    None
):
    model, volume = stand_in.random_network(), stand_in.noise_volume()
    expected = probability_by_hand(model, volume.array)
    cut = float(np.median(expected))
    got = predict(model, volume, input_spec=SPEC, threshold=cut, keep_probability=True)
    assert got.mask.dtype == np.bool_
    assert got.num_slices_run == 6
    assert got.labels == ("calcium",)
    assert got.seconds_network > 0.0
    run = [0, 1, 2, 4, 5, 6]
    np.testing.assert_allclose(got.probability[run], expected[run], atol=1e-6)
    assert not got.probability[3].any()
    sure = np.abs(expected - cut) > 1e-6
    by_hand = (expected >= cut) & (volume.array >= 130)
    assert 0 < by_hand.sum() < (volume.array >= 130).sum()
    np.testing.assert_array_equal(got.mask[sure], by_hand[sure])


@pytest.mark.parametrize("batch_slices", [2, 4, 100])
def test_the_batch_size_does_not_change_the_mask(batch_slices: int) -> None:
    model, volume = stand_in.random_network(), stand_in.noise_volume()
    one = predict(model, volume, input_spec=SPEC, keep_probability=True)
    many = predict(
        model,
        volume,
        input_spec=SPEC,
        batch_slices=batch_slices,
        keep_probability=True,
    )
    np.testing.assert_allclose(many.probability, one.probability, atol=1e-6)
    np.testing.assert_array_equal(many.mask, one.mask)


@pytest.mark.parametrize(
    ("channel", "slices"),
    [(0, [0, 0, 0, 0, 0, 1]), (4, [0, 1, 2, 3, 4, 5]), (8, [4, 5, 5, 5, 5, 5])],
)
def test_border_slices_are_repeated_in_the_stack(
    channel: int, slices: list[int]
) -> None:
    array = np.full((6, 4, 4), 200, np.int16)
    array[:, 0, 0] = [0, 100, 200, 300, 400, 500]
    array[:, 3, 3] = -1000
    got = predict(
        stand_in.picking_network(channel),
        axial(array),
        input_spec=SPEC,
        keep_probability=True,
    )
    values = [(array[z, 0, 0] + 200) / 1000 for z in slices]
    np.testing.assert_allclose(got.probability[:, 0, 0], values, atol=1e-7)


def test_a_probability_at_the_threshold_is_in_the_mask() -> None:
    array = np.array([[[-1000, 299, 300, 301]]], np.int16)
    got = predict(stand_in.picking_network(), axial(array), input_spec=SPEC)
    assert got.mask.tolist() == [[[False, False, True, True]]]


def test_fractional_hu_meet_the_cut_before_they_are_rounded() -> None:
    array = np.array([[[-1000.0, 129.6, 130.0, 130.4]]], np.float32)
    got = predict(
        stand_in.picking_network(),
        axial(array),
        input_spec=SPEC,
        threshold=0.33,
        keep_probability=True,
    )
    assert got.mask.tolist() == [[[False, False, True, True]]]
    np.testing.assert_allclose(got.probability[0, 0, 1:], 0.33, atol=1e-7)


def test_a_slice_whose_candidates_only_appear_by_rounding_is_skipped() -> None:
    array = np.array([[[-1000.0, 129.6]]], np.float32)
    got = predict(stand_in.picking_network(), axial(array), input_spec=SPEC)
    assert got.num_slices_run == 0
    assert not got.mask.any()


def test_huge_float_hu_are_clipped_and_do_not_wrap_round() -> None:
    array = np.array([[[-1e6, 1e6]]], np.float32)
    got = predict(stand_in.picking_network(), axial(array), input_spec=SPEC)
    assert got.mask.tolist() == [[[False, True]]]


@pytest.mark.parametrize(
    ("axes", "flips"),
    [
        ((0, 1, 2), (-1, 1, 1)),
        ((0, 1, 2), (1, -1, -1)),
        ((0, 1, 2), (-1, -1, 1)),
        ((1, 0, 2), (1, 1, 1)),
        ((2, 0, 1), (-1, 1, -1)),
    ],
)
def test_the_network_sees_lps_whatever_grid_is_stored(
    axes: tuple[int, int, int], flips: tuple[int, int, int]
) -> None:
    model, standard = stand_in.random_network(), stand_in.noise_volume()
    expected = predict(model, standard, input_spec=SPEC).mask
    steps = tuple(slice(None, None, flip) for flip in flips)

    def store(array: Any) -> Any:
        return np.ascontiguousarray(array.transpose(axes)[steps])

    columns = standard.geometry.affine_lps[:, list(axes)] * np.array(flips)
    affine = np.column_stack([columns, standard.geometry.affine_lps[:, 3]])
    array = store(standard.array)
    stored = Volume(array, Geometry(array.shape, affine))
    got = predict(model, stored, input_spec=SPEC).mask
    assert expected.any()
    np.testing.assert_array_equal(got, store(expected))


def test_an_oblique_grid_is_viewed_along_its_nearest_axes() -> None:
    affine = Geometry.axial((2, 3, 4), UNIT).affine_lps.copy()
    angle = np.radians(20.0)
    turn = np.array(
        [
            [1.0, 0.0, 0.0],
            [0.0, np.cos(angle), -np.sin(angle)],
            [0.0, np.sin(angle), np.cos(angle)],
        ]
    )
    affine[:3, :3] = turn @ affine[:3, :3]
    array = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(lps_view(array, Geometry((2, 3, 4), affine)), array)


def test_progress_counts_the_slices_that_are_run() -> None:
    calls: list[tuple[int, int]] = []
    predict(
        stand_in.random_network(),
        stand_in.noise_volume(),
        input_spec=SPEC,
        batch_slices=4,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(4, 6), (6, 6)]


def test_volumes_of_other_sizes_do_not_trace_the_network_again() -> None:
    model = stand_in.random_network()
    for shape_zyx in ((2, 8, 8), (3, 13, 18), (5, 20, 6)):
        predict(model, stand_in.noise_volume(shape_zyx), input_spec=SPEC)
    function: Any = network_module.cached_probability_function(model, SPEC)
    assert function.experimental_get_tracing_count() == 1


def test_new_weights_are_used_at_once() -> None:
    model, volume = stand_in.picking_network(), stand_in.noise_volume()
    assert predict(model, volume, input_spec=SPEC).mask.any()
    model.set_weights([np.zeros((1, 1, 9, 1))])
    assert not predict(model, volume, input_spec=SPEC).mask.any()


def test_the_volume_is_left_as_it_was() -> None:
    volume = stand_in.noise_volume()
    before = volume.array.copy()
    predict(stand_in.random_network(), volume, input_spec=SPEC)
    np.testing.assert_array_equal(volume.array, before)


def test_the_real_network_predicts_on_odd_sizes() -> None:
    model = dense_ra_unet((None, None, 9), width=0.125, blocks=(1, 1, 1, 1))
    spec = replace(SPEC, multiple_zyx=(1, 16, 16))
    volume = stand_in.noise_volume((2, 37, 50))
    got = predict(model, volume, input_spec=spec, keep_probability=True)
    assert got.mask.shape == got.probability.shape == (2, 37, 50)
    assert got.probability.min() > 0.0


def refused_volume(**changes: Any) -> Volume:
    return replace(stand_in.noise_volume(), **changes)


@pytest.mark.parametrize(
    ("volume", "code", "message"),
    [
        (refused_volume(unit="arbitrary"), "HU_UNKNOWN", "unit='arbitrary'"),
        (axial(np.full((2, 3, 4), -5, np.int16)), "EMPTY", "this one is -5 HU"),
        (axial(np.array([[[0, 900]]], np.int16)), "HU_RANGE", "minimum 0"),
    ],
)
def test_values_that_cannot_be_hu_are_refused(
    volume: Volume, code: str, message: str
) -> None:
    with pytest.raises(IntensityError, match=message) as caught:
        predict(stand_in.picking_network(), volume, input_spec=SPEC)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 0.0}, "threshold must lie between 0 and 1"),
        ({"threshold": float("nan")}, "threshold must lie between 0 and 1"),
        ({"batch_slices": 0}, "batch_slices must be at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        predict(
            stand_in.picking_network(),
            stand_in.noise_volume(),
            input_spec=SPEC,
            **arguments,
        )


def test_a_keras_model_without_input_spec_is_refused() -> None:
    with pytest.raises(ModelError, match="Give input_spec") as caught:
        predict(stand_in.picking_network(), stand_in.noise_volume())
    assert caught.value.code == "MODEL_MANIFEST"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (InputSpec((-200.0, 800.0), stack=5), "stack=5"),
        (replace(SPEC, spacing_mm=(3.0, 0.5, 0.5)), "the scan's own spacing"),
    ],
)
def test_a_spec_that_is_not_the_networks_is_refused(
    spec: InputSpec, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        predict(stand_in.picking_network(), stand_in.noise_volume(), input_spec=spec)
    assert caught.value.code == "MODEL_TASK"


def test_a_network_of_fixed_size_takes_that_size_only() -> None:
    inputs = keras.Input((16, 20, 9))
    outputs = keras.layers.Conv2D(1, 1, activation="sigmoid")(inputs)
    model = keras.Model(inputs, outputs)
    fitting = stand_in.noise_volume((2, 13, 18))
    assert predict(model, fitting, input_spec=SPEC).mask.shape == (2, 13, 18)
    with pytest.raises(ModelError, match=r"Received: \(16, 24\)") as caught:
        predict(model, stand_in.noise_volume((2, 13, 21)), input_spec=SPEC)
    assert caught.value.code == "MODEL_TASK"


def test_weights_that_are_not_finite_are_refused_by_name() -> None:
    model = stand_in.picking_network(gain=float("nan"))
    with pytest.raises(ModelError, match=r"conv2d.*/kernel holds NaN") as caught:
        predict(model, stand_in.noise_volume(), input_spec=SPEC)
    assert caught.value.code == "MODEL_NONFINITE"


def test_an_output_that_is_not_finite_is_refused() -> None:
    model = stand_in.picking_network(gain=3e38)
    inputs = keras.Input((None, None, 9))
    overflowing = keras.Model(inputs, model(inputs) * 1e38)
    with pytest.raises(ModelError, match="the network gave NaN") as caught:
        predict(overflowing, stand_in.noise_volume(), input_spec=SPEC)
    assert caught.value.code == "MODEL_NONFINITE"


# .keras files


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_keras_model(
        stand_in.random_network(),
        tmp_path / "best.keras",
        input_spec=SPEC,
        threshold=0.4,
    )


def test_a_keras_file_predicts_as_its_manifest_says(saved: Path) -> None:
    volume = stand_in.noise_volume()
    network = open_network(saved)
    assert (network.threshold, network.labels) == (0.4, ("coronary_calcium",))
    expected = predict(
        stand_in.random_network(), volume, input_spec=SPEC, threshold=0.4
    )
    np.testing.assert_array_equal(predict(network, volume).mask, expected.mask)
    np.testing.assert_array_equal(predict(saved, volume).mask, expected.mask)


def test_another_spec_than_the_manifests_is_refused(saved: Path) -> None:
    spec = replace(SPEC, window_hu=(-100.0, 700.0))
    with pytest.raises(ModelError, match="must be the manifest's") as caught:
        predict(saved, stand_in.noise_volume(), input_spec=spec)
    assert caught.value.code == "MODEL_TASK"


def test_a_keras_file_without_manifest_needs_the_spec(saved: Path) -> None:
    saved.with_suffix(".kcalc.json").unlink()
    volume = stand_in.noise_volume()
    assert predict(saved, volume, input_spec=SPEC).mask.any()
    with pytest.raises(ModelError, match="has none") as caught:
        predict(saved, volume)
    assert caught.value.code == "MODEL_MANIFEST"


def test_load_model_gives_the_model_back_with_the_dropout_untouched(
    saved: Path,
) -> None:
    model = kcalc.load_model(saved)
    x = np.random.default_rng(0).random((1, 8, 8, 9), dtype=np.float32)
    np.testing.assert_allclose(
        model(x), stand_in.random_network()(x), rtol=0.0, atol=1e-7
    )


def test_load_model_knows_the_layers_of_kcalc(tmp_path: Path) -> None:
    model = dense_ra_unet((None, None, 9), width=0.125, blocks=(1, 1, 1, 1))
    model.save(tmp_path / "real.keras")
    x = np.random.default_rng(0).random((1, 16, 32, 9), dtype=np.float32)
    np.testing.assert_allclose(
        kcalc.load_model(tmp_path / "real.keras")(x), model(x), rtol=0.0, atol=1e-6
    )


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-500])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def put_text(file: Path) -> None:
    file.write_text("not a model")


def lose_the_weights(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        kept = {n: archive.read(n) for n in ("config.json", "metadata.json")}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)


def break_the_config(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, b"{" if name == "config.json" else content)


@pytest.mark.parametrize("with_manifest", [True, False])
@pytest.mark.parametrize(
    "damage",
    [flip_a_bit, cut_short, empty, put_text, lose_the_weights, break_the_config],
)
def test_a_damaged_keras_file_is_called_corrupt(
    saved: Path, damage: Any, with_manifest: bool
) -> None:
    damage(saved)
    if not with_manifest:
        saved.with_suffix(".kcalc.json").unlink()
    with pytest.raises(ModelError, match=r"best\.keras") as caught:
        kcalc.load_model(saved)
    assert caught.value.code == "MODEL_CORRUPT"
    assert "not found" not in str(caught.value)


def test_an_absent_keras_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file") as caught:
        kcalc.load_model(tmp_path / "best.keras")
    assert caught.value.code == "MODEL_MISSING"


def test_load_model_sends_folders_and_weights_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "model.weights.h5").write_bytes(b"")
    for path in (tmp_path, tmp_path / "model.weights.h5"):
        with pytest.raises(ModelError, match=r"kcalc\.predict") as caught:
            kcalc.load_model(path)
        assert caught.value.code == "MODEL_FORMAT"


def test_a_model_that_holds_code_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((None, None, 9))
    outputs = keras.layers.Lambda(lambda x: x[..., :1], output_shape=(None, None, 1))(
        inputs
    )
    keras.Model(inputs, outputs).save(tmp_path / "code.keras")
    with pytest.raises(ModelError, match="this one holds code") as caught:
        kcalc.load_model(tmp_path / "code.keras")
    assert caught.value.code == "MODEL_UNSAFE"


def test_a_layer_that_is_not_registered_is_named(tmp_path: Path) -> None:
    class Unknown(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x[..., :1]

    inputs = keras.Input((None, None, 9))
    keras.Model(inputs, Unknown()(inputs)).save(tmp_path / "unknown.keras")
    with pytest.raises(ModelError, match="Could not locate class 'Unknown'") as caught:
        kcalc.load_model(tmp_path / "unknown.keras")
    assert caught.value.code == "MODEL_LAYER"


def test_a_saved_model_with_nan_in_its_weights_is_refused(tmp_path: Path) -> None:
    stand_in.picking_network(gain=float("inf")).save(tmp_path / "nan.keras")
    with pytest.raises(ModelError, match="holds NaN or infinity") as caught:
        kcalc.load_model(tmp_path / "nan.keras")
    assert caught.value.code == "MODEL_NONFINITE"
