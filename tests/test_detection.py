"""One image compared with its lesions, detection rates, missed lesions and bone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kcalc.errors import GeometryError
from kcalc.evaluation import (
    BoneDistance,
    ImageAgreement,
    LesionOverlap,
    agreement_figures,
    agreement_text,
    compare_image,
    detection_figures,
    missed_lesions,
)

SPACING_MM = (1.0, 0.5, 0.5)


@pytest.fixture
def scan():
    """Return a scan with a block of bone, three marked lesions and a network's mask.

    Bone fills x >= 30. The lesion of 8 voxels lies 5 columns from it, a faint one of
    one voxel beside it, a third one far off. The network finds half of the first, the
    third whole, and one voxel of bone.
    """
    image = np.full((12, 20, 40), 40, np.int16)
    image[:, :, 30:] = 700
    label = np.zeros(image.shape, np.uint8)
    label[2:4, 4:6, 24:26] = 10
    label[6, 10, 29] = 11
    label[9, 15, 2:5] = 10
    image[label > 0] = 300
    image[6, 10, 29], image[2, 4, 24] = 140, 450
    mask = np.zeros(image.shape, bool)
    mask[2, 4:6, 24:26] = True
    mask[9, 15, 2:5] = True
    mask[11, 19, 35] = True
    return image, label, mask


def test_an_image_is_compared_by_hand(scan):
    image, label, mask = scan
    row = compare_image(
        "a", label, mask, SPACING_MM, image_hu=image, reference_vessels=label
    )
    assert (row.voxels_reference, row.voxels_result, row.voxels_both) == (12, 8, 7)
    assert row.dice == pytest.approx(14 / 20)
    assert (row.volume_reference_mm3, row.volume_result_mm3) == (3.0, 2.0)
    large, faint, far = row.reference_lesions
    # Bone begins at column 30, so column 25 is 5 and column 29 one pixel away.
    assert large == LesionOverlap(
        voxels=8,
        volume_mm3=2.0,
        shared_voxels=4,
        peak_hu=450,
        bone_mm=2.5,
        vessel="right ICA",
    )
    assert (faint.matched, faint.peak_hu, faint.bone_mm) == (False, 140, 0.5)
    assert (far.voxels, far.matched, far.bone_mm) == (3, True, 13.0)
    assert faint.vessel == "left ICA"
    assert [lesion.matched for lesion in row.result_lesions] == [True, True, False]
    assert row.result_lesions[2].bone_mm == 0.0
    assert row.result_lesions[0].vessel is None
    assert row.vessels is None


def test_detection_by_number_and_volume_by_hand(scan):
    image, label, mask = scan
    row = compare_image("a", label, mask, SPACING_MM, image_hu=image)
    nothing = compare_image("b", label * 0, mask * 0, SPACING_MM)
    got = detection_figures([row, nothing])
    assert (got["lesions"], got["found"], got["sensitivity"]) == (3, 2, 2 / 3)
    assert (got["result_lesions"], got["true_result_lesions"]) == (3, 2)
    assert got["ppv"] == 2 / 3
    assert got["volume_sensitivity"] == pytest.approx(7 / 12)
    assert got["volume_ppv"] == pytest.approx(7 / 8)
    assert got["volume_f1"] == pytest.approx(14 / 20)
    assert got["false_lesions_per_image"] == 0.5
    assert got["false_mm3_per_image"] == 0.125
    assert got["sensitivity_interval"] == [2 / 3, 2 / 3]  # of one patient with lesions


def test_rates_of_nothing_are_none():
    empty = compare_image("b", np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool),
                          SPACING_MM)  # fmt: skip
    got = detection_figures([empty])
    rates = ("sensitivity", "ppv", "volume_sensitivity", "volume_ppv", "volume_f1")
    assert [got[name] for name in rates] == [None] * 5
    assert got["false_lesions_per_image"] == 0


def test_missed_lesions_by_volume_peak_and_bone(scan):
    image, label, mask = scan
    row = compare_image("a", label, mask, SPACING_MM, image_hu=image)
    got = missed_lesions([row])
    # 2, 0.25 and 0.75 mm3; 450, 140 and 300 HU; 2.5, 0.5 and 13 mm.
    first, second = got["by_volume_mm3"][:2]
    assert (first["to"], first["lesions"], first["missed"]) == (1, 2, 1)
    assert (second["from"], second["lesions"], second["missed_share"]) == (1, 1, 0)
    assert [one["lesions"] for one in got["by_peak_hu"]] == [1, 0, 0, 1, 1]
    assert [one["missed"] for one in got["by_peak_hu"]] == [1, 0, 0, 0, 0]
    assert [one["lesions"] for one in got["by_bone_mm"]] == [1, 1, 0, 0, 1]
    assert got["by_bone_mm"][4]["to"] is None
    hard = got["small_or_faint"][0]
    assert (hard["lesions"], hard["missed"], hard["share_of_missed"]) == (2, 1, 1.0)


def test_without_a_scan_peaks_and_distances_are_unknown(scan):
    _, label, mask = scan
    row = compare_image("a", label, mask, SPACING_MM)
    assert {x.peak_hu for x in row.reference_lesions} == {None}
    assert {x.bone_mm for x in row.reference_lesions} == {None}
    assert sum(one["lesions"] for one in missed_lesions([row])["by_peak_hu"]) == 0


def test_a_scan_without_bone_has_no_distance_to_it(scan):
    image, label, mask = scan
    image[:, :, 30:] = 40
    row = compare_image("a", label, mask, SPACING_MM, image_hu=image)
    assert {x.bone_mm for x in row.reference_lesions} == {None}


def test_lesions_are_joined_by_faces_alone():
    label = np.zeros((3, 3, 3), bool)
    label[0, 0, 0] = label[1, 1, 1] = label[2, 1, 1] = True
    row = compare_image("a", label, label, SPACING_MM)
    assert [x.voxels for x in row.reference_lesions] == [1, 2]


def test_bone_is_large_bright_and_not_marked():
    image = np.zeros((10, 10, 20), np.int16)
    image[:, :, :6] = 130  # 600 mm3
    image[0, 0, 10:15] = 900  # 5 mm3: noise, or a lesion nobody marked
    marked = np.zeros(image.shape, bool)
    marked[:, 0, 5] = True
    bone = BoneDistance(image, marked, (1.0, 1.0, 1.0))
    assert bone.found
    assert bone.mask.sum() == 590
    assert bone.mm(np.array([[5, 0, 5], [0, 5, 9]])).tolist() == [1.0, 4.0]
    assert not BoneDistance(image, marked, (0.5, 1.0, 1.0)).found
    assert np.isinf(BoneDistance(image * 0, marked, (1.0, 1.0, 1.0)).mm(
        np.array([[0, 0, 0]])
    ))  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.bool_, (4, 6, 7)),
    st.tuples(*[st.floats(0.3, 3)] * 3),
)
def test_distances_to_bone_are_those_of_a_distance_transform(bright, spacing):
    from scipy.ndimage import distance_transform_edt

    image = np.where(bright, 200, 0)
    none = np.zeros(image.shape, bool)
    bone = BoneDistance(image, none, spacing, min_bone_mm3=0.0)
    got = bone.mm(np.argwhere(~none)).reshape(image.shape)
    if bright.any():
        expected = distance_transform_edt(~bright, sampling=spacing)
        assert got == pytest.approx(expected, abs=1e-9)
    else:
        assert not bone.found


MASKS = hnp.arrays(np.bool_, (2, 3, 5, 4))


@settings(max_examples=50, deadline=None)
@given(MASKS)
def test_the_two_masks_may_change_places(masks):
    one = compare_image("a", masks[0], masks[1], SPACING_MM)
    other = compare_image("a", masks[1], masks[0], SPACING_MM)
    assert one.reference_lesions == other.result_lesions
    assert one.result_lesions == other.reference_lesions
    if masks[0].any() and masks[1].any():
        assert one.dice == other.dice
    got = detection_figures([one])
    for name in ("sensitivity", "ppv", "volume_sensitivity", "volume_ppv"):
        assert got[name] is None or 0 <= got[name] <= 1
    assert sum(x.voxels for x in one.reference_lesions) == masks[0].sum()
    assert sum(x.shared_voxels for x in one.result_lesions) == one.voxels_both


@settings(max_examples=50, deadline=None)
@given(MASKS)
def test_a_mask_agrees_with_itself(masks):
    row = compare_image("a", masks[0], masks[0], SPACING_MM)
    assert row.dice == 1
    assert all(x.shared_voxels == x.voxels for x in row.reference_lesions)


def test_vessels_of_both_masks_are_compared(scan):
    _, label, mask = scan
    row = compare_image(
        "a",
        label,
        mask,
        SPACING_MM,
        reference_vessels=label,
        result_vessels=np.full(label.shape, 10, np.uint8),
    )
    counts = {
        name: (v.voxels_reference, v.voxels_result, v.voxels_both)
        for name, v in (row.vessels or {}).items()
    }
    assert counts == {"right ICA": (11, 8, 7), "left ICA": (1, 0, 0)}


def test_calcium_without_a_vessel_is_unassigned():
    label = np.array([[[8, 9, 2, 0]]])
    row = compare_image(
        "a", label, label, SPACING_MM, reference_vessels=label, result_vessels=label
    )
    assert (row.vessels or {})["unassigned"].voxels_both == 2
    assert (row.vessels or {})["LAD"].voxels_both == 1


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"result": np.zeros((3, 4, 6), bool)}, ValueError, "shape"),
        ({"result": np.zeros((3, 4, 5))}, TypeError, "probabilities"),
        ({"reference": np.zeros((4, 5), bool)}, ValueError, "axes"),
        ({"image_hu": np.zeros((3, 4, 4))}, ValueError, "shape"),
        ({"spacing_mm": (1, 0, 1)}, GeometryError, "GEOM_SPACING"),
        ({"image_hu": np.full((3, 4, 5), np.nan)}, ValueError, "finite"),
        (
            {
                "reference_vessels": np.full((3, 4, 5), 77),
                "result_vessels": np.full((3, 4, 5), 1),
            },
            ValueError,
            "77",
        ),
    ],
)
def test_labels_that_do_not_match_the_image_are_refused(change, error, words):
    given_ = {
        "reference": np.ones((3, 4, 5), bool),
        "result": np.ones((3, 4, 5), bool),
        "spacing_mm": SPACING_MM,
    }
    with pytest.raises(error, match=words):
        compare_image("a", **(given_ | change))


def test_a_row_survives_json(scan):
    image, label, mask = scan
    row = compare_image(
        "a",
        label,
        mask,
        SPACING_MM,
        image_hu=image,
        reference_vessels=label,
        result_vessels=label,
    )
    assert ImageAgreement.from_dict(json.loads(json.dumps(row.to_dict()))) == row
    with pytest.raises(ValueError, match="voxel_mm3"):
        ImageAgreement.from_dict({"case": "a"})


def test_figures_of_a_test_set_are_json_and_text(scan):
    image, label, mask = scan
    row = compare_image("a", label, mask, SPACING_MM, image_hu=image)
    rows = [
        replace(row, case=str(i), patient=str(i), voxels_reference=12 + i)
        for i in range(10)
    ]
    got = agreement_figures(iter(rows))
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    assert (got["images"], got["patients"]) == (10, 10)
    assert got["dice"] == got["dice_with_reference"]
    assert np.sum(got["volume"]["histogram"]["counts"]) == 10
    assert got["vessels"] is None
    text = agreement_text(got)
    assert "| all images | 10 |" in text
    assert "| ICC(2,1) |" in text
    assert "| volume, mm3: < 1 | 20 | 10 | 50.0 |" in text
    assert "Of all missed lesions 100.0 % are in the last class." in text


def test_figures_of_images_without_calcium_have_no_nan():
    empty = np.zeros((2, 3, 4), bool)
    row = compare_image("a", empty, empty, SPACING_MM)
    got = agreement_figures([row, replace(row, case="b", patient="b")])
    assert json.dumps(got, allow_nan=False)
    assert got["dice"]["mean"] == 1
    assert (got["dice"]["empty_references"], got["dice_with_reference"]) == (2, None)
    assert got["volume"]["icc_2_1"] is None
    assert "No lesion was missed." in agreement_text(got)
    assert "2 with an empty result count 1" in agreement_text(got)


def test_vessels_are_in_the_figures_where_all_rows_have_them(scan):
    _, label, _ = scan
    row = compare_image(
        "a", label, label, SPACING_MM, reference_vessels=label, result_vessels=label
    )
    none = compare_image(
        "b", label * 0, label * 0, SPACING_MM, reference_vessels=label,
        result_vessels=label,
    )  # fmt: skip
    got = agreement_figures([row, none])
    assert got["vessels"]["right ICA"]["pooled_dice"] == 1
    assert got["vessels"]["right ICA"]["volume_reference_mm3"] == 2.75
    assert got["vessels"]["left ICA"]["images"] == 1
    assert "| left ICA | 1 | 100.0 | 0.2 |" in agreement_text(got)
    assert agreement_figures([row, replace(none, vessels=None)])["vessels"] is None


def test_a_case_stands_once_in_a_table(scan):
    _, label, mask = scan
    row = compare_image("a", label, mask, SPACING_MM)
    with pytest.raises(ValueError, match="a twice"):
        agreement_figures([row, row])
    with pytest.raises(ValueError, match="Received: none"):
        agreement_figures([])
