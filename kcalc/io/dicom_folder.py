"""All DICOM headers of a folder: a path enters, headers and what is broken leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kcalc.errors import InputError
from kcalc.io.dicom_enhanced import ENHANCED_CT, frame_headers
from kcalc.io.dicom_header import SliceHeader, read_header
from kcalc.io.discovery import FilesFound, is_blank, quiet_pydicom, walk_files
from kcalc.volume import Finding

Progress = Callable[[str, int, int], None]
"""Called with what is being done, steps done and steps to do."""

_FILES_A_STEP = 64


@dataclass(frozen=True)
class FolderHeaders:
    """The DICOM objects under a folder, a header each; of multi-frame CT, each frame.

    Args:
        found: All files.
        headers: Of the DICOM objects that can be parsed.
        broken: Files that may be slices but cannot be read, and why: DICOM that is cut
            or damaged, and files that are empty or begin with zeros alone.
        other: Files that are no DICOM, the blank ones included.
    """

    found: FilesFound
    headers: list[SliceHeader]
    broken: list[tuple[Path, InputError]]
    other: list[Path]

    def findings(self) -> list[Finding]:
        """Return what was skipped."""
        findings = self.found.findings()
        if self.other:
            message = f"Files that are not DICOM were skipped: {len(self.other)}."
            findings.append(Finding("FILES_SKIPPED", message, "note"))
        return findings

    @cached_property
    def _broken_homes(self) -> dict[tuple[Path, str], InputError]:
        homes: dict[tuple[Path, str], InputError] = {}
        for path, error in self.broken:
            homes.setdefault((path.parent, path.suffix.lower()), error)
        return homes

    def refuse_broken_beside(self, headers: Sequence[SliceHeader]) -> None:
        """Refuse slices beside which a broken file looks like one of them (C1, C3).

        It does if it lies in the folder of a slice and has the suffix of one.

        Raises:
            InputError: What is wrong with that file.
        """
        for home in {(h.path.parent, h.path.suffix.lower()) for h in headers}:
            if home in self._broken_homes:
                raise self._broken_homes[home]


def read_folder_headers(root: Path, progress: Progress | None = None) -> FolderHeaders:
    """Return the header of every DICOM object under a folder, or of one file.

    Args:
        root: The folder, searched with its subfolders, or the file.
        progress: Called with what is being done, files done and files to do.

    Raises:
        InputError: ``NOT_FOUND`` or ``UNREADABLE``, of the folder itself.
    """
    headers: list[SliceHeader] = []
    broken: list[tuple[Path, InputError]] = []
    other: list[Path] = []
    found = walk_files(root)
    with quiet_pydicom():
        for number, path in enumerate(found.files):
            if progress is not None and number % _FILES_A_STEP == 0:
                progress("Reading headers", number, len(found.files))
            try:
                header = read_header(path)
                if header is None:
                    other.append(path)
                    if is_blank(path):
                        broken.append((path, _blank(path)))
                elif header.get("SOPClassUID") in ENHANCED_CT:
                    headers += frame_headers(header) or [header]
                else:
                    headers.append(header)
            except InputError as error:
                broken.append((path, error))
    return FolderHeaders(found, headers, broken, other)


def refuse_without_headers(contents: FolderHeaders, root: Path) -> None:
    """Refuse an input in which no DICOM object can be read.

    Raises:
        InputError: What is wrong with the first broken file, ``NOT_DICOM`` or
            ``EMPTY_FOLDER``.
    """
    if contents.headers:
        return
    if contents.broken:
        raise contents.broken[0][1]
    if root.is_file():
        raise InputError(
            "NOT_DICOM",
            "the file is no DICOM object.",
            path=root,
            hint="Give a DICOM folder, or a file that ends in .nii, .nii.gz, .mhd or "
            ".mha; unpack an archive first.",
        )
    raise InputError(
        "EMPTY_FOLDER",
        f"there must be DICOM slices; found {len(contents.found.files)} files, none "
        "of them DICOM.",
        path=root,
        hint="Give the folder that holds the slices; unpack archives first.",
    )


def _blank(path: Path) -> InputError:
    """Return the refusal of a slice of 0 bytes or of zeros."""
    return InputError(
        "TRUNCATED",
        "a file among the slices is empty or begins with zeros alone.",
        path=path,
        hint="Fetch it again from its archive, or remove it if it is no slice.",
    )
