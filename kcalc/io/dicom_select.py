"""Which of the series in a folder is read: headers enter, one series leaves.

Localisers, dose reports, secondary captures and other objects are set aside and
counted. With several CT series left, exactly one must pass the rule of
``unsuited_because``; otherwise the caller is shown them all and has to choose.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kcalc.errors import InputError, UnfitError
from kcalc.io.dicom_header import CT_IMAGE, SliceHeader
from kcalc.io.series_files import SeriesFiles, is_sharp_kernel, normal_of
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

NO_CONTRAST = frozenset({"", "NONE", "NO", "WITHOUT"})
"""ContrastBolusAgent values that mean none was given (fault B8)."""

_MAPS = re.compile(
    r"\b(LOCALIZER|SCOUT|TOPOGRAM|PROJECTION|MIP|MINIP|MIN IP|MAX IP"
    r"|IODINE|VNC|VUE|VIRTUAL NON CONTRAST|VIRTUAL UNENHANCED"
    r"|ZEFF|Z EFF|EFF Z|Z EFFECTIVE|EFFECTIVE Z"
    r"|PERFUSION|RCBF|RCBV|MTT|TTP|TMAX|SCREEN SAVE|DOSE INFO)\b"
)
"""ImageType values whose pixels are not a stack of plain CT slices (fault A4), with
spaces for whatever else stands between the words."""
_CROSSING_COSINE = 0.7
"""Cosine of the angle from which on a slice lies in another plane: 45 degrees."""


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
    candidates = []
    for uid, group in groups.items():
        slices = _of_one_plane(group)
        aside["image in another plane"] += len(group) - len(slices)
        candidates.append(SeriesFiles(uid, tuple(slices)))
    aside = +aside
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
    fitting = [c for c in candidates if unsuited_because(c) is None]
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
        return header.code("Modality") or "object without modality"
    if header.frame_number is None:
        if modality.upper() == "CT" and sop_class != CT_IMAGE:
            multi = sop_class in ENHANCED_IMAGES
            return "multi-frame" if multi else "CT report or object"
        if sop_class in ENHANCED_IMAGES or (header.number("NumberOfFrames") or 1) > 1:
            return "multi-frame"
    if header.get("PixelPresentation") in ("COLOR", "MIXED", "TRUE_COLOR"):
        return "colour map"
    for part in header.image_type:
        found_map = _MAPS.search(re.sub(r"[^A-Z0-9]+", " ", part))
        if found_map is not None:
            return found_map[0].lower()
    return None


def _of_one_plane(headers: Sequence[SliceHeader]) -> list[SliceHeader]:
    """Return the slices of a series without the few that cross them, as scouts do (A5).

    Where no plane holds more than half of them, all come back, to be refused.
    """
    normals = [normal_of(header) for header in headers]
    rounded = Counter(
        tuple(np.abs(normal).round(1).tolist())
        for normal in normals
        if normal is not None
    )
    if len(rounded) < 2:
        return list(headers)
    (usual, count), *_ = rounded.most_common(1)
    if 2 * count <= len(headers):
        return list(headers)
    main = next(
        n for n in normals if n is not None and tuple(np.abs(n).round(1)) == usual
    )
    return [
        header
        for header, normal in zip(headers, normals, strict=True)
        if normal is None or abs(normal @ main) > _CROSSING_COSINE
    ]


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
    found = sorted({h.code("Modality") or "none" for h in headers})
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
        reason = unsuited_because(candidate)
        parts.append(candidate.describe() + (f" - {reason}" if reason else ""))
    return "; ".join(parts)


def unsuited_because(candidate: SeriesFiles) -> str | None:
    """Return why a series is not the one to score among several, or None."""
    first = candidate.headers[0]
    if len(candidate.headers) < 2:
        return "a single slice"
    if any(has_contrast(header) for header in candidate.headers):
        return "contrast"
    if is_sharp_kernel(first.get("ConvolutionKernel")):
        return "sharp kernel"
    normal = normal_of(first)
    if normal is not None and abs(normal[2]) < 0.9:
        return "not axial"
    return None
