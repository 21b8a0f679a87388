"""Hounsfield-unit constants with their sources, and the comparison with one."""

from __future__ import annotations

from typing import Any, Literal

Comparison = Literal[">=", ">"]
"""Whether a threshold itself counts as calcium (``">="``) or not (``">"``)."""

AIR_HU = -1000
CT_MIN_HU = -1024
"""Lowest value a 12-bit CT stores; anything below is padding, not tissue."""
CT_MAX_HU = 3071
"""Highest value of a 12-bit CT with intercept -1024."""
AGATSTON_THRESHOLD_HU = 130
"""Calcium threshold at 120 kVp: Agatston 1990, doi 10.1016/0735-1097(90)90282-T."""


def reaches(values_hu: Any, threshold_hu: float, comparison: Comparison) -> Any:
    """Return which voxels reach a threshold, which ``">"`` does not include.

    Args:
        values_hu: Array or tensor in HU, any shape.
        threshold_hu: In HU; an integer for an integer tensor.
        comparison: ``">="`` or ``">"``.

    Returns:
        bool, same shape.

    Example:
        >>> import numpy as np
        >>> reaches(np.array([129, 130, 131]), 130, ">").tolist()
        [False, False, True]
    """
    if comparison == ">=":
        return values_hu >= threshold_hu
    return values_hu > threshold_hu
