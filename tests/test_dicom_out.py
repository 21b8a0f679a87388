"""DICOM SEG and SR of a result: references, geometry, codes, identity, validity."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import ct_slice, write_series
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dicom_enhanced import write_enhanced

from kcalc import calcium_score, cli
from kcalc.errors import InputError, ResourceError
from kcalc.geometry import Geometry
from kcalc.io import read_labels, read_volume
from kcalc.io.dicom_identity import read_identity
from kcalc.io.discovery import quiet_pydicom
from kcalc.io.nifti import read_mask, write_nifti
from kcalc.report import (
    check_dicom_source,
    dicom_seg,
    dicom_sr,
    score_record,
    segments_of,
)
from kcalc.scoring import RULES
from kcalc.volume import Acquisition, SourceFrame, Volume
from kcalc.workflow import ScanResult, score_scan

ORIENTATIONS = {
    "head first, supine": ([1, 0, 0, 0, 1, 0], 3.0),
    "caudal to cranial backwards": ([1, 0, 0, 0, 1, 0], -3.0),
    "feet first, supine": ([-1, 0, 0, 0, 1, 0], 3.0),
    "head first, prone": ([-1, 0, 0, 0, -1, 0], -3.0),
    "decubitus, left side down": ([0, -1, 0, 1, 0, 0], 3.0),
    "decubitus, right side down": ([0, 1, 0, -1, 0, 0], -3.0),
    "oblique by 3 degrees": (
        [0.9986295, 0, -0.0523360, 0, 1, 0],
        3.0,
    ),
}
"""ImageOrientationPatient, and the step from one file to the next along the normal."""


def scan_hu(num_slices: int = 6) -> np.ndarray:
    """Air round tissue; lesions of 6 pixels in slices 1 and 4, told apart by place."""
    array_hu = np.full((num_slices, 20, 24), -1000, np.int16)
    array_hu[:, 3:-3, 3:-3] = 40
    array_hu[1, 5:7, 6:9] = 250
    array_hu[4, 12:14, 10:13] = 420
    return array_hu


def write_oriented(folder: Path, name: str) -> Path:
    """Write the scan with one of the orientations, files in the order of its steps."""
    cosines, step = ORIENTATIONS[name]
    row, column = np.reshape(cosines, (2, 3))
    normal = np.cross(row, column)
    folder.mkdir()
    for index, plane in enumerate(scan_hu()):
        position = np.array([-12.0, -8.0, 40.0]) + index * step * normal
        ds = ct_slice(
            plane,
            position_xyz_mm=tuple(np.round(position, 6)),
            spacing_yx_mm=(0.75, 0.5),
            series_uid="1.2.840.99.2",
            instance=index + 1,
        )
        ds.ImageOrientationPatient = cosines
        ds.save_as(folder / f"{index}.dcm", enforce_file_format=True)
    return folder


def score_dicom(
    series: Path, out: Path, labels: np.ndarray | None = None, **options: Any
) -> ScanResult:
    """Score the scan with all above 130 HU, or with a map of vessels, to DICOM too."""
    volume = read_volume(series)
    marked = volume.array >= 130 if labels is None else labels
    mask = write_nifti(out.parent / "mask.nii.gz", marked, volume.geometry)
    return score_scan(series, out, mask_path=mask, dicom=True, **options)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_series(tmp_path / "series", scan_hu())
    return tmp_path / "series"


def segment_frames(seg: pydicom.Dataset) -> Iterator[tuple[int, Any, np.ndarray]]:
    """Give number of the segment, functional groups and pixels of every frame."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    groups = seg.PerFrameFunctionalGroupsSequence
    for group, plane in zip(groups, pixels, strict=True):
        holder = group if "SegmentIdentificationSequence" in group else shared
        yield (
            holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber,
            group,
            plane,
        )


