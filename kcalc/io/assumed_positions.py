"""Slices that state no position, placed as the caller says: headers in, headers out.

Old scans and slices that were written anew may lack ImagePositionPatient or
ImageOrientationPatient. They are refused unless the caller states the slice spacing
(fault A17); then InstanceNumber gives their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kcalc.errors import GeometryError
from kcalc.io.dicom_header import SliceHeader
from kcalc.volume import Finding

_AXIAL = "1\\0\\0\\0\\1\\0"
_KEYWORDS = ("ImagePositionPatient", "ImageOrientationPatient")


def assume_positions(
    headers: Sequence[SliceHeader], spacing_mm: float
) -> tuple[list[SliceHeader], list[Finding]]:
    """Return slices with positions every spacing_mm in the order of InstanceNumber.

    Slices that state their positions and orientation come back as they are.

    Args:
        headers: The slices of one series.
        spacing_mm: Distance of slice centres in mm, from the caller.

    Returns:
        The slices, axial from z = 0 upwards where they state nothing; and a warning,
        none where nothing was assumed.

    Raises:
        GeometryError: ``GEOM_POSITION``: some slices state a position and some do not,
            or InstanceNumber gives no order without a gap.
    """
    lacking = [h for h in headers if not all(h.get(k) for k in _KEYWORDS)]
    if not lacking:
        return list(headers), []
    if len(lacking) < len(headers):
        raise GeometryError(
            "GEOM_POSITION",
            f"a spacing is assumed for slices of which none states its position; "
            f"{len(headers) - len(lacking)} of {len(headers)} state it.",
            path=lacking[0].path,
            hint="Fetch the series again from its archive.",
        )
    numbers = [header.number("InstanceNumber") for header in headers]
    order = sorted(range(len(headers)), key=lambda k: numbers[k] or 0.0)
    in_order = [numbers[k] for k in order]
    first = in_order[0]
    if first is None or in_order != [first + k for k in range(len(headers))]:
        raise GeometryError(
            "GEOM_POSITION",
            "slices without positions need InstanceNumber, rising by 1 and each once; "
            "these have gaps, repeats or none.",
            path=headers[0].path,
            hint="Give every slice of one series, or use one with positions.",
        )
    placed = [
        replace(
            headers[k],
            text={
                **headers[k].text,
                "ImagePositionPatient": f"0\\0\\{place * spacing_mm:.6f}",
                "ImageOrientationPatient": _AXIAL,
            },
        )
        for place, k in enumerate(order)
    ]
    message = (
        f"The slices state no positions; they were taken as axial, every "
        f"{spacing_mm:g} mm in the order of InstanceNumber, as the caller said. Head "
        "and feet, left and right are unknown."
    )
    return placed, [Finding("SPACING_ASSUMED", message, "warning")]
