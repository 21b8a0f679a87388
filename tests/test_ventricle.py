"""Tests of kcalc.phantoms.ventricle and its way into a store and a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kcalc
from kcalc.cli import main
from kcalc.data import CaseStore
from kcalc.data.case import Case
from kcalc.data.sources import PhantomOrder, render_case
from kcalc.errors import InputError
from kcalc.phantoms import VentriclePhantom, ventricle
from kcalc.phantoms.ventricle import CAVITY_LABEL, LABELS, MYOCARDIUM_LABEL


@pytest.fixture(scope="module")
def diastole() -> VentriclePhantom:
    return ventricle(3, phase="diastole")


def test_same_seed_gives_the_same_bytes(diastole: VentriclePhantom) -> None:
    again = ventricle(3, phase="diastole")
    assert again.volume.array.tobytes() == diastole.volume.array.tobytes()
    assert again.label.tobytes() == diastole.label.tobytes()
    assert again.parameters == diastole.parameters


def test_grid_is_that_of_short_axis_scans(diastole: VentriclePhantom) -> None:
    depth, rows, columns = diastole.volume.shape
    assert 10 <= depth <= 15 and 192 <= rows <= columns <= 256
    z_mm, y_mm, x_mm = diastole.volume.spacing_mm
    assert 6 <= z_mm <= 10 and y_mm == pytest.approx(x_mm)
    assert diastole.volume.unit == "arbitrary"
    assert diastole.volume.array.dtype == np.int16
    assert diastole.volume.acquisition.modality == "MR"


def test_label_has_the_true_volumes(diastole: VentriclePhantom) -> None:
    voxel_mm3 = np.prod(diastole.volume.spacing_mm)
    for name, true_mm3 in (
        ("cavity", diastole.cavity_mm3),
        ("myocardium", diastole.myocardium_mm3),
    ):
        counted = np.count_nonzero(diastole.label == LABELS[name]) * voxel_mm3
        assert counted == pytest.approx(true_mm3, rel=0.08)


def test_cavity_is_as_large_as_a_cup_of_its_radius_and_length() -> None:
    # Without deformation or breath-holds, slices without gaps: the volume of revolution
    # of half an ellipsoid, 2/3 pi r^2 0.7 L, and of the part that narrows by 15 %.
    phantom = ventricle(5, phase="diastole", slice_thickness_mm=6.0)
    heart = phantom.parameters["heart"]
    radius, length = heart["radius_mm"], heart["length_mm"]
    narrow = np.linspace(0, 1, 1001)
    above = float(np.mean((1 - 0.15 * narrow**2) ** 2)) * 0.3
    expected = np.pi * radius**2 * length * (2 / 3 * 0.7 + above)
    assert phantom.cavity_mm3 == pytest.approx(expected, rel=0.15)


def test_end_systole_ejects_about_sixty_percent() -> None:
    full, empty = (ventricle(3, phase=p) for p in ("diastole", "systole"))
    ejected = 1 - empty.cavity_mm3 / full.cavity_mm3
    assert 0.5 < ejected < 0.75
    assert empty.volume.geometry.spacing_mm == full.volume.geometry.spacing_mm


def test_blood_is_brighter_than_muscle_and_papillary_muscle_lies_in_the_cavity(
    diastole: VentriclePhantom,
) -> None:
    array, label = diastole.volume.array, diastole.label
    blood = np.median(array[label == CAVITY_LABEL])
    muscle = np.median(array[label == MYOCARDIUM_LABEL])
    assert blood > 1.8 * muscle
    dark = array[label == CAVITY_LABEL] < (blood + muscle) / 2
    assert 0.01 < dark.mean() < 0.3


def test_first_and_last_slice_lie_beyond_the_cavity() -> None:
    for seed in (0, 3):
        label = ventricle(seed, phase="diastole").label
        assert not (label[-1] > 0).any()
        assert not (label[0] == CAVITY_LABEL).any()


def test_noise_in_air_is_that_of_a_magnitude_image() -> None:
    # Rayleigh: mean over deviation is sqrt(pi / (4 - pi)) = 1.91.
    flat = {"bias": (0.0,) * 6, "signal_to_noise": 15.0, "units": 3000.0}
    air = ventricle(3, **flat).volume.array[:, :4, :4].astype(float)
    assert air.mean() / air.std() == pytest.approx(1.91, abs=0.25)


def test_the_coils_gain_brightens_one_side() -> None:
    flat = (0.0,) * 6
    gain = (0.5, 0.0, 0.0, 0.0, 0.0, 0.0)
    without, with_gain = (
        ventricle(3, phase="diastole", bias=b).volume.array.astype(float)
        for b in (flat, gain)
    )
    bright = without > 0.5 * without.max()
    third = without.shape[2] // 3
    left, right = (
        np.mean(with_gain[side][bright[side]] / without[side][bright[side]])
        for side in (np.s_[..., :third], np.s_[..., -third:])
    )
    assert right > 1.2 > 0.85 > left


def test_unknown_phase_and_fields_are_refused() -> None:
    wrong: Any = "rest"
    with pytest.raises(ValueError, match="Received: phase='rest'"):
        ventricle(0, phase=wrong)
    with pytest.raises(ValueError, match="Received: noise"):
        ventricle(0, noise=1)
    with pytest.raises(ValueError, match="must be above 0"):
        ventricle(0, units=0.0)


def test_store_keeps_the_unit_and_no_tables_of_hounsfield_units(
    tmp_path: Path,
) -> None:
    case = render_case(PhantomOrder("ventricle", 3, "train", {"phase": "systole"}))
    store = CaseStore.write(tmp_path / "store.h5", [case])
    (record,) = store.records
    assert record.unit == "arbitrary" and record.name == "ventricle-systole-0000003"
    assert record.tube_voltage_kvp is None
    np.testing.assert_array_equal(store.image(record.name), case.image)
    assert len(store.positive_zyx(record.name)) > 0
    assert len(store.hard_negative_zyx(record.name)) == 0
    assert len(store.imitator_zyx(record.name)) == 0


def test_a_case_of_another_unit_is_refused() -> None:
    image = np.zeros((2, 4, 4), np.int16)
    label = np.zeros((2, 4, 4), np.uint8)
    wrong: Any = "mV"
    with pytest.raises(InputError, match="unit must be 'HU' or 'arbitrary'"):
        Case("a", image, label, (1.0, 1.0, 1.0), "p", "train", unit=wrong)


def test_command_writes_a_scan_that_reads_back_as_mr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "heart"
    assert main(["phantom", "ventricle", "-o", str(folder), "--seed", "3"]) == 0
    assert "True cavity" in capsys.readouterr().out
    volume = kcalc.read_volume(folder / "scan.nii.gz", modality="MR")
    phantom = ventricle(3)
    assert volume.unit == "arbitrary"
    np.testing.assert_array_equal(volume.array, phantom.volume.array)
    np.testing.assert_allclose(volume.spacing_mm, phantom.volume.spacing_mm, rtol=1e-5)
    truth = json.loads((folder / "truth.json").read_text("utf-8"))
    assert truth["labels"] == {"cavity": 1, "myocardium": 2}
    assert truth["true_volume_mm3"]["cavity"] == pytest.approx(phantom.cavity_mm3)
