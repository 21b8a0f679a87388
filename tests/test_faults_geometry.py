"""Section A of the fault catalogue: a series' geometry, on phantoms and real scans.

Each test is named after its row. What --allow-gap, --untilt and --resample do (A1, A6,
A7, A10) stands in test_grid_corrections.py, Enhanced CT (A20) in
test_dicom_enhanced.py.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_factory import body_hu, write_series
from fault_series import (
    NUM_SLICES,
    at,
    message,
    refused,
    setting,
    spoilt,
    told,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kcalc
from kcalc import cli
from kcalc.errors import GeometryError
from kcalc.io.nifti import write_nifti
from kcalc.orientation import lps_view
from kcalc.scoring import calcium_score
from kcalc.workflow import score_scan


def score_of(volume: kcalc.Volume) -> float:
    """Return the Agatston score of everything bright, by the volume's own facts."""
    return calcium_score(
        volume.array,
        volume.array >= 130,
        volume.spacing_mm,
        tube_voltage_kvp=volume.acquisition.tube_voltage_kvp,
        slice_thickness_mm=volume.acquisition.slice_thickness_mm,
    ).agatston


def test_a01_a_missing_slice_is_refused_with_gap_and_neighbours(
    phantom_slices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = spoilt(phantom_slices, tmp_path / "in")
    z = float(pydicom.dcmread(paths[4]).ImagePositionPatient[2])
    paths[4].unlink()
    error = refused(tmp_path / "in", "GEOM_GAP")
    assert isinstance(error, GeometryError)
    assert "1 missing" in str(error)
    assert f"{z - 3:.2f} mm (IM003.dcm)" in str(error)
    assert f"{z + 3:.2f} mm (IM005.dcm)" in str(error)
    assert "a gap of 6.00 mm" in str(error)
    assert "--allow-gap 1" in error.hint
    assert (
        cli.main(["score", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "o")]) == 3
    )
    assert "GEOM_GAP" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.data
def test_a01_a_slice_taken_out_of_a_real_scan_is_missed(
    test_data: Path, tmp_path: Path
) -> None:
    for path in sorted((test_data / "qrm-phantom" / "dicom").iterdir()):
        (tmp_path / path.name).symlink_to(path)
    by_z = sorted(
        tmp_path.iterdir(),
        key=lambda p: float(
            pydicom.dcmread(p, stop_before_pixels=True).ImagePositionPatient[2]
        ),
    )
    by_z[20].unlink()
    assert "a gap of 6.00 mm" in str(refused(tmp_path, "GEOM_GAP"))


def test_a02_the_same_file_twice_is_dropped_and_noted(
    phantom_slices: Path, tmp_path: Path
) -> None:
    paths = spoilt(phantom_slices, tmp_path)
    clean = kcalc.read_volume(tmp_path).array
    shutil.copy(paths[1], tmp_path / "again.dcm")
    shutil.copy(paths[7], tmp_path / "again2.dcm")
    volume = kcalc.read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, clean)
    assert told(volume)["DUPLICATE_FILE"] == "correction"
    assert "dropped: 2" in message(volume, "DUPLICATE_FILE")


@pytest.mark.parametrize(
    ("tags", "differing"),
    [
        ({"ConvolutionKernel": "B70f"}, "ConvolutionKernel"),
        ({"TriggerTime": "650"}, "TriggerTime"),
        ({"NominalPercentageOfCardiacPhase": 40.0}, "NominalPercentageOfCardiacPhase"),
        ({"AcquisitionNumber": 2}, "AcquisitionNumber"),
    ],
)
def test_a03_two_slices_at_one_position_are_refused_with_what_differs(
    phantom_slices: Path, tmp_path: Path, tags: dict[str, object], differing: str
) -> None:
    spoilt(phantom_slices, tmp_path)

    def other(ds: pydicom.FileDataset, index: int) -> None:
        ds.SOPInstanceUID = f"1.2.3.{index}"
        setting(**tags)(ds, index)

    spoilt(phantom_slices, tmp_path, other, stem="other")
    error = refused(tmp_path, "GEOM_DUP")
    assert f"{NUM_SLICES} occur twice" in str(error)
    assert f"They differ in {differing}." in str(error)


def second_series(ds: pydicom.FileDataset, **tags: object) -> None:
    """Make a slice one of another series with these tags."""
    ds.SeriesInstanceUID, ds.SeriesNumber = "1.2.3.777", 7
    for keyword, value in tags.items():
        setattr(ds, keyword, value)


