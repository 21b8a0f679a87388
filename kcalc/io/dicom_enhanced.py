"""Enhanced multi-frame CT: one object's header enters, one header a frame leaves.

Position, spacing, rescale and voltage stand in functional groups, per frame or shared
by all (PS3.3 A.38 and C.7.6.16). Each frame becomes a ``SliceHeader`` of its own, so
that it is checked like a slice of a single-frame series (fault A20).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kcalc.errors import InputError
from kcalc.io import discovery
from kcalc.io.dicom_header import NATIVE_SYNTAXES, SliceHeader, as_text

ENHANCED_CT = frozenset({"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})
"""SOP classes Enhanced CT and Legacy Converted Enhanced CT Image Storage."""
MAX_FRAMES = 1 << 16
"""Most frames of one object; more is set aside before anything is allocated."""

_PIXEL_VALUES = "PixelValueTransformationSequence"
_GROUPS: Mapping[str, Mapping[str, str]] = {
    "PlanePositionSequence": {"ImagePositionPatient": "ImagePositionPatient"},
    "PlaneOrientationSequence": {"ImageOrientationPatient": "ImageOrientationPatient"},
    "PixelMeasuresSequence": {
        "PixelSpacing": "PixelSpacing",
        "SliceThickness": "SliceThickness",
    },
    _PIXEL_VALUES: {
        "RescaleSlope": "RescaleSlope",
        "RescaleIntercept": "RescaleIntercept",
        "RescaleType": "RescaleType",
    },
    "CTImageFrameTypeSequence": {"FrameType": "ImageType"},
    "CTXRayDetailsSequence": {"KVP": "KVP"},
    "CTReconstructionSequence": {
        "ConvolutionKernel": "ConvolutionKernel",
        "ReconstructionDiameter": "ReconstructionDiameter",
    },
    "CardiacSynchronizationSequence": {
        "NominalPercentageOfCardiacPhase": "NominalPercentageOfCardiacPhase",
        "NominalCardiacTriggerDelayTime": "TriggerTime",
    },
    "FrameContentSequence": {
        "TemporalPositionIndex": "TemporalPositionIdentifier",
        "FrameAcquisitionNumber": "AcquisitionNumber",
    },
    "UnassignedSharedConvertedAttributesSequence": {
        name: name for name in ("KVP", "ConvolutionKernel", "ReconstructionDiameter")
    },
    "UnassignedPerFrameConvertedAttributesSequence": {
        name: name
        for name in ("KVP", "ConvolutionKernel", "TriggerTime", "AcquisitionNumber")
    },
}
"""Functional group -> keyword in it -> keyword of a single-frame slice."""


def frame_headers(header: SliceHeader) -> list[SliceHeader]:
    """Return a header for each frame of an Enhanced CT object.

    Args:
        header: Of the whole object.

    Returns:
        The frames in stored order; none where the object does not describe each of
        them, so that it can be set aside or refused as a whole.

    Raises:
        InputError: ``DICOM_BROKEN`` for functional groups that cannot be parsed.
    """
    claimed = header.number("NumberOfFrames") or 0
    if not 1 <= claimed <= MAX_FRAMES:
        return []
    try:
        with discovery.quiet_pydicom():
            dataset = _dataset(header)
            shared = _first(dataset, "SharedFunctionalGroupsSequence")
            frames = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
            common = {**_contrast(dataset, shared), **_values(shared)}
            values = [{**common, **_values(frame)} for frame in frames]
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            "DICOM_BROKEN",
            f"the functional groups cannot be parsed ({type(error).__name__}).",
            path=header.path,
            hint="Fetch the file again from its archive.",
        ) from error
    if len(frames) != claimed:
        return []
    return [_frame(header, value, k, len(frames)) for k, value in enumerate(values)]


def _dataset(header: SliceHeader) -> Any:
    """Return the data set up to the pixels."""
    import pydicom

    if header.transfer_syntax == discovery.DEFLATED:
        raw = discovery.read_whole(header.path)
        buffer = discovery.inflate(raw, header.path)[: header.pixel_offset]
    else:
        buffer = discovery.read_begin(header.path, header.pixel_offset or 0)
    return pydicom.dcmread(io.BytesIO(buffer), stop_before_pixels=True, force=True)


def _first(dataset: Any, keyword: str) -> Any:
    """Return the first item of a sequence, or None."""
    items = None if dataset is None else dataset.get(keyword)
    return items[0] if items else None


def _values(groups: Any) -> dict[str, str]:
    """Return what a set of functional groups says, under single-frame keywords."""
    values: dict[str, str] = {}
    for sequence, keywords in _GROUPS.items():
        item = _first(groups, sequence)
        if item is None:
            continue
        for keyword, name in keywords.items():
            element = item.get_item(keyword) if keyword in item else None
            text = "" if element is None else as_text(element.value)
            if text:
                values.setdefault(name, text)
    return values


def _contrast(dataset: Any, shared: Any) -> dict[str, str]:
    """Return agent and route of a contrast medium, {} where none was administered."""
    usage = _first(shared, "ContrastBolusUsageSequence")
    if usage is not None and usage.get("ContrastBolusAgentAdministered") == "NO":
        return {}
    agents = list(dataset.get("ContrastBolusAgentSequence") or ())
    values: dict[str, str] = {}
    for agent in agents:
        route = _first(agent, "ContrastBolusAdministrationRouteSequence")
        name = "" if route is None else as_text(route.get("CodeMeaning"))
        values = {
            "ContrastBolusAgent": as_text(agent.get("CodeMeaning")) or "unnamed",
            "ContrastBolusRoute": name,
        }
        if "ORAL" not in name.upper():
            break
    return values


def _frame(
    header: SliceHeader, values: Mapping[str, str], index: int, num_frames: int
) -> SliceHeader:
    """Return the header of one frame, its pixels found in an uncompressed file."""
    offset, num_bytes = header.pixel_offset, header.pixel_bytes
    if header.transfer_syntax in NATIVE_SYNTAXES and offset is not None:
        names = ("Rows", "Columns", "BitsAllocated")
        rows, columns, bits = (header.integers.get(name, 0) for name in names)
        size = rows * columns * bits // 8
        rest = max(0, (num_bytes or 0) - index * size)
        offset += index * size
        num_bytes = rest if index == num_frames - 1 else min(size, rest)
    kept = {k: v for k, v in header.text.items() if k != "NumberOfFrames"}
    return replace(
        header,
        text={**kept, **values},
        pixel_offset=offset,
        pixel_bytes=num_bytes,
        frame_number=index + 1,
        num_frames=num_frames,
    )
