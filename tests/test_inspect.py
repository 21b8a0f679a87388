"""``kcalc inspect``: every series of a folder, and nothing of a patient's."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import body_hu, write_series

import kcalc
from kcalc import cli
from kcalc.io import inspect_folder
from kcalc.io.inspection import InspectedFolder, InspectedSeries


def only(found: InspectedFolder) -> InspectedSeries:
    """Return the one series that there must be."""
    (series,) = found.series
    return series


def printed(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    """Return what ``kcalc inspect --json`` prints."""
    assert cli.main(["inspect", str(path), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_clean_series_is_described_and_can_be_scored(tmp_path: Path) -> None:
    def gated(ds: pydicom.FileDataset, index: int) -> None:
        ds.TriggerTime = "350"

    paths = write_series(tmp_path, edit=gated)
    series = only(inspect_folder(tmp_path))
    assert series.can_be_scored
    assert (series.modality, series.kind) == ("CT", "CT Image")
    assert (series.num_files, series.num_slices) == (5, 5)
    assert series.shape_yx == (16, 16)
    assert series.slice_spacing_mm == 3.0
    assert series.pixel_spacing_mm == (0.5, 0.5)
    assert series.slice_thickness_mm == 3.0
    assert series.tube_voltage_kvp == 120.0
    assert series.kernel == "B35f"
    assert series.ecg_gated is True
    assert not series.contrast
    assert (series.code, series.reason, series.hint) == ("", "", "")
    assert series.files == tuple(paths)
    assert series.folder == tmp_path


def edited(keyword: str, value: object, index: int | None = None):
    """Return an edit that sets or, with None, deletes a tag of one or all slices."""

    def edit(ds: pydicom.FileDataset, number: int) -> None:
        if index in (None, number):
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)

    return edit


@pytest.mark.parametrize(
    ("keyword", "value", "index", "code"),
    [
        ("KVP", None, None, "KVP_UNKNOWN"),
        ("ContrastBolusAgent", "ISOVUE", None, "CONTRAST"),
        ("RescaleSlope", None, 2, "HU_UNKNOWN"),
        ("ImagePositionPatient", [-10, -20, 113.5], 4, "GEOM_UNEVEN"),
        ("ImagePositionPatient", None, 1, "GEOM_POSITION"),
        ("PixelSpacing", [0, 0], None, "GEOM_SPACING"),
        ("PhotometricInterpretation", "RGB", None, "PHOTOMETRIC"),
        ("Rows", 8, 3, "GEOM_SHAPE"),
        ("Modality", "MR", None, "MODALITY"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"], None, "NO_IMAGE"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7", None, "NO_IMAGE"),
    ],
)
def test_what_inspect_refuses_is_what_reading_refuses(
    tmp_path: Path, keyword: str, value: object, index: int | None, code: str
) -> None:
    write_series(tmp_path, edit=edited(keyword, value, index))
    series = only(inspect_folder(tmp_path))
    assert not series.can_be_scored
    assert series.code == code
    assert series.reason
    assert series.hint
    if code != "KVP_UNKNOWN":
        with pytest.raises(kcalc.InputError, match=f"^{code}: "):
            kcalc.read_volume(tmp_path)


def test_the_gap_is_told_with_files_by_number(tmp_path: Path) -> None:
    paths = write_series(tmp_path, stem="DOE_JOHN_")
    paths[2].unlink()
    series = only(inspect_folder(tmp_path))
    assert series.code == "GEOM_GAP"
    assert "between 103.00 mm (file 2) and 109.00 mm (file 3)" in series.reason
    assert "DOE" not in json.dumps(series.to_dict())


def test_each_series_of_a_tree_is_found_with_its_study(tmp_path: Path) -> None:
    def other_study(ds: pydicom.FileDataset, index: int) -> None:
        ds.StudyInstanceUID = "1.2.3.777"

    def report(ds: pydicom.FileDataset, index: int) -> None:
        ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.88.67", "SR"
        del ds.PixelData

    write_series(tmp_path / "a" / "1", series_uid="1.1")
    write_series(
        tmp_path / "a" / "2", series_uid="1.2", edit=edited("ConvolutionKernel", "B70f")
    )
    write_series(tmp_path / "b", series_uid="1.3", edit=other_study)
    write_series(tmp_path / "b" / "sr", body_hu(1), series_uid="1.4", edit=report)
    found = inspect_folder(tmp_path)
    assert found.num_scorable == 3
    first, second, third, last = found.series
    assert sorted({s.study_id for s in (first, second, third)}) == sorted(
        {first.study_id, third.study_id}
    )
    aside = [s.passed_over_because for s in (first, second, third)]
    assert sorted(map(str, aside)) == ["None", "None", "sharp kernel"]
    assert (last.kind, last.code, last.num_slices) == (
        "X-Ray Radiation Dose SR",
        "MODALITY",
        0,
    )


def test_the_series_id_is_the_one_that_scoring_takes(tmp_path: Path) -> None:
    write_series(tmp_path / "a", series_uid="1.1")
    write_series(tmp_path / "b", body_hu(7), series_uid="1.2")
    for series in inspect_folder(tmp_path).series:
        volume = kcalc.read_volume(tmp_path, series=series.series_id)
        assert volume.shape[0] == series.num_slices


def test_nothing_that_is_free_text_or_a_name_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def named(ds: pydicom.FileDataset, index: int) -> None:
        for keyword in (
            *("SeriesDescription", "StudyDescription", "ProtocolName", "StationName"),
            *("InstitutionName", "ImageComments", "AccessionNumber", "PatientID"),
        ):
            setattr(ds, keyword, "SECRET")
        ds.SeriesInstanceUID = "1.2.20250309.7"
        ds.add_new("ConvolutionKernel", "LT", "SECRET\x1b[2J of Doe, John (1957)" * 3)
        ds.add_new("Modality", "LT", "CT") if index else None

    write_series(tmp_path / "Doe^John" / "1957", stem="Doe", edit=named)
    text = json.dumps(printed(tmp_path, capsys))
    assert cli.main(["inspect", str(tmp_path / "Doe^John")]) == 0
    text += capsys.readouterr().out
    for secret in ("SECRET", "Nobody", "Doe", "1957", "20250309", "\x1b"):
        assert secret not in text
    assert '"kernel": "?"' in text


def test_a_modality_that_is_no_code_is_not_repeated(tmp_path: Path) -> None:
    def named(ds: pydicom.FileDataset, index: int) -> None:
        ds.add_new("Modality", "LO", "Doe, John (1957)")

    write_series(tmp_path, edit=named)
    series = only(inspect_folder(tmp_path))
    assert series.modality == "?"
    assert "Doe" not in json.dumps(series.to_dict())


def test_folders_are_named_only_where_that_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "Doe\x1b[2J\nJohn"
    write_series(home)
    (series,) = printed(tmp_path, capsys, "--folders")["series"]
    assert series["folder"] == str(home)
    assert "folder" not in printed(tmp_path, capsys)["series"][0]
    assert cli.main(["inspect", "-i", str(tmp_path), "--folders"]) == 0
    text = capsys.readouterr().out
    assert "Doe\\x1b[2J\\nJohn" in text
    assert "\x1b" not in text


def test_hostile_company_changes_nothing(tmp_path: Path) -> None:
    write_series(tmp_path / "scan")
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.writestr(
            "../../escape.dcm", (tmp_path / "scan/slice000.dcm").read_bytes()
        )
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "bell\x07\x1b]0;owned\x07.txt").write_text("text")
    (tmp_path / "line\nbreak").write_bytes(bytes(5000))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.nii.gz")).write_bytes(b"\x1f")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "gone.dcm").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.dcm")
    deep = tmp_path
    for _ in range(300):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (tmp_path / "cut.dcm").write_bytes(
        (tmp_path / "scan/slice000.dcm").read_bytes()[:300]
    )
    found = inspect_folder(tmp_path)
    assert only(found).can_be_scored
    assert found.num_files == 11
    assert found.num_not_dicom == 5
    assert found.broken_counts() == {"TRUNCATED": 1}
    assert found.num_volume_files == 1
    assert [f.code for f in found.findings] == ["UNREADABLE", "LINKS", "FILES_SKIPPED"]
    text = found.summary(folders=True)
    assert text.replace("\n", "").isprintable()


def test_a_broken_slice_speaks_against_its_series(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    paths[3].write_bytes(paths[3].read_bytes()[:300])
    series = only(inspect_folder(tmp_path))
    assert series.code == "TRUNCATED"
    assert "of 300 bytes" in series.reason


def test_a_folder_without_dicom_is_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scan.nii.gz").write_bytes(b"not read")
    record = printed(tmp_path, capsys)
    assert record["series"] == []
    assert record["num_volume_files"] == 1
    assert cli.main(["inspect", str(tmp_path)]) == 0
    assert "1 file, 1 of them not DICOM; 0 series, 0 can be scored" in (
        capsys.readouterr().out
    )


def test_absent_and_unnamed_folders_have_their_exit_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["inspect", str(tmp_path / "nowhere")]) == 3
    assert "NOT_FOUND" in capsys.readouterr().err
    assert cli.main(["inspect", str(tmp_path / ("x" * 5000))]) == 3
    assert cli.main(["inspect"]) == 2
    assert cli.main(["inspect", str(tmp_path), "-i", str(tmp_path)]) == 2
    os.mkfifo(tmp_path / "pipe")
    assert cli.main(["inspect", str(tmp_path / "pipe")]) == 3


def test_a_dicomdir_is_no_series_and_leads_nowhere(tmp_path: Path) -> None:
    from pydicom.fileset import FileSet

    write_series(tmp_path / "scan", edit=edited("StudyID", "1"))
    folder = tmp_path / "set"
    file_set = FileSet()
    for path in sorted((tmp_path / "scan").iterdir()):
        ds = pydicom.dcmread(path)
        ds.StudyDate, ds.StudyTime = "20200101", "120000"
        file_set.add(ds)
    file_set.write(folder)
    file_set._stage["t"].cleanup()
    raw = (folder / "DICOMDIR").read_bytes()
    assert b"PT000000" in raw
    (folder / "DICOMDIR").write_bytes(raw.replace(b"PT000000", b"../../.."))
    series = only(inspect_folder(folder))
    assert series.can_be_scored
    assert all(folder in file.parents for file in series.files)
    np.testing.assert_array_equal(kcalc.read_volume(folder).array, body_hu())


def test_copies_are_one_slice(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    shutil.copy(paths[0], tmp_path / "copy.dcm")
    series = only(inspect_folder(tmp_path))
    assert (series.num_files, series.num_slices) == (6, 5)
    assert [f.code for f in series.findings] == ["DUPLICATE_FILE"]


@pytest.mark.slow
def test_twenty_thousand_slices_are_told_apart_by_their_headers(
    tmp_path: Path,
) -> None:
    (first,) = write_series(tmp_path, np.zeros((1, 256, 256), np.int16))
    raw = first.read_bytes()
    uid = pydicom.dcmread(first).SOPInstanceUID.encode()
    first.unlink()
    for number in range(20000):
        folder = tmp_path / f"{number // 100:03d}"
        folder.mkdir(exist_ok=True)
        told = raw.replace(uid, f"{number:0{len(uid)}d}".encode())
        told = told.replace(b"1.2.840.99.1", f"1.2.840.{number // 100:04d}".encode())
        told = told.replace(
            b"-10.0\\-20.0\\100.0", f"-10.0\\-20.0\\{number:05d}".encode()
        )
        with (folder / f"{number}").open("wb") as file:
            # The pixels are a hole in the file: they are never read.
            file.write(told[: len(raw) - 131072])
            file.truncate(len(raw))
    found = inspect_folder(tmp_path)
    assert len(found.series) == 200
    assert found.num_scorable == 200


@pytest.mark.data
def test_the_real_scans_can_be_scored_and_the_tilted_head_not(test_data: Path) -> None:
    for name in ("qrm-phantom", "chest-ct"):
        assert only(inspect_folder(test_data / name)).can_be_scored
    series = only(inspect_folder(test_data / "head-ct-tilted"))
    assert series.code == "GEOM_TILT"
    assert "18.5 degrees" in series.reason
    odd = inspect_folder(test_data / "odd-dicom")
    assert odd.num_scorable == 0
    assert {s.code for s in odd.series} >= {"MODALITY", "NO_IMAGE"}
