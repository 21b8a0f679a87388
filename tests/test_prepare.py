"""prepare_store: every layout, every problem told, no leak, whole or absent."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import write_series
from label_files import coca_roi, rtstruct, save, seg, square, write_coca, write_mhd

import kcalc
from kcalc.cli import main
from kcalc.cli import prepare as prepare_command
from kcalc.data import (
    CasesRefusedError,
    CaseStore,
    layouts,
    prepare_case,
    prepare_store,
)
from kcalc.geometry import Geometry
from kcalc.io.nifti import write_nifti

SHAPE = (4, 16, 18)
SPACING_MM = (3.0, 0.5, 0.5)
ORIGIN_MM = (-10.0, -20.0, 100.0)
GRID = Geometry.axial(SHAPE, SPACING_MM, ORIGIN_MM)
LAD, RCA, UNNAMED = 2, 4, 8


def scan(number: int = 0) -> np.ndarray:
    """Return a scan with two pieces of calcium, another one for every number."""
    array = np.full(SHAPE, -1000, np.int16)
    array[:, 2:-2, 2:-2] = 40
    array[1, 5:8, 6:9] = 400
    array[2, 10:12, 12:14] = 300
    array[0, 2, 2] = number
    return array


def truth(lad: int = LAD, rca: int = RCA) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 5:8, 6:9] = lad
    labels[2, 10:12, 12:14] = rca
    return labels


# --- data sets ----------------------------------------------------------------


def nnunet_v2(root: Path, count: int = 5, endings: str = ".nii.gz") -> None:
    names = {"background": 0, "RCA": 1, "LAD": 2}
    nnunet(root, names, lambda n: f"case_{n}_0000{endings}", count, endings)


def nnunet(root: Path, names: Any, image: Callable[[int], str], count, ending) -> None:
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    (root / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "CT"}, "labels": names})
    )
    for n in range(count):
        write_nifti(root / "imagesTr" / image(n), scan(n), GRID)
        label = truth(rca=1)
        write_nifti(root / "labelsTr" / f"case_{n}{ending}", label, GRID)


def nnunet_v1(root: Path) -> None:
    names = {"0": "background", "1": "RCA", "2": "LAD"}
    nnunet(root, names, lambda n: f"case_{n}_0000.nii.gz", 5, ".nii.gz")


def msd(root: Path) -> None:
    names = {"0": "background", "1": "RCA", "2": "LAD"}
    nnunet(root, names, lambda n: f"case_{n}.nii.gz", 5, ".nii.gz")
    (root / "imagesTr" / "._case_0.nii.gz").write_bytes(b"of a Macintosh")


def orcascore(root: Path) -> None:
    for folder in ("Images", "Reference standard"):
        (root / "Training Set" / folder).mkdir(parents=True)
    for n in range(5):
        home = root / "Training Set"
        write_mhd(home / "Images" / f"TRV1P{n}CTI.mhd", scan(n))
        write_mhd(home / "Images" / f"TRV1P{n}CTAI.mhd", scan(n))  # with contrast
        write_mhd(home / "Reference standard" / f"TRV1P{n}R.mhd", truth(1, 3))


def coca(root: Path) -> None:
    home = root / "Gated_release_final"
    (home / "calcium_xml").mkdir(parents=True)
    for n in range(5):
        write_series(
            home / "patient" / str(n) / "series", scan(n), series_uid=f"1.2.{n}"
        )
        lad = coca_roi(square(4, 5, 4.0), geometry=GRID, z=1)
        rca = coca_roi(square(9, 11, 3.0), "Right Coronary Artery", geometry=GRID, z=2)
        write_coca(home / "calcium_xml" / f"{n}.xml", {0: [lad], 1: [rca]})


def folders(root: Path) -> None:
    for n in range(5):
        folder = root / f"Surname{n}__1"
        folder.mkdir(parents=True)
        write_nifti(folder / "image.nii.gz", scan(n), GRID)
        write_nifti(folder / "label.nii.gz", truth(), GRID)


def dicom(root: Path) -> None:
    for n in range(5):
        folder = root / f"Surname{n}"
        write_series(folder / "ct", scan(n), series_uid=f"1.2.{n}", edit=patient(n))
        if n % 2:
            regions = {
                "LAD": [(1, square(4, 5, 4.0))],
                "RCA": [(2, square(9, 11, 3.0))],
            }
            save(rtstruct(GRID, regions), folder / "labels.dcm")
        else:
            masks = {"LAD": truth() == LAD, "RCA": truth() == RCA}
            save(seg(GRID, masks), folder / "labels.dcm")


def patient(number: object) -> Callable:
    def edit(ds, index):
        ds.PatientID = f"SECRET-{number}"

    return edit


LAYOUTS = {
    "nnunet": [nnunet_v1, nnunet_v2, msd],
    "orcascore": [orcascore],
    "coca": [coca],
    "folders": [folders],
    "dicom": [dicom],
}


@pytest.mark.parametrize(
    ("layout", "make"),
    [(name, make) for name, makers in LAYOUTS.items() for make in makers],
)
def test_every_layout_gives_the_same_cases(tmp_path: Path, layout: str, make):
    root, out = tmp_path / "data", tmp_path / "out" / "cases.h5"
    make(root)
    report = prepare_store(root, out)
    assert (report.layout, report.problems) == (layout, ())
    # The series of `coca` have one PatientID, as de-identified ones may.
    assert len(report.warnings) == (1 if layout == "coca" else 0)
    store = CaseStore(out)
    assert [r.name for r in store.records] == [f"case-000{n}" for n in range(1, 6)]
    for n, record in enumerate(store.records):
        np.testing.assert_array_equal(store.image(record.name), scan(n))
        np.testing.assert_array_equal(store.label(record.name), truth())
        assert record.spacing_mm == SPACING_MM
    splits = sorted(record.split for record in store.records)
    assert splits == ["test", "train", "train", "train", "validation"]
    assert sorted(p.name for p in out.parent.iterdir()) == [
        "cases.h5",
        "cases.h5.report.json",
    ]


def test_the_layout_can_be_named_and_must_fit(tmp_path: Path):
    folders(tmp_path / "data")
    out = tmp_path / "cases.h5"
    assert prepare_store(tmp_path / "data", out, layout="folders").written
    with pytest.raises(kcalc.InputError, match="DATA_EMPTY"):
        prepare_store(tmp_path / "data", out, layout="coca")
    with pytest.raises(ValueError, match="layout must be one of"):
        prepare_store(tmp_path / "data", out, layout="brats")


def test_two_layouts_in_one_folder_need_a_choice(tmp_path: Path):
    folders(tmp_path)
    orcascore(tmp_path)
    with pytest.raises(kcalc.InputError, match="DATA_LAYOUT"):
        prepare_store(tmp_path, tmp_path / "cases.h5")
    report = prepare_store(tmp_path, tmp_path / "cases.h5", layout="orcascore")
    assert len(report.cases) == 5


@pytest.mark.parametrize("make", [lambda root: None, lambda root: root.mkdir()])
def test_no_data_set_is_refused(tmp_path: Path, make):
    make(tmp_path / "data")
    with pytest.raises(kcalc.InputError, match=r"NOT_FOUND|DATA_EMPTY"):
        prepare_store(tmp_path / "data", tmp_path / "cases.h5")


# --- labels in the store ------------------------------------------------------


def one_case(root: Path, label: np.ndarray, array: np.ndarray | None = None) -> None:
    folder = root / "a"
    folder.mkdir(parents=True)
    write_nifti(folder / "image.nii.gz", scan() if array is None else array, GRID)
    write_nifti(folder / "label.nii.gz", label, GRID)


def stored_label(tmp_path: Path, **arguments: Any) -> np.ndarray:
    prepare_store(tmp_path / "data", tmp_path / "cases.h5", **arguments)
    return np.asarray(CaseStore(tmp_path / "cases.h5").label("case-0001"))


def test_a_plain_mask_names_no_vessel_in_the_store(tmp_path: Path):
    one_case(tmp_path / "data", (truth() > 0).astype(np.uint8))
    np.testing.assert_array_equal(stored_label(tmp_path), truth(UNNAMED, UNNAMED))


def test_labels_are_cut_at_130_hu_before_hu_are_rounded(tmp_path: Path):
    array = scan().astype(np.float32)
    array[1, 5, 6:9] = [129.6, 130.0, 130.4]
    one_case(tmp_path / "data", truth(), array)
    label = stored_label(tmp_path)
    assert label[1, 5, 6:9].tolist() == [0, LAD, LAD]
    facts = json.loads((tmp_path / "cases.h5.report.json").read_text())["cases"][0]
    assert "LABEL_CUT" in {finding["code"] for finding in facts["findings"]}


def test_aorta_and_valves_are_no_coronary_calcium(tmp_path: Path):
    one_case(tmp_path / "data", truth(rca=6))
    np.testing.assert_array_equal(stored_label(tmp_path), truth(rca=0))


def test_a_scheme_counts_for_every_case(tmp_path: Path):
    one_case(tmp_path / "data", truth(70, 71))
    label = stored_label(tmp_path, scheme="70=LAD,71=0")
    np.testing.assert_array_equal(label, truth(rca=0))


def test_labels_beside_all_calcium_are_a_problem_and_no_silent_zero(tmp_path: Path):
    label = np.zeros(SHAPE, np.uint8)
    label[3, 3:6, 3:6] = 1
    one_case(tmp_path / "data", label)
    with pytest.raises(CasesRefusedError) as caught:
        prepare_store(tmp_path / "data", tmp_path / "cases.h5")
    assert [p.error.code for p in caught.value.report.problems] == ["LABEL_MISPLACED"]


def test_an_empty_mask_is_a_case_without_calcium(tmp_path: Path):
    one_case(tmp_path / "data", np.zeros(SHAPE, np.uint8))
    assert not stored_label(tmp_path).any()


# --- problems -----------------------------------------------------------------


def spoil(root: Path) -> list[str]:
    """Spoil five cases of the layout ``folders``, each in its own way."""
    folders(root)
    extra = root / "Surname5"
    extra.mkdir()
    write_nifti(extra / "image.nii.gz", scan(5), GRID)
    first, second, third, fourth, _ = (root / f"Surname{n}__1" for n in range(5))
    os.truncate(first / "image.nii.gz", 100)
    (second / "image.nii.gz").unlink()
    other = Geometry.axial(SHAPE, (3.0, 0.6, 0.5), ORIGIN_MM)
    write_nifti(third / "label.nii.gz", truth(), other)
    write_nifti(fourth / "label.nii.gz", truth() * np.float32(0.999), GRID)
    return ["NIFTI_BROKEN", "DATA_NO_SCAN", "MASK_GRID", "MASK_VALUES", "DATA_NO_LABEL"]


def test_c15_every_problem_is_told_and_not_the_first_alone(tmp_path: Path):
    codes = spoil(tmp_path / "data")
    out = tmp_path / "out" / "cases.h5"
    with pytest.raises(CasesRefusedError) as caught:
        prepare_store(tmp_path / "data", out)
    error = caught.value
    assert (error.code, error.exit_code) == ("DATA_REFUSED", 3)
    assert "5 of 6 have a problem" in error.rule
    found = [problem.error.code for problem in error.report.problems]
    assert found[1:] == codes[1:]
    assert found[0] in ("TRUNCATED", "NIFTI_BROKEN")
    text = error.report.text()
    assert all(f"Surname{n}" in text for n in (0, 1, 2, 3, 5))
    assert not out.exists()
    written = json.loads((out.parent / "cases.h5.report.json").read_text())
    assert (written["written"], written["num_problems"]) == (False, 5)
    assert "Surname" not in json.dumps(written)


def test_cases_with_problems_are_left_out_only_where_it_is_asked(tmp_path: Path):
    spoil(tmp_path / "data")
    out = tmp_path / "out" / "cases.h5"
    report = prepare_store(tmp_path / "data", out, leave_out=True)
    assert report.written
    assert [record.name for record in CaseStore(out).records] == ["case-0005"]
    assert len(report.problems) == 5


def test_a_data_set_of_problems_alone_gives_no_store(tmp_path: Path):
    folder = tmp_path / "data" / "a"
    folder.mkdir(parents=True)
    write_nifti(folder / "image.nii.gz", scan(), GRID)
    with pytest.raises(kcalc.InputError, match="STORE_EMPTY"):
        prepare_store(tmp_path / "data", tmp_path / "cases.h5", leave_out=True)
    assert not (tmp_path / "cases.h5").exists()


def test_scans_without_labels_can_be_said_to_be_free_of_calcium(tmp_path: Path):
    coca(tmp_path / "data")
    xml = tmp_path / "data" / "Gated_release_final" / "calcium_xml" / "3.xml"
    xml.unlink()
    out = tmp_path / "cases.h5"
    with pytest.raises(CasesRefusedError):
        prepare_store(tmp_path / "data", out)
    prepare_store(tmp_path / "data", out, unlabelled="empty")
    assert not np.asarray(CaseStore(out).label("case-0004")).any()
    with pytest.raises(ValueError, match="unlabelled must be"):
        prepare_store(tmp_path / "data", out, unlabelled="ignore")


def test_annotations_without_a_scan_are_a_problem(tmp_path: Path):
    coca(tmp_path / "data")
    home = tmp_path / "data" / "Gated_release_final" / "calcium_xml"
    write_coca(home / "99.xml", {})
    with pytest.raises(CasesRefusedError) as caught:
        prepare_store(tmp_path / "data", tmp_path / "cases.h5")
    assert [p.error.code for p in caught.value.report.problems] == ["DATA_NO_SCAN"]


def test_a_case_of_two_channels_or_two_files_is_a_problem(tmp_path: Path):
    nnunet_v2(tmp_path / "a")
    write_nifti(tmp_path / "a" / "imagesTr" / "case_0_0001.nii.gz", scan(), GRID)
    orcascore(tmp_path / "b")
    (tmp_path / "b" / "copy").mkdir()
    write_mhd(tmp_path / "b" / "copy" / "TRV1P0CTI.mhd", scan())
    for name in ("a", "b"):
        with pytest.raises(CasesRefusedError) as caught:
            prepare_store(tmp_path / name, tmp_path / "cases.h5")
        codes = [p.error.code for p in caught.value.report.problems]
        assert codes == ["DATA_SEVERAL"]


def test_two_objects_of_labels_in_one_folder_are_a_problem(tmp_path: Path):
    dicom(tmp_path / "data")
    save(seg(GRID, {"LAD": truth() > 0}), tmp_path / "data" / "Surname0" / "b.dcm")
    with pytest.raises(CasesRefusedError) as caught:
        prepare_store(tmp_path / "data", tmp_path / "cases.h5")
    codes = [p.error.code for p in caught.value.report.problems]
    assert codes == ["DATA_SEVERAL"]


# --- leaks --------------------------------------------------------------------


def test_e13_all_scans_of_a_patient_are_in_one_split(tmp_path: Path):
    for n in range(12):
        folder = tmp_path / "data" / f"p{n // 2}__{n % 2}"
        folder.mkdir(parents=True)
        write_nifti(folder / "image.nii.gz", scan(n), GRID)
        write_nifti(folder / "label.nii.gz", truth(), GRID)
    for seed in range(4):
        out = tmp_path / f"{seed}.h5"
        prepare_store(tmp_path / "data", out, seed=seed)
        records = CaseStore(out).records
        for n in range(0, 12, 2):
            assert records[n].split == records[n + 1].split
            assert records[n].patient == records[n + 1].patient


def test_e13_one_image_under_two_patients_is_a_leak(tmp_path: Path):
    folders(tmp_path / "data")
    folder = tmp_path / "data" / "Surname3__1"
    write_mhd(folder / "image.mhd", scan(1))  # the same voxels in another format
    (folder / "image.nii.gz").unlink()
    out = tmp_path / "cases.h5"
    with pytest.raises(CasesRefusedError) as caught:
        prepare_store(tmp_path / "data", out)
    (problem,) = caught.value.report.problems
    assert (problem.case, problem.error.code) == ("case-0004", "LEAK")
    assert "case-0002" in problem.error.rule
    prepare_store(tmp_path / "data", out, leave_out=True)
    assert len(CaseStore(out)) == 4


def test_one_image_labelled_twice_for_one_patient_is_none(tmp_path: Path):
    for reader in ("1", "2"):
        folder = tmp_path / "data" / f"p__{reader}"
        folder.mkdir(parents=True)
        write_nifti(folder / "image.nii.gz", scan(), GRID)
        write_nifti(folder / "label.nii.gz", truth(), GRID)
    report = prepare_store(tmp_path / "data", tmp_path / "cases.h5")
    assert len(report.cases) == 2
    # One patient alone cannot be in three splits.
    assert len([w for w in report.warnings if "too few patients" in w]) == 2


def test_e13_one_patient_id_under_two_names_is_one_patient(tmp_path: Path):
    dicom(tmp_path / "data")
    for n, number in ((5, 0), (6, 5)):
        folder = tmp_path / "data" / f"Other{n}"
        write_series(
            folder / "ct", scan(n), series_uid=f"1.2.{n}", edit=patient(number)
        )
        save(seg(GRID, {"LAD": truth() > 0}), folder / "labels.dcm")
    out = tmp_path / "cases.h5"
    report = prepare_store(tmp_path / "data", out)
    records = {r.name: r for r in CaseStore(out).records}
    # Other5 comes before Surname0, whose PatientID it has.
    assert records["case-0001"].patient == records["case-0003"].patient
    assert len({r.patient for r in records.values()}) == 6
    assert "case-0001, case-0003" in report.warnings[0]
    assert "SECRET" not in json.dumps(report.to_dict()) + report.text()


def test_a_patient_id_in_most_scans_links_them_and_in_all_is_a_placeholder(
    tmp_path: Path,
):
    for root, last in (("most", "other"), ("all", "one")):
        for n in range(4):
            folder = tmp_path / root / f"p{n}"
            number = last if n == 3 else "one"
            write_series(folder / "image", scan(n), edit=patient(number))
            write_nifti(folder / "label.nii.gz", truth(), GRID)
    report = prepare_store(tmp_path / "most", tmp_path / "most.h5")
    assert len({case.patient for case in report.cases}) == 2
    assert "taken as one patient's" in report.warnings[0]
    report = prepare_store(tmp_path / "all", tmp_path / "all.h5")
    assert len({case.patient for case in report.cases}) == 4
    assert "taken as a placeholder" in report.warnings[0]


def test_c17_what_cannot_be_listed_and_links_to_folders_are_told(tmp_path: Path):
    folders(tmp_path / "data")
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "data" / "Surname0__1" / "link")
    report = prepare_store(tmp_path / "data", tmp_path / "cases.h5")
    assert "Links to folders were not followed: 1." in report.warnings


def test_e13_a_patient_in_both_given_splits_is_a_leak(tmp_path: Path):
    nnunet_v2(tmp_path / "data")
    for folder in ("imagesTs", "labelsTs"):
        (tmp_path / "data" / folder).mkdir()
    for name, number in (("case_1", 10), ("case_9", 11)):
        place = tmp_path / "data"
        write_nifti(place / "imagesTs" / f"{name}_0000.nii.gz", scan(number), GRID)
        write_nifti(place / "labelsTs" / f"{name}.nii.gz", truth(rca=1), GRID)
    out = tmp_path / "cases.h5"
    with pytest.raises(CasesRefusedError) as caught:
        prepare_store(tmp_path / "data", out)
    assert [p.case for p in caught.value.report.problems] == ["case-0006"]
    prepare_store(tmp_path / "data", out, leave_out=True)
    splits = {record.name: record.split for record in CaseStore(out).records}
    assert splits.pop("case-0007") == "test"
    assert set(splits.values()) == {"train", "validation"}


def test_test_images_without_labels_are_no_cases(tmp_path: Path):
    nnunet_v2(tmp_path / "data")
    (tmp_path / "data" / "imagesTs").mkdir()
    write_nifti(tmp_path / "data" / "imagesTs" / "case_9_0000.nii.gz", scan(9), GRID)
    assert len(prepare_store(tmp_path / "data", tmp_path / "cases.h5").cases) == 5


# --- kills --------------------------------------------------------------------


def test_e1_a_call_that_was_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch):
    folders(tmp_path / "data")
    out = tmp_path / "out" / "cases.h5"
    whole = tmp_path / "whole.h5"
    prepare_store(tmp_path / "data", whole)
    read: list[str] = []
    original = prepare_case.read_volume

    def counted(path, **arguments):
        if len(read) == 3:
            raise KeyboardInterrupt
        read.append(path.parent.name)
        return original(path, **arguments)

    monkeypatch.setattr(prepare_case, "read_volume", counted)
    with pytest.raises(KeyboardInterrupt):
        prepare_store(tmp_path / "data", out)
    assert not out.exists()
    read.clear()
    prepare_store(tmp_path / "data", out)
    assert read == ["Surname3__1", "Surname4__1"]
    assert CaseStore(out).fingerprint() == CaseStore(whole).fingerprint()
    assert [p.name for p in out.parent.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("ending", [".h5", ".json"])
def test_a_kept_case_that_was_damaged_is_read_again(tmp_path: Path, ending: str):
    spoil(tmp_path / "data")
    out = tmp_path / "cases.h5"
    with pytest.raises(CasesRefusedError):
        prepare_store(tmp_path / "data", out)
    (kept,) = (tmp_path / ".cases.h5.parts").glob(f"*{ending}")
    kept.write_bytes(kept.read_bytes()[:50])
    prepare_store(tmp_path / "data", out, leave_out=True)
    np.testing.assert_array_equal(CaseStore(out).label("case-0005"), truth())


@pytest.mark.slow
def test_e1_a_call_that_was_killed_goes_on_and_leaves_nothing_behind(tmp_path: Path):
    folders(tmp_path / "data")
    for n in range(5):  # larger, so that the kill finds it at work
        image = np.full((60, 256, 256), -1000, np.int16)
        image[:, 30:-30, 30:-30] = 40
        image[10, 100:110, 100:110] = 300 + n
        grid = Geometry.axial(image.shape, SPACING_MM)
        folder = tmp_path / "data" / f"Surname{n}__1"
        write_nifti(folder / "image.nii.gz", image, grid)
        write_nifti(folder / "label.nii.gz", (image > 130).astype(np.uint8), grid)
    whole, out = tmp_path / "whole.h5", tmp_path / "out" / "cases.h5"
    prepare_store(tmp_path / "data", whole)
    command = [sys.executable, "-m", "kcalc.cli", "prepare", "-o", str(out)]
    command += ["-i", str(tmp_path / "data")]
    parts = out.with_name(".cases.h5.parts")
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 120
        while not list(parts.glob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    assert not out.exists()
    assert list(parts.glob("*.json"))
    subprocess.run(command, check=True, capture_output=True)
    assert CaseStore(out).fingerprint() == CaseStore(whole).fingerprint()
    assert [path.name for path in out.parent.iterdir() if path.name[0] == "."] == []


@pytest.mark.parametrize("changed", ["image.nii.gz", "label.nii.gz"])
def test_e8_a_case_whose_files_changed_is_read_again(
    tmp_path: Path, monkeypatch, changed: str
):
    spoil(tmp_path / "data")
    out = tmp_path / "cases.h5"
    with pytest.raises(CasesRefusedError):
        prepare_store(tmp_path / "data", out)
    folder = tmp_path / "data" / "Surname4__1"
    array = scan(77) if changed == "image.nii.gz" else truth(rca=3)
    write_nifti(folder / changed, array, GRID)
    prepare_store(tmp_path / "data", out, leave_out=True)
    store = CaseStore(out)
    values = store.image if changed == "image.nii.gz" else store.label
    np.testing.assert_array_equal(values("case-0005"), array)


def test_a_former_store_stays_where_a_new_one_is_refused(tmp_path: Path):
    folders(tmp_path / "data")
    out = tmp_path / "cases.h5"
    prepare_store(tmp_path / "data", out)
    before = out.read_bytes()
    (tmp_path / "data" / "Surname0__1" / "label.nii.gz").unlink()
    with pytest.raises(CasesRefusedError):
        prepare_store(tmp_path / "data", out)
    assert out.read_bytes() == before


# --- the command --------------------------------------------------------------


def test_the_command_writes_and_tells(tmp_path: Path, capsys):
    folders(tmp_path / "data")
    out = tmp_path / "cases.h5"
    assert main(["prepare", "-i", str(tmp_path / "data"), "-o", str(out)]) == 0
    told = capsys.readouterr()
    assert "Layout folders: 5 cases" in told.out
    assert "Training split, supervised voxels: " in told.out
    assert len(CaseStore(out)) == 5


def test_the_command_refuses_after_listing_everything(tmp_path: Path, capsys):
    codes = spoil(tmp_path / "data")
    arguments = ["prepare", "-i", str(tmp_path / "data"), "-o"]
    out = str(tmp_path / "cases.h5")
    assert main([*arguments, out]) == 3
    told = capsys.readouterr()
    assert all(code in told.out for code in codes[1:])
    assert "DATA_REFUSED" in told.err
    assert main([*arguments, out, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["num_problems"] == 5
    assert main([*arguments, out, "--leave-out"]) == 0


def test_the_command_knows_every_layout():
    parser = argparse.ArgumentParser()
    prepare_command.add(parser.add_subparsers())
    commands = next(a for a in parser._actions if a.choices)
    options = commands.choices["prepare"]._option_string_actions
    assert list(options["--format"].choices) == list(layouts.LAYOUTS)


def test_a_store_in_the_place_of_a_folder_is_refused_before_anything_is_read(
    tmp_path: Path, capsys
):
    folders(tmp_path / "data")
    (tmp_path / "cases.h5").mkdir()
    arguments = ["prepare", "-i", str(tmp_path / "data")]
    assert main([*arguments, "-o", str(tmp_path / "cases.h5")]) == 7
    assert "WRITE_FAILED" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["1", "0.5,0.5", "0.9,0.9,0.9", "a,b,c", "-1,1,1"])
def test_fractions_that_are_none_are_a_usage_error(tmp_path: Path, text: str):
    arguments = ["prepare", "-i", "x", "-o", "y", "--fractions", text]
    assert main(arguments) == 2
