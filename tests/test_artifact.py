"""Manifests: read, verified, found; and every way a model's folder can be wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kcalc import artifact
from kcalc.errors import ModelError
from kcalc.preparation import InputSpec

REPOSITORY = Path(__file__).parents[1]

MANIFEST = artifact.Manifest(
    name="toy",
    version=3,
    task="coronary_calcium",
    labels=("coronary_calcium",),
    input_spec=InputSpec((-200.0, 800.0), stack=9, multiple_zyx=(1, 16, 16)),
    threshold=0.4,
    candidate_hu=130.0,
    trained_on="Nothing.",
    written_with={"kcalc": "0"},
    signatures={
        "segment": artifact.Signature(
            {"hu": artifact.TensorInfo("int16", ("z", "y", "x"), (None, None, None))},
            {"mask": artifact.TensorInfo("uint8", ("z", "y", "x"), (None, None, None))},
        )
    },
)


def write_version(folder: Path, manifest: artifact.Manifest = MANIFEST) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "assets.extra").mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables/variables.index").write_bytes(b"index")
    sums = {
        name: artifact.sha256_of(folder / name)
        for name in sorted(artifact.relative_files(folder))
    }
    text = replace(manifest, files=sums).to_json()
    (folder / artifact.MANIFEST_FILE).write_text(text)
    artifact.write_sums(folder)
    return folder


def rewrite_manifest(folder: Path, **changes: object) -> None:
    file = folder / artifact.MANIFEST_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    artifact.write_sums(folder)


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "3")
    manifest = artifact.verify(folder, task="coronary_calcium")
    assert replace(manifest, files={}) == MANIFEST
    assert sorted(manifest.files) == ["saved_model.pb", "variables/variables.index"]


def test_the_sums_are_those_of_sha256sum(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "3")
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True
    )


def test_one_flipped_bit_is_named_as_corrupt(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "3")
    (folder / "saved_model.pb").write_bytes(b"grapi")
    with pytest.raises(ModelError, match=r"sha256 differs.*saved_model\.pb") as caught:
        artifact.verify(folder)
    assert caught.value.code == "MODEL_CORRUPT"
    assert caught.value.exit_code == 6


def test_a_changed_manifest_is_named_as_corrupt(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "3")
    file = folder / artifact.MANIFEST_FILE
    file.write_text(file.read_text().replace("0.4", "0.1"))
    with pytest.raises(ModelError, match=r"sha256 differs.*kcalc\.json") as caught:
        artifact.verify(folder)
    assert caught.value.code == "MODEL_CORRUPT"


def test_sums_that_contradict_the_manifest_are_corrupt(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "3")
    (folder / "saved_model.pb").write_bytes(b"another graph")
    artifact.write_sums(folder)
    with pytest.raises(ModelError, match="sha256 differs") as caught:
        artifact.verify(folder)
    assert caught.value.code == "MODEL_CORRUPT"


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.index", "SHA256SUMS"]
)
def test_an_absent_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_version(tmp_path / "3")
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"not there.*{name}") as caught:
        artifact.verify(folder)
    assert caught.value.code == "MODEL_MISSING"


def test_an_absent_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not there") as caught:
        artifact.verify(tmp_path / "3")
    assert caught.value.code == "MODEL_MISSING"


def test_a_model_for_another_task_is_refused(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "3")
    with pytest.raises(ModelError, match=r"'icac' is needed.*'coronary") as caught:
        artifact.verify(folder, task="icac")
    assert caught.value.code == "MODEL_TASK"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be understood"),
        ("{", "cannot be understood"),
        ("[1, 2]", "cannot be understood"),
        ("[" * 100_000, "cannot be understood"),
        ('{"schema": 1}', "KeyError: 'name'"),
        ('{"schema": 2}', "reads manifests of schema 1. Received: 2"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    folder = write_version(tmp_path / "3")
    (folder / artifact.MANIFEST_FILE).write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        artifact.read_manifest(folder)
    assert caught.value.code == "MODEL_MANIFEST"


def test_a_saved_model_without_manifest_is_refused(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "3")
    (folder / artifact.MANIFEST_FILE).unlink()
    with pytest.raises(ModelError, match="has none") as caught:
        artifact.verify(folder)
    assert caught.value.code == "MODEL_MANIFEST"


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..\\secret"])
def test_a_manifest_may_not_name_files_outside_its_folder(
    tmp_path: Path, name: str
) -> None:
    folder = write_version(tmp_path / "3")
    files = artifact.read_manifest(folder).files
    rewrite_manifest(folder, files={**files, name: "0" * 64})
    with pytest.raises(ModelError, match="outside the model's folder") as caught:
        artifact.verify(folder)
    assert caught.value.code == "MODEL_MANIFEST"


def test_a_manifest_must_vouch_for_the_graph(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "3")
    sums = folder / artifact.SUMS_FILE
    rewrite_manifest(folder, files={})
    kept = [line for line in sums.read_text().splitlines() if "saved_model" not in line]
    sums.write_text("\n".join(kept) + "\n")
    with pytest.raises(ModelError, match=r"no sha256 for saved_model\.pb") as caught:
        artifact.verify(folder)
    assert caught.value.code == "MODEL_MANIFEST"


def test_the_newest_integer_version_is_found_by_name_and_by_folder(
    tmp_path: Path,
) -> None:
    for version in ("2", "9", "10", "unfinished-11"):
        write_version(tmp_path / "toy" / version)
    newest = tmp_path / "toy" / "10"
    assert artifact.find_model("toy", roots=[tmp_path]) == newest
    assert artifact.find_model(tmp_path / "toy") == newest
    assert artifact.find_model(tmp_path / "toy" / "9") == tmp_path / "toy" / "9"


def test_no_name_means_the_shipped_model(tmp_path: Path) -> None:
    version = write_version(tmp_path / "cac_dense_ra_unet_small" / "1")
    assert artifact.find_model(roots=[tmp_path / "absent", tmp_path]) == version


def test_models_are_looked_up_in_the_wheel_and_beside_the_checkout() -> None:
    package = Path(artifact.__file__).parent
    assert artifact.model_roots() == (
        package / "saved_models",
        package.parent / "saved_models",
    )


def test_a_keras_file_is_found_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "best.keras"
    file.write_bytes(b"")
    assert artifact.find_model(file) == file
    assert artifact.manifest_path(file) == tmp_path / "best.kcalc.json"


@pytest.mark.parametrize("name", ["absent", "some/folder", "x.keras", ".."])
def test_a_model_that_is_nowhere_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="A model is named by") as caught:
        artifact.find_model(tmp_path / "no" / name, roots=[tmp_path])
    assert caught.value.code == "MODEL_MISSING"


def test_a_half_copied_newest_version_is_named_not_skipped(tmp_path: Path) -> None:
    write_version(tmp_path / "toy" / "1")
    (tmp_path / "toy" / "2").mkdir()
    with pytest.raises(ModelError, match=r"2/saved_model\.pb") as caught:
        artifact.find_model("toy", roots=[tmp_path])
    assert caught.value.code == "MODEL_MISSING"


def test_finding_and_verifying_needs_no_tensorflow() -> None:
    code = (
        "import sys, kcalc.artifact; "
        "sys.exit(any(m in sys.modules for m in ('tensorflow', 'keras')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
