"""read_labels: every format gives the same map; what is ambiguous or foreign is not."""

from __future__ import annotations

import json
import plistlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import write_series
from label_files import (
    coca_roi,
    rtstruct,
    save,
    seg,
    square,
    write_coca,
    write_mhd,
)

import kcalc
from kcalc.geometry import Geometry
from kcalc.io import read_labels
from kcalc.io.label_names import label_scheme, vessel_number
from kcalc.io.nifti import write_nifti

SPACING_MM = (3.0, 0.5, 0.5)
LAD, RCA, UNDETERMINED = 2, 4, 8


@pytest.fixture
def volume(tmp_path: Path) -> kcalc.Volume:
    """A series of 6 slices 20 x 24 whose calcium is LAD in slice 1, RCA in 3."""
    array = np.full((6, 20, 24), -1000, np.int16)
    array[:, 2:-2, 2:-2] = 40
    array[1, 5:8, 6:9] = 400
    array[3, 10:13, 14:17] = 300
    write_series(tmp_path / "scan", array, SPACING_MM)
    return kcalc.read_volume(tmp_path / "scan")


@pytest.fixture
def truth(volume: kcalc.Volume) -> np.ndarray:
    labels = np.zeros(volume.shape, np.uint8)
    labels[1, 5:8, 6:9] = LAD
    labels[3, 10:13, 14:17] = RCA
    return labels


def refusal(path: Path, volume: kcalc.Volume, **arguments) -> kcalc.InputError:
    with pytest.raises(kcalc.InputError) as caught:
        read_labels(path, volume, **arguments)
    assert "Nobody" not in str(caught.value)
    return caught.value


def codes(labels) -> set[str]:
    return {finding.code for finding in labels.findings}


# --- every format gives the same map ------------------------------------------


def regions() -> dict[str, list]:
    return {"LAD": [(1, square(4, 5, 4.0))], "RCA": [(3, square(9, 13, 4.0))]}


def write(kind: str, folder: Path, volume: kcalc.Volume, truth: np.ndarray) -> Path:
    grid = volume.geometry
    if kind == "nifti":
        return write_nifti(folder / "a.nii.gz", truth, grid)
    if kind == "metaimage":
        return write_mhd(folder / "a.mhd", truth)
    if kind == "coca":
        lad = coca_roi(square(4, 5, 4.0), geometry=grid, z=1)
        rca = coca_roi(square(9, 13, 4.0), "Right Coronary Artery", geometry=grid, z=3)
        return write_coca(folder / "a.xml", {9: [lad], 7: [rca]})
    if kind == "rtstruct":
        return save(rtstruct(grid, regions()), folder / "a.dcm")
    if kind == "dicom_seg":
        masks = {"LAD": truth == LAD, "RCA": truth == RCA}
        return save(seg(grid, masks), folder / "a.dcm")
    lines = ["outline,name,x_mm,y_mm,z_mm"]
    for number, (name, contours) in enumerate(regions().items()):
        for z, points in contours:
            for x, y, z_mm in grid.index_to_mm([(z, *point) for point in points]):
                lines.append(f"{number},{name},{x},{y},{z_mm}")
    path = folder / "a.csv"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    "kind", ["nifti", "metaimage", "coca", "rtstruct", "dicom_seg", "outlines"]
)
def test_every_format_gives_the_same_map(tmp_path, volume, truth, kind: str):
    path = write(kind, tmp_path, volume, truth)
    scheme = "kcalc" if kind == "metaimage" else None
    labels = read_labels(path, volume, scheme=scheme, threshold_hu=130)
    np.testing.assert_array_equal(labels.array, truth)
    assert labels.array.dtype == np.uint8
    assert (labels.file_format, labels.vessels_named) == (kind, True)


