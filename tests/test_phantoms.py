"""Physics, shapes, deposits and the chest phantom against arithmetic."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kcalc.phantoms import chest
from kcalc.phantoms.deposits import Deposit, Part, render_deposit
from kcalc.phantoms.physics import (
    Scanner,
    hydroxyapatite_hu_per_mg_per_ml,
    noise_filter,
    slice_profile,
    transfer_function,
)
from kcalc.phantoms.render import Paint, Scene, render
from kcalc.phantoms.shapes import Tube, cylinder, ellipsoid

SMALL = Scanner(shape_zyx=(7, 96, 96), pixel_mm=0.5, noise_sd_hu=20.0)


def _scan(scene: Scene, scanner: Scanner = SMALL, seed: int = 5):
    return render(scene, scanner, name="test", seed=seed)


def _soft_block(hu: float = 40.0) -> list[Paint]:
    return [Paint(cylinder((0, 0, 0), 400, 400, 900), hu)]


def test_calcium_gains_contrast_at_lower_voltage():
    assert hydroxyapatite_hu_per_mg_per_ml(120) == pytest.approx(1.30)
    assert hydroxyapatite_hu_per_mg_per_ml(80) == pytest.approx(1.77)
    assert hydroxyapatite_hu_per_mg_per_ml(70) == pytest.approx(2.07)
    assert 1.45 < hydroxyapatite_hu_per_mg_per_ml(90) < 1.77


def test_a_voltage_outside_the_table_is_refused():
    with pytest.raises(ValueError, match=r"70 to 135 kV.*tube_voltage_kvp=60"):
        hydroxyapatite_hu_per_mg_per_ml(60)


def test_slice_profile_integrates_to_one_and_is_as_wide_as_the_slice():
    z = np.linspace(-8, 8, 3201)
    profile = slice_profile(z, SMALL)
    assert profile.sum() * (z[1] - z[0]) == pytest.approx(1.0, abs=1e-4)
    inside = z[profile > profile.max() / 2]
    assert inside[-1] - inside[0] == pytest.approx(3.0, abs=0.02)


def test_edge_enhancing_kernels_overshoot_and_soft_ones_do_not():
    soft = transfer_function(SMALL)
    sharp = transfer_function(dataclasses.replace(SMALL, overshoot=1.0))
    assert soft[0, 0] == sharp[0, 0] == 1.0
    assert soft.max() == 1.0
    assert sharp.max() > 1.1


def test_noise_has_the_stated_standard_deviation_and_no_mean():
    scan = _scan(Scene(_soft_block()))
    noise = scan.volume.array.astype(float) - scan.noise_free_hu
    assert noise.std() == pytest.approx(20.0, rel=0.05)
    assert abs(noise.mean()) < 1.0
    assert noise_filter(SMALL)[0, 0] == 0.0


def test_disc_area_is_exact_to_sub_pixel():
    _, y, x = SMALL.axes_mm()
    patch = ellipsoid((0.13, -0.2, 0), (9, 6, 5)).patch(0.0, y, x)
    assert patch is not None
    assert patch.occupancy.sum() * 0.25 == pytest.approx(np.pi * 54, rel=0.01)


def test_tube_has_the_length_times_the_width_of_a_ribbon():
    _, y, x = SMALL.axes_mm()
    tube = Tube(np.array([[-10.0, 0, 0], [10.0, 0, 0]]), 2.0)
    patch = tube.patch(0.0, y, x)
    assert patch is not None
    area = patch.occupancy.sum() * 0.25
    assert area == pytest.approx(20 * 4 + np.pi * 4, rel=0.02)
    assert tube.patch(2.5, y, x) is None


@pytest.mark.parametrize("diameter_mm", [1.0, 3.0, 5.0])
def test_rendered_calcium_holds_its_analytic_volume(diameter_mm: float):
    half = diameter_mm / 2
    part = Part((0.17, -0.11, 0.4), (half, half, half), kind="cylinder")
    rendered = render_deposit(Deposit((part,), 400, 9), SMALL)
    assert rendered is not None
    voxel_mm3 = 0.5 * 0.5 * 3.0
    expected = np.pi / 4 * diameter_mm**3
    assert rendered.volume_mm3 == pytest.approx(expected)
    assert rendered.occupancy.sum() * voxel_mm3 == pytest.approx(expected, rel=2e-3)


def test_mass_survives_blur_and_partial_volume():
    part = Part((0, 0, 0.7), (2.5, 2.5, 2.5), kind="cylinder")
    scan = _scan(Scene(_soft_block(), [Deposit((part,), 800, 9)]))
    excess = (scan.noise_free_hu.astype(float) - 40).sum() * 0.75
    mass_mg = excess / 1.30 / 1000
    assert mass_mg == pytest.approx(np.pi / 4 * 125 * 0.8, rel=0.01)
    assert scan.true_mass_mg == pytest.approx(np.pi / 4 * 125 * 0.8)


def test_reader_label_is_calcium_over_threshold_and_nothing_else():
    target = Part((-10, 0, 0), (2, 2, 3))
    other = Part((10, 0, 0), (2, 2, 3))
    deposits = [Deposit((target,), 600, 2), Deposit((other,), 600, 0)]
    scan = _scan(Scene(_soft_block(), deposits))
    labelled = np.argwhere(scan.label == 2)
    assert set(np.unique(scan.label)) == {0, 2}
    assert (scan.volume.array[scan.label > 0] >= 130).all()
    centre_x = (labelled[:, 2] - 47.5) * 0.5
    assert np.abs(centre_x + 10).max() < 5


def test_motion_doubles_edges_within_the_moving_shape_only():
    deposits = [Deposit((Part((x, 0, 0), (1.5, 1.5, 3)),), 800, 1) for x in (0, 20)]
    still = _scan(Scene(_soft_block(), deposits)).noise_free_hu
    moving = ellipsoid((0, 0, 0), (9, 9, 30))
    moved = _scan(Scene(_soft_block(), deposits, moving, (6.0, 0.0))).noise_free_hu
    assert moved[3, 47, 47] < still[3, 47, 47] - 200
    assert moved[3, 47, 53] > 200
    assert moved[3, 47, 87] == still[3, 47, 87]


def test_same_seed_gives_the_same_bytes_and_another_seed_another_scan():
    size = {"shape_zyx": (3, 128, 128), "pixel_mm": 2.5}
    first, again = chest("wide", 7, **size), chest("wide", 7, **size)
    assert first.volume.array.tobytes() == again.volume.array.tobytes()
    assert first.label.tobytes() == again.label.tobytes()
    assert first.parameters == again.parameters
    other = chest("wide", 8, **size)
    assert first.volume.array.tobytes() != other.volume.array.tobytes()


def test_chest_holds_air_fat_soft_tissue_and_bone():
    scan = chest("wide", 3, shape_zyx=(4, 256, 256), pixel_mm=1.6)
    image = scan.noise_free_hu
    for low, high in ((-1024, -700), (-130, -60), (20, 90), (300, 1500)):
        share = ((image >= low) & (image <= high)).mean()
        assert share > 0.005, (low, high)


def test_every_lesion_lies_on_a_coronary_of_its_label():
    scan = chest(
        "cardiac",
        11,
        num_lesions=8,
        shape_zyx=(60, 160, 160),
        pixel_mm=1.2,
        slice_spacing_mm=3.0,
    )
    assert {lesion.vessel_label for lesion in scan.lesions} <= {1, 2, 3, 4}
    assert len(scan.lesions) == 8
    for lesion in scan.lesions:
        assert lesion.mass_mg == pytest.approx(
            lesion.volume_mm3 * lesion.density_mg_per_ml / 1000
        )


def test_at_least_two_fifths_of_cases_have_no_target():
    size = {"shape_zyx": (1, 16, 16), "pixel_mm": 20.0, "slice_spacing_mm": 3.0}
    drawn = [chest("wide", seed, **size).parameters for seed in range(100)]
    assert np.mean([values["num_lesions"] == 0 for values in drawn]) >= 0.4


def test_unknown_presets_and_fields_are_refused_by_name():
    with pytest.raises(ValueError, match="preset must be 'wide' or 'cardiac'"):
        chest("knee")
    with pytest.raises(ValueError, match=r"unknown fields of Scanner: \['pixels'\]"):
        chest("wide", 0, pixels=3)


def test_wide_scans_show_the_heart_unless_any_height_is_asked_for():
    def middles_mm(**options: bool) -> np.ndarray:
        scans = [
            chest("wide", seed, shape_zyx=(1, 8, 8), pixel_mm=40.0, **options)
            for seed in range(30)
        ]
        return np.array([scan.volume.geometry.affine_lps[2, 3] for scan in scans])

    at_heart, anywhere = middles_mm(), middles_mm(any_height=True)
    assert (at_heart >= 0).all() and (at_heart <= 40).all()
    assert anywhere.min() < -100
    assert anywhere.max() > 100


@pytest.mark.parametrize(("preset", "gated"), [("wide", False), ("cardiac", True)])
def test_a_chest_scan_says_whether_it_was_gated(preset: str, gated: bool):
    scan = chest(preset, 0, shape_zyx=(1, 8, 8), pixel_mm=40.0)
    assert scan.volume.acquisition.ecg_gated is gated
