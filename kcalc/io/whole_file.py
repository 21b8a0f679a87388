"""Files that appear whole or not at all: bytes enter, one renamed file leaves."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(target: Path, content: bytes) -> None:
    """Write bytes to a file in one step: temporary name, fsync, rename.

    Args:
        target: The final path; its folder must exist.
        content: All bytes.

    Raises:
        OSError: Nothing was written; an earlier file of that name is intact.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=".kcalc-", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """Return the process's mask for new files."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
