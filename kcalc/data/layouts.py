"""How public data sets lay their files out: a folder enters, cases leave, unread.

``folders``    ``ROOT/<patient>__<scan>/`` (or ``ROOT/<patient>/``) with ``image.*`` or
               a DICOM folder ``image/``, and ``label.*`` or a folder ``label/``.
``coca``       Stanford COCA: ``patient/<id>/`` and ``calcium_xml/<id>.xml``.
``orcascore``  ``<id>CTI.mhd`` and ``<id>R.mhd``, in whatever folders.
``nnunet``     nnU-Net 1 and 2 and MSD: ``dataset.json``, ``imagesTr``, ``labelsTr``
               and, for the test split, ``imagesTs`` and ``labelsTs``.
``dicom``      ``ROOT/<patient>__<scan>/`` with a CT series and one DICOM SEG or
               RTSTRUCT.

Nothing that a file says is followed as a path; only what lies under the root is found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kcalc.errors import InputError
from kcalc.io.discovery import find_files, unreadable
from kcalc.io.labels import label_objects

IMAGE_ENDINGS = (".nii.gz", ".nii", ".mhd", ".mha")
LABEL_ENDINGS = (*IMAGE_ENDINGS, ".xml", ".csv", ".dcm")
_ORCASCORE = re.compile(r"(.+?)(CTI|R)\.mhd", re.IGNORECASE)


@dataclass(frozen=True)
class CaseFiles:
    """Where one case lies.

    Args:
        patient: What the data set calls the patient; never written anywhere.
        place: Where in the root the case lies, for messages.
        scan: DICOM folder or file, or None where there is none.
        label: File or folder of its labels, None where there is none.
        split: Split that the data set gives, or None.
        scheme: What its label numbers mean, where the data set has a convention.
        problem: Why the case cannot be read, known from the layout alone.
    """

    patient: str
    place: Path
    scan: Path | None
    label: Path | None
    split: str | None = None
    scheme: str | None = None
    problem: InputError | None = None


def find_cases(root: Path, layout: str | None = None) -> tuple[str, list[CaseFiles]]:
    """Return the layout of a data set and its cases in a fixed order.

    Args:
        root: The data set's folder.
        layout: One of :data:`LAYOUTS`; None looks which one it is.

    Raises:
        InputError: ``NOT_FOUND``; ``DATA_EMPTY``, no case is laid out so;
            ``DATA_LAYOUT``, several layouts fit.
        ValueError: There is no such layout.
    """
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(
            f"layout must be one of {', '.join(LAYOUTS)}. Received: {layout!r}"
        )
    if not root.is_dir():
        raise InputError(
            "NOT_FOUND", "there is no such folder.", path=root, hint="Check -i."
        )
    fitting = [layout] if layout else [name for name in LAYOUTS if _fits(root, name)]
    if not fitting and any(find_files(folder) for folder in _folders(root)):
        fitting = ["dicom"]
    if len(fitting) > 1:
        raise InputError(
            "DATA_LAYOUT",
            f"a data set must have one layout; this one could be {fitting}.",
            path=root,
            hint=f"Say which with --format: {', '.join(LAYOUTS)}.",
        )
    cases = list(LAYOUTS[fitting[0]](root)) if fitting else []
    if not cases:
        raise InputError(
            "DATA_EMPTY",
            "a data set must hold labelled scans, laid out as one of "
            f"{', '.join(LAYOUTS)}; none were found.",
            path=root,
            hint="The README says how each is laid out.",
        )
    return fitting[0], cases


def _fits(root: Path, layout: str) -> bool:
    """Return whether a folder looks as a layout does, without listing all of it."""
    if layout == "nnunet":
        return (root / "imagesTr").is_dir()
    if layout == "coca":
        return _coca_root(root) is not None
    if layout == "orcascore":
        return any(_ORCASCORE.fullmatch(path.name) for path in find_files(root))
    if layout == "folders":
        return any(_image_in(folder) for folder in _folders(root))
    return False  # dicom is what is left


def _folders(root: Path) -> list[Path]:
    return [path for path in _listed(root) if path.is_dir()]


def _listed(folder: Path) -> list[Path]:
    """Return what a folder holds, hidden things left out.

    Raises:
        InputError: ``UNREADABLE``.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.name[0] != ".")
    except OSError as error:
        raise unreadable(folder, error) from error


def _image_in(folder: Path) -> Path | None:
    """Return the scan of a folder of the layout ``folders``."""
    return _member(folder, "image", IMAGE_ENDINGS)


