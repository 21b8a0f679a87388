"""``kcalc score --register``: one mask on the network's grid and on the scan's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_registration import COARSE

import kcalc
from kcalc.cli import main
from kcalc.errors import UsageError
from kcalc.io.nifti import read_mask, write_nifti
from kcalc.phantoms import head, write_dicom_series
from kcalc.registration import NETWORK_GRID, phantom_reference, to_network_grid
from kcalc.workflow import ScanResult, ScoreOptions, score_scan

REGISTER = ScoreOptions(target="icac", register=True)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head as DICOM, and a mask that holds the left siphon and bone beside it."""
    folder = tmp_path_factory.mktemp("head")
    phantom = head("full", 1, num_lesions=4, **COARSE)
    write_dicom_series(phantom, folder / "dicom")
    volume = kcalc.read_volume(folder / "dicom")
    points = phantom_reference().carotids_xyz_mm
    left = points[points[:, 0] > 0][::8]
    z, y, x = np.meshgrid(*(np.arange(n) for n in volume.shape), indexing="ij")
    place = volume.geometry.index_to_mm(np.stack([z, y, x], axis=-1))
    near = np.zeros(volume.shape, bool)
    for point in left:
        near |= ((place - point) ** 2).sum(axis=-1) < 6.0**2
    write_nifti(folder / "mask.nii.gz", near * np.uint8(11), volume.geometry)
    return folder


@pytest.fixture(scope="module")
def result(scan: Path) -> ScanResult:
    return score_scan(
        scan / "dicom",
        scan / "out",
        mask_path=scan / "mask.nii.gz",
        mask_labels="kcalc",
        options=REGISTER,
    )


def test_both_volumes_are_told(result):
    record = json.loads((result.directory / "score.json").read_text("utf-8"))
    grid = record["network_grid"]
    assert grid["shape_zyx"] == [100, 240, 240]
    assert grid["spacing_mm"] == pytest.approx([1.0, 0.49, 0.49])
    # dense bone in coarse voxels: interpolation lets it reach further above 130 HU
    assert record["volume_mm3"] > 200
    ratio = grid["volume_mm3"] / record["volume_mm3"]
    assert ratio == pytest.approx(1.0, abs=0.2)
    assert ratio != 1.0
    voxel_mm3 = 1.0 * 0.49 * 0.49
    assert grid["volume_mm3"] == pytest.approx(grid["calcium_voxels"] * voxel_mm3)
    assert list(grid["per_vessel"]) == list(record["per_vessel"]) == ["left ICA"]
    assert grid["registration"]["correlation"] > 0.7
    assert "SimpleITK" in record["versions"]


def test_the_scans_own_volume_is_the_one_without_registration(scan, result):
    plain = score_scan(
        scan / "dicom",
        scan / "plain",
        mask_path=scan / "mask.nii.gz",
        mask_labels="kcalc",
        options=ScoreOptions(target="icac"),
    )
    assert plain.record["volume_mm3"] == result.record["volume_mm3"]
    assert plain.record["network_grid"] is None
    assert plain.on_network_grid is None
    assert not (plain.directory / "mask_network.nii.gz").exists()
    assert "<h2>Registration</h2>" not in (plain.directory / "report.html").read_text()


def test_the_mask_on_the_networks_grid_is_written_where_it_lies(scan, result):
    network = result.on_network_grid
    assert network is not None
    path = result.directory / "mask_network.nii.gz"
    calcium = read_mask(path, network.volume.geometry)
    assert np.count_nonzero(calcium) == result.record["network_grid"]["calcium_voxels"]
    assert (network.volume.array[calcium > 0] > 130).all()
    volume = kcalc.read_volume(scan / "dicom")
    back = network.mask_back(calcium, volume.geometry)
    given = read_mask(scan / "mask.nii.gz", volume.geometry)
    assert (given[back > 0] > 0).mean() > 0.9


def test_report_and_summary_show_the_registration(result):
    html = (result.directory / "report.html").read_text("utf-8")
    section = html[html.index("<h2>Registration</h2>") :]
    section = section[: section.index("</section>")]
    assert section.count("<svg") == 4
    assert section.count('class="outline reference"') == 4
    assert 'class="outline course"' in section
    assert 'class="outline kept"' in section
    assert "Volume, network&#x27;s grid" in html
    grid = result.record["network_grid"]
    assert f"{grid['volume_mm3']:.1f} mm3 on 100 x 240 x 240 voxels" in result.summary()
    assert "On the network's grid" in result.record["finding_text"]
    assert "REGISTERED" in {f["code"] for f in result.record["findings"]}


def test_the_command_refuses_a_scan_that_is_no_head(tmp_path, capsys):
    volume = kcalc.Volume(
        np.random.default_rng(0).normal(20, 90, (40, 64, 64)).astype(np.int16),
        NETWORK_GRID.axial((40, 64, 64), (3.0, 2.0, 2.0)),
    )
    scan = write_nifti(tmp_path / "scan.nii.gz", volume.array, volume.geometry)
    mask = np.zeros(volume.shape, np.uint8)
    mask[20, 30, 30] = 1
    marked = write_nifti(tmp_path / "mask.nii.gz", mask, volume.geometry)
    common = ["score", "-i", str(scan), "-o", str(tmp_path / "out"), "--assume-hu"]
    code = main(
        [
            *(*common, "--tube-voltage-kvp", "120", "--mask", str(marked)),
            *("--target", "icac", "--register"),
        ]
    )
    assert code == 5
    assert "REGISTER_FIT" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"register": True}, "for the target icac alone"),
        ({"target": "icac", "reference_path": "head"}, "ask for that too"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(choices, words: str):
    with pytest.raises(UsageError, match=words):
        ScoreOptions(**choices)


@pytest.mark.slow
def test_a_network_sees_the_registered_head_and_its_mask_comes_back(scan, tmp_path):
    import keras

    from kcalc.export import export_saved_model
    from kcalc.models import residual_dropout_fcn
    from kcalc.preparation import InputSpec

    keras.utils.set_random_seed(1)
    version = export_saved_model(
        residual_dropout_fcn((None, None, None, 1), channels=(1, 1, 2)),
        tmp_path / "icac",
        input_spec=InputSpec((-1000.0, 1500.0), spacing_mm=(1.0, 0.49, 0.49)),
        task="intracranial_carotid_calcium",
        labels=("intracranial_carotid_calcium",),
        threshold=0.5,
        trained_on="Nothing.",
    )
    command = ["score", "-i", str(scan / "dicom"), "--target", "icac"]
    command += ["--model", str(version)]
    assert main([*command, "-o", str(tmp_path / "refused")]) == 3  # MODEL_SPACING
    assert main([*command, "-o", str(tmp_path / "out"), "--register"]) == 0
    record = json.loads((tmp_path / "out" / "score.json").read_text("utf-8"))
    placed = to_network_grid(kcalc.read_volume(scan / "dicom"))
    seen = kcalc.predict(version, placed.volume).mask
    volume_mm3 = np.count_nonzero(seen) * np.prod(placed.volume.spacing_mm)
    assert record["network_grid"]["volume_mm3"] == pytest.approx(volume_mm3)
    assert record["model"]["task"] == "intracranial_carotid_calcium"
    native = kcalc.read_volume(scan / "dicom")
    back = placed.mask_back(seen, native.geometry) & (native.array > 130)
    own_mm3 = np.count_nonzero(back) * np.prod(native.spacing_mm)
    assert record["volume_mm3"] == pytest.approx(own_mm3)