@pytest.mark.parametrize(
    "image_type",
    [
        ["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ["DERIVED", "SECONDARY", "PROJECTION IMAGE"],
        ["DERIVED", "SECONDARY", "AXIAL", "CT_SOFT MIP"],
        ["DERIVED", "PRIMARY", "MIN_IP"],
        ["DERIVED", "PRIMARY", "IODINE NO WATER"],
        ["DERIVED", "PRIMARY", "DE_IODINE_MAP"],
        ["DERIVED", "PRIMARY", "VNC"],
        ["DERIVED", "PRIMARY", "Z_EFF"],
        ["DERIVED", "PRIMARY", "Z EFFECTIVE"],
        ["DERIVED", "SECONDARY", "SCREEN SAVE"],
    ],
)
def test_a04_maps_and_projections_are_never_picked(
    phantom_slices: Path, tmp_path: Path, image_type: list[str]
) -> None:
    spoilt(phantom_slices, tmp_path / "one")
    spoilt(
        phantom_slices,
        tmp_path / "two",
        lambda ds, index: second_series(ds, ImageType=image_type),
    )
    clean = kcalc.read_volume(tmp_path / "one")
    volume = kcalc.read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, clean.array)
    assert told(volume) == {**told(clean), "FILES_SET_ASIDE": "note"}
    refused(tmp_path / "two", "NO_IMAGE")


@pytest.mark.parametrize(
    "tags",
    [
        {"ConvolutionKernel": "B70f"},
        {"ConvolutionKernel": "LUNG"},
        {"ConvolutionKernel": "FC51"},
        {"ContrastBolusAgent": "ULTRAVIST 370"},
    ],
)
def test_a04_sharp_kernels_and_contrast_leave_the_other_series(
    phantom_slices: Path, tmp_path: Path, tags: dict[str, object]
) -> None:
    spoilt(phantom_slices, tmp_path / "one")
    spoilt(
        phantom_slices, tmp_path / "two", lambda ds, index: second_series(ds, **tags)
    )
    volume = kcalc.read_volume(tmp_path)
    assert volume.acquisition.convolution_kernel == "phantom-standard"
    assert told(volume)["SERIES_SELECTED"] == "note"


def test_a04_derived_alone_is_read_and_original_is_preferred(
    phantom_slices: Path, tmp_path: Path
) -> None:
    def reformatted(ds: pydicom.FileDataset, index: int) -> None:
        second_series(ds, ImageType=["DERIVED", "SECONDARY", "MPR"])

    spoilt(phantom_slices, tmp_path / "two", reformatted)
    assert told(kcalc.read_volume(tmp_path))["DERIVED"] == "warning"
    spoilt(phantom_slices, tmp_path / "one")
    assert kcalc.read_volume(tmp_path).acquisition.image_type[0] == "ORIGINAL"


def test_a04_candidates_are_listed_with_what_tells_them_apart(
    phantom_slices: Path, tmp_path: Path
) -> None:
    for phase in (40, 75):

        def gated(ds: pydicom.FileDataset, index: int, phase: int = phase) -> None:
            second_series(ds, NominalPercentageOfCardiacPhase=float(phase))
            ds.SeriesInstanceUID = f"1.2.3.{phase}"

        spoilt(phantom_slices, tmp_path / f"{phase}", gated)
    error = refused(tmp_path, "SERIES_AMBIGUOUS")
    for phase in (40, 75):
        assert (
            f"series number 7, {NUM_SLICES} slices every 3 mm, thickness 3 mm, pixels "
            f"1.95312 mm, kernel phantom-standard, phase {phase} %, ORIGINAL"
        ) in str(error)
    assert "--series" in error.hint
    for series in kcalc.io.inspect_folder(tmp_path).series:
        chosen = kcalc.read_volume(tmp_path, series=series.series_id)
        assert chosen.shape[0] == NUM_SLICES


