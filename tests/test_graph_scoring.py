"""The score in a graph: equal to calcium_score, lesion by lesion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stand_in_network as stand_in
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import kcalc
from kcalc import artifact
from kcalc.export import export_saved_model
from kcalc.export.graph_scoring import score_of_mask, target_of_task
from kcalc.export.signatures import SCAN_SPECS
from kcalc.inference import predict
from kcalc.scoring import TARGETS, CalciumScore
from kcalc.scoring.targets import ICAC_RULE


def graph_of(target: str) -> Any:
    """Score the mask of all voxels above 100 HU in a graph."""

    def score(hu: Any, spacing_mm: Any) -> dict[str, Any]:
        return score_of_mask(hu, hu > 100, spacing_mm, TARGETS[target])

    return tf.function(score, input_signature=SCAN_SPECS, autograph=False)


CORONARY, ICAC = graph_of("coronary"), graph_of("icac")


def expected_rows(score: CalciumScore, columns: list[str]) -> list[list[float]]:
    rows = []
    for lesion in score.lesions:
        z, y, x = lesion.centroid_index_zyx
        values = {**vars(lesion), "centroid_z": z, "centroid_y": y, "centroid_x": x}
        rows.append([float(values[name]) for name in columns])
    return rows


def check(graph: Any, hu: np.ndarray, spacing_mm: Any, rule: Any) -> dict[str, Any]:
    spacing = np.array(spacing_mm, np.float32)
    found = {k: v.numpy() for k, v in graph(hu, spacing).items()}
    expected = kcalc.calcium_score(hu, hu > 100, spacing.tolist(), rule=rule)
    columns = [name.decode() for name in found["lesion_columns"]]
    rows = np.array(expected_rows(expected, columns)).reshape(-1, len(columns))
    np.testing.assert_allclose(found["lesions"], rows, rtol=1e-6)
    assert found["lesion_count"] == expected.num_lesions
    assert found["volume_mm3"] == pytest.approx(expected.volume_mm3, rel=1e-6)
    assert found["rule"].decode() == expected.rule.name
    if "agatston" in found:
        assert found["agatston"] == pytest.approx(expected.agatston, rel=1e-6)
    return found


def scan(shape: tuple[int, int, int], share: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    bright = rng.random(shape) < share
    return np.where(bright, rng.integers(95, 500, shape), -100).astype(np.int16)


SCANS = {
    "shape": st.tuples(st.integers(1, 5), st.integers(1, 12), st.integers(1, 12)),
    "share": st.sampled_from([0.0, 0.05, 0.3, 0.6, 1.0]),
    "spacing_mm": st.tuples(
        *(st.sampled_from([0.25, 0.4, 0.5, 0.75, 1.0, 3.0]) for _ in range(3))
    ),
    "seed": st.integers(0, 999),
}


@settings(max_examples=1000, deadline=None)
@given(**SCANS)
def test_the_coronary_score_is_calcium_scores(
    shape: Any, share: float, spacing_mm: Any, seed: int
) -> None:
    check(CORONARY, scan(shape, share, seed), spacing_mm, "agatston_1990")


@settings(max_examples=300, deadline=None)
@given(**SCANS)
def test_the_carotid_score_is_calcium_scores(
    shape: Any, share: float, spacing_mm: Any, seed: int
) -> None:
    found = check(ICAC, scan(shape, share, seed), spacing_mm, ICAC_RULE)
    assert "agatston" not in found


def test_two_lesions_by_hand() -> None:
    hu = np.full((2, 8, 8), -50, np.int16)
    hu[0, 1:3, 1:4] = 150, 250, 199  # six pixels of 0.25 mm2: 1.5 mm2, weight 2
    hu[1, 5, 5:8] = 400  # three: 0.75 mm2, too small
    hu[1, 0, 0:4] = 400  # four: exactly 1 mm2, weight 4
    found = {k: v.numpy() for k, v in CORONARY(hu, (1.5, 0.5, 0.5)).items()}
    assert found["agatston"] == pytest.approx((1.5 * 2 + 1.0 * 4) * 0.5)
    assert found["volume_mm3"] == pytest.approx(2.5 * 1.5)
    assert found["lesion_count"] == 2
    columns = [name.decode() for name in found["lesion_columns"]]
    first = dict(zip(columns, found["lesions"][0], strict=True))
    assert (first["slice_index"], first["num_pixels"], first["weight"]) == (0, 6, 2)
    assert (first["centroid_y"], first["centroid_x"]) == (1.5, 2.0)


def test_an_area_of_the_minimum_counts_in_every_spacing() -> None:
    # float32 has none of these squares exactly; 100, 25 and 4 pixels are 1 mm2.
    for pixel_mm, num in ((0.1, 100), (0.2, 25), (0.5, 4)):
        hu = np.full((1, 3, 120), -50, np.int16)
        hu[0, 1, 1 : 1 + num] = 200
        spacing = np.array((3.0, pixel_mm, pixel_mm), np.float32)
        assert CORONARY(hu, spacing)["lesion_count"] == 1
        hu[0, 1, 1] = 100
        assert CORONARY(hu, spacing)["lesion_count"] == 0


def test_an_exported_network_scores_as_predict_and_calcium_score_do(
    tmp_path: Path,
) -> None:
    model = stand_in.picking_network()
    version = export_saved_model(model, tmp_path / "toy", input_spec=stand_in.SPEC)
    volume = stand_in.noise_volume((6, 30, 34))
    volume.array[1, 5:9, 5:9], volume.array[4, 20:23, 3:9] = 400, 310
    score = tf.saved_model.load(str(version)).signatures["score"]
    inputs = {
        "hu": tf.constant(volume.array),
        "spacing_mm": tf.constant((3.0, 0.5, 0.5)),
    }
    found = {key: value.numpy() for key, value in score(**inputs).items()}
    mask = predict(version, volume).mask
    expected = kcalc.calcium_score(volume.array, mask, volume.spacing_mm)
    assert found["agatston"] == pytest.approx(expected.agatston, rel=1e-6)
    assert found["lesion_count"] == len(found["lesions"]) == expected.num_lesions > 1
    contract = artifact.read_manifest(version).signatures["score"]
    assert {name: info.dtype for name, info in contract.outputs.items()} == {
        key: tensor.dtype.name for key, tensor in score.structured_outputs.items()
    }
    with pytest.raises(tf.errors.InvalidArgumentError, match="RescaleIntercept"):
        score(hu=inputs["hu"] + 3000, spacing_mm=inputs["spacing_mm"])


def test_a_task_without_a_rule_has_no_score() -> None:
    assert target_of_task("something else") is None
    assert target_of_task("coronary_calcium") is TARGETS["coronary"]
    assert target_of_task("intracranial_carotid_calcium") is TARGETS["icac"]
