"""Picture size inside a JPEG, JPEG-LS or JPEG 2000 stream, read before decoding.

A decoder allocates what the stream claims, whatever the DICOM header says; comparing
the two first keeps a forged stream from taking memory (faults C5, C6).
"""

from __future__ import annotations

import struct

_JPEG_FRAMES = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
"""Markers SOF0 to SOF15, but DHT, JPG and DAC, and JPEG-LS's SOF55."""
_SOC_SIZ = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "


def coded_shape(frame: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) that a compressed frame claims.

    Args:
        frame: One frame as it stands in PixelData.

    Returns:
        Rows and columns; None for RLE and for streams of another kind.

    Example:
        >>> coded_shape(bytes.fromhex("ffd8ffc3000b10 0200 0100 01011100"))
        (512, 256)
    """
    if frame[:8] == _JP2_SIGNATURE:
        start = frame.find(_SOC_SIZ)
        frame = frame[start:] if start >= 0 else b""
    if frame[:4] == _SOC_SIZ and len(frame) >= 24:
        right, lower, left, upper = struct.unpack_from(">IIII", frame, 8)
        return lower - upper, right - left
    if frame[:2] == b"\xff\xd8":
        return _jpeg_shape(frame)
    return None


def _jpeg_shape(frame: bytes) -> tuple[int, int] | None:
    """Return the size in the first frame header of a JPEG stream."""
    position = 2
    while position + 9 <= len(frame):
        if frame[position] != 0xFF:
            return None
        marker = frame[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in _JPEG_FRAMES:
            rows, columns = struct.unpack_from(">HH", frame, position + 5)
            return rows, columns
        position += 2 + struct.unpack_from(">H", frame, position + 2)[0]
    return None
