"""One scan from file to report: numbers, files, refusals, and all outputs or none."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from kcalc.errors import InputError, ModelError, ResourceError, UnfitError
from kcalc.geometry import Geometry
from kcalc.io import read_volume
from kcalc.io.nifti import read_mask, write_nifti
from kcalc.phantoms import write_dicom_series
from kcalc.volume import Acquisition, Volume
from kcalc.workflow import ScoreOptions, render_phantom, score_scan

FILES = ["lesions.csv", "mask.nii.gz", "report.html", "score.json"]


def make_scan(kvp: float | None = 120.0) -> Volume:
    """Tissue in air; lesions of 6 and 4 voxels, 250 and 420 HU, one speck, a rib."""
    array = np.full((6, 48, 64), -1000, np.int16)
    array[:, 4:44, 6:58] = 40
    array[2, 20:22, 20:23] = 250
    array[4, 30:32, 40:42] = 420
    array[3, 10, 10] = 300
    array[:, 5:8, 30:40] = 700
    geometry = Geometry.axial(array.shape, (3.0, 0.75, 0.75), (-20.0, -10.0, 50.0))
    acquisition = Acquisition(
        modality="CT", tube_voltage_kvp=kvp, slice_thickness_mm=3.0
    )
    return Volume(array, geometry, acquisition=acquisition)


def reader_mask() -> np.ndarray:
    """Coarse: boxes round the lesions and the speck, not the rib."""
    mask = np.zeros((6, 48, 64), np.uint8)
    mask[2, 18:24, 18:25] = mask[3, 9:12, 9:12] = mask[4, 28:34, 38:44] = 1
    return mask


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_dicom_series(make_scan(), tmp_path / "series")
    return tmp_path / "series"


@pytest.fixture
def mask_file(tmp_path: Path) -> Path:
    return write_nifti(tmp_path / "reader.nii.gz", reader_mask(), make_scan().geometry)


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


# --- with a mask ----------------------------------------------------------------


def test_mask_scores_what_the_arithmetic_gives(series, mask_file, tmp_path):
    result = score_scan(series, tmp_path / "out", mask_path=mask_file)
    # 0.5625 mm2 a pixel, 3 mm slices: 6 pixels of weight 2 and 4 of weight 4.
    assert result.score.agatston == pytest.approx(15.75)
    assert result.score.volume_mm3 == pytest.approx(16.875)
    assert result.score.num_lesions == 2
    assert result.seconds_network == 0
    assert _names(tmp_path / "out") == FILES


def test_score_json_has_the_promised_keys(series, mask_file, tmp_path):
    score_scan(series, tmp_path / "out", mask_path=mask_file, mass_calibration=0.8)
    record = json.loads((tmp_path / "out" / "score.json").read_text())
    assert record["agatston"] == pytest.approx(15.75)
    assert record["volume_mm3"] == pytest.approx(16.875)
    # 6 voxels of 250 HU and 4 of 420 HU, 1.6875 mm3 each, 0.8 mg/mL per HU.
    assert record["mass_mg"] == pytest.approx(4.293)
    assert record["risk_category"] == "11-100"
    assert record["cac_drs"] == "A1/N?"
    assert record["model"] is None
    assert record["rule"]["name"] == "agatston_1990"
    assert record["spacing_mm"] == [3.0, 0.75, 0.75]
    assert record["mask"] == {
        "voxels": 87,
        "calcium_voxels": 11,
        "scored_voxels": 10,
    }
    assert record["notice"].startswith("Research use only")
    assert record["versions"]["kcalc"]
    assert "tensorflow" not in record["versions"]
    assert isinstance(record["findings"], list)
    assert [lesion["slice_index"] for lesion in record["lesions"]] == [2, 4]
    assert record["lesions"][0]["centroid_xyz_mm"] == [-4.25, 5.375, 56.0]
    assert sorted(record["files"]) == ["lesions.csv", "mask.nii.gz", "report.html"]


def test_same_input_gives_the_same_bytes(series, mask_file, tmp_path):
    for name in ("one", "two"):
        score_scan(series, tmp_path / name, mask_path=mask_file)
    for name in FILES:
        first = (tmp_path / "one" / name).read_bytes()
        assert first == (tmp_path / "two" / name).read_bytes(), name


def test_mask_file_lies_on_the_scan_and_holds_the_calcium(series, mask_file, tmp_path):
    result = score_scan(series, tmp_path / "out", mask_path=mask_file)
    volume = read_volume(series)
    image = nibabel.load(tmp_path / "out" / "mask.nii.gz")
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_allclose(image.affine, volume.geometry.affine_ras_xyz())
    mask = read_mask(tmp_path / "out" / "mask.nii.gz", volume.geometry)
    expected = (reader_mask() > 0) & (volume.array >= 130)
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(mask, result.mask)


def test_mask_file_of_a_result_goes_back_in(series, mask_file, tmp_path):
    first = score_scan(series, tmp_path / "one", mask_path=mask_file)
    second = score_scan(
        series, tmp_path / "two", mask_path=tmp_path / "one" / "mask.nii.gz"
    )
    assert second.score == first.score


def test_edited_mask_changes_the_score_and_is_not_overwritten(
    series, mask_file, tmp_path
):
    out = tmp_path / "out"
    score_scan(series, out, mask_path=mask_file)
    edited = read_mask(out / "mask.nii.gz", make_scan().geometry)
    edited[4] = 0
    write_nifti(out / "mask.nii.gz", edited, make_scan().geometry)
    content = (out / "mask.nii.gz").read_bytes()
    with pytest.raises(ResourceError, match=r"mask\.nii\.gz was edited"):
        score_scan(series, out, mask_path=mask_file)
    assert (out / "mask.nii.gz").read_bytes() == content
    again = score_scan(series, tmp_path / "two", mask_path=out / "mask.nii.gz")
    assert again.score.agatston == pytest.approx(6.75)


def test_former_result_is_replaced(series, mask_file, tmp_path):
    score_scan(series, tmp_path / "out", mask_path=mask_file)
    score_scan(series, tmp_path / "out", mask_path=mask_file, rule="fqm_canon")
    record = json.loads((tmp_path / "out" / "score.json").read_text())
    assert record["rule"]["name"] == "fqm_canon"
    assert _names(tmp_path / "out") == FILES


def test_vessel_numbers_in_the_mask_give_vessels(series, tmp_path):
    labels = reader_mask()
    labels[2] *= 2
    labels[4] *= 4
    path = write_nifti(tmp_path / "v.nii", labels, make_scan().geometry)
    result = score_scan(series, tmp_path / "out", mask_path=path)
    assert result.score.cac_drs == "A1/N2"
    rows = _rows(tmp_path / "out" / "lesions.csv")
    assert [row["vessel"] for row in rows] == ["LAD", "RCA"]
    assert set(np.unique(result.mask)) == {0, 1, 2, 4}


def test_other_labels_make_a_plain_mask_and_a_note(series, tmp_path):
    labels = reader_mask()
    labels[4] *= 77
    path = write_nifti(tmp_path / "v.nii", labels, make_scan().geometry)
    result = score_scan(series, tmp_path / "out", mask_path=path)
    assert result.score.agatston == pytest.approx(15.75)
    assert result.score.per_vessel is None
    (note,) = [f for f in result.record["findings"] if f["code"] == "MASK_LABELS"]
    assert "[1, 77]" in note["message"]


def test_mask_of_another_grid_is_refused_and_nothing_is_written(series, tmp_path):
    geometry = Geometry.axial((6, 48, 60), (3.0, 0.75, 0.75))
    path = write_nifti(tmp_path / "m.nii", np.zeros((6, 48, 60), np.uint8), geometry)
    with pytest.raises(InputError, match="MASK_GRID"):
        score_scan(series, tmp_path / "out", mask_path=path)
    assert not (tmp_path / "out").exists()


def test_empty_mask_scores_zero_with_a_report(series, tmp_path):
    path = write_nifti(
        tmp_path / "m.nii", np.zeros((6, 48, 64), np.uint8), make_scan().geometry
    )
    result = score_scan(series, tmp_path / "out", mask_path=path)
    assert (result.score.agatston, result.score.risk_category) == (0, "0")
    assert [finding["code"] for finding in result.record["findings"]] == [
        "MASK_EMPTY",
        "NOT_GATED",
        "FOV",
    ]
    assert "No lesion was counted" in (tmp_path / "out" / "report.html").read_text()


# --- tube voltage ---------------------------------------------------------------


def test_unknown_tube_voltage_is_refused_as_unfit(mask_file, tmp_path):
    write_dicom_series(make_scan(kvp=None), tmp_path / "series")
    with pytest.raises(UnfitError, match="tube voltage") as caught:
        score_scan(tmp_path / "series", tmp_path / "out", mask_path=mask_file)
    assert (caught.value.code, caught.value.exit_code) == ("KVP_UNKNOWN", 5)
    assert not (tmp_path / "out").exists()


def test_nifti_scan_is_scored_where_the_tube_voltage_is_given(mask_file, tmp_path):
    scan = make_scan()
    path = write_nifti(tmp_path / "scan.nii.gz", scan.array, scan.geometry)
    with pytest.raises(UnfitError, match="KVP_UNKNOWN"):
        score_scan(path, tmp_path / "out", mask_path=mask_file)
    result = score_scan(
        path, tmp_path / "out", mask_path=mask_file, tube_voltage_kvp=120
    )
    assert result.score.agatston == pytest.approx(15.75)


def test_hundred_kilovolts_are_scored_at_130_hu_with_one_warning(mask_file, tmp_path):
    write_dicom_series(make_scan(kvp=100.0), tmp_path / "series")
    result = score_scan(tmp_path / "series", tmp_path / "out", mask_path=mask_file)
    assert result.score.rule.threshold_hu == 130
    warnings = [f for f in result.record["findings"] if f["code"] == "KVP"]
    assert len(warnings) == 1
    assert "100 kVp" in warnings[0]["message"]


# --- with a network -------------------------------------------------------------


def test_adapted_thresholds_are_used_on_request_alone(mask_file, tmp_path):
    write_dicom_series(make_scan(kvp=80.0), tmp_path / "series")
    result = score_scan(
        tmp_path / "series",
        tmp_path / "out",
        mask_path=mask_file,
        options=ScoreOptions(kvp_adapted=True),
    )
    # 80 kVp: 177/271/408/544. 250 HU weighs 1, 420 HU weighs 3; 0.5625 mm2 a pixel.
    assert result.score.agatston == pytest.approx(6 * 0.5625 + 4 * 0.5625 * 3)
    assert result.record["rule"]["name"] == "agatston_1990_kvp_adapted"
    (warning,) = [f for f in result.record["findings"] if f["code"] == "KVP"]
    assert "177 HU" in warning["message"]


def test_a_scan_that_must_not_be_adapted_is_scored_at_130_hu_and_says_why(
    mask_file, tmp_path
):
    write_dicom_series(
        make_scan(kvp=100.0), tmp_path / "series", series_description="CaSc Sn100"
    )
    result = score_scan(
        tmp_path / "series",
        tmp_path / "out",
        mask_path=mask_file,
        options=ScoreOptions(kvp_adapted=True),
    )
    assert result.score.rule.threshold_hu == 130
    messages = {f["code"]: f["message"] for f in result.record["findings"]}
    assert "tin filter" in messages["KVP_NOT_ADAPTED"]


def test_a_photon_energy_needs_no_tube_voltage(mask_file, tmp_path):
    write_dicom_series(make_scan(kvp=None), tmp_path / "series")
    result = score_scan(
        tmp_path / "series",
        tmp_path / "out",
        mask_path=mask_file,
        options=ScoreOptions(kev=40),
    )
    # 40 keV: 339/515/773/1029, so only the four voxels of 420 HU count, weight 1.
    assert result.score.agatston == pytest.approx(4 * 0.5625)
    assert "KEV" in {f["code"] for f in result.record["findings"]}


def test_photon_energy_and_adapted_voltage_exclude_each_other():
    with pytest.raises(ValueError, match="give one"):
        ScoreOptions(kvp_adapted=True, kev=70)


def _bright_network(candidate_hu: float = 130):
    """A stand-in for the network that is sure of everything at or above 130 HU."""
    from kcalc.inference import Network
    from kcalc.preparation import InputSpec

    def run(stack: np.ndarray) -> np.ndarray:
        return (stack[..., 4] >= 130).astype(np.float32)

    spec = InputSpec((-200.0, 800.0), stack=9, multiple_zyx=(1, 16, 16))
    return Network(run, spec, candidate_hu=candidate_hu)


def test_network_mask_is_scored_and_named(series, tmp_path):
    stages = []
    result = score_scan(
        series,
        tmp_path / "out",
        model=_bright_network(),
        progress=lambda stage, done, total: stages.append((stage, done, total)),
    )
    np.testing.assert_array_equal(result.mask, make_scan().array >= 130)
    assert result.seconds_network > 0
    record = json.loads((tmp_path / "out" / "score.json").read_text())
    assert record["model"]["name"] == "unnamed"
    assert record["model"]["num_slices_run"] == 6
    assert "tensorflow" in record["versions"]
    assert ("Finding calcium, slice", 6, 6) in stages
    assert [stage for stage, done, total in stages if not total] == [
        "Reading the scan",
        "Loading the network",
        "Scoring",
        "Writing the results",
    ]


def test_exported_model_is_named_with_version_and_hashes(series, tmp_path):
    import keras

    from kcalc.export import export_saved_model
    from kcalc.preparation import InputSpec

    inputs = keras.Input((None, None, 9))
    outputs = keras.layers.Conv2D(1, 1, activation="sigmoid", name="head")(inputs)
    model = keras.Model(inputs, outputs)
    kernel = np.zeros((1, 1, 9, 1), np.float32)
    kernel[0, 0, 4] = 1000  # sure from the middle slice's (130 + 200) / 1000 up
    model.get_layer("head").set_weights([kernel, np.array([-325.0], np.float32)])
    path = export_saved_model(
        model,
        tmp_path / "models" / "bright",
        input_spec=InputSpec((-200.0, 800.0), stack=9),
        trained_on="Set by hand.",
    )
    result = score_scan(series, tmp_path / "out", model=path)
    np.testing.assert_array_equal(result.mask, make_scan().array >= 130)
    record = json.loads((tmp_path / "out" / "score.json").read_text())
    assert (record["model"]["name"], record["model"]["version"]) == ("bright", 1)
    assert len(record["model"]["files_sha256"]["saved_model.pb"]) == 64
    assert "Set by hand." in (tmp_path / "out" / "report.html").read_text()


def test_missing_model_gives_no_output(series, tmp_path):
    with pytest.raises(ModelError, match="MODEL_MISSING") as caught:
        score_scan(series, tmp_path / "out", model="no_such_model")
    assert caught.value.exit_code == 6
    assert not (tmp_path / "out").exists()


def test_missing_model_is_told_before_tensorflow_starts(series, tmp_path):
    code = (
        "import sys; from kcalc.cli import main; "
        f"code = main(['score', '-i', {str(series)!r}, '--model', 'no_such_model', "
        f"'-o', {str(tmp_path / 'out')!r}]); print(code, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "6 False\n"
    # On a busy machine a line of progress may stand before it.
    assert done.stderr.splitlines()[-1].startswith("kcalc: MODEL_MISSING: ")


def test_interrupt_in_the_network_leaves_nothing(series, tmp_path):
    def interrupted(stack: np.ndarray) -> np.ndarray:
        raise KeyboardInterrupt

    network = replace(_bright_network(), run=interrupted)
    with pytest.raises(KeyboardInterrupt):
        score_scan(series, tmp_path / "out", model=network)
    assert _names(tmp_path) == ["series"]


# --- arguments and output folder ------------------------------------------------


def test_unwritable_output_is_refused_before_the_scan_is_read(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResourceError, match="OUTPUT_UNWRITABLE"):
        score_scan(tmp_path / "no scan", tmp_path / "file" / "out")


def test_folder_of_other_things_is_refused(series, mask_file, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ResourceError, match="OUTPUT_EXISTS"):
        score_scan(series, tmp_path / "out", mask_path=mask_file)
    assert _names(tmp_path / "out") == ["thesis.txt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "mine"}, "rule must be one of"),
        ({"mass_calibration": -1.0}, "mass_calibration must be"),
        ({"model": "a", "mask_path": "b"}, "not both"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        score_scan(tmp_path, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_scoring_a_mask_loads_no_tensorflow(series, mask_file, tmp_path):
    code = (
        "import sys; from kcalc.workflow import score_scan; "
        f"score_scan({str(series)!r}, {str(tmp_path / 'out')!r}, "
        f"mask_path={str(mask_file)!r}); "
        "print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# --- phantoms -------------------------------------------------------------------


@pytest.fixture
def small_phantoms(monkeypatch):
    """Render the real phantoms on a small grid."""
    from kcalc import phantoms

    chest, qrm = phantoms.chest, phantoms.qrm

    def small_chest(preset, seed):
        return chest(preset, seed, num_lesions=3, shape_zyx=(8, 128, 128))

    def small_qrm(seed):
        return qrm(seed=seed, rows=128, columns=128, num_slices=8)

    monkeypatch.setattr(phantoms, "chest", small_chest)
    monkeypatch.setattr(phantoms, "qrm", small_qrm)


@pytest.mark.parametrize("kind", ["chest", "qrm"])
def test_phantom_folder_reads_back_and_its_label_scores_as_told(
    small_phantoms, tmp_path, kind
):
    result = render_phantom(kind, tmp_path / "p", seed=5, nifti=True)
    assert _names(tmp_path / "p") == [
        "dicom",
        "label.nii.gz",
        "scan.nii.gz",
        "truth.json",
    ]
    truth = json.loads((tmp_path / "p" / "truth.json").read_text())
    assert truth["true_mass_mg"] == pytest.approx(result.phantom.true_mass_mg)
    assert len(truth["lesions"]) == len(result.phantom.lesions)
    volume = read_volume(tmp_path / "p" / "dicom")
    rendered_hu = np.maximum(result.phantom.volume.array, -1024)  # padding is lower
    np.testing.assert_array_equal(volume.array, rendered_hu)
    scored = score_scan(
        tmp_path / "p" / "dicom",
        tmp_path / "out",
        mask_path=tmp_path / "p" / "label.nii.gz",
    )
    told = truth["score_of_label"]["agatston"]
    assert told > 0
    # A decimal string of DICOM holds the spacing to nine decimals.
    assert scored.score.agatston == pytest.approx(told, rel=1e-7)


def test_a_preset_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="preset must be left out"):
        render_phantom("qrm", tmp_path / "p", preset="wide")
