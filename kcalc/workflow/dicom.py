"""DICOM SEG and SR of a scored scan: what is refused early, what is written late."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kcalc.report import check_dicom_source, dicom_seg, dicom_sr, segments_of
from kcalc.scoring import CalciumScore
from kcalc.volume import Volume

SEG_FILE = "seg.dcm"
SR_FILE = "sr.dcm"

Phi = Literal["remove", "keep"]
"""Whether DICOM outputs carry the identifiers of patient and study."""


def dicom_identity(
    volume: Volume, input_path: str | os.PathLike[str], phi: Phi
) -> dict[str, str] | None:
    """Return the identifiers that SEG and SR are to carry, None for none.

    Refuses a scan that has no SEG and SR, before any work is done on it.

    Args:
        volume: The scan.
        input_path: Where it is from, for messages.
        phi: ``"keep"`` reads them from the scan's first file.

    Raises:
        InputError: ``DICOM_SOURCE``, ``DICOM_REFERENCE`` or ``DICOM_IDENTITY``.
        ValueError: ``phi`` is neither ``"remove"`` nor ``"keep"``.
    """
    from kcalc.io.dicom_identity import read_identity

    if phi not in ("remove", "keep"):
        raise ValueError(f"phi must be 'remove' or 'keep'. Received: phi={phi!r}")
    check_dicom_source(volume, input_path)
    return read_identity(volume.frames[0].path) if phi == "keep" else None


def write_dicom(
    folder: Path,
    volume: Volume,
    mask: npt.NDArray[np.uint8],
    score: CalciumScore,
    record: Mapping[str, Any],
    identity: Mapping[str, str] | None,
) -> None:
    """Write ``sr.dcm`` and, if the rule counts any calcium, ``seg.dcm``.

    Args:
        folder: An unfinished result folder.
        volume: A scan that :func:`dicom_identity` accepted.
        mask: (z, y, x) on its grid: what ``mask.nii.gz`` holds.
        score: The score.
        record: What ``score.json`` will hold.
        identity: What :func:`dicom_identity` returned.
    """
    from kcalc.io.discovery import quiet_pydicom

    with quiet_pydicom():
        segments = (
            segments_of(mask, by_vessel=score.per_vessel is not None)
            if score.lesions or score.volume_mm3
            else ()
        )
        seg = None
        if segments:
            model = record["model"]
            seg = dicom_seg(volume, mask, segments, model=model, identity=identity)
            seg.save_as(folder / SEG_FILE, enforce_file_format=True)
        report = dicom_sr(volume, score, record, segments, seg, identity=identity)
        report.save_as(folder / SR_FILE, enforce_file_format=True)
