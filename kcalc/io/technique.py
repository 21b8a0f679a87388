"""Scan techniques that decide how a score reads: a slice header in, yes or no out.

Free text (series and protocol name) is searched for the mark of a tin filter and
goes no further.
"""

from __future__ import annotations

import re

from kcalc.io.dicom_header import SliceHeader

_TIN_NAME = re.compile(r"Sn(?![a-z])|SN[ _-]?(?:70|80|100|110|120|130|140|150)(?!\d)")
_TIN_FILTER = re.compile(r"(?<![A-Z])(?:SN|TIN)(?![A-Z])")
_SPECTRAL_TYPE = re.compile(
    r"KEV|MONO|VMI|SPECTRAL|MULTI.?ENERGY|DUAL.?ENERGY|MAT_SPEC"
)
_GATED_OPTION = re.compile(r"ECG|GATED|CARDIAC|TRIGGER")


def is_ecg_gated(header: SliceHeader) -> bool | None:
    """Return whether an ECG steered the scan, None where the file does not say.

    CardiacSynchronizationTechnique decides where it is there; else a trigger time, a
    cardiac phase or a scan option that names the ECG means yes. Their absence means
    nothing: many scanners do not write them.
    """
    technique = header.get("CardiacSynchronizationTechnique").strip().upper()
    if technique:
        return technique != "NONE"
    stated = (
        header.number("TriggerTime") is not None
        # A binary number, of which the header keeps that it is there.
        or header.get("NominalPercentageOfCardiacPhase") != ""
        or _GATED_OPTION.search(header.get("ScanOptions").upper()) is not None
    )
    return True if stated else None


def has_tin_filter(header: SliceHeader) -> bool:
    """Return whether a tin filter hardened the beam.

    Told by FilterMaterial or FilterType, or by ``Sn`` (as in Sn100) in the series or
    protocol name (digest E.4).
    """
    filters = f"{header.get('FilterMaterial')} {header.get('FilterType')}".upper()
    names = f"{header.get('SeriesDescription')} {header.get('ProtocolName')}"
    return bool(_TIN_FILTER.search(filters) or _TIN_NAME.search(names))


def is_spectral(header: SliceHeader) -> bool:
    """Return whether values are of a mono- or multi-energy image, not of one kVp.

    Told by MultienergyCTAcquisition or by ImageType, such as ``ME70KEV`` or ``VMI``.
    """
    if header.get("MultienergyCTAcquisition").strip().upper() == "YES":
        return True
    return any(_SPECTRAL_TYPE.search(part) for part in header.image_type)
