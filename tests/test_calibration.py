"""Mass calibration and further indices: hand-worked numbers and refusals."""

from __future__ import annotations

import numpy as np
import pytest

import kcalc
from kcalc.errors import InputError, UnfitError
from kcalc.scoring import (
    calcium_volume_fraction_mm3,
    integrated_mass_mg,
    population_calibration,
    rod_calibration,
    spatially_weighted_score,
)
from kcalc.scoring.indices import region_round


def rods(rod_hu=(240, 260), water_hu=(-10, 10), background_hu=40):
    """A scan and its regions: 16 rod voxels of two values, 16 of water, 8 of tissue."""
    scan = np.full((2, 8, 16), 60, np.int16)
    rois = np.zeros(scan.shape, np.uint8)
    scan[0, :4, :2], scan[0, :4, 2:4] = rod_hu
    rois[0, :4, :4] = 1
    scan[1, :4, :2], scan[1, :4, 2:4] = water_hu
    rois[1, :4, :4] = 2
    scan[1, 6, :8], rois[1, 6, :8] = background_hu, 3
    return scan, rois


def test_a_rod_gives_its_density_over_its_contrast_to_water():
    calibration = rod_calibration(*rods(water_hu=(0, 20)))
    assert calibration.mg_per_ml_per_hu == pytest.approx(200 / (250 - 10))
    assert (calibration.rod_hu, calibration.water_hu) == (250.0, 10.0)
    assert calibration.background_hu == 40.0
    # eight values 10 above and eight 10 below the mean, of a sample of 16
    assert calibration.rod_sd_hu == pytest.approx((16 * 100 / 15) ** 0.5)
    assert (calibration.source, calibration.warning) == ("rod", "")


def test_without_a_water_rod_water_is_0_hu():
    scan, rois = rods()
    rois[rois > 1] = 0
    calibration = rod_calibration(scan, rois, rod_density_mg_per_ml=100)
    assert calibration.mg_per_ml_per_hu == pytest.approx(100 / 250)
    assert (calibration.water_hu, calibration.background_hu) == (0.0, None)


def test_a_calibrated_score_has_the_mass_that_the_rod_says():
    scan, rois = rods(water_hu=(0, 0))
    scan[0, 5:7, 8:12] = 500  # 8 voxels of 0.75 mm3
    mask = np.zeros(scan.shape, bool)
    mask[0, 5:7, 8:12] = True
    score = kcalc.calcium_score(
        scan,
        mask,
        (3.0, 0.5, 0.5),
        mass_calibration=rod_calibration(scan, rois).mg_per_ml_per_hu,
    )
    # 6 mm3 of 500 HU x 0.8 = 400 mg/mL
    assert score.mass_mg == pytest.approx(2.4)


def test_a_factor_far_from_that_of_any_scanner_is_warned_of():
    scan, rois = rods(rod_hu=(900, 900), water_hu=(0, 0))
    assert rod_calibration(scan, rois).warning.startswith("CALIBRATION: ")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda scan, rois: (scan, np.where(rois == 1, 0, rois)), "it marks 0"),
        (lambda scan, rois: (np.full_like(scan, 5), rois), "must read above water"),
    ],
)
def test_regions_without_a_usable_rod_are_refused(change, text):
    with pytest.raises(InputError, match=f"CALIBRATION_ROI: .*{text}"):
        rod_calibration(*change(*rods()))


@pytest.mark.parametrize("density", [0, -1, float("inf"), float("nan")])
def test_a_density_that_is_none_is_refused(density):
    with pytest.raises(ValueError, match="must be a positive density"):
        rod_calibration(*rods(), rod_density_mg_per_ml=density)


def test_the_population_holds_at_120_kvp_with_a_warning():
    calibration = population_calibration(120)
    assert calibration.mg_per_ml_per_hu == 0.77
    assert calibration.warning.startswith("MASS_POPULATION: ")


@pytest.mark.parametrize("kvp", [100, 119, 121, None])
def test_the_population_is_refused_at_any_other_voltage(kvp):
    with pytest.raises(UnfitError, match="CALIBRATION_KVP") as caught:
        population_calibration(kvp)
    assert caught.value.exit_code == 5


# --- further indices


def test_volume_fraction_of_calciumscoring_jl():
    # Its own test (MIT): 400 300 / 200 100 / 0 0 HU, calcium 400, tissue 100: 4/3.
    plane = [[400, 300], [200, 100], [0, 0]]
    scan = np.array([plane, plane], np.int16)
    volume = calcium_volume_fraction_mm3(
        scan, scan > -1, (1, 1, 1), background_hu=100, object_hu=400
    )
    assert volume == pytest.approx(8 / 3)


