"""Hounsfield-unit constants with their sources."""

from __future__ import annotations

AIR_HU = -1000
CT_MIN_HU = -1024
"""Lowest value a 12-bit CT stores; anything below is padding, not tissue."""
CT_MAX_HU = 3071
"""Highest value of a 12-bit CT with intercept -1024."""
AGATSTON_THRESHOLD_HU = 130
"""Calcium threshold at 120 kVp: Agatston 1990, doi 10.1016/0735-1097(90)90282-T."""
