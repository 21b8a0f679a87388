"""run.json: what a run was made of, enough to tell whether two runs are the same."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kcalc
from kcalc.files import whole_or_absent

RUN_RECORD = "run.json"
_PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "h5py")


def versions() -> dict[str, str]:
    """Return the versions of Python, kcalc and the packages that shape a result."""
    found = {"python": platform.python_version(), "kcalc": kcalc.__version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, Any]:
    """Return the commit of kcalc's checkout and whether it differs from it.

    Both are None outside a checkout or without git.
    """
    folder = Path(__file__).parent
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def is_finished(folder: Path) -> bool:
    """Return whether a run's folder has the record of a run that came to its end."""
    try:
        record = json.loads((folder / RUN_RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("finished") is True


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write values as JSON, whole or not at all.

    Raises:
        ValueError: A value is NaN or infinite, which JSON cannot say.
        ResourceError: The file cannot be written.
    """
    text = json.dumps(values, indent=2, allow_nan=False) + "\n"
    with whole_or_absent(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the first one's columns, whole or not at all."""
    with (
        whole_or_absent(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
