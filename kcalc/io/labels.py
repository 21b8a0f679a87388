"""Labels of any format onto a scan's grid: one function, which looks at the content."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from kcalc.errors import InputError
from kcalc.io import discovery
from kcalc.io.dicom_header import read_header
from kcalc.io.dicom_object import LABEL_CLASSES, RT_STRUCTURE_SET
from kcalc.io.label_map import Labels
from kcalc.io.label_names import LabelScheme, label_scheme
from kcalc.io.labels_coca import coca_labels, looks_like_plist
from kcalc.io.labels_dicom import rtstruct_labels, seg_labels
from kcalc.io.labels_outlines import looks_like_table, table_labels
from kcalc.io.labels_raster import metaimage_labels, nifti_labels
from kcalc.io.metaimage import looks_like_metaimage
from kcalc.volume import Finding, Volume

OUTLINE_FORMATS = ("coca", "outlines", "rtstruct")
"""Formats of outlines, which people draw round calcium and not along its edge."""

_Reader = Callable[[Path, Volume, LabelScheme | None], Labels]
_READERS: Mapping[str, _Reader] = {
    "nifti": nifti_labels,
    "metaimage": metaimage_labels,
    "coca": coca_labels,
    "outlines": table_labels,
    "dicom_seg": seg_labels,
    "rtstruct": rtstruct_labels,
}
_ENDINGS = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".mhd": "metaimage",
    ".mha": "metaimage",
}
_NIFTI_MAGIC = (b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0")


def read_labels(
    path: str | os.PathLike[str],
    volume: Volume,
    *,
    scheme: str | LabelScheme | None = None,
    threshold_hu: float | None = None,
) -> Labels:
    """Return labels on the grid of the scan they were made on, or refuse them.

    Read are NIfTI (nnU-Net and MSD with the names of their ``dataset.json``),
    MetaImage (orCaScore), the property lists of OsiriX (Stanford COCA), tables of
    outlines, DICOM SEG and RTSTRUCT. Which of them a file is, its content tells.

    Args:
        path: The file, or a folder that holds one DICOM SEG or RTSTRUCT.
        volume: The scan, as :func:`kcalc.read_volume` returned it.
        scheme: What the labels mean, where the file does not say it: see
            :func:`kcalc.io.label_names.label_scheme`.
        threshold_hu: Voxels below it lose their label: outlines are drawn round
            calcium and cut at 130 HU (Bortsova 2017). None keeps all; a score cuts at
            its rule's threshold anyway.

    Returns:
        uint8 labels (z, y, x). Where vessels are named, they are numbers of
        :mod:`kcalc.anatomy`.

    Raises:
        InputError: ``LABEL_FORMAT``, ``LABEL_AMBIGUOUS``, or what the format's reader
            refuses: ``MASK_GRID`` for another grid, ``MASK_VALUES``, ``LABEL_SCHEME``,
            ``LABEL_NAMES`` and others.
        ValueError: The scheme is none.
    """
    source = Path(path)
    wanted = label_scheme(scheme) if isinstance(scheme, str) else scheme
    if source.is_dir():
        source = label_object_in(source)
    labels = _READERS[label_format(source)](source, volume, wanted)
    findings = list(labels.findings)
    array = labels.array
    if labels.file_format in OUTLINE_FORMATS:
        cut = (
            "the calcium is what the score's rule takes of them"
            if threshold_hu is None
            else f"they were cut at {threshold_hu:g} HU"
        )
        message = f"The labels are outlines drawn round calcium; {cut}."
        findings.append(Finding("LABEL_OUTLINES", message, "note"))
    if threshold_hu is not None:
        array = np.where(volume.array >= threshold_hu, array, 0).astype(np.uint8)
    return Labels(array, labels.file_format, labels.vessels_named, tuple(findings))


def label_format(path: Path) -> str:
    """Return the format of a file of labels, told by its first bytes.

    Raises:
        InputError: ``NOT_FOUND``, ``UNREADABLE``, ``LABEL_FORMAT`` for a file of
            another kind, or what :func:`kcalc.io.dicom_header.read_header` refuses.
    """
    if not path.is_file():
        raise InputError(
            "NOT_FOUND", "there is no such file.", path=path, hint="Check --mask."
        )
    prefix = discovery.read_prefix(path)
    if _is_nifti(prefix):
        if not path.name.lower().endswith((".nii", ".nii.gz")):
            raise _no_format(path, "this one is NIfTI under another ending")
        return "nifti"
    if looks_like_metaimage(prefix):
        return "metaimage"
    if looks_like_plist(prefix):
        return "coca"
    if looks_like_table(prefix):
        return "outlines"
    if discovery.looks_like_dicom(prefix):
        header = read_header(path)
        sop_class = "" if header is None else header.get("SOPClassUID")
        if sop_class in LABEL_CLASSES:
            return "rtstruct" if sop_class == RT_STRUCTURE_SET else "dicom_seg"
        raise _no_format(path, "this is a DICOM object of another kind")
    name = path.name.lower()
    for ending, file_format in _ENDINGS.items():
        if name.endswith(ending):  # damaged: its reader says how
            return file_format
    raise _no_format(path, "the content of this one is none of them")


def label_object_in(folder: Path) -> Path:
    """Return the one DICOM SEG or RTSTRUCT of a folder and its subfolders.

    Raises:
        InputError: ``LABEL_AMBIGUOUS`` for several, ``LABEL_FORMAT`` for none.
    """
    found = label_objects(folder)
    if len(found) > 1:
        raise InputError(
            "LABEL_AMBIGUOUS",
            f"a folder of labels must hold one DICOM SEG or RTSTRUCT; this one holds "
            f"{len(found)}.",
            path=folder,
            hint="Give the file itself.",
        )
    if not found:
        raise _no_format(folder, "this folder holds no DICOM SEG and no RTSTRUCT")
    return found[0]


def label_objects(folder: Path) -> list[Path]:
    """Return the DICOM SEG and RTSTRUCT objects of a folder and its subfolders."""
    return [
        path
        for path in discovery.find_files(folder)
        if _sop_class(path) in LABEL_CLASSES
    ]


def _sop_class(path: Path) -> str:
    """Return the SOP class of a DICOM file, "" for one that is broken or none."""
    try:
        header = read_header(path)
    except InputError:
        return ""
    return "" if header is None else header.get("SOPClassUID")


def _is_nifti(prefix: bytes) -> bool:
    if prefix[:2] == b"\x1f\x8b":
        try:
            prefix = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(prefix, 352)
        except zlib.error:
            return False
    return prefix[344:348] in _NIFTI_MAGIC or prefix[4:8] in _NIFTI_MAGIC


def _no_format(path: Path, received: str) -> InputError:
    return InputError(
        "LABEL_FORMAT",
        "labels must be NIfTI (.nii, .nii.gz), MetaImage (.mhd, .mha), a property list "
        f"of OsiriX, a table of outlines, DICOM SEG or RTSTRUCT; {received}.",
        path=path,
        hint="Save them in one of these formats.",
    )
