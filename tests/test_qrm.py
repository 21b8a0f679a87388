"""The QRM phantom has the truths it claims, and scores as published simulations do."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest

from kcalc.anatomy import INSERT_LABEL
from kcalc.phantoms.case import Phantom
from kcalc.phantoms.dicom_writer import write_dicom_series
from kcalc.phantoms.prisms import Convex, Prism
from kcalc.phantoms.qrm import qrm
from kcalc.phantoms.qrm_layout import (
    Rod,
    product_layout,
    product_matches,
    product_positions_mm,
    random_layout,
)
from kcalc.phantoms.qrm_scene import Thorax, thorax_paints
from kcalc.phantoms.shapes import cylinder
from kcalc.scoring import calcium_score

SMALL: dict[str, Any] = {"num_slices": 12, "rows": 96, "columns": 96}
# The check of digest F.4: 0.5 mm pixels, noise SD 20 HU, noise of the kernel's width.
BAND_SCAN: dict[str, Any] = {
    "rows": 256,
    "columns": 256,
    "field_of_view_mm": 128.0,
    "noise_sd_hu": 20.0,
    "noise_sigma_mm": 0.52,
    "streak_sd_hu": 0.0,
    "padding_hu": None,
}
SEEDS = range(8)
HA_5_800, HA_3_800, HA_1_800 = 0, 1, 2
HA_5_400, HA_3_400, HA_1_400 = 3, 4, 5
HA_5_200, HA_3_200, HA_1_200 = 6, 7, 8


def score_cylinders(phantom: Phantom) -> npt.NDArray[np.float64]:
    """Agatston, volume in mm3 and mass in mg of each cylinder's labelled voxels."""
    volume = phantom.volume
    scores = []
    for x, y in product_positions_mm().tolist():
        corners = [[x - 6, y - 6, -12.0], [x + 6, y + 6, 12.0]]
        low, high = volume.geometry.mm_to_index(corners)
        box = tuple(
            slice(max(int(start), 0), int(stop) + 1)
            for start, stop in zip(low, high, strict=True)
        )
        mask = np.zeros(volume.shape, bool)
        mask[box] = phantom.label[box] == INSERT_LABEL
        score = calcium_score(
            volume.array,
            mask,
            volume.spacing_mm,
            tube_voltage_kvp=120,
            slice_thickness_mm=3.0,
            mass_calibration=1 / 1.30,
        )
        scores.append((score.agatston, score.volume_mm3, score.mass_mg))
    return np.array(scores, float)


def scan_for_bands(seed: int, **changes: Any) -> Phantom:
    offset = float(np.random.default_rng(seed).uniform(-1.5, 1.5))
    return qrm(
        seed=seed, z_offset_mm=offset, **{"num_slices": 10, **BAND_SCAN, **changes}
    )


@pytest.fixture(scope="module")
def contiguous() -> npt.NDArray[np.float64]:
    return np.array([score_cylinders(scan_for_bands(seed)) for seed in SEEDS])


@pytest.fixture(scope="module")
def product() -> Phantom:
    return qrm(seed=3, rows=256, columns=256)


@pytest.mark.parametrize(
    ("cylinder_index", "agatston", "volume_mm3", "mass_mg"),
    [
        (HA_5_800, (262, 22), (207, 27), (81.2, 1.1)),
        (HA_5_400, (198, 15), (164, 14), (40.3, 1.1)),
        (HA_5_200, (91, 12), (112, 12), (18.4, 1.9)),
        (HA_3_800, (69, 13), (58, 9), (16.8, 0.7)),
        (HA_3_400, (43, 4), (41, 6), (7.8, 0.4)),
        (HA_3_200, (14, 4), (22, 2), (3.0, 0.4)),
    ],
)
def test_mean_scores_lie_in_the_bands_of_the_published_simulation(
    contiguous: npt.NDArray[np.float64],
    cylinder_index: int,
    agatston: tuple[float, float],
    volume_mm3: tuple[float, float],
    mass_mg: tuple[float, float],
) -> None:
    mean = contiguous.mean(axis=0)[cylinder_index]
    for value, (centre, band) in zip(
        mean, (agatston, volume_mm3, mass_mg), strict=True
    ):
        assert value == pytest.approx(centre, abs=band)


def test_one_millimetre_cylinders_are_essentially_missed(
    contiguous: npt.NDArray[np.float64],
) -> None:
    mean_agatston = contiguous.mean(axis=0)[[HA_1_800, HA_1_400, HA_1_200], 0]
    assert mean_agatston.max() < 2.0


