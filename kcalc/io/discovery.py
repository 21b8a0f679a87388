"""Files of a folder, and the bytes of one DICOM file: paths enter, safe buffers leave.

Decides by content, never by name, what may be DICOM. A file without the Part 10
preamble is accepted only when its first bytes are a well-formed element of group
0002 or 0008 (no text file begins so), and only if a SOP class is found later.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kcalc.errors import InputError
from kcalc.volume import Finding

PREFIX_BYTES = 1 << 16
"""Bytes read first; the header of an ordinary CT slice lies within them."""
MAX_HEADER_BYTES = 1 << 28
"""Longest header that is searched for the pixels; 16 times ``PREFIX_BYTES`` thrice."""
MAX_FILE_BYTES = 1 << 32
"""Largest file that is read whole."""
MAX_INFLATED_BYTES = 1 << 27
"""Largest deflated data set that is expanded; a 2048 x 2048 slice takes 8 MiB."""
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR."""
DEFLATED = "1.2.840.10008.1.2.1.99"

_LONG_VRS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR")
_SHORT_VRS = (
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO"),
    *(b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US", b"UT"),
)


class FilesFound(NamedTuple):
    """What lies under a folder.

    Args:
        files: Regular files, sorted; links to files count as files.
        unreadable: Folders that cannot be listed, and links in a circle.
        num_links: Links to folders, which are not followed.
    """

    files: list[Path]
    unreadable: list[Path]
    num_links: int

    def findings(self) -> list[Finding]:
        """Return what was not looked into (fault C17)."""
        findings = []
        if self.unreadable:
            message = (
                f"{len(self.unreadable)} folders or links cannot be read; what lies "
                "there is not part of the scan."
            )
            findings.append(Finding("UNREADABLE", message, "warning"))
        if self.num_links:
            message = f"Links to folders were not followed: {self.num_links}."
            findings.append(Finding("LINKS", message, "note"))
        return findings


def find_files(path: Path) -> list[Path]:
    """Return every regular file under a folder, sorted; a file gives itself.

    As :func:`walk_files`, for work that must see all of a folder.

    Raises:
        InputError: ``NOT_FOUND``, or ``UNREADABLE`` of any folder.
    """
    found = walk_files(path)
    if found.unreadable:
        raise unreadable_folder(found.unreadable[0], None)
    return found.files


def walk_files(path: Path) -> FilesFound:
    """Return every regular file under a folder; a file gives itself.

    Links to folders are not followed, so a loop of links ends. What cannot be listed
    below the folder is reported, and the walk goes on. Nesting is limited by the
    system's path length alone.

    Raises:
        InputError: ``NOT_FOUND`` or ``UNREADABLE``, of the folder itself.
    """
    if not stat.S_ISDIR(mode_of(path)):
        return FilesFound([path], [], 0)
    files: list[str] = []
    closed: list[str] = []
    num_links = 0
    waiting = [str(path)]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                listed = list(entries)
        except OSError as error:
            if folder == str(path):
                raise unreadable_folder(path, error) from error
            closed.append(folder)
            continue
        for entry in listed:
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file():
                    files.append(entry.path)
                else:
                    num_links += entry.is_dir()
            except OSError:
                closed.append(entry.path)
    return FilesFound(
        [Path(file) for file in sorted(files)],
        [Path(place) for place in sorted(closed)],
        num_links,
    )


def mode_of(path: Path) -> int:
    """Return the mode of a file or folder, as ``os.stat`` gives it.

    Raises:
        InputError: ``NOT_FOUND``, or ``UNREADABLE`` where the system will not say, and
            for a pipe or device, which might never end.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise InputError(
            "NOT_FOUND", "there is no such file or folder.", path=path, hint="Check -i."
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(
            "UNREADABLE",
            "the input must be a file or a folder; this is a pipe or a device.",
            path=path,
            hint="Give a file or a folder.",
        )
    return mode


def unreadable_folder(path: Path, error: OSError | None) -> InputError:
    """Return the refusal of a folder that cannot be listed."""
    why = "" if error is None else f" ({type(error).__name__})"
    return InputError(
        "UNREADABLE",
        f"a folder or link cannot be read{why}.",
        path=path,
        hint="Give read permission or remove it from the input.",
    )


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
    """Return whether a file is empty or begins with 128 zeros, as a cut copy does.

    A DICOM directory begins so too, and is none.
    """
    head = _read(path, 1024)
    return not any(head[:128]) and MEDIA_DIRECTORY.encode() not in head


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
