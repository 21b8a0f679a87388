"""What a folder holds and what of it can be scored: a path enters, facts leave.

Headers alone are read, so that tens of thousands of files take seconds to minutes; what
only the pixels show (values that are no HU, undeclared contrast) is found when a series
is read. No patient data and no free text leave: a series is known by eight digits, a
file of it by its number.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcalc.errors import InputError, printable
from kcalc.io.acquisition import known_voltage
from kcalc.io.dicom_folder import FolderHeaders, Progress, read_folder_headers
from kcalc.io.dicom_header import SliceHeader
from kcalc.io.dicom_select import has_contrast, select_series, unsuited_because
from kcalc.io.series_files import SeriesFiles, kernel_name, slice_spacing_mm
from kcalc.io.series_plan import plan_series
from kcalc.io.technique import is_ecg_gated
from kcalc.volume import Finding

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mhd", ".mha")
"""Ends of names of files that are scanned volumes of their own."""


@dataclass(frozen=True)
class InspectedSeries:
    """One DICOM series: what it is and whether it can be scored.

    Args:
        series_id: Eight digits to name it by (``--series``).
        study_id: Eight digits that series of one study share; "" where it states none.
        modality: Modality, "?" where that is no code.
        kind: What the objects are, in the standard's words.
        num_files: Files of the series.
        num_slices: Slices or frames of it; 0 where it holds none of a scan.
        shape_yx: Rows and columns; None where the slices differ or state none.
        slice_spacing_mm: From the positions; their median where they are uneven.
        pixel_spacing_mm: (row, column).
        slice_thickness_mm: SliceThickness.
        tube_voltage_kvp: KVP.
        kernel: Reconstruction kernel.
        ecg_gated: None where the file does not say.
        contrast: Whether its tags name intravenous contrast.
        can_be_scored: Whether ``kcalc score --series`` takes it by its headers.
        code: Why not; "" where it can.
        reason: The same in words, files by their number.
        hint: The way out.
        passed_over_because: Why it is not picked where another series fits too.
        findings: What reading it would note, correct or warn of.
        files: Its files, which the words above never name.
    """

    series_id: str
    study_id: str
    modality: str
    kind: str
    num_files: int
    num_slices: int
    shape_yx: tuple[int, int] | None
    slice_spacing_mm: float | None
    pixel_spacing_mm: tuple[float, float] | None
    slice_thickness_mm: float | None
    tube_voltage_kvp: float | None
    kernel: str | None
    ecg_gated: bool | None
    contrast: bool
    can_be_scored: bool
    code: str
    reason: str
    hint: str
    passed_over_because: str | None
    findings: tuple[Finding, ...]
    files: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        """The innermost folder that holds all files of the series."""
        return Path(os.path.commonpath([file.parent for file in self.files]))

    def to_dict(self, *, folders: bool = False) -> dict[str, Any]:
        """Return all but the files, as ``kcalc inspect --json`` prints it.

        Args:
            folders: Whether to name the folder, whose name may be a patient's.
        """
        named = {k: v for k, v in vars(self).items() if k not in ("findings", "files")}
        named["findings"] = [vars(finding) for finding in self.findings]
        return {**named, "folder": str(self.folder)} if folders else named

    def summary(self, *, folders: bool = False) -> str:
        """Return the series in a few lines of text."""
        in_plane = "?" if self.pixel_spacing_mm is None else self.pixel_spacing_mm[0]
        gated = {True: "ECG-gated", False: "not gated", None: "gating not stated"}
        words = [
            f"{_count(self.num_slices, 'slice')} in {_count(self.num_files, 'file')}",
            f"every {_figure(self.slice_spacing_mm)} mm",
            f"{_figure(self.slice_thickness_mm)} mm thick",
            f"pixels {in_plane:.4g} mm" if in_plane != "?" else "pixels ? mm",
            f"{_figure(self.tube_voltage_kvp)} kVp",
            f"kernel {self.kernel or '?'}",
            gated[self.ecg_gated],
            *(["contrast"] if self.contrast else []),
        ]
        if not self.num_slices:
            words = [_count(self.num_files, "file")]
        lines = [f"{self.series_id}  {self.modality or '?'}  {self.kind}"]
        lines += [f"  {', '.join(words)}"]
        lines += [f"  in {self.folder}"] if folders else []
        if self.can_be_scored:
            aside = self.passed_over_because
            lines += [f"  can be scored{f' (but: {aside})' if aside else ''}"]
        else:
            lines += [f"  cannot be scored: {self.code}: {self.reason} {self.hint}"]
        lines += [
            f"  {finding.kind} {finding.code}: {finding.message}"
            for finding in self.findings
        ]
        return "\n".join(map(printable, lines))


@dataclass(frozen=True)
class InspectedFolder:
    """What lies under a folder.

    Args:
        series: Every DICOM series, those that can be scored first.
        num_files: All files.
        num_not_dicom: Of them, no DICOM.
        num_volume_files: Of these, NIfTI and MetaImage by their names.
        broken: DICOM files that cannot be read, and why.
        findings: What was not looked into.
    """

    series: tuple[InspectedSeries, ...]
    num_files: int
    num_not_dicom: int
    num_volume_files: int
    broken: tuple[tuple[Path, InputError], ...]
    findings: tuple[Finding, ...]

    @property
    def num_scorable(self) -> int:
        """How many series can be scored."""
        return sum(series.can_be_scored for series in self.series)

    def broken_counts(self) -> Mapping[str, int]:
        """Return how many files are broken in which way, by code."""
        return dict(sorted(Counter(error.code for _, error in self.broken).items()))

    def to_dict(self, *, folders: bool = False) -> dict[str, Any]:
        """Return what ``kcalc inspect --json`` prints."""
        return {
            "num_files": self.num_files,
            "num_not_dicom": self.num_not_dicom,
            "num_volume_files": self.num_volume_files,
            "num_scorable": self.num_scorable,
            "broken_files": self.broken_counts(),
            "findings": [vars(finding) for finding in self.findings],
            "series": [s.to_dict(folders=folders) for s in self.series],
        }

    def summary(self, *, folders: bool = False) -> str:
        """Return the folder in words, a paragraph a series."""
        lines = [series.summary(folders=folders) for series in self.series]
        for code, count in self.broken_counts().items():
            lines.append(f"{_count(count, 'broken file')}: {code}")
        lines += [
            f"{f.kind} {f.code}: {f.message}"
            for f in self.findings
            if f.code != "FILES_SKIPPED"
        ]
        if self.num_volume_files:
            lines.append(
                f"{self.num_volume_files} NIfTI or MetaImage files: score each by its "
                "name (kcalc score -i FILE); they state no tube voltage"
            )
        lines.append(
            f"{_count(self.num_files, 'file')}, {self.num_not_dicom} of them not "
            "DICOM; "
            f"{len(self.series)} series, {self.num_scorable} can be scored"
        )
        return "\n".join(lines)


def inspect_folder(
    path: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> InspectedFolder:
    """Return every DICOM series under a folder and whether it can be scored.

    Args:
        path: A folder, searched with its subfolders, or a file.
        progress: Called with what is being done, files done and files to do.

    Raises:
        InputError: ``NOT_FOUND`` or ``UNREADABLE``, of the folder itself. What is
            wrong inside is told in the result.
    """
    root = Path(path)
    contents = read_folder_headers(root, progress)
    groups: dict[str, list[SliceHeader]] = {}
    for header in contents.headers:
        groups.setdefault(header.get("SeriesInstanceUID"), []).append(header)
    found = [_inspect(uid, group, contents, root) for uid, group in groups.items()]
    order = sorted(found, key=lambda s: (not s.can_be_scored, s.study_id, s.series_id))
    blank = {path for path, _ in contents.broken}.intersection(contents.other)
    return InspectedFolder(
        series=tuple(order),
        num_files=len(contents.found.files),
        num_not_dicom=len(contents.other),
        num_volume_files=sum(
            file.name.lower().endswith(VOLUME_SUFFIXES) for file in contents.other
        ),
        broken=tuple(pair for pair in contents.broken if pair[0] not in blank),
        findings=tuple(contents.findings()),
    )


def _inspect(
    uid: str, headers: Sequence[SliceHeader], contents: FolderHeaders, root: Path
) -> InspectedSeries:
    """Return the facts of one series, and what reading it would end in."""
    chosen = SeriesFiles(uid, tuple(headers))
    slices, refused, passed_over = 0, None, None
    findings: list[Finding] = []
    try:
        chosen, findings = select_series(headers, root, modality="CT", series=None)
        slices = len(chosen.headers)
        passed_over = unsuited_because(chosen)
        contents.refuse_broken_beside(chosen.headers)
        plan = plan_series(chosen, root)
        slices = len(plan.headers)
        findings += plan.findings
        known_voltage(plan.acquisition.tube_voltage_kvp)
    except InputError as error:
        refused = error
    first = chosen.headers[0]
    study = first.get("StudyInstanceUID")
    return InspectedSeries(
        series_id=chosen.short_id,
        study_id=hashlib.sha256(study.encode()).hexdigest()[:8] if study else "",
        modality=first.code("Modality"),
        kind=_kind(first),
        num_files=len({header.path for header in headers}),
        num_slices=slices,
        shape_yx=_common_shape(chosen.headers) if slices else None,
        slice_spacing_mm=slice_spacing_mm(chosen.headers) if slices else None,
        pixel_spacing_mm=_pixel_spacing(first) if slices else None,
        slice_thickness_mm=first.number("SliceThickness") if slices else None,
        tube_voltage_kvp=first.number("KVP") if slices else None,
        kernel=kernel_name(first) if slices else None,
        ecg_gated=is_ecg_gated(first) if slices else None,
        contrast=any(has_contrast(header) for header in chosen.headers),
        can_be_scored=refused is None,
        code="" if refused is None else refused.code,
        reason="" if refused is None else _without_names(refused.rule, headers),
        hint="" if refused is None else refused.hint,
        passed_over_because=passed_over,
        findings=tuple(findings),
        files=tuple(sorted({header.path for header in headers})),
    )


def _kind(header: SliceHeader) -> str:
    """Return what an object is by its SOP class, in the standard's words."""
    from pydicom.uid import UID

    uid = UID(header.get("SOPClassUID"))
    return (
        "private object" if uid.name == str(uid) else uid.name.replace(" Storage", "")
    )


def _without_names(text: str, headers: Sequence[SliceHeader]) -> str:
    """Return a refusal with file names, which may hold a patient's, as numbers."""
    paths = sorted({header.path for header in headers})
    names = {path.name: f"file {number}" for number, path in enumerate(paths, 1)}
    told = sorted((name for name in names if name in text), key=len, reverse=True)
    if not told:
        return text
    pattern = "|".join(re.escape(name) for name in told)
    return re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", lambda hit: names[hit[0]], text)


def _common_shape(headers: Sequence[SliceHeader]) -> tuple[int, int] | None:
    """Return rows and columns where all slices have them in common."""
    shapes = {(h.integers.get("Rows"), h.integers.get("Columns")) for h in headers}
    rows, columns = shapes.pop()
    return None if shapes or rows is None or columns is None else (rows, columns)


def _pixel_spacing(header: SliceHeader) -> tuple[float, float] | None:
    """Return PixelSpacing where it is two finite numbers."""
    values = header.numbers("PixelSpacing")
    if len(values) != 2 or not all(abs(v) < float("inf") for v in values):
        return None
    return values[0], values[1]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _figure(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"