@pytest.mark.parametrize("kind", ["coca", "rtstruct", "outlines"])
def test_outlines_stay_whole_unless_they_are_to_be_cut(tmp_path, volume, truth, kind):
    labels = read_labels(write(kind, tmp_path, volume, truth), volume)
    assert np.count_nonzero(labels.array == LAD) == 25
    assert (volume.array[labels.array > 0] < 130).any()
    assert "LABEL_OUTLINES" in codes(labels)


@pytest.mark.parametrize("kind", ["dicom_seg", "rtstruct"])
def test_a_folder_with_one_object_is_that_object(tmp_path, volume, truth, kind: str):
    folder = tmp_path / "labels" / "below"
    folder.mkdir(parents=True)
    write(kind, folder, volume, truth)
    (folder / "readme.txt").write_text("words")
    labels = read_labels(tmp_path / "labels", volume, threshold_hu=130)
    np.testing.assert_array_equal(labels.array, truth)


def test_a_folder_with_two_objects_or_none_is_refused(tmp_path, volume, truth):
    folder = tmp_path / "labels"
    folder.mkdir()
    assert refusal(folder, volume).code == "LABEL_FORMAT"
    save(seg(volume.geometry, {"LAD": truth > 0}), folder / "a.dcm")
    save(rtstruct(volume.geometry, regions()), folder / "b.dcm")
    assert refusal(folder, volume).code == "LABEL_AMBIGUOUS"


@pytest.mark.parametrize("content", [b"", b"words", b"{}", b"\x1f\x8b", b"bplist00"])
def test_a_file_of_another_kind_is_refused(tmp_path, volume, content: bytes):
    path = tmp_path / "mask.bin"
    path.write_bytes(content)
    assert refusal(path, volume).code == "LABEL_FORMAT"


def test_the_content_and_not_the_ending_tells_the_format(tmp_path, volume, truth):
    path = write("coca", tmp_path, volume, truth).rename(tmp_path / "labels.nii.gz")
    assert read_labels(path, volume).file_format == "coca"
    path = write("nifti", tmp_path, volume, truth).rename(tmp_path / "mask.xml")
    error = refusal(path, volume)
    assert error.code == "LABEL_FORMAT"
    assert "NIfTI under another ending" in error.rule


def test_a_scan_or_a_missing_file_is_no_mask(tmp_path, volume):
    scan = next((tmp_path / "scan").iterdir())
    assert refusal(scan, volume).code == "LABEL_FORMAT"
    assert refusal(tmp_path / "none.nii", volume).code == "NOT_FOUND"


def test_c3_a_cut_nifti_mask_is_told_so(tmp_path, volume, truth):
    path = write("nifti", tmp_path, volume, truth)
    path.write_bytes(path.read_bytes()[:-30])
    assert refusal(path, volume).code == "TRUNCATED"


# --- what numbers mean --------------------------------------------------------


def test_orcascore_numbers_become_those_of_kcalc(tmp_path, volume, truth):
    values = np.zeros_like(truth)
    values[1, 5:8, 6:9] = 1
    values[3, 10:13, 14:17] = 3
    path = write_mhd(tmp_path / "a.mhd", values)
    labels = read_labels(path, volume, scheme="orcascore")
    np.testing.assert_array_equal(labels.array, truth)
    assert labels.vessels_named
    assert codes(labels) == {"LABEL_LM_IN_LAD"}


def test_orcascore_label_4_is_coronary_calcium_of_no_named_vessel(tmp_path, volume):
    values = np.zeros(volume.shape, np.uint8)
    values[3, 10:13, 14:17] = 4
    labels = read_labels(
        write_mhd(tmp_path / "a.mhd", values), volume, scheme="orcascore"
    )
    assert np.unique(labels.array).tolist() == [0, UNDETERMINED]