def test_volume_fraction_and_integrated_mass_undo_partial_volume():
    # 3 mm3 of 300 mg/mL (at 350 HU over 50) smeared over twice as many voxels.
    scan = np.full((2, 6, 6), 50, np.int16)
    scan[0, 2:4, 1:4] = 200  # six voxels of 1 mm3, half full
    roi = np.ones(scan.shape, bool)
    reference = {"background_hu": 50, "object_hu": 350}
    volume = calcium_volume_fraction_mm3(scan, roi, (1, 1, 1), **reference)
    mass = integrated_mass_mg(
        scan, roi, (1, 1, 1), **reference, object_density_mg_per_ml=300
    )
    assert volume == pytest.approx(3.0)
    assert mass == pytest.approx(0.9)


def test_integrated_mass_scales_with_the_voxel():
    scan = np.full((1, 4, 4), 50, np.int16)
    scan[0, 1, 1] = 250
    mass = integrated_mass_mg(
        scan,
        scan > 0,
        (3.0, 0.5, 0.5),
        background_hu=50,
        object_hu=250,
        object_density_mg_per_ml=200,
    )
    assert mass == pytest.approx(0.75 * 200 / 1000)


def test_a_reference_that_is_no_brighter_than_tissue_is_refused():
    scan = np.full((1, 4, 4), 50, np.int16)
    with pytest.raises(ValueError, match="object_hu must be above background_hu"):
        calcium_volume_fraction_mm3(
            scan, scan > 0, (1, 1, 1), background_hu=100, object_hu=100
        )


PLANE = [
    [10, 30, 135, 145, 5, 150, 100, 80, 9],
    [9, 40, 135, 130, 5, 150, 190, 80, 9],
    [10, 100, 100, 130, 5, 9, 0, 80, 18],
    [4, 40, 135, -10, 5, 150, 100, 0, 9],
    [10, 0, 189, 130, 5, 150, 40, 80, 22],
]
ROD = [
    [196.569, 207.709, 177.004, 207.147, 178.809],
    [207.359, 211.824, 0.0, 168.913, 202.965],
    [160.564, 0.0, 208.593, 214.862, 220.32],
    [158.685, 188.71, 226.872, 202.076, 226.995],
    [186.996, 212.137, 185.208, 228.175, 234.261],
]


def test_spatially_weighted_score_of_calciumscoring_jl():
    # The 2-D vector of its own tests (MIT), to all digits given there.
    scan = np.array([PLANE], np.int16)
    score = spatially_weighted_score(
        scan,
        np.ones(scan.shape, bool),
        reference_mean_hu=np.mean(ROD),
        reference_sd_hu=np.std(ROD, ddof=1),
    )
    assert score == pytest.approx(3.7176620417439796, rel=1e-12)


def test_spatially_weighted_score_worked_by_hand():
    # A 3 x 3 region at the rod's mean: every weight is 1/2. The centre has four
    # neighbours, an edge three, a corner two: (5 + 4 x 4 + 4 x 3) / 5 / 2.
    scan = np.full((1, 5, 5), 100, np.int16)
    roi = np.zeros(scan.shape, bool)
    roi[0, 1:4, 1:4] = True
    score = spatially_weighted_score(
        scan, roi, reference_mean_hu=100, reference_sd_hu=10
    )
    assert score == pytest.approx(3.3)


@pytest.mark.parametrize("deviation", [0, -1, float("nan")])
def test_a_deviation_that_is_none_is_refused(deviation):
    scan = np.full((1, 5, 5), 100, np.int16)
    with pytest.raises(ValueError, match="must be a positive deviation"):
        spatially_weighted_score(
            scan, scan > 0, reference_mean_hu=100, reference_sd_hu=deviation
        )


def test_a_region_reaches_a_margin_round_a_lesion_and_the_next_slices():
    lesions = np.zeros((5, 9, 9), bool)
    lesions[2, 4, 4] = True
    region = region_round(lesions, (3.0, 0.5, 0.5), 1.0)
    # 1 mm is two pixels: a disk of 13 pixels, in three slices.
    assert region.sum(axis=(1, 2)).tolist() == [0, 13, 13, 13, 0]
    assert region[1, 4].tolist() == [c in (2, 3, 4, 5, 6) for c in range(9)]


# --- the real scan of the QRM phantom


@pytest.mark.data
def test_rods_of_the_real_phantom_give_the_published_factor(test_data):
    # FQM printed 0.7220477 for this series, from disks of 14 pixels in the rod at the
    # middle of the insert and in the water rod 23 mm off, opposite the 200 mg inserts.
    scan = kcalc.read_volume(test_data / "qrm-phantom" / "dicom").array
    rows, columns = np.ogrid[:512, :512]
    rois = np.zeros(scan.shape, np.uint8)
    for label, row, column in ((1, 220, 257), (2, 181, 230.6)):
        disk = (rows - row) ** 2 + (columns - column) ** 2 <= 14**2
        rois[31:34, disk] = label
    calibration = rod_calibration(scan, rois)
    assert calibration.mg_per_ml_per_hu == pytest.approx(0.7220477, rel=0.01)
    assert calibration.warning == ""
