"""Read one DICOM series: a folder enters, a checked Volume leaves.

What the loaders of other libraries repair or hide (missing slices, tilt, absent
rescale tags: faults 2 and 3 of the catalogue) is refused here by name.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from kcalc.io.dicom_folder import read_folder_headers, refuse_without_headers
from kcalc.io.dicom_header import SliceHeader
from kcalc.io.dicom_pixels import read_pixels
from kcalc.io.dicom_select import select_series
from kcalc.io.grid_corrections import (
    NO_CORRECTION,
    GridCorrections,
    corrected_volume,
)
from kcalc.io.intensity import check_hounsfield
from kcalc.io.series_plan import plan_series
from kcalc.volume import SourceFrame, Volume


def read_dicom_series(
    path: str | Path,
    *,
    series: str | None = None,
    modality: str = "CT",
    unit: Literal["HU", "arbitrary"] | None = None,
    tube_voltage_kvp: float | None = None,
    corrections: GridCorrections = NO_CORRECTION,
    phase: float | None = None,
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
        phase: Cardiac phase to take of a series of several.

    Returns:
        The volume, slices by position along the normal (index 0 of a standard
        axial series is the most caudal), with every correction in its findings.

    Raises:
        InputError: A refusal with the code of the fault catalogue.
    """
    root = Path(path)
    hounsfield = unit == "HU" or (unit is None and modality.upper() == "CT")
    contents = read_folder_headers(root)
    refuse_without_headers(contents, root)
    chosen, notes = select_series(
        contents.headers, root, modality=modality, series=series
    )
    contents.refuse_broken_beside(chosen.headers)
    plan = plan_series(
        chosen,
        root,
        hounsfield=hounsfield,
        rescale_required=unit is None,
        tube_voltage_kvp=tube_voltage_kvp,
        corrections=corrections,
        phase=phase,
    )
    findings = [*contents.findings(), *notes, *plan.findings]
    ordered, grid = plan.headers, plan.grid
    array, tally = read_pixels(ordered, plan.pairs, hounsfield=hounsfield)
    findings += tally.findings()
    if hounsfield:
        findings += check_hounsfield(array, root, num_implausible=tally.num_above_20000)
    # Where positions were assumed, no frame can be referred to by its place.
    frames = () if plan.positions_assumed else tuple(map(_source_frame, ordered))
    array, geometry, stored = corrected_volume(array, grid, root, hounsfield=hounsfield)
    return Volume(
        array=array,
        geometry=geometry,
        unit="HU" if hounsfield else "arbitrary",
        acquisition=plan.acquisition,
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