def contents(item: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    """Give every content item of an SR below one, depth first."""
    for child in item.get("ContentSequence", ()):
        yield child
        yield from contents(child)


def numbers(item: pydicom.Dataset) -> dict[str, float]:
    """Return the measurements below an item by the code of their name."""
    return {
        child.ConceptNameCodeSequence[0].CodeValue: float(
            child.MeasuredValueSequence[0].NumericValue
        )
        for child in contents(item)
        if child.ValueType == "NUM"
    }


def value_of(concept: pydicom.Dataset) -> str:
    """Return a code, whose keyword depends on its length."""
    return str(concept.get("CodeValue") or concept.LongCodeValue)


def codes(item: pydicom.Dataset) -> set[tuple[str, str]]:
    """Return (code of the name, code of the value) of the coded items below one."""
    return {
        (
            child.ConceptNameCodeSequence[0].CodeValue,
            value_of(child.ConceptCodeSequence[0]),
        )
        for child in contents(item)
        if child.ValueType == "CODE"
    }


def groups_of(report: pydicom.Dataset) -> list[pydicom.Dataset]:
    """Return the measurement groups of an SR."""
    return [
        item
        for item in contents(report)
        if item.ValueType == "CONTAINER"
        and item.ConceptNameCodeSequence[0].CodeValue == "125007"
    ]


# --- the frames of a volume -----------------------------------------------------


def test_a_volume_names_the_frame_of_every_slice(tmp_path: Path) -> None:
    paths = write_series(tmp_path, stem="b")
    for old, new in zip(paths, "53124", strict=True):
        old.rename(tmp_path / f"{new}.dcm")
    volume = read_volume(tmp_path)
    assert [frame.path.stem for frame in volume.frames] == list("53124")
    assert [frame.position_xyz_mm[2] for frame in volume.frames] == [
        *(100.0, 103.0, 106.0, 109.0, 112.0)
    ]
    assert {frame.sop_class_uid for frame in volume.frames} == {
        "1.2.840.10008.5.1.4.1.1.2"
    }
    assert len({frame.sop_instance_uid for frame in volume.frames}) == 5
    assert volume.acquisition.study_uid == "1.2.3.4"


def test_frames_that_are_not_one_a_slice_are_refused() -> None:
    frame = SourceFrame(Path("a.dcm"), "1.2", "1.3", (0.0, 0.0, 0.0))
    geometry = Geometry.axial((2, 4, 4), (3.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="one a slice"):
        Volume(np.zeros((2, 4, 4), np.int16), geometry, frames=(frame,))


# --- segmentation ---------------------------------------------------------------


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_frame_points_at_the_slice_whose_pixels_it_marks(
    tmp_path: Path, name: str
) -> None:
    series = write_oriented(tmp_path / "series", name)
    score_dicom(series, tmp_path / "out")
    seg = pydicom.dcmread(tmp_path / "out" / "seg.dcm")
    sources = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, series.iterdir())}
    shared = seg.SharedFunctionalGroupsSequence[0]
    plane = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    np.testing.assert_allclose(plane, ORIENTATIONS[name][0], atol=1e-6)
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.75, 0.5]
    marked = 0
    for _, group, pixels in segment_frames(seg):
        derivation = group.DerivationImageSequence[0]
        source = sources.pop(derivation.SourceImageSequence[0].ReferencedSOPInstanceUID)
        np.testing.assert_allclose(
            group.PlanePositionSequence[0].ImagePositionPatient,
            source.ImagePositionPatient,
            atol=1e-5,
        )
        array_hu = source.pixel_array.astype(int) - 1024
        np.testing.assert_array_equal(pixels, array_hu >= 130)
        marked += int(pixels.sum())
    assert (marked, sources) == (12, {})


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_highdicom_reads_the_mask_back_on_the_scans_geometry(
    tmp_path: Path, name: str
) -> None:
    import highdicom

    series = write_oriented(tmp_path / "series", name)
    result = score_dicom(series, tmp_path / "out")
    seg = highdicom.seg.segread(tmp_path / "out" / "seg.dcm")
    volume = seg.get_volume(combine_segments=True)
    found = volume.map_indices_to_reference(np.argwhere(volume.array > 0))
    expected = result.volume.geometry.index_to_mm(np.argwhere(result.mask > 0))
    np.testing.assert_allclose(
        found[np.lexsort(np.round(found, 2).T)],
        expected[np.lexsort(np.round(expected, 2).T)],
        atol=1e-3,
    )
    assert seg.get_source_image_uids()[0][:2] == ("1.2.3.4", "1.2.840.99.2")


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_simpleitk_reads_the_mask_back_with_the_scans_geometry(
    tmp_path: Path, name: str
) -> None:
    itk = pytest.importorskip("SimpleITK")
    series = write_oriented(tmp_path / "series", name)
    result = score_dicom(series, tmp_path / "out")
    image = itk.ReadImage(str(tmp_path / "out" / "seg.dcm"))
    np.testing.assert_array_equal(itk.GetArrayFromImage(image) > 0, result.mask > 0)
    for index in ((0, 0, 0), (5, 0, 0), (0, 19, 0), (5, 19, 23)):
        np.testing.assert_allclose(
            image.TransformIndexToPhysicalPoint(index[::-1]),
            result.volume.geometry.index_to_mm(index),
            atol=1e-3,
        )


