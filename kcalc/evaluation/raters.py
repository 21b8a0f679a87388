"""Two raters' labels of the same scans: stores or folders enter, rows leave."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kcalc.data.store import CaseStore
from kcalc.errors import InputError
from kcalc.evaluation.images import ImageAgreement, compare_image
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.io import read_labels, read_volume

LABEL_ENDINGS = (".nii.gz", ".nii", ".mhd", ".mha", ".xml", ".csv", ".dcm")


def compare_stores(
    first: CaseStore, second: CaseStore, *, split: str | None = None
) -> Iterator[ImageAgreement]:
    """Compare two raters' labels of the same prepared scans, one scan at a time.

    Args:
        first: The first rater's store; its labels are the reference.
        second: The second rater's, made of the same scans.
        split: Which split of both; None takes every case.

    Raises:
        InputError: ``RATERS_DIFFER``: a case is in one store alone, or its scan is
            another; ``STORE_SPLIT``.
    """
    chosen = [
        store.records if split is None else store.split(split)
        for store in (first, second)
    ]
    names = [{record.name for record in records} for records in chosen]
    if alone := sorted(names[0] ^ names[1]):
        raise _differs(second.path, f"in one store alone {', '.join(alone[:3])}")
    for record in chosen[0]:
        image = first.image(record.name)
        if second[record.name].spacing_mm != record.spacing_mm or not np.array_equal(
            second.image(record.name), image
        ):
            raise _differs(second.path, f"another scan of {record.name}")
        label, other_label = first.label(record.name), second.label(record.name)
        yield compare_image(
            record.name,
            label,
            other_label,
            record.spacing_mm,
            image_hu=np.array(image),
            patient=record.patient,
            reference_vessels=label,
            result_vessels=other_label,
        )


def compare_label_folders(
    scans: str | os.PathLike[str],
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    scheme: str | None = None,
    threshold_hu: float = AGATSTON_THRESHOLD_HU,
    **reading: Any,
) -> Iterator[ImageAgreement]:
    """Compare two folders of label files of the same scans, one scan at a time.

    A case is what a scan, a label of the first folder and one of the second are named
    alike, without the ending: ``scans/a/`` (DICOM) or ``scans/a.nii.gz``,
    ``first/a.nii.gz``, ``second/a.csv``.

    Args:
        scans: Folder of the scans.
        first: Folder of the first rater's labels, the reference.
        second: Folder of the second rater's.
        scheme: What the labels mean, see :func:`kcalc.io.read_labels`.
        threshold_hu: Voxels below it lose their label, as outlines hold others too.
        **reading: Further arguments of :func:`kcalc.read_volume`.

    Raises:
        InputError: ``RATERS_DIFFER``: a case has the label of one rater alone, or no
            scan, or there is none at all; or a reader refuses. Scans without any label
            are passed over.
    """
    folders = [Path(folder) for folder in (scans, first, second)]
    cases = [_by_stem(folder) for folder in folders]
    if not cases[1]:
        raise _differs(folders[1], "no label at all")
    if alone := sorted(cases[1].keys() ^ cases[2].keys()):
        raise _differs(folders[2], f"labels of one rater alone, {', '.join(alone[:3])}")
    if missing := sorted(cases[1].keys() - cases[0].keys()):
        raise _differs(folders[0], f"no scan named {', '.join(missing[:3])}")
    for name, label in cases[1].items():
        volume = read_volume(cases[0][name], **reading)
        one, other = (
            read_labels(path, volume, scheme=scheme, threshold_hu=threshold_hu).array
            for path in (label, cases[2][name])
        )
        yield compare_image(
            name,
            one,
            other,
            volume.spacing_mm,
            image_hu=volume.array,
            reference_vessels=one,
            result_vessels=other,
        )


def _by_stem(folder: Path) -> dict[str, Path]:
    """Return a folder's files and subfolders by name without ending, in order.

    Raises:
        InputError: ``NOT_FOUND``, or ``RATERS_DIFFER`` for two of one name.
    """
    if not folder.is_dir():
        raise InputError("NOT_FOUND", "there is no such folder.", path=folder)
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        lower = path.name.lower()
        ending = next((e for e in LABEL_ENDINGS if lower.endswith(e)), "")
        if path.name.startswith(".") or (path.is_file() and not ending):
            continue
        name = path.name[: len(path.name) - len(ending)]
        if name in found:
            raise _differs(folder, f"two named {name}")
        found[name] = path
    return found


def _differs(folder: Path, received: str) -> InputError:
    return InputError(
        "RATERS_DIFFER",
        f"Both raters must have labelled the same scans. Received: {received}.",
        path=folder,
        hint="Prepare both stores from the same scans; in folders, name scan and "
        "labels of a case alike, but for their endings.",
    )
