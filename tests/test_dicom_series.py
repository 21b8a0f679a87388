"""Reading a DICOM series: each fault of sections A and C is refused by name."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import body_hu, ct_slice, write_series
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

import kcalc
from kcalc.errors import GeometryError, InputError, IntensityError, UnfitError
from kcalc.io.discovery import file_meta
from kcalc.io.series_files import is_sharp_kernel


def refusal(path: Path, **arguments: Any) -> InputError:
    """Return the error that reading must end with."""
    with pytest.raises(InputError, match=r"^[A-Z0-9_]+: ") as caught:
        kcalc.read_volume(path, **arguments)
    assert "SECRET" not in str(caught.value)
    assert "Nobody" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.path is not None
    assert caught.value.hint
    assert caught.value.exit_code in (3, 5)
    return caught.value


def codes(volume: kcalc.Volume) -> dict[str, str]:
    """Return finding code -> kind."""
    return {finding.code: finding.kind for finding in volume.findings}


def test_a_clean_series_is_read_without_findings(tmp_path: Path) -> None:
    write_series(tmp_path)
    volume = kcalc.read_volume(tmp_path)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, body_hu())
    assert volume.spacing_mm == (3.0, 0.5, 0.5)
    assert volume.geometry.index_to_mm((4, 0, 2)).tolist() == [-9.0, -20.0, 112.0]
    assert volume.unit == "HU"
    assert volume.findings == ()
    assert volume.acquisition.tube_voltage_kvp == 120.0
    assert volume.acquisition.slice_thickness_mm == 3.0
    assert volume.acquisition.convolution_kernel == "B35f"
    assert volume.acquisition.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")


def test_a01_missing_slice_is_refused_with_the_gap(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    paths[2].unlink()
    error = refusal(tmp_path)
    assert error.code == "GEOM_GAP"
    assert isinstance(error, GeometryError)
    assert "1 missing" in str(error)
    assert "103.00 mm (slice001.dcm)" in str(error)
    assert "109.00 mm (slice003.dcm)" in str(error)


@pytest.mark.parametrize("kept", [(0, 1, 3), (0, 2, 3, 4, 5, 9)])
def test_a01_gaps_are_found_in_short_series_and_of_any_width(
    tmp_path: Path, kept: tuple[int, ...]
) -> None:
    paths = write_series(tmp_path, body_hu(10))
    for index, path in enumerate(paths):
        if index not in kept:
            path.unlink()
    assert refusal(tmp_path).code in ("GEOM_GAP", "GEOM_UNEVEN")


def test_a02_the_same_file_twice_is_dropped_and_noted(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    shutil.copy(paths[1], tmp_path / "copy.dcm")
    volume = kcalc.read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, body_hu())
    assert codes(volume) == {"DUPLICATE_FILE": "correction"}


def test_a02_one_uid_with_two_contents_is_refused(tmp_path: Path) -> None:
    def same_uid(ds: pydicom.FileDataset, index: int) -> None:
        ds.SOPInstanceUID = "1.2.3.99"

    write_series(tmp_path, edit=same_uid)
    assert refusal(tmp_path).code == "UID_DUP"


def test_a03_two_slices_at_one_position_are_refused_with_the_differing_tags(
    tmp_path: Path,
) -> None:
    def phase(ds: pydicom.FileDataset, index: int) -> None:
        ds.TriggerTime = "350"

    write_series(tmp_path)
    write_series(tmp_path, body_hu(2), edit=phase, stem="phase")
    error = refusal(tmp_path)
    assert error.code == "GEOM_DUP"
    assert "2 occur twice, the first at 100.00 mm" in str(error)
    assert "TriggerTime" in str(error)


def test_a04_two_fitting_series_are_ambiguous_and_series_chooses(
    tmp_path: Path,
) -> None:
    write_series(tmp_path / "one", series_uid="1.2.840.99.1")
    write_series(tmp_path / "two", body_hu(4), series_uid="1.2.840.99.2222")
    error = refusal(tmp_path)
    assert error.code == "SERIES_AMBIGUOUS"
    assert "5 slices every 3 mm, thickness 3 mm, pixels 0.5 mm, kernel B35f" in str(
        error
    )
    assert "4 slices" in str(error)
    assert "series=" in str(error)
    short_id = str(error).split("fit: ")[1][:8]
    assert kcalc.read_volume(tmp_path, series=short_id).shape[0] in (4, 5)
    for name in ("1.2.840.99.2222", "2222"):
        assert kcalc.read_volume(tmp_path, series=name).shape == (4, 16, 16)
    assert refusal(tmp_path, series="7777").code == "SERIES_UNKNOWN"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ConvolutionKernel", "LUNG"),
        ("ContrastBolusAgent", "ISOVUE"),
        ("ImageOrientationPatient", [1, 0, 0, 0, 0, -1]),
        ("ImageType", ["DERIVED", "PRIMARY", "AXIAL"]),
    ],
)
def test_a04_the_only_fitting_series_is_chosen_and_noted(
    tmp_path: Path, keyword: str, value: object
) -> None:
    def other(ds: pydicom.FileDataset, index: int) -> None:
        setattr(ds, keyword, value)

    write_series(tmp_path / "one")
    write_series(tmp_path / "two", body_hu(4), series_uid="1.2.9", edit=other)
    volume = kcalc.read_volume(tmp_path)
    assert volume.shape == (5, 16, 16)
    assert codes(volume) == {"SERIES_SELECTED": "note"}


def test_a04_a_derived_series_alone_is_read_with_a_warning(tmp_path: Path) -> None:
    def derived(ds: pydicom.FileDataset, index: int) -> None:
        ds.ImageType = ["DERIVED", "PRIMARY", "MPR"]

    write_series(tmp_path, edit=derived)
    assert codes(kcalc.read_volume(tmp_path)) == {"DERIVED": "warning"}


def test_a05_localizers_captures_and_reports_are_set_aside_and_counted(
    tmp_path: Path,
) -> None:
    def localizer(ds: pydicom.FileDataset, index: int) -> None:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    def capture(ds: pydicom.FileDataset, index: int) -> None:
        ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"

    def report(ds: pydicom.FileDataset, index: int) -> None:
        ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.88.67", "SR"
        del ds.PixelData

    write_series(tmp_path)
    for stem, edit in (("loc", localizer), ("cap", capture), ("sr", report)):
        write_series(tmp_path, body_hu(1), edit=edit, stem=stem)
    volume = kcalc.read_volume(tmp_path)
    assert volume.shape == (5, 16, 16)
    (finding,) = volume.findings
    assert finding.message == (
        "Not part of the scan: 1 SR, 1 localizer, 1 secondary capture."
    )
    for path in tmp_path.glob("slice*"):
        path.unlink()
    assert refusal(tmp_path).code == "NO_IMAGE"


def test_a06_a_spacing_that_changes_is_refused(tmp_path: Path) -> None:
    def closer(ds: pydicom.FileDataset, index: int) -> None:
        ds.ImagePositionPatient = [0, 0, (0, 3, 6, 8, 10)[index]]

    write_series(tmp_path, edit=closer)
    error = refusal(tmp_path)
    assert error.code == "GEOM_UNEVEN"
    assert "2 x 3.000 mm, 2 x 2.000 mm" in str(error)


def test_a07_tilt_is_refused_with_its_angle_before_the_spacing(tmp_path: Path) -> None:
    def tilt(ds: pydicom.FileDataset, index: int) -> None:
        z = (0, 3, 6, 7, 10)[index]
        ds.ImagePositionPatient = [0, z * np.tan(np.radians(10.0)), z]

    write_series(tmp_path, edit=tilt)
    error = refusal(tmp_path)
    assert error.code == "GEOM_TILT"
    assert "10.0 degrees" in str(error)
    assert "spacing is not uniform either: 1.000 to 3.000 mm" in str(error)


def test_a07_half_a_degree_of_tilt_is_accepted_and_recorded(tmp_path: Path) -> None:
    def tilt(ds: pydicom.FileDataset, index: int) -> None:
        ds.ImagePositionPatient = [0, index * 3 * np.tan(np.radians(0.4)), index * 3]

    write_series(tmp_path, edit=tilt)
    volume = kcalc.read_volume(tmp_path)
    assert codes(volume) == {"GEOM_TILT": "note"}
    assert "0.40 degrees" in volume.findings[0].message
    assert volume.spacing_mm == pytest.approx((3.0, 0.5, 0.5), abs=1e-9)


def test_a07_a_slice_that_lies_aside_is_refused(tmp_path: Path) -> None:
    def aside(ds: pydicom.FileDataset, index: int) -> None:
        ds.ImagePositionPatient = [5.0 if index == 10 else 0.0, 0, index * 3]

    write_series(tmp_path, body_hu(21), edit=aside)
    error = refusal(tmp_path)
    assert error.code == "GEOM_SHIFT"
    assert "30.00 mm" in str(error)


@pytest.mark.parametrize("number", ["3.7", "", "x"])
def test_a08_slices_are_sorted_by_position_not_by_instance_number(
    tmp_path: Path, number: str
) -> None:
    paths = write_series(tmp_path)
    for path, name in zip(paths, "dbeac", strict=True):
        ds = pydicom.dcmread(path)
        del ds.InstanceNumber
        if number:
            ds.add_new("InstanceNumber", "LO", number)
        ds.save_as(tmp_path / name)
        path.unlink()
    np.testing.assert_array_equal(kcalc.read_volume(tmp_path).array, body_hu())


def test_a09_prone_and_reversed_slices_keep_the_stored_grid(tmp_path: Path) -> None:
    def prone(ds: pydicom.FileDataset, index: int) -> None:
        ds.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]

    def flipped(ds: pydicom.FileDataset, index: int) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]

    write_series(tmp_path / "prone", edit=prone)
    volume = kcalc.read_volume(tmp_path / "prone")
    np.testing.assert_array_equal(volume.array, body_hu())
    assert volume.geometry.index_to_mm((1, 2, 2)).tolist() == [-11.0, -21.0, 103.0]
    write_series(tmp_path / "flipped", edit=flipped)
    volume = kcalc.read_volume(tmp_path / "flipped")
    np.testing.assert_array_equal(volume.array, body_hu()[::-1])
    assert volume.geometry.index_to_mm((0, 0, 0)).tolist() == [-10.0, -20.0, 112.0]
    assert volume.geometry.index_to_mm((4, 0, 0)).tolist() == [-10.0, -20.0, 100.0]


def oblique(angle_deg: float) -> Callable[[pydicom.FileDataset, int], None]:
    """Return an edit that turns slices and their stacking about x."""
    cosine, sine = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))

    def edit(ds: pydicom.FileDataset, index: int) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, 0, round(cosine, 8), round(sine, 8)]
        ds.ImagePositionPatient = [
            0.0,
            round(-3 * index * sine, 6),
            round(3 * index * cosine, 6),
        ]

    return edit


def test_a10_slightly_oblique_warns_and_coronal_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "little", edit=oblique(4.0))
    volume = kcalc.read_volume(tmp_path / "little")
    assert codes(volume) == {"GEOM_OBLIQUE": "warning"}
    write_series(tmp_path / "coronal", edit=oblique(90.0))
    error = refusal(tmp_path / "coronal")
    assert error.code == "GEOM_ORIENT"
    assert "90.0 degrees" in str(error)


def test_a11_rounded_positions_are_accepted_and_the_fit_is_used(
    tmp_path: Path,
) -> None:
    def rounded(ds: pydicom.FileDataset, index: int) -> None:
        ds.ImagePositionPatient = [0, 0, round(index * 2.96, 1)]

    write_series(tmp_path, body_hu(40), edit=rounded)
    assert kcalc.read_volume(tmp_path).spacing_mm[0] == pytest.approx(2.96, abs=1e-3)


@pytest.mark.parametrize("value", [None, "0\\0", "-1\\-1", "NaN\\NaN", "0,5\\0,5", "1"])
def test_a12_pixel_spacing_that_is_none_is_refused(
    tmp_path: Path, value: str | None
) -> None:
    def spacing(ds: pydicom.FileDataset, index: int) -> None:
        del ds.PixelSpacing
        if value is not None:
            ds.add_new("PixelSpacing", "LO", value)

    write_series(tmp_path, edit=spacing)
    error = refusal(tmp_path)
    assert error.code == "GEOM_SPACING"
    assert repr(value or "nothing") in str(error)


def edit_last(
    keyword: str, value: object
) -> Callable[[pydicom.FileDataset, int], None]:
    """Return an edit that changes or, with None, deletes a tag of slice 4."""

    def edit(ds: pydicom.FileDataset, index: int) -> None:
        if index == 4 and value is None:
            delattr(ds, keyword)
        elif index == 4:
            setattr(ds, keyword, value)

    return edit


@pytest.mark.parametrize(
    ("keyword", "value", "code"),
    [
        ("PixelSpacing", [0.6, 0.6], "GEOM_SPACING"),
        ("ImagePositionPatient", None, "GEOM_POSITION"),
        ("ImageOrientationPatient", None, "GEOM_POSITION"),
        ("ImageOrientationPatient", [0, 1, 0, 1, 0, 0], "GEOM_ORIENT"),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0], "GEOM_ORIENT"),
        ("FrameOfReferenceUID", "1.2.7", "GEOM_FRAME"),
        ("Rows", 8, "GEOM_SHAPE"),
        ("Rows", None, "GEOM_SHAPE"),
    ],
)
def test_a13_a17_a18_a19_one_slice_that_differs_is_refused(
    tmp_path: Path, keyword: str, value: object, code: str
) -> None:
    paths = write_series(tmp_path, edit=edit_last(keyword, value))
    error = refusal(tmp_path)
    assert error.code == code
    if code not in ("GEOM_FRAME",):
        assert error.path == str(paths[4])


def test_a14_a15_thickness_unlike_the_spacing_warns(tmp_path: Path) -> None:
    def thick(ds: pydicom.FileDataset, index: int) -> None:
        ds.SliceThickness = 5.0

    write_series(tmp_path, edit=thick)
    volume = kcalc.read_volume(tmp_path)
    assert codes(volume) == {"THICKNESS": "warning", "PROTOCOL": "warning"}
    assert volume.spacing_mm[0] == 3.0
    assert "overlap" in volume.findings[0].message


@pytest.mark.parametrize("as_file", [True, False])
def test_a16_a_single_slice_is_refused(tmp_path: Path, as_file: bool) -> None:
    (path,) = write_series(tmp_path, body_hu(1))
    error = refusal(path if as_file else tmp_path)
    assert error.code == "GEOM_SINGLE"


def test_a20_an_enhanced_ct_is_refused_by_name(tmp_path: Path) -> None:
    def enhanced(ds: pydicom.FileDataset, index: int) -> None:
        ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
        ds.NumberOfFrames = 10**9

    write_series(tmp_path, body_hu(1), edit=enhanced)
    assert refusal(tmp_path).code == "ENHANCED_UNSUPPORTED"


def test_b08_declared_contrast_is_unfit_to_score(tmp_path: Path) -> None:
    def contrast(ds: pydicom.FileDataset, index: int) -> None:
        ds.ContrastBolusAgent = "ISOVUE300/100"

    write_series(tmp_path, edit=contrast)
    error = refusal(tmp_path)
    assert error.code == "CONTRAST"
    assert isinstance(error, UnfitError)
    assert error.exit_code == 5
    assert kcalc.read_volume(tmp_path, unit="arbitrary").unit == "arbitrary"


@pytest.mark.parametrize(
    ("agent", "route"),
    [("", ""), ("NONE", ""), ("No", ""), ("WITHOUT", ""), ("GASTROGRAFIN", "ORAL")],
)
def test_b08_no_contrast_in_words_is_accepted(
    tmp_path: Path, agent: str, route: str
) -> None:
    def words(ds: pydicom.FileDataset, index: int) -> None:
        ds.ContrastBolusAgent, ds.ContrastBolusRoute = agent, route

    write_series(tmp_path, edit=words)
    assert codes(kcalc.read_volume(tmp_path)) == {}


@pytest.mark.parametrize("modality", ["MR", "PT", "US", "CR", "RTIMAGE"])
def test_b09_another_modality_is_refused_by_name(tmp_path: Path, modality: str) -> None:
    def other(ds: pydicom.FileDataset, index: int) -> None:
        ds.Modality = modality

    write_series(tmp_path, edit=other)
    error = refusal(tmp_path)
    assert error.code == "MODALITY"
    assert f"found is {modality}" in str(error)


def test_another_modality_can_be_asked_for_and_has_no_unit(tmp_path: Path) -> None:
    def magnetic(ds: pydicom.FileDataset, index: int) -> None:
        ds.Modality, ds.SOPClassUID = "MR", "1.2.840.10008.5.1.4.1.1.4"
        del ds.RescaleSlope, ds.RescaleIntercept

    write_series(tmp_path, edit=magnetic)
    volume = kcalc.read_volume(tmp_path, modality="MR")
    assert volume.unit == "arbitrary"
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, body_hu() + 1024.0)


def test_b13_tube_voltage_is_reported_and_can_be_given(tmp_path: Path) -> None:
    def low(ds: pydicom.FileDataset, index: int) -> None:
        ds.KVP = 100

    def unknown(ds: pydicom.FileDataset, index: int) -> None:
        ds.KVP = None

    write_series(tmp_path / "low", edit=low)
    volume = kcalc.read_volume(tmp_path / "low")
    assert volume.acquisition.tube_voltage_kvp == 100.0
    assert codes(volume) == {"KVP": "warning"}
    volume = kcalc.read_volume(tmp_path / "low", tube_voltage_kvp=120)
    assert volume.acquisition.tube_voltage_kvp == 120.0
    assert codes(volume) == {"KVP_GIVEN": "warning"}
    write_series(tmp_path / "unknown", edit=unknown)
    volume = kcalc.read_volume(tmp_path / "unknown")
    assert volume.acquisition.tube_voltage_kvp is None
    assert codes(volume) == {"KVP_UNKNOWN": "warning"}
    volume = kcalc.read_volume(tmp_path / "unknown", tube_voltage_kvp=120)
    assert codes(volume) == {"KVP_GIVEN": "note"}
    with pytest.raises(InputError, match="40 to 200 kVp; received 120000"):
        kcalc.read_volume(tmp_path / "unknown", tube_voltage_kvp=120000)


def test_c01_an_empty_file_is_skipped_unless_it_looks_like_a_slice(
    tmp_path: Path,
) -> None:
    write_series(tmp_path)
    (tmp_path / "lock").touch()
    assert codes(kcalc.read_volume(tmp_path)) == {"FILES_SKIPPED": "note"}
    (tmp_path / "slice009.dcm").touch()
    error = refusal(tmp_path)
    assert error.code == "TRUNCATED"
    assert error.path == str(tmp_path / "slice009.dcm")


def test_c02_other_files_are_skipped_and_counted(tmp_path: Path) -> None:
    write_series(tmp_path)
    (tmp_path / "notes.txt").write_text("\x08 not a slice")
    (tmp_path / "Thumbs.db").write_bytes(bytes(4096))
    (tmp_path / "page.pdf").write_bytes(b"%PDF-1.4")
    volume = kcalc.read_volume(tmp_path)
    assert codes(volume) == {"FILES_SKIPPED": "note"}
    assert "skipped: 3" in volume.findings[0].message


def test_c02_folders_without_dicom_and_absent_paths_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path).code == "EMPTY_FOLDER"
    (tmp_path / "a.txt").write_text("text")
    error = refusal(tmp_path)
    assert error.code == "EMPTY_FOLDER"
    assert "found 1 files" in str(error)
    assert refusal(tmp_path / "a.txt").code == "NOT_DICOM"
    assert refusal(tmp_path / "nowhere").code == "NOT_FOUND"


def test_files_without_preamble_or_extension_are_read(tmp_path: Path) -> None:
    for index, path in enumerate(write_series(tmp_path)):
        ds = pydicom.dcmread(path)
        path.unlink()
        bare = pydicom.Dataset(ds)
        implicit = index % 2 == 0
        bare.save_as(
            tmp_path / f"{index:08X}", implicit_vr=implicit, little_endian=True
        )
    np.testing.assert_array_equal(kcalc.read_volume(tmp_path).array, body_hu())


@pytest.mark.parametrize("num_bytes", [200, 500, 900, -1, -100])
def test_c03_a_truncated_slice_is_refused_by_file(
    tmp_path: Path, num_bytes: int
) -> None:
    paths = write_series(tmp_path)
    paths[3].write_bytes(paths[3].read_bytes()[:num_bytes])
    error = refusal(tmp_path)
    assert error.path == str(paths[3])
    if num_bytes < 0:
        assert error.code == "TRUNCATED"
        assert f"must have 512 bytes; {512 + num_bytes} are there" in str(error)


def test_c03_a_cut_last_slice_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    last = write_series(tmp_path)[-1]
    raw = last.read_bytes()
    for num_bytes in range(0, len(raw) - 512, 5):
        last.write_bytes(raw[:num_bytes])
        assert refusal(tmp_path).path == str(last), num_bytes
    last.write_bytes(bytes(len(raw)))
    assert refusal(tmp_path).code == "TRUNCATED"


def test_c06_a_header_that_claims_too_much_is_refused_before_allocation(
    tmp_path: Path,
) -> None:
    def huge(ds: pydicom.FileDataset, index: int) -> None:
        ds.Rows = ds.Columns = 60000

    write_series(tmp_path / "over", edit=huge)
    error = refusal(tmp_path / "over")
    assert error.code == "BUDGET"
    assert "5 x 60000 x 60000" in str(error)

    def large(ds: pydicom.FileDataset, index: int) -> None:
        ds.Rows = ds.Columns = 20000

    write_series(tmp_path / "under", edit=large)
    error = refusal(tmp_path / "under")
    assert error.code == "TRUNCATED"
    assert "must have 800000000 bytes; 512 are there" in str(error)


def test_c07_a_deflated_series_is_read_and_a_bomb_refused(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        ds.save_as(path)
    np.testing.assert_array_equal(kcalc.read_volume(tmp_path).array, body_hu())
    raw = path.read_bytes()
    begin = file_meta(raw)[1]
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(200))
    path.write_bytes(raw[:begin] + bomb + compressor.flush())
    error = refusal(tmp_path)
    assert error.code == "BUDGET"
    path.write_bytes(raw[:-20])
    assert refusal(tmp_path).code == "TRUNCATED"


@pytest.mark.parametrize("depth", [80, 600])
def test_c09_deep_nesting_is_refused(tmp_path: Path, depth: int) -> None:
    paths = write_series(tmp_path)
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    raw = paths[0].read_bytes()
    where = raw.index(b"\x10\x00\x10\x00PN")
    nest = opening * depth + closing * depth
    paths[0].write_bytes(raw[:where] + nest + raw[where:])
    error = refusal(tmp_path)
    assert error.code == "DICOM_NESTED"
    assert error.path == str(paths[0])


def test_c10_odd_characters_in_tags_do_no_harm(tmp_path: Path) -> None:
    def odd(ds: pydicom.FileDataset, index: int) -> None:
        ds.add_new("ConvolutionKernel", "UN", b"B3\n\x00<b>\xff=1+1 ")
        ds.add_new("Manufacturer", "LT", "x" * 5000)

    write_series(tmp_path, edit=odd)
    facts = kcalc.read_volume(tmp_path).acquisition
    assert facts.convolution_kernel is not None
    assert facts.convolution_kernel.isprintable()
    assert len(facts.manufacturer or "") == 256


def test_c11_a_hostile_series_uid_is_never_printed_whole(tmp_path: Path) -> None:
    for folder, uid in (("one", "1.2.840.99.1"), ("two", "1.2.840.99.2")):
        for path in write_series(tmp_path / folder, series_uid=uid):
            raw = path.read_bytes().replace(
                uid.encode(), b"../../etc\0" + uid[-2:].encode()
            )
            path.write_bytes(raw)
    error = refusal(tmp_path)
    assert error.code == "SERIES_AMBIGUOUS"
    assert "../../etc" not in str(error)


def test_no_part_of_a_uid_is_told_for_it_may_hold_a_date(tmp_path: Path) -> None:
    def sharp(ds: pydicom.FileDataset, index: int) -> None:
        ds.ConvolutionKernel = "B70f"

    write_series(tmp_path / "soft", series_uid="1.2.3.20250309")
    write_series(tmp_path / "sharp", series_uid="1.2.4.20250309", edit=sharp)
    told = [f.message for f in kcalc.read_volume(tmp_path).findings]
    assert len(told) == 1
    assert "20250309" not in told[0]
    write_series(tmp_path / "other", series_uid="1.2.5.20250309")
    assert "20250309" not in str(refusal(tmp_path))


def test_c17_a_loop_of_links_ends(tmp_path: Path) -> None:
    write_series(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.dcm").symlink_to(tmp_path / "gone")
    assert kcalc.read_volume(tmp_path).shape == (5, 16, 16)


def test_kernels_are_told_sharp_by_their_vendor_names() -> None:
    sharp = ["B70f", "Br64", "Bl57", "FC51", "FC30", "LUNG", "BONEPLUS", "YB"]
    soft = ["B35f", "Br36", "Qr36", "FC12", "STANDARD", "SOFT", "B", "XCA", ""]
    assert [name for name in sharp + soft if is_sharp_kernel(name)] == sharp


def test_reading_imports_neither_pydicom_nor_tensorflow_before_it_is_called() -> None:
    code = (
        "import sys, kcalc.io, kcalc.io.dicom_series, kcalc.io.nifti; "
        "print([m for m in ('pydicom', 'nibabel', 'scipy', 'tensorflow') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_c18_mutated_slices_end_in_a_refusal_or_a_volume(tmp_path: Path) -> None:
    paths = write_series(tmp_path, body_hu(3))
    raw = paths[1].read_bytes()
    generator = np.random.default_rng(18)
    num_read = 0
    for _ in range(4000):
        mutated = bytearray(raw)
        if generator.random() < 0.3:
            mutated = mutated[: int(generator.integers(len(raw)))]
        for _ in range(int(generator.integers(1, 4))):
            if mutated:
                # the header is where a flip matters
                where = int(generator.integers(min(len(mutated), len(raw) - 400)))
                mutated[where] ^= 1 << int(generator.integers(8))
        paths[1].write_bytes(mutated)
        try:
            num_read += kcalc.read_volume(tmp_path).shape[0] > 1
        except InputError as error:
            assert error.exit_code in (3, 5)
    assert 0 < num_read < 4000


@pytest.mark.data
def test_the_qrm_phantom_is_read_as_its_readme_says(test_data: Path) -> None:
    volume = kcalc.read_volume(test_data / "qrm-phantom" / "dicom")
    assert volume.shape == (47, 512, 512)
    assert volume.spacing_mm == pytest.approx((3.0, 0.488, 0.488), abs=1e-9)
    assert volume.array.dtype == np.int16
    assert volume.array.min() == -1024
    assert volume.acquisition.tube_voltage_kvp == 120.0
    assert volume.acquisition.convolution_kernel == "FC12"
    assert codes(volume) == {"DERIVED": "warning", "PADDING": "correction"}


@pytest.mark.data
def test_the_chest_ct_is_read_as_its_readme_says(test_data: Path) -> None:
    volume = kcalc.read_volume(test_data / "chest-ct")
    assert volume.shape == (64, 512, 512)
    assert volume.spacing_mm == pytest.approx((5.0, 0.841796875, 0.841796875))
    assert volume.geometry.index_to_mm((41, 0, 0))[2] == pytest.approx(-234.0)
    assert codes(volume) == {"FILES_SKIPPED": "note", "PROTOCOL": "warning"}


@pytest.mark.data
def test_the_tilted_head_is_refused_with_angle_and_spacing(test_data: Path) -> None:
    error = refusal(test_data / "head-ct-tilted")
    assert error.code == "GEOM_TILT"
    assert "18.5 degrees" in str(error)
    assert "1.081 to 6.999 mm" in str(error)


@pytest.mark.data
def test_an_ultrasound_file_is_refused(test_data: Path) -> None:
    error = refusal(test_data / "odd-dicom" / "examples_ybr_color.dcm")
    assert error.code == "MODALITY"
    assert "found is US" in str(error)


@pytest.mark.data
def test_every_odd_file_ends_in_a_refusal(test_data: Path) -> None:
    files = [p for p in (test_data / "odd-dicom").iterdir() if p.is_file()]
    files += [p for p in (test_data / "ct-transfer-syntaxes").iterdir() if p.is_file()]
    found = {path.name: refusal(path).code for path in files}
    assert len(found) > 40
    assert found["eCT_Supplemental.dcm"] == "NO_IMAGE"
    assert found["no-pixel-data.dcm"] == "MODALITY"
    assert found["CT_small.dcm"] == "GEOM_SINGLE"
    assert found["LICENSE.pydicom"] == "NOT_DICOM"


def test_b01_the_hint_of_a_missing_rescale_works(tmp_path: Path) -> None:
    def bare(ds: pydicom.FileDataset, index: int) -> None:
        del ds.RescaleSlope, ds.RescaleIntercept
        ds.PixelRepresentation = 1
        ds.PixelData = body_hu()[index].astype("<i2").tobytes()

    write_series(tmp_path, edit=bare)
    error = refusal(tmp_path)
    assert error.code == "HU_UNKNOWN"
    assert isinstance(error, IntensityError)
    volume = kcalc.read_volume(tmp_path, unit="HU")
    np.testing.assert_array_equal(volume.array, body_hu())
    assert codes(volume) == {"HU_ASSUMED": "warning"}


def test_a_slice_made_alone_has_its_own_uid() -> None:
    one, other = (
        ct_slice(plane, position_xyz_mm=(0, 0, 0), series_uid=generate_uid())
        for plane in body_hu(2)
    )
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.file_meta.TransferSyntaxUID != ImplicitVRLittleEndian
