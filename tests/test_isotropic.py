"""The isotropic volume: worked by hand, and beside a slow loop."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kcalc.scoring import isotropic_volume_mm3, rule

SPACING_MM = (3.0, 0.5, 0.5)


def block(hu, shape=(5, 10, 10), background_hu=30):
    scan = np.full(shape, background_hu, np.int16)
    scan[2, 3:7, 3:7] = hu
    return scan


def test_a_lesion_of_one_slice_reaches_as_far_as_130_hu():
    # 430 HU over 30: 130 HU lies 2.25 mm off the slice. Samples every 0.5 mm at 0, 0.5,
    # 1.0, 1.5 and 2.0 mm on both sides: nine of 16 pixels of 0.5 mm.
    scan = block(430)
    volume = isotropic_volume_mm3(scan, scan > 100, SPACING_MM)
    assert volume == pytest.approx(9 * 16 * 0.125)


def test_a_dim_lesion_shrinks():
    # 150 HU over 30: 130 HU lies 0.5 mm off, so three samples (0 and 0.5 on each side).
    scan = block(150)
    volume = isotropic_volume_mm3(scan, scan > 100, SPACING_MM)
    assert volume == pytest.approx(3 * 16 * 0.125)


def test_slices_as_far_apart_as_pixels_are_wide_give_the_plain_volume():
    scan = block(300)
    volume = isotropic_volume_mm3(scan, scan > 100, (0.5, 0.5, 0.5))
    assert volume == pytest.approx(16 * 0.125)


def test_bone_above_a_lesion_takes_its_own_half():
    # The slice above is bone outside the mask: every sample between is above 130 HU,
    # the lesion gets those below the middle, 0, 0.5 and 1.0 mm off.
    scan = block(430)
    scan[3, 3:7, 3:7] = 800
    mask = np.zeros(scan.shape, bool)
    mask[2] = scan[2] > 100
    volume = isotropic_volume_mm3(scan, mask, SPACING_MM)
    assert volume == pytest.approx((4 + 1 + 2) * 16 * 0.125)


def test_specks_below_the_minimum_have_no_volume():
    scan = np.full((3, 8, 8), 30, np.int16)
    scan[1, 3, 3] = 500
    assert isotropic_volume_mm3(scan, scan > 100, SPACING_MM) == 0.0


def test_a_single_slice_counts_its_one_sample():
    scan = block(300)[2:3]
    assert isotropic_volume_mm3(scan, scan > 100, SPACING_MM) == pytest.approx(2.0)


def loop_volume(scan, lesion, spacing_mm, threshold_hu):
    """Straightforward: every sample of every pixel on its own."""
    width = math.sqrt(spacing_mm[1] * spacing_mm[2])
    count = 0
    for sample in range(int((len(scan) - 1) * spacing_mm[0] / width + 1e-9) + 1):
        position = sample * width / spacing_mm[0]
        low = min(int(position + 1e-9), len(scan) - 2)
        share = max(position - low, 0.0)
        for y in range(scan.shape[1]):
            for x in range(scan.shape[2]):
                a, b = float(scan[low, y, x]), float(scan[low + 1, y, x])
                mine, next_mine = lesion[low, y, x], lesion[low + 1, y, x]
                if (1 - share) * a + share * b < threshold_hu:
                    continue
                if share < 1e-9:
                    count += mine
                elif share > 1 - 1e-9:
                    count += next_mine
                elif mine and next_mine:
                    count += 1
                elif mine:
                    count += b < threshold_hu or share < 0.5
                elif next_mine:
                    count += a < threshold_hu or share >= 0.5
    return count * width**3


@pytest.mark.parametrize("spacing_mm", [(3.0, 0.5, 0.5), (2.5, 0.7, 0.6), (0.4, 1, 1)])
def test_the_fast_volume_equals_the_slow_loop(spacing_mm):
    rng = np.random.default_rng(3)
    scan = rng.integers(-100, 500, (6, 12, 11)).astype(np.int16)
    mask = rng.random(scan.shape) < 0.6
    every = replace(rule("agatston_1990"), minimum_area_mm2=0.0)
    fast = isotropic_volume_mm3(scan, mask, spacing_mm, rule=every)
    slow = loop_volume(scan, mask & (scan >= 130), spacing_mm, 130)
    assert fast == pytest.approx(slow, rel=1e-12)
    assert fast > 0


@settings(deadline=None, max_examples=50)
@given(
    scan=arrays(np.int16, (4, 6, 7), elements=st.integers(-50, 400)),
    spacing_z=st.floats(0.4, 5.0),
)
def test_turning_or_mirroring_a_scan_keeps_its_volume(scan, spacing_z):
    scan[0, 0, 0] = -1000  # some air, as no scan of HU is without
    whole = np.ones(scan.shape, bool)
    volume = isotropic_volume_mm3(scan, whole, (spacing_z, 0.7, 0.7))
    for moved in (scan[:, ::-1], scan[:, :, ::-1], scan.transpose(0, 2, 1)):
        mask = np.ones(moved.shape, bool)
        same = isotropic_volume_mm3(moved, mask, (spacing_z, 0.7, 0.7))
        assert same == volume
    assert 0 <= volume <= scan.size * (spacing_z + 0.7) * 0.49


def test_it_comes_near_the_true_volume_of_a_ball():
    # Radius 6 mm of 260 HU over 0, so that the threshold is the edge; slices of 3 mm:
    # linear interpolation keeps within 15 % of 905 mm3.
    z, y, x = np.ogrid[-10:10:200j, -10:10:200j, -10:10:200j]
    fine = ((z**2 + y**2 + x**2) <= 36) * 260.0
    scan = fine[:180].reshape(6, 30, 40, 5, 40, 5).mean(axis=(1, 3, 5))
    volume = isotropic_volume_mm3(scan, scan > 50, (3.0, 0.5, 0.5))
    assert volume == pytest.approx(4 / 3 * math.pi * 216, rel=0.15)
