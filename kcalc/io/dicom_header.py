"""One DICOM file's header: a path enters, the facts kcalc uses leave as SliceHeader.

Values are taken as the text that stands in the file, so that a wrong number is
refused with the value received and never raises inside pydicom. Nothing that
identifies a patient is kept.
"""

from __future__ import annotations

import functools
import io
import math
import re
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kcalc.errors import InputError
from kcalc.io import discovery

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
"""SOP class CT Image Storage: one slice a file."""
MAX_NESTING = 64
"""Deepest nesting of sequences that is read (fault C9)."""

NATIVE_SYNTAXES = frozenset(
    {
        "",
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.2",
        discovery.DEFLATED,
    }
)
"""Transfer syntaxes whose pixels are not compressed; "" where the file has none."""

_TEXT_KEYWORDS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("FrameOfReferenceUID", "Modality", "ImageType", "SeriesNumber"),
    *("AcquisitionNumber", "InstanceNumber"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("SliceThickness", "KVP", "ConvolutionKernel", "Manufacturer"),
    *("ManufacturerModelName", "BodyPartExamined", "ContrastBolusAgent"),
    *("ContrastBolusRoute", "RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("PhotometricInterpretation", "LossyImageCompression", "NumberOfFrames"),
    "PixelPresentation",
    *("TriggerTime", "NominalPercentageOfCardiacPhase", "TemporalPositionIdentifier"),
    *("ReconstructionDiameter", "AcquisitionTime"),
    *("CardiacSynchronizationTechnique", "ScanOptions", "FilterMaterial"),
    *("FilterType", "SeriesDescription", "ProtocolName", "MultienergyCTAcquisition"),
)
_INTEGER_KEYWORDS = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "SamplesPerPixel"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
)
_REAL_KEYWORDS = frozenset({"NominalPercentageOfCardiacPhase"})
_MAX_TEXT = 256


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """What kcalc knows of one DICOM file before its pixels are read.

    Args:
        path: The file.
        text: DICOM keyword to its value as text; absent and empty are left out.
        integers: DICOM keyword to value, for the pixel description.
        transfer_syntax: UID, or "" where the file names none.
        little_endian: Byte order of the pixels.
        num_bytes: Bytes of the data set's file, after inflating.
        pixel_offset: Where the pixel bytes begin, or None without pixel data.
        pixel_bytes: Declared length, or None for encapsulated (undefined) length.
        frame_number: Number of the frame in a multi-frame object, from 1; None for an
            object as a whole.
        num_frames: How many frames the object has; 1 where it is no multi-frame one.
    """

    path: Path
    text: Mapping[str, str]
    integers: Mapping[str, int]
    transfer_syntax: str
    little_endian: bool
    num_bytes: int
    pixel_offset: int | None
    pixel_bytes: int | None
    frame_number: int | None = None
    num_frames: int = 1

    def get(self, keyword: str) -> str:
        """Return a value as text, "" where it is absent or empty."""
        return self.text.get(keyword, "")

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Return the numbers of a value, () where absent, NaN for what is none."""
        value = self.text.get(keyword)
        return () if value is None else tuple(map(_number, value.split("\\")))

    def number(self, keyword: str) -> float | None:
        """Return a single finite number, or None."""
        values = self.numbers(keyword)
        if len(values) != 1 or not math.isfinite(values[0]):
            return None
        return values[0]

    def code(self, keyword: str) -> str:
        """Return a value that is a code string of the standard, "?" for another text.

        For messages: what is no code may be anything, a name included.
        """
        value = self.get(keyword).split("\\")[0].strip().upper()
        return value if re.fullmatch(r"[A-Z0-9_ ]{0,16}", value) else "?"

    @property
    def image_type(self) -> tuple[str, ...]:
        """ImageType in capitals."""
        parts = self.get("ImageType").upper().split("\\")
        return tuple(part.strip() for part in parts if part.strip())


def read_header(path: Path) -> SliceHeader | None:
    """Return the header of a DICOM file, or None for a file that is not DICOM.

    Args:
        path: Any file.

    Returns:
        The header; None for an empty file, a file of another kind, and a DICOM
        directory.

    Raises:
        InputError: ``UNREADABLE``, ``TRUNCATED``, ``BUDGET``, ``DICOM_NESTED`` or
            ``DICOM_BROKEN``.
    """
    buffer = discovery.read_prefix(path)
    if not discovery.looks_like_dicom(buffer):
        return None
    part10 = buffer[128:132] == b"DICM"
    meta = discovery.file_meta(buffer)[0] if part10 else {}
    syntax = meta.get(0x0010, b"").decode("ascii", "replace").strip()
    if syntax == discovery.DEFLATED:
        buffer = discovery.inflate(discovery.read_whole(path), path)
        header = _parse(buffer, path, syntax)
    else:
        header = _parse_growing(buffer, path, syntax)
    stated = meta.get(0x0002, b"").decode("ascii", "replace")
    sop_class = header.get("SOPClassUID") or stated
    if sop_class.startswith(discovery.MEDIA_DIRECTORY):
        return None
    if part10 and header.pixel_offset is None and not header.get("Modality"):
        raise InputError(
            "TRUNCATED",
            f"a DICOM object needs Modality; this file of {header.num_bytes} bytes "
            "ends before it.",
            path=path,
            hint="Fetch the file again from its archive.",
        )
    if sop_class == CT_IMAGE:
        _refuse_cut_slice(header)
    return header if sop_class.startswith("1.2.840.10008.5.") else None


def _refuse_cut_slice(header: SliceHeader) -> None:
    """Refuse a CT slice that ends before its pixels or belongs to no series (C3)."""
    if header.pixel_offset is None:
        raise InputError(
            "TRUNCATED",
            f"a CT slice needs pixel data; this file of {header.num_bytes} bytes "
            "ends before it.",
            path=header.path,
            hint="Fetch the file again from its archive.",
        )
    for keyword in ("SOPClassUID", "SeriesInstanceUID", "Modality"):
        if not header.get(keyword):
            raise InputError(
                "DICOM_BROKEN",
                f"a CT slice needs {keyword}; this one has none.",
                path=header.path,
                hint="Fetch the file again from its archive.",
            )


def _parse_growing(prefix: bytes, path: Path, syntax: str) -> SliceHeader:
    """Parse the first bytes of a file, and more of it while they do not suffice."""
    size = discovery.file_size(path)
    wanted = len(prefix)
    while size > wanted:
        try:
            header = _parse(prefix, path, syntax)
        except InputError:
            header = None
        if header is not None and header.pixel_offset is not None:
            return replace(header, num_bytes=size)
        if wanted >= discovery.MAX_HEADER_BYTES:
            raise InputError(
                "BUDGET",
                f"a header may have {discovery.MAX_HEADER_BYTES} bytes; that of this "
                f"file of {size} bytes is longer.",
                path=path,
                hint="No scanner writes such a slice; remove it from the input.",
            )
        wanted *= 16
        prefix = discovery.read_begin(path, wanted)
    return _parse(prefix, path, syntax)


def _parse(buffer: bytes, path: Path, syntax: str) -> SliceHeader:
    """Parse a buffer that holds the header, with or without the pixels."""
    import pydicom

    stream = io.BytesIO(buffer)
    try:
        with discovery.quiet_pydicom():
            dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
            refuse_nesting(dataset, path, 1)
            little = dataset.original_encoding[1] is not False
            text, integers = _values(dataset)
    except InputError:
        raise
    except RecursionError as error:
        raise _nested(path) from error
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(
            "DICOM_BROKEN",
            f"the header cannot be parsed ({type(error).__name__}).",
            path=path,
            hint="Fetch the file again from its archive.",
        ) from error
    offset, length = _pixel_element(buffer, stream.tell(), little)
    return SliceHeader(
        path=path,
        text=text,
        integers=integers,
        transfer_syntax=syntax,
        little_endian=little,
        num_bytes=len(buffer),
        pixel_offset=offset,
        pixel_bytes=length,
    )


def _values(dataset: Any) -> tuple[dict[str, str], dict[str, int]]:
    """Return the wanted values of a data set without converting all of it."""
    elements = {int(tag): element for tag, element in dataset.items()}
    text: dict[str, str] = {}
    for keyword, tag in _tags(_TEXT_KEYWORDS):
        if tag in elements:
            value = elements[tag].value
            if keyword in _REAL_KEYWORDS and isinstance(value, bytes):
                value = _as_real(elements[tag])
            value = as_text(value)
            if value:
                # Most values are the same in all slices of a series.
                text[keyword] = sys.intern(value)
    integers: dict[str, int] = {}
    for keyword, tag in _tags(_INTEGER_KEYWORDS):
        if tag in elements:
            padding = keyword.startswith("PixelPadding")
            signed = padding and integers.get("PixelRepresentation") == 1
            number = _as_integer(elements[tag], signed=signed)
            if number is not None:
                integers[keyword] = number
    return text, integers


@functools.cache
def _tags(keywords: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Return each keyword with its tag as one number."""
    from pydicom.datadict import tag_for_keyword

    found = [(keyword, tag_for_keyword(keyword)) for keyword in keywords]
    return tuple((keyword, int(tag)) for keyword, tag in found if tag is not None)