def test_mass_is_within_ten_percent_for_large_and_dense_cylinders(
    contiguous: npt.NDArray[np.float64],
) -> None:
    mean_mass = contiguous.mean(axis=0)[[HA_5_800, HA_5_400, HA_3_800, HA_3_400], 2]
    np.testing.assert_allclose(mean_mass, [78.54, 39.27, 16.96, 8.48], rtol=0.10)


def test_agatston_hardly_changes_when_slices_overlap_by_half(
    contiguous: npt.NDArray[np.float64],
) -> None:
    overlapping = [
        score_cylinders(scan_for_bands(seed, num_slices=20, slice_spacing_mm=1.5))
        for seed in SEEDS
    ]
    totals = np.array(overlapping)[:, :, 0].sum(axis=1)
    assert totals.mean() == pytest.approx(
        contiguous[:, :, 0].sum(axis=1).mean(), rel=0.10
    )


def test_true_volume_and_mass_are_those_of_the_product(product: Phantom) -> None:
    assert len(product.lesions) == 9
    assert product.true_volume_mm3 == pytest.approx(
        3 * (98.175 + 21.206 + 0.7854), 1e-4
    )
    assert product.true_mass_mg == pytest.approx(168.23, abs=0.01)
    masses = [lesion.mass_mg for lesion in product.lesions]
    expected = [78.54, 16.965, 0.6283, 39.27, 8.482, 0.3142, 19.635, 4.241, 0.1571]
    np.testing.assert_allclose(masses, expected, rtol=1e-3)
    assert {lesion.vessel_label for lesion in product.lesions} == {INSERT_LABEL}


def test_labels_lie_on_the_cylinders_and_on_calcium_only(product: Phantom) -> None:
    labelled = np.argwhere(product.label > 0)
    assert (product.volume.array[product.label > 0] >= 130).all()
    assert set(np.unique(product.label)) == {0, INSERT_LABEL}
    points = product.volume.geometry.index_to_mm(labelled)
    gaps = np.linalg.norm(
        points[:, None, :2] - product_positions_mm()[None, :, :], axis=2
    )
    assert gaps.min(axis=1).max() < 5.0
    assert np.abs(points[:, 2]).max() < 6.0


def test_rods_are_bright_and_dark_and_no_lesions(product: Phantom) -> None:
    geometry = product.volume.geometry
    for x, y, expected_hu in ((0.0, 0.0, 300.0), (-12.0, -17.0, 0.0)):
        index = np.rint(geometry.mm_to_index([x, y, 31.0])).astype(int)
        around = tuple(slice(i - 4, i + 5) for i in index[1:])
        values = product.noise_free_hu[(index[0], *around)]
        assert values.mean() == pytest.approx(expected_hu, abs=8.0)
    calcium_slices = np.flatnonzero(product.label.any(axis=(1, 2)))
    rod_start = float(geometry.mm_to_index([0.0, 0.0, 26.0])[0])
    assert calcium_slices.max() < rod_start


def test_traps_of_the_real_scan_are_there(product: Phantom) -> None:
    image = product.noise_free_hu
    geometry = product.volume.geometry
    middle = geometry.shape_zyx[0] // 2
    y_mm, x_mm = np.meshgrid(
        geometry.index_to_mm([[0, i, 0] for i in range(256)])[:, 1],
        geometry.index_to_mm([[0, 0, i] for i in range(256)])[:, 0],
        indexing="ij",
    )
    bright = image[middle] >= 130
    spine = (np.abs(x_mm) < 40) & (y_mm > 50)
    assert 300 < image[middle][bright & spine].max() < 520
    from_centre = np.hypot(x_mm, y_mm - 20.0)
    truncated_edge = bright & ~spine & (from_centre > 118)
    assert truncated_edge.sum() > 50
    assert image[middle][truncated_edge].max() < 200
    insert = np.hypot(x_mm, y_mm) < 8
    by_slice = image[:, insert].mean(axis=1)
    assert 30 < by_slice[middle] < 90
    assert -950 < by_slice[8] < by_slice[10] < by_slice[12] < by_slice[middle]
    assert (image[middle][from_centre > 126] == -2048).all()


def test_insert_noise_has_the_standard_deviation_asked_for() -> None:
    scan = qrm(seed=5, num_slices=6, noise_sd_hu=24.0, streak_sd_hu=0.0)
    noise = (scan.volume.array.astype(float) - scan.noise_free_hu)[:, 190:240, 230:290]
    assert noise.std() == pytest.approx(24.0, rel=0.05)


