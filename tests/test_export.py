"""Exported SavedModels: the contract of the signatures, refusals, versions, files."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import stand_in_network as stand_in
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

from kcalc import artifact
from kcalc.errors import ModelError
from kcalc.export import export_saved_model, save_keras_model, saved_model
from kcalc.inference import predict
from kcalc.models import dense_ra_unet

SPEC = stand_in.SPEC
SPACING_MM = np.array([3.0, 0.5, 0.5], np.float32)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return stand_in.random_network()


@pytest.fixture(scope="module")
def version(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    recipe = folder / "run.json"
    recipe.write_text('{"seed": 1}')
    volume = stand_in.noise_volume()
    probability = predict(
        model, volume, input_spec=SPEC, keep_probability=True
    ).probability
    candidates = probability[volume.array >= 130]
    return export_saved_model(
        model,
        folder / "toy",
        input_spec=SPEC,
        threshold=float(np.median(candidates)),
        batch_slices=4,
        trained_on="Noise.",
        recipe_json=recipe,
    )


@pytest.fixture(scope="module")
def loaded(version: Path) -> Any:
    return tf.saved_model.load(str(version))


def segment(loaded: Any, hu: Any, spacing_mm: Any = SPACING_MM) -> Any:
    answer = loaded.signatures["segment"](
        hu=tf.constant(hu, tf.int16), spacing_mm=tf.constant(spacing_mm, tf.float32)
    )
    return answer["mask"].numpy()


# The contract: names, types and shapes that clients rely on


def test_the_signatures_are_the_contract(version: Path, loaded: Any) -> None:
    assert set(loaded.signatures) == {"serving_default", "segment", "score"}
    found = {
        name: (
            {
                key: (spec.dtype.name, spec.shape.as_list())
                for key, spec in signature.structured_input_signature[1].items()
            },
            {
                key: (spec.dtype.name, spec.shape.as_list())
                for key, spec in signature.structured_outputs.items()
            },
        )
        for name, signature in loaded.signatures.items()
    }
    assert found == {
        "serving_default": (
            {"hu": ("int16", [None, None, None, 9])},
            {"probabilities": ("float32", [None, None, None])},
        ),
        "segment": (
            {"hu": ("int16", [None, None, None]), "spacing_mm": ("float32", [3])},
            {"mask": ("uint8", [None, None, None])},
        ),
        "score": (
            {"hu": ("int16", [None, None, None]), "spacing_mm": ("float32", [3])},
            {
                "agatston": ("float32", []),
                "volume_mm3": ("float32", []),
                "lesion_count": ("int32", []),
                "lesions": ("float32", [None, 13]),
                "lesion_columns": ("string", [13]),
                "rule": ("string", []),
            },
        ),
    }
    assert {
        name: tuple(
            {key: (info.dtype, list(info.shape)) for key, info in side.items()}
            for side in (signature.inputs, signature.outputs)
        )
        for name, signature in artifact.read_manifest(version).signatures.items()
    } == found


def test_the_folder_holds_what_a_user_needs(version: Path, model: keras.Model) -> None:
    assert version.name == "1"
    assert [entry.name for entry in version.parent.iterdir()] == ["1"]
    assert set(artifact.relative_files(version)) >= {
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "assets.extra/kcalc.json",
        "model.weights.h5",
        "MODEL_CARD.md",
        "recipe.json",
        "SHA256SUMS",
    }
    assert version.stat().st_mode & 0o777 == 0o755
    card = (version / "MODEL_CARD.md").read_text()
    assert "Research use only" in card
    assert "Noise." in card
    assert json.loads((version / "recipe.json").read_text()) == {"seed": 1}


def test_the_manifest_tells_all(version: Path) -> None:
    manifest = artifact.verify(version, task="coronary_calcium")
    assert (manifest.name, manifest.version) == ("toy", 1)
    assert manifest.labels == ("coronary_calcium",)
    assert manifest.input_spec == SPEC
    assert manifest.candidate_hu == 130.0
    assert manifest.trained_on == "Noise."
    assert manifest.written_with == {
        "kcalc": saved_model.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
    listed = {*manifest.files, "assets.extra/kcalc.json", "SHA256SUMS"}
    assert listed == set(artifact.relative_files(version))


def test_training_can_go_on_from_the_weights(version: Path, model: keras.Model) -> None:
    fresh = stand_in.random_network(seed=2)
    fresh.load_weights(version / "model.weights.h5")
    x = np.random.default_rng(0).random((1, 8, 8, 9), dtype=np.float32)
    np.testing.assert_allclose(fresh(x), model(x), rtol=0.0, atol=1e-7)


# What the signatures compute


def test_segment_gives_the_mask_of_predict(
    version: Path, loaded: Any, model: keras.Model
) -> None:
    threshold = artifact.read_manifest(version).threshold
    for shape_zyx in ((7, 13, 18), (1, 16, 16), (2, 5, 3), (12, 20, 7)):
        volume = stand_in.noise_volume(shape_zyx)
        mask = segment(loaded, volume.array)
        by_folder = predict(version, volume, batch_slices=2)
        by_keras = predict(model, volume, input_spec=SPEC, threshold=threshold)
        assert mask.any()
        assert mask.max() == 1
        assert mask.sum() < (volume.array >= 130).sum()
        np.testing.assert_array_equal(mask, by_folder.mask)
        np.testing.assert_array_equal(mask, by_keras.mask)


def test_serving_default_gives_the_probabilities_of_the_model(
    loaded: Any, model: keras.Model
) -> None:
    hu = stand_in.stacks_of(stand_in.noise_volume((3, 12, 16)).array)
    got = loaded.signatures["serving_default"](hu=tf.constant(hu))["probabilities"]
    scaled = (np.clip(hu.astype(np.float32), -200.0, 800.0) + 200.0) / 1000.0
    fixed_shape = tf.function(model, autograph=False)
    for expected in (
        model(scaled),
        model.predict(scaled, verbose=0),
        fixed_shape(tf.constant(scaled)),
    ):
        np.testing.assert_allclose(got, np.asarray(expected)[..., 0], atol=1e-6)


def test_padding_is_air_and_is_cropped_back(loaded: Any) -> None:
    odd = stand_in.stacks_of(stand_in.noise_volume((2, 13, 18)).array)
    even = np.pad(odd, ((0, 0), (0, 3), (0, 2), (0, 0)), constant_values=-1024)
    call = loaded.signatures["serving_default"]
    small = call(hu=tf.constant(odd))["probabilities"].numpy()
    large = call(hu=tf.constant(even))["probabilities"].numpy()
    assert small.shape == (2, 13, 18)
    np.testing.assert_allclose(small, large[:, :13, :18], atol=1e-6)


def test_a_scan_without_candidates_has_an_empty_mask(loaded: Any) -> None:
    hu = np.full((3, 8, 8), 129, np.int16)
    hu[0, 0, 0] = -1000
    mask = segment(loaded, hu)
    assert mask.shape == (3, 8, 8)
    assert not mask.any()


def test_the_real_network_exports_and_gives_the_mask_of_predict(
    tmp_path: Path,
) -> None:
    keras.utils.set_random_seed(0)
    model = dense_ra_unet((None, None, 9), width=0.125, blocks=(1, 1, 1, 1))
    spec = replace(SPEC, multiple_zyx=(1, 16, 16))
    volume = stand_in.noise_volume((4, 37, 50))
    probability = predict(
        model, volume, input_spec=spec, keep_probability=True
    ).probability
    cut = float(np.median(probability[volume.array >= 130]))
    version = export_saved_model(
        model, tmp_path / "toy", input_spec=spec, threshold=cut
    )
    mask = segment(tf.saved_model.load(str(version)), volume.array)
    by_folder = predict(version, volume, keep_probability=True)
    np.testing.assert_allclose(by_folder.probability, probability, atol=1e-6)
    np.testing.assert_array_equal(mask, by_folder.mask)
    assert 0 < mask.sum() < (volume.array >= 130).sum()
    # One copy of the weights, and a small graph.
    stored = sum(f.stat().st_size for f in (version / "variables").iterdir())
    assert stored < 4 * model.count_params() + 5000
    assert (version / "saved_model.pb").stat().st_size < 650_000


# Refusals, through the session loader that TensorFlow Serving uses


@contextlib.contextmanager
def session_caller(version: Path) -> Iterator[Any]:
    """Call a signature as a server does: nothing checks the shapes it is fed."""
    v1 = tf.compat.v1
    graph = v1.Graph()
    session = v1.Session(graph=graph)
    with graph.as_default():
        meta_graph = v1.saved_model.load(session, ["serve"], str(version))

    def call(name: str, **inputs: Any) -> Any:
        definition = meta_graph.signature_def[name]
        options = config_pb2.CallableOptions(
            feed=[definition.inputs[key].name for key in inputs],
            fetch=[info.name for info in definition.outputs.values()],
        )
        return session._make_callable_from_options(options)(*inputs.values())[0]

    yield call
    session.close()


@pytest.fixture(scope="module")
def session_call(version: Path) -> Iterator[Any]:
    with session_caller(version) as call:
        yield call


SCAN = stand_in.noise_volume().array
STACKS = stand_in.stacks_of(SCAN)


def test_the_session_loader_gives_the_same_mask(session_call: Any, loaded: Any) -> None:
    mask = session_call("segment", hu=SCAN, spacing_mm=SPACING_MM)
    np.testing.assert_array_equal(mask, segment(loaded, SCAN))


@pytest.mark.parametrize(
    ("hu", "spacing_mm", "message"),
    [
        (SCAN[0], SPACING_MM, "three axes. Send hu as int16"),
        (SCAN[None], SPACING_MM, "three axes. Send hu as int16"),
        (SCAN[:0], SPACING_MM, "must not be empty. Send hu"),
        (SCAN[:, :0], SPACING_MM, "must not be empty. Send hu"),
        (np.full_like(SCAN, -7), SPACING_MM, "every voxel has the same value"),
        (SCAN + 1024, SPACING_MM, "RescaleIntercept"),
        (SCAN, SPACING_MM[:2], "three finite, positive numbers. Send spacing_mm"),
        (SCAN, np.ones(4, np.float32), "three finite, positive numbers"),
        (SCAN, SPACING_MM * np.float32("nan"), "three finite, positive numbers"),
        (SCAN, SPACING_MM * np.float32("inf"), "three finite, positive numbers"),
        (SCAN, SPACING_MM * np.float32(0), "three finite, positive numbers"),
        (SCAN, -SPACING_MM, "three finite, positive numbers"),
    ],
)
def test_segment_refuses_and_says_what_to_send(
    session_call: Any, loaded: Any, hu: Any, spacing_mm: Any, message: str
) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        session_call("segment", hu=hu, spacing_mm=spacing_mm)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        segment(loaded, hu, spacing_mm)


@pytest.mark.parametrize(
    ("hu", "message"),
    [
        (STACKS[0], "four axes. Send hu as int16 Hounsfield units .n, y, x, 9."),
        (STACKS[..., :8], "must hold 9 neighbouring slices"),
        (STACKS[:0], "must not be empty"),
        (np.zeros_like(STACKS), "every voxel has the same value"),
        (STACKS + 1024, "Was the rescale forgotten"),
    ],
)
def test_serving_default_refuses_and_says_what_to_send(
    session_call: Any, hu: Any, message: str
) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        session_call("serving_default", hu=hu)


def test_an_output_that_is_not_finite_is_refused_in_the_graph(tmp_path: Path) -> None:
    inputs = keras.Input((None, None, 9))
    huge = stand_in.picking_network(gain=3e38)(inputs)
    version = export_saved_model(
        keras.Model(inputs, huge * 1e38), tmp_path / "toy", input_spec=SPEC
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN or infinite"):
        segment(tf.saved_model.load(str(version)), SCAN)
    with pytest.raises(ModelError, match="NaN or infinite") as caught:
        predict(version, stand_in.noise_volume())
    assert caught.value.code == "MODEL_REFUSED"


# Versions, failures, damage


def test_a_new_export_is_the_next_version_and_leaves_the_old_one(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "toy"
    (folder / "4").mkdir(parents=True)
    (folder / "notes").mkdir()
    model = stand_in.picking_network()
    first = export_saved_model(model, folder, input_spec=SPEC, model_card="A card.")
    before = {n: (first / n).read_bytes() for n in artifact.relative_files(first)}
    second = export_saved_model(model, folder, input_spec=SPEC)
    assert (first.name, second.name) == ("5", "6")
    assert artifact.verify(second).version == 6
    assert (first / "MODEL_CARD.md").read_text() == "A card."
    assert before == {
        n: (first / n).read_bytes() for n in artifact.relative_files(first)
    }


def test_two_exports_at_once_become_two_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "toy"
    model = stand_in.picking_network()
    first = export_saved_model(model, folder, input_spec=SPEC)
    seen = iter([[], artifact.version_numbers(folder)])
    monkeypatch.setattr(saved_model, "version_numbers", lambda directory: next(seen))
    second = export_saved_model(model, folder, input_spec=SPEC)
    assert (first.name, second.name) == ("1", "2")
    assert [artifact.verify(v).version for v in (first, second)] == [1, 2]


def test_a_failed_export_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "toy"

    def fail(*_: Any) -> None:
        assert all(not entry.name.isdecimal() for entry in folder.iterdir())
        raise OSError("disk full")

    monkeypatch.setattr(saved_model, "write_sums", fail)
    with pytest.raises(OSError, match="disk full"):
        export_saved_model(stand_in.picking_network(), folder, input_spec=SPEC)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_weights_that_are_not_finite_are_not_exported(
    tmp_path: Path, value: str
) -> None:
    model = stand_in.picking_network(gain=float(value))
    for write in (export_saved_model, save_keras_model):
        with pytest.raises(ModelError, match="kernel holds NaN or infinity") as caught:
            write(model, tmp_path / "toy.keras", input_spec=SPEC)
        assert caught.value.code == "MODEL_NONFINITE"
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_fixed_size_is_not_exported(tmp_path: Path) -> None:
    inputs = keras.Input((16, 16, 9))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1)(inputs))
    with pytest.raises(ModelError, match="slices of any size") as caught:
        export_saved_model(model, tmp_path / "toy", input_spec=SPEC)
    assert caught.value.code == "MODEL_TASK"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 1.0}, "threshold must lie between 0 and 1"),
        ({"batch_slices": 0}, "batch_slices must be at least 1"),
        ({"labels": ("a", "b")}, "labels must name the one class"),
        ({"labels": "calcium"}, "labels must name the one class"),
    ],
)
def test_arguments_out_of_range_are_refused(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        export_saved_model(
            stand_in.picking_network(), tmp_path / "toy", input_spec=SPEC, **arguments
        )


def test_a_keras_file_must_be_named_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.keras"):
        save_keras_model(
            stand_in.picking_network(), tmp_path / "toy.h5", input_spec=SPEC
        )


def test_a_damaged_saved_model_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    version = export_saved_model(
        stand_in.picking_network(), tmp_path / "toy", input_spec=SPEC
    )
    graph = version / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:-50])
    with pytest.raises(ModelError, match=r"saved_model\.pb") as caught:
        predict(version, stand_in.noise_volume())
    assert caught.value.code == "MODEL_CORRUPT"


def test_a_graph_that_tensorflow_cannot_read_is_corrupt(tmp_path: Path) -> None:
    version = export_saved_model(
        stand_in.picking_network(), tmp_path / "toy", input_spec=SPEC
    )
    graph = version / "saved_model.pb"
    graph.write_bytes(b"\x00" + graph.read_bytes())
    file = version / artifact.MANIFEST_FILE
    manifest = artifact.read_manifest(version)
    sums = {**manifest.files, graph.name: artifact.sha256_of(graph)}
    file.write_text(replace(manifest, files=sums).to_json())
    artifact.write_sums(version)
    with pytest.raises(ModelError, match="TensorFlow cannot load") as caught:
        predict(version, stand_in.noise_volume())
    assert caught.value.code == "MODEL_CORRUPT"


# TensorFlow alone


@pytest.mark.slow
def test_it_loads_with_tensorflow_alone(
    version: Path, loaded: Any, tmp_path: Path
) -> None:
    np.save(tmp_path / "hu.npy", SCAN)
    np.save(tmp_path / "mask.npy", segment(loaded, SCAN))
    code = """