def test_frames_of_a_multi_frame_source_are_named_by_number(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "series" / "e.dcm", scan_hu(), order=[3, 0, 5, 4, 2, 1])
    score_dicom(tmp_path / "series", tmp_path / "out")
    source = pydicom.dcmread(tmp_path / "series" / "e.dcm")
    seg = pydicom.dcmread(tmp_path / "out" / "seg.dcm")
    numbers_named, marked = [], {}
    for _, group, pixels in segment_frames(seg):
        item = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert item.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert item.ReferencedSOPClassUID == source.SOPClassUID
        numbers_named.append(item.ReferencedFrameNumber)
        if pixels.any():
            marked[item.ReferencedFrameNumber] = int(pixels.sum())
    assert numbers_named == [2, 6, 5, 1, 4, 3]
    assert marked == {6: 6, 4: 6}
    for name in ("seg.dcm", "sr.dcm"):
        raw = (tmp_path / "out" / name).read_bytes()
        assert raw.count(source.SOPInstanceUID.encode()) >= 1
    report = pydicom.dcmread(tmp_path / "out" / "sr.dcm")
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0]
    assert sorted(
        (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID)
        for series in evidence.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ) == sorted(
        [
            (source.SOPClassUID, source.SOPInstanceUID),
            (seg.SOPClassUID, seg.SOPInstanceUID),
        ]
    )


def test_each_vessel_is_a_segment_with_its_code_and_frames(
    series: Path, tmp_path: Path
) -> None:
    labels = np.zeros((6, 20, 24), np.uint8)
    labels[1, 5:7, 6:9] = 2
    labels[4, 12:14, 10:13] = 4
    result = score_dicom(series, tmp_path / "out", labels)
    seg = pydicom.dcmread(tmp_path / "out" / "seg.dcm")
    assert [
        (s.SegmentNumber, s.SegmentLabel, s.AnatomicRegionSequence[0].CodeValue)
        for s in seg.SegmentSequence
    ] == [(1, "LAD", "59438005"), (2, "RCA", "13647002")]
    assert seg.SegmentationType == "BINARY"
    assert {
        s.SegmentedPropertyTypeCodeSequence[0].CodeValue for s in seg.SegmentSequence
    } == {"18115005"}
    frames = [(number, plane.sum()) for number, _, plane in segment_frames(seg)]
    assert frames == [(1, 6), (2, 6)]
    report = pydicom.dcmread(tmp_path / "out" / "sr.dcm")
    total, lad, rca = groups_of(report)
    assert numbers(total)["450360000"] == pytest.approx(result.score.agatston)
    # 6 pixels of 0.25 mm2, 3 mm slices; 250 HU weighs 2, 420 HU weighs 4.
    assert (numbers(lad)["450360000"], numbers(rca)["450360000"]) == (3.0, 6.0)
    assert ("363698007", "59438005") in codes(lad)
    assert ("363698007", "13647002") in codes(rca)
    segments = [
        item.ReferencedSOPSequence[0]
        for group in (lad, rca)
        for item in contents(group)
        if item.ValueType == "IMAGE"
    ]
    assert [item.ReferencedSegmentNumber for item in segments] == [1, 2]
    assert {i.ReferencedSOPInstanceUID for i in segments} == {seg.SOPInstanceUID}


def test_calcium_of_the_aorta_is_told_apart_from_the_coronary_score(
    series: Path, tmp_path: Path
) -> None:
    labels = np.zeros((6, 20, 24), np.uint8)
    labels[1, 5:7, 6:9] = 2
    labels[4, 12:14, 10:13] = 5
    score_dicom(series, tmp_path / "out", labels, mass_calibration=0.8)
    report = pydicom.dcmread(tmp_path / "out" / "sr.dcm")
    total, lad, aorta = groups_of(report)
    assert (numbers(total)["450360000"], numbers(lad)["450360000"]) == (3.0, 3.0)
    assert numbers(total)["122661"] == pytest.approx(numbers(lad)["122661"])
    assert numbers(aorta)["112058"] == 6.0
    assert "450360000" not in numbers(aorta)
    assert ("363698007", "15825003") in codes(aorta)