def as_text(value: Any) -> str:
    """Return a raw value as printable text of bounded length (faults C10, C11)."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        decoded = value[: 4 * _MAX_TEXT].decode("latin-1")
    elif isinstance(value, str):
        decoded = value
    elif isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        decoded = "\\".join(str(part) for part in value)
    else:
        decoded = str(value)
    decoded = decoded[:_MAX_TEXT].rstrip("\0 ")
    if not decoded.isprintable():
        decoded = "".join(c if c.isprintable() else " " for c in decoded)
    return decoded.strip()


def _as_real(element: Any) -> float | None:
    """Return an FL or FD value, or None where there is none."""
    kind = {4: "f", 8: "d"}.get(len(element.value))
    if kind is None:
        return None
    order = "<" if element.is_little_endian else ">"
    return float(struct.unpack(order + kind, element.value)[0])


def _as_integer(element: Any, *, signed: bool) -> int | None:
    """Return a US or SS value, raw or converted, with the pixel's signedness."""
    value = element.value
    if isinstance(value, bytes):
        if len(value) < 2:
            return None
        order = "<" if getattr(element, "is_little_endian", True) else ">"
        return int(struct.unpack(order + ("h" if signed else "H"), value[:2])[0])
    if isinstance(value, int):
        low16 = int(value) & 0xFFFF
        return low16 - 0x10000 if signed and low16 >= 0x8000 else low16
    return None