def test_a05_scouts_captures_and_reports_are_set_aside_and_counted(
    phantom_slices: Path, tmp_path: Path
) -> None:
    def scout(ds: pydicom.FileDataset, index: int) -> None:
        """Be told by nothing but the plane it lies in."""
        ds.SOPInstanceUID = f"1.2.3.{index}"
        ds.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        ds.Rows = ds.Columns = 64
        ds.PixelData = ds.PixelData[: 64 * 64 * 2]

    def localizer(ds: pydicom.FileDataset, index: int) -> None:
        ds.SOPInstanceUID = f"1.2.4.{index}"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    def report(ds: pydicom.FileDataset, index: int) -> None:
        ds.SOPInstanceUID = f"1.2.5.{index}"
        ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.88.67", "SR"
        del ds.PixelData

    def capture(ds: pydicom.FileDataset, index: int) -> None:
        ds.SOPInstanceUID = f"1.2.6.{index}"
        ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"

    spoilt(phantom_slices, tmp_path)
    clean = kcalc.read_volume(tmp_path)
    for stem, edit in (
        ("scout", scout),
        ("loc", localizer),
        ("sr", report),
        ("cap", capture),
    ):
        spoilt(phantom_slices, tmp_path, edit, stem=stem, keep=range(2))
    volume = kcalc.read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, clean.array)
    assert told(volume) == {**told(clean), "FILES_SET_ASIDE": "note"}
    assert message(volume, "FILES_SET_ASIDE") == (
        "Not part of the scan: 2 SR, 2 image in another plane, 2 localizer, 2 "
        "secondary capture."
    )


def test_a06_a_spacing_that_changes_is_refused(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path, lambda ds, k: at(ds, z=-max(0, k - 4)))
    error = refused(tmp_path, "GEOM_UNEVEN")
    assert "4 x 3.000 mm, 4 x 2.000 mm" in str(error)
    assert "--resample" in error.hint


def test_a07_a_tilt_is_accepted_to_half_a_degree_and_refused_beyond(
    phantom_slices: Path, tmp_path: Path
) -> None:
    for name, angle_deg in (("little", 0.45), ("much", 15.0)):
        slope = np.tan(np.radians(angle_deg))
        spoilt(
            phantom_slices,
            tmp_path / name,
            lambda ds, k, slope=slope: at(ds, y=3 * k * slope),
        )
    volume = kcalc.read_volume(tmp_path / "little")
    assert told(volume)["GEOM_TILT"] == "note"
    assert "0.45 degrees" in message(volume, "GEOM_TILT")
    error = refused(tmp_path / "much", "GEOM_TILT")
    assert "tilted by 15.0 degrees" in str(error)
    assert "--untilt" in error.hint


@pytest.mark.data
def test_a07_the_real_tilted_head_is_refused_with_its_angle(test_data: Path) -> None:
    error = refused(test_data / "head-ct-tilted", "GEOM_TILT")
    assert "18.5 degrees" in str(error)
    assert "1.081 to 6.999 mm" in str(error)


@pytest.mark.parametrize("number", [None, "3.7", "x"])
def test_a08_instance_numbers_do_not_matter(
    phantom_slices: Path, tmp_path: Path, number: str | None
) -> None:
    def shuffled(ds: pydicom.FileDataset, index: int) -> None:
        del ds.InstanceNumber
        if number is not None:
            ds.add_new("InstanceNumber", "LO", number)

    spoilt(phantom_slices, tmp_path / "clean")
    paths = spoilt(phantom_slices, tmp_path / "in", shuffled)
    for index, path in enumerate(paths):
        path.rename(path.with_name(f"{index * 7 % 10}.dcm"))
    np.testing.assert_array_equal(
        kcalc.read_volume(tmp_path / "in").array,
        kcalc.read_volume(tmp_path / "clean").array,
    )


@pytest.mark.parametrize(
    ("orientation", "flips", "reverse"),
    [
        ([-1, 0, 0, 0, -1, 0], (1, 2), False),  # prone
        ([-1, 0, 0, 0, 1, 0], (2,), True),  # feet first
        ([1, 0, 0, 0, -1, 0], (1,), True),  # z reversed
    ],
)
def test_a09_the_stored_grid_stays_and_the_network_sees_lps(
    phantom_slices: Path,
    tmp_path: Path,
    orientation: list[int],
    flips: tuple[int, ...],
    reverse: bool,
) -> None:
    spoilt(phantom_slices, tmp_path / "standard")
    standard = kcalc.read_volume(tmp_path / "standard")
    last = (np.array(standard.shape[1:]) - 1) * standard.spacing_mm[1:]

    def turned(ds: pydicom.FileDataset, index: int) -> None:
        pixels = np.flip(ds.pixel_array, [axis - 1 for axis in flips])
        ds.PixelData = pixels.tobytes()
        ds.ImageOrientationPatient = orientation
        at(ds, x=last[1] if 2 in flips else 0, y=last[0] if 1 in flips else 0)

    spoilt(phantom_slices, tmp_path / "turned", turned)
    volume = kcalc.read_volume(tmp_path / "turned")
    stored = np.flip(standard.array, (*flips, 0) if reverse else flips)
    np.testing.assert_array_equal(volume.array, stored)
    seen = lps_view(volume.array, volume.geometry)
    np.testing.assert_array_equal(seen, standard.array)
    # A mask drawn on the view lies on the stored voxels.
    mask = np.zeros(volume.shape, np.bool_)
    lps_view(mask, volume.geometry)[standard.array >= 130] = True
    np.testing.assert_array_equal(mask, volume.array >= 130)
    assert score_of(volume) == pytest.approx(score_of(standard))