def _member(folder: Path, stem: str, endings: tuple[str, ...]) -> Path | None:
    for name in (*(stem + ending for ending in endings), stem):
        path = folder / name
        if path.is_file() if name != stem else path.is_dir():
            return path
    return None


def _folder_cases(root: Path) -> Iterator[CaseFiles]:
    for folder in _folders(root):
        yield CaseFiles(
            patient=folder.name.split("__")[0],
            place=folder,
            scan=_image_in(folder),
            label=_member(folder, "label", LABEL_ENDINGS),
        )


def _dicom_cases(root: Path) -> Iterator[CaseFiles]:
    for folder in _folders(root):
        labels = label_objects(folder)
        several = _several(folder, f"{len(labels)} DICOM SEG or RTSTRUCT objects")
        yield CaseFiles(
            patient=folder.name.split("__")[0],
            place=folder,
            scan=folder,
            label=next(iter(labels), None),
            problem=several if len(labels) > 1 else None,
        )


def _coca_root(root: Path) -> Path | None:
    """Return the folder of COCA that holds patients and annotations."""
    for folder in (root, *_folders(root)):
        if (folder / "calcium_xml").is_dir() and (folder / "patient").is_dir():
            return folder
    return None


def _coca_cases(root: Path) -> Iterator[CaseFiles]:
    home = _coca_root(root)
    if home is None:
        return
    labels = {p.stem: p for p in _files(home / "calcium_xml") if p.suffix == ".xml"}
    for folder in _folders(home / "patient"):
        label = labels.pop(folder.name, None)
        yield CaseFiles(folder.name, folder, folder, label)
    for name, label in sorted(labels.items()):
        yield CaseFiles(name, label, None, label)


def _orcascore_cases(root: Path) -> Iterator[CaseFiles]:
    found: dict[str, dict[str, list[Path]]] = {}
    for path in find_files(root):
        match = _ORCASCORE.fullmatch(path.name)
        if match and not path.name.startswith("."):
            parts = found.setdefault(match.group(1).upper(), {"CTI": [], "R": []})
            parts[match.group(2).upper()].append(path)
    for name, parts in sorted(found.items()):
        scan, label = next(iter(parts["CTI"]), None), next(iter(parts["R"]), None)
        twice = max(map(len, parts.values())) > 1
        place = (parts["CTI"] or parts["R"])[0]
        yield CaseFiles(
            patient=name,
            place=place,
            scan=scan,
            label=label,
            scheme="orcascore",
            problem=_several(place, "two files of one name") if twice else None,
        )


def _nnunet_cases(root: Path) -> Iterator[CaseFiles]:
    for part, split in (("Tr", None), ("Ts", "test")):
        images = _by_case(root / f"images{part}", channels=True)
        labels = _by_case(root / f"labels{part}", channels=False)
        if split and not labels:
            continue  # a challenge's test images, whose labels are not public
        for name in sorted({*images, *labels}):
            scans, drawn = images.get(name, []), labels.get(name, [])
            place = [*scans, *drawn][0]
            several = max(len(scans), len(drawn)) > 1
            yield CaseFiles(
                patient=name.split("__")[0],
                place=place,
                scan=next(iter(scans), None),
                label=next(iter(drawn), None),
                split=split,
                problem=_several(place, "several channels") if several else None,
            )


def _by_case(folder: Path, *, channels: bool) -> Mapping[str, list[Path]]:
    """Return the images of a folder by case, whose names may end in a channel."""
    found: dict[str, list[Path]] = {}
    for path in _files(folder):
        ending = next((e for e in IMAGE_ENDINGS if path.name.lower().endswith(e)), "")
        if not ending:
            continue
        name = path.name[: -len(ending)]
        if channels:
            name = re.sub(r"_\d{4}$", "", name)
        found.setdefault(name, []).append(path)
    return found


def _several(place: Path, received: str) -> InputError:
    return InputError(
        "DATA_SEVERAL",
        f"a case must be one scan and one file of labels; there are {received}.",
        path=place,
        hint="Keep the non-contrast CT and its labels alone.",
    )


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in _listed(folder) if path.is_file()]


LAYOUTS: Mapping[str, Callable[[Path], Iterator[CaseFiles]]] = {
    "nnunet": _nnunet_cases,
    "coca": _coca_cases,
    "orcascore": _orcascore_cases,
    "folders": _folder_cases,
    "dicom": _dicom_cases,
}
"""Every layout by its name."""