import sys
class Hide:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, *args):
        if name.split(".")[0] in ("kcalc", "keras", "tf_keras"):
            return None
        return self.finder.find_spec(name, *args)
sys.meta_path[:] = [Hide(finder) for finder in sys.meta_path]
import numpy as np, tensorflow as tf
segment = tf.saved_model.load(sys.argv[1])
mask = segment.signatures["segment"](
    hu=tf.constant(np.load("hu.npy")), spacing_mm=tf.constant([3.0, 0.5, 0.5])
)["mask"].numpy()
if "keras" in sys.modules or "kcalc" in sys.modules or not mask.any():
    sys.exit(1)
sys.exit(0 if (mask == np.load("mask.npy")).all() else 2)
"""
    subprocess.run([sys.executable, "-c", code, str(version)], cwd=tmp_path, check=True)


@pytest.mark.slow
def test_saved_model_cli_runs_it(version: Path, loaded: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "hu.npy", SCAN)
    np.save(tmp_path / "spacing.npy", SPACING_MM)
    program = Path(sys.executable).parent / "saved_model_cli"
    subprocess.run(
        [
            str(program),
            "run",
            *("--dir", str(version), "--tag_set", "serve"),
            *("--signature_def", "segment", "--outdir", str(tmp_path / "out")),
            *("--inputs", "hu=hu.npy;spacing_mm=spacing.npy"),
        ],
        cwd=tmp_path,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    np.testing.assert_array_equal(
        np.load(tmp_path / "out" / "mask.npy"), segment(loaded, SCAN)
    )