def test_orcascore_majority_gives_a_lesion_one_label(tmp_path, volume, truth):
    values = np.zeros_like(truth)
    values[1, 5:8, 6:9] = 1
    values[1, 5, 6:9] = 2  # 3 of 9 voxels
    values[3, 10:13, 14:17] = 3
    labels = read_labels(
        write_mhd(tmp_path / "a.mhd", values), volume, scheme="orcascore"
    )
    np.testing.assert_array_equal(labels.array, truth)
    assert "LABEL_MAJORITY" in codes(labels)


def test_orcascore_majority_leaves_voxels_at_130_hu_and_diagonal_neighbours(
    tmp_path, volume
):
    array = volume.array.copy()
    array[2, 5, 5:9] = 200
    array[2, 6, 9] = 200  # touches by a corner: another lesion
    array[2, 5, 9] = 130  # not above 130
    values = np.zeros(volume.shape, np.uint8)
    values[2, 5, 5:9] = [1, 1, 1, 2]
    values[2, 6, 9] = 2
    values[2, 5, 9] = 2
    labels = read_labels(
        write_mhd(tmp_path / "a.mhd", values),
        replace(volume, array=array),
        scheme="orcascore",
    )
    assert labels.array[2, 5, 5:10].tolist() == [2, 2, 2, 2, 3]
    assert labels.array[2, 6, 9] == 3


def test_several_numbers_in_a_metaimage_need_a_scheme(tmp_path, volume, truth):
    path = write_mhd(tmp_path / "a.mhd", truth)
    error = refusal(path, volume)
    assert error.code == "LABEL_SCHEME"
    assert "--labels" in error.hint


def test_a_metaimage_of_one_number_is_a_plain_mask(tmp_path, volume, truth):
    path = write_mhd(tmp_path / "a.mhd", (truth > 0).astype(np.uint8))
    labels = read_labels(path, volume)
    np.testing.assert_array_equal(labels.array, truth > 0)
    assert not labels.vessels_named


def test_a_given_scheme_names_numbers_and_leaves_some_out(tmp_path, volume, truth):
    values = truth.copy()
    values[truth == LAD] = 7
    values[truth == RCA] = 30
    values[0, 3, 3] = 5
    path = write_nifti(tmp_path / "a.nii", values, volume.geometry)
    labels = read_labels(path, volume, scheme="7=LAD, 30=rca, 5=0")
    np.testing.assert_array_equal(labels.array, truth)


def test_the_plain_scheme_tells_no_vessels_apart(tmp_path, volume, truth):
    path = write_mhd(tmp_path / "a.mhd", truth)
    labels = read_labels(path, volume, scheme="plain")
    np.testing.assert_array_equal(labels.array, truth > 0)
    assert not labels.vessels_named


@pytest.mark.parametrize(
    "text",
    ["", "coca", "1", "1=", "=LAD", "1=sternum", "1=LAD,1=RCA", "1=77", "1=LAD,"],
)
def test_a_scheme_that_says_nothing_is_refused(text: str):
    with pytest.raises(ValueError, match=r"labels must be kcalc, orcascore, plain"):
        label_scheme(text)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("LM", 1),
        ("Left Coronary Artery", 1),
        ("left main", 1),
        ("Left Anterior Descending Artery", 2),
        ("LAD calcification", 2),
        ("calcified_plaque_LCX", 3),
        ("Left Circumflex Artery", 3),
        ("Right Coronary Artery", 4),
        ("rca", 4),
        ("Coronary artery calcium", UNDETERMINED),
        ("sternum", None),
        ("aorta", 5),
        ("calcium", None),
        ("", None),
        ("LAD RCA", None),
    ],
)
def test_names_of_vessels(name: str, number: int | None):
    assert vessel_number(name) == number


# --- C15: labels of another grid, values that are no labels -------------------


