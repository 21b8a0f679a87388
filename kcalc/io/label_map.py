"""A label map of kcalc, and how foreign labels are turned into its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.anatomy import LABEL_NAMES
from kcalc.errors import InputError
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.io.label_names import ORCASCORE_LABELS, PLAIN_LABEL, LabelScheme
from kcalc.volume import Finding

SAY = (
    "Say what the labels mean with --labels (scheme=): kcalc, orcascore, plain, or "
    "pairs such as 1=LAD,2=0."
)


@dataclass(frozen=True)
class Labels:
    """Labels on a scan's stored grid.

    Args:
        array: (z, y, x) uint8. Where ``vessels_named``, the numbers of
            :mod:`kcalc.anatomy`; else every value above 0 is calcium.
        file_format: What was read: ``nifti``, ``metaimage``, ``coca``, ``outlines``,
            ``dicom_seg`` or ``rtstruct``.
        vessels_named: Whether the numbers name vessels.
        findings: What the reader noticed, corrected or left out.
    """

    array: npt.NDArray[np.uint8]
    file_format: str
    vessels_named: bool
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Part:
    """A segment or region with a name.

    Args:
        number: Its number in the file.
        name: Its name, which no message repeats, as it could hold an identity.
        label: Number of the vessel that name or codes tell, or None.
    """

    number: int
    name: str
    label: int | None


def part_labels(
    parts: Sequence[Part], scheme: LabelScheme | None, path: Path
) -> tuple[dict[int, int], bool, list[Finding]]:
    """Return the label of each part by its number, and whether they name vessels.

    Without a scheme every part must name a vessel, except that a part alone is the
    calcium whatever its name.

    Raises:
        InputError: ``LABEL_NAMES``, some parts name no vessel; ``LABEL_SCHEME``, the
            scheme is one of numbers.
    """
    if scheme is not None and scheme.name == "plain":
        return {part.number: PLAIN_LABEL for part in parts}, False, []
    if scheme is not None and scheme.name == "given":
        return _given_parts(parts, scheme, path)
    if scheme is not None:
        raise InputError(
            "LABEL_SCHEME",
            f"the scheme {scheme.name} gives numbers a meaning; this file names its "
            "regions.",
            path=path,
            hint="Leave out --labels (scheme=), or give plain or name=vessel pairs.",
        )
    unnamed = [part.number for part in parts if part.label is None]
    labels = {part.number: part.label or 0 for part in parts}
    vague = all(LABEL_NAMES.get(label) is None for label in labels.values())
    if len(parts) == 1 and vague:
        message = "The one region names no vessel; it was taken as a plain mask."
        note = Finding("MASK_LABELS", message, "note")
        return {parts[0].number: PLAIN_LABEL}, False, [note]
    if unnamed:
        raise InputError(
            "LABEL_NAMES",
            f"every region must name a vessel; {len(unnamed)} of "
            f"{len(parts)} do not (numbers {_listed(unnamed)}).",
            path=path,
            hint=SAY,
        )
    return labels, bool(parts), []


def _given_parts(
    parts: Sequence[Part], scheme: LabelScheme, path: Path
) -> tuple[dict[int, int], bool, list[Finding]]:
    labels = {}
    for part in parts:
        label = scheme.given.get(str(part.number))
        if label is None:
            label = scheme.given.get(part.name.strip().lower())
        if label is not None:
            labels[part.number] = label
    left_out = [part.number for part in parts if not labels.get(part.number)]
    if not any(labels.values()):
        raise InputError(
            "LABEL_NAMES",
            f"the given labels must occur; none is among the {len(parts)} regions "
            f"(numbers {_listed([part.number for part in parts])}).",
            path=path,
            hint=SAY,
        )
    findings = []
    if left_out:
        message = (
            f"Regions that the given labels leave out: {len(left_out)} of {len(parts)}."
        )
        findings.append(Finding("LABEL_LEFT_OUT", message, "note"))
    return {part.number: labels.get(part.number, 0) for part in parts}, True, findings


def value_labels(
    values: npt.NDArray[np.uint8],
    scheme: LabelScheme | None,
    path: Path,
    *,
    names: Mapping[int, int | None] | None = None,
    may_be_kcalc: bool = True,
) -> tuple[npt.NDArray[np.uint8], bool, list[Finding]]:
    """Return a raster's values as kcalc's numbers, and whether they name vessels.

    Args:
        values: (z, y, x) labels as stored.
        scheme: What the caller says they mean, or None.
        path: The file, for messages.
        names: Vessel's number, or None, by value, where the data set tells it.
        may_be_kcalc: Whether numbers of kcalc are taken as such without a scheme.

    Raises:
        InputError: ``MASK_VALUES``, a value is not in the scheme; ``LABEL_SCHEME``,
            the values could mean several things; ``LABEL_NAMES``, a value's name is
            no vessel's.
    """
    found = [int(n) for n in np.flatnonzero(np.bincount(values.ravel(), minlength=1))]
    present = [n for n in found if n]
    if scheme is not None:
        if scheme.name == "plain":
            return (values > 0).astype(np.uint8) * PLAIN_LABEL, False, []
        table = _table(scheme, path)
        unknown = [n for n in present if n not in table]
        if unknown:
            raise InputError(
                "MASK_VALUES",
                f"every label must be in the scheme {scheme.name} "
                f"({', '.join(map(str, sorted(table)))}); received also "
                f"{_listed(unknown)}.",
                path=path,
                hint=SAY,
            )
        return _mapped(values, table), True, []
    if names is not None:
        parts = [Part(n, "", names.get(n)) for n in present]
        chosen, named, findings = part_labels(parts, None, path)
        return _mapped(values, chosen), named, findings
    if len(present) < 2:
        return values, False, []
    if set(present) <= set(LABEL_NAMES):
        if may_be_kcalc:
            return values, True, []
        raise InputError(
            "LABEL_SCHEME",
            f"labels {_listed(present)} mean other vessels in orCaScore than in kcalc; "
            "nothing here tells which they are.",
            path=path,
            hint=SAY,
        )
    message = (
        f"The mask holds the values {present[:20]}, not only vessel numbers of kcalc "
        f"({sorted(LABEL_NAMES)}); it was taken as a plain mask."
    )
    return values, False, [Finding("MASK_LABELS", message, "note")]


def majority_by_lesion(
    labels: npt.NDArray[np.uint8], array_hu: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.uint8], list[Finding]]:
    """Return labels in which each lesion has the label of most of its voxels.

    A lesion is a 3-D 6-connected component of labelled voxels above 130 HU, as in
    orCaScore; of labels with equal votes the smallest wins. Voxels that are not above
    130 HU keep their label.

    Args:
        labels: (z, y, x).
        array_hu: (z, y, x), the scan.
    """
    from scipy import ndimage

    lesions, num_lesions = ndimage.label(
        (labels > 0) & (array_hu > AGATSTON_THRESHOLD_HU)
    )
    where = np.flatnonzero(lesions)
    if not num_lesions:
        return labels, []
    lesion, label = lesions.ravel()[where], labels.ravel()[where].astype(np.int64)
    present, column = np.unique(label, return_inverse=True)
    votes = np.zeros((num_lesions + 1, present.size), np.int32)
    np.add.at(votes, (lesion, column), 1)
    winner = present[votes.argmax(axis=1)[lesion]]
    num_changed = int(np.count_nonzero(winner != label))
    if not num_changed:
        return labels, []
    result = labels.copy()
    result.ravel()[where] = winner
    message = (
        f"Voxels that took the label of most of their lesion: {num_changed} "
        "(orCaScore's majority rule)."
    )
    return result, [Finding("LABEL_MAJORITY", message, "correction")]


def _table(scheme: LabelScheme, path: Path) -> dict[int, int]:
    """Return value to label of a scheme of numbers."""
    if scheme.name == "orcascore":
        return dict(ORCASCORE_LABELS)
    if scheme.name == "kcalc":
        return {label: label for label in LABEL_NAMES}
    if not all(label.isdecimal() for label in scheme.given):
        raise InputError(
            "LABEL_SCHEME",
            "this file numbers its labels; the given scheme names some.",
            path=path,
            hint=SAY,
        )
    return {int(label): number for label, number in scheme.given.items()}


def _mapped(
    values: npt.NDArray[np.uint8], table: Mapping[int, int]
) -> npt.NDArray[np.uint8]:
    lookup = np.zeros(256, np.uint8)
    for value, label in table.items():
        if 0 < value < 256:
            lookup[value] = label
    return lookup[values]


def _listed(numbers: Sequence[int]) -> str:
    """Return numbers in words, ten at most."""
    words = ", ".join(map(str, numbers[:10]))
    return words + (", ..." if len(numbers) > 10 else "")
