"""What a JPEG, JPEG-LS or JPEG 2000 stream claims, read before decoding.

A decoder allocates what the stream claims, whatever the DICOM header says; comparing
the two first keeps a forged stream from taking memory (faults C5, C6).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_JPEG_FRAMES = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
"""Markers SOF0 to SOF15, but DHT, JPG and DAC, and JPEG-LS's SOF55."""
_SOC_SIZ = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "


class CodedImage(NamedTuple):
    """Size of the picture in a stream.

    Args:
        shape_yx: Rows and columns.
        num_samples: Samples a pixel: 1 for grey values.
        bits: Bits a sample.
        num_tiles: Parts into which JPEG 2000 cuts it; 1 for the others.
    """

    shape_yx: tuple[int, int]
    num_samples: int
    bits: int
    num_tiles: int = 1


def coded_image(frame: bytes) -> CodedImage | None:
    """Return what a compressed frame claims.

    Args:
        frame: One frame as it stands in PixelData.

    Returns:
        None for RLE, for streams of another kind, and for a header that is cut.

    Example:
        >>> coded_image(bytes.fromhex("ffd8ffc3000b10 0200 0100 01011100"))
        CodedImage(shape_yx=(512, 256), num_samples=1, bits=16, num_tiles=1)
    """
    if frame[:8] == _JP2_SIGNATURE:
        start = frame.find(_SOC_SIZ)
        frame = frame[start:] if start >= 0 else b""
    if frame[:4] == _SOC_SIZ and len(frame) >= 43:
        return _jpeg2000(frame)
    if frame[:2] == b"\xff\xd8":
        return _jpeg(frame)
    return None


def _jpeg2000(frame: bytes) -> CodedImage:
    """Return what the SIZ segment says (ISO/IEC 15444-1, A.5.1)."""
    right, lower, left, upper, *tiles = struct.unpack_from(">IIIIIIII", frame, 8)
    width, height, first_x, first_y = tiles
    num_samples, depth = struct.unpack_from(">HB", frame, 40)
    across = -(-(right - first_x) // width) if width else 0
    down = -(-(lower - first_y) // height) if height else 0
    shape_yx = (lower - upper, right - left)
    return CodedImage(shape_yx, num_samples, (depth & 0x7F) + 1, across * down)


def _jpeg(frame: bytes) -> CodedImage | None:
    """Return the size in the first frame header of a JPEG stream."""
    position = 2
    while position + 10 <= len(frame):
        if frame[position] != 0xFF:
            return None
        marker = frame[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in _JPEG_FRAMES:
            bits, rows, columns, samples = struct.unpack_from(
                ">BHHB", frame, position + 4
            )
            return CodedImage((rows, columns), samples, bits)
        position += 2 + struct.unpack_from(">H", frame, position + 2)[0]
    return None