def test_calcium_brightens_at_lower_tube_voltage() -> None:
    at_120, at_100 = (
        qrm(seed=1, **{**BAND_SCAN, "num_slices": 3}, tube_voltage_kvp=kvp)
        for kvp in (120.0, 100.0)
    )
    rise_hu = [int(p.noise_free_hu.max()) - 40 for p in (at_120, at_100)]
    assert rise_hu[1] / rise_hu[0] == pytest.approx(145 / 130, rel=0.01)
    assert at_100.volume.acquisition.tube_voltage_kvp == 100.0


@pytest.mark.parametrize("layout", ["product", "random"])
def test_same_seed_gives_the_same_bytes_and_another_does_not(layout: Any) -> None:
    first, again, other = (qrm(layout, seed, **SMALL) for seed in (7, 7, 8))
    assert first.volume.array.tobytes() == again.volume.array.tobytes()
    assert first.label.tobytes() == again.label.tobytes()
    assert first.lesions == again.lesions
    assert first.parameters == again.parameters
    assert first.volume.array.tobytes() != other.volume.array.tobytes()


def test_seed_of_the_product_changes_the_noise_alone() -> None:
    first, other = qrm(seed=1, **SMALL), qrm(seed=2, **SMALL)
    assert first.lesions == other.lesions
    difference = first.noise_free_hu.astype(int) - other.noise_free_hu
    assert np.abs(difference).max() < 60  # the materials' own grain
    assert first.parameters == other.parameters


def test_no_drawn_layout_resembles_the_product() -> None:
    assert product_matches(product_positions_mm()) == 9
    turned = product_positions_mm() @ np.array([[0.0, 1.0], [1.0, 0.0]])
    assert product_matches(turned) == 9
    for seed in range(150):
        layout = random_layout(np.random.default_rng(seed), 50.0, 30.0)
        centres = np.array([d.centre_xyz_mm for d in layout.lesions]).reshape(-1, 3)
        assert product_matches(centres[:, :2]) <= 4


def test_drawn_layouts_vary_and_leave_out_calcium_in_two_fifths() -> None:
    layouts = [
        random_layout(np.random.default_rng(seed), 50.0, 30.0) for seed in range(400)
    ]
    counts = np.array([len(layout.lesions) for layout in layouts])
    assert (counts == 0).mean() >= 0.40
    assert set(counts) >= set(range(13))
    assert {len(layout.rods) for layout in layouts} == {0, 1, 2, 3}
    parts = [d.parts[0] for layout in layouts for d in layout.lesions]
    densities = [d.density_mg_per_ml for layout in layouts for d in layout.lesions]
    assert {part.kind for part in parts} == {"cylinder", "ellipsoid"}
    assert any(p.kind == "cylinder" and p.rotation is not None for p in parts)
    diameters = np.array([2 * part.half_mm[0] for part in parts])
    assert diameters.min() < 0.9 and 5.5 < diameters.max() <= 6.0
    assert 150 <= min(densities) < 160 and 950 < max(densities) <= 1000
    assert len({round(d, 6) for d in densities}) == len(densities)


def test_drawn_calcium_stays_in_the_insert_and_clear_of_rods_and_neighbours() -> None:
    for seed in range(60):
        layout = random_layout(np.random.default_rng(seed), 45.0, 25.0)
        for i, lesion in enumerate(layout.lesions):
            part = lesion.parts[0]
            x, y, z = part.centre_xyz_mm
            assert np.hypot(x, y) + max(part.half_mm[:2]) < 45.0
            assert abs(z) + part.reach_mm[2] <= 25.0
            for rod in layout.rods:
                assert is_outside(part.centre_xyz_mm, rod)
            for other in layout.lesions[:i]:
                gap = np.subtract(part.centre_xyz_mm, other.centre_xyz_mm)
                reach = max(part.half_mm) + max(other.parts[0].half_mm)
                assert np.linalg.norm(gap) > reach


def is_outside(point_xyz_mm: tuple[float, float, float], rod: Rod) -> bool:
    offset = np.abs(np.subtract(point_xyz_mm, rod.centre_xyz_mm))
    beyond = offset[2] > rod.length_mm / 2
    return bool(beyond or np.hypot(offset[0], offset[1]) > rod.radius_mm)


