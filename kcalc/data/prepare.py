"""A data set becomes a case store: every case is read and checked, all or none written.

Each case that was read is kept in a small store of its own beside the final one, so
that the same call after a kill goes on where it was; the folder goes when the store is
whole. At most one case is in memory.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kcalc.data.case import Case
from kcalc.data.layouts import find_cases
from kcalc.data.prepare_case import (
    CaseOptions,
    ReadCase,
    Unlabelled,
    read_once,
    write_json,
)
from kcalc.data.prepare_report import CasesRefusedError, PreparationReport, Problem
from kcalc.data.splits import SPLITS, assign_splits
from kcalc.data.store import CaseStore
from kcalc.errors import InputError, ResourceError
from kcalc.files import writable_folder
from kcalc.io.discovery import walk_files
from kcalc.io.label_names import label_scheme
from kcalc.registration import NETWORK_GRID, read_reference

Progress = Callable[[str, int, int], None]

_PARTS_SUFFIX = ".parts"


def prepare_store(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    layout: str | None = None,
    scheme: str | None = None,
    unlabelled: Unlabelled = "refuse",
    leave_out: bool = False,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    register: bool = False,
    reference_path: str | os.PathLike[str] | None = None,
    grid_spacing_mm: tuple[float, float, float] = NETWORK_GRID.spacing_mm,
    progress: Progress | None = None,
) -> PreparationReport:
    """Write the case store of a data set, whole or not at all, and report on it.

    Every case is looked at, whatever is wrong with others. Scans go into LPS order;
    labels keep the vessels' numbers of ``kcalc.anatomy``, 8 where no vessel is named,
    are cut at 130 HU, and are 0 for the aorta and the valves. Cases are named by
    number and patients by a hash. All scans of one patient go to one split: patients
    are the same if the data set or the DICOM PatientID says so.

    The report is written beside the store as ``<out>.report.json``, also where the
    store is refused. A call that was killed goes on where it was.

    Args:
        root: Folder of the data set.
        out: Store to write; its folder is made.
        layout: One of :data:`kcalc.data.layouts.LAYOUTS`; None looks which.
        scheme: What label numbers or names mean, where the data set does not say it
            (:func:`kcalc.io.label_names.label_scheme`).
        unlabelled: ``"empty"`` takes a scan without a file of labels as one without
            calcium, as COCA has them; ``"refuse"`` counts it as a problem.
        leave_out: Leave cases with a problem out; else any problem is a refusal.
        fractions: Share of patients for training, validation and test, where the
            data set gives no split.
        seed: Seed of the splits.
        register: Register the scans, which are heads, and bring them and their labels
            onto the grid of the intracranial carotids' network
            (:func:`kcalc.registration.to_network_grid`); a head that does not fit is a
            problem of its case.
        reference_path: Head CT to register to; None for kcalc's phantom.
        grid_spacing_mm: Spacing (z, y, x) of the grid that heads come onto.
        progress: Called with what is being done, cases done, cases to do.

    Returns:
        What was written, what was left out and why.

    Raises:
        CasesRefusedError: ``DATA_REFUSED``: some cases have problems; its ``report``
            has all of them. Nothing was written but the report.
        InputError: ``DATA_EMPTY``, ``DATA_LAYOUT``, ``NOT_FOUND``, or ``STORE_EMPTY``
            where every case was left out.
        ResourceError: ``WRITE_FAILED``.
        UsageError: ``PACKAGE``: registration needs SimpleITK.
        ValueError: An argument breaks these rules.
    """
    if unlabelled not in ("refuse", "empty"):
        raise ValueError(
            f"unlabelled must be 'refuse' or 'empty'. Received: {unlabelled!r}"
        )
    if scheme is not None:
        label_scheme(scheme)
    if reference_path is not None and not register:
        raise ValueError("reference_path is for register=True.")
    source, store = Path(root), Path(out)
    assign_splits({}, {}, fractions=fractions, seed=seed)
    name, files = find_cases(source, layout)
    options = CaseOptions(scheme, unlabelled)
    if register:
        options = _registered(options, reference_path, grid_spacing_mm)
    writable_folder(store.parent)
    if store.is_dir():
        raise ResourceError(
            "WRITE_FAILED",
            "The store must be a file; there is a folder of its name.",
            path=store,
            hint="Choose another name, such as cases.h5.",
        )
    parts = store.with_name(f".{store.name}{_PARTS_SUFFIX}")
    writable_folder(parts)
    tell = progress or _silent
    read: list[ReadCase] = []
    problems: list[Problem] = []
    for number, case in enumerate(files, start=1):
        tell("Reading case", number, len(files))
        try:
            read.append(read_once(f"case-{number:04d}", case, source, parts, options))
        except InputError as error:
            problems.append(
                Problem(f"case-{number:04d}", case.place.relative_to(source), error)
            )
    warnings = _link_patients(read)
    problems += _same_images(read)
    warnings += [finding.message for finding in walk_files(source).findings()]
    refused = {problem.case for problem in problems}
    kept = [case for case in read if case.report.name not in refused]
    problems += _leaks(kept)
    refused |= {problem.case for problem in problems}
    kept = [case for case in kept if case.report.name not in refused]
    given = {c.patient: c.files.split for c in kept if c.files.split is not None}
    splits = assign_splits(
        {case.patient for case in kept}, given, fractions=fractions, seed=seed
    )
    warnings += [
        f"No case is in the split {split!r}: there are too few patients for it."
        for split, share in zip(SPLITS, fractions, strict=True)
        if share > 0 and split not in splits.values()
    ]
    report = PreparationReport(
        layout=name,
        cases=tuple(c.report.in_split(c.patient, splits[c.patient]) for c in kept),
        problems=tuple(sorted(problems, key=lambda p: p.case)),
        warnings=tuple(warnings),
        written=bool(kept) and (leave_out or not problems),
    )
    write_json(store.with_name(store.name + ".report.json"), report.to_dict())
    if problems and not leave_out:
        if not read:
            shutil.rmtree(parts, ignore_errors=True)
        raise CasesRefusedError(report, source)
    CaseStore.write(store, _cases(kept, splits, tell))
    shutil.rmtree(parts, ignore_errors=True)
    return report


def _registered(
    options: CaseOptions,
    reference_path: str | os.PathLike[str] | None,
    grid_spacing_mm: tuple[float, float, float],
) -> CaseOptions:
    """Return how heads are read; the reference is registered once for all."""
    reference = read_reference(reference_path)
    digest = hashlib.sha256(reference.grid.array_hu.tobytes()).hexdigest()
    return replace(
        options,
        register=True,
        grid_spacing_mm=grid_spacing_mm,
        reference=reference,
        reference_sha256=digest,
    )


def _silent(stage: str, done: int, total: int) -> None:
    """Report no progress."""


def _same_images(cases: Sequence[ReadCase]) -> list[Problem]:
    """Return the cases whose image another patient's case has too."""
    first: dict[str, ReadCase] = {}
    problems = []
    for case in cases:
        other = first.setdefault(case.image_sha256, case)
        if other.patient != case.patient:
            error = InputError(
                "LEAK",
                "an image must belong to one patient; the very voxels of this one are "
                f"those of {other.report.name}.",
                path=case.files.place,
                hint="Remove one of them, or name the folders after one patient.",
            )
            problems.append(Problem(case.report.name, case.report.place, error))
    return problems


