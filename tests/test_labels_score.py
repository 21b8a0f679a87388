"""kcalc score --mask: every format of labels gives the score of the same NIfTI mask."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import write_series
from label_files import coca_roi, rtstruct, save, seg, square, write_coca, write_mhd

import kcalc
from kcalc.cli import main
from kcalc.io import read_labels
from kcalc.io.nifti import write_nifti

SPACING_MM = (3.0, 0.5, 0.5)
LAD, RCA = 2, 4


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    array = np.full((6, 20, 24), -1000, np.int16)
    array[:, 2:-2, 2:-2] = 40
    array[1, 5:8, 6:9] = 400
    array[3, 10:13, 14:17] = 250
    write_series(tmp_path / "scan", array, SPACING_MM)
    write_mhd(tmp_path / "scan.mhd", array, SPACING_MM)
    return tmp_path / "scan"


def truth(shape: tuple[int, ...]) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[1, 5:8, 6:9] = LAD
    labels[3, 10:13, 14:17] = RCA
    return labels


def written(kind: str, folder: Path, scan: Path) -> tuple[Path, list[str]]:
    """Write the labels in a format; return the file and the options it needs."""
    grid = kcalc.read_volume(scan).geometry
    labels = truth(grid.shape_zyx)
    contours = {"LAD": [(1, square(4, 5, 4.0))], "RCA": [(3, square(9, 13, 4.0))]}
    if kind == "nifti":
        return write_nifti(folder / "a.nii.gz", labels, grid), []
    if kind == "orcascore":
        values = np.choose(labels // 2, [0, 1, 3]).astype(np.uint8)
        return write_mhd(folder / "a.mhd", values), ["--labels", "orcascore"]
    if kind == "coca":
        lad = coca_roi(square(4, 5, 4.0))
        rca = coca_roi(square(9, 13, 4.0), "Right Coronary Artery")
        return write_coca(folder / "a.xml", {4: [lad], 2: [rca]}), []
    if kind == "rtstruct":
        return save(rtstruct(grid, contours), folder / "a.dcm"), []
    masks = {"LAD": labels == LAD, "RCA": labels == RCA}
    return save(seg(grid, masks), folder / "a.dcm"), []


def score(scan: Path, out: Path, *options: str) -> dict:
    assert main(["score", "-i", str(scan), "-o", str(out), *options]) == 0
    return json.loads((out / "score.json").read_text())


@pytest.mark.parametrize(
    "kind", ["nifti", "orcascore", "coca", "rtstruct", "dicom_seg"]
)
def test_every_format_gives_the_score_by_vessel(tmp_path, scan, kind: str, capsys):
    path, options = written(kind, tmp_path, scan)
    record = score(scan, tmp_path / "out", "--mask", str(path), *options)
    # 9 pixels of 0.25 mm2: weight 4 at 400 HU, weight 2 at 250 HU.
    assert record["agatston"] == pytest.approx(9 * 0.25 * (4 + 2))
    assert record["per_vessel"]["LAD"]["agatston"] == pytest.approx(9.0)
    assert record["per_vessel"]["RCA"]["agatston"] == pytest.approx(4.5)
    mask = read_labels(tmp_path / "out" / "mask.nii.gz", kcalc.read_volume(scan))
    np.testing.assert_array_equal(mask.array, truth(mask.array.shape))


def test_a_metaimage_scan_is_scored_as_the_same_dicom(tmp_path, scan, capsys):
    path, _ = written("nifti", tmp_path, scan)
    mask = ("--mask", str(path))
    dicom = score(scan, tmp_path / "dicom", *mask)
    voltage = ("--tube-voltage-kvp", "120")
    stored = score(tmp_path / "scan.mhd", tmp_path / "mhd", *mask, *voltage)
    assert stored["agatston"] == dicom["agatston"]
    assert stored["per_vessel"] == dicom["per_vessel"]


@pytest.mark.parametrize("by_vessel", [True, False])
def test_a_seg_of_kcalc_reads_back_as_the_very_mask(tmp_path, scan, by_vessel, capsys):
    volume = kcalc.read_volume(scan)
    labels = truth(volume.shape)
    if by_vessel:
        labels[1, 5:8, 7:9] = 8
        labels[3, 11:13, 14:17] = 6
    else:
        labels = (labels > 0).astype(np.uint8)
    path = write_nifti(tmp_path / "a.nii.gz", labels, volume.geometry)
    out = tmp_path / "out"
    score(scan, out, "--mask", str(path), "--dicom")
    found = read_labels(out / "seg.dcm", volume)
    np.testing.assert_array_equal(found.array, labels)
    assert found.vessels_named == by_vessel


def test_labels_that_mean_two_things_are_refused(tmp_path, scan, capsys):
    path, _ = written("orcascore", tmp_path, scan)
    options = ["score", "-i", str(scan), "-o", str(tmp_path / "out")]
    assert main([*options, "--mask", str(path)]) == 3
    told = capsys.readouterr().err
    assert "LABEL_SCHEME" in told
    assert "--labels" in told
    assert not (tmp_path / "out").exists()
    assert main([*options, "--labels", "plain"]) == 3  # without a mask
    assert "no --mask was given" in capsys.readouterr().err
    assert main([*options, "--mask", str(path), "--labels", "nonsense"]) == 2