def about_x(angle_deg: float):
    """Return an edit that turns the whole stack about the x axis."""
    cosine, sine = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])

    def edit(ds: pydicom.FileDataset, index: int) -> None:
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
            points = np.array(getattr(ds, keyword), float).reshape(-1, 3) @ turn.T
            setattr(ds, keyword, [f"{value:.8f}"[:16] for value in points.ravel()])

    return edit


def test_a10_oblique_under_five_degrees_warns_and_beyond_is_refused(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path / "4", about_x(4.5))
    volume = kcalc.read_volume(tmp_path / "4")
    assert told(volume)["GEOM_OBLIQUE"] == "warning"
    assert "4.50 degrees off axial" in message(volume, "GEOM_OBLIQUE")
    for angle_deg in (6.0, 90.0):
        spoilt(phantom_slices, tmp_path / f"{angle_deg}", about_x(angle_deg))
        error = refused(tmp_path / f"{angle_deg}", "GEOM_ORIENT")
        assert f"turned by {angle_deg:.1f} degrees" in str(error)
        assert "--resample" in error.hint


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    spacing_mm=st.sampled_from([0.5, 3.0, 5.0, 10.0]),
    share=st.floats(0.3, 1.7),
    odd=st.integers(2, 8),
)
def test_a11_positions_may_be_off_by_a_tenth_or_three_per_cent(
    tmp_path_factory: pytest.TempPathFactory, spacing_mm: float, share: float, odd: int
) -> None:
    limit_mm = max(0.1, 0.03 * spacing_mm)
    positions = spacing_mm * np.arange(11.0)
    positions[odd] += share * limit_mm
    fitted = np.polyval(np.polyfit(np.arange(11), positions, 1), np.arange(11))
    off_mm = np.abs(positions - fitted).max()
    if abs(off_mm - limit_mm) < 0.02 * limit_mm:
        return  # rounding in the file decides
    folder = tmp_path_factory.mktemp("a11")

    def place(ds: pydicom.FileDataset, index: int) -> None:
        ds.ImagePositionPatient = [0, 0, f"{positions[index]:.6f}"]

    write_series(folder, body_hu(11), (spacing_mm, 0.5, 0.5), edit=place)
    if off_mm > limit_mm:
        with pytest.raises(GeometryError, match=r"^GEOM_(UNEVEN|GAP): "):
            kcalc.read_volume(folder)
        return
    volume = kcalc.read_volume(folder)
    slope = np.polyfit(np.arange(11), positions, 1)[0]
    assert volume.spacing_mm[0] == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize("value", [None, "0\\0", "-1\\-1", "NaN\\NaN", "0,5\\0,5", "1"])
def test_a12_pixel_spacing_that_is_none_is_refused_with_its_value(
    phantom_slices: Path, tmp_path: Path, value: str | None
) -> None:
    def edit(ds: pydicom.FileDataset, index: int) -> None:
        del ds.PixelSpacing
        if value is not None:
            ds.add_new("PixelSpacing", "LO", value)

    spoilt(phantom_slices, tmp_path, edit)
    assert repr(value or "nothing") in str(refused(tmp_path, "GEOM_SPACING"))


def test_a13_pixel_spacing_that_differs_is_refused(
    phantom_slices: Path, tmp_path: Path
) -> None:
    paths = spoilt(phantom_slices, tmp_path, setting(6, PixelSpacing=[1.9, 1.9]))
    error = refused(tmp_path, "GEOM_SPACING")
    assert error.path == str(paths[6])
    assert "[1.9, 1.9]" in str(error)


