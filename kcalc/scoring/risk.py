"""Risk classes of a coronary Agatston score: the common five, orCaScore's, CAC-DRS."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

RISK_EDGES = (0.0, 10.0, 100.0, 400.0)
"""Upper edges of the classes, each included (digest E.6, Rumberger)."""
RISK_CATEGORIES = ("0", "1-10", "11-100", "101-400", ">400")
ORCASCORE_CATEGORIES = ("0-10", "11-100", "101-400", ">400")
"""The classes of the orCaScore challenge, which has none for 0 (digest F.2)."""
CAC_DRS_EDGES = (100.0, 300.0)
"""Lower edges of A2 and A3: SCCT 2018, doi 10.1016/j.jcct.2018.03.008."""


def risk_category(agatston: float) -> str:
    """Return the common risk class of an Agatston score.

    The names are of whole numbers, the edges are continuous: ``"0"`` is exactly 0,
    ``"1-10"`` is above 0 up to 10, ``"11-100"`` above 10 up to 100, ``"101-400"``
    above 100 up to 400. The score is not rounded first: 0.4 is ``"1-10"``, for there
    is calcium, and 10.2 is ``"11-100"``.

    Args:
        agatston: Agatston score, finite and at least 0.

    Raises:
        ValueError: The score is negative or not finite.

    Example:
        >>> [risk_category(score) for score in (0, 0.4, 10, 10.2, 400, 401)]
        ['0', '1-10', '1-10', '11-100', '101-400', '>400']

    References:
        Digest E.6.
    """
    return RISK_CATEGORIES[bisect_left(RISK_EDGES, _checked(agatston))]


def orcascore_category(agatston: float) -> str:
    """Return the risk class of the orCaScore challenge, which joins 0 to 1-10.

    The edges are those of :func:`risk_category`, of the unrounded score too.

    Args:
        agatston: Agatston score, finite and at least 0.

    Raises:
        ValueError: The score is negative or not finite.

    Example:
        >>> [orcascore_category(score) for score in (0, 10, 10.2, 100, 400.5)]
        ['0-10', '0-10', '11-100', '11-100', '>400']

    References:
        Wolterink JM et al., Med Phys 2016, doi 10.1118/1.4945696; digest F.2.
    """
    return ORCASCORE_CATEGORIES[bisect_left(RISK_EDGES[1:], _checked(agatston))]


def cac_drs(agatston: float, num_vessels: int | None = None) -> str:
    """Return the CAC-DRS category of an Agatston score, such as ``"A2/N3"``.

    A0 is 0, A1 above 0 and below 100, A2 from 100 to below 300, A3 from 300. N counts
    the coronary vessels with calcium.

    Args:
        agatston: Agatston score, finite and at least 0.
        num_vessels: Vessels with calcium, 0 to 4; None writes ``N?``, for vessels are
            unknown, or some calcium could not be assigned to one.

    Raises:
        ValueError: The score or the count is outside its range.

    Example:
        >>> cac_drs(99.9), cac_drs(100, 3), cac_drs(300)
        ('A1/N?', 'A2/N3', 'A3/N?')

    References:
        Hecht HS et al., CAC-DRS, J Cardiovasc Comput Tomogr 2018,
        doi 10.1016/j.jcct.2018.03.008.
    """
    score = _checked(agatston)
    grade = 0 if score == 0 else 1 + bisect_right(CAC_DRS_EDGES, score)
    if num_vessels is None:
        return f"A{grade}/N?"
    if num_vessels not in range(5):
        raise ValueError(
            "num_vessels must be 0 to 4, or None where unknown. "
            f"Received: num_vessels={num_vessels!r}"
        )
    return f"A{grade}/N{num_vessels}"


def _checked(agatston: float) -> float:
    value = float(agatston)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(
            "An Agatston score must be finite and at least 0. "
            f"Received: agatston={agatston}"
        )
    return value