@pytest.mark.parametrize("kind", ["nifti", "metaimage", "dicom_seg"])
def test_c15_a_mask_on_another_grid_is_refused(tmp_path, volume, truth, kind: str):
    wide = (3.0, 0.6, 0.6)
    grid = Geometry.axial(volume.shape, wide, (-10.0, -20.0, 100.0))
    if kind == "metaimage":
        path = write_mhd(tmp_path / "a.mhd", truth, wide)
    else:
        path = write(kind, tmp_path, replace(volume, geometry=grid), truth)
    assert refusal(path, volume, scheme=None).code == "MASK_GRID"


@pytest.mark.parametrize("kind", ["nifti", "metaimage"])
def test_c15_a_mask_of_another_shape_is_refused(tmp_path, volume, kind: str):
    small = np.zeros((6, 20, 23), np.uint8)
    grid = Geometry.axial(small.shape, SPACING_MM, (-10.0, -20.0, 100.0))
    if kind == "nifti":
        path = write_nifti(tmp_path / "a.nii", small, grid)
    else:
        path = write_mhd(tmp_path / "a.mhd", small)
    assert refusal(path, volume).code == "MASK_GRID"


@pytest.mark.parametrize("kind", ["nifti", "metaimage"])
@pytest.mark.parametrize("value", [0.999, np.nan, -1.0, 256.0])
def test_c15_values_that_are_no_labels_are_refused(tmp_path, volume, kind, value):
    values = np.zeros(volume.shape, np.float32)
    values[1, 5, 6] = value
    if kind == "nifti":
        path = write_nifti(tmp_path / "a.nii", values, volume.geometry)
    else:
        path = write_mhd(tmp_path / "a.mhd", values)
    assert refusal(path, volume).code == "MASK_VALUES"


@pytest.mark.parametrize("scheme", ["kcalc", "orcascore", "1=LAD"])
def test_c15_a_value_that_is_not_in_the_map_is_refused(tmp_path, volume, scheme: str):
    values = np.zeros(volume.shape, np.uint8)
    values[1, 5, 6:8] = 1, 55
    path = write_nifti(tmp_path / "a.nii", values, volume.geometry)
    error = refusal(path, volume, scheme=scheme)
    assert error.code == "MASK_VALUES"
    assert "received also 55" in error.rule


@pytest.mark.parametrize("kind", ["dicom_seg", "rtstruct"])
def test_c15_labels_of_another_frame_of_reference_are_refused(
    tmp_path, volume, truth, kind: str
):
    facts = replace(volume.acquisition, frame_of_reference_uid="1.2.3.99")
    path = write(kind, tmp_path, volume, truth)
    assert refusal(path, replace(volume, acquisition=facts)).code == "MASK_GRID"


# --- dataset.json of nnU-Net and MSD ------------------------------------------


def in_data_set(tmp_path: Path, volume, values, labels: object) -> Path:
    (tmp_path / "labelsTr").mkdir(exist_ok=True)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    return write_nifti(tmp_path / "labelsTr" / "a.nii.gz", values, volume.geometry)


@pytest.mark.parametrize(
    "names",
    [
        {"background": 0, "RCA": 1, "LAD": 2},
        {"0": "background", "1": "RCA", "2": "LAD"},
    ],
)
def test_the_names_of_dataset_json_count(tmp_path, volume, truth, names):
    values = np.where(truth == RCA, 1, truth).astype(np.uint8)
    labels = read_labels(in_data_set(tmp_path, volume, values, names), volume)
    np.testing.assert_array_equal(labels.array, truth)
    assert labels.vessels_named


def test_one_name_that_is_no_vessel_is_a_plain_mask(tmp_path, volume, truth):
    values = (truth > 0).astype(np.uint8)
    names = {"background": 0, "calcium": 1}
    labels = read_labels(in_data_set(tmp_path, volume, values, names), volume)
    np.testing.assert_array_equal(labels.array, values)
    assert not labels.vessels_named


def test_names_of_no_vessels_are_refused_where_they_occur(tmp_path, volume, truth):
    names = {"background": 0, "LAD": 2, "bone": 4, "RCA": 5}
    path = in_data_set(tmp_path, volume, truth, names)
    assert refusal(path, volume).code == "LABEL_NAMES"
    labels = read_labels(path, volume, scheme="2=LAD,4=0")
    assert np.unique(labels.array).tolist() == [0, LAD]


