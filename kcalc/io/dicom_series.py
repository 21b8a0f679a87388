"""Read one DICOM series: a folder enters, a checked Volume leaves.

What the loaders of other libraries repair or hide (missing slices, tilt, absent
rescale tags: faults 2 and 3 of the catalogue) is refused here by name.
"""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from kcalc.errors import InputError
from kcalc.io.acquisition import acquisition_facts, acquisition_findings
from kcalc.io.dicom_enhanced import ENHANCED_CT, frame_headers
from kcalc.io.dicom_grid import fit_grid
from kcalc.io.dicom_header import SliceHeader, read_header
from kcalc.io.dicom_pixels import read_pixels
from kcalc.io.dicom_select import SeriesFiles, refuse_contrast, select_series
from kcalc.io.discovery import find_files, is_blank, quiet_pydicom
from kcalc.io.grid_corrections import (
    NO_CORRECTION,
    GridCorrections,
    corrected_volume,
)
from kcalc.io.intensity import check_hounsfield
from kcalc.io.pixel_checks import LOSSY_SYNTAXES, check_pixels
from kcalc.volume import Finding, SourceFrame, Volume


def read_dicom_series(
    path: str | Path,
    *,
    series: str | None = None,
    modality: str = "CT",
    unit: Literal["HU", "arbitrary"] | None = None,
    tube_voltage_kvp: float | None = None,
    corrections: GridCorrections = NO_CORRECTION,
) -> Volume:
    """Return the one series of a folder as a Volume.

    Args:
        path: A folder, searched with its subfolders, or a single file.
        series: Which series, where several fit: SeriesInstanceUID, the end of it, or
            the eight digits of the message ``SERIES_AMBIGUOUS``.
        modality: Wanted Modality.
        unit: None for HU on CT and arbitrary else. ``"HU"`` asserts that slices
            without rescale tags hold HU; ``"arbitrary"`` reads a CT that is not to
            be scored, such as one with contrast.
        tube_voltage_kvp: Overrides KVP, for a scan whose file lacks it.
        corrections: What of the grid may be corrected.

    Returns:
        The volume, slices by position along the normal (index 0 of a standard
        axial series is the most caudal), with every correction in its findings.

    Raises:
        InputError: A refusal with the code of the fault catalogue.
    """
    root = Path(path)
    hounsfield = unit == "HU" or (unit is None and modality.upper() == "CT")
    with quiet_pydicom():
        headers, findings, broken = _read_headers(root)
    chosen, notes = select_series(headers, root, modality=modality, series=series)
    findings += notes
    _refuse_broken_slices(broken, chosen)
    slices, notes = _without_duplicates(chosen.headers)
    findings += notes
    is_ct = modality.upper() == "CT"
    ordered, grid, notes = fit_grid(slices, root, axial=is_ct, corrections=corrections)
    findings += notes
    if hounsfield and is_ct:
        refuse_contrast(ordered, root)
    pairs = check_pixels(
        ordered,
        root,
        hounsfield=hounsfield,
        rescale_required=hounsfield and unit is None,
    )
    if hounsfield and any(not h.get("RescaleSlope") for h in ordered):
        message = "Slices without rescale tags were taken as HU, as the caller said."
        findings.append(Finding("HU_ASSUMED", message, "warning"))
    acquisition, notes = acquisition_facts(ordered, tube_voltage_kvp)
    findings += notes
    findings += acquisition_findings(acquisition, grid.geometry.spacing_mm[0], ordered)
    findings += _lossy(ordered)
    array, tally = read_pixels(ordered, pairs, hounsfield=hounsfield)
    findings += tally.findings()
    if hounsfield:
        findings += check_hounsfield(array, root, num_implausible=tally.num_above_20000)
    frames = tuple(_source_frame(header) for header in ordered)
    array, geometry, stored = corrected_volume(array, grid, root, hounsfield=hounsfield)
    return Volume(
        array=array,
        geometry=geometry,
        unit="HU" if hounsfield else "arbitrary",
        acquisition=acquisition,
        findings=tuple(findings),
        frames=() if stored else frames,
        source=replace(stored, frames=frames) if stored else None,
    )


