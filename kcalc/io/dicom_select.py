"""Which of the series in a folder is read: headers enter, one series leaves.

Localisers, dose reports, secondary captures and other objects are set aside and
counted. With several CT series left, exactly one must pass the rule of
``_unsuited_because``; otherwise the caller is shown them all and has to choose.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kcalc.errors import InputError, UnfitError
from kcalc.io.dicom_header import CT_IMAGE, SliceHeader
from kcalc.volume import Finding

ENHANCED_IMAGES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2.1",
        "1.2.840.10008.5.1.4.1.1.2.2",
        "1.2.840.10008.5.1.4.1.1.4.1",
        "1.2.840.10008.5.1.4.1.1.4.4",
        "1.2.840.10008.5.1.4.1.1.128.1",
        "1.2.840.10008.5.1.4.1.1.130",
    }
)
"""Enhanced and legacy converted enhanced CT, MR and PET: multi-frame objects."""
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

DERIVED_MAPS = frozenset(
    {
        *("LOCALIZER", "SCOUT", "TOPOGRAM", "PROJECTION IMAGE", "PROJECTION"),
        *("MIP", "MINIP", "MIN_IP", "MAX_IP", "IODINE", "IODINE_MAP", "VNC", "VUE"),
        *("Z_EFF", "ZEFF", "EFF_Z", "PERFUSION", "SCREEN SAVE", "DOSE_INFO"),
        *("RCBF", "RCBV", "MTT", "TTP", "TMAX"),
        *("MAXIMUM", "MINIMUM", "SUBTRACTION", "DIVISION", "QUANTITY"),
    }
)
"""ImageType values whose pixels are not a stack of plain CT slices (fault A4)."""
NO_CONTRAST = frozenset({"", "NONE", "NO", "WITHOUT"})
"""ContrastBolusAgent values that mean none was given (fault B8)."""

_SHARP_NAMES = frozenset(
    {"LUNG", "BONE", "BONEPLUS", "BONE+", "EDGE", "L", "E", "YB", "YC", "YD", "YE"}
)


class SeriesFiles(NamedTuple):
    """The slices of one series that may be read."""

    uid: str
    headers: tuple[SliceHeader, ...]

    @property
    def short_id(self) -> str:
        """Eight hexadecimal digits that name the series without its UID."""
        return hashlib.sha256(self.uid.encode()).hexdigest()[:8]

    def describe(self) -> str:
        """Return what tells this series from others, without patient data.

        No part of a UID: archives put dates and numbers of patients into them.
        """
        first = self.headers[0]
        kind = first.image_type[0] if first.image_type else "unknown type"
        return (
            f"{self.short_id} (series number {first.get('SeriesNumber') or '?'}, "
            f"{len(self.headers)} slices, thickness "
            f"{first.get('SliceThickness') or '?'} mm, pixels "
            f"{first.get('PixelSpacing').split(chr(92))[0] or '?'} mm, kernel "
            f"{first.get('ConvolutionKernel') or '?'}, {kind})"
        )


def select_series(
    headers: Sequence[SliceHeader], path: Path, *, modality: str, series: str | None
) -> tuple[SeriesFiles, list[Finding]]:
    """Return the series to read and notes on what was set aside.

    Args:
        headers: Every DICOM header found under path; at least one.
        path: The input, for messages.
        modality: Wanted Modality, such as ``"CT"``.
        series: SeriesInstanceUID, the end of it, or the eight digits of
            ``SeriesFiles.short_id``; None to pick the only fitting one.

    Raises:
        InputError: ``MODALITY``, ``ENHANCED_UNSUPPORTED``, ``NO_IMAGE``,
            ``SERIES_AMBIGUOUS`` or ``SERIES_UNKNOWN``.
    """
    chosen: list[SliceHeader] = []
    aside: Counter[str] = Counter()
    for header in headers:
        reason = _set_aside_because(header, modality)
        if reason is None:
            chosen.append(header)
        else:
            aside[reason] += 1
    if not chosen:
        raise _nothing_left(headers, aside, path, modality)
    groups: dict[str, list[SliceHeader]] = {}
    for header in chosen:
        groups.setdefault(header.get("SeriesInstanceUID"), []).append(header)
    candidates = [SeriesFiles(uid, tuple(group)) for uid, group in groups.items()]
    findings = []
    if aside:
        counts = ", ".join(f"{count} {name}" for name, count in sorted(aside.items()))
        findings.append(
            Finding("FILES_SET_ASIDE", f"Not part of the scan: {counts}.", "note")
        )
    if series is not None:
        return _named(candidates, series, path), findings
    if len(candidates) == 1:
        return candidates[0], findings
    fitting = [c for c in candidates if _unsuited_because(c) is None]
    original = [c for c in fitting if "ORIGINAL" in c.headers[0].image_type[:1]]
    fitting = original or fitting
    if len(fitting) != 1:
        raise InputError(
            "SERIES_AMBIGUOUS",
            f"one {modality} series must be meant; {len(candidates)} were found and "
            f"{len(fitting)} of them fit: {_listing(candidates)}.",
            path=path,
            hint="Name one by its eight digits with series= (--series), or give its "
            "folder alone.",
        )
    findings.append(
        Finding(
            "SERIES_SELECTED",
            f"Chose {fitting[0].describe()} as the only one of {len(candidates)} "
            f"series that fits: {_listing(candidates)}.",
            "note",
        )
    )
    return fitting[0], findings


def refuse_contrast(headers: Sequence[SliceHeader], path: Path) -> None:
    """Refuse a scan whose tags say that intravenous contrast was given (B8).

    Raises:
        UnfitError: ``CONTRAST``.
    """
    for header in headers:
        if has_contrast(header):
            raise UnfitError(
                "CONTRAST",
                "calcium is scored on scans without intravenous contrast; "
                "ContrastBolusAgent names an agent.",
                path=path,
                hint="Use the non-contrast series. In Python, unit='arbitrary' reads "
                "this one for work without a score.",
            )


def has_contrast(header: SliceHeader) -> bool:
    """Return whether the tags of a slice name intravenous contrast."""
    agent = header.get("ContrastBolusAgent").upper()
    route = header.get("ContrastBolusRoute").upper()
    return agent not in NO_CONTRAST and "ORAL" not in route


def _set_aside_because(header: SliceHeader, modality: str) -> str | None:
    """Return why a file is no slice of a scan of that modality, or None."""
    sop_class = header.get("SOPClassUID")
    if sop_class.startswith(SECONDARY_CAPTURE):
        return "secondary capture"
    found = header.get("Modality").upper()
    if found != modality.upper():
        return f"{found or 'object without modality'}"
    if header.frame_number is None:
        if modality.upper() == "CT" and sop_class != CT_IMAGE:
            multi = sop_class in ENHANCED_IMAGES
            return "multi-frame" if multi else "CT report or object"
        if sop_class in ENHANCED_IMAGES or (header.number("NumberOfFrames") or 1) > 1:
            return "multi-frame"
    if header.get("PixelPresentation") in ("COLOR", "MIXED", "TRUE_COLOR"):
        return "colour map"
    maps = DERIVED_MAPS.intersection(header.image_type)
    if maps:
        return min(maps).lower()
    return None


def _nothing_left(
    headers: Sequence[SliceHeader], aside: Counter[str], path: Path, modality: str
) -> InputError:
    """Return the refusal of an input without one slice of the modality."""
    if "multi-frame" in aside:
        return InputError(
            "ENHANCED_UNSUPPORTED",
            "slices must be single-frame objects, or frames of an Enhanced CT that "
            "describes each of them; this multi-frame object does not.",
            path=path,
            hint="Export it as one file a slice, for instance with emf2sf of dcm4che.",
        )
    found = sorted({h.get("Modality").upper() or "none" for h in headers})
    counts = ", ".join(f"{count} {name}" for name, count in sorted(aside.items()))
    if modality.upper() in found:
        return InputError(
            "NO_IMAGE",
            f"there must be {modality} slices; found only {counts}.",
            path=path,
            hint="Give the folder of the reconstructed slices.",
        )
    return InputError(
        "MODALITY",
        f"the scan must be {modality}; the modality found is {', '.join(found)}.",
        path=path,
        hint=f"Give a {modality} series; kcalc scores calcium on CT alone.",
    )


def _named(candidates: Sequence[SeriesFiles], series: str, path: Path) -> SeriesFiles:
    """Return the candidate that the caller named."""
    exact = [c for c in candidates if series in (c.uid, c.short_id)]
    ending = [c for c in candidates if len(series) >= 4 and c.uid.endswith(series)]
    matches = exact or ending
    if len(matches) != 1:
        raise InputError(
            "SERIES_UNKNOWN",
            f"series= must name one series; {len(matches)} of {len(candidates)} "
            f"match: {_listing(candidates)}.",
            path=path,
            hint="Use the eight digits before a parenthesis.",
        )
    return matches[0]


def _listing(candidates: Sequence[SeriesFiles]) -> str:
    """Return all candidates with what speaks against them."""
    parts = []
    for candidate in candidates:
        reason = _unsuited_because(candidate)
        parts.append(candidate.describe() + (f" - {reason}" if reason else ""))
    return "; ".join(parts)


def _unsuited_because(candidate: SeriesFiles) -> str | None:
    """Return why a series is not the one to score among several, or None."""
    first = candidate.headers[0]
    if len(candidate.headers) < 2:
        return "a single slice"
    if any(has_contrast(header) for header in candidate.headers):
        return "contrast"
    if is_sharp_kernel(first.get("ConvolutionKernel")):
        return "sharp kernel"
    orientation = first.numbers("ImageOrientationPatient")
    if len(orientation) == 6 and np.isfinite(orientation).all():
        normal = np.cross(orientation[:3], orientation[3:])
        if abs(normal[2]) < 0.9 * np.linalg.norm(normal):
            return "not axial"
    return None


def is_sharp_kernel(kernel: str) -> bool:
    """Return whether a kernel's name is a vendor's lung or bone kernel.

    Only narrows a choice between series, so a name it does not know counts as soft.
    Siemens numbers its kernels by sharpness (B10 to B80, Br32 to Bl64); Canon's
    FC30-39, FC50-59 and FC80-89 are bone and lung; GE and Philips use names.

    Args:
        kernel: ConvolutionKernel as it stands in the file.

    Example:
        >>> [is_sharp_kernel(k) for k in ("B35f", "Bl57", "FC12", "LUNG")]
        [False, True, False, True]
    """
    name = kernel.split("\\")[0].strip().upper()
    if name in _SHARP_NAMES:
        return True
    canon = re.match(r"FC(\d\d)", name)
    if canon:
        return int(canon[1]) // 10 in (3, 5, 8)
    siemens = re.match(r"[BHTIUQ][A-Z]?(\d\d)", name)
    return siemens is not None and int(siemens[1]) >= 50