@pytest.mark.parametrize("numbers_given", [(1, 1), (2, 4), (5, 9)])
def test_the_segmentation_scores_the_same_when_given_as_a_mask(
    tmp_path: Path, numbers_given: tuple[int, int]
) -> None:
    # 17 x 19 pixels: frames of one bit a pixel do not end with a byte.
    write_series(tmp_path / "series", scan_hu()[:, 2:19, 2:21])
    labels = np.zeros((6, 17, 19), np.uint8)
    labels[1, 3:5, 4:7], labels[4, 10:12, 8:11] = numbers_given
    first = score_dicom(tmp_path / "series", tmp_path / "one", labels)
    second = score_scan(
        *(tmp_path / "series", tmp_path / "two"),
        mask_path=tmp_path / "one" / "seg.dcm",
        dicom=True,
    )
    assert second.score.agatston == first.score.agatston > 0
    assert second.score.lesions == first.score.lesions
    np.testing.assert_array_equal(second.mask > 0, first.mask > 0)
    codes = {f["code"] for f in second.record["findings"]}
    assert not codes & {"LABEL_SERIES", "LABEL_UNKNOWN"}


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 5), st.integers(1, 9), st.integers(1, 9)),
    turns=st.tuples(*(st.floats(-3.1, 3.1) for _ in range(3))),
    spacing_mm=st.tuples(*(st.floats(0.3, 5.0) for _ in range(3))),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_mask_in_any_pose_survives_the_way_out_and_back(
    shape: tuple[int, int, int],
    turns: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    seed: int,
) -> None:
    from scipy.spatial.transform import Rotation

    affine = np.eye(4)
    turned = Rotation.from_euler("xyz", turns).as_matrix()
    affine[:3, :3] = turned[:, [2, 1, 0]] * spacing_mm
    affine[:3, 3] = (-12.5, 7.25, 300.125)
    geometry = Geometry(shape, affine)
    frames = tuple(
        SourceFrame(
            Path("a.dcm"),
            "1.2.840.10008.5.1.4.1.1.2",
            f"1.2.3.{k + 1}",
            tuple(geometry.index_to_mm((k, 0, 0)).tolist()),
        )
        for k in range(shape[0])
    )
    facts = Acquisition(
        study_uid="1.2.4", series_uid="1.2.5", frame_of_reference_uid="1.2.6"
    )
    volume = Volume(np.zeros(shape, np.int16), geometry, "HU", facts, frames=frames)
    mask = np.random.default_rng(seed).integers(0, 10, shape).astype(np.uint8)
    mask[0, 0, 0] = 3
    check_dicom_source(volume, "a")
    segments = segments_of(mask, by_vessel=True)
    with quiet_pydicom(), tempfile.TemporaryDirectory() as folder:
        seg = dicom_seg(volume, mask, segments, model=None)
        seg.save_as(Path(folder) / "seg.dcm", enforce_file_format=True)
        labels = read_labels(Path(folder) / "seg.dcm", volume)
    np.testing.assert_array_equal(labels.array, mask)


