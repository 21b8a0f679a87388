"""Identifiers of patient and study, read only to be written into a DICOM output.

Nothing else of kcalc reads them: they enter no Volume, message, report or log.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from kcalc.errors import InputError
from kcalc.io import discovery

FILING_KEYWORDS = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate"),
    *("PatientSex", "StudyDate", "StudyTime", "StudyID", "StudyDescription"),
    *("AccessionNumber", "ReferringPhysicianName"),
    *("PatientIdentityRemoved", "DeidentificationMethod"),
)
"""What an archive files an object by, and whether it was removed before."""


def read_identity(path: Path) -> dict[str, str]:
    """Return the filing attributes of a DICOM file, "" left out.

    Args:
        path: A file that was read as a slice.

    Returns:
        DICOM keyword to value as text, decoded with the file's character set; several
        values stand behind one another with a backslash between.

    Raises:
        InputError: ``DICOM_IDENTITY`` if a value breaks the rules of its VR and so
            would not file the output where its source is; ``DICOM_BROKEN``.
    """
    import pydicom

    prefix = discovery.read_prefix(path)
    deflated = prefix[128:132] == b"DICM" and (
        discovery.file_meta(prefix)[0].get(0x0010) == discovery.DEFLATED.encode()
    )
    try:
        plain = discovery.inflate(discovery.read_whole(path), path) if deflated else b""
        with discovery.quiet_pydicom():
            dataset = pydicom.dcmread(
                io.BytesIO(plain) if deflated else path,
                stop_before_pixels=True,
                force=True,
                specific_tags=[*FILING_KEYWORDS, "SpecificCharacterSet"],
            )
            values = {
                keyword: _text(dataset[keyword].value)
                for keyword in FILING_KEYWORDS
                if keyword in dataset
            }
            broken = [k for k, value in values.items() if not _fits(k, value)]
    except (InputError, MemoryError):
        raise
    except Exception:
        # Without its cause, whose text may hold a value of the file.
        raise InputError(
            "DICOM_BROKEN",
            "the attributes of patient and study cannot be parsed.",
            path=path,
            hint="Leave out --phi keep, or fetch the file again from its archive.",
        ) from None
    if broken:
        raise InputError(
            "DICOM_IDENTITY",
            "attributes that are to be kept must obey the rules of DICOM; these do "
            f"not: {', '.join(broken)}.",
            path=path,
            hint="Leave out --phi keep, or correct them in the archive.",
        )
    if values.get("PatientSex") not in ("M", "F", "O"):
        values["PatientSex"] = ""  # of no use for filing, and no other value is legal
    return {keyword: value for keyword, value in values.items() if value}


def _text(value: Any) -> str:
    """Return a value as text, several with a backslash between."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        return "\\".join(str(part) for part in value)
    return str(value)


def _fits(keyword: str, text: str) -> bool:
    """Return whether a text obeys the rules of its attribute's VR."""
    from pydicom import config
    from pydicom.datadict import dictionary_VM, dictionary_VR
    from pydicom.valuerep import validate_value

    parts = text.split("\\")
    if len(parts) > 1 and dictionary_VM(keyword) == "1":
        return False
    if not all(part.isprintable() for part in parts):
        return False
    try:
        for part in parts:
            validate_value(dictionary_VR(keyword), part, config.RAISE)
    except ValueError:
        return False
    return True
