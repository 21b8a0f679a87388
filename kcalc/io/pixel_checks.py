"""Pixels that may be read: headers enter, slope and intercept leave, or a refusal.

Everything is refused here from the headers alone, before memory is taken: a missing
rescale, colours, a header that claims more than the file or the budget holds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from kcalc.errors import InputError, IntensityError
from kcalc.io.dicom_header import NATIVE_SYNTAXES, SliceHeader
from kcalc.io.discovery import quiet_pydicom

MAX_VOXELS = 1 << 31
"""Largest volume that is read: 4 GiB as int16. Beyond it, ``BUDGET``."""
MAX_COMPRESSION = 1000
"""Largest ratio of compressed pixels; CT reaches 4, an empty slice some hundred."""
COMPRESSION_SLACK = 1 << 24
"""Bytes that may be claimed beyond it: two empty slices of 2048 x 2048."""
LOSSY_SYNTAXES = frozenset(
    f"1.2.840.10008.1.2.4.{number}"
    for number in (50, 51, 53, 55, 81, 91, 93, 110, 112, 203)
)
"""Transfer syntaxes that are, or may be, irreversible."""
HU_RESCALE_TYPES = frozenset({"", "HU", "US"})
"""RescaleType of plain CT slices; US is "unspecified" (PS3.3 C.11.1.1.2)."""

_AGAIN = "Fetch the file again from its archive."


def check_pixels(
    headers: Sequence[SliceHeader],
    path: Path,
    *,
    hounsfield: bool,
    rescale_required: bool,
) -> list[tuple[float, float]]:
    """Return (slope, intercept) of each slice after refusing what cannot be read.

    Args:
        headers: The slices of one series, of one size.
        path: The input, for messages.
        hounsfield: Whether the values are to be HU; 8 bits cannot hold those.
        rescale_required: Whether absent rescale tags are refused; else they mean
            slope 1 and intercept 0.

    Raises:
        InputError: ``BUDGET``, ``PHOTOMETRIC``, ``BITS``, ``NO_PIXELS``,
            ``TRUNCATED`` or ``DECODER``.
        IntensityError: ``HU_UNKNOWN``, ``HU_RESCALE`` or ``HU_RANGE``.
    """
    first = headers[0].integers
    num_voxels = len(headers) * first["Rows"] * first["Columns"]
    if num_voxels > MAX_VOXELS:
        raise InputError(
            "BUDGET",
            f"a volume may have {MAX_VOXELS} voxels; the headers claim {num_voxels} "
            f"({len(headers)} x {first['Rows']} x {first['Columns']}).",
            path=path,
            hint="Read a thicker reconstruction, or part of the series.",
        )
    pairs = [_rescale(header, required=rescale_required) for header in headers]
    for header in headers:
        _check_description(header, hounsfield=hounsfield)
        _check_length(header)
    return pairs


def _rescale(header: SliceHeader, *, required: bool) -> tuple[float, float]:
    """Return slope and intercept of one slice (B1, B2, B3)."""
    rescale_type = header.get("RescaleType").upper()
    if required and rescale_type not in HU_RESCALE_TYPES:
        raise IntensityError(
            "HU_UNKNOWN",
            f"RescaleType must be HU; received {rescale_type[:16]!r}, so the values "
            "are of another kind, such as an iodine map.",
            path=header.path,
            hint="Use the plain CT reconstruction.",
        )
    values = []
    for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        if not header.get(keyword):
            if required:
                raise IntensityError(
                    "HU_UNKNOWN",
                    f"a CT slice needs RescaleSlope and RescaleIntercept; {keyword} "
                    "is missing, so its values need not be HU.",
                    path=header.path,
                    hint="If they are known to be HU, say so with unit='HU' "
                    "(--assume-hu).",
                )
            values.append(default)
            continue
        number = header.number(keyword)
        if number is None or (keyword == "RescaleSlope" and number == 0):
            raise IntensityError(
                "HU_RESCALE",
                "RescaleSlope must be a finite number other than 0 and "
                "RescaleIntercept a finite number; received "
                f"{keyword} = {header.get(keyword)[:40]!r}.",
                path=header.path,
                hint=_AGAIN,
            )
        values.append(number)
    return values[0], values[1]


def _check_description(header: SliceHeader, *, hounsfield: bool) -> None:
    """Refuse pixels that are no plain grey values (B10, B11, B15)."""
    integers = header.integers
    photometric = header.get("PhotometricInterpretation")
    samples = integers.get("SamplesPerPixel", 1)
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(
            "PHOTOMETRIC",
            "pixels must be MONOCHROME1 or MONOCHROME2 with one sample; received "
            f"{photometric or 'none'} with {samples}.",
            path=header.path,
            hint="Use the original slices, not coloured or captured pictures.",
        )
    allocated = integers.get("BitsAllocated", 0)
    stored = integers.get("BitsStored", allocated)
    high = integers.get("HighBit", stored - 1)
    if allocated not in (8, 16) or not 1 <= stored <= allocated or high != stored - 1:
        raise InputError(
            "BITS",
            "pixels must have 8 or 16 bits allocated and HighBit = BitsStored - 1; "
            f"received BitsAllocated {allocated}, BitsStored {stored}, HighBit {high}.",
            path=header.path,
            hint=_AGAIN,
        )
    if integers.get("PixelRepresentation", 0) not in (0, 1):
        raise InputError(
            "BITS",
            "PixelRepresentation must be 0 or 1; received "
            f"{integers['PixelRepresentation']}.",
            path=header.path,
            hint=_AGAIN,
        )
    if hounsfield and stored <= 8:
        raise IntensityError(
            "HU_RANGE",
            f"Hounsfield units need more than 8 bits; received {stored}, as a "
            "windowed picture has.",
            path=header.path,
            hint="Use the original 12- or 16-bit slices.",
        )


def _check_length(header: SliceHeader) -> None:
    """Refuse pixel data that cannot be there in full (C3, C6), or be decoded (C5)."""
    if header.pixel_offset is None:
        raise InputError(
            "TRUNCATED",
            f"the slice has no pixel data; the file of {header.num_bytes} bytes ends "
            "before it.",
            path=header.path,
            hint=_AGAIN,
        )
    integers = header.integers
    num_pixels = integers["Rows"] * integers["Columns"]
    expected = num_pixels * integers["BitsAllocated"] // 8
    present = header.num_bytes - header.pixel_offset
    if header.transfer_syntax not in NATIVE_SYNTAXES:
        _check_decoder(header)
        largest = MAX_COMPRESSION * present + COMPRESSION_SLACK
        if header.num_frames * expected > largest:
            raise InputError(
                "BUDGET",
                f"{present} compressed bytes may give {largest}; the header claims "
                f"{header.num_frames * expected}.",
                path=header.path,
                hint=_AGAIN,
            )
        return
    got = min(present, header.pixel_bytes or 0)
    if got < expected:
        raise InputError(
            "TRUNCATED",
            f"the pixel data must have {expected} bytes; {got} are there.",
            path=header.path,
            hint=_AGAIN,
        )


def _check_decoder(header: SliceHeader) -> None:
    """Refuse a transfer syntax for which no decoder exists or is installed."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    available: bool | None = None
    with quiet_pydicom():
        uid = UID(header.transfer_syntax)
        name = uid.name if uid.name != str(uid) else "an unknown or private one"
        with contextlib.suppress(NotImplementedError):
            available = bool(get_decoder(uid).is_available)
    if available is None:
        raise InputError(
            "DECODER",
            f"the transfer syntax {uid} ({name}) has no decoder.",
            path=header.path,
            hint="Convert the series to Explicit VR Little Endian with its archive.",
        )
    if not available:
        raise InputError(
            "DECODER",
            f"the transfer syntax {uid} ({name}) needs a decoder that is not "
            "installed.",
            path=header.path,
            hint='Install it with: pip install "kcalc[decode]".',
        )
