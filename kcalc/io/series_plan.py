"""What a series would be read as: its headers enter, the plan of its Volume leaves.

All that can be refused, corrected or noted without the pixels is so here; reading and
``kcalc inspect`` both go by it.
"""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kcalc.errors import InputError
from kcalc.io.acquisition import acquisition_facts, acquisition_findings
from kcalc.io.assumed_positions import assume_positions
from kcalc.io.dicom_grid import fit_grid
from kcalc.io.dicom_header import SliceHeader
from kcalc.io.dicom_select import refuse_contrast
from kcalc.io.grid_corrections import NO_CORRECTION, FittedGrid, GridCorrections
from kcalc.io.pixel_checks import LOSSY_SYNTAXES, check_pixels
from kcalc.io.series_files import SeriesFiles, cardiac_phases, phase_words
from kcalc.volume import Acquisition, Finding


@dataclass(frozen=True)
class SeriesPlan:
    """The slices of a series as they will be read.

    Args:
        headers: In order along the normal, each slice once.
        grid: Where they lie.
        pairs: Slope and intercept of each.
        acquisition: Facts of the series.
        findings: What was corrected or is to be heeded.
        positions_assumed: Whether the files state no positions.
    """

    headers: list[SliceHeader]
    grid: FittedGrid
    pairs: list[tuple[float, float]]
    acquisition: Acquisition
    findings: list[Finding]
    positions_assumed: bool = False


def plan_series(
    chosen: SeriesFiles,
    root: Path,
    *,
    hounsfield: bool = True,
    rescale_required: bool = True,
    tube_voltage_kvp: float | None = None,
    corrections: GridCorrections = NO_CORRECTION,
    phase: float | None = None,
) -> SeriesPlan:
    """Return how a series is read, or refuse it from its headers alone.

    Args:
        chosen: The series.
        root: The input, for messages.
        hounsfield: Whether the values are to be HU.
        rescale_required: Whether HU need rescale tags; else absent ones are taken for
            slope 1 and intercept 0.
        tube_voltage_kvp: Overrides KVP, for a scan whose file lacks it.
        corrections: What of the grid may be corrected or assumed.
        phase: Cardiac phase to take, in the file's own unit; None for all slices.

    Raises:
        InputError: A refusal with the code of the fault catalogue.
    """
    slices, findings = _without_duplicates(chosen.headers)
    if phase is not None:
        slices = _of_phase(slices, phase, root)
    assumed_mm = corrections.assume_spacing_mm
    positions_assumed = False
    if assumed_mm is not None:
        slices, notes = assume_positions(slices, assumed_mm)
        positions_assumed = bool(notes)
        findings += notes
    is_ct = slices[0].get("Modality").upper() == "CT"
    ordered, grid, notes = fit_grid(slices, root, axial=is_ct, corrections=corrections)
    findings += notes
    if hounsfield and is_ct:
        refuse_contrast(ordered, root)
    pairs = check_pixels(
        ordered,
        root,
        hounsfield=hounsfield,
        rescale_required=hounsfield and rescale_required,
    )
    if hounsfield and any(not h.get("RescaleSlope") for h in ordered):
        message = "Slices without rescale tags were taken as HU, as the caller said."
        findings.append(Finding("HU_ASSUMED", message, "warning"))
    acquisition, notes = acquisition_facts(ordered, tube_voltage_kvp)
    findings += notes
    findings += acquisition_findings(acquisition, grid.geometry.spacing_mm[0], ordered)
    findings += _lossy(ordered)
    return SeriesPlan(ordered, grid, pairs, acquisition, findings, positions_assumed)


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
                "one SOPInstanceUID must mean one slice; two files of one differ.",
                path=header.path,
                hint="Fetch the series again from its archive.",
            )
        num_dropped += 1
    findings = []
    if num_dropped:
        message = f"Copies of other slices were dropped: {num_dropped}."
        findings.append(Finding("DUPLICATE_FILE", message, "correction"))
    return list(first.values()), findings


def _of_phase(
    headers: Sequence[SliceHeader], phase: float, root: Path
) -> list[SliceHeader]:
    """Return the slices of one cardiac phase (A22)."""
    keyword, _ = cardiac_phases(headers)
    chosen = [h for h in headers if keyword and h.number(keyword) == phase]
    if not chosen:
        raise InputError(
            "PHASE_UNKNOWN",
            f"no slice is of phase {phase:g}; the series states "
            f"{phase_words(headers) or 'no phase'}.",
            path=root,
            hint="Name one of these, or leave out phase= (--phase).",
        )
    return chosen


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
