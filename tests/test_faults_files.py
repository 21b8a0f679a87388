"""Section C of the fault catalogue: broken and hostile files, on phantoms.

Each test is named after its row. Rows on labels (C12, C13, C15) have theirs in
test_labels.py, test_outlines.py, test_metaimage.py and test_prepare.py, C16 in
test_store.py, C14 in test_nifti.py too, the fuzzing of C18 in test_fuzz.py.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from fault_series import NUM_SLICES, message, refused, setting, spoilt, told
from pydicom.uid import DeflatedExplicitVRLittleEndian

import kcalc
from kcalc import cli
from kcalc.errors import InputError
from kcalc.io import discovery
from kcalc.io.nifti import read_mask, write_nifti
from kcalc.workflow import score_scan


def test_c01_an_empty_file_is_skipped_and_counted_but_not_among_slices(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path)
    (tmp_path / "lock").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "empty.dcm").touch()
    assert "skipped: 2" in message(kcalc.read_volume(tmp_path), "FILES_SKIPPED")
    (tmp_path / "IM004.dcm").write_bytes(b"")
    error = refused(tmp_path, "TRUNCATED")
    assert error.path == str(tmp_path / "IM004.dcm")


def test_c02_other_files_are_skipped_and_never_forced(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path)
    (tmp_path / "notes.txt").write_text("\x08\x00 not a slice")
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 100)
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "fake.dcm").write_bytes(b"DICM but not quite" * 20)
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    volume = kcalc.read_volume(tmp_path)
    assert volume.shape[0] == NUM_SLICES
    assert "skipped: 5" in message(volume, "FILES_SKIPPED")
    refused(tmp_path / "notes.txt", "NOT_DICOM")


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.999])
def test_c03_a_truncated_slice_is_refused_with_what_is_there(
    phantom_slices: Path, tmp_path: Path, share: float
) -> None:
    paths = spoilt(phantom_slices, tmp_path)
    raw = paths[5].read_bytes()
    paths[5].write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(InputError, match=r"^(TRUNCATED|DICOM_BROKEN): ") as caught:
        kcalc.read_volume(tmp_path)
    assert caught.value.path == str(paths[5])
    if share >= 0.2:
        got = int(len(raw) * share) - (len(raw) - 128 * 128 * 2)
        assert f"must have 32768 bytes; {got} are there" in str(caught.value)


def test_c03_the_other_series_of_a_tree_are_still_seen(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path / "good")
    paths = spoilt(phantom_slices, tmp_path / "bad", setting(SeriesInstanceUID="1.2.9"))
    paths[5].write_bytes(paths[5].read_bytes()[:3000])
    found = kcalc.io.inspect_folder(tmp_path)
    assert [series.code for series in found.series] == ["", "TRUNCATED"]


def test_c04_bytes_after_the_pixels_are_ignored_and_noted(
    phantom_slices: Path, tmp_path: Path
) -> None:
    def longer(ds: pydicom.FileDataset, index: int) -> None:
        ds.PixelData += bytes(100)

    spoilt(phantom_slices, tmp_path / "clean")
    spoilt(phantom_slices, tmp_path / "in", longer)
    volume = kcalc.read_volume(tmp_path / "in")
    np.testing.assert_array_equal(
        volume.array, kcalc.read_volume(tmp_path / "clean").array
    )
    assert told(volume)["EXCESS_BYTES"] == "correction"
    assert f"{100 * NUM_SLICES} bytes" in message(volume, "EXCESS_BYTES")


@pytest.mark.parametrize(
    ("uid", "words"),
    [
        ("1.2.840.10008.1.2.4.100", "MPEG2"),
        ("1.2.840.10008.1.2.4.999", "an unknown or private one"),
    ],
)
def test_c05_a_syntax_without_decoder_is_refused_by_name(
    phantom_slices: Path, tmp_path: Path, uid: str, words: str
) -> None:
    for path in spoilt(phantom_slices, tmp_path):
        raw = path.read_bytes()
        old = b"1.2.840.10008.1.2.1\0"
        assert old in raw
        length = raw.index(old) - 2
        new = uid.encode() + b"\0" * (len(uid) % 2)
        raw = raw[:length] + len(new).to_bytes(2, "little") + new + raw[length + 22 :]
        path.write_bytes(raw)
    assert words in str(refused(tmp_path, "DECODER"))


def test_c06_a_header_that_claims_too_much_takes_no_memory(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path / "rows", setting(Rows=60000, Columns=60000))
    assert "9 x 60000 x 60000" in str(refused(tmp_path / "rows", "BUDGET"))
    (path,) = spoilt(
        phantom_slices,
        tmp_path / "frames",
        setting(NumberOfFrames=10**9, SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1"),
        keep=range(1),
    )
    refused(path, "ENHANCED_UNSUPPORTED")
    spoilt(phantom_slices, tmp_path / "many", setting(NumberOfFrames=10**9))
    refused(tmp_path / "many", "ENHANCED_UNSUPPORTED")


def test_c07_a_deflated_slice_is_read_and_a_bomb_refused(
    phantom_slices: Path, tmp_path: Path
) -> None:
    clean = kcalc.read_volume(phantom_slices).array

    def deflated(ds: pydicom.FileDataset, index: int) -> None:
        ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    paths = spoilt(phantom_slices, tmp_path, deflated)
    np.testing.assert_array_equal(kcalc.read_volume(tmp_path).array, clean)
    raw = paths[0].read_bytes()
    begin = discovery.file_meta(raw)[1]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(300))
    paths[0].write_bytes(raw[:begin] + bomb + squeeze.flush())
    assert paths[0].stat().st_size < 400_000
    error = refused(tmp_path, "BUDGET")
    assert error.path == str(paths[0])


def test_c07_c08_archives_are_never_unpacked(
    phantom_slices: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    paths = spoilt(phantom_slices, folder)
    raw = paths[0].read_bytes()
    with zipfile.ZipFile(folder / "more.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("../escape.dcm", "/tmp/kcalc-escape.dcm", "a/../../escape.dcm"):
            archive.writestr(name, raw)
        archive.writestr("bomb.dcm", bytes(1 << 24))
        link = zipfile.ZipInfo("link.dcm")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with tarfile.open(folder / "more.tar", "w") as tar:
        device = tarfile.TarInfo("device.dcm")
        device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 5
        tar.addfile(device)
    before = sorted(path for path in tmp_path.rglob("*"))
    volume = kcalc.read_volume(folder)
    assert volume.shape[0] == NUM_SLICES
    assert "skipped: 2" in message(volume, "FILES_SKIPPED")
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert not Path("/tmp/kcalc-escape.dcm").exists()
    assert "unpack an archive first" in refused(folder / "more.zip", "NOT_DICOM").hint


def test_c08_a_dicomdir_is_never_followed(phantom_slices: Path, tmp_path: Path) -> None:
    """Files are found by walking, so what a DICOMDIR names cannot lead outside."""
    spoilt(phantom_slices, tmp_path / "outside" / "DATA")
    directory = pydicom.Dataset()
    record = pydicom.Dataset()
    record.DirectoryRecordType = "IMAGE"
    with discovery.quiet_pydicom():
        record.ReferencedFileID = ["..", "outside", "DATA", "IM000.dcm"]
    directory.DirectoryRecordSequence = [record]
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    directory.file_meta = meta
    (tmp_path / "in").mkdir()
    with discovery.quiet_pydicom():
        directory.save_as(tmp_path / "in" / "DICOMDIR", enforce_file_format=True)
    refused(tmp_path / "in", "EMPTY_FOLDER")
    refused(tmp_path / "in" / "DICOMDIR", "NOT_DICOM")
    for path in spoilt(phantom_slices, tmp_path / "in"):
        path.rename(path.with_suffix(""))  # as media have them, beside the directory
    assert kcalc.read_volume(tmp_path / "in").shape[0] == NUM_SLICES


@pytest.mark.parametrize("depth", [65, 400, 2000])
def test_c09_deep_nesting_is_refused(
    phantom_slices: Path, tmp_path: Path, depth: int
) -> None:
    paths = spoilt(phantom_slices, tmp_path)
    raw = paths[0].read_bytes()
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    where = raw.index(b"\x10\x00\x10\x00PN")
    paths[0].write_bytes(raw[:where] + opening * depth + closing * depth + raw[where:])
    assert refused(tmp_path, "DICOM_NESTED").path == str(paths[0])


HOSTILE = "=1+1<script>alert(1)</script>\r\n\x1b[2J\"'&;@"


class _Tags(HTMLParser):
    """Collects the elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)


