"""A phantom's DICOM series with one fault put in, for the tests named after faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

import kcalc
from kcalc.errors import InputError
from kcalc.io.discovery import quiet_pydicom

Edit = Callable[[pydicom.FileDataset, int], None]
NUM_SLICES = 9


def spoilt(
    phantom_slices: Path,
    folder: Path,
    edit: Edit | None = None,
    *,
    stem: str = "IM",
    keep: range | None = None,
) -> list[Path]:
    """Write the slices of a phantom to a folder, edited, and return their files.

    Args:
        phantom_slices: The clean series (fixture).
        folder: Made where it is missing.
        edit: Called with each data set and its index, caudal first.
        stem: Begin of the file names.
        keep: Which slices are written; all by default.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, source in enumerate(sorted(phantom_slices.iterdir())):
        if keep is not None and index not in keep:
            continue
        paths.append(folder / f"{stem}{index:03d}.dcm")
        with quiet_pydicom():
            ds = pydicom.dcmread(source)
            if edit is not None:
                edit(ds, index)
            ds.save_as(paths[-1])
    return paths


def setting(index: int | None = None, /, **tags: Any) -> Edit:
    """Return an edit that sets tags, or with None deletes them; index None: in all."""

    def edit(ds: pydicom.FileDataset, number: int) -> None:
        if index not in (None, number):
            return
        for keyword, value in tags.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)

    return edit


def at(ds: pydicom.FileDataset, *, x: float = 0, y: float = 0, z: float = 0) -> None:
    """Move a slice by millimetres."""
    old = [float(value) for value in ds.ImagePositionPatient]
    moved = (old[0] + x, old[1] + y, old[2] + z)
    ds.ImagePositionPatient = [f"{value:.6f}" for value in moved]


def refused(path: Path, code: str, /, **arguments: Any) -> InputError:
    """Return the refusal that reading must end with."""
    with pytest.raises(InputError, match=f"^{code}: ") as caught:
        kcalc.read_volume(path, **arguments)
    error = caught.value
    assert error.hint
    assert error.path
    assert "PHANTOM-" not in str(error)
    assert "Kcalc" not in str(error)
    assert str(error).isprintable()
    return error


def told(volume: kcalc.Volume) -> dict[str, str]:
    """Return the findings of a volume, code -> kind."""
    return {finding.code: finding.kind for finding in volume.findings}


def message(volume: kcalc.Volume, code: str) -> str:
    """Return the words of the one finding with a code."""
    (found,) = [f.message for f in volume.findings if f.code == code]
    return found
