"""What departs from a standard scan for calcium: volume and lesions in, findings out.

The risk classes were made on 120 kVp, slices of 2.5 to 3 mm, an ECG-gated scan and the
whole heart. A score of another scan stands with the word "non-standard acquisition".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kcalc.volume import Finding, Volume

if TYPE_CHECKING:
    from kcalc.scoring.calcium import CalciumScore

NON_STANDARD_CODES = (
    *("KVP", "KEV", "SPECTRAL", "KVP_NOT_ADAPTED", "PROTOCOL", "NOT_GATED", "FOV"),
    *("GEOM_GAP", "GEOM_RESAMPLED", "SPACING_ASSUMED", "LOSSY", "CONTRAST", "NOISE"),
    "BODY_PART",
)
"""Codes of findings that make an acquisition non-standard, whoever found them."""
_WITH_HEART = re.compile(
    "CHEST|THORA|HEART|CARD|CORON|LUNG|AORT|VALVE|MEDIAST|BODY|TRUNK|TORSO|PHANTOM"
)
"""Parts of the names of body parts that show the heart."""
MIN_COVERAGE_MM = 100.0
"""Hearts of adults are about 120 mm high; a scan shorter than this cuts most."""


def heart_findings(volume: Volume, score: CalciumScore) -> list[Finding]:
    """Return warnings of a scan that no ECG gated, or that cuts the heart.

    The heart is taken as cut where the scan is shorter than 100 mm along its slices,
    or where a lesion lies in the first or last slice.

    Args:
        volume: The scan.
        score: Its score.
    """
    findings = body_part_findings(volume.acquisition.body_part)
    gated = volume.acquisition.ecg_gated
    if not gated:
        said = "no ECG gating is stated" if gated is None else "no ECG gated the scan"
        message = f"{said[0].upper()}{said[1:]}; motion of the heart may blur calcium."
        findings.append(Finding("NOT_GATED", message, "warning"))
    coverage_mm = volume.shape[0] * volume.spacing_mm[0]
    if coverage_mm < MIN_COVERAGE_MM:
        message = (
            f"The scan covers {coverage_mm:.0f} mm along its slices; a heart of about "
            "120 mm is cut, and calcium outside is not counted."
        )
        findings.append(Finding("FOV", message, "warning"))
    else:
        findings += cut_findings(volume, score)
    return findings


def body_part_findings(body_part: str | None) -> list[Finding]:
    """Return a warning where the file names a part of the body without the heart (B17).

    Args:
        body_part: BodyPartExamined. None or a text that is no code says nothing.

    Example:
        >>> parts = ("CHEST", "HEAD", None)
        >>> [f.code for part in parts for f in body_part_findings(part)]
        ['BODY_PART']
    """
    part = (body_part or "").strip().upper()
    if not re.fullmatch(r"[A-Z0-9_ ]{2,16}", part) or _WITH_HEART.search(part):
        return []
    message = (
        f"BodyPartExamined is {part}; what is bright there may be bone or vessels of "
        "another part than the heart."
    )
    return [Finding("BODY_PART", message, "warning")]


def cut_findings(volume: Volume, score: CalciumScore) -> list[Finding]:
    """Return a warning where a lesion lies in the first or last slice.

    Args:
        volume: The scan.
        score: Its score.
    """
    last = volume.shape[0] - 1
    touching = [
        lesion.number
        for lesion in score.lesions
        if lesion.first_slice_index == 0 or lesion.last_slice_index == last
    ]
    if not touching:
        return []
    message = (
        f"Lesion {touching[0]} lies in the first or last slice: the scan may end "
        "within what is scored, and calcium outside is not counted."
    )
    return [Finding("FOV", message, "warning")]


def non_standard(codes: Iterable[str]) -> tuple[str, ...]:
    """Return the codes of findings that make an acquisition non-standard.

    Example:
        >>> non_standard(["PROTOCOL", "MASK_EMPTY", "KVP"])
        ('KVP', 'PROTOCOL')
    """
    given = set(codes)
    return tuple(code for code in NON_STANDARD_CODES if code in given)