def _link_patients(cases: Sequence[ReadCase]) -> list[str]:
    """Give cases of one PatientID one patient; return what there is to say of it.

    A PatientID that stands in all scans of three or more patients is a placeholder.
    """
    warnings = []
    patients: dict[str, set[str]] = {}
    for case in cases:
        if case.identity:
            patients.setdefault(case.identity, set()).add(case.patient)
    links: dict[str, str] = {}
    for members in patients.values():
        if len(patients) == 1 and len(members) > 2:
            warnings.append(
                f"One PatientID stands in the scans of all {len(members)} patients; it "
                "was taken as a placeholder, so the data set's own names alone tell "
                "patients apart."
            )
        elif len(members) > 1:
            names = ", ".join(c.report.name for c in cases if c.patient in members)
            warnings.append(
                f"Cases of one PatientID under several names were taken as one "
                f"patient's: {names}."
            )
            roots = {_root(links, member) for member in members}
            for root in roots:
                links[root] = min(roots)
    for case in cases:
        case.patient = _root(links, case.patient)
    return warnings


def _root(links: dict[str, str], patient: str) -> str:
    while links.get(patient, patient) != patient:
        patient = links[patient]
    return patient


def _leaks(cases: Sequence[ReadCase]) -> list[Problem]:
    """Return the cases whose patient the data set puts into another split too (E13)."""
    first: dict[str, ReadCase] = {}
    problems = []
    for case in cases:
        other = first.setdefault(case.patient, case)
        if other.files.split != case.files.split:
            error = InputError(
                "LEAK",
                "all cases of one patient must be in one split; the data set has this "
                f"one and {other.report.name}, of the same patient, in two.",
                path=case.files.place,
                hint="Move them into one split, or leave this one out.",
            )
            problems.append(Problem(case.report.name, case.report.place, error))
    return problems


def _cases(
    cases: Sequence[ReadCase], splits: dict[str, str], tell: Progress
) -> Iterator[Case]:
    """Give the cases that were read, one at a time, with their splits."""
    for done, case in enumerate(cases, start=1):
        tell("Writing case", done, len(cases))
        part = CaseStore(case.part)
        record = part.records[0]
        yield Case(
            name=case.report.name,
            image=np.asarray(part.image(record.name)),
            label=np.asarray(part.label(record.name)),
            spacing_mm=record.spacing_mm,
            patient=case.patient,
            split=splits[case.patient],
            tube_voltage_kvp=record.tube_voltage_kvp,
        )