def test_a_failure_while_dicom_is_written_leaves_no_result(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kcalc.workflow.dicom.dicom_sr", full)
    with pytest.raises(ResourceError, match="DISK_FULL"):
        score_dicom(series, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_segmentation_equals_the_mask_file(series: Path, tmp_path: Path) -> None:
    result = score_dicom(series, tmp_path / "out")
    seg = pydicom.dcmread(tmp_path / "out" / "seg.dcm")
    mask = read_mask(tmp_path / "out" / "mask.nii.gz", result.volume.geometry)
    np.testing.assert_array_equal(seg.pixel_array, mask)
    assert seg.file_meta.MediaStorageSOPInstanceUID == seg.SOPInstanceUID


# --- structured report ----------------------------------------------------------


def test_the_report_holds_score_method_threshold_rule_and_scan(
    series: Path, tmp_path: Path
) -> None:
    score_dicom(series, tmp_path / "out", mass_calibration=0.8)
    report = pydicom.dcmread(tmp_path / "out" / "sr.dcm")
    (total,) = groups_of(report)
    # 12 pixels of 0.25 mm2 and 3 mm; 0.8 mg/mL per HU times 1.5 and 2.52 HU mL.
    assert numbers(total) == {
        "450360000": 9.0,
        "122660": 9.0,
        "122661": pytest.approx(2.412),
        "122657": 130.0,
        "113733": 120.0,
        "112226": 3.0,
        "111066": 0.5,
        "111026": 0.5,
        "112225": 3.0,
    }
    assert codes(total) >= {
        ("370129005", "112055"),
        ("370129005", "112056"),
        ("370129005", "112057"),
        ("363698007", "41801008"),
        ("RULE", "agatston_1990"),
    }
    assert ("121058", "426005005") in codes(report)
    texts = {
        item.ConceptNameCodeSequence[0].CodeValue: item.TextValue
        for item in contents(total)
        if item.ValueType == "TEXT" and "Algorithm Par" not in str(item)
    }
    assert (texts["111001"], texts["111003"]) == ("kcalc", cli.__version__)
    parameters = [i.TextValue for i in contents(total) if "Algorithm Par" in str(i)]
    assert parameters[0].startswith("rule agatston_1990: Calcium: voxels")
    assert report.ConceptNameCodeSequence[0].CodeValue == "126000"
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (report.CompletionFlag, report.VerificationFlag) == (
        "COMPLETE",
        "UNVERIFIED",
    )


def test_highdicom_finds_the_groups_and_their_measurements(
    series: Path, tmp_path: Path
) -> None:
    import highdicom

    labels = np.zeros((6, 20, 24), np.uint8)
    labels[1, 5:7, 6:9], labels[4, 12:14, 10:13] = 1, 4
    score_dicom(series, tmp_path / "out", labels)
    content = highdicom.sr.srread(tmp_path / "out" / "sr.dcm").content
    (total,) = content.get_image_measurement_groups()
    left_main, right = content.get_volumetric_roi_measurement_groups()
    name = pydicom.sr.coding.Code("450360000", "SCT", "")
    for group, score in ((total, 9.0), (left_main, 3.0), (right, 6.0)):
        (found,) = group.get_measurements(name)
        assert (found.value, found.unit.value) == (score, "1")
    assert left_main.tracking_identifier == "LM"
    assert right.referenced_segment.referenced_segment_numbers == [2]


def test_words_beyond_ascii_stand_in_the_report(series: Path) -> None:
    volume = read_volume(series)
    score = calcium_score(volume.array, volume.array >= 130, volume.spacing_mm)
    record = score_record(score, volume, volume.array >= 130, model=None)
    record["findings"] = [{"kind": "warning", "code": "X", "message": "≥ 3 mm"}]
    report = dicom_sr(volume, score, record, (), None)
    buffer = io.BytesIO()
    report.save_as(buffer)
    raw = buffer.getvalue()
    assert "X: ≥ 3 mm".encode() in raw
    assert report.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_report_of_every_rule_says_what_the_record_says(
    series: Path, tmp_path: Path, name: str
) -> None:
    result = score_dicom(series, tmp_path / "out", rule=name)
    report = pydicom.dcmread(tmp_path / "out" / "sr.dcm")
    (total,) = groups_of(report)
    assert ("RULE", name) in codes(total)
    told = numbers(total)
    assert told["450360000"] == pytest.approx(result.record["agatston"])
    assert told["122660"] == pytest.approx(result.record["volume_mm3"])
    assert told.get("122657") == result.score.rule.threshold_hu


def test_calcium_without_a_vessel_is_counted_once(series: Path, tmp_path: Path) -> None:
    labels = np.zeros((6, 20, 24), np.uint8)
    labels[1, 5:7, 6:9], labels[4, 12:14, 10:13] = 8, 9
    score_dicom(series, tmp_path / "out", labels)
    groups = groups_of(pydicom.dcmread(tmp_path / "out" / "sr.dcm"))
    assert [numbers(group)["450360000"] for group in groups] == [9.0]
    labels[labels == 8] = 3
    score_dicom(series, tmp_path / "out", labels)
    groups = groups_of(pydicom.dcmread(tmp_path / "out" / "sr.dcm"))
    assert [numbers(group)["450360000"] for group in groups] == [9.0, 3.0, 6.0]


def test_the_report_tells_the_warnings_beside_the_score(tmp_path: Path) -> None:
    write_series(
        tmp_path / "series", scan_hu(), edit=lambda ds, _: setattr(ds, "KVP", 100)
    )
    score_dicom(tmp_path / "series", tmp_path / "out")
    report = pydicom.dcmread(tmp_path / "out" / "sr.dcm")
    comments = [
        item.TextValue
        for item in contents(report)
        if item.ConceptNameCodeSequence[0].CodeValue == "121106"
    ]
    assert comments[0].startswith("Research use only.")
    assert any(text.startswith("KVP") and "100 kV" in text for text in comments)


def test_a_scan_without_calcium_gives_a_report_of_zero_and_no_segmentation(
    series: Path, tmp_path: Path
) -> None:
    result = score_dicom(series, tmp_path / "out", np.zeros((6, 20, 24), np.uint8))
    assert result.score.agatston == 0
    assert not (tmp_path / "out" / "seg.dcm").exists()
    report = pydicom.dcmread(tmp_path / "out" / "sr.dcm")
    (total,) = groups_of(report)
    assert (numbers(total)["450360000"], numbers(total)["122660"]) == (0.0, 0.0)
    assert not any(item.ValueType == "IMAGE" for item in contents(report))


def test_specks_that_the_rule_drops_give_no_segmentation(tmp_path: Path) -> None:
    array_hu = scan_hu()
    array_hu[array_hu > 40] = 40
    array_hu[2, 8, 8] = 300
    write_series(tmp_path / "series", array_hu)
    result = score_dicom(tmp_path / "series", tmp_path / "out")
    assert (result.score.agatston, int(result.mask.sum())) == (0, 1)
    assert not (tmp_path / "out" / "seg.dcm").exists()


def test_a_former_segmentation_does_not_outlive_a_result_without_calcium(
    series: Path, tmp_path: Path
) -> None:
    score_dicom(series, tmp_path / "out")
    assert (tmp_path / "out" / "seg.dcm").exists()
    score_dicom(series, tmp_path / "out", np.zeros((6, 20, 24), np.uint8))
    assert not (tmp_path / "out" / "seg.dcm").exists()


# --- the same bytes -------------------------------------------------------------


def test_same_input_gives_the_same_objects_and_another_mask_others(
    series: Path, tmp_path: Path
) -> None:
    for out in ("one", "two"):
        score_dicom(series, tmp_path / out)
    for name in ("seg.dcm", "sr.dcm", "score.json"):
        one, two = ((tmp_path / out / name).read_bytes() for out in ("one", "two"))
        assert one == two, name
    labels = np.zeros((6, 20, 24), np.uint8)
    labels[1, 5:7, 6:9] = 1
    score_dicom(series, tmp_path / "other", labels)
    uids = {
        (keyword, pydicom.dcmread(tmp_path / out / name)[keyword].value)
        for out in ("one", "other")
        for name in ("seg.dcm", "sr.dcm")
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID")
    }
    assert len(uids) == 8


def test_a_result_inside_the_scans_folder_is_no_part_of_the_scan(
    series: Path,
) -> None:
    before = read_volume(series)
    score_dicom(series, series / "out")
    (series / "mask.nii.gz").unlink()
    after = read_volume(series)
    np.testing.assert_array_equal(after.array, before.array)
    score_dicom(series, series / "out", phi="keep")


# --- refusals -------------------------------------------------------------------


def test_nifti_has_no_frames_to_refer_to(series: Path, tmp_path: Path) -> None:
    volume = read_volume(series)
    scan = write_nifti(tmp_path / "scan.nii.gz", volume.array, volume.geometry)
    with pytest.raises(InputError, match="refer to the stored DICOM frames") as caught:
        score_scan(scan, tmp_path / "out", dicom=True, tube_voltage_kvp=120.0)
    assert caught.value.code == "DICOM_SOURCE"
    assert not (tmp_path / "out").exists()


def test_a_filled_gap_and_a_resampled_grid_are_refused(
    series: Path, tmp_path: Path
) -> None:
    (series / "slice002.dcm").unlink()
    with pytest.raises(InputError, match="lies on another grid"):
        score_scan(series, tmp_path / "out", dicom=True, allow_gap=1)
    positions = [40.0, 43.0, 46.0, 49.0, 51.0, 53.0]

    def uneven(ds: pydicom.Dataset, index: int) -> None:
        ds.ImagePositionPatient = [-10, -20, positions[index]]

    write_series(tmp_path / "uneven", scan_hu(), edit=uneven)
    with pytest.raises(InputError, match="lies on another grid") as caught:
        score_scan(tmp_path / "uneven", tmp_path / "out", dicom=True, resample=True)
    assert caught.value.code == "DICOM_SOURCE"
    assert not (tmp_path / "out").exists()


def test_a_tilted_scan_is_scored_and_segmented_on_its_stored_frames(
    tmp_path: Path,
) -> None:
    def tilted(ds: pydicom.Dataset, _: int) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, 0, 0.9659258, 0.2588190]

    write_series(tmp_path / "series", scan_hu(), edit=tilted)
    stored = read_volume(tmp_path / "series", untilt=True).as_stored()
    mask = write_nifti(tmp_path / "m.nii.gz", stored.array >= 130, stored.geometry)
    score_scan(
        *(tmp_path / "series", tmp_path / "out"),
        mask_path=mask,
        untilt=True,
        dicom=True,
    )
    seg = pydicom.dcmread(tmp_path / "out" / "seg.dcm")
    positions = [
        list(group.PlanePositionSequence[0].ImagePositionPatient)
        for _, group, _ in segment_frames(seg)
    ]
    assert positions == [[-10, -20, 100 + 3 * index] for index in range(6)]
    np.testing.assert_array_equal(seg.pixel_array, scan_hu() >= 130)


def test_frames_that_lie_elsewhere_than_the_grid_are_refused(series: Path) -> None:
    from dataclasses import replace

    volume = read_volume(series)
    check_dicom_source(volume, series)
    affine = volume.geometry.affine_lps.copy()
    affine[:3, 0] *= 2
    moved = replace(volume, geometry=Geometry(volume.shape, affine))
    with pytest.raises(InputError, match="lies on another grid"):
        check_dicom_source(moved, series)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyInstanceUID", None),
        ("StudyInstanceUID", "1.2.MUSTERMANN"),
        ("FrameOfReferenceUID", None),
        ("SOPInstanceUID", "1.2." + "3" * 61),
    ],
)
def test_a_uid_that_cannot_be_referred_to_is_refused(
    tmp_path: Path, keyword: str, value: str | None
) -> None:
    def edit(ds: pydicom.Dataset, index: int) -> None:
        if value is None:
            delattr(ds, keyword)
        elif keyword != "SOPInstanceUID" or index == 2:
            ds[keyword].value = value

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_series(tmp_path / "series", scan_hu(), edit=edit)
    with pytest.raises(InputError, match=keyword) as caught:
        score_dicom(tmp_path / "series", tmp_path / "out")
    assert caught.value.code == "DICOM_REFERENCE"
    assert "MUSTERMANN" not in str(caught.value)