def test_a14_overlapping_slices_score_by_their_spacing(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path / "plain")

    def closer(ds: pydicom.FileDataset, index: int) -> None:
        at(ds, z=-1.5 * index)

    spoilt(phantom_slices, tmp_path / "overlap", closer)
    plain = kcalc.read_volume(tmp_path / "plain")
    volume = kcalc.read_volume(tmp_path / "overlap")
    assert volume.spacing_mm[0] == pytest.approx(1.5)
    assert volume.acquisition.slice_thickness_mm == 3.0
    assert told(volume)["THICKNESS"] == "warning"
    assert "3 mm thick every 1.500 mm, so they overlap" in message(volume, "THICKNESS")
    assert score_of(plain) > 0
    # The same pictures at half the distance: half the score, times spacing / 3 mm.
    assert score_of(volume) == pytest.approx(score_of(plain) / 2)
    mask = tmp_path / "mask.nii.gz"
    write_nifti(mask, volume.array >= 130, volume.geometry)
    score_scan(tmp_path / "overlap", tmp_path / "out", mask_path=mask)
    text = (tmp_path / "out" / "score.json").read_text("utf-8")
    record = json.loads(text)
    assert "THICKNESS" in {finding["code"] for finding in record["findings"]}
    assert '"slice_thickness_mm": 3.0' in text
    assert "1.5" in text


def test_a14_slices_with_gaps_between_them_warn_too(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path, lambda ds, k: at(ds, z=2.0 * k))
    volume = kcalc.read_volume(tmp_path)
    assert volume.spacing_mm[0] == pytest.approx(5.0)
    assert "they leave gaps" in message(volume, "THICKNESS")


@pytest.mark.parametrize("thickness_mm", [1.0, 5.0])
def test_a15_another_thickness_than_three_millimetres_is_labelled(
    phantom_slices: Path, tmp_path: Path, thickness_mm: float
) -> None:
    def edit(ds: pydicom.FileDataset, index: int) -> None:
        ds.SliceThickness = thickness_mm
        at(ds, z=(thickness_mm - 3) * index)

    spoilt(phantom_slices, tmp_path / "in", edit)
    volume = kcalc.read_volume(tmp_path / "in")
    assert told(volume)["PROTOCOL"] == "warning"
    assert f"is {thickness_mm:g} mm" in message(volume, "PROTOCOL")
    mask = tmp_path / "mask.nii.gz"
    write_nifti(mask, volume.array >= 130, volume.geometry)
    result = score_scan(tmp_path / "in", tmp_path / "out", mask_path=mask)
    assert "PROTOCOL" in result.summary()
    assert "PROTOCOL" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_a16_a_single_slice_is_refused_and_no_spacing_invented(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path, keep=range(4, 5))
    assert "received 1" in str(refused(tmp_path, "GEOM_SINGLE"))
    refused(tmp_path, "GEOM_SINGLE", assume_spacing_mm=3.0)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient"])