def _source_frame(header: SliceHeader) -> SourceFrame:
    """Return what a reference to a slice needs."""
    x, y, z = header.numbers("ImagePositionPatient")
    return SourceFrame(
        path=header.path,
        sop_class_uid=header.get("SOPClassUID"),
        sop_instance_uid=header.get("SOPInstanceUID"),
        position_xyz_mm=(x, y, z),
        frame_number=header.frame_number,
    )


def _read_headers(
    root: Path,
) -> tuple[list[SliceHeader], list[Finding], list[tuple[Path, InputError]]]:
    """Return all DICOM headers under root, notes, and the files that are broken.

    Blank files and broken DICOM files are returned as broken, because they may be
    slices of the series.
    """
    headers: list[SliceHeader] = []
    broken: list[tuple[Path, InputError]] = []
    num_other = 0
    files = find_files(root)
    for path in files:
        try:
            header = read_header(path)
        except InputError as error:
            broken.append((path, error))
            continue
        if header is None:
            if is_blank(path):
                broken.append((path, _blank(path)))
            num_other += 1
        elif header.get("SOPClassUID") in ENHANCED_CT:
            try:
                headers += frame_headers(header) or [header]
            except InputError as error:
                broken.append((path, error))
        else:
            headers.append(header)
    if not headers:
        if broken:
            raise broken[0][1]
        if root.is_file():
            raise InputError(
                "NOT_DICOM",
                "the file is no DICOM object.",
                path=root,
                hint="Give a DICOM folder, or a file that ends in .nii or .nii.gz.",
            )
        raise InputError(
            "EMPTY_FOLDER",
            f"there must be DICOM slices; found {len(files)} files, none of them "
            "DICOM.",
            path=root,
            hint="Give the folder that holds the slices.",
        )
    findings = []
    if num_other:
        message = f"Files that are not DICOM were skipped: {num_other}."
        findings.append(Finding("FILES_SKIPPED", message, "note"))
    return headers, findings, broken


def _refuse_broken_slices(
    broken: Sequence[tuple[Path, InputError]], chosen: SeriesFiles
) -> None:
    """Refuse if a broken file looks like a slice of the series (C1, C3).

    It does if it lies in the folder of a slice and has the suffix of one.
    """
    homes = {(h.path.parent, h.path.suffix.lower()) for h in chosen.headers}
    for path, error in broken:
        if (path.parent, path.suffix.lower()) in homes:
            raise error


def _blank(path: Path) -> InputError:
    """Return the refusal of a slice of 0 bytes or of zeros."""
    return InputError(
        "TRUNCATED",
        "a file among the slices is empty or begins with zeros alone.",
        path=path,
        hint="Fetch it again from its archive, or remove it if it is no slice.",
    )


def _without_duplicates(
    headers: Sequence[SliceHeader],
) -> tuple[list[SliceHeader], list[Finding]]:
    """Return each SOPInstanceUID once (A2); refuse one UID with two contents."""
    first: dict[tuple[str, int | None], SliceHeader] = {}
    num_dropped = 0
    for header in headers:
        uid = header.get("SOPInstanceUID") or str(header.path), header.frame_number
        if uid not in first:
            first[uid] = header
            continue
        if not filecmp.cmp(first[uid].path, header.path, shallow=False):
            raise InputError(
                "UID_DUP",
                "one SOPInstanceUID must mean one slice; "
                f"{first[uid].path.name} and {header.path.name} differ.",
                path=header.path,
                hint="Fetch the series again from its archive.",
            )
        num_dropped += 1
    findings = []
    if num_dropped:
        message = f"Copies of other slices were dropped: {num_dropped}."
        findings.append(Finding("DUPLICATE_FILE", message, "correction"))
    return list(first.values()), findings


def _lossy(headers: Sequence[SliceHeader]) -> list[Finding]:
    """Report irreversible compression (B19)."""
    lossy = sum(
        h.get("LossyImageCompression") == "01" or h.transfer_syntax in LOSSY_SYNTAXES
        for h in headers
    )
    if not lossy:
        return []
    message = (
        f"{lossy} of {len(headers)} slices went through irreversible compression; "
        "small calcifications may have changed."
    )
    return [Finding("LOSSY", message, "warning")]
