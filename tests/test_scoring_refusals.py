"""What calcium_score refuses: each refusal by its text, and what it must not refuse."""

from __future__ import annotations

import numpy as np
import pytest

import kcalc
from kcalc.errors import InputError

SPACING_MM = (3.0, 0.5, 0.5)
SCAN = np.full((5, 20, 20), 40, np.int16)
SCAN[2, 5:9, 5:9] = 250
MASK = SCAN > 100


def test_scan_of_two_axes_is_refused():
    with pytest.raises(ValueError, match=r"axes \(z, y, x\).*shape \(20, 20\)"):
        kcalc.calcium_score(SCAN[2], MASK[2], SPACING_MM)


def test_scan_without_voxels_is_refused():
    with pytest.raises(InputError, match="EMPTY"):
        kcalc.calcium_score(SCAN[:0], MASK[:0], SPACING_MM)


def test_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"mask must have the shape.*\(5, 20, 20\)"):
        kcalc.calcium_score(SCAN, MASK[:4], SPACING_MM)
    with pytest.raises(ValueError, match="vessels must have the shape"):
        kcalc.calcium_score(SCAN, MASK, SPACING_MM, vessels=np.zeros((5, 1, 1), int))


def test_mask_of_probabilities_is_refused():
    with pytest.raises(TypeError, match="mask must be bool or integer"):
        kcalc.calcium_score(SCAN, MASK.astype(np.float32), SPACING_MM)


@pytest.mark.parametrize("scan", [SCAN.astype(complex), SCAN.astype(str)])
def test_scan_that_is_not_real_numbers_is_refused(scan):
    with pytest.raises(TypeError, match="array_hu must hold real numbers"):
        kcalc.calcium_score(scan, MASK, SPACING_MM)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_with_their_count(value):
    scan = SCAN.astype(np.float32)
    scan[0, 0, :2] = value  # outside the mask too
    with pytest.raises(InputError, match="2 of its 2000 voxels are NaN") as caught:
        kcalc.calcium_score(scan, MASK, SPACING_MM)
    assert caught.value.code == "HU_NAN"


@pytest.mark.parametrize(
    "spacing",
    [
        (0, 0.5, 0.5),
        (3, -0.5, 0.5),
        (3, np.nan, 0.5),
        (3, 0.5, np.inf),
        (3, 0.5),
        (3, 0.5, 0.5, 1),
        None,
        0.5,
        ("a", 1, 1),
    ],
)
def test_spacing_that_is_no_spacing_is_refused(spacing):
    with pytest.raises(InputError, match="three finite distances above 0") as caught:
        kcalc.calcium_score(SCAN, MASK, spacing)
    assert caught.value.code == "GEOM_SPACING"


def normalised(scan):
    return np.clip((scan + 200.0) / 1000.0, 0, 1).astype(np.float32)


def windowed(_):
    return np.arange(2000).reshape(5, 20, 20) % 256


def unsigned_air(scan):
    return np.where(scan == 40, -1000, scan).astype(np.int16).astype(np.uint16)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda scan: scan.astype(np.uint8), "8 bits cannot hold"),
        (lambda scan: scan > 100, "8 bits cannot hold"),
        (lambda scan: (scan > 100).astype(np.int16), "a mask or a normalised image"),
        (normalised, "a mask or a normalised image"),
        (windowed, "windowed 8-bit picture"),
        (unsigned_air, "signed pixels read as unsigned"),
    ],
)
def test_values_that_cannot_be_hounsfield_units_are_refused(broken, reason):
    with pytest.raises(InputError, match=reason) as caught:
        kcalc.calcium_score(broken(SCAN), MASK, SPACING_MM)
    assert caught.value.code == "HU_RANGE"


@pytest.mark.parametrize("fill", [0, 1, -1000, 40, 255])
def test_toy_scans_of_one_value_are_accepted(fill):
    scan = np.full((2, 4, 4), fill, np.int16)
    assert kcalc.calcium_score(scan, scan > 300, SPACING_MM).agatston == 0.0


def test_a_few_metal_voxels_above_20000_are_accepted():
    scan = SCAN.astype(np.int32)
    scan[2, 5, 5] = 24_000
    assert kcalc.calcium_score(scan, MASK, SPACING_MM).lesions[0].weight == 4


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"rule": "agaston"}, "rule must be one of agatston_1990, ai_cac"),
        ({"tube_voltage_kvp": 0}, "tube_voltage_kvp must be within 40 to 200 kV"),
        ({"tube_voltage_kvp": float("nan")}, "tube_voltage_kvp must be within"),
        ({"tube_voltage_kvp": 120_000}, "tube_voltage_kvp must be within"),
        ({"slice_thickness_mm": 0.0}, "slice_thickness_mm must be a finite distance"),
        ({"mass_calibration": -0.7}, "mass_calibration must be a positive factor"),
        ({"mass_calibration": 0.00077}, "must be multiplied by 1000"),
        ({"mass_calibration": float("nan")}, "mass_calibration must be a positive"),
        ({"vessels": np.full(SCAN.shape, 99)}, r"vessels must hold 0 .* labels \[99\]"),
    ],
)
def test_arguments_outside_their_range_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        kcalc.calcium_score(SCAN, MASK, SPACING_MM, **arguments)


def test_rule_of_another_type_is_refused():
    with pytest.raises(TypeError, match="name of a preset or a ScoringRule"):
        kcalc.calcium_score(SCAN, MASK, SPACING_MM, rule=130)