def test_phi_keep_without_dicom_is_refused_on_the_command_line(
    series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["score", "-i", str(series), "-o", str(tmp_path / "out")]
    assert cli.main([*arguments, "--phi", "keep"]) == 2
    assert "identifiers are kept in the DICOM outputs alone" in capsys.readouterr().err


def test_phi_is_either_removed_or_kept(series: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="phi must be 'remove' or 'keep'"):
        score_dicom(series, tmp_path / "out", phi="hide")


# --- identity -------------------------------------------------------------------


def identified(ds: pydicom.Dataset, _: int) -> None:
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName = "Müßig^Zoë"
    ds.PatientID = "0815"
    ds.PatientBirthDate = "19470301"
    ds.PatientSex = "F"
    ds.StudyDate, ds.StudyTime = "20240229", "081500.5"
    ds.AccessionNumber = "A-17"
    ds.StudyID = "4"
    ds.ReferringPhysicianName = "Doktor^Eisenbart"
    ds.InstitutionName = "Klinik"
    ds.PatientComments = "private"


@pytest.mark.parametrize("name", ["seg.dcm", "sr.dcm"])
def test_identifiers_are_empty_by_default_and_the_file_says_so(
    tmp_path: Path, name: str
) -> None:
    write_series(tmp_path / "series", scan_hu(), edit=identified)
    score_dicom(tmp_path / "series", tmp_path / "out")
    ds = pydicom.dcmread(tmp_path / "out" / name)
    for keyword in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate"),
        *("StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
    ):
        assert keyword in ds, keyword
        assert not ds[keyword].value, keyword
    assert ds.PatientIdentityRemoved == "YES"
    assert [i.CodeValue for i in ds.DeidentificationMethodCodeSequence] == [
        "113100",
        "113110",
    ]
    assert (ds.ContentDate, ds.ContentTime) == ("19000101", "000000")
    assert ds.StudyInstanceUID == "1.2.3.4"


@pytest.mark.parametrize("name", ["seg.dcm", "sr.dcm"])
def test_phi_keep_copies_what_files_an_object_and_no_more(
    tmp_path: Path, name: str
) -> None:
    write_series(tmp_path / "series", scan_hu(), edit=identified)
    score_dicom(tmp_path / "series", tmp_path / "out", phi="keep")
    ds = pydicom.dcmread(tmp_path / "out" / name)
    assert ds.SpecificCharacterSet == "ISO_IR 192"
    assert str(ds.PatientName) == "Müßig^Zoë"
    assert (ds.PatientID, ds.PatientBirthDate, ds.PatientSex) == (
        "0815",
        "19470301",
        "F",
    )
    assert (ds.StudyDate, ds.StudyTime, ds.StudyID) == ("20240229", "081500.5", "4")
    assert (ds.ContentDate, ds.AccessionNumber) == ("20240229", "A-17")
    assert str(ds.ReferringPhysicianName) == "Doktor^Eisenbart"
    assert "PatientIdentityRemoved" not in ds
    assert "InstitutionName" not in ds
    assert "PatientComments" not in ds


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientID", "MUSTERMANN" * 7),
        ("PatientID", "MUSTER\nMANN"),
        ("StudyDate", "MUSTERMANN"),
        ("AccessionNumber", "MUSTER\\MANN"),
    ],
)
def test_an_identifier_that_would_not_file_is_refused_without_its_value(
    tmp_path: Path, keyword: str, value: str
) -> None:
    def edit(ds: pydicom.Dataset, _: int) -> None:
        setattr(ds, keyword, value)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_series(tmp_path / "series", scan_hu(), edit=edit)
    with pytest.raises(InputError, match=f"these do not: {keyword}") as caught:
        score_dicom(tmp_path / "series", tmp_path / "out", phi="keep")
    assert caught.value.code == "DICOM_IDENTITY"
    assert "MUSTER" not in str(caught.value)


