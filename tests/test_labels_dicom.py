"""DICOM SEG and RTSTRUCT as labels: frames in place, contours, hostile objects."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_factory import write_series
from label_files import code, rtstruct, save, seg, square
from pydicom.dataset import Dataset

import kcalc
from kcalc.geometry import Geometry
from kcalc.io import read_labels
from kcalc.volume import Acquisition

LAD, RCA = 2, 4
SHAPE = (5, 13, 11)  # a frame of 143 bits ends within a byte


@pytest.fixture
def volume(tmp_path: Path) -> kcalc.Volume:
    array = np.full(SHAPE, -1000, np.int16)
    array[:, 1:-1, 1:-1] = 40
    array[1:4, 4:8, 3:7] = 400
    write_series(tmp_path / "scan", array)
    return kcalc.read_volume(tmp_path / "scan")


@pytest.fixture
def mask(volume: kcalc.Volume) -> np.ndarray:
    mask = np.random.default_rng(3).random(volume.shape) < 0.3
    mask[2] = False
    return mask


def refusal(ds: pydicom.FileDataset, path: Path, volume, **arguments):
    with pytest.raises(kcalc.InputError) as caught:
        read_labels(save(ds, path), volume, **arguments)
    assert "Nobody" not in str(caught.value)
    return caught.value


# --- segmentations --------------------------------------------------------------


def test_frames_that_end_within_a_byte_come_back(tmp_path, volume, mask):
    path = save(seg(volume.geometry, {"RCA": mask}), tmp_path / "a.dcm")
    labels = read_labels(path, volume)
    np.testing.assert_array_equal(labels.array, mask * RCA)
    assert labels.vessels_named


def test_one_segment_that_names_no_vessel_is_a_plain_mask(tmp_path, volume, mask):
    for name, codes in (
        ("Lesion", None),
        ("Coronary", {"Coronary": code("41801008", "Coronary artery")}),
    ):
        ds = seg(volume.geometry, {name: mask}, codes)
        labels = read_labels(save(ds, tmp_path / "a.dcm"), volume)
        np.testing.assert_array_equal(labels.array, mask)
        assert not labels.vessels_named


def test_the_code_of_a_vessel_goes_before_the_label(tmp_path, volume, mask):
    codes = {
        "Segment 1": code("59438005", "LAD"),
        "RCA": code("41801008", "Coronary artery"),
    }
    ds = seg(volume.geometry, {"Segment 1": mask, "RCA": ~mask}, codes)
    labels = read_labels(save(ds, tmp_path / "a.dcm"), volume)
    np.testing.assert_array_equal(labels.array, np.where(mask, LAD, RCA))


def test_segments_that_name_no_vessels_need_a_scheme(tmp_path, volume, mask):
    ds = seg(volume.geometry, {"LAD": mask, "Bone of Nobody": ~mask})
    path = tmp_path / "a.dcm"
    assert refusal(ds, path, volume).code == "LABEL_NAMES"
    assert refusal(ds, path, volume, scheme="kcalc").code == "LABEL_SCHEME"
    assert refusal(ds, path, volume, scheme="9=LAD").code == "LABEL_NAMES"
    for scheme in ("1=LAD", "lad=LAD", "1=LAD,2=0", "1=LAD,bone of nobody=0"):
        labels = read_labels(path, volume, scheme=scheme)
        np.testing.assert_array_equal(labels.array, mask * LAD)


def test_a_voxel_in_segments_of_two_vessels_is_refused(tmp_path, volume, mask):
    ds = seg(volume.geometry, {"LAD": mask, "RCA": mask})
    path = tmp_path / "a.dcm"
    assert refusal(ds, path, volume).code == "LABEL_OVERLAP"
    labels = read_labels(path, volume, scheme="plain")
    np.testing.assert_array_equal(labels.array, mask)


def test_frames_of_turned_and_flipped_axes_find_their_voxels(tmp_path, volume):
    mask = np.zeros(volume.shape, bool)
    mask[1, 4, 3], mask[3, 7, 5] = True, True
    affine = volume.geometry.affine_lps
    last = np.array(volume.shape) - 1
    for axes, flips in (
        ((0, 1, 2), (0, 1, 1)),
        ((2, 0, 1), (0, 0, 0)),
        ((1, 0, 2), (1, 1, 0)),
        ((0, 2, 1), (1, 0, 1)),
    ):
        turned = affine.copy()
        turned[:3, :3] = affine[:3, axes] * np.where(flips, -1, 1)
        start = np.zeros(3)
        for place, axis in enumerate(axes):
            start[axis] = last[axis] if flips[place] else 0
        turned[:3, 3] = volume.geometry.index_to_mm(start)
        own = mask.transpose(axes)[
            tuple(slice(None, None, -1 if f else 1) for f in flips)
        ]
        ds = seg(Geometry(own.shape, turned), {"RCA": own})
        labels = read_labels(save(ds, tmp_path / "a.dcm"), volume)
        np.testing.assert_array_equal(labels.array, mask * RCA)


def test_frames_of_a_part_of_the_slice_find_their_voxels(tmp_path, volume):
    part = np.ones((2, 3, 4), bool)
    affine = volume.geometry.affine_lps.copy()
    affine[:3, 3] = volume.geometry.index_to_mm([1, 4, 3])
    ds = seg(Geometry(part.shape, affine), {"RCA": part})
    labels = read_labels(save(ds, tmp_path / "a.dcm"), volume)
    expected = np.zeros(volume.shape, np.uint8)
    expected[1:3, 4:7, 3:7] = RCA
    np.testing.assert_array_equal(labels.array, expected)


@pytest.mark.parametrize("shift_zyx", [(0.4, 0, 0), (0, 0.3, 0), (4, 0, 0), (0, 0, -1)])
def test_c15_a_frame_elsewhere_is_refused(tmp_path, volume, mask, shift_zyx):
    affine = volume.geometry.affine_lps.copy()
    affine[:3, 3] = volume.geometry.index_to_mm(shift_zyx)
    ds = seg(Geometry(volume.shape, affine), {"RCA": mask})
    assert refusal(ds, tmp_path / "a.dcm", volume).code == "MASK_GRID"


def test_labels_made_on_another_series_are_told(tmp_path, volume, mask):
    ds = seg(volume.geometry, {"RCA": mask})
    item = Dataset()
    item.SeriesInstanceUID = "1.2.840.99.77"
    ds.ReferencedSeriesSequence = [item]
    labels = read_labels(save(ds, tmp_path / "a.dcm"), volume)
    assert [f.code for f in labels.findings] == ["LABEL_SERIES"]
    item.SeriesInstanceUID = volume.acquisition.series_uid
    assert read_labels(save(ds, tmp_path / "a.dcm"), volume).findings == ()


def eight_bits(ds: pydicom.FileDataset, mask: np.ndarray, value: int) -> None:
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    planes = mask[mask.any(axis=(1, 2))].astype(np.uint8) * value
    ds.PixelData = planes.tobytes() + b"\0" * (planes.size % 2)


def test_a_fractional_segmentation_without_fractions_is_read(tmp_path, volume, mask):
    ds = seg(volume.geometry, {"RCA": mask})
    ds.SegmentationType, ds.MaximumFractionalValue = "FRACTIONAL", 255
    eight_bits(ds, mask, 255)
    labels = read_labels(save(ds, tmp_path / "a.dcm"), volume)
    np.testing.assert_array_equal(labels.array, mask * RCA)


def test_c15_a_fractional_segmentation_with_fractions_is_refused(
    tmp_path, volume, mask
):
    ds = seg(volume.geometry, {"RCA": mask})
    ds.SegmentationType, ds.MaximumFractionalValue = "FRACTIONAL", 255
    eight_bits(ds, mask, 254)
    assert refusal(ds, tmp_path / "a.dcm", volume).code == "MASK_VALUES"


def test_a_labelmap_segmentation_is_read(tmp_path, volume, mask):
    ds = seg(volume.geometry, {"RCA": mask})
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.SegmentationType = "LABELMAP"
    background, rca = Dataset(), ds.SegmentSequence[0]
    background.SegmentNumber, background.SegmentLabel = 0, "Background"
    rca.SegmentNumber = 3
    ds.SegmentSequence = [background, rca]
    for group in ds.PerFrameFunctionalGroupsSequence:
        del group.SegmentIdentificationSequence
    eight_bits(ds, mask, 3)
    labels = read_labels(save(ds, tmp_path / "a.dcm"), volume)
    np.testing.assert_array_equal(labels.array, mask * RCA)
    eight_bits(ds, mask, 4)  # a segment that nobody described
    assert refusal(ds, tmp_path / "a.dcm", volume).code == "DICOM_BROKEN"


def test_a_compressed_segmentation_is_read(tmp_path, volume, mask):
    ds = seg(volume.geometry, {"RCA": mask})
    ds.SegmentationType, ds.MaximumFractionalValue = "FRACTIONAL", 1
    eight_bits(ds, mask, 1)
    ds.compress(pydicom.uid.RLELossless, encoding_plugin="pydicom")
    labels = read_labels(save(ds, tmp_path / "a.dcm"), volume)
    np.testing.assert_array_equal(labels.array, mask * RCA)


def test_a_segmentation_of_highdicom_is_read(tmp_path, volume, mask):
    import highdicom
    from highdicom.sr.coding import CodedConcept

    sources = [pydicom.dcmread(frame.path) for frame in volume.frames]
    for ds in sources:
        ds.StudyID = ds.AccessionNumber = ds.PatientBirthDate = ds.PatientSex = ""
        ds.StudyDate = ds.StudyTime = ds.ReferringPhysicianName = ""
    description = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="calcium",
        segmented_property_category=CodedConcept("49755003", "SCT", "Abnormal"),
        segmented_property_type=CodedConcept("18115005", "SCT", "Calcification"),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        anatomic_regions=[CodedConcept("13647002", "SCT", "Right coronary artery")],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=mask.astype(np.uint8),
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[description],
            series_instance_uid=highdicom.UID(),
            series_number=9,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="kcalc",
            manufacturer_model_name="tests",
            software_versions="0",
            device_serial_number="0",
        )
        written.save_as(tmp_path / "a.dcm")
    labels = read_labels(tmp_path / "a.dcm", volume)
    np.testing.assert_array_equal(labels.array, mask * RCA)
    assert labels.findings == ()


# --- segmentations that lie ---------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code_"),
    [
        ({"NumberOfFrames": 10**9}, "BUDGET"),
        ({"Rows": 60000, "Columns": 60000}, "BUDGET"),
        ({"Rows": 600, "Columns": 600}, "TRUNCATED"),
        ({"NumberOfFrames": 3}, "TRUNCATED"),
        ({"NumberOfFrames": 0}, "DICOM_BROKEN"),
        ({"PixelData": b"\0\0"}, "TRUNCATED"),
        ({"PixelData": b""}, "TRUNCATED"),
        ({"SegmentSequence": []}, "DICOM_BROKEN"),
        ({"PerFrameFunctionalGroupsSequence": []}, "TRUNCATED"),
        ({"SharedFunctionalGroupsSequence": []}, "DICOM_BROKEN"),
        ({"Rows": 0}, "DICOM_BROKEN"),
    ],
)
def test_c6_a_segmentation_that_claims_too_much_is_refused(
    tmp_path, volume, mask, changes, code_: str
):
    ds = seg(volume.geometry, {"RCA": mask})
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    assert refusal(ds, tmp_path / "a.dcm", volume).code == code_


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.99])
def test_c3_a_cut_segmentation_is_refused(tmp_path, volume, mask, share: float):
    path = save(seg(volume.geometry, {"RCA": mask}), tmp_path / "a.dcm")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(kcalc.InputError):
        read_labels(path, volume)


@pytest.mark.parametrize("depth", [70, 200])
def test_c9_a_deeply_nested_object_is_refused(tmp_path, volume, mask, depth):
    ds = seg(volume.geometry, {"RCA": mask})
    inner = Dataset()
    for _ in range(depth):
        outer = Dataset()
        outer.ReferencedSeriesSequence = [inner]
        outer["ReferencedSeriesSequence"].is_undefined_length = True
        inner = outer
    ds.ReferencedSeriesSequence = [inner]
    ds["ReferencedSeriesSequence"].is_undefined_length = True
    assert refusal(ds, tmp_path / "a.dcm", volume).code == "DICOM_NESTED"


# --- structure sets -----------------------------------------------------------


def hole_mask() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[1, 2:10, 1:9] = True
    mask[1, 4:7, 3:6] = False
    return mask


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_a_contour_within_another_is_a_hole(tmp_path, volume, kind: str):
    contours = [(1, square(4, 3, 2.0)), (1, square(2, 1, 7.0))]
    ds = rtstruct(volume.geometry, {"RCA": contours}, kind)
    labels = read_labels(save(ds, tmp_path / "a.dcm"), volume)
    np.testing.assert_array_equal(labels.array, hole_mask() * RCA)


def test_an_island_in_a_hole_is_filled_and_a_copy_of_a_contour_is_none(
    tmp_path, volume
):
    contours = [
        (1, square(2, 1, 7.0)),
        (1, square(2, 1, 7.0)),
        (1, square(3, 2, 5.0)),
        (1, square(5, 4, 1.0)),
    ]
    ds = rtstruct(volume.geometry, {"RCA": contours})
    labels = read_labels(save(ds, tmp_path / "a.dcm"), volume)
    expected = np.zeros(SHAPE, np.uint8)
    expected[1, 2:10, 1:9] = RCA
    expected[1, 3:9, 2:8] = 0
    expected[1, 5:7, 4:6] = RCA
    np.testing.assert_array_equal(labels.array, expected)


def test_contours_beside_each_other_add_up(tmp_path, volume):
    contours = [(1, square(2, 1, 2.0)), (1, square(3, 2, 3.0)), (2, square(2, 1, 2.0))]
    ds = rtstruct(volume.geometry, {"RCA": contours})
    labels = read_labels(save(ds, tmp_path / "a.dcm"), volume)
    assert np.count_nonzero(labels.array[1]) == 9 + 16 - 4
    assert np.count_nonzero(labels.array[2]) == 9


def test_points_and_open_lines_are_left_out_and_told(tmp_path, volume):
    ds = rtstruct(volume.geometry, {"RCA": [(1, square(2, 1)), (2, square(2, 1))]})
    ds.ROIContourSequence[0].ContourSequence[1].ContourGeometricType = "OPEN_PLANAR"
    labels = read_labels(save(ds, tmp_path / "a.dcm"), volume)
    assert np.unique(np.argwhere(labels.array)[:, 0]).tolist() == [1]
    assert "LABEL_SKIPPED" in {f.code for f in labels.findings}


def test_a_region_without_contours_needs_no_name(tmp_path, volume):
    regions = {"RCA": [(1, square(2, 1))], "BODY": []}
    path = save(rtstruct(volume.geometry, regions), tmp_path / "a.dcm")
    labels = read_labels(path, volume)
    assert np.unique(labels.array).tolist() == [0, RCA]
    assert labels.vessels_named


@pytest.mark.parametrize(
    "data",
    [
        ["1"] * 4,
        ["0", "0", "0"] * 3,
        ["1e300", "0", "0"] * 3,
    ],
)
def test_contours_that_lie_nowhere_are_refused(tmp_path, volume, data):
    ds = rtstruct(volume.geometry, {"RCA": [(1, square(2, 1))]})
    ds.ROIContourSequence[0].ContourSequence[0].ContourData = data
    code_ = refusal(ds, tmp_path / "a.dcm", volume).code
    assert code_ in ("DICOM_BROKEN", "MASK_GRID")


def test_contours_between_two_slices_are_refused(tmp_path, volume):
    ds = rtstruct(volume.geometry, {"RCA": [(1.5, square(2, 1))]})
    assert refusal(ds, tmp_path / "a.dcm", volume).code == "MASK_GRID"


def test_on_a_scan_of_unknown_frame_of_reference_the_grid_decides(tmp_path, volume):
    facts = replace(volume.acquisition, frame_of_reference_uid=None)
    path = save(
        rtstruct(volume.geometry, {"RCA": [(1, square(2, 1))]}), tmp_path / "a.dcm"
    )
    labels = read_labels(path, replace(volume, acquisition=facts))
    assert labels.array.any()


# --- real objects -----------------------------------------------------------------


@pytest.mark.data
def test_a_real_segmentation_of_a_liver_lies_where_it_says(test_data: Path):
    path = test_data / "odd-dicom" / "liver.dcm"
    grid = Geometry.axial((5, 512, 512), (1.0, 0.810547, 0.810547), LIVER_MM)
    scan = kcalc.Volume(np.zeros(grid.shape_zyx, np.int16), grid)
    labels = read_labels(path, scan)
    expected = np.zeros(grid.shape_zyx, np.uint8)
    expected[1:4] = pydicom.dcmread(path).pixel_array
    np.testing.assert_array_equal(labels.array, expected)
    assert labels.array.sum() > 10_000
    assert not labels.vessels_named
    with pytest.raises(kcalc.InputError, match="MASK_GRID"):
        small = Geometry.axial((3, 512, 512), grid.spacing_mm, LIVER_MM)
        read_labels(path, kcalc.Volume(scan.array[:3], small))


LIVER_MM = (-235.2, -226.8, -129.69)
"""One slice below the first frame of the real segmentation."""


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "code_"),
    [
        ("liver_1frame.dcm", "TRUNCATED"),  # three frames described, none counted
        ("test-SR.dcm", "LABEL_FORMAT"),
        ("eCT_Supplemental.dcm", "LABEL_FORMAT"),
    ],
)
def test_real_objects_that_are_no_labels_are_refused(
    test_data: Path, volume: kcalc.Volume, name: str, code_: str
):
    unknown = replace(volume, acquisition=Acquisition())
    with pytest.raises(kcalc.InputError) as caught:
        read_labels(test_data / "odd-dicom" / name, unknown)
    assert caught.value.code == code_
