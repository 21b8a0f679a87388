"""How a series was acquired: headers enter, Acquisition and warnings leave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from kcalc.errors import InputError, UnfitError
from kcalc.io.dicom_header import SliceHeader
from kcalc.io.series_files import is_sharp_kernel
from kcalc.io.technique import has_tin_filter, is_ecg_gated, is_spectral
from kcalc.volume import Acquisition, Finding

STANDARD_KVP = 120.0
PLAUSIBLE_KVP = (40.0, 200.0)
PROTOCOL_THICKNESS_MM = (2.5, 3.0)
"""Slice thickness of calcium-scoring protocols (fault A15)."""


def acquisition_facts(
    headers: Sequence[SliceHeader], tube_voltage_kvp: float | None
) -> tuple[Acquisition, list[Finding]]:
    """Return the acquisition facts of a series, and findings on the tube voltage.

    A voltage that is absent, implausible, or not the same in all slices is None.

    Args:
        headers: The slices of one series.
        tube_voltage_kvp: The caller's voltage in kVp, or None for the file's.

    Raises:
        ValueError: The caller's voltage is not plausible.
    """
    first = headers[0]
    kvp, findings = _tube_voltage(headers, tube_voltage_kvp)
    thicknesses = {h.number("SliceThickness") for h in headers}
    thickness = first.number("SliceThickness") if len(thicknesses) == 1 else None
    if thickness is not None and thickness <= 0:
        thickness = None
    if len(thicknesses) > 1:
        message = "SliceThickness is not the same in all slices; it is left unknown."
        findings.append(Finding("THICKNESS", message, "warning"))
    studies = {h.get("StudyInstanceUID") or None for h in headers}
    facts = Acquisition(
        modality=first.get("Modality") or None,
        tube_voltage_kvp=kvp,
        slice_thickness_mm=thickness,
        convolution_kernel=first.get("ConvolutionKernel") or None,
        manufacturer=first.get("Manufacturer") or None,
        manufacturer_model_name=first.get("ManufacturerModelName") or None,
        image_type=first.image_type,
        contrast_agent=first.get("ContrastBolusAgent") or None,
        body_part=first.get("BodyPartExamined") or None,
        study_uid=studies.pop() if len(studies) == 1 else None,
        series_uid=first.get("SeriesInstanceUID") or None,
        frame_of_reference_uid=first.get("FrameOfReferenceUID") or None,
        ecg_gated=is_ecg_gated(first),
        tin_filter=has_tin_filter(first),
        spectral=is_spectral(first),
    )
    return facts, findings


def given_voltage(tube_voltage_kvp: float, path: Path | None = None) -> float:
    """Return the caller's voltage after a check of its range.

    Raises:
        InputError: ``KVP`` outside 40 to 200 kVp.
    """
    low, high = PLAUSIBLE_KVP
    if not low <= tube_voltage_kvp <= high:
        raise InputError(
            "KVP",
            f"tube_voltage_kvp must lie within {low:g} to {high:g} kVp; received "
            f"{tube_voltage_kvp}.",
            path=path,
            hint="Give the tube voltage of the scan, such as 120.",
        )
    return float(tube_voltage_kvp)


def known_voltage(tube_voltage_kvp: float | None) -> float:
    """Return the tube voltage in kVp; refuse to score a scan where it is not known.

    Raises:
        UnfitError: ``KVP_UNKNOWN``.
    """
    if tube_voltage_kvp is None:
        raise UnfitError(
            "KVP_UNKNOWN",
            "A score needs the tube voltage, for the calcium threshold depends on it; "
            "the scan does not state one.",
            hint="State it with --tube-voltage-kvp (tube_voltage_kvp=), for instance "
            "120, if you know it.",
        )
    return tube_voltage_kvp


def acquisition_findings(
    facts: Acquisition, slice_spacing_mm: float, headers: Sequence[SliceHeader]
) -> list[Finding]:
    """Return the warnings that follow from how a CT was acquired.

    Args:
        facts: Of the series.
        slice_spacing_mm: From the slice positions.
        headers: The slices.
    """
    findings: list[Finding] = []
    if facts.modality != "CT":
        return findings
    thickness = facts.slice_thickness_mm
    if thickness is not None and abs(thickness - slice_spacing_mm) > max(
        0.1, 0.03 * slice_spacing_mm
    ):
        how = "overlap" if thickness > slice_spacing_mm else "leave gaps"
        message = (
            f"Slices are {thickness:g} mm thick every {slice_spacing_mm:.3f} mm, so "
            "they " + how + "; volumes use the spacing."
        )
        findings.append(Finding("THICKNESS", message, "warning"))
    low, high = PROTOCOL_THICKNESS_MM
    width = slice_spacing_mm if thickness is None else thickness
    if not low - 0.05 <= width <= high + 0.05:
        message = (
            f"The slice thickness is {width:g} mm; calcium-scoring protocols use "
            f"{low:g} to {high:g} mm."
        )
        findings.append(Finding("PROTOCOL", message, "warning"))
    if is_sharp_kernel(headers[0].get("ConvolutionKernel")):
        message = (
            "The reconstruction kernel is one for lung or bone: it raises noise and "
            "edges, and with them a calcium score."
        )
        findings.append(Finding("KERNEL", message, "warning"))
    if any(h.image_type[:1] == ("DERIVED",) for h in headers):
        message = "ImageType is DERIVED: the slices were reformatted or processed."
        findings.append(Finding("DERIVED", message, "warning"))
    return findings


def _tube_voltage(
    headers: Sequence[SliceHeader], given: float | None
) -> tuple[float | None, list[Finding]]:
    """Return the tube voltage in kVp, or None, and what there is to say of it."""
    values = {h.number("KVP") for h in headers}
    in_file = values.pop() if len(values) == 1 else None
    low, high = PLAUSIBLE_KVP
    if in_file is not None and not low <= in_file <= high:
        in_file = None
    if given is not None:
        kvp: float | None = given_voltage(given)
        said = "nothing usable" if in_file is None else f"{in_file:g} kVp"
        message = f"The caller gave {kvp:g} kVp; the file says {said}."
        differs = in_file is not None and not math.isclose(in_file, given)
        findings = [Finding("KVP_GIVEN", message, "warning" if differs else "note")]
    else:
        kvp, findings = in_file, []
    if headers[0].get("Modality").upper() != "CT":
        return kvp, findings
    if kvp is None:
        message = "The tube voltage is unknown; a score needs it from the caller."
        findings.append(Finding("KVP_UNKNOWN", message, "warning"))
    elif kvp != STANDARD_KVP:
        message = (
            f"The tube voltage is {kvp:g} kVp; the 130 HU threshold holds at 120 kVp."
        )
        findings.append(Finding("KVP", message, "warning"))
    return kvp, findings
