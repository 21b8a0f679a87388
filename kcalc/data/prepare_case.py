"""One case of a data set: its files are read once and kept in a store of their own."""

from __future__ import annotations

import glob
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kcalc import anatomy
from kcalc._version import __version__
from kcalc.data.case import Case
from kcalc.data.layouts import CaseFiles
from kcalc.data.prepare_report import CaseReport
from kcalc.data.store import STORE_SCHEMA, CaseStore
from kcalc.errors import InputError
from kcalc.files import whole_or_absent
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.io import MHD_SUFFIXES, NIFTI_SUFFIXES, read_labels, read_volume
from kcalc.io.dicom_identity import read_identity
from kcalc.io.discovery import find_files, unreadable
from kcalc.io.labels_raster import DATASET_FILE
from kcalc.orientation import lps_spacing_mm, lps_view
from kcalc.registration import (
    NETWORK_GRID,
    Reference,
    network_grid,
    to_network_grid,
)
from kcalc.volume import Finding, Volume

Unlabelled = Literal["refuse", "empty"]

FACTS = frozenset(
    {
        *("label_format", "labels", "num_labelled_voxels", "shape_zyx", "spacing_mm"),
        *("tube_voltage_kvp", "findings", "identity", "image_sha256"),
    }
)
"""What is told of every case."""
_OTHER_LABELS = tuple(part.label for part in anatomy.OTHER_STRUCTURES)


@dataclass(frozen=True)
class CaseOptions:
    """What of the arguments changes what a case is read to.

    Args:
        scheme: What label numbers or names mean.
        unlabelled: What a scan without labels is.
        register: Whether heads are registered onto the network's grid.
        grid_spacing_mm: Spacing (z, y, x) of that grid.
        reference: To what; None for kcalc's phantom.
        reference_sha256: Its voxels, by which earlier reading is told apart.
    """

    scheme: str | None
    unlabelled: Unlabelled
    register: bool = False
    grid_spacing_mm: tuple[float, float, float] = NETWORK_GRID.spacing_mm
    reference: Reference | None = field(default=None, repr=False, compare=False)
    reference_sha256: str = ""


@dataclass
class ReadCase:
    """A case that was read and lies in a store of its own.

    Args:
        report: What the report tells of it.
        files: Where it is from.
        part: Its own store.
        patient: Hash by which cases of one patient are grouped.
        identity: Hash of the PatientID, "" where there is none.
        image_sha256: Of shape, spacing and HU, in LPS order.
    """

    report: CaseReport
    files: CaseFiles
    part: Path
    patient: str
    identity: str
    image_sha256: str


def read_once(
    name: str, files: CaseFiles, root: Path, parts: Path, options: CaseOptions
) -> ReadCase:
    """Return a case, read now or in an earlier call with the same files.

    Args:
        name: Its name in the store to come.
        files: Where it is.
        root: The data set.
        parts: Folder of the cases that were read.
        options: How to read it.

    Raises:
        InputError: ``DATA_NO_SCAN``, ``DATA_NO_LABEL``, ``LABEL_MISPLACED``, what the
            layout found wrong, and what reading scan and labels refuses.
    """
    if files.problem is not None:
        raise files.problem
    if files.scan is None:
        raise InputError(
            "DATA_NO_SCAN",
            "a case must have a scan; there are labels alone.",
            path=files.place,
            hint="Add the scan, or remove the labels.",
        )
    if files.label is None and options.unlabelled == "refuse":
        raise InputError(
            "DATA_NO_LABEL",
            "a case must have labels; there is a scan alone.",
            path=files.place,
            hint="Add them, or say with --unlabelled empty that a scan without them "
            "has no calcium.",
        )
    part = parts / f"{_fingerprint(files, root, options)}.h5"
    facts_file = part.with_suffix(".json")
    facts = _read_facts(facts_file, part)
    if facts is None:
        case, facts = _read_case(name, files.scan, files, options)
        CaseStore.write(part, [case])
        write_json(facts_file, facts)
    report = CaseReport.from_facts(name, files.place.relative_to(root), facts)
    patient = _patient_key(files.patient)
    return ReadCase(
        report, files, part, patient, facts["identity"], facts["image_sha256"]
    )


def _read_facts(path: Path, part: Path) -> dict[str, Any] | None:
    """Return what is told of a case that was read before, None if it was not."""
    try:
        facts = json.loads(path.read_text("utf-8"))
        whole = len(CaseStore(part)) == 1 and facts.keys() == FACTS
    except (OSError, ValueError, AttributeError):
        return None
    return facts if whole else None


def _fingerprint(files: CaseFiles, root: Path, options: CaseOptions) -> str:
    """Return a hash of all that a case is read from: files, options, version."""
    digest = hashlib.sha256(
        repr((__version__, STORE_SCHEMA, options, files.scheme)).encode()
    )
    for source in (files.scan, files.label):
        found = [] if source is None else _read_with(source, root)
        digest.update(repr(len(found)).encode())
        for path in found:
            try:
                stat = path.stat()
            except OSError as error:
                raise unreadable(path, error) from error
            place = path.relative_to(root).as_posix()
            digest.update(repr((place, stat.st_size, stat.st_mtime_ns)).encode())
    return digest.hexdigest()[:32]


