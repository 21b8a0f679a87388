"""What a label means: names, codes and numbers of others become kcalc's numbers.

The numbers are those of :mod:`kcalc.anatomy`. Nothing is guessed: a number that means
two things needs a scheme from the caller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kcalc import anatomy
from kcalc.anatomy import LABEL_NAMES, UNDETERMINED_LABEL

PLAIN_LABEL = 1
"""Value of a mask that says where calcium is and not in which vessel."""

_LM, _LAD, _LCX, _RCA = (vessel.label for vessel in anatomy.CORONARY_VESSELS)
_AORTA, _AORTIC_VALVE, _MITRAL_ANNULUS = (
    part.label for part in anatomy.OTHER_STRUCTURES
)
_RIGHT_ICA, _LEFT_ICA = (part.label for part in anatomy.INTRACRANIAL_CAROTIDS)
ORCASCORE_LABELS: Mapping[int, int] = {
    1: _LAD,
    2: _LCX,
    3: _RCA,
    4: UNDETERMINED_LABEL,
}
"""orCaScore's numbers: 1 LAD with the left main, 2 LCX, 3 RCA, 4 undetermined."""

_WORDS: Mapping[str, int] = {
    "lm": _LM,
    "lmca": _LM,
    "lca": _LM,
    "left main": _LM,
    "left main stem": _LM,
    "left main artery": _LM,
    "left coronary artery": _LM,
    "left main coronary artery": _LM,
    "lad": _LAD,
    "lada": _LAD,
    "left anterior descending": _LAD,
    "left anterior descending artery": _LAD,
    "left anterior descending coronary artery": _LAD,
    "anterior descending branch of left coronary artery": _LAD,
    "lcx": _LCX,
    "cx": _LCX,
    "lcxa": _LCX,
    "circumflex": _LCX,
    "left circumflex": _LCX,
    "left circumflex artery": _LCX,
    "left circumflex coronary artery": _LCX,
    "circumflex branch of left coronary artery": _LCX,
    "rca": _RCA,
    "right coronary": _RCA,
    "right coronary artery": _RCA,
    "undetermined": UNDETERMINED_LABEL,
    "coronary": UNDETERMINED_LABEL,
    "coronary artery": UNDETERMINED_LABEL,
    "coronary arteries": UNDETERMINED_LABEL,
    "aorta": _AORTA,
    "thoracic aorta": _AORTA,
    "aortic valve": _AORTIC_VALVE,
    "mitral annulus": _MITRAL_ANNULUS,
    "mitral valve annulus": _MITRAL_ANNULUS,
    "insert": anatomy.INSERT_LABEL,
    "right ica": _RIGHT_ICA,
    "ica right": _RIGHT_ICA,
    "right internal carotid artery": _RIGHT_ICA,
    "right intracranial carotid artery": _RIGHT_ICA,
    "left ica": _LEFT_ICA,
    "ica left": _LEFT_ICA,
    "left internal carotid artery": _LEFT_ICA,
    "left intracranial carotid artery": _LEFT_ICA,
}
"""Names in use; "Left Coronary Artery" is COCA's name of the left main."""
_OF_CALCIUM = frozenset(
    {"calcium", "calcification", "calcifications", "calcified", "plaque", "cac"}
)
CORONARY_ARTERY_CODE = "41801008"
"""SNOMED CT code of a coronary artery, without saying which."""

_CODES: Mapping[str, int] = {
    **{
        part.sct_code: part.label
        for part in (*anatomy.CORONARY_VESSELS, *anatomy.OTHER_STRUCTURES)
    },
    CORONARY_ARTERY_CODE: UNDETERMINED_LABEL,
}


@dataclass(frozen=True)
class LabelScheme:
    """What the caller says labels mean.

    Args:
        name: ``"kcalc"``, ``"orcascore"``, ``"plain"`` or ``"given"``.
        given: For ``"given"``: number or name of a label, in small letters, to the
            number it gets.

    """

    name: str
    given: Mapping[str, int] = field(default_factory=dict)


def label_scheme(text: str) -> LabelScheme:
    """Return the scheme that a text names.

    Args:
        text: ``kcalc`` (numbers of ``kcalc.anatomy``), ``orcascore`` (1 LAD with LM, 2
            LCX, 3 RCA, 4 undetermined), ``plain`` (every label is calcium, vessels are
            not told apart), or pairs such as ``1=LAD,2=LCX,aorta=0``: number or name of
            a label, and a vessel's name, a number of kcalc, or 0 for what is to be
            left out.

    Raises:
        ValueError: The text is none of these.

    Example:
        >>> label_scheme("1=LAD, 7=0").given
        {'1': 2, '7': 0}
    """
    if text in ("kcalc", "orcascore", "plain"):
        return LabelScheme(text)
    given: dict[str, int] = {}
    for pair in text.split(","):
        label, equals, meaning = (part.strip().lower() for part in pair.partition("="))
        number = vessel_number(meaning)
        if meaning.isdecimal() and len(meaning) < 4:
            number = int(meaning)
        if (
            not equals
            or not label
            or label in given
            or number is None
            or (number and number not in LABEL_NAMES)
        ):
            known = ", ".join(f"{n}" for n in LABEL_NAMES)
            raise ValueError(
                "labels must be kcalc, orcascore, plain, or pairs such as "
                f"1=LAD,2=LCX with a vessel's name or one of 0, {known}, each label "
                f"once. Received: {text[:80]!r}"
            )
        given[label] = number
    return LabelScheme("given", given)


def vessel_number(name: str) -> int | None:
    """Return the number of a vessel's name as people write it, or None.

    Example:
        >>> vessel_number("LAD_calcification"), vessel_number("sternum")
        (2, None)
    """
    words = [
        word
        for word in re.findall(r"[a-z]+|\d+", name[:200].lower())
        if word not in _OF_CALCIUM
    ]
    return _WORDS.get(" ".join(words))


def part_number(name: str, codes: Sequence[str] = ()) -> int | None:
    """Return the number of a segment or region by its codes and its name, or None.

    A code that tells the artery goes before the name, and the name before a code that
    says no more than "coronary artery".

    Args:
        name: Its name.
        codes: Its SNOMED CT codes.
    """
    told = [_CODES[code] for code in codes if code in _CODES]
    for number in told:
        if number != UNDETERMINED_LABEL:
            return number
    by_name = vessel_number(name)
    return told[0] if by_name is None and told else by_name
