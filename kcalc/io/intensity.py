"""Whether values can be Hounsfield units: an array enters, findings leave.

Refuses on positive evidence only (fault B12); what is merely unusual is a finding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.errors import IntensityError
from kcalc.hounsfield import AIR_HU, CT_MAX_HU
from kcalc.volume import Finding

IMPLAUSIBLE_HU = 20000
IMPLAUSIBLE_FRACTION = 0.001
LOWEST_MINIMUM_HU = -100
"""A scan whose minimum is not below this holds no air and no fat: windowed data."""
ALL_AIR_HU = -900
SATURATED_VOXELS = 100
MAX_NOISE_HU = 40.0
"""Standard deviation in soft tissue above which a scan is told to be noisy (B14)."""
_NOISE_PIXELS = 6
_NOISE_BLOCKS = 50
CONTRAST_MEDIAN_HU = 100
"""Median of central soft tissue above which contrast is suspected (fault B8)."""


def check_hounsfield(
    array_hu: npt.NDArray[Any], path: Path, *, num_implausible: int | None = None
) -> list[Finding]:
    """Refuse values that cannot be HU; return what is suspicious.

    Args:
        array_hu: (z, y, x) values in HU.
        path: The input, for messages.
        num_implausible: Voxels above 20 000 HU, where already counted.

    Raises:
        IntensityError: ``EMPTY`` for a constant or all-air volume, ``HU_RANGE``
            for more than 0.1 % of voxels above 20 000 or a minimum of -100 or more.
    """
    low, high = array_hu.min(), array_hu.max()
    if low == high or high <= ALL_AIR_HU:
        raise IntensityError(
            "EMPTY",
            f"a scan must show something; its values run from {low} to {high} HU "
            f"(air is {AIR_HU}).",
            path=path,
            hint="Fetch the series again from its archive.",
        )
    if num_implausible is None:
        num_implausible = int(np.count_nonzero(array_hu > IMPLAUSIBLE_HU))
    if num_implausible > IMPLAUSIBLE_FRACTION * array_hu.size:
        raise IntensityError(
            "HU_RANGE",
            f"{num_implausible} of {array_hu.size} voxels are above "
            f"{IMPLAUSIBLE_HU} HU, as with a wrong sign or rescale.",
            path=path,
            hint="Check PixelRepresentation and the rescale tags of the source.",
        )
    if low >= LOWEST_MINIMUM_HU:
        raise IntensityError(
            "HU_RANGE",
            f"the lowest value is {low}, where a CT has air or fat below "
            f"{LOWEST_MINIMUM_HU} HU: windowed or shifted values.",
            path=path,
            hint="Use the original slices in HU.",
        )
    return [
        *_saturation(array_hu, float(high)),
        *_contrast(array_hu),
        *_noise(array_hu),
    ]


def noise_hu(array_hu: npt.NDArray[Any]) -> float | None:
    """Return the noise in soft tissue in HU, None where too little of it is seen.

    The median standard deviation of 6 x 6 pixels in the central third whose mean is
    that of soft tissue or blood. Neighbouring pixels are correlated, so it is a little
    less than the noise of a large region, such as the aorta's.

    Args:
        array_hu: (z, y, x) in HU.
    """
    depth, height, width = array_hu.shape
    centre = array_hu[
        :: max(1, depth // 16),
        height // 3 : height - height // 3,
        width // 3 : width - width // 3,
    ]
    rows, columns = (size // _NOISE_PIXELS for size in centre.shape[1:])
    blocks = centre[:, : rows * _NOISE_PIXELS, : columns * _NOISE_PIXELS].reshape(
        len(centre), rows, _NOISE_PIXELS, columns, _NOISE_PIXELS
    )
    blocks = blocks.astype(np.float32)
    means, deviations = blocks.mean(axis=(2, 4)), blocks.std(axis=(2, 4))
    tissue = deviations[(means > 0) & (means < 120)]
    return float(np.median(tissue)) if tissue.size >= _NOISE_BLOCKS else None


def _noise(array_hu: npt.NDArray[Any]) -> list[Finding]:
    """Report noise of which the threshold makes lesions (B14)."""
    noise = noise_hu(array_hu)
    if noise is None or noise <= MAX_NOISE_HU:
        return []
    message = (
        f"The noise in soft tissue is {noise:.0f} HU (above {MAX_NOISE_HU:g}): noise "
        "alone may reach 130 HU and count as calcium."
    )
    return [Finding("NOISE", message, "warning")]


def _saturation(array_hu: npt.NDArray[Any], highest: float) -> list[Finding]:
    """Report voxels at the upper end of the scale, as metal leaves them (B7)."""
    if highest < CT_MAX_HU:
        return []
    count = int(np.count_nonzero(array_hu >= CT_MAX_HU))
    if count <= SATURATED_VOXELS:
        return []
    message = (
        f"{count} voxels are at or above {CT_MAX_HU} HU: metal (stent, pacemaker, "
        "valve) may be taken for calcium."
    )
    return [Finding("METAL", message, "warning")]


def _contrast(array_hu: npt.NDArray[Any]) -> list[Finding]:
    """Report a centre so bright that contrast is likely though not declared (B8)."""
    depth, height, width = array_hu.shape
    centre = array_hu[
        depth // 4 : depth - depth // 4 : max(1, depth // 16),
        height // 3 : height - height // 3 : 2,
        width // 3 : width - width // 3 : 2,
    ]
    tissue = centre[(centre > 0) & (centre < 500)]
    if tissue.size < 100:
        return []
    median = float(np.median(tissue))
    if median <= CONTRAST_MEDIAN_HU:
        return []
    message = (
        f"The median of the central soft tissue is {median:.0f} HU; the scan may "
        "be contrast-enhanced, which makes a calcium score too high."
    )
    return [Finding("CONTRAST", message, "warning")]
