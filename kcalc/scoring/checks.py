"""Refusals before a score is computed: shapes, spacing, values that cannot be HU.

They are for arrays from anywhere, toy arrays included; what only a file can tell (a
missing rescale, a modality, a gap) is refused by the readers of ``kcalc.io``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.errors import GeometryError, InputError, IntensityError
from kcalc.scoring.mass import check_calibration

_UNSIGNED_AIR_HU = 20_000
_UNSIGNED_AIR_FRACTION = 1e-3
_EIGHT_BIT_MAX = 255
_EIGHT_BIT_DISTINCT = 64
_KVP_RANGE = (40.0, 200.0)


@dataclass(frozen=True)
class CheckedScan:
    """What :func:`kcalc.calcium_score` takes, checked once for any rules."""

    array_hu: npt.NDArray[Any]
    mask: npt.NDArray[Any]
    spacing_mm: tuple[float, float, float]
    tube_voltage_kvp: float | None
    slice_thickness_mm: float | None
    vessels: npt.NDArray[Any] | None
    mass_calibration: float | None


def check_scan(
    array_hu: npt.ArrayLike,
    mask: npt.ArrayLike,
    spacing_mm: Sequence[float],
    *,
    tube_voltage_kvp: float | None = None,
    slice_thickness_mm: float | None = None,
    vessels: npt.ArrayLike | None = None,
    mass_calibration: float | None = None,
) -> CheckedScan:
    """Check the arguments of :func:`kcalc.calcium_score` but the rule."""
    scan = checked_scan(array_hu)
    return CheckedScan(
        scan,
        checked_labels(mask, "mask", scan.shape),
        checked_spacing(spacing_mm),
        checked_tube_voltage(tube_voltage_kvp),
        checked_thickness(slice_thickness_mm),
        None if vessels is None else checked_labels(vessels, "vessels", scan.shape),
        check_calibration(mass_calibration),
    )


def checked_scan(array_hu: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return the scan as an array (z, y, x) whose values can be Hounsfield units.

    Refused on positive evidence only (faults.md, B6, B12, B15): 8-bit or boolean
    values, NaN or infinity, values all within [-1, 1] yet not constant (normalised, or
    a mask), more than 0.1 % above 20 000 (air read as unsigned), and 0 to 255 exactly
    with over 64 different values (a windowed picture).

    Raises:
        ValueError: Not three axes.
        TypeError: Not real numbers.
        InputError: ``EMPTY``, ``HU_NAN`` or ``HU_RANGE``.
    """
    array = np.asarray(array_hu)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"array_hu must hold real numbers in HU. Received: dtype={array.dtype}"
        )
    if array.ndim != 3:
        raise ValueError(
            "array_hu must have the axes (z, y, x); a single slice is "
            f"array[numpy.newaxis]. Received: shape {array.shape}"
        )
    if array.size == 0:
        raise InputError("EMPTY", f"array_hu has no voxel; its shape is {array.shape}.")
    if array.dtype.itemsize == 1:
        raise IntensityError(
            "HU_RANGE",
            f"array_hu has dtype {array.dtype}, and 8 bits cannot hold Hounsfield "
            "units.",
            hint="Pass the scan in HU (int16 or float32), not a mask or a picture.",
        )
    _check_range(array)
    return array


def _check_range(array: npt.NDArray[Any]) -> None:
    # Slice by slice, so that the second pass over a slice finds it in the cache.
    with np.errstate(invalid="ignore"):
        low = float(np.min([plane.min() for plane in array]))
        high = float(np.max([plane.max() for plane in array]))
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in array)
        raise IntensityError(
            "HU_NAN",
            f"array_hu must be finite; {bad} of its {array.size} voxels are NaN or "
            "infinite.",
            hint="Find out what they stand for; do not replace them blindly.",
        )
    reason = ""
    if -1 <= low < high <= 1:
        reason = "as a mask or a normalised image has"
    elif high > _UNSIGNED_AIR_HU:
        above = sum(int(np.count_nonzero(p > _UNSIGNED_AIR_HU)) for p in array)
        if above > _UNSIGNED_AIR_FRACTION * array.size:
            reason = f"with {above} voxels above {_UNSIGNED_AIR_HU}, as signed pixels "
            reason += "read as unsigned have"
    elif (low, high) == (0, _EIGHT_BIT_MAX):
        seen = np.zeros(_EIGHT_BIT_MAX + 1, dtype=np.bool_)
        for plane in array:
            seen[plane.astype(np.uint8)] = True
        if np.count_nonzero(seen) > _EIGHT_BIT_DISTINCT:
            reason = "as a windowed 8-bit picture has"
    if reason:
        raise IntensityError(
            "HU_RANGE",
            f"array_hu must hold Hounsfield units; its values lie in [{low:g}, "
            f"{high:g}], {reason}.",
            hint="Pass the scan after rescale, before any window or normalisation.",
        )


def checked_labels(
    labels: npt.ArrayLike, name: str, shape_zyx: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Return a mask or label map of the scan's shape, of bool or integers.

    Raises:
        TypeError: Values of another kind, such as probabilities.
        ValueError: Another shape than the scan's.
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "biu":
        raise TypeError(
            f"{name} must be bool or integer; probabilities must be thresholded "
            f"first. Received: dtype={array.dtype}"
        )
    if array.shape != shape_zyx:
        raise ValueError(
            f"{name} must have the shape of array_hu, {shape_zyx}. "
            f"Received: shape {array.shape}"
        )
    return array


def checked_spacing(spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    """Return the spacing (z, y, x) in mm as three floats.

    Raises:
        GeometryError: ``GEOM_SPACING``, not three finite distances above 0.
    """
    try:
        values = tuple(float(value) for value in spacing_mm)
    except (TypeError, ValueError):
        values = ()
    if len(values) != 3 or not all(math.isfinite(v) and v > 0 for v in values):
        raise GeometryError(
            "GEOM_SPACING",
            "spacing_mm must be three finite distances above 0 mm, (z, y, x). "
            f"Received: spacing_mm={spacing_mm}.",
            hint="The first is the distance of slice positions, not their thickness.",
        )
    return (values[0], values[1], values[2])


def checked_tube_voltage(tube_voltage_kvp: float | None) -> float | None:
    """Return the tube voltage in kV, or None where it is unknown.

    Raises:
        ValueError: Outside 40 to 200 kV.
    """
    if tube_voltage_kvp is None:
        return None
    value = float(tube_voltage_kvp)
    if not _KVP_RANGE[0] <= value <= _KVP_RANGE[1]:
        raise ValueError(
            "tube_voltage_kvp must be within 40 to 200 kV, or None where unknown. "
            f"Received: tube_voltage_kvp={tube_voltage_kvp}"
        )
    return value


def checked_thickness(slice_thickness_mm: float | None) -> float | None:
    """Return the nominal slice thickness in mm, or None where it is unknown.

    Raises:
        ValueError: Not a finite distance above 0.
    """
    if slice_thickness_mm is None:
        return None
    value = float(slice_thickness_mm)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(
            "slice_thickness_mm must be a finite distance above 0 mm, or None where "
            f"unknown. Received: slice_thickness_mm={slice_thickness_mm}"
        )
    return value
