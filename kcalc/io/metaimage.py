"""MetaImage (.mhd with its data file, .mha): scans and masks enter as (z, y, x).

orCaScore comes in it. The header is text that anyone can write: sizes are compared with
the budget and with the data file before memory is taken, and the data file must lie
beside the header (fault C13).
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kcalc.errors import InputError
from kcalc.geometry import Geometry
from kcalc.io.discovery import file_size, unreadable
from kcalc.io.grid_corrections import NO_CORRECTION, GridCorrections
from kcalc.io.nifti_file import MAX_COMPRESSION, nifti_geometry
from kcalc.io.pixel_checks import MAX_VOXELS
from kcalc.io.stored_volume import orientation_unknown, stored_volume
from kcalc.volume import Volume

MAX_HEADER_BYTES = 1 << 16

_DTYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_OFFSET_KEYS = ("offset", "position", "origin")
_MATRIX_KEYS = ("transformmatrix", "rotation", "orientation")
_AGAIN = "Write it again, for instance with SimpleITK, as one volume."


def looks_like_metaimage(prefix: bytes) -> bool:
    """Return whether the first bytes of a file are a MetaImage header.

    Example:
        >>> looks_like_metaimage(b"ObjectType = Image")
        True
    """
    first = prefix[:64].lstrip().partition(b"=")[0].strip().lower()
    return first in (b"objecttype", b"ndims", b"comment", b"objectsubtype")


def read_metaimage(
    path: str | os.PathLike[str],
    *,
    modality: str = "CT",
    unit: Literal["HU", "arbitrary"] | None = None,
    tube_voltage_kvp: float | None = None,
    corrections: GridCorrections = NO_CORRECTION,
) -> Volume:
    """Return a 3-D MetaImage scan as a Volume on its stored grid.

    Args:
        path: A header ending in ``.mhd``, or a file ending in ``.mha``.
        modality: ``"CT"`` demands axial slices and plausible HU.
        unit: None means HU for CT, arbitrary else; ``"HU"`` asserts it.
        tube_voltage_kvp: Tube voltage in kVp; the file has none.
        corrections: What of the grid may be corrected: a sheared matrix, slices that
            are not axial.

    Raises:
        InputError: ``NOT_FOUND``, ``UNREADABLE``, ``MHD_HEADER``, ``MHD_FILE``,
            ``MHD_AFFINE``, ``TRUNCATED``, ``BUDGET``, or those of
            ``kcalc.io.stored_volume``.
    """
    source = Path(path)
    values, geometry, oriented = load_metaimage(source, sheared=corrections.untilt)
    return stored_volume(
        values,
        geometry,
        source,
        file_format="MetaImage",
        modality=modality,
        unit=unit,
        tube_voltage_kvp=tube_voltage_kvp,
        corrections=corrections,
        findings=() if oriented else (orientation_unknown("TransformMatrix"),),
    )


def load_metaimage(
    path: Path, *, sheared: bool
) -> tuple[npt.NDArray[Any], Geometry, bool]:
    """Return values (z, y, x), the grid, and whether the header states directions.

    Args:
        path: The header.
        sheared: Whether the third axis may be sheared, as of a tilted gantry.

    Raises:
        InputError: See :func:`read_metaimage`.
    """
    header, header_bytes = _read_header(path)
    sizes = [_whole(n, path) for n in _numbers(header, "dimsize", 3, path)]
    if min(sizes) < 1:
        raise _bad(path, f"DimSize must be at least 1; received {sizes}")
    if math.prod(sizes) > MAX_VOXELS:
        raise InputError(
            "BUDGET",
            f"a volume may have {MAX_VOXELS} voxels; the header claims "
            f"{math.prod(sizes)}.",
            path=path,
            hint="Give a smaller or coarser volume.",
        )
    dtype = _dtype(header, path)
    size_xyz = (sizes[0], sizes[1], sizes[2])
    geometry = _geometry(header, size_xyz, path, sheared=sheared)
    data = _data(header, path, header_bytes, math.prod(sizes) * dtype.itemsize)
    values = np.frombuffer(data, dtype).reshape(sizes[::-1])
    return values, geometry, any(key in header for key in _MATRIX_KEYS)


def _read_header(path: Path) -> tuple[dict[str, str], int]:
    """Return the header by key in small letters, and where it ends in the file."""
    if not path.is_file():
        raise InputError(
            "NOT_FOUND", "there is no such file.", path=path, hint="Check its name."
        )
    try:
        with path.open("rb") as file:
            text = file.read(MAX_HEADER_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error
    header: dict[str, str] = {}
    end = 0
    while "elementdatafile" not in header:
        line, newline, _ = text[end:].partition(b"\n")
        key, equals, value = line.decode("latin-1").partition("=")
        key = key.strip().lower()
        if not equals or not key or key in header:
            raise _bad(path, "its lines must be 'Key = Value', each key once, and end "
                       "with ElementDataFile")  # fmt: skip
        header[key] = value.strip()
        end += len(line) + len(newline)
    return header, end


def _numbers(
    header: Mapping[str, str], key: str, count: int, path: Path
) -> list[float]:
    """Return the finite numbers of a value."""
    try:
        numbers = [float(word) for word in header.get(key, "").split()]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise _bad(path, f"{key} must be {count} finite numbers")
    return numbers


def _whole(number: float, path: Path) -> int:
    if number != int(number):
        raise _bad(path, f"sizes must be whole numbers; received {number:g}")
    return int(number)


def _flag(header: Mapping[str, str], key: str, default: str = "false") -> bool:
    return header.get(key, default).lower() in ("true", "t", "1", "yes")


def _dtype(header: Mapping[str, str], path: Path) -> np.dtype[Any]:
    """Return the type of a voxel; refuse what is no plain 3-D image."""
    if header.get("objecttype", "Image").lower() != "image" or (
        _numbers(header, "ndims", 1, path) != [3.0]
    ):
        raise _bad(path, "it must be an Image with NDims = 3")
    if header.get("elementnumberofchannels", "1") != "1":
        raise _bad(path, "a voxel must have one channel")
    if not _flag(header, "binarydata", "true"):
        raise _bad(path, "its data must be binary")
    if {"elementtointensityfunctionslope", "elementtointensityfunctionoffset"} & {
        *header
    }:
        raise _bad(path, "a rescale in the header is not read; store HU themselves")
    name = header.get("elementtype", "").upper()
    if name not in _DTYPES:
        raise _bad(path, f"ElementType must be one of {', '.join(_DTYPES)}")
    big = any(
        _flag(header, key) for key in ("binarydatabyteordermsb", "elementbyteordermsb")
    )
    return np.dtype((">" if big else "<") + _DTYPES[name])


def _geometry(
    header: Mapping[str, str],
    size_xyz: tuple[int, int, int],
    path: Path,
    *,
    sheared: bool,
) -> Geometry:
    """Return the grid; a row of TransformMatrix is the direction of one axis in LPS."""
    spacing_key = "elementspacing" if "elementspacing" in header else "elementsize"
    spacing = _numbers(header, spacing_key, 3, path)
    if min(spacing) <= 0:
        raise _bad(path, f"ElementSpacing must be above 0 mm; received {spacing}")
    affine = np.eye(4)
    matrix = next((key for key in _MATRIX_KEYS if key in header), None)
    if matrix is not None:
        affine[:3, :3] = np.reshape(_numbers(header, matrix, 9, path), (3, 3)).T
        if np.abs(np.linalg.norm(affine[:3, :3], axis=0) - 1).max() > 1e-3:
            raise _bad(path, "the rows of TransformMatrix must have length 1")
    affine[:3, :3] *= spacing
    offset = next((key for key in _OFFSET_KEYS if key in header), None)
    if offset is not None:
        affine[:3, 3] = _numbers(header, offset, 3, path)
    affine[:2] *= -1
    return nifti_geometry(affine, size_xyz, path, sheared=sheared, code="MHD_AFFINE")


def _data(
    header: Mapping[str, str], path: Path, header_bytes: int, num_bytes: int
) -> bytes:
    """Return exactly the voxels' bytes from the file that holds them."""
    name = header["elementdatafile"]
    source, skipped = path, header_bytes
    if name.upper() != "LOCAL":
        source, skipped = _beside(path, name), 0
    compressed = _flag(header, "compresseddata")
    present = file_size(source) - skipped
    if "headersize" in header:
        skip = _whole(_numbers(header, "headersize", 1, path)[0], path)
        skip = present - num_bytes if skip == -1 and not compressed else skip
        if not 0 <= skip <= max(present, 0):
            raise _bad(path, f"HeaderSize must lie within the data file; is {skip}")
        skipped, present = skipped + skip, present - skip
    most = num_bytes * 2 + 1024 if compressed else num_bytes
    least = num_bytes / MAX_COMPRESSION if compressed else num_bytes
    if not least <= present <= most:
        raise _wrong_size(source, num_bytes, present)
    try:
        with source.open("rb") as file:
            file.seek(skipped)
            data = file.read(present)
    except OSError as error:
        raise unreadable(source, error) from error
    if compressed:
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            data = inflater.decompress(data, num_bytes + 1)
        except zlib.error:
            data = b""
    if len(data) != num_bytes:
        raise _wrong_size(source, num_bytes, len(data))
    return data


def _beside(path: Path, name: str) -> Path:
    """Return the data file, which must lie in the header's folder (C13)."""
    source = path.parent / name
    plain = name not in ("", ".", "..") and not set(name) & set('/\\%\0:*?"<>|')
    if (
        not plain
        or name.upper().split()[0] == "LIST"
        or source.resolve().parent != path.parent.resolve()
    ):
        raise InputError(
            "MHD_FILE",
            "ElementDataFile must be LOCAL or the name of one file beside the header; "
            "lists, patterns, folders and links that lead elsewhere are not followed.",
            path=path,
            hint=_AGAIN,
        )
    if not source.is_file():
        raise InputError(
            "NOT_FOUND",
            "the data file that the header names is not there.",
            path=path,
            hint="Put it beside the header.",
        )
    return source


def _wrong_size(path: Path, expected: int, received: int) -> InputError:
    return InputError(
        "TRUNCATED",
        f"the voxels must have {expected} bytes; received {received}.",
        path=path,
        hint="Fetch or write the file again.",
    )


def _bad(path: Path, rule: str) -> InputError:
    """Return the refusal of a header."""
    return InputError(
        "MHD_HEADER", f"of a MetaImage header: {rule}.", path=path, hint=_AGAIN
    )
