"""Compressed pixels: a header enters, the stored values of its frame leave.

Every claim is compared with the header before a decoder sees the stream (faults C5,
C6): the bytes of a frame, the size of the picture inside, its samples and tiles.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.errors import InputError
from kcalc.io import discovery
from kcalc.io.codestream import coded_image
from kcalc.io.dicom_header import SliceHeader

MAX_EXPANSION = 2
"""Bytes that a frame may take compressed, in times of its uncompressed bytes."""
EXPANSION_SLACK = 1 << 16
"""Bytes it may take beyond that: tables and comments of a small picture."""
MAX_TILES = 1024
"""Most tiles of a JPEG 2000 picture; scanners write one."""

_AGAIN = "Fetch the file again from its archive."


class PixelFiles:
    """Reads frames, and keeps the file of the last one for the frames after it."""

    def __init__(self) -> None:
        self._inflated: tuple[str, bytes] = ("", b"")
        self._frames: tuple[str, list[bytes]] = ("", [])

    def inflated(self, header: SliceHeader) -> bytes:
        """Return the file of a slice in a deflated transfer syntax, expanded."""
        key = str(header.path)
        if self._inflated[0] != key:
            raw = discovery.read_whole(header.path)
            self._inflated = (key, discovery.inflate(raw, header.path))
        return self._inflated[1]

    def decoded(self, header: SliceHeader) -> npt.NDArray[Any]:
        """Return the stored values of a compressed slice, (y, x), as decoded.

        Raises:
            InputError: ``DECODER`` for a stream that cannot be decoded or does not
                hold what the header says, ``BUDGET`` for one that is too long.
        """
        key = str(header.path)
        if self._frames[0] != key:
            self._frames = (key, _split(header))
        frames = self._frames[1]
        number = header.frame_number or 1
        if len(frames) < number:
            raise _undecodable(header, f"frame {number} of {len(frames)} is not there")
        return _decode(header, frames[number - 1])


def _split(header: SliceHeader) -> list[bytes]:
    """Return the frames of a file, each one compressed stream."""
    from pydicom.encaps import generate_frames

    offset = header.pixel_offset or 0
    present = header.num_bytes - offset
    per_frame = MAX_EXPANSION * _frame_bytes(header) + EXPANSION_SLACK
    if present > header.num_frames * per_frame:
        raise InputError(
            "BUDGET",
            f"the compressed pixels may take {header.num_frames * per_frame} bytes, "
            f"more than uncompressed ones; received {present}.",
            path=header.path,
            hint=_AGAIN,
        )
    content = discovery.read_from(header.path, offset)
    try:
        with discovery.quiet_pydicom():
            return list(
                generate_frames(io.BytesIO(content), number_of_frames=header.num_frames)
            )
    except MemoryError:
        raise
    except Exception as error:
        raise _undecodable(header, type(error).__name__) from error


def _frame_bytes(header: SliceHeader) -> int:
    """Return the bytes of one uncompressed frame."""
    integers = header.integers
    return integers["Rows"] * integers["Columns"] * integers["BitsAllocated"] // 8


def _decode(header: SliceHeader, frame: bytes) -> npt.NDArray[Any]:
    """Return one decoded frame after a look at what its stream claims."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    integers = header.integers
    shape_yx = (integers["Rows"], integers["Columns"])
    bits = integers["BitsAllocated"]
    claim = coded_image(frame)
    if claim is not None:
        if claim.shape_yx != shape_yx:
            problem = f"the picture inside is {claim.shape_yx}, the header {shape_yx}"
            raise _undecodable(header, problem)
        if claim.num_samples != 1 or not 1 <= claim.num_tiles <= MAX_TILES:
            problem = f"{claim.num_samples} samples a pixel, {claim.num_tiles} tiles"
            raise _undecodable(header, problem)
        if not 2 <= claim.bits <= bits:
            # Some decoders end the process where a stream claims more than 16.
            problem = f"{claim.bits} bits a sample, the header allocates {bits}"
            raise _undecodable(header, problem)
    if frame[:2] == b"\xff\xd8" and b"\xff\xd9" not in frame[-16:]:
        # Cut JPEG-LS keeps a decoder busy for seconds.
        raise _undecodable(header, "the stream ends before its end marker")
    options: dict[str, Any] = {
        "rows": shape_yx[0],
        "columns": shape_yx[1],
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": header.get("PhotometricInterpretation"),
        "bits_allocated": bits,
        "bits_stored": integers.get("BitsStored", bits),
        "pixel_representation": integers.get("PixelRepresentation", 0),
        "pixel_keyword": "PixelData",
    }
    try:
        with discovery.quiet_pydicom():
            decoder = get_decoder(UID(header.transfer_syntax))
            wrapped = encapsulate([frame], has_bot=False)
            decoded = np.asarray(decoder.as_array(wrapped, raw=True, **options)[0])
    except MemoryError:
        raise
    except Exception as error:
        raise _undecodable(header, type(error).__name__) from error
    if decoded.shape != shape_yx:
        raise _undecodable(header, f"decoded {decoded.shape}, the header {shape_yx}")
    return decoded


def _undecodable(header: SliceHeader, problem: str) -> InputError:
    """Return the refusal of compressed pixels that do not give a picture (C5)."""
    return InputError(
        "DECODER",
        f"the compressed pixels (transfer syntax {header.transfer_syntax}) cannot be "
        f"decoded: {problem}.",
        path=header.path,
        hint=f'{_AGAIN} Decoders come with: pip install "kcalc[decode]".',
    )