def _pixel_element(
    buffer: bytes, position: int, little: bool
) -> tuple[int | None, int | None]:
    """Return where the pixel bytes begin and their declared length.

    The length is None where it is undefined; both are None without pixel data. In
    implicit VR the two letters of a VR would be an odd length, which none is.
    """
    order = "<" if little else ">"
    if position + 12 > len(buffer):
        return None, None
    if struct.unpack_from(order + "HH", buffer, position) != (0x7FE0, 0x0010):
        return None, None
    explicit = buffer[position + 4 : position + 6] in (b"OW", b"OB", b"UN")
    length = struct.unpack_from(order + "I", buffer, position + (8 if explicit else 4))
    begin = position + (12 if explicit else 8)
    return begin, None if length[0] == 0xFFFFFFFF else int(length[0])


def refuse_nesting(dataset: Any, path: Path, depth: int) -> None:
    """Refuse sequences nested deeper than MAX_NESTING, without parsing lazy ones."""
    if depth > MAX_NESTING:
        raise _nested(path)
    for _, element in dataset.items():
        if element.VR == "SQ" and not isinstance(element.value, (bytes, type(None))):
            for item in element.value:
                refuse_nesting(item, path, depth + 1)


def _nested(path: Path) -> InputError:
    """Return the refusal of a data set nested too deeply."""
    return InputError(
        "DICOM_NESTED",
        f"sequences may be nested {MAX_NESTING} deep; these are deeper.",
        path=path,
        hint="No scanner writes such a file; remove it from the input.",
    )


def _number(text: str) -> float:
    """Return a decimal string's value, NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
