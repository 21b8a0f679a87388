"""Files that appear whole or not at all: temporary name, fsync, rename."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kcalc.errors import ResourceError


@contextmanager
def whole_or_absent(path: str | os.PathLike[str], suffix: str = "") -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it when the block ends well.

    The file is flushed to the disk before the rename, so that a killed process or
    a full disk leaves the former file intact.

    Args:
        path: Final path; its folder must exist.
        suffix: Ending of the temporary name, for writers that look at it
            (``".weights.h5"``).

    Raises:
        ResourceError: The file cannot be written (``WRITE_FAILED``).
        OSError: The block met the trouble of another file.
    """
    final = Path(path)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.part{suffix}")
    try:
        try:
            yield temporary
            sync_file(temporary)
            os.replace(temporary, final)
            sync_folder(final.parent)
        except OSError as error:
            ours = {str(temporary), str(final), str(final.parent)}
            if error.filename is not None and str(error.filename) not in ours:
                raise  # another file's trouble, met while this one was written
            raise ResourceError(
                "WRITE_FAILED",
                f"The file could not be written ({error.strerror or error}).",
                path=final,
                hint="Free disk space or choose a folder that can be written.",
            ) from error
    finally:
        temporary.unlink(missing_ok=True)


def writable_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder where it is absent and try it, so that a read-only one fails now.

    Args:
        path: The folder; those above it are made too.

    Raises:
        ResourceError: It cannot be made or written (``WRITE_FAILED``).
    """
    folder = Path(path)
    probe = folder / f".probe.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ResourceError(
            "WRITE_FAILED",
            f"The folder must be writable ({error.strerror}).",
            path=folder,
            hint="Choose another folder.",
        ) from error
    return folder


def sync_file(path: str | os.PathLike[str]) -> None:
    """Flush what the system holds of a file to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, where the system can (not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
