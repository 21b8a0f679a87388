"""Files of a folder, and the bytes of one DICOM file: paths enter, safe buffers leave.

Decides by content, never by name, what may be DICOM. A file without the Part 10
preamble is accepted only when its first bytes are a well-formed element of group
0002 or 0008 (no text file begins so), and only if a SOP class is found later.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

from kcalc.errors import InputError

PREFIX_BYTES = 1 << 16
"""Bytes read first; the header of an ordinary CT slice lies within them."""
MAX_HEADER_BYTES = 1 << 28
"""Longest header that is searched for the pixels; 16 times ``PREFIX_BYTES`` thrice."""
MAX_FILE_BYTES = 1 << 32
"""Largest file that is read whole."""
MAX_INFLATED_BYTES = 1 << 27
"""Largest deflated data set that is expanded; a 2048 x 2048 slice takes 8 MiB."""
DEFLATED = "1.2.840.10008.1.2.1.99"

_LONG_VRS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR")
_SHORT_VRS = (
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO"),
    *(b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US", b"UT"),
)


def find_files(path: Path) -> list[Path]:
    """Return every regular file under a folder, sorted; a file gives itself.

    Links to folders are not followed, so a loop of links ends. A folder that cannot
    be listed is refused rather than read in part.

    Raises:
        InputError: ``NOT_FOUND`` or ``UNREADABLE``.
    """
    if not path.exists():
        raise InputError(
            "NOT_FOUND", "there is no such file or folder.", path=path, hint="Check -i."
        )
    if path.is_file():
        return [path]

    def refuse(error: OSError) -> None:
        raise InputError(
            "UNREADABLE",
            f"a folder cannot be listed ({type(error).__name__}).",
            path=error.filename,
            hint="Give read permission or remove it from the input.",
        ) from error

    found = [
        Path(folder, name)
        for folder, _, names in os.walk(path, onerror=refuse)
        for name in names
    ]
    return sorted(file for file in found if file.is_file())


def read_prefix(path: Path) -> bytes:
    """Return the first bytes of a file, at most ``PREFIX_BYTES``.

    Raises:
        InputError: ``UNREADABLE``.
    """
    return read_begin(path, PREFIX_BYTES)


def read_begin(path: Path, num_bytes: int) -> bytes:
    """Return the first bytes of a file, at most that many.

    Raises:
        InputError: ``UNREADABLE``.
    """
    return _read(path, num_bytes)


def read_whole(path: Path) -> bytes:
    """Return all bytes of a file.

    Raises:
        InputError: ``UNREADABLE``, or ``BUDGET`` above ``MAX_FILE_BYTES``.
    """
    size = file_size(path)
    if size > MAX_FILE_BYTES:
        raise InputError(
            "BUDGET",
            f"a DICOM file must have at most {MAX_FILE_BYTES} bytes to be searched; "
            f"received {size}.",
            path=path,
            hint="Export the scan as one file a slice.",
        )
    return _read(path, -1)


def read_from(path: Path, offset: int) -> bytes:
    """Return the bytes of a file from an offset on.

    Raises:
        InputError: ``UNREADABLE``.
    """
    return _read(path, -1, offset)


def file_size(path: Path) -> int:
    """Return the size of a file in bytes.

    Raises:
        InputError: ``UNREADABLE``, also where it vanished meanwhile.
    """
    try:
        return path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error


def is_blank(path: Path) -> bool:
    """Return whether a file is empty or begins with 128 zeros, as a cut copy does."""
    return not any(_read(path, 128))


@contextlib.contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom from warning and logging, as both may print values of tags."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    silent = logging.CRITICAL + 1
    if level < silent:
        logger.setLevel(silent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if level < silent:
            logger.setLevel(level)


def looks_like_dicom(prefix: bytes) -> bool:
    """Return whether the first bytes of a file may begin a DICOM data set.

    Example:
        >>> looks_like_dicom(b"patient;score")
        False
        >>> looks_like_dicom(bytes(128) + b"DICM")
        True
    """
    if prefix[128:132] == b"DICM":
        return True
    if len(prefix) < 8:
        return False
    little = prefix[0] in (2, 8) and prefix[1] == 0
    big = prefix[0] == 0 and prefix[1] in (2, 8)
    if not little and not big:
        return False
    if prefix[4:6] in _LONG_VRS or prefix[4:6] in _SHORT_VRS:
        return True
    length = struct.unpack_from("<I", prefix, 4)[0]
    return little and prefix[3] == 0 and length <= 256


def inflate(raw: bytes, path: Path) -> bytes:
    """Return a deflated Part 10 file as an uncompressed one, within the budget.

    The data set is expanded piece by piece and given up at
    ``MAX_INFLATED_BYTES``; the transfer syntax in the meta information becomes
    Explicit VR Little Endian.

    Args:
        raw: All bytes of the file, with preamble.
        path: Its path, for messages.

    Raises:
        InputError: ``BUDGET`` for a data set that is too large, ``TRUNCATED`` for
            a broken stream.
    """
    start = file_meta(raw)[1]
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = decompressor.decompress(raw[start:], MAX_INFLATED_BYTES + 1)
    except zlib.error as error:
        raise InputError(
            "TRUNCATED",
            "the deflated data set is damaged.",
            path=path,
            hint="Fetch the file again from its archive.",
        ) from error
    if len(data) > MAX_INFLATED_BYTES:
        raise InputError(
            "BUDGET",
            f"a deflated data set may expand to {MAX_INFLATED_BYTES} bytes; this one "
            f"of {len(raw)} bytes expands to more.",
            path=path,
            hint="Export it uncompressed, one file a slice, if it is a real scan.",
        )
    if not decompressor.eof:
        raise InputError(
            "TRUNCATED",
            f"the deflated data set ends early, after {len(data)} bytes.",
            path=path,
            hint="Fetch the file again from its archive.",
        )
    plain = DEFLATED.removesuffix(".99").encode().ljust(len(DEFLATED), b"\0")
    return raw[:start].replace(DEFLATED.encode(), plain, 1) + data


def file_meta(raw: bytes) -> tuple[dict[int, bytes], int]:
    """Return the elements of group 0002 by element number, and where they end.

    Args:
        raw: The first bytes of a file with preamble.
    """
    elements: dict[int, bytes] = {}
    position = 132
    while position + 12 <= len(raw):
        group, element = struct.unpack_from("<HH", raw, position)
        if group != 2:
            break
        if raw[position + 4 : position + 6] in _LONG_VRS:
            length, header = struct.unpack_from("<I", raw, position + 8)[0], 12
        else:
            length, header = struct.unpack_from("<H", raw, position + 6)[0], 8
        begin = position + header
        elements[element] = raw[begin : begin + length].rstrip(b"\0 ")
        position = begin + length
    return elements, position


def _read(path: Path, size: int, offset: int = 0) -> bytes:
    """Return up to size bytes of a file from an offset on, all for -1."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> InputError:
    """Return the refusal of a file that the system will not give."""
    return InputError(
        "UNREADABLE",
        f"a file cannot be read ({type(error).__name__}).",
        path=path,
        hint="Give read permission, and see that it is not being moved.",
    )
