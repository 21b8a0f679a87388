"""Pixels of a series: sorted headers enter, one array in HU leaves, with its tally.

Uncompressed pixels are read straight from the file; compressed ones go through
``encapsulated``. What cannot be read was refused by ``pixel_checks`` before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.errors import InputError
from kcalc.hounsfield import CT_MIN_HU
from kcalc.io import discovery
from kcalc.io.dicom_header import NATIVE_SYNTAXES, SliceHeader
from kcalc.io.encapsulated import PixelFiles
from kcalc.volume import Finding

_INT16 = np.iinfo(np.int16)
_AGAIN = "Fetch the file again from its archive."


@dataclass
class PixelTally:
    """What happened to the pixels of a series on the way to HU."""

    num_padding: int = 0
    num_padding_in_range: int = 0
    num_overlay_bits: int = 0
    num_clipped: int = 0
    num_excess_bytes: int = 0
    num_above_20000: int = 0

    def findings(self) -> list[Finding]:
        """Return what was corrected, and what was kept though odd."""
        rows = (
            (
                self.num_padding,
                "PADDING",
                "values below -1024 HU are padding and were set to -1024",
                "correction",
            ),
            (
                self.num_padding_in_range,
                "PADDING_IN_RANGE",
                "voxels hold the declared padding value, which lies in the HU range; "
                "they were kept",
                "warning",
            ),
            (
                self.num_overlay_bits,
                "OVERLAY_BITS",
                "pixels had bits above BitsStored, which were removed",
                "correction",
            ),
            (
                self.num_clipped,
                "HU_CLIPPED",
                "values beyond the int16 range were clipped to it",
                "correction",
            ),
            (
                self.num_excess_bytes,
                "EXCESS_BYTES",
                "bytes after the pixels were ignored",
                "correction",
            ),
        )
        return [
            Finding(code, f"{count} {text}.", kind)  # type: ignore[arg-type]
            for count, code, text, kind in rows
            if count
        ]


def read_pixels(
    headers: Sequence[SliceHeader],
    pairs: Sequence[tuple[float, float]],
    *,
    hounsfield: bool,
) -> tuple[npt.NDArray[Any], PixelTally]:
    """Return the rescaled pixels of a series that ``check_pixels`` let through.

    Args:
        headers: The slices, in order.
        pairs: Slope and intercept of each.
        hounsfield: Whether the result is in HU: then values below -1024 are padding
            and become -1024 (fault B4).

    Returns:
        (z, y, x) int16 in HU; float32 where a slope or intercept is no integer, or
        where the unit is arbitrary. And the tally.

    Raises:
        InputError: ``DECODER``, ``TRUNCATED`` or ``UNREADABLE``.
    """
    size = (len(headers), headers[0].integers["Rows"], headers[0].integers["Columns"])
    integral = all(float(v).is_integer() for pair in pairs for v in pair)
    array: npt.NDArray[Any] = np.empty(
        size, np.int16 if integral and hounsfield else np.float32
    )
    tally = PixelTally()
    files = PixelFiles()
    for plane, header, (slope, intercept) in zip(array, headers, pairs, strict=True):
        stored = read_stored(header, tally, files)
        if hounsfield:
            _count_padding_in_range(stored, header, slope, intercept, tally)
        if array.dtype == np.int16:
            lowest = _rescale_to_int16(stored, slope, intercept, plane, tally)
        else:
            np.copyto(plane, stored.astype(np.float64) * slope + intercept)
            lowest = float(plane.min())
            tally.num_above_20000 += int(np.count_nonzero(plane > 20000))
        if hounsfield and lowest < CT_MIN_HU:
            replace_padding(plane, tally)
    return array, tally


def read_stored(
    header: SliceHeader,
    tally: PixelTally | None = None,
    files: PixelFiles | None = None,
) -> npt.NDArray[Any]:
    """Return the stored values of one slice, with bits above BitsStored removed.

    Args:
        header: A slice that ``check_pixels`` let through.
        tally: Counts what was corrected, where given.
        files: Keeps a file of many frames from being read once for each of them.

    Returns:
        (y, x) int16 or uint16 (int8 or uint8 for 8-bit pixels).
    """
    tally = PixelTally() if tally is None else tally
    files = PixelFiles() if files is None else files
    rows, columns = header.integers["Rows"], header.integers["Columns"]
    signed = header.integers.get("PixelRepresentation", 0) == 1
    num_bytes = header.integers["BitsAllocated"] // 8
    dtype = np.dtype(f"{'i' if signed else 'u'}{num_bytes}")
    if header.transfer_syntax not in NATIVE_SYNTAXES:
        stored = files.decoded(header).astype(dtype, copy=False)
    else:
        stored_order = dtype.newbyteorder("<" if header.little_endian else ">")
        flat = _read_native(header, rows * columns, stored_order, files)
        stored = flat.astype(dtype, copy=False).reshape(rows, columns)
        excess = (header.pixel_bytes or 0) - flat.nbytes
        tally.num_excess_bytes += excess if excess > 1 else 0
    return _without_high_bits(stored, header, tally)


def replace_padding(plane: npt.NDArray[Any], tally: PixelTally) -> None:
    """Set values below -1024 HU to -1024 in place and count them (faults B4, B5)."""
    below = int(np.count_nonzero(plane < CT_MIN_HU))
    if below:
        tally.num_padding += below
        np.maximum(plane, CT_MIN_HU, out=plane)


def _read_native(
    header: SliceHeader, num_pixels: int, dtype: np.dtype[Any], files: PixelFiles
) -> npt.NDArray[Any]:
    """Return uncompressed stored values, flat, in the file's byte order."""
    offset = header.pixel_offset or 0
    if header.transfer_syntax == discovery.DEFLATED:
        return np.frombuffer(files.inflated(header), dtype, num_pixels, offset)
    try:
        flat = np.fromfile(header.path, dtype, num_pixels, offset=offset)
    except OSError as error:
        raise discovery.unreadable(header.path, error) from error
    if flat.size < num_pixels:
        raise InputError(
            "TRUNCATED",
            f"the pixel data must have {num_pixels * dtype.itemsize} bytes; "
            f"{flat.nbytes} are there.",
            path=header.path,
            hint=_AGAIN,
        )
    return flat


