"""The shipped model: whole, small, under its contract, and right on new phantoms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kcalc
from kcalc.artifact import find_model, sha256_of, verify
from kcalc.phantoms import chest, qrm

MODEL = find_model()
SEED = 777_777
"""Seeds of training, validation and test lie below 300 030."""


def _agatston(phantom: kcalc.phantoms.Phantom, mask: np.ndarray) -> float:
    return kcalc.calcium_score(
        phantom.volume.array, mask, phantom.volume.spacing_mm, tube_voltage_kvp=120
    ).agatston


def test_every_file_is_the_one_that_was_exported():
    manifest = verify(MODEL, task="coronary_calcium")
    assert manifest.name == "cac_dense_ra_unet_small"
    assert manifest.input_spec.stack == 9
    assert manifest.input_spec.context == "slice"


def test_it_takes_at_most_eight_megabytes():
    size = sum(p.stat().st_size for p in MODEL.rglob("*") if p.is_file())
    assert size <= 8_000_000


def test_its_card_says_what_it_must():
    card = (MODEL / "MODEL_CARD.md").read_text("utf-8")
    for words in ("simulated", "Research use only", "Real scans", "held-out"):
        assert words.lower() in card.lower(), words
    assert sha256_of(MODEL / "model.weights.h5")[:16] in card, "measured on others"
    assert (MODEL / "recipe.json").is_file()


def test_the_signatures_are_the_contract():
    import tensorflow as tf

    loaded = tf.saved_model.load(str(MODEL))
    assert {"serving_default", "segment"} <= set(loaded.signatures)
    serving, segment = (
        loaded.signatures[name] for name in ("serving_default", "segment")
    )
    (hu,) = serving.structured_input_signature[1].values()
    assert (hu.name, hu.dtype, hu.shape.as_list()) == ("hu", tf.int16, [None] * 3 + [9])
    assert serving.structured_outputs["probabilities"].dtype == tf.float32
    inputs = segment.structured_input_signature[1]
    assert inputs["hu"].dtype == tf.int16
    assert inputs["hu"].shape.as_list() == [None] * 3
    assert inputs["spacing_mm"].dtype == tf.float32
    assert segment.structured_outputs["mask"].dtype == tf.uint8


@pytest.mark.slow
def test_the_session_loader_of_tf_serving_runs_it(tmp_path: Path):
    scan = qrm("product", SEED, num_slices=3, rows=96, columns=96)
    np.save(tmp_path / "hu.npy", scan.volume.array)
    np.save(tmp_path / "spacing.npy", np.array(scan.volume.spacing_mm, np.float32))
    command = Path(sys.executable).with_name("saved_model_cli")
    done = subprocess.run(
        [
            str(command),
            *("run", "--dir", str(MODEL), "--tag_set", "serve"),
            *("--signature_def", "segment", "--outdir", str(tmp_path)),
            *("--inputs", "hu=hu.npy;spacing_mm=spacing.npy"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    mask = np.load(tmp_path / "mask.npy")
    expected = kcalc.predict(MODEL, scan.volume).mask
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask > 0, expected)


@pytest.mark.slow
def test_new_insert_phantom_is_scored_within_a_quarter():
    scan = qrm("product", SEED, num_slices=12, z_offset_mm=1.5)
    truth = _agatston(scan, scan.label > 0)
    found = _agatston(scan, kcalc.predict(MODEL, scan.volume).mask)
    assert truth > 400
    assert found == pytest.approx(truth, rel=0.25)


@pytest.mark.slow
def test_new_chest_without_coronary_calcium_scores_next_to_nothing():
    scan = chest("wide", SEED, num_lesions=0, shape_zyx=(24, 512, 512))
    assert not scan.label.any()
    assert _agatston(scan, kcalc.predict(MODEL, scan.volume).mask) <= 10
