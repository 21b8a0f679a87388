"""Methods against each other on the same images, and two raters of the same scans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kcalc.data import Case, CaseStore
from kcalc.errors import InputError
from kcalc.evaluation import (
    ImageAgreement,
    agreement_figures,
    compare_label_folders,
    compare_methods,
    compare_stores,
    paired_t_test,
    values_by_case,
)
from kcalc.geometry import Geometry
from kcalc.io.nifti import write_nifti


def rows_of(*both: int) -> list[ImageAgreement]:
    """Return images of 10, 20, ... voxels in both masks, with so many shared."""
    return [
        ImageAgreement(
            case=f"case-{i}",
            patient=f"p{i}",
            voxel_mm3=1.0,
            voxels_reference=10 * i,
            voxels_result=10 * i,
            voxels_both=shared,
            reference_lesions=(),
            result_lesions=(),
        )
        for i, shared in enumerate(both, start=1)
    ]


PLAIN = rows_of(5, 12, 24, 32)  # Dice 0.5, 0.6, 0.8, 0.8
BETTER = rows_of(6, 16, 27, 38)  # 0.6, 0.8, 0.9, 0.95
OTHER_SEED = rows_of(8, 16, 27, 38)  # 0.8, 0.8, 0.9, 0.95


def test_methods_are_tested_on_the_dice_of_their_images():
    got = compare_methods(BETTER, reversed(PLAIN))
    expected = paired_t_test([0.6, 0.8, 0.9, 0.95], [0.5, 0.6, 0.8, 0.8])
    assert got["images"] == 4
    assert got["dice"] == expected.to_dict()
    assert got["absolute_volume_error_mm3"]["p"] == 1.0


def test_seeds_of_an_image_are_averaged_before_the_test():
    got = compare_methods([*BETTER, *OTHER_SEED], PLAIN)
    expected = paired_t_test([0.7, 0.8, 0.9, 0.95], [0.5, 0.6, 0.8, 0.8])
    assert got["dice"]["degrees_of_freedom"] == 3
    assert got["dice"]["p"] == pytest.approx(expected.p)


def test_a_test_without_a_value_is_none():
    got = compare_methods(BETTER[:1], PLAIN[:1])
    assert (got["dice"], got["absolute_volume_error_mm3"]) == (None, None)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (BETTER, PLAIN[1:], "case-1"),
        ([], [], "0 and 0 images"),
        (BETTER, [*PLAIN[:3], replace(PLAIN[3], voxels_reference=41)], "2 references"),
    ],
)
def test_methods_on_other_images_are_refused(first, second, words):
    with pytest.raises(ValueError, match=words):
        compare_methods(first, second)


def test_the_values_by_case_are_those_that_are_tested():
    got = values_by_case([*PLAIN[:2], replace(PLAIN[2], voxels_result=36)])
    assert got["dice"] == {
        "case-1": 0.5,
        "case-2": 0.6,
        "case-3": pytest.approx(48 / 66),
    }
    assert got["absolute_volume_error_mm3"]["case-3"] == 6.0
    with pytest.raises(ValueError, match="case-1 twice"):
        values_by_case([*PLAIN, PLAIN[0]])


@pytest.fixture
def scans() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return scans with the labels of two raters, the second of one voxel more."""
    made = {}
    for name, size in (("a", 2), ("b", 3)):
        image = np.full((4, 8, 8), -1000, np.int16)
        image[1, 1:6, 1:6] = 200
        first = np.zeros(image.shape, np.uint8)
        first[1, 1 : 1 + size, 1] = 10
        second = first.copy()
        second[1, 1, 2] = 10
        made[name] = (image, first, second)
    return made


def test_two_stores_are_two_raters(scans, tmp_path: Path):
    stores = [
        CaseStore.write(
            tmp_path / f"rater-{rater}.h5",
            [
                Case(name, made[0], made[rater], (1.0, 0.5, 0.5), f"p-{name}", "test")
                for name, made in scans.items()
            ],
        )
        for rater in (1, 2)
    ]
    rows = list(compare_stores(*stores))
    assert [row.voxels_reference for row in rows] == [2, 3]
    assert [row.voxels_result for row in rows] == [3, 4]
    assert rows[0].patient == "p-a"
    assert list(rows[0].vessels or {}) == ["right ICA"]
    assert rows == list(compare_stores(*stores, split="test"))
    # Volumes 0.5, 0.75 against 0.75, 1 mm3: constant difference.
    volume = agreement_figures(rows)["volume"]
    assert volume["icc_3_1"]["value"] == 1.0
    assert volume["bland_altman"]["bias"] == pytest.approx(0.25)
    with pytest.raises(InputError, match="STORE_SPLIT"):
        list(compare_stores(*stores, split="train"))


def test_stores_of_other_scans_are_refused(scans, tmp_path: Path):
    image, first, _ = scans["a"]
    case = Case("a", image, first, (1.0, 0.5, 0.5), "p", "test")
    store = CaseStore.write(tmp_path / "one.h5", [case])
    other = CaseStore.write(
        tmp_path / "other.h5", [replace(case, image=np.maximum(image, 0))]
    )
    missing = CaseStore.write(tmp_path / "missing.h5", [replace(case, name="b")])
    with pytest.raises(InputError, match=r"RATERS_DIFFER.*another scan of a"):
        list(compare_stores(store, other))
    with pytest.raises(InputError, match=r"RATERS_DIFFER.*in one store alone a, b"):
        list(compare_stores(store, missing))


@pytest.fixture
def folders(scans, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Return the folders of scans and of two raters' NIfTI labels."""
    made = tuple(tmp_path / name for name in ("scans", "first", "second"))
    for place, folder in enumerate(made):
        folder.mkdir()
        for name, arrays in scans.items():
            geometry = Geometry.axial(arrays[0].shape, (1.0, 0.5, 0.5))
            write_nifti(folder / f"{name}.nii.gz", arrays[place], geometry)
    return made


def test_two_folders_of_labels_are_two_raters(folders):
    scans, first, second = folders
    rows = list(
        compare_label_folders(scans, first, second, unit="HU", tube_voltage_kvp=120)
    )
    assert [row.case for row in rows] == ["a", "b"]
    assert [(row.voxels_reference, row.voxels_both) for row in rows] == [(2, 2), (3, 3)]
    assert [row.voxels_result for row in rows] == [3, 4]
    assert rows[0].reference_lesions[0].peak_hu == 200


def test_folders_whose_cases_differ_are_refused(folders, tmp_path: Path):
    scans, first, second = folders
    (second / "b.nii.gz").unlink()
    with pytest.raises(InputError, match=r"RATERS_DIFFER.*one rater alone, b"):
        list(compare_label_folders(scans, first, second, unit="HU"))
    (first / "b.nii.gz").unlink()
    (scans / "a.nii.gz").rename(scans / "c.nii.gz")
    with pytest.raises(InputError, match=r"RATERS_DIFFER.*no scan named a"):
        list(compare_label_folders(scans, first, second))
    (first / "a.csv").write_text("x")
    with pytest.raises(InputError, match=r"RATERS_DIFFER.*two named a"):
        list(compare_label_folders(scans, first, second))
    with pytest.raises(InputError, match="NOT_FOUND"):
        list(compare_label_folders(scans, tmp_path / "nowhere", second))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no label at all"):
        list(compare_label_folders(scans, tmp_path / "empty", second))