def test_voxels_that_nnunet_ignores_are_refused(tmp_path, volume, truth):
    names = {"background": 0, "calcium": 2, "ignore": 4}
    assert (
        refusal(in_data_set(tmp_path, volume, truth, names), volume).code
        == "LABEL_IGNORE"
    )


@pytest.mark.parametrize(
    "labels",
    [
        None,
        {},
        [],
        {"a": [1, 2]},
        {"a": 1, "b": 1},
        {"a": "b"},
        {"-1": "a"},
        {"a": 1.5},
    ],
)
def test_a_dataset_json_that_names_no_labels_is_refused(
    tmp_path, volume, truth, labels
):
    path = in_data_set(tmp_path, volume, truth, labels)
    assert refusal(path, volume).code == "DATASET_JSON"


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", '{"labels": '])
def test_a_dataset_json_that_is_broken_is_refused(tmp_path, volume, truth, text: str):
    path = in_data_set(tmp_path, volume, truth, {"LAD": 2})
    (tmp_path / "dataset.json").write_text(text)
    assert refusal(path, volume).code == "DATASET_JSON"


# --- COCA ---------------------------------------------------------------------


def test_coca_by_millimetres_wins_over_the_index(tmp_path, volume, truth):
    roi = coca_roi(square(4, 5, 4.0), geometry=volume.geometry, z=1)
    labels = read_labels(
        write_coca(tmp_path / "a.xml", {55: [roi]}), volume, threshold_hu=130
    )
    assert np.unique(np.argwhere(labels.array)[:, 0]).tolist() == [1]


def test_coca_with_points_counted_from_the_corner_of_a_pixel(tmp_path, volume, truth):
    corner = coca_roi(square(4, 5, 4.0) + 0.5)
    centre = coca_roi(square(4, 5, 4.0), geometry=volume.geometry, z=1)
    roi = {**centre, "Point_px": corner["Point_px"]}
    labels = read_labels(write_coca(tmp_path / "a.xml", {0: [roi]}), volume)
    assert np.argwhere(labels.array).min(axis=0).tolist() == [1, 4, 5]


@pytest.mark.parametrize(("index_lad", "index_rca"), [(1, 3), (4, 2)])
def test_coca_by_index_from_the_end_where_calcium_is(
    tmp_path, volume, truth, index_lad: int, index_rca: int
):
    lad = coca_roi(square(4, 5, 4.0))
    rca = coca_roi(square(9, 13, 4.0), "Right Coronary Artery")
    path = write_coca(tmp_path / "a.xml", {index_lad: [lad], index_rca: [rca]})
    labels = read_labels(path, volume, threshold_hu=130)
    np.testing.assert_array_equal(labels.array, truth)
    assert "LABEL_ORDER" in codes(labels)


def test_coca_by_the_uid_of_the_slice(tmp_path, volume, truth):
    uid = volume.frames[1].sop_instance_uid
    roi = coca_roi(square(4, 5, 4.0), SOPInstanceUID=uid)
    labels = read_labels(
        write_coca(tmp_path / "a.xml", {3: [roi]}), volume, threshold_hu=130
    )
    assert np.unique(np.argwhere(labels.array)[:, 0]).tolist() == [1]


def test_coca_with_calcium_at_both_ends_needs_more(tmp_path, volume):
    array = volume.array.copy()
    array[4, 5:8, 6:9] = 350
    both = replace(volume, array=array)
    roi = coca_roi(square(4, 5, 4.0))
    path = write_coca(tmp_path / "a.xml", {1: [roi]})
    assert refusal(path, both).code == "LABEL_ORDER"
    stated = coca_roi(square(4, 5, 4.0), Max=350.2)
    labels = read_labels(write_coca(tmp_path / "a.xml", {1: [stated]}), both)
    assert np.unique(np.argwhere(labels.array)[:, 0]).tolist() == [4]


