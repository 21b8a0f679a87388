"""Registration of head CT: known poses, refusals, the network's grid and back."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import kcalc
from kcalc.cli import main
from kcalc.data import CaseStore, prepare_store
from kcalc.errors import InputError, IntensityError, UnfitError, UsageError
from kcalc.geometry import Geometry
from kcalc.io.nifti import write_nifti
from kcalc.phantoms import head
from kcalc.registration import (
    NETWORK_GRID,
    NetworkScan,
    Pose,
    given_reference,
    network_grid,
    phantom_reference,
    register_head,
    to_network_grid,
)
from kcalc.registration.accuracy import siphon_error
from kcalc.registration.even_grid import EvenGrid
from kcalc.regrid import onto_axial
from kcalc.report import registration_pictures
from kcalc.volume import Volume

COARSE = {
    "shape_zyx": (90, 128, 128),
    "pixel_mm": 1.9,
    "slice_spacing_mm": 2.0,
    "slice_thickness_mm": 2.0,
}
"""A whole head in a few seconds; registration looks at 2 mm anyway."""


@pytest.fixture(scope="module")
def phantom():
    return head("full", 1, num_lesions=4, **COARSE)


def _turned(volume: Volume, angles_deg: tuple[float, ...], shift_mm: tuple[float, ...]):
    """Move patient and grid as one body; nothing is resampled."""
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    motion[:3, 3] = shift_mm
    affine = motion @ volume.geometry.affine_lps
    return motion, replace(volume, geometry=Geometry(volume.shape, affine))


def _part(volume: Volume, *parts: slice) -> Volume:
    array = np.ascontiguousarray(volume.array[parts])
    affine = np.array(volume.geometry.affine_lps)
    starts = [part.indices(n)[0] for part, n in zip(parts, volume.shape, strict=False)]
    affine[:3, 3] += affine[:3, : len(starts)] @ starts
    return replace(volume, array=array, geometry=Geometry(array.shape, affine))


# --- poses ------------------------------------------------------------------------


@pytest.mark.slow
def test_the_reference_lies_in_the_standard_pose():
    fit = register_head(_volume_of(phantom_reference().grid))
    assert fit.pose.angle_deg < 0.2
    np.testing.assert_allclose(fit.pose.middle_xyz_mm, (0, 7, -11), atol=0.2)
    assert fit.correlation > 0.99


def _volume_of(grid: EvenGrid) -> Volume:
    return Volume(np.rint(grid.array_hu).astype(np.int16), grid.geometry)


@pytest.mark.parametrize(
    ("angles_deg", "shift_mm"),
    [
        ((25, -12, 30), (40, -70, 300)),
        pytest.param((-30, 12, -25), (0, 0, -900), marks=pytest.mark.slow),
    ],
)
def test_siphons_are_found_wherever_the_head_lies(phantom, angles_deg, shift_mm):
    motion, moved = _turned(phantom.volume, angles_deg, shift_mm)
    fit = register_head(moved)
    error = siphon_error(phantom, fit.pose, motion)
    assert error.mean_mm < error.least_mm + 0.6
    assert fit.correlation > 0.7
    assert fit.carotid_share == 1.0


@pytest.mark.slow
def test_a_turned_head_in_axial_slices_is_found(phantom):
    _, moved = _turned(phantom.volume, (0, 0, 0), (0, 0, 0))
    motion, turned = _turned(phantom.volume, (-12, 8, 15), (5, 0, 0))
    grid = Geometry.axial((45, 140, 140), (4.0, 1.9, 1.9), (-133, -130, -80))
    array = onto_axial(turned.array, turned.geometry, grid, outside=-1000)
    fit = register_head(replace(moved, array=array, geometry=grid))
    error = siphon_error(phantom, fit.pose, motion)
    assert error.mean_mm < error.least_mm + 1.0


def test_a_field_of_120_mm_round_the_siphons_is_enough(phantom):
    part = _part(phantom.volume, slice(5, 65), slice(30, 93), slice(33, 96))
    fit = register_head(part)
    error = siphon_error(phantom, fit.pose, np.eye(4))
    assert error.mean_mm < error.least_mm + 0.6


def test_thick_slices_stored_head_first_are_found(phantom):
    volume = phantom.volume
    array = np.rint(volume.array.reshape(18, 5, 128, 128).mean(axis=1))
    affine = np.array(volume.geometry.affine_lps)
    affine[:3, 3] += affine[:3, 0] * (2 + 17 * 5) + affine[:3, 2] * 127
    affine[:3, 0] *= -5
    affine[:3, 2] *= -1
    stored = np.ascontiguousarray(array[::-1, :, ::-1], np.int16)
    geometry = Geometry((18, 128, 128), affine)
    fit = register_head(replace(volume, array=stored, geometry=geometry))
    error = siphon_error(phantom, fit.pose, np.eye(4))
    assert error.mean_mm < error.least_mm + 1.0


@pytest.mark.slow
def test_the_same_scan_gives_the_same_pose(phantom):
    assert register_head(phantom.volume) == register_head(phantom.volume)


@pytest.mark.slow
def test_a_reference_of_the_users_is_brought_into_the_standard_pose(phantom):
    _, moved = _turned(phantom.volume, (10, 0, -14), (0, 20, 0))
    own = given_reference(moved)
    fit = register_head(phantom.volume, own)
    assert fit.reference == "given reference scan"
    assert fit.correlation > 0.97
    direct = register_head(phantom.volume)
    assert fit.correlation > direct.correlation
    gap = np.subtract(fit.pose.middle_xyz_mm, direct.pose.middle_xyz_mm)
    assert np.linalg.norm(gap) < 1.0


# --- refusals ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "what", ["upside down", pytest.param("noise", marks=pytest.mark.slow)]
)
def test_what_is_no_head_in_a_pose_of_a_head_is_refused(phantom, what: str):
    array = np.ascontiguousarray(phantom.volume.array[::-1])
    if what == "noise":
        random = np.random.default_rng(0)
        array = random.normal(100, 300, (60, 60, 60)).astype(np.int16)
    grid = Geometry.axial(array.shape, (2.0, 1.9, 1.9))
    with pytest.raises(UnfitError, match="must fit the reference") as caught:
        register_head(replace(phantom.volume, array=array, geometry=grid))
    assert caught.value.code == "REGISTER_FIT"
    assert "--reference" in caught.value.hint


def test_a_head_turned_too_far_is_refused(phantom, placed, monkeypatch):
    _, moved = _turned(phantom.volume, (0, 0, 60), (0, 0, 0))
    turn = Rotation.from_euler("xyz", (0, 0, 60), degrees=True).as_matrix()
    middle = turn @ placed.fit.pose.middle_xyz_mm
    pose = Pose.of(turn @ placed.fit.pose.rotation, middle)
    monkeypatch.setattr("kcalc.registration.register.best_pose", lambda *_: pose)
    with pytest.raises(UnfitError, match=r"Received: a turn by \d\d degrees"):
        register_head(moved)


def test_a_scan_of_the_vertex_does_not_show_the_carotids(phantom):
    with pytest.raises(UnfitError, match="must show the carotids") as caught:
        register_head(_part(phantom.volume, slice(48, 90)))
    assert caught.value.code == "REGISTER_ROI"


def test_a_scan_smaller_than_the_siphons_is_refused_before_any_search(phantom):
    with pytest.raises(UnfitError, match=r"Received: 12 x 244 x 244 mm") as caught:
        register_head(_part(phantom.volume, slice(6)))
    assert caught.value.code == "REGISTER_ROI"


def test_a_constant_scan_is_refused():
    volume = Volume(
        np.full((60, 60, 60), 40, np.int16),
        Geometry.axial((60, 60, 60), (2.0, 2.0, 2.0)),
    )
    with pytest.raises(UnfitError, match="REGISTER_FIT"):
        register_head(volume)


def test_a_scan_that_is_not_in_hu_is_refused(phantom):
    with pytest.raises(IntensityError, match="HU_UNKNOWN"):
        register_head(replace(phantom.volume, unit="arbitrary"))


def test_without_simpleitk_the_way_out_is_told(phantom, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(
        UsageError, match=r"pip install \"kcalc\[register\]\""
    ) as caught:
        register_head(phantom.volume)
    assert caught.value.code == "PACKAGE"


# --- the network's grid -----------------------------------------------------------


@pytest.fixture(scope="module")
def placed(phantom) -> NetworkScan:
    return to_network_grid(phantom.volume, phantom.label)


def test_the_grid_is_the_papers(placed):
    assert NETWORK_GRID.shape_zyx == (100, 240, 240)
    assert placed.volume.shape == (100, 240, 240)
    assert placed.volume.spacing_mm == pytest.approx((1.0, 0.49, 0.49))
    assert placed.volume.array.dtype == np.int16


def test_a_coarser_network_sees_the_same_field(phantom, placed):
    grid = network_grid((1.0, 0.98, 0.98))
    assert grid.shape_zyx == (100, 120, 120)
    middles = [
        one.index_to_mm((np.array(one.shape_zyx) - 1) / 2)
        for one in (grid, NETWORK_GRID)
    ]
    np.testing.assert_allclose(*middles, atol=1e-9)
    coarse = to_network_grid(phantom.volume, grid=grid)
    assert coarse.volume.spacing_mm == pytest.approx((1.0, 0.98, 0.98))
    fine = placed.volume.array.astype(np.float64)
    mean = fine.reshape(100, 120, 2, 120, 2).mean((2, 4))
    inner = np.s_[5:-5, 5:-5, 5:-5]
    apart = np.abs(mean - coarse.volume.array)[inner]
    assert np.median(apart) < 15
    pictures = registration_pictures(
        coarse, np.zeros(coarse.volume.shape, np.uint8), phantom_reference()
    )
    assert len(pictures) == 4


def test_the_study_preset_of_the_phantom_has_the_same_grid_but_for_the_patient():
    study = head("study", 3, shape_zyx=(4, 512, 512), padding_hu=None)
    grid = study.volume.geometry
    offset = grid.index_to_mm((1.5, 119.5, 119.5)) - (0, 7, -11)
    assert np.abs(offset).max() < 12


def test_label_and_image_go_to_the_same_place(phantom, placed):
    assert placed.label is not None
    assert set(np.unique(placed.label)) <= {0, 10, 11}
    back = placed.mask_back(placed.label, phantom.volume.geometry)
    own = phantom.label > 0
    assert own.sum() > 5
    # there and back by the nearest voxel, from coarse voxels to fine ones
    assert (back > 0)[own].mean() > 0.95
    assert own[back > 0].mean() > 0.95
    inside = placed.volume.array[placed.label > 0]
    assert np.median(inside) > 100


def test_the_siphons_of_an_upright_head_are_found(phantom, placed):
    error = siphon_error(phantom, placed.fit.pose, np.eye(4))
    assert error.mean_mm < error.least_mm + 0.6


def test_points_of_the_grid_know_where_they_are_in_the_scan(phantom, placed):
    index = np.array([50, 120, 120])
    there = placed.volume.geometry.index_to_mm(index)
    native = phantom.volume.geometry.mm_to_index(there)
    z, y, x = np.rint(native).astype(int)
    near = phantom.volume.array[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2]
    assert near.min() <= placed.volume.array[50, 120, 120] <= near.max()


def test_what_lies_outside_the_scan_is_air_and_is_told(phantom):
    part = _part(phantom.volume, slice(24, 90))
    placed = to_network_grid(part)
    assert placed.share_inside < 0.95
    codes = {f.code: f for f in placed.volume.findings}
    assert "lie outside the scan" in codes["REGISTER_CUT"].message
    assert codes["REGISTERED"].kind == "correction"
    assert placed.volume.array[0].max() == -1024


def test_a_label_of_another_grid_is_refused(phantom):
    with pytest.raises(InputError, match="MASK_GRID"):
        to_network_grid(phantom.volume, np.zeros((1, 2, 3), np.uint8))


def test_prepare_brings_heads_and_labels_onto_the_networks_grid(
    phantom, tmp_path, capsys
):
    small = _part(phantom.volume, slice(6))
    for name, volume, label in (
        ("one__1", phantom.volume, phantom.label),
        ("two__1", small, np.full(small.shape, 10, np.uint8)),
    ):
        (tmp_path / "data" / name).mkdir(parents=True)
        place = tmp_path / "data" / name
        write_nifti(place / "image.nii.gz", volume.array, volume.geometry)
        write_nifti(place / "label.nii.gz", label, volume.geometry)
    command = ["prepare", "-i", str(tmp_path / "data"), "-o", str(tmp_path / "s.h5")]
    assert main([*command, "--reference", "x"]) == 2
    assert main([*command, "--register", "--leave-out", "--fractions", "1,0,0"]) == 0
    assert "REGISTER_ROI" in capsys.readouterr().out
    store = CaseStore(tmp_path / "s.h5")
    (record,) = store.records
    assert record.spacing_mm == pytest.approx((1.0, 0.49, 0.49))
    image, label = store.image(record.name), store.label(record.name)
    assert image.shape == label.shape == (100, 240, 240)
    labelled = np.asarray(image)[np.asarray(label) > 0]
    assert labelled.size > 50
    assert labelled.min() >= 130
    prepare_store(
        tmp_path / "data",
        tmp_path / "coarse.h5",
        leave_out=True,
        fractions=(1, 0, 0),
        register=True,
        grid_spacing_mm=(1.0, 0.98, 0.98),
    )
    (record,) = CaseStore(tmp_path / "coarse.h5").records
    assert record.shape_zyx == (100, 120, 120)


# --- real -------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.slow
def test_the_real_tilted_head_is_registered_and_other_scans_are_not(test_data: Path):
    volume = kcalc.read_volume(test_data / "head-ct-tilted", untilt=True, resample=True)
    placed = to_network_grid(volume)
    assert placed.fit.correlation > 0.5
    assert placed.fit.carotid_share == 1.0
    pitch, roll, yaw = placed.fit.pose.rotation_deg
    assert (abs(pitch) < 5, abs(roll) < 5) == (True, True)
    assert yaw == pytest.approx(-9.3, abs=1.5)
    chest = kcalc.read_volume(test_data / "chest-ct" / "A0001_philips_5mm_kernelB")
    with pytest.raises(UnfitError, match="REGISTER_"):
        register_head(chest)
    with pytest.raises(UnfitError, match="REGISTER_FIT"):
        register_head(kcalc.read_volume(test_data / "qrm-phantom" / "dicom"))
