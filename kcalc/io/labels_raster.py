"""Label maps of voxels: NIfTI, as nnU-Net and MSD too, and MetaImage, as orCaScore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.errors import InputError
from kcalc.io.discovery import unreadable
from kcalc.io.label_map import Labels, majority_by_lesion, value_labels
from kcalc.io.label_names import LabelScheme, vessel_number
from kcalc.io.mask_grid import turn_onto_grid, whole_labels
from kcalc.io.metaimage import load_metaimage
from kcalc.io.nifti import read_mask
from kcalc.volume import Finding, Volume

LABEL_FOLDERS = ("labelsTr", "labelsTs")
"""Folders of nnU-Net and of the Medical Segmentation Decathlon."""
DATASET_FILE = "dataset.json"
MAX_DATASET_BYTES = 1 << 24


def nifti_labels(path: Path, volume: Volume, scheme: LabelScheme | None) -> Labels:
    """Return a NIfTI mask's labels; beside ``dataset.json``, by the names there.

    Raises:
        InputError: Those of ``kcalc.io.nifti.read_mask``, ``DATASET_JSON``,
            ``LABEL_IGNORE``, or those of ``kcalc.io.label_map.value_labels``.
    """
    values = read_mask(path, volume.geometry)
    names = None
    dataset = path.parent.parent / DATASET_FILE
    if scheme is None and path.parent.name in LABEL_FOLDERS and dataset.is_file():
        names = _vessels_of(dataset)
        _refuse_ignored(values, dataset)
    return _finished(path, volume, values, scheme, "nifti", names)


def metaimage_labels(path: Path, volume: Volume, scheme: LabelScheme | None) -> Labels:
    """Return a MetaImage mask's labels.

    Several labels need a scheme, for orCaScore's numbers are not kcalc's.

    Raises:
        InputError: Those of ``kcalc.io.metaimage.load_metaimage``, ``MASK_GRID``, or
            those of ``kcalc.io.label_map.value_labels``.
    """
    values, own, _ = load_metaimage(path, sheared=True)
    turned = turn_onto_grid(values, own, volume.geometry, path)
    return _finished(path, volume, whole_labels(turned, path), scheme, "metaimage")


def dataset_json(path: Path) -> dict[str, Any]:
    """Return the ``dataset.json`` of nnU-Net or MSD.

    Raises:
        InputError: ``DATASET_JSON`` or ``UNREADABLE``.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_DATASET_BYTES + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        content = json.loads(text) if len(text) <= MAX_DATASET_BYTES else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise _bad_dataset(path, "it must be one JSON object of at most 16 MiB")
    return content


def dataset_names(path: Path) -> dict[int, str]:
    """Return value to name of ``dataset.json``, which nnU-Net 1 and MSD turn round.

    Raises:
        InputError: ``DATASET_JSON``, also for regions of several labels.
    """
    labels = dataset_json(path).get("labels")
    if not isinstance(labels, dict) or not labels:
        raise _bad_dataset(path, "it must have labels")
    names: dict[int, str] = {}
    for key, value in labels.items():
        pair = (value, key) if isinstance(value, int) else (key, value)
        number, name = str(pair[0]), pair[1]
        if not isinstance(name, str) or not (number.isdecimal() and len(number) < 4):
            raise _bad_dataset(path, "its labels must be name: number or number: name")
        if int(number) in names:
            raise _bad_dataset(path, f"label {number} must have one name")
        names[int(number)] = name
    return names


def _vessels_of(dataset: Path) -> dict[int, int | None]:
    return {
        value: vessel_number(name) for value, name in dataset_names(dataset).items()
    }


def _refuse_ignored(values: npt.NDArray[np.uint8], dataset: Path) -> None:
    """Refuse voxels that nnU-Net ignores: they are neither calcium nor free of it."""
    names = dataset_names(dataset)
    ignored = [n for n, name in names.items() if name.strip().lower() == "ignore"]
    for value in ignored:
        if value and (values == value).any():
            raise InputError(
                "LABEL_IGNORE",
                f"every voxel must be labelled; label {value} is nnU-Net's 'ignore'.",
                path=dataset,
                hint="Leave the case out, or say what it means with --labels.",
            )


def _finished(
    path: Path,
    volume: Volume,
    values: npt.NDArray[np.uint8],
    scheme: LabelScheme | None,
    file_format: str,
    names: dict[int, int | None] | None = None,
) -> Labels:
    array, named, findings = value_labels(
        values, scheme, path, names=names, may_be_kcalc=file_format == "nifti"
    )
    if scheme is not None and scheme.name == "orcascore":
        array, notes = majority_by_lesion(array, volume.array)
        message = "orCaScore's LAD holds the left main too."
        findings += [*notes, Finding("LABEL_LM_IN_LAD", message, "note")]
    return Labels(array, file_format, named, tuple(findings))


def _bad_dataset(path: Path, rule: str) -> InputError:
    return InputError(
        "DATASET_JSON",
        f"of dataset.json: {rule}.",
        path=path,
        hint="Correct it, or say what the labels mean with --labels (scheme=).",
    )