def test_c10_hostile_text_in_tags_reaches_no_page_table_or_terminal_raw(
    phantom_slices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def hostile(ds: pydicom.FileDataset, index: int) -> None:
        ds.SpecificCharacterSet = "ISO_IR 999"
        for keyword in ("ConvolutionKernel", "Manufacturer", "ManufacturerModelName"):
            delattr(ds, keyword)
            ds.add_new(keyword, "UN", HOSTILE.encode() + b"\xff\xfe\x00")
        ds.add_new("SeriesDescription", "UN", HOSTILE.encode())

    spoilt(phantom_slices, tmp_path / "in", hostile)
    volume = kcalc.read_volume(tmp_path / "in")
    facts = volume.acquisition
    for text in (facts.convolution_kernel, facts.manufacturer):
        assert text is not None
        assert text.isprintable()
    mask = tmp_path / "mask.nii.gz"
    write_nifti(mask, volume.array >= 130, volume.geometry)
    out = tmp_path / "out"
    arguments = [
        "score",
        "-i",
        str(tmp_path / "in"),
        "-o",
        str(out),
        "--mask",
        str(mask),
    ]
    assert cli.main(arguments) == 0
    shown = "".join(capsys.readouterr())
    assert "\x1b" not in shown
    page = (out / "report.html").read_text("utf-8")
    assert "alert(1)</script>" not in page
    tags = _Tags()
    tags.feed(page)
    clean = _Tags()
    score_scan(phantom_slices, tmp_path / "clean", mask_path=mask)
    clean.feed((tmp_path / "clean" / "report.html").read_text("utf-8"))
    assert tags.seen.count("script") == clean.seen.count("script")
    with (out / "lesions.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            assert not any(re.match(r"[=+@]|-(?![\d.])", cell) for cell in row)
    json.loads((out / "score.json").read_text("utf-8"))


def test_c10_hostile_file_names_reach_no_terminal_raw(
    phantom_slices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a\x1b]0;owned\x07\nkcalc: all is well"
    paths = spoilt(phantom_slices, folder)
    paths[4].unlink()
    assert cli.main(["score", "-i", str(folder), "-o", str(tmp_path / "o")]) == 3
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert len(err.splitlines()) == 1
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.dcm")
    Path(odd).write_bytes(b"text")
    assert cli.main(["score", "-i", odd, "-o", str(tmp_path / "o")]) == 3
    assert "NOT_DICOM" in capsys.readouterr().err


@pytest.mark.parametrize(
    "uid", ["../../../etc/cron.d/x", "/etc/passwd", "a\\b", "x" * 300, "1.2\x00.3"]
)
def test_c11_uids_and_patient_ids_name_no_file(
    phantom_slices: Path, tmp_path: Path, uid: str
) -> None:
    def hostile(ds: pydicom.FileDataset, index: int) -> None:
        for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID"):
            delattr(ds, keyword)
            ds.add_new(keyword, "UN", uid.encode())

    spoilt(phantom_slices, tmp_path / "in", hostile)
    volume = kcalc.read_volume(tmp_path / "in")
    mask = tmp_path / "mask.nii.gz"
    write_nifti(mask, volume.array >= 130, volume.geometry)
    score_scan(tmp_path / "in", tmp_path / "out", mask_path=mask)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert {name for name in names if not name.startswith("in")} == {
        "mask.nii.gz",
        "out",
        *(f"out/{n}" for n in ("score.json", "lesions.csv", "mask.nii.gz")),
        "out/report.html",
    }
    for name in ("score.json", "report.html", "lesions.csv"):
        assert uid not in (tmp_path / "out" / name).read_text("utf-8")


def saved(path: Path, data: Any, affine: Any, **header: Any) -> Path:
    """Write a NIfTI file with header fields set afterwards."""
    image = nibabel.Nifti1Image(data, affine)
    nibabel.save(image, path)
    raw = bytearray(path.read_bytes())
    fields = nibabel.Nifti1Header.template_dtype.fields
    for name, value in header.items():
        dtype, offset = fields[name][:2]
        base = dtype.base
        raw[offset : offset + dtype.itemsize] = np.full(
            dtype.shape, value, base
        ).tobytes()
    path.write_bytes(raw)
    return path


def test_c14_a_nifti_that_is_no_plain_volume_is_refused(tmp_path: Path) -> None:
    array = kcalc.phantoms.qrm(seed=1, num_slices=3, rows=64, columns=64).volume.array
    data = np.ascontiguousarray(array.transpose(2, 1, 0))
    axial = np.diag([-1.0, -1.0, 3.0, 1.0])
    assert (
        kcalc.read_volume(saved(tmp_path / "ok.nii", data, axial)).shape == array.shape
    )
    cases = {
        "NIFTI_AFFINE": saved(
            tmp_path / "a.nii", data, axial, srow_z=0.0, qform_code=0, sform_code=1
        ),
        "NIFTI_DIMS": saved(tmp_path / "b.nii", np.stack([data, data], -1), axial),
        "NIFTI_SCALE": saved(tmp_path / "c.nii", data, axial, scl_slope=np.inf),
    }
    for code, path in cases.items():
        refused(path, code)
    huge = saved(tmp_path / "d.nii", data, axial, dim=30000)
    with pytest.raises(InputError, match=r"^(BUDGET|NIFTI_DIMS|NIFTI_BROKEN): "):
        kcalc.read_volume(huge)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_c14_a_slope_of_zero_or_nan_means_unscaled_as_the_standard_says(
    tmp_path: Path, slope: float
) -> None:
    array = kcalc.phantoms.qrm(seed=1, num_slices=3, rows=64, columns=64).volume.array
    data = np.ascontiguousarray(array.transpose(2, 1, 0))
    path = saved(
        tmp_path / "x.nii", data, np.diag([-1.0, -1.0, 3.0, 1.0]), scl_slope=slope
    )
    read = kcalc.read_volume(path).array
    assert read.max() == array.max()


def test_c15_a_mask_of_another_shape_place_or_kind_is_refused(
    phantom_slices: Path, tmp_path: Path
) -> None:
    volume = kcalc.read_volume(phantom_slices)
    mask = (volume.array >= 130).astype(np.float32)
    geometry = volume.geometry
    write_nifti(tmp_path / "ok.nii.gz", mask, geometry)
    assert read_mask(tmp_path / "ok.nii.gz", geometry).sum() == mask.sum()
    write_nifti(tmp_path / "soft.nii.gz", mask * np.float32(0.999), geometry)
    image = nibabel.load(tmp_path / "ok.nii.gz")
    data = np.asarray(image.dataobj)
    affine = image.affine.copy()
    affine[:3, 3] += 10
    nibabel.save(nibabel.Nifti1Image(data, affine), tmp_path / "moved.nii.gz")
    nibabel.save(nibabel.Nifti1Image(data[1:], image.affine), tmp_path / "cut.nii.gz")
    for name, code in (
        ("soft", "MASK_VALUES"),
        ("moved", "MASK_GRID"),
        ("cut", "MASK_GRID"),
    ):
        with pytest.raises(InputError, match=f"^{code}: "):
            read_mask(tmp_path / f"{name}.nii.gz", geometry)


def test_c17_what_cannot_be_walked_is_reported_and_the_rest_is_read(
    phantom_slices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt(phantom_slices, tmp_path / "in")
    (tmp_path / "in" / "closed").mkdir()
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    (tmp_path / "in" / "circle").symlink_to(tmp_path / "in" / "circle")
    scandir = os.scandir

    def refuse_closed(path: str) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_closed)
    volume = kcalc.read_volume(tmp_path / "in")
    assert volume.shape[0] == NUM_SLICES
    assert told(volume)["UNREADABLE"] == "warning"
    assert message(volume, "UNREADABLE").startswith("2 folders or links")
    assert told(volume)["LINKS"] == "note"
    refused(tmp_path / "in" / "circle", "UNREADABLE")
    refused(tmp_path / "in" / "closed", "UNREADABLE")


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (FileNotFoundError(errno.ENOENT, "gone"), "FileNotFoundError"),
        (PermissionError(errno.EACCES, "no"), "PermissionError"),
        (OSError(errno.ESTALE, "Stale file handle"), "OSError"),
    ],
)
def test_c17_a_slice_that_vanishes_or_is_stale_is_refused_by_name(
    phantom_slices: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    word: str,
) -> None:
    paths = spoilt(phantom_slices, tmp_path)
    opened = Path.open

    def fail(self: Path, *arguments: Any, **named: Any) -> Any:
        if self == paths[6]:
            raise error
        return opened(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", fail)
    found = refused(tmp_path, "UNREADABLE")
    assert found.path == str(paths[6])
    assert word in str(found)
    (series,) = kcalc.io.inspect_folder(tmp_path).series
    assert series.code == "UNREADABLE"


def test_c17_pipes_and_devices_are_not_opened(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path)
    os.mkfifo(tmp_path / "IM100.dcm")
    assert kcalc.read_volume(tmp_path).shape[0] == NUM_SLICES
    refused(tmp_path / "IM100.dcm", "UNREADABLE")
    refused(Path("/dev/zero"), "UNREADABLE")
    refused(tmp_path / ("x" * 5000), "UNREADABLE")
    with pytest.raises(InputError, match=r"^NOT_FOUND: "):
        kcalc.read_volume("nul\0byte")


def test_c18_every_cut_of_a_slice_ends_in_a_refusal(
    phantom_slices: Path, tmp_path: Path
) -> None:
    paths = spoilt(phantom_slices, tmp_path, keep=range(3))
    raw = paths[1].read_bytes()
    header = len(raw) - 128 * 128 * 2
    for num_bytes in (*range(0, header, 37), header, len(raw) - 1):
        paths[1].write_bytes(raw[:num_bytes])
        with pytest.raises(InputError, match=r"^[A-Z_]+: "):
            kcalc.read_volume(tmp_path)
    shutil.rmtree(tmp_path)