def _read_with(source: Path, root: Path) -> list[Path]:
    """Return the files that reading a source reads: a MetaImage's data file too."""
    if source.is_dir():
        return find_files(source)
    beside = source.parent.glob(f"{glob.escape(source.stem)}.*")
    named = root / DATASET_FILE
    return sorted({source, *beside}) + ([named] if named.is_file() else [])


def _read_case(
    name: str, scan: Path, files: CaseFiles, options: CaseOptions
) -> tuple[Case, dict[str, Any]]:
    """Return a case in LPS order, and what is to be told of it."""
    stored = scan.name.lower().endswith((*NIFTI_SUFFIXES, *MHD_SUFFIXES))
    volume = read_volume(scan, unit="HU" if stored and scan.is_file() else None)
    identity = _identity(volume)
    drawn, findings, file_format = _labels_of(volume, files, options)
    if options.register:
        grid = network_grid(options.grid_spacing_mm)
        placed = to_network_grid(volume, reference=options.reference, grid=grid)
        volume, drawn = placed.volume, placed.label_of(drawn, volume.geometry)
    label, cut = _cut_label(volume, drawn, files)
    findings += cut
    image = np.rint(volume.array).clip(-32768, 32767).astype(np.int16)
    case = Case(
        name=name,
        image=np.ascontiguousarray(lps_view(image, volume.geometry)),
        label=np.ascontiguousarray(lps_view(label, volume.geometry)),
        spacing_mm=lps_spacing_mm(volume.geometry),
        patient=_patient_key(files.patient),
        split="train",
        tube_voltage_kvp=volume.acquisition.tube_voltage_kvp,
    )
    digest = hashlib.sha256(repr((case.image.shape, case.spacing_mm)).encode())
    digest.update(case.image.data)
    numbers = np.flatnonzero(np.bincount(label.ravel(), minlength=1)[1:]) + 1
    facts = {
        "label_format": file_format,
        "labels": [int(number) for number in numbers],
        "num_labelled_voxels": int(np.count_nonzero(label)),
        "shape_zyx": list(case.image.shape),
        "spacing_mm": list(case.spacing_mm),
        "tube_voltage_kvp": case.tube_voltage_kvp,
        "findings": [
            {"kind": f.kind, "code": f.code, "message": f.message}
            for f in (*volume.findings, *findings)
        ],
        "identity": identity,
        "image_sha256": digest.hexdigest(),
    }
    return case, facts


def _labels_of(
    volume: Volume, files: CaseFiles, options: CaseOptions
) -> tuple[npt.NDArray[np.uint8], list[Finding], str]:
    """Return the label of a case as it was drawn, findings, and its format."""
    if files.label is None:
        return np.zeros(volume.shape, np.uint8), [], "none"
    scheme = options.scheme or files.scheme
    labels = read_labels(files.label, volume, scheme=scheme)
    findings = list(labels.findings)
    array = labels.array
    if not labels.vessels_named:
        array = (array > 0).astype(np.uint8) * np.uint8(anatomy.UNDETERMINED_LABEL)
    others = np.isin(array, _OTHER_LABELS)
    if others.any():
        message = (
            f"Voxels of aorta and valves that are no coronary calcium and got 0: "
            f"{np.count_nonzero(others)}."
        )
        findings.append(Finding("LABEL_LEFT_OUT", message, "note"))
        array = np.where(others, 0, array).astype(np.uint8)
    return array, findings, labels.file_format


def _cut_label(
    volume: Volume, array: npt.NDArray[np.uint8], files: CaseFiles
) -> tuple[npt.NDArray[np.uint8], list[Finding]]:
    """Return a label where the scan reaches 130 HU, and what there is to say."""
    cut = np.where(volume.array >= AGATSTON_THRESHOLD_HU, array, 0).astype(np.uint8)
    if array.any() and not cut.any():
        raise InputError(
            "LABEL_MISPLACED",
            f"labels must lie on voxels of {AGATSTON_THRESHOLD_HU} HU; none of the "
            f"{np.count_nonzero(array)} labelled voxels does, so they belong to "
            "another scan.",
            path=files.label,
            hint="See that labels and scan belong together.",
        )
    num_cut = int(np.count_nonzero(array) - np.count_nonzero(cut))
    if not num_cut:
        return cut, []
    message = f"Labelled voxels below {AGATSTON_THRESHOLD_HU} HU that got 0: {num_cut}."
    return cut, [Finding("LABEL_CUT", message, "note")]


def _identity(volume: Volume) -> str:
    """Return a hash of the scan's PatientID, "" where there is none to read."""
    if not volume.frames:
        return ""
    try:
        identity = read_identity(Path(volume.frames[0].path))
    except InputError:
        return ""
    number = identity.get("PatientID", "").strip()
    return _patient_key(f"PatientID {number}") if number else ""


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    with whole_or_absent(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def _patient_key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]
