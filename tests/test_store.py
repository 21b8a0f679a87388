"""CaseStore: what is written comes back; what is not its own is refused."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from kcalc import InputError
from kcalc.data import Case, CaseStore
from kcalc.data.tables import MAX_SAMPLED_VOXELS
from kcalc.errors import ResourceError

SHAPE = (4, 6, 8)


def make_case(name: str = "a", split: str = "train", **changes: object) -> Case:
    rng = np.random.default_rng(5)
    image = rng.integers(-100, 100, SHAPE).astype(np.int16)
    label = np.zeros(SHAPE, np.uint8)
    image[1, 2, 3:5] = 400
    label[1, 2, 3:5] = 2
    image[2, 0, 0] = 130
    case = Case(name, image, label, (3.0, 0.5, 0.5), f"patient-{name}", split, 120.0)
    return replace(case, **changes)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    CaseStore.write(
        tmp_path / "cases.h5",
        [make_case("a"), make_case("b", "validation"), make_case("c", "test")],
    )
    return tmp_path / "cases.h5"


def test_a_case_comes_back_as_it_was_written(path):
    store, case = CaseStore(path), make_case()
    record = store["a"]
    assert (record.split, record.patient) == ("train", "patient-a")
    assert record.shape_zyx == SHAPE
    assert record.spacing_mm == (3.0, 0.5, 0.5)
    assert record.tube_voltage_kvp == 120.0
    np.testing.assert_array_equal(store.image("a"), case.image)
    np.testing.assert_array_equal(store.label("a"), case.label)
    assert (store.image("a").dtype, store.label("a").dtype) == (np.int16, np.uint8)


def test_an_unknown_tube_voltage_stays_unknown(tmp_path):
    store = CaseStore.write(tmp_path / "s.h5", [make_case(tube_voltage_kvp=None)])
    assert store["a"].tube_voltage_kvp is None


def test_sampling_tables_name_positive_and_hard_negative_voxels(path):
    store = CaseStore(path)
    assert store.positive_zyx("a").tolist() == [[1, 2, 3], [1, 2, 4]]
    assert store.hard_negative_zyx("a").tolist() == [[2, 0, 0]]
    assert store.positive_slices("a").tolist() == [1]


def test_sampling_tables_are_cut_to_their_maximum(tmp_path):
    image = np.full((2, 80, 80), 200, np.int16)
    case = make_case(image=image, label=np.zeros(image.shape, np.uint8))
    table = CaseStore.write(tmp_path / "s.h5", [case]).hard_negative_zyx("a")
    assert table.shape == (MAX_SAMPLED_VOXELS, 3)
    assert len(np.unique(table, axis=0)) == MAX_SAMPLED_VOXELS


def test_a_case_without_calcium_has_empty_tables(tmp_path):
    case = make_case(image=np.zeros(SHAPE, np.int16), label=np.zeros(SHAPE, np.uint8))
    store = CaseStore.write(tmp_path / "s.h5", [case])
    assert store.positive_zyx("a").shape == (0, 3)
    assert store.hard_negative_zyx("a").shape == (0, 3)
    assert store.positive_slices("a").shape == (0,)


def test_splits_list_their_cases(path):
    store = CaseStore(path)
    assert [record.name for record in store.split("validation")] == ["b"]


def test_a_split_without_cases_is_refused(tmp_path):
    store = CaseStore.write(tmp_path / "s.h5", [make_case()])
    with pytest.raises(InputError, match=r"STORE_SPLIT.*'test'; it has none"):
        store.split("test")


def test_arrays_cannot_be_written_to(path):
    with pytest.raises(ValueError, match="read-only"):
        CaseStore(path).image("a")[0, 0, 0] = 1


def test_the_fingerprint_follows_content_and_split(path, tmp_path):
    def fingerprint(**changes: object) -> str:
        cases = [make_case("a", **changes), make_case("b", "validation")]
        return CaseStore.write(tmp_path / "other.h5", cases).fingerprint()

    image = make_case().image.copy()
    image[0, 0, 0] += 1
    prints = [
        fingerprint(),
        fingerprint(),
        fingerprint(image=image),
        fingerprint(spacing_mm=(2.5, 0.5, 0.5)),
        fingerprint(split="test"),
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


def test_cases_are_pulled_one_at_a_time(tmp_path):
    events: list[str] = []

    def cases() -> Iterator[Case]:
        for name in ("a", "b"):
            events.append(f"made {name}")
            yield make_case(name)
            events.append(f"written {name}")

    CaseStore.write(tmp_path / "s.h5", cases())
    assert events == ["made a", "written a", "made b", "written b"]


def test_an_error_while_writing_leaves_the_former_file(path):
    before = path.read_bytes()

    def cases() -> Iterator[Case]:
        yield make_case()
        raise RuntimeError("renderer failed")

    with pytest.raises(RuntimeError, match="renderer failed"):
        CaseStore.write(path, cases())
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["cases.h5"]


def test_a_full_disk_is_a_resource_error_and_leaves_the_former_file(path, monkeypatch):
    before = path.read_bytes()

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(ResourceError, match=r"WRITE_FAILED.*No space left") as caught:
        CaseStore.write(path, [make_case()])
    assert caught.value.exit_code == 7
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["cases.h5"]


def test_a_source_that_is_missing_is_not_taken_for_a_full_disk(tmp_path):
    def cases() -> Iterator[Case]:
        yield make_case()
        (tmp_path / "absent").read_bytes()

    with pytest.raises(FileNotFoundError, match="absent"):
        CaseStore.write(tmp_path / "s.h5", cases())
    assert list(tmp_path.iterdir()) == []


def test_two_cases_of_one_name_are_refused(tmp_path):
    with pytest.raises(InputError, match="STORE_CASE: Names of cases must differ"):
        CaseStore.write(tmp_path / "s.h5", [make_case(), make_case()])


def test_a_store_without_cases_is_refused(tmp_path):
    with pytest.raises(InputError, match="STORE_EMPTY"):
        CaseStore.write(tmp_path / "s.h5", [])
    assert list(tmp_path.iterdir()) == []


def test_a_patient_in_two_splits_is_refused_when_written(tmp_path):
    cases = [make_case("a"), make_case("b", "test", patient="patient-a")]
    with pytest.raises(InputError, match="LEAK"):
        CaseStore.write(tmp_path / "s.h5", cases)


def test_a_patient_in_two_splits_is_refused_when_opened(path):
    with h5py.File(path, "r+") as file:
        file["cases/b"].attrs["patient"] = "patient-a"
    with pytest.raises(InputError, match="LEAK"):
        CaseStore(path)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": "a/b"}, "name must be a plain name"),
        ({"name": ".."}, "name must be a plain name"),
        ({"image": np.zeros(SHAPE, np.float32)}, "image must be int16 zyx"),
        ({"label": np.zeros((1, 6, 8), np.uint8)}, r"label must be uint8 \(4, 6, 8\)"),
        ({"label": np.zeros(SHAPE, np.int32)}, "label must be uint8"),
        ({"spacing_mm": (3.0, 0.0, 0.5)}, "spacing_mm must be above 0"),
        ({"spacing_mm": (3.0, float("nan"), 0.5)}, "spacing_mm must be three numbers"),
        ({"patient": ""}, "patient must be a key"),
        ({"split": "holdout"}, "split must be one of"),
    ],
)
def test_a_malformed_case_is_refused(changes, text):
    with pytest.raises(InputError, match=f"STORE_CASE.*{text}"):
        make_case(**changes)


# Faults of the file itself (C16).


def replace_dataset(path: Path, **arguments: object) -> None:
    with h5py.File(path, "r+") as file:
        del file["cases/a/image"]
        file["cases/a"].create_dataset("image", **arguments)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="STORE_READ") as caught:
        CaseStore(tmp_path / "absent.h5")
    assert caught.value.path == str(tmp_path / "absent.h5")


def test_a_file_that_is_no_hdf5_is_refused(tmp_path):
    (tmp_path / "s.h5").write_text("not a store")
    with pytest.raises(InputError, match="STORE_READ"):
        CaseStore(tmp_path / "s.h5")


def test_a_truncated_file_is_refused(path):
    os.truncate(path, path.stat().st_size - 300)
    with pytest.raises(InputError, match=r"STORE_READ|STORE_SHAPE"):
        CaseStore(path)


@pytest.mark.parametrize("schema", [None, 99])
def test_another_schema_is_refused(path, schema):
    with h5py.File(path, "r+") as file:
        del file.attrs["kcalc_schema"]
        if schema is not None:
            file.attrs["kcalc_schema"] = schema
    with pytest.raises(InputError, match=f"STORE_SCHEMA.*Received: {schema}"):
        CaseStore(path)


@pytest.mark.parametrize(
    "link", [h5py.ExternalLink("secret.h5", "/x"), h5py.SoftLink("/cases/b/image")]
)
def test_c16_links_are_refused(path, link):
    with h5py.File(path, "r+") as file:
        del file["cases/a/image"]
        file["cases/a/image"] = link
    with pytest.raises(InputError, match="STORE_LINK"):
        CaseStore(path)


def test_c16_a_link_in_place_of_a_case_is_refused(path):
    with h5py.File(path, "r+") as file:
        file["cases/d"] = h5py.ExternalLink("other.h5", "/cases/a")
    with pytest.raises(InputError, match="STORE_LINK"):
        CaseStore(path)


def test_a_missing_dataset_is_refused(path):
    with h5py.File(path, "r+") as file:
        del file["cases/a/positive_zyx"]
    with pytest.raises(InputError, match="STORE_LINK"):
        CaseStore(path)


def test_c16_external_storage_is_refused(path, tmp_path):
    size = int(np.prod(SHAPE)) * 2
    (tmp_path / "elsewhere.raw").write_bytes(bytes(size))
    external = [(str(tmp_path / "elsewhere.raw"), 0, size)]
    replace_dataset(path, shape=SHAPE, dtype="<i2", external=external)
    with pytest.raises(InputError, match="STORE_LINK"):
        CaseStore(path)


def test_c16_a_virtual_dataset_is_refused(path):
    layout = h5py.VirtualLayout(SHAPE, "<i2")
    layout[:] = h5py.VirtualSource("other.h5", "image", shape=SHAPE)
    with h5py.File(path, "r+") as file:
        del file["cases/a/image"]
        file["cases/a"].create_virtual_dataset("image", layout)
    with pytest.raises(InputError, match="STORE_LINK"):
        CaseStore(path)


@pytest.mark.parametrize(
    "arguments",
    [
        {"shape": (10**5, 10**4, 10**4), "dtype": "<i2", "chunks": (1, 64, 64)},
        {"shape": SHAPE, "dtype": "<i2"},  # declared, never written
        {"data": np.zeros(SHAPE, "<i2"), "compression": "gzip"},
        {"data": np.zeros(SHAPE, "<i4")},
        {"data": np.zeros(SHAPE, ">i2")},
        {"data": np.zeros((6, 8), "<i2")},
        {"data": np.zeros((4, 6, 9), "<i2")},  # the label has another shape
    ],
)
def test_c16_a_dataset_that_is_not_what_it_declares_is_refused(path, arguments):
    replace_dataset(path, **arguments)
    with pytest.raises(InputError, match="STORE_SHAPE"):
        CaseStore(path)