def _without_high_bits(
    stored: npt.NDArray[Any], header: SliceHeader, tally: PixelTally
) -> npt.NDArray[Any]:
    """Return the values without overlay bits above BitsStored (B11)."""
    bits = stored.dtype.itemsize * 8
    unused = bits - header.integers.get("BitsStored", bits)
    if unused == 0:
        return stored
    if stored.dtype.kind == "u":
        masked: npt.NDArray[Any] = stored & stored.dtype.type((1 << bits >> unused) - 1)
    else:
        masked = np.right_shift(np.left_shift(stored, unused), unused)
    tally.num_overlay_bits += int(np.count_nonzero(masked != stored))
    return masked


def _rescale_to_int16(
    stored: npt.NDArray[Any],
    slope: float,
    intercept: float,
    plane: npt.NDArray[np.int16],
    tally: PixelTally,
) -> float:
    """Write stored x slope + intercept, all integers, to a plane; return the least."""
    ends = [int(v) * int(slope) + int(intercept) for v in (stored.min(), stored.max())]
    fits = min(ends) >= _INT16.min and max(ends) <= _INT16.max
    if fits and slope == 1 and stored.dtype.itemsize == 2 and abs(intercept) < 32768:
        np.add(stored.view(np.int16), np.int16(intercept), out=plane)
    else:
        wide = stored.astype(np.int64) * int(slope) + int(intercept)
        outside = wide > _INT16.max  # what lies below is padding
        tally.num_clipped += int(np.count_nonzero(outside))
        np.copyto(plane, np.clip(wide, _INT16.min, _INT16.max), casting="unsafe")
    if max(ends) > 20000:
        tally.num_above_20000 += int(np.count_nonzero(plane > 20000))
    return min(ends)


def _count_padding_in_range(
    stored: npt.NDArray[Any],
    header: SliceHeader,
    slope: float,
    intercept: float,
    tally: PixelTally,
) -> None:
    """Count declared padding that rescales into the HU range and so is kept (B4)."""
    padding = header.integers.get("PixelPaddingValue")
    if padding is None:
        return
    limit = header.integers.get("PixelPaddingRangeLimit", padding)
    low, high = min(padding, limit), max(padding, limit)
    if max(low * slope, high * slope) + intercept < CT_MIN_HU or math.isnan(slope):
        return
    inside = (stored >= low) & (stored <= high)
    inside &= stored * np.float64(slope) + intercept >= CT_MIN_HU
    tally.num_padding_in_range += int(np.count_nonzero(inside))
