"""A result folder that appears whole or not at all.

Files are written under a hidden partial folder on the same file system, flushed to
disk and then renamed. A folder that holds anything but an unchanged result of kcalc
is never touched, so that a mask edited in a viewer cannot be overwritten.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kcalc.artifact import sha256_of
from kcalc.errors import ResourceError
from kcalc.files import sync_file, sync_folder

_PARTIAL = ".kcalc-partial-"


@contextmanager
def result_folder(directory: str | os.PathLike[str], record: str) -> Iterator[Path]:
    """Give a partial folder to write into; it becomes ``directory`` at the end.

    On entry it is checked at once, before any work, that ``directory`` can be
    written and holds nothing of the user's. If the body raises, the partial folder
    is removed and ``directory`` is as it was. A process that is killed leaves at
    most a hidden folder ``.kcalc-partial-*``, which no later run minds.

    Args:
        directory: The folder to make. Missing parents are made. If it exists it
            must be empty or an unchanged former result, which is replaced.
        record: Name of the JSON file which the body writes last, by
            :func:`write_record`. It is renamed last: a folder with a record is
            complete.

    Yields:
        The partial folder.

    Raises:
        ResourceError: ``OUTPUT_UNWRITABLE`` if the folder cannot be written,
            ``OUTPUT_EXISTS`` if it holds other files or an edited result, on entry
            or at the end, ``DISK_FULL`` if the disk fills up.
    """
    target = Path(directory).absolute()
    _former_files(target, record)
    try:
        made = _first_missing(target.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        # An existing folder may be a mount point, which cannot be renamed, or lie
        # in a parent that cannot be written: its files are renamed one by one.
        home = target if target.exists() else target.parent
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=home))
    except OSError as error:
        raise _unwritable(target, error) from error
    written = committed = False
    try:
        yield partial
        written = True
        _flush(partial)
        # Once more: somebody may have made or edited a result there meanwhile.
        _commit(partial, target, _former_files(target, record), record)
        committed = True
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                "DISK_FULL",
                "The disk filled up while the results were written; nothing was left.",
                path=target,
                hint="Free some space or choose another folder with -o.",
            ) from error
        if written:
            raise _unwritable(target, error) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if not committed and made is not None:
            _remove_empty(target.parent, made)


def write_record(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Write the record of a folder and return what it holds.

    Args:
        path: Its place in the folder of :func:`result_folder`, where all other files
            are written already.
        values: Plain values; ``files``, the SHA-256 of every other file by its path
            inside the folder, and ``record_sha256``, that of the record without this
            key, are added.
    """
    folder = path.parent
    files = {
        file.relative_to(folder).as_posix(): sha256_of(file) for file in _files(folder)
    }
    record = {**values, "files": files}
    record["record_sha256"] = _sha256_of_record(record)
    write_text(path, _json(record))
    return record


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8 with line feeds on every system."""
    path.write_bytes(text.encode("utf-8"))


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def _sha256_of_record(record: Mapping[str, Any]) -> str:
    sealed = {key: value for key, value in record.items() if key != "record_sha256"}
    return hashlib.sha256(_json(sealed).encode()).hexdigest()


def _former_files(target: Path, record: str) -> list[Path]:
    """Return the files of a former result; refuse any other content."""
    if not target.exists():
        return []
    if not target.is_dir():
        raise _occupied(target, "it is a file")
    try:
        if all(path.name.startswith(_PARTIAL) for path in target.iterdir()):
            return []
        values = json.loads((target / record).read_text("utf-8"))
        recorded, seal = values["files"], values["record_sha256"]
        files = [path for path in target.rglob("*") if not path.is_dir()]
        edited = [
            target / name
            for name, digest in recorded.items()
            if (target / name).exists() and sha256_of(target / name) != digest
        ]
        if seal != _sha256_of_record(values):
            edited.append(target / record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise _occupied(target, "it is not a former result of kcalc") from None
    known = {target / record} | {target / name for name in recorded}
    former = [path for path in files if path in known]
    foreign = [
        path
        for path in files
        if path not in known
        and not path.relative_to(target).parts[0].startswith(_PARTIAL)
    ]
    if foreign:
        raise _occupied(target, f"it also holds {foreign[0].name}")
    if edited:
        raise _occupied(target, f"{edited[0].name} was edited since kcalc wrote it")
    return former


def _unwritable(target: Path, error: OSError) -> ResourceError:
    return ResourceError(
        "OUTPUT_UNWRITABLE",
        "The output folder cannot be written "
        f"({error.strerror or type(error).__name__}).",
        path=target,
        hint="Choose another folder with -o, or correct its permissions.",
    )


def _occupied(target: Path, reason: str) -> ResourceError:
    return ResourceError(
        "OUTPUT_EXISTS",
        "The output folder must be new, empty or an unchanged former result of "
        f"kcalc, so that nothing of yours is overwritten; {reason}.",
        path=target,
        hint="Choose another folder with -o, or empty this one.",
    )


def _commit(partial: Path, target: Path, former: list[Path], record: str) -> None:
    """Rename the partial folder, or its files one by one with the record last."""
    if not target.exists():
        partial.chmod(0o777 & ~_umask())
        partial.rename(target)
        sync_folder(target.parent)
        return
    if former:
        # Without its record a half-replaced folder cannot pass for a result.
        (target / record).unlink(missing_ok=True)
    names = [path.relative_to(partial) for path in _files(partial)]
    for path in former:
        if path.relative_to(target) not in names:
            path.unlink(missing_ok=True)
    for name in sorted(names, key=lambda name: (name == Path(record), name)):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).replace(target / name)
    sync_folder(target)


def _files(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.rglob("*")) if path.is_file()]


def _flush(directory: Path) -> None:
    for path in _files(directory):
        sync_file(path)
    sync_folder(directory)


def _first_missing(directory: Path) -> Path | None:
    """Return the topmost folder of a path that does not exist yet, or None."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    return missing[-1] if missing else None


def _remove_empty(directory: Path, topmost: Path) -> None:
    """Remove the empty folders that were made for nothing, up to the topmost."""
    while directory.is_relative_to(topmost):
        try:
            directory.rmdir()
        except OSError:
            return
        directory = directory.parent


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