def test_drawn_scans_without_calcium_have_no_label_whatever_their_rods() -> None:
    scans = [qrm("random", seed, **SMALL) for seed in range(24)]
    empty = [scan for scan in scans if not scan.lesions]
    assert any(scan.parameters["rods"] for scan in empty)
    assert all(not scan.label.any() for scan in empty)
    assert any(scan.label.any() for scan in scans if scan.lesions)
    assert len({scan.parameters["thorax"]["insert_radius_mm"] for scan in scans}) == 24
    assert {scan.parameters["thorax"]["large"] for scan in scans} == {True, False}
    assert len({scan.parameters["scanner"]["padding_hu"] for scan in scans}) == 4


def test_parameters_can_be_written_as_json() -> None:
    scan = qrm("random", 1, **SMALL)
    text = json.dumps(scan.physical_truth())
    assert json.loads(text)["parameters"]["num_lesions"] == len(scan.lesions)


def test_scan_becomes_a_dicom_series_with_declared_padding(tmp_path: Path) -> None:
    scan = qrm(seed=3, **{**SMALL, "num_slices": 2})
    paths = write_dicom_series(scan, tmp_path)
    first = pydicom.dcmread(paths[0])
    assert first.PatientID == "PHANTOM-qrm-product-3"
    assert first.PixelPaddingValue == -1024
    stored = first.pixel_array.astype(int) - 1024
    np.testing.assert_array_equal(stored, scan.volume.array[0])


def test_small_phantom_has_air_where_the_large_one_has_its_ring() -> None:
    wide = {**SMALL, "field_of_view_mm": 450.0, "padding_hu": None}
    large, small = (qrm(large=size, **wide) for size in (True, False))
    for phantom, expected_hu in ((large, -80.0), (small, -1000.0)):
        index = phantom.volume.geometry.mm_to_index([175.0, 20.0, 0.0])
        z, y, x = np.rint(index).astype(int)
        values = phantom.noise_free_hu[z, y - 3 : y + 4, x - 2 : x + 3]
        assert values.mean() == pytest.approx(expected_hu, abs=15.0)


def test_convex_outline_has_the_area_of_its_polygon_in_either_sense() -> None:
    axis = np.arange(-20, 20, 0.25, dtype=np.float32)
    corners = ((-8.0, -3.0), (9.0, -2.0), (5.0, 7.0))
    for outline in (Convex(corners), Convex(corners[::-1])):
        patch = outline.patch(0.0, axis, axis)
        assert patch is not None
        area = float(patch.occupancy.sum()) * 0.25**2
        assert area == pytest.approx(78.5, rel=0.01)


def test_prism_ends_at_its_ends_and_follows_a_change_of_grid() -> None:
    prism = Prism(cylinder((0.0, 0.0, 0.0), 5.0, 5.0, 1.0), -2.0, 3.0)
    fine = np.arange(-10, 10, 0.25, dtype=np.float32)
    coarse = np.arange(-10, 10, 0.5, dtype=np.float32)
    for axis, step in ((fine, 0.25), (coarse, 0.5), (fine, 0.25)):
        patch = prism.patch(2.9, axis, axis)
        assert patch is not None
        area = float(patch.occupancy.sum()) * step**2
        assert area == pytest.approx(np.pi * 25, rel=0.02)
    assert prism.patch(3.1, fine, fine) is None
    assert prism.patch(-2.1, fine, fine) is None


def test_thorax_without_spine_or_gap_has_fewer_paints() -> None:
    whole = thorax_paints(Thorax(large=True), product_layout(), 1.3)
    bare = Thorax(large=False, spine_radius_mm=0.0, gap_mm=0.0, rim_gain=0.0)
    assert len(thorax_paints(bare, product_layout(), 1.3)) == len(whole) - 9


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"layout": "other"}, "layout must be 'product' or 'random'"),
        ({"field_of_view_mm": 0.0}, "field_of_view_mm must be above 0 mm"),
        ({"slice_spacing_mm": -1.0}, "slice_spacing_mm must be above 0 mm"),
        ({"num_slices": 0}, "num_slices at least 1"),
        ({"rows": 4}, "rows and columns must be at least 16"),
    ],
)
def test_arguments_out_of_range_are_refused(
    arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        qrm(**arguments)


def test_unknown_keywords_are_refused() -> None:
    with pytest.raises(TypeError, match="noise_hu"):
        qrm(noise_hu=20.0)


def test_a_full_scan_renders_within_twenty_seconds_of_cpu() -> None:
    start = time.process_time()
    scan = qrm(seed=1)
    assert time.process_time() - start < 20.0
    assert scan.volume.shape == (48, 512, 512)
