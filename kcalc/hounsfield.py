"""Hounsfield-unit constants with their sources, and the network's intensity window."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

AIR_HU = -1000
WATER_HU = 0
CT_MIN_HU = -1024
"""Lowest value a 12-bit CT stores; anything below is padding, not tissue."""
CT_MAX_HU = 3071
"""Highest value of a 12-bit CT with intercept -1024."""
AGATSTON_THRESHOLD_HU = 130
"""Calcium threshold at 120 kVp: Agatston 1990, doi 10.1016/0735-1097(90)90282-T."""


def normalise_window(
    array_hu: npt.ArrayLike, window_hu: tuple[float, float]
) -> npt.NDArray[np.float32]:
    """Clip to a window and scale it to [0, 1].

    Args:
        array_hu: Values in HU, any shape.
        window_hu: Lower and upper edge in HU, lower < upper.

    Returns:
        float32 array of the same shape in [0, 1].

    Example:
        >>> normalise_window([-500, 300, 900], (-200.0, 800.0)).tolist()
        [0.0, 0.5, 1.0]
    """
    low_hu, high_hu = window_hu
    array = np.asarray(array_hu, dtype=np.float32)
    return ((np.clip(array, low_hu, high_hu) - low_hu) / (high_hu - low_hu)).astype(
        np.float32
    )
