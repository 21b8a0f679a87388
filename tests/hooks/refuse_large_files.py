"""Refuse to commit files over 10 MB (pre-commit hook)."""

from __future__ import annotations

import sys
from pathlib import Path

LIMIT_BYTES = 10_000_000


def main(paths: list[str]) -> int:
    """Name every file over the limit; 1 if there is one."""
    large = [
        path
        for path in paths
        if Path(path).is_file() and Path(path).stat().st_size > LIMIT_BYTES
    ]
    for path in large:
        sys.stderr.write(f"over {LIMIT_BYTES} bytes, not to be committed: {path}\n")
    return 1 if large else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
