"""Further indices of calcium: a region round it and reference signals in, a number out.

Unlike the Agatston score they have no threshold: calcium spread over part of a voxel
counts with its share. The region must therefore hold the calcium with its blurred rim
and, beside it, background alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.scoring import checks
from kcalc.scoring.mass import MM3_PER_ML


def calcium_volume_fraction_mm3(
    array_hu: npt.ArrayLike,
    roi: npt.ArrayLike,
    spacing_mm: Sequence[float],
    *,
    background_hu: float,
    object_hu: float,
) -> float:
    """Return the volume in mm3 by volume fractions, of calcium that reads object_hu.

    Each voxel of the region counts with (HU - background) / (object - background) times
    its volume; by noise that may be below 0.

    Args:
        array_hu: The scan in HU, (z, y, x).
        roi: The region, bool or integer, (z, y, x).
        spacing_mm: Distance of voxels in mm, (z, y, x).
        background_hu: Mean HU of the tissue round the calcium.
        object_hu: HU of pure calcium of a known density, such as a calibration rod's.

    Raises:
        ValueError: object_hu is not above background_hu, or shapes differ.
        InputError: As :func:`kcalc.calcium_score`.

    Example:
        >>> scan = np.array([[[400, 300], [200, 100], [0, 0]]], np.int16)
        >>> round(calcium_volume_fraction_mm3(
        ...     scan, scan > -1, (1, 1, 1), background_hu=100, object_hu=400), 6)
        1.333333

    References:
        Black D et al. 2023, doi 10.1101/2023.01.12.23284482.
    """
    values_hu = _region(array_hu, roi)
    spacing = checks.checked_spacing(spacing_mm)
    if not background_hu < object_hu < float("inf"):
        raise ValueError(
            "object_hu must be above background_hu. Received: "
            f"background_hu={background_hu}, object_hu={object_hu}"
        )
    shares = (values_hu - background_hu) / (object_hu - background_hu)
    return float(shares.sum()) * math.prod(spacing)


def integrated_mass_mg(
    array_hu: npt.ArrayLike,
    roi: npt.ArrayLike,
    spacing_mm: Sequence[float],
    *,
    background_hu: float,
    object_hu: float,
    object_density_mg_per_ml: float,
) -> float:
    """Return the calcium mass in mg by the integrated intensity of a region.

    m = (sum of HU - voxels x background) / (object - background) x voxel volume x
    density. With the same reference signals it is the volume by volume fractions times
    the density; the literature tells the two apart by where those signals are taken.

    Args:
        array_hu: The scan in HU, (z, y, x).
        roi: The region, bool or integer, (z, y, x).
        spacing_mm: Distance of voxels in mm, (z, y, x).
        background_hu: Mean HU of the tissue round the calcium.
        object_hu: HU of pure calcium of the density below.
        object_density_mg_per_ml: That density in mg/mL of hydroxyapatite.

    Raises:
        ValueError, InputError: As :func:`calcium_volume_fraction_mm3`.

    Example:
        >>> scan = np.full((1, 4, 4), 50, np.int16)
        >>> scan[0, 1, 1], scan[0, 1, 2] = 250, 150  # one voxel and a half of 200 mg/mL
        >>> integrated_mass_mg(scan, scan > 0, (1, 1, 1), background_hu=50,
        ...                    object_hu=250, object_density_mg_per_ml=200)
        0.3

    References:
        Black D et al., Med Phys 2023, doi 10.1002/mp.16326.
    """
    volume_mm3 = calcium_volume_fraction_mm3(
        array_hu, roi, spacing_mm, background_hu=background_hu, object_hu=object_hu
    )
    return volume_mm3 * object_density_mg_per_ml / MM3_PER_ML


def spatially_weighted_score(
    array_hu: npt.ArrayLike,
    roi: npt.ArrayLike,
    *,
    reference_mean_hu: float,
    reference_sd_hu: float,
) -> float:
    """Return the spatially weighted calcium score of a region, without a unit.

    Each voxel's weight is the share of a normal distribution, that of a calibration rod
    of 100 mg/mL, below its HU; the score sums over the region the mean of the weights
    of a voxel and its four neighbours in the slice, 0 outside the region. It counts
    voxels, so it depends on their size.

    Args:
        array_hu: The scan in HU, (z, y, x).
        roi: The region, bool or integer, (z, y, x).
        reference_mean_hu: Mean HU of 100 mg/mL of hydroxyapatite in this scan.
        reference_sd_hu: Standard deviation there in HU, > 0.

    Raises:
        ValueError: The deviation is not positive, or shapes differ.
        InputError: As :func:`kcalc.calcium_score`.

    Example:
        >>> scan = np.full((1, 3, 3), 130, np.int16)
        >>> round(spatially_weighted_score(scan, scan > 0, reference_mean_hu=130,
        ...                                reference_sd_hu=20), 6)  # half of 33 / 5
        3.3

    References:
        Liang CJ et al., BMC Med Imaging 2012, doi 10.1186/1471-2342-12-14; the sum of
        CalciumScoring.jl.
    """
    from scipy.special import ndtr

    if not 0 < reference_sd_hu < float("inf"):
        raise ValueError(
            "reference_sd_hu must be a positive deviation in HU. "
            f"Received: reference_sd_hu={reference_sd_hu}"
        )
    scan = checks.checked_scan(array_hu)
    region = checks.checked_labels(roi, "roi", scan.shape) != 0
    total = 0.0
    for plane_hu, inside in zip(scan, region, strict=True):
        if not inside.any():
            continue
        score = ndtr((plane_hu - reference_mean_hu) / reference_sd_hu)
        weights = np.pad(np.where(inside, score, 0.0), 1)
        mean = weights[1:-1, 1:-1] + weights[:-2, 1:-1] + weights[2:, 1:-1]
        mean = (mean + weights[1:-1, :-2] + weights[1:-1, 2:]) / 5
        total += float(mean[inside].sum())
    return total


def region_round(
    lesions: npt.NDArray[Any], spacing_mm: Sequence[float], margin_mm: float
) -> npt.NDArray[np.bool_]:
    """Return lesions with a rim: a margin in the slice, and the next slices.

    Args:
        lesions: Voxels of lesions, (z, y, x).
        spacing_mm: Distance of voxels in mm, (z, y, x).
        margin_mm: Width of the rim in mm, in the slice.

    Returns:
        bool (z, y, x).
    """
    from scipy.ndimage import binary_dilation

    _, row_mm, column_mm = checks.checked_spacing(spacing_mm)
    num_rows, num_columns = int(margin_mm / row_mm), int(margin_mm / column_mm)
    rows, columns = np.ogrid[-num_rows : num_rows + 1, -num_columns : num_columns + 1]
    disk = (rows * row_mm) ** 2 + (columns * column_mm) ** 2 <= margin_mm**2 + 1e-9
    region = np.asarray(lesions) != 0
    spread: npt.NDArray[np.bool_] = region.copy()
    spread[1:] |= region[:-1]
    spread[:-1] |= region[1:]
    for z in np.flatnonzero(spread.any(axis=(1, 2))):
        spread[z] = binary_dilation(spread[z], structure=disk)
    return spread


def _region(array_hu: npt.ArrayLike, roi: npt.ArrayLike) -> npt.NDArray[np.float64]:
    scan = checks.checked_scan(array_hu)
    inside = checks.checked_labels(roi, "roi", scan.shape) != 0
    return np.asarray(scan[inside], dtype=np.float64)
