"""One DICOM object that is no image: a path enters, a data set leaves, or a refusal."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kcalc.errors import InputError
from kcalc.io import discovery
from kcalc.io.dicom_header import refuse_nesting

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"
RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
LABEL_CLASSES = (SEGMENTATION, LABEL_MAP_SEGMENTATION, RT_STRUCTURE_SET)
"""SOP classes that hold labels."""
MAX_OBJECT_BYTES = 1 << 30


def read_object(path: Path) -> Any:
    """Return a DICOM object with all its elements.

    Raises:
        InputError: ``UNREADABLE``, ``BUDGET``, ``TRUNCATED``, ``DICOM_NESTED`` or
            ``DICOM_BROKEN``.
    """
    import pydicom

    size = discovery.file_size(path)
    if size > MAX_OBJECT_BYTES:
        raise InputError(
            "BUDGET",
            f"a DICOM object of labels may have {MAX_OBJECT_BYTES} bytes; received "
            f"{size}.",
            path=path,
            hint="Export the labels of one scan.",
        )
    buffer = discovery.read_whole(path)
    meta = discovery.file_meta(buffer)[0]
    syntax = meta.get(0x0010, b"").decode("ascii", "replace").strip()
    if syntax == discovery.DEFLATED:
        buffer = discovery.inflate(buffer, path)
    with refusing_broken(path):
        dataset = pydicom.dcmread(io.BytesIO(buffer))
        refuse_nesting(dataset, path, 1)
    return dataset


@contextmanager
def refusing_broken(path: Path) -> Iterator[None]:
    """Turn what a damaged object raises inside pydicom into a refusal.

    Raises:
        InputError: ``DICOM_BROKEN``, and every InputError of the block.
    """
    try:
        with discovery.quiet_pydicom():
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            "DICOM_BROKEN",
            f"the object lacks what its kind must have, or is damaged "
            f"({type(error).__name__}).",
            path=path,
            hint="Export it again.",
        ) from error


def codes_of(item: Any, *keywords: str) -> tuple[str, ...]:
    """Return the code values of an item's code sequences, those absent left out."""
    return tuple(
        str(code.CodeValue)
        for keyword in keywords
        for code in item.get(keyword, None) or ()
        if "CodeValue" in code
    )


def whole_number(value: Any, keyword: str, path: Path, *, least: int = 1) -> int:
    """Return a whole number of an object.

    Raises:
        InputError: ``DICOM_BROKEN``, it is absent, no whole number, or below ``least``.
    """
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = least - 1
    if number < least:
        raise InputError(
            "DICOM_BROKEN",
            f"{keyword} must be a whole number of at least {least}.",
            path=path,
            hint="Export it again.",
        )
    return number