def test_coca_outlines_beside_all_calcium_are_refused(tmp_path, volume):
    roi = coca_roi(square(14, 5), geometry=volume.geometry, z=1)
    path = write_coca(tmp_path / "a.xml", {1: [roi]})
    assert refusal(path, volume).code == "LABEL_MISPLACED"


def test_coca_without_rois_is_an_empty_map(tmp_path, volume):
    labels = read_labels(write_coca(tmp_path / "a.xml", {0: [], 1: []}), volume)
    assert not labels.array.any()


def test_coca_images_listed_twice_and_equal_rois_count_once(tmp_path, volume, truth):
    roi = coca_roi(square(4, 5, 4.0), geometry=volume.geometry, z=1)
    image = {"ImageIndex": 3, "NumberOfROIs": 1, "ROIs": [roi]}
    path = tmp_path / "a.xml"
    path.write_bytes(plistlib.dumps({"Images": [image, image]}))
    labels = read_labels(path, volume)
    assert np.count_nonzero(labels.array) == 25
    assert "LABEL_REPEATED" in codes(labels)


def test_coca_neighbours_that_overlap_are_told(tmp_path, volume):
    lad = coca_roi(square(4, 5, 4.0), geometry=volume.geometry, z=1)
    rca = coca_roi(
        square(4, 8, 4.0), "Right Coronary Artery", geometry=volume.geometry, z=1
    )
    labels = read_labels(write_coca(tmp_path / "a.xml", {0: [rca, lad]}), volume)
    assert (labels.array[1, 4:9, 8:10] == LAD).all()
    message = next(f.message for f in labels.findings if f.code == "LABEL_OVERLAP")
    assert "two vessels: 10;" in message


# --- C12: hostile property lists ----------------------------------------------


def test_c12_a_point_is_never_evaluated(tmp_path, volume):
    marker = tmp_path / "evaluated"
    for text in (
        f"(1, open({str(marker)!r}, 'w').close() or 2)",
        "__import__('os').getcwd()",
        "(1, 2, 3)",
        "(1)",
        "(1, nan)",
        "(1, 1e999)",
        "(1, 2",
        "(" * 100_000,
        "(" + "9" * 100_000 + ", 1)",
    ):
        roi = coca_roi(square(4, 5), Point_px=[text] * 4)
        path = write_coca(tmp_path / "a.xml", {0: [roi]})
        assert refusal(path, volume).code == "LABEL_POINTS"
    assert not marker.exists()


@pytest.mark.parametrize("shift", [(-9, 0), (0, 40), (1e300, 0)])
def test_c12_points_outside_the_image_are_refused(tmp_path, volume, shift):
    roi = coca_roi(square(4, 5) + shift)
    path = write_coca(tmp_path / "a.xml", {0: [roi]})
    assert refusal(path, volume).code == "LABEL_POINTS"


def test_c12_an_index_beyond_the_scan_is_refused(tmp_path, volume):
    path = write_coca(tmp_path / "a.xml", {6: [coca_roi(square(4, 5))]})
    assert refusal(path, volume).code == "LABEL_POINTS"


def test_c12_a_roi_of_one_point_is_left_out_with_a_reason(tmp_path, volume):
    grid = volume.geometry
    roi = coca_roi(square(4, 5, 4.0), geometry=grid, z=1)
    point = coca_roi(square(4, 5)[:1], geometry=grid, z=1)
    labels = read_labels(write_coca(tmp_path / "a.xml", {0: [roi, point]}), volume)
    assert np.count_nonzero(labels.array) == 25
    assert "LABEL_SKIPPED" in codes(labels)