def test_identity_of_a_deflated_file_is_read(tmp_path: Path) -> None:
    ds = ct_slice(scan_hu()[0], position_xyz_mm=(0, 0, 0), series_uid="1.2.3")
    ds.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    identity = read_identity(tmp_path / "a.dcm")
    assert identity == {"PatientName": "Nobody^Of^Note", "PatientID": "SECRET-ID"}


def scrubbed(ds: pydicom.Dataset, _: int) -> None:
    ds.PatientIdentityRemoved = "YES"
    ds.LossyImageCompression = "01"


def test_phi_keep_of_a_scrubbed_scan_says_that_it_was_scrubbed(tmp_path: Path) -> None:
    write_series(tmp_path / "series", scan_hu(), edit=scrubbed)
    score_dicom(tmp_path / "series", tmp_path / "out", phi="keep")
    for name in ("seg.dcm", "sr.dcm"):
        ds = pydicom.dcmread(tmp_path / "out" / name)
        assert ds.PatientIdentityRemoved == "YES"
        assert ds.DeidentificationMethod == "as in the source"
        assert ds.PatientID == "SECRET-ID"
    seg = pydicom.dcmread(tmp_path / "out" / "seg.dcm")
    assert seg.LossyImageCompression == "01"


# --- other people's validators --------------------------------------------------


def tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing (Debian package {package})")
    return found


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return SEG and SR of: one segment, vessels, no calcium, multi-frame; kept."""
    tmp_path = tmp_path_factory.mktemp("variants")
    write_series(tmp_path / "series", scan_hu(), edit=identified)
    write_enhanced(tmp_path / "enhanced" / "e.dcm", scan_hu())
    write_series(tmp_path / "scrubbed", scan_hu(), edit=scrubbed)
    vessels = np.zeros((6, 20, 24), np.uint8)
    vessels[1, 5:7, 6:9], vessels[4, 12:14, 10:13] = 3, 9
    empty = np.zeros((6, 20, 24), np.uint8)
    score_dicom(tmp_path / "series", tmp_path / "plain", mass_calibration=0.8)
    score_dicom(tmp_path / "series", tmp_path / "kept", phi="keep")
    score_dicom(tmp_path / "scrubbed", tmp_path / "lossy", phi="keep")
    score_dicom(tmp_path / "series", tmp_path / "vessels", vessels)
    score_dicom(tmp_path / "series", tmp_path / "zero", empty)
    score_dicom(tmp_path / "enhanced", tmp_path / "multi", rule="calciumscoring_jl")
    outs = ("plain", "kept", "lossy", "vessels", "zero", "multi")
    return sorted(path for out in outs for path in (tmp_path / out).glob("*.dcm"))


def test_dciodvfy_finds_no_error(variants: list[Path]) -> None:
    dciodvfy = tool("dciodvfy", "dicom3tools")
    assert len(variants) == 11
    for path in variants:
        done = subprocess.run(
            [dciodvfy, "-new", str(path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Error" not in done.stderr, f"{path}: {done.stderr}"
        assert ("ComprehensiveSR" in done.stderr) == (path.name == "sr.dcm")


def test_dcmtk_reads_every_object(variants: list[Path]) -> None:
    dsrdump, dsr2xml = tool("dsrdump", "dcmtk"), tool("dsr2xml", "dcmtk")
    dcmdump = tool("dcmdump", "dcmtk")
    for path in variants:
        commands = [[dcmdump]]
        if path.name == "sr.dcm":
            commands += [[dsrdump, "-Ee"], [dsr2xml]]
        for command in commands:
            done = subprocess.run(
                [*command, str(path)], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            assert "error" not in done.stderr.lower(), done.stderr
            assert "warning" not in done.stderr.lower(), done.stderr
    (zero,) = [path for path in variants if path.parent.name == "zero"]
    dump = subprocess.run(
        [dsrdump, str(zero)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"Coronary artery calcium score")="0.0"' in dump.stdout