def test_a17_slices_without_position_are_refused_unless_a_spacing_is_given(
    phantom_slices: Path,
    tmp_path: Path,
    keyword: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoilt(phantom_slices, tmp_path / "clean")
    paths = spoilt(phantom_slices, tmp_path / "in", setting(**{keyword: None}))
    for index, path in enumerate(paths):
        path.rename(path.with_name(f"{index * 7 % 10}.dcm"))
    error = refused(tmp_path / "in", "GEOM_POSITION")
    assert keyword in str(error)
    assert "--assume-spacing" in error.hint
    volume = kcalc.read_volume(tmp_path / "in", assume_spacing_mm=2.5)
    np.testing.assert_array_equal(
        volume.array, kcalc.read_volume(tmp_path / "clean").array
    )
    assert volume.spacing_mm[0] == pytest.approx(2.5)
    assert told(volume)["SPACING_ASSUMED"] == "warning"
    assert volume.frames == ()
    mask = tmp_path / "mask.nii.gz"
    write_nifti(mask, volume.array >= 130, volume.geometry)
    arguments = ["score", "-i", str(tmp_path / "in"), "--mask", str(mask)]
    assert cli.main([*arguments, "-o", str(tmp_path / "a")]) == 3
    flag = ["--assume-spacing", "2.5"]
    assert cli.main([*arguments, "-o", str(tmp_path / "b"), *flag]) == 0
    assert "SPACING_ASSUMED" in capsys.readouterr().out


def test_a17_an_assumed_spacing_needs_an_order_without_gaps(
    phantom_slices: Path, tmp_path: Path
) -> None:
    def twice(ds: pydicom.FileDataset, index: int) -> None:
        del ds.ImagePositionPatient
        ds.InstanceNumber = max(1, index)

    spoilt(phantom_slices, tmp_path / "twice", twice)
    refused(tmp_path / "twice", "GEOM_POSITION", assume_spacing_mm=3.0)
    spoilt(phantom_slices, tmp_path / "some", setting(3, ImagePositionPatient=None))
    error = refused(tmp_path / "some", "GEOM_POSITION", assume_spacing_mm=3.0)
    assert f"{NUM_SLICES - 1} of {NUM_SLICES} state it" in str(error)
    for value in (0.0, -1.0, 21.0, float("nan")):
        with pytest.raises(ValueError, match="assume_spacing_mm must be above 0"):
            kcalc.read_volume(tmp_path / "some", assume_spacing_mm=value)


def test_a17_a_spacing_given_for_slices_that_state_theirs_changes_nothing(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path)
    volume = kcalc.read_volume(tmp_path, assume_spacing_mm=7.0)
    assert volume.spacing_mm[0] == pytest.approx(3.0)
    assert "SPACING_ASSUMED" not in told(volume)


def test_a18_slices_of_two_sizes_are_refused_by_file(
    phantom_slices: Path, tmp_path: Path
) -> None:
    def smaller(ds: pydicom.FileDataset, index: int) -> None:
        if index == 5:
            ds.Rows = 64
            ds.PixelData = ds.PixelData[: 64 * 128 * 2]

    paths = spoilt(phantom_slices, tmp_path, smaller)
    error = refused(tmp_path, "GEOM_SHAPE")
    assert error.path == str(paths[5])
    assert "IM000.dcm has (128, 128)" in str(error)
    assert "IM005.dcm (64, 128)" in str(error)


def test_a19_two_frames_of_reference_are_refused(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path, setting(4, FrameOfReferenceUID="1.2.3"))
    assert "received 2" in str(refused(tmp_path, "GEOM_FRAME"))


@pytest.mark.slow
def test_a21_long_series_and_large_matrices_are_read(tmp_path: Path) -> None:
    long = tmp_path / "long"
    write_series(long, np.repeat(body_hu(1), 1250, axis=0), (0.5, 0.5, 0.5))
    volume = kcalc.read_volume(long)
    assert volume.shape == (1250, 16, 16)
    assert volume.array.dtype == np.int16
    for size in (1024, 2048):
        wide = np.full((3, size, size), -1000, np.int16)
        wide[:, size // 3 : -size // 3, size // 3 : -size // 3] = 40
        write_series(tmp_path / f"{size}", wide)
        np.testing.assert_array_equal(
            kcalc.read_volume(tmp_path / f"{size}").array, wide
        )


def test_a21_a_series_over_the_budget_is_refused_before_memory_is_taken(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path, setting(Rows=30000, Columns=30000))
    assert "9 x 30000 x 30000" in str(refused(tmp_path, "BUDGET"))


@pytest.mark.parametrize(
    ("keyword", "values"),
    [("NominalPercentageOfCardiacPhase", (40.0, 75.0)), ("TriggerTime", (280, 600))],
)
def test_a22_one_phase_of_several_is_chosen_by_its_number(
    phantom_slices: Path, tmp_path: Path, keyword: str, values: tuple[float, float]
) -> None:
    for number, value in enumerate(values):

        def phase(
            ds: pydicom.FileDataset, index: int, number=number, value=value
        ) -> None:
            ds.SOPInstanceUID = f"1.2.{number}.{index}"
            setattr(ds, keyword, value)
            if number:
                pixels = ds.pixel_array.copy()
                pixels[60, 60] += 1
                ds.PixelData = pixels.tobytes()

        spoilt(phantom_slices, tmp_path, phase, stem=f"p{number}_")
    assert "--phase" in refused(tmp_path, "GEOM_DUP").hint
    one, two = (kcalc.read_volume(tmp_path, phase=value) for value in values)
    assert one.shape == two.shape == (NUM_SLICES, 128, 128)
    assert np.flatnonzero((one.array != two.array).any(axis=0)) == [60 * 128 + 60]
    error = refused(tmp_path, "PHASE_UNKNOWN", phase=50.0)
    assert f"{values[0]:g}, {values[1]:g}" in str(error)


def test_a22_a_phase_of_a_series_without_any_is_refused(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path)
    assert "no phase" in str(refused(tmp_path, "PHASE_UNKNOWN", phase=75.0))


@pytest.mark.data
@pytest.mark.parametrize("name", ["qrm-phantom", "chest-ct"])
def test_a_with_every_check_on_the_real_scans_are_accepted(
    test_data: Path, name: str
) -> None:
    volume = kcalc.read_volume(test_data / name)
    assert volume.unit == "HU"
    assert not {c for c in told(volume) if c.startswith(("GEOM", "CONTRAST", "HU_"))}