@pytest.mark.parametrize("name", ["", "Sternum", "ROI 1"])
def test_c12_an_unknown_vessel_name_is_refused_without_repeating_it(
    tmp_path, volume, name: str
):
    rois = [
        coca_roi(square(4, 5, 4.0), geometry=volume.geometry, z=1),
        coca_roi(square(9, 13, 4.0), name, geometry=volume.geometry, z=3),
    ]
    path = write_coca(tmp_path / "a.xml", {0: rois})
    error = refusal(path, volume)
    assert error.code == "LABEL_NAMES"
    assert not name or name not in str(error)
    labels = read_labels(path, volume, scheme="plain")
    assert np.unique(labels.array).tolist() == [0, 1]


HEAD = b'<?xml version="1.0"?><!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "x"'


@pytest.mark.parametrize(
    "content",
    [
        HEAD + b'[<!ENTITY a "b">]><plist><string>&a;</string></plist>',
        HEAD + b'[<!ENTITY a SYSTEM "file:///etc/passwd">]><plist><a/></plist>',
        HEAD + b"><plist><dict><key>Images</key><array>",
        HEAD + b"><plist><array/></plist>",
        HEAD + b"><plist><dict><key>Images</key><string>x</string></dict></plist>",
        HEAD + b"><plist>" + b"<array>" * 100_000 + b"</array>" * 100_000 + b"</plist>",
        HEAD + b"><plist><integer>" + b"9" * 100_000 + b"</integer></plist>",
    ],
    ids=["entity", "external", "cut", "array", "string", "nested", "integer"],
)
def test_c12_property_lists_that_are_none_are_refused(tmp_path, volume, content: bytes):
    path = tmp_path / "a.xml"
    path.write_bytes(content)
    assert refusal(path, volume).code == "LABEL_BROKEN"


@pytest.mark.parametrize(
    "roi",
    [
        coca_roi(square(4, 5), NumberOfPoints=5),
        coca_roi(square(4, 5), Point_px="(1, 2)"),
        coca_roi(square(4, 5), Point_mm=["(1, 2, 3)"]),
        "text",
    ],
)
def test_c12_a_roi_that_contradicts_itself_is_refused(tmp_path, volume, roi):
    path = tmp_path / "a.xml"
    path.write_bytes(plistlib.dumps({"Images": [{"ImageIndex": 0, "ROIs": [roi]}]}))
    assert refusal(path, volume).code == "LABEL_BROKEN"


def test_c12_more_points_than_an_annotation_has_are_refused(tmp_path, volume):
    zigzag = np.array([[1.0, 2.0], [18.0, 20.0]] * 160_000)
    rows = ["outline,name,x_mm,y_mm,z_mm"]
    mm = volume.geometry.index_to_mm(np.insert(zigzag, 0, 1.0, axis=1))
    rows += [f"1,LAD,{x},{y},{z}" for x, y, z in mm]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(rows))
    assert refusal(path, volume).code == "BUDGET"


# --- tables of outlines -------------------------------------------------------


@pytest.mark.parametrize(
    "row", ["1,LAD,0", "1,LAD,a,0,0", "1", "1,LAD,nan,0,0", '1,"LAD,0,0,0']
)
def test_a_table_that_is_broken_is_refused(tmp_path, volume, row: str):
    path = tmp_path / "a.csv"
    path.write_text(f"outline,name,x_mm,y_mm,z_mm\n{row}\n")
    assert refusal(path, volume).code in ("LABEL_BROKEN", "LABEL_POINTS")


def test_an_outline_between_two_slices_is_refused(tmp_path, volume):
    path = tmp_path / "a.csv"
    points = volume.geometry.index_to_mm([(1.5, y, x) for y, x in square(4, 5)])
    rows = [f"1,LAD,{x},{y},{z}" for x, y, z in points]
    path.write_text("\n".join(["outline,name,x_mm,y_mm,z_mm", *rows]))
    assert refusal(path, volume).code == "MASK_GRID"
