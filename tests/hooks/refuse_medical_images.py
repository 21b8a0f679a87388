"""Refuse to commit medical images, whatever they are called (pre-commit hook)."""

from __future__ import annotations

import gzip
import sys
import zlib
from pathlib import Path

SUFFIXES = (".dcm", ".dicom", ".ima", ".nii", ".nii.gz", ".mhd", ".mha", ".nrrd")
NIFTI_MAGIC = (b"n+1\0", b"ni1\0")


def is_medical_image(path: Path) -> bool:
    """Return whether a file is DICOM or NIfTI by content, or named like one."""
    if path.name.lower().endswith(SUFFIXES):
        return True
    with path.open("rb") as file:
        head = file.read(400)
    if head[:2] == b"\x1f\x8b":
        try:
            head = gzip.open(path).read(400)
        except (OSError, EOFError, zlib.error):
            return False
    return head[128:132] == b"DICM" or head[344:348] in NIFTI_MAGIC


def main(paths: list[str]) -> int:
    """Name every medical image among the paths; 1 if there is one."""
    found = [p for p in paths if Path(p).is_file() and is_medical_image(Path(p))]
    for path in found:
        sys.stderr.write(f"medical image, not to be committed: {path}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
