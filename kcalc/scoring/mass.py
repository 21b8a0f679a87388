"""Calcium mass in mg from volume, mean HU and a calibration factor."""

from __future__ import annotations

import math

MM3_PER_ML = 1000.0


def mass_mg(
    volume_mm3: float, mean_hu: float, calibration_mg_per_ml_per_hu: float
) -> float:
    """Return the hydroxyapatite mass of a lesion in mg.

    m = volume x mean HU x calibration / 1000, the last for mm3 against mL.

    Args:
        volume_mm3: Volume of the lesion in mm3.
        mean_hu: Mean of its voxels in HU.
        calibration_mg_per_ml_per_hu: mg/mL of hydroxyapatite per HU, measured at the
            scan's own tube voltage; see :func:`check_calibration`.

    Example:
        >>> mass_mg(2.0, 400.0, 0.75)
        0.6

    References:
        McCollough CH et al., Radiology 2007, the mass score of the consortium
        (digest E.3).
    """
    return volume_mm3 * mean_hu * calibration_mg_per_ml_per_hu / MM3_PER_ML


def check_calibration(mass_calibration: float | None) -> float | None:
    """Return a mass calibration as a float, or None where there is none.

    Args:
        mass_calibration: mg/mL per HU. Published factors lie near 0.7 to 0.8 at
            120 kVp (digest E.3); the value is not judged beyond its sign and unit.

    Raises:
        ValueError: The factor is not positive and finite, or below 0.01, which is a
            factor in g/mL or mg/mm3 per HU.
    """
    if mass_calibration is None:
        return None
    value = float(mass_calibration)
    if not (math.isfinite(value) and value >= 0.01):
        raise ValueError(
            "mass_calibration must be a positive factor in mg/mL per HU, at least "
            f"0.01. Received: mass_calibration={mass_calibration}. A factor in g/mL "
            "or mg/mm3 per HU must be multiplied by 1000."
        )
    return value
