"""No patient data in messages, logs, file names and outputs, whatever happens."""

from __future__ import annotations

import gzip
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import ct_slice, write_series
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from test_dicom_enhanced import write_enhanced

from kcalc import cli
from kcalc.io import read_volume
from kcalc.io.nifti import write_nifti

MARKER = "MUSTERMANN"
MARKER_DATES = ("19471103", "20190517")
TEXT_VRS = frozenset({"PN", "LO", "SH", "ST", "LT", "UT", "UC", "AE", "CS"})
IDENTIFYING = (
    *("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName"),
    *("ReferringPhysicianName", "ReferringPhysicianAddress", "StationName"),
    *("ReferringPhysicianTelephoneNumbers", "PhysiciansOfRecord", "OperatorsName"),
    *("PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "AccessionNumber"),
    *("StudyDescription", "SeriesDescription", "AdmittingDiagnosesDescription"),
    *("ConsultingPhysicianName", "DerivationDescription", "ProtocolName"),
    *("DeviceSerialNumber", "GantryID", "DetectorID", "StudyID", "ImageComments"),
    *("ContentCreatorName", "AcquisitionComments", "InterpretationAuthor"),
)
"""Of four groups; 0010, 0012, 0032, 0038 and 0040 are marked as a whole."""


def marked(ds: Dataset, _: int = 0) -> None:
    """Write the marker into every attribute that may identify a patient."""
    groups = {0x0010, 0x0012, 0x0032, 0x0038, 0x0040}
    for tag, (vr, _vm, name, retired, keyword) in DicomDictionary.items():
        wanted = (tag >> 16) in groups or keyword in IDENTIFYING
        if not wanted or retired or not name:
            continue
        if vr in TEXT_VRS:
            ds.add_new(tag, vr, MARKER)
        elif vr == "DA":
            ds.add_new(tag, vr, MARKER_DATES[0])
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        setattr(ds, keyword, MARKER_DATES[1])
    request = Dataset()
    request.RequestingPhysician = request.RequestedProcedureDescription = MARKER
    ds.RequestAttributesSequence = [request]
    other = Dataset()
    other.PatientID = MARKER
    ds.OtherPatientIDsSequence = [other]
    ds.add_new(0x00091010, "LO", MARKER)


def scan_hu() -> np.ndarray:
    array_hu = np.full((5, 20, 24), -1000, np.int16)
    array_hu[:, 3:-3, 3:-3] = 40
    array_hu[2, 5:7, 6:9] = 250
    return array_hu


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A folder with ``series``, marked, and ``mask.nii.gz``."""
    write_series(tmp_path / "series", scan_hu(), edit=marked)
    volume = read_volume(tmp_path / "series")
    write_nifti(tmp_path / "mask.nii.gz", volume.array >= 130, volume.geometry)
    return tmp_path


def traces(text: str | bytes) -> list[str]:
    """Return what of the patient stands in a text."""
    raw = text.encode() if isinstance(text, str) else text
    spellings = (MARKER, MARKER.lower(), MARKER.title(), *MARKER_DATES)
    return [word for word in spellings if word.encode() in raw]


def score(case: Path, series: str, *options: str) -> int:
    """Score with ``--debug`` and everything else that could tell."""
    return cli.main(
        [
            *("score", "-i", str(case / series), "-o", str(case / "out"), "--debug"),
            *("--mask", str(case / "mask.nii.gz"), *options),
        ]
    )


def written(folder: Path) -> dict[str, bytes]:
    """Return name and content of every file, unzipped."""
    return {
        path.relative_to(folder).as_posix(): gzip.decompress(path.read_bytes())
        if path.suffix == ".gz"
        else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_markers_are_there(case: Path) -> None:
    raw = (case / "series" / "slice002.dcm").read_bytes()
    assert raw.count(MARKER.encode()) > 100
    ds = pydicom.dcmread(case / "series" / "slice002.dcm")
    assert {str(ds.PatientName), ds.PatientID, ds.StudyDescription} == {MARKER}


def test_no_output_holds_a_trace_of_the_patient(
    case: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert score(case, "series", "--dicom", "--json") == 0
    files = written(case / "out")
    assert {"seg.dcm", "sr.dcm", "score.json", "report.html"} <= set(files)
    for name, content in files.items():
        assert traces(name) == [], name
        assert traces(content) == [], name
    told = capfd.readouterr()
    assert traces(told.out) == []
    assert traces(told.err) == []
    assert traces(caplog.text) == []


def test_phi_keep_puts_it_into_the_two_dicom_files_alone(
    case: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def legal(ds: Dataset, index: int) -> None:
        marked(ds, index)
        ds.PatientSex = "F"
        ds.PatientIdentityRemoved = "NO"

    write_series(case / "legal", scan_hu(), edit=legal)
    assert score(case, "legal", "--dicom", "--phi", "keep", "--json") == 0
    found = {name: traces(content) for name, content in written(case / "out").items()}
    assert {name for name, what in found.items() if what} == {"seg.dcm", "sr.dcm"}
    told = capfd.readouterr()
    assert traces(told.out + told.err + caplog.text) == []
    ds = pydicom.dcmread(case / "out" / "sr.dcm")
    kept = {str(element.value) for element in ds.iterall() if element.VR in TEXT_VRS}
    assert MARKER in kept
    assert {
        element.keyword
        for element in ds.iterall()
        if MARKER in str(element.value) and element.VR != "SQ"
    } == {
        *("PatientName", "PatientID", "IssuerOfPatientID", "StudyDescription"),
        *("AccessionNumber", "StudyID", "ReferringPhysicianName"),
        "DeidentificationMethod",
    }


Edit = Callable[[Dataset, int], None]


def _set(keyword: str, value: Any) -> Edit:
    def edit(ds: Dataset, index: int) -> None:
        if index == 2:
            if isinstance(value, str):  # also where it is no decimal string
                ds.add_new(tag_for_keyword(keyword), "LO", value)
            else:
                setattr(ds, keyword, value)

    return edit


def _cut(ds: Dataset, index: int) -> None:
    ds.PixelData = ds.PixelData[:100]


def marked_and_cut(ds: Dataset, index: int) -> None:
    marked(ds, index)
    _cut(ds, index)


DEFECTS: dict[str, Edit] = {
    "GEOM_POSITION": _set("ImagePositionPatient", "x\\y\\z"),
    "GEOM_SPACING": _set("PixelSpacing", "0,5\\0,5"),
    "GEOM_ORIENT": _set("ImageOrientationPatient", [1, 1, 0, 0, 1, 0]),
    "GEOM_UNEVEN": _set("ImagePositionPatient", [-10, -20, 107.4]),
    "GEOM_SHAPE": _set("Rows", 19),
    "GEOM_FRAME": _set("FrameOfReferenceUID", "1.2.9"),
    "HU_RESCALE": _set("RescaleSlope", "zero"),
    "BITS": _set("BitsStored", 99),
    "PHOTOMETRIC": _set("PhotometricInterpretation", "RGB"),
    "MODALITY": lambda ds, index: setattr(ds, "Modality", "MR"),
    "CONTRAST": lambda ds, index: setattr(ds, "ContrastBolusAgent", "ULTRAVIST"),
    "KVP_UNKNOWN": lambda ds, index: setattr(ds, "KVP", None),
    "TRUNCATED": _cut,
    "DICOM_REFERENCE": lambda ds, index: delattr(ds, "StudyInstanceUID"),
    "DICOM_IDENTITY": lambda ds, index: setattr(ds, "PatientID", f"{MARKER}\n"),
}


@pytest.mark.parametrize("code", DEFECTS)
def test_no_refusal_holds_a_trace_of_the_patient_even_with_debug(
    case: Path,
    code: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def edit(ds: Dataset, index: int) -> None:
        marked(ds, index)
        DEFECTS[code](ds, index)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_series(case / "broken", scan_hu(), edit=edit)
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    assert score(case, "broken", "--dicom", "--phi", "keep") in (3, 5)
    told = capfd.readouterr()
    assert code in told.err
    assert "Traceback" in told.err
    assert traces(told.out + told.err + caplog.text) == []
    assert not (case / "out").exists()


def test_two_series_and_strange_files_are_told_without_a_trace(
    case: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    write_series(case / "two", scan_hu(), edit=marked)
    write_series(case / "two", scan_hu(), series_uid="1.2.8", stem="b", edit=marked)
    (case / "two" / "notes.txt").write_text(MARKER)
    caplog.set_level(logging.DEBUG)
    assert score(case, "two") == 3
    assert score(case, "two", "--series", "00000000") == 3
    assert score(case, "two/notes.txt") == 3
    told = capfd.readouterr()
    assert "SERIES_AMBIGUOUS" in told.err
    assert traces(told.out + told.err + caplog.text) == []


def test_a_multi_frame_object_leaves_no_trace(
    case: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    write_enhanced(case / "enhanced" / "e.dcm", scan_hu(), edit=marked)
    volume = read_volume(case / "enhanced")
    write_nifti(case / "mask.nii.gz", volume.array >= 130, volume.geometry)
    caplog.set_level(logging.DEBUG)
    assert score(case, "enhanced", "--dicom", "--json") == 0
    told = capfd.readouterr()
    assert traces(told.out + told.err + caplog.text) == []
    for name, content in written(case / "out").items():
        assert traces(content) == [], name


@pytest.mark.parametrize("cut", [0, 400])
def test_a_mask_in_dicom_leaves_no_trace(
    case: Path,
    cut: int,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert score(case, "series", "--dicom") == 0
    ds = pydicom.dcmread(case / "out" / "seg.dcm")
    marked(ds)
    ds.save_as(case / "seg.dcm")
    raw = (case / "seg.dcm").read_bytes()
    (case / "seg.dcm").write_bytes(raw[: len(raw) - cut])
    capfd.readouterr()
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    arguments = ["score", "-i", str(case / "series"), "-o", str(case / "again")]
    options = ["--mask", str(case / "seg.dcm"), "--dicom", "--debug"]
    assert cli.main([*arguments, *options]) == (3 if cut else 0)
    told = capfd.readouterr()
    assert traces(told.out + told.err + caplog.text) == []
    if not cut:
        for name, content in written(case / "again").items():
            assert traces(content) == [], name


def test_inspect_tells_every_series_without_a_trace(
    case: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = case / "series"
    write_series(folder, scan_hu(), series_uid="1.2.8", stem="b", edit=marked)
    write_series(folder, scan_hu(), series_uid="1.2.9", stem="c", edit=marked_and_cut)
    write_enhanced(folder / "e.dcm", scan_hu(), edit=marked)
    (folder / "notes.txt").write_text(MARKER)
    caplog.set_level(logging.DEBUG)
    for options in ([], ["--json"]):
        cli.main(["inspect", str(folder), "--debug", *options])
        told = capfd.readouterr()
        assert "slices" in told.out
        assert traces(told.out + told.err + caplog.text) == []


@pytest.mark.parametrize("broken", [False, True])
def test_a_case_store_of_marked_scans_leaves_no_trace(
    case: Path,
    broken: bool,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in range(4):
        folder = case / "cases" / f"c{number}__1"
        volume = read_volume(case / "series")
        write_series(
            folder / "image",
            scan_hu() + np.int16(number),
            series_uid=f"1.2.7.{number}",
            edit=marked_and_cut if broken and number == 2 else marked,
        )
        write_nifti(folder / "label.nii.gz", volume.array >= 130, volume.geometry)
    caplog.set_level(logging.DEBUG)
    out = case / "store"
    out.mkdir()
    arguments = ["prepare", "-i", str(case / "cases"), "-o", str(out / "s.h5")]
    options = ["--format", "folders", "--labels", "plain", "--json", "--debug"]
    code = cli.main([*arguments, *options])
    assert (code == 0, (out / "s.h5").exists()) == (not broken, not broken)
    told = capfd.readouterr()
    assert traces(told.out + told.err + caplog.text) == []
    for name, content in written(out).items():
        assert traces(name) + traces(content) == [], name


def test_debug_names_an_unforeseen_error_but_not_its_text(
    case: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        try:
            float(MARKER)
        except ValueError as error:
            raise KeyError(MARKER) from error

    monkeypatch.setattr("kcalc.workflow.score_scan", broken)
    assert score(case, "series") == 1
    told = capfd.readouterr().err
    assert "ValueError: (text not shown)" in told
    assert "KeyError: (text not shown)" in told
    assert "test_phi.py" in told
    assert traces(told) == []


def test_a_slice_made_by_hand_has_the_markers(tmp_path: Path) -> None:
    ds = ct_slice(scan_hu()[0], position_xyz_mm=(0, 0, 0), series_uid="1.2.3")
    marked(ds)
    assert traces(str(ds)) == [MARKER, *MARKER_DATES]
