"""Label files of every format, written by the tests from small arrays."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy.typing as npt

_ELEMENT_TYPES = {"u1": "MET_UCHAR", "i2": "MET_SHORT", "f4": "MET_FLOAT"}


def write_mhd(
    path: Path,
    array: npt.NDArray[Any],
    spacing_mm: tuple[float, float, float] = (3.0, 0.5, 0.5),
    origin_xyz_mm: tuple[float, float, float] = (-10.0, -20.0, 100.0),
    *,
    compressed: bool = False,
    **changes: str | None,
) -> Path:
    """Write (z, y, x) as MetaImage, data in the same file where it ends in .mha.

    ``changes`` are header lines by key; None leaves one out.
    """
    z, y, x = array.shape
    data = array.tobytes()
    local = path.suffix == ".mha"
    header: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": str(array.dtype.str.startswith(">")),
        "CompressedData": str(compressed),
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": " ".join(map(str, origin_xyz_mm)),
        "ElementSpacing": f"{spacing_mm[2]} {spacing_mm[1]} {spacing_mm[0]}",
        "DimSize": f"{x} {y} {z}",
        "ElementType": _ELEMENT_TYPES[array.dtype.str[1:]],
        **changes,
    }
    name = header.pop("ElementDataFile", "LOCAL" if local else f"{path.stem}.raw")
    lines = [f"{key} = {value}\n" for key, value in header.items() if value is not None]
    text = "".join([*lines, f"ElementDataFile = {name}\n"]).encode()
    payload = zlib.compress(data) if compressed else data
    if local:
        path.write_bytes(text + payload)
    else:
        path.write_bytes(text)
        path.with_suffix(".raw").write_bytes(payload)
    return path
