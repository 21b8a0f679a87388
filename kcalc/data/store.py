"""CaseStore: prepared cases in one HDF5 file, read through memory maps.

A group ``cases/<name>`` holds ``image`` (int16, zyx, HU or the scan's own unit),
``label`` (uint8, zyx: vessel numbers, 8 and 9 for calcium of none, 0 for the rest; of
a scan in its own unit the classes of its task), the tables patch sampling needs, and
the attributes of :class:`kcalc.data.case.CaseRecord`. All datasets are contiguous and
uncompressed, so that a patch is read without HDF5 (perf.md section 5) and a file cannot
declare more than it stores.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import numpy.typing as npt

from kcalc.data.case import Case, CaseRecord, Unit
from kcalc.data.splits import SPLITS, check_no_leak
from kcalc.data.tables import sample_imitators, sample_voxels
from kcalc.errors import InputError
from kcalc.files import whole_or_absent
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU

STORE_SCHEMA = 2
"""Number of the layout; a store of another number is refused and made anew."""

_TABLES = {
    "positive_zyx": 3,
    "hard_negative_zyx": 3,
    "imitator_zyx": 3,
    "positive_slices": 1,
}


class CaseStore:
    """Prepared cases in one HDF5 file.

    Opening reads the index and checks the layout, and no voxel. Arrays are read-only
    memory maps, so a patch costs only its own pages.

    Args:
        path: File that :meth:`write` or :meth:`writer` made.

    Raises:
        InputError: The file is missing or no HDF5 (``STORE_READ``), has another
            schema (``STORE_SCHEMA``), links to other files (``STORE_LINK``), declares
            what it does not store (``STORE_SHAPE``), or has a patient in two splits
            (``LEAK``).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._offsets: dict[tuple[str, str], tuple[int, tuple[int, ...]]] = {}
        self._maps: dict[tuple[str, str], npt.NDArray[Any]] = {}
        try:
            with h5py.File(self.path, "r") as file:
                self.records = tuple(self._read_index(file))
        except OSError as error:
            raise InputError(
                "STORE_READ",
                "The case store is missing or is not a whole HDF5 file.",
                path=self.path,
                hint="Make it with kcalc prepare, or the recipe's prepare command.",
            ) from error
        check_no_leak((record.patient, record.split) for record in self.records)
        self._by_name = {record.name: record for record in self.records}

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"CaseStore({str(self.path)!r}, {len(self)} cases)"

    def __getitem__(self, name: str) -> CaseRecord:
        return self._by_name[name]

    def split(self, name: str) -> tuple[CaseRecord, ...]:
        """Return the cases of one split, in order of name.

        Raises:
            InputError: The split has no case (``STORE_SPLIT``).
        """
        records = tuple(record for record in self.records if record.split == name)
        if not records:
            raise InputError(
                "STORE_SPLIT",
                f"The store must have cases in the split {name!r}; it has none.",
                path=self.path,
                hint=f"Splits are {SPLITS}; prepare more cases.",
            )
        return records

    def image(self, name: str) -> npt.NDArray[np.int16]:
        """Return a case's image (z, y, x) in its unit as a read-only memory map."""
        return self._map(name, "image", np.dtype("<i2"))

    def label(self, name: str) -> npt.NDArray[np.uint8]:
        """Return a case's label (z, y, x) as a read-only memory map."""
        return self._map(name, "label", np.dtype("u1"))

    def positive_zyx(self, name: str) -> npt.NDArray[np.int32]:
        """Return up to 4096 random labelled voxels (n, 3) of a case."""
        return self._map(name, "positive_zyx", np.dtype("<i4"))

    def hard_negative_zyx(self, name: str) -> npt.NDArray[np.int32]:
        """Return up to 4096 random voxels (n, 3) >= 130 HU without a label."""
        return self._map(name, "hard_negative_zyx", np.dtype("<i4"))

    def imitator_zyx(self, name: str) -> npt.NDArray[np.int32]:
        """Return voxels (n, 3) of components as large as calcium, without a label."""
        return self._map(name, "imitator_zyx", np.dtype("<i4"))

    def positive_slices(self, name: str) -> npt.NDArray[np.int32]:
        """Return the indices (n,) of all slices with a labelled voxel."""
        return self._map(name, "positive_slices", np.dtype("<i4"))[:, 0]

    def fingerprint(self) -> str:
        """Return SHA-256 over content hashes, patients and splits of all cases."""
        lines = sorted(
            f"{r.sha256} {r.name} {r.patient} {r.split}" for r in self.records
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @classmethod
    def write(cls, path: str | os.PathLike[str], cases: Iterable[Case]) -> CaseStore:
        """Write cases one at a time, so that only one is in memory.

        Args:
            path: File to write; it appears, or is replaced, when all is written.
            cases: Cases, made as the iterator is pulled.

        Returns:
            The store, opened.

        Raises:
            InputError: Two cases of one name (``STORE_CASE``), no case at all
                (``STORE_EMPTY``), a patient in two splits (``LEAK``).
            ResourceError: The file cannot be written.
        """
        with cls.writer(path) as writer:
            for case in cases:
                writer.add(case)
        return cls(path)

    @staticmethod
    @contextmanager
    def writer(path: str | os.PathLike[str]) -> Iterator[CaseStoreWriter]:
        """Give a writer whose file appears only if the block ends without an error."""
        with whole_or_absent(path) as temporary:
            with h5py.File(temporary, "w") as file:
                writer = CaseStoreWriter(file)
                yield writer
                writer.finish()

    def _read_index(self, file: h5py.File) -> Iterator[CaseRecord]:
        schema = file.attrs.get("kcalc_schema")
        if schema is None or int(schema) != STORE_SCHEMA or file.userblock_size:
            raise InputError(
                "STORE_SCHEMA",
                f"A case store must have schema {STORE_SCHEMA}. Received: {schema}.",
                path=self.path,
                hint="Make it anew with this version's prepare command.",
            )
        cases = self._checked(file, "cases", h5py.Group)
        for name in sorted(cases):
            group = self._checked(cases, name, h5py.Group)
            image = self._located(group, name, "image", "<i2", 3)
            self._located(group, name, "label", "u1", 3, shape=image)
            for table, columns in _TABLES.items():
                self._located(group, name, table, "<i4", 2, columns=columns)
            attrs = group.attrs
            kvp = float(attrs["tube_voltage_kvp"])
            yield CaseRecord(
                name=name,
                patient=str(attrs["patient"]),
                split=str(attrs["split"]),
                shape_zyx=image,
                spacing_mm=_three(attrs["spacing_mm"]),
                tube_voltage_kvp=kvp if kvp > 0 else None,
                sha256=str(attrs["sha256"]),
                unit=cast(Unit, str(attrs.get("unit", "HU"))),
            )

    def _checked(self, group: h5py.Group, name: str, kind: type) -> Any:
        """Return a member that is stored in this very file, or refuse."""
        link = group.get(name, getlink=True)
        member = group[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(member, kind):
            raise InputError(
                "STORE_LINK",
                "A case store must hold its data itself. Received: a link or an "
                f"object of another kind at {group.name}/{name}.",
                path=self.path,
                hint="Make the store with kcalc; do not assemble it by links.",
            )
        return member

    def _located(
        self,
        group: h5py.Group,
        case: str,
        name: str,
        dtype: str,
        ndim: int,
        *,
        shape: tuple[int, int, int] | None = None,
        columns: int | None = None,
    ) -> tuple[int, int, int]:
        """Note where a dataset lies, once it is plain and as long as it declares."""
        dataset = self._checked(group, name, h5py.Dataset)
        if dataset.external or dataset.is_virtual:
            raise InputError(
                "STORE_LINK",
                f"A case store must hold its data itself. Received: {dataset.name} "
                "stored in another file.",
                path=self.path,
                hint="Make the store with kcalc.",
            )
        offset = dataset.id.get_offset()
        stored = dataset.id.get_storage_size()
        plain = (
            dataset.chunks is None
            and dataset.dtype == np.dtype(dtype)
            and dataset.ndim == ndim
            and (shape is None or dataset.shape == shape)
            and (columns is None or dataset.shape[1] == columns)
        )
        whole = stored == dataset.size * dataset.dtype.itemsize and (
            stored == 0
            or (offset is not None and offset + stored <= self.path.stat().st_size)
        )
        if not (plain and whole):
            raise InputError(
                "STORE_SHAPE",
                f"A dataset must be contiguous {dtype} and hold what it declares. "
                f"Received: {dataset.name}, {dataset.dtype} {dataset.shape}, "
                f"{stored} bytes stored.",
                path=self.path,
                hint="The file is damaged or not made by kcalc; prepare it anew.",
            )
        self._offsets[case, name] = (offset or 0, dataset.shape)
        return dataset.shape if ndim == 3 else (0, 0, 0)

    def _map(self, case: str, name: str, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        key = (case, name)
        if key not in self._maps:
            offset, shape = self._offsets[key]
            self._maps[key] = (
                np.memmap(self.path, dtype, mode="r", offset=offset, shape=shape)
                if 0 not in shape
                else np.zeros(shape, dtype)
            )
        return self._maps[key]


class CaseStoreWriter:
    """Adds cases to an open HDF5 file; made by :meth:`CaseStore.writer`."""

    def __init__(self, file: h5py.File) -> None:
        self._cases = file.create_group("cases")
        self._splits: dict[str, str] = {}
        file.attrs["kcalc_schema"] = STORE_SCHEMA

    def add(self, case: Case) -> None:
        """Write one case, its hash and its sampling tables.

        Raises:
            InputError: The name is taken (``STORE_CASE``), or the patient is in
                another split already (``LEAK``).
        """
        if case.name in self._cases:
            raise InputError(
                "STORE_CASE",
                f"Names of cases must differ. Received: {case.name} twice.",
            )
        check_no_leak([*self._splits.items(), (case.patient, case.split)])
        self._splits[case.patient] = case.split
        group = self._cases.create_group(case.name)
        image = np.ascontiguousarray(case.image, dtype="<i2")
        label = np.ascontiguousarray(case.label, dtype="u1")
        group.create_dataset("image", data=image)
        group.create_dataset("label", data=label)
        content = _sha256(image, label, case.spacing_mm)
        rng = np.random.default_rng(int(content[:16], 16))
        positive = label > 0
        hard = (image >= AGATSTON_THRESHOLD_HU) & ~positive & (case.unit == "HU")
        slices = np.flatnonzero(positive.any(axis=(1, 2)))
        for name, table in (
            ("positive_zyx", sample_voxels(positive, rng)),
            ("hard_negative_zyx", sample_voxels(hard, rng)),
            ("imitator_zyx", sample_imitators(hard, case.spacing_mm, rng)),
            ("positive_slices", slices[:, None]),
        ):
            group.create_dataset(name, data=table.astype("<i4"))
        group.attrs["patient"] = case.patient
        group.attrs["split"] = case.split
        group.attrs["spacing_mm"] = np.asarray(case.spacing_mm, dtype=np.float64)
        group.attrs["tube_voltage_kvp"] = case.tube_voltage_kvp or 0.0
        group.attrs["sha256"] = content
        group.attrs["unit"] = case.unit

    def finish(self) -> None:
        """Check that there is something to keep.

        Raises:
            InputError: No case was added (``STORE_EMPTY``).
        """
        if not len(self._cases):
            raise InputError("STORE_EMPTY", "A case store must have at least one case.")


def _sha256(
    image: npt.NDArray[Any], label: npt.NDArray[Any], spacing_mm: Sequence[float]
) -> str:
    digest = hashlib.sha256(repr((image.shape, tuple(map(float, spacing_mm)))).encode())
    digest.update(image.data)
    digest.update(label.data)
    return digest.hexdigest()


def _three(values: Any) -> tuple[float, float, float]:
    z, y, x = (float(value) for value in values)
    return (z, y, x)
