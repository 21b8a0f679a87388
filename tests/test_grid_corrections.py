"""Gaps, tilt and uneven spacing: refused unless asked for, and masks go back."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import body_hu, write_series
from hypothesis import given, settings
from hypothesis import strategies as st

import kcalc
from kcalc.cli import main
from kcalc.errors import GeometryError, InputError
from kcalc.geometry import Geometry
from kcalc.io import grid_corrections
from kcalc.io.nifti import read_mask, write_nifti
from kcalc.regrid import mask_on_slices, onto_grid, upright_grid
from kcalc.slices import SliceStack
from kcalc.volume import SourceSlices
from kcalc.workflow import scan
from kcalc.workflow.masks import FoundMask


def refusal(path: Path, **arguments: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        kcalc.read_volume(path, **arguments)
    return caught.value


def finding(volume: kcalc.Volume, code: str) -> Any:
    (found,) = [f for f in volume.findings if f.code == code]
    return found


def tilted(angle_deg: float):
    """Tilt the gantry about x: normals turn, the table still runs along z."""
    angle = math.radians(angle_deg)

    def edit(ds, index: int) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, 0, math.cos(angle), math.sin(angle)]

    return edit


def at_positions(positions_mm: list[float]):
    def edit(ds, index: int) -> None:
        ds.ImagePositionPatient = [-10, -20, positions_mm[index]]

    return edit


# --- gaps ---------------------------------------------------------------------


def test_a01_a_gap_is_interpolated_where_it_is_allowed(tmp_path: Path) -> None:
    array = body_hu(8)
    paths = write_series(tmp_path, array)
    paths[3].unlink()
    assert "--allow-gap 1" in refusal(tmp_path).hint
    volume = kcalc.read_volume(tmp_path, allow_gap=1)
    assert volume.shape == array.shape
    assert volume.spacing_mm == pytest.approx((3.0, 0.5, 0.5))
    # The bright voxel is 300 + slice index, so its mean of neighbours is exact.
    np.testing.assert_array_equal(volume.array, array)
    assert finding(volume, "GEOM_GAP").kind == "warning"
    assert "1 missing of 8" in finding(volume, "GEOM_GAP").message
    assert volume.source is not None
    np.testing.assert_array_equal(volume.source.array, np.delete(array, 3, 0))


def test_a01_no_more_slices_are_filled_than_allowed(tmp_path: Path) -> None:
    paths = write_series(tmp_path, body_hu(12))
    for index in (3, 4, 8):
        paths[index].unlink()
    for allowed in (0, 1, 2):
        assert refusal(tmp_path, allow_gap=allowed).code == "GEOM_GAP"
    volume = kcalc.read_volume(tmp_path, allow_gap=3)
    np.testing.assert_array_equal(volume.array[:, 8, 8], 300 + np.arange(12))


def test_a01_a_wide_gap_is_filled_linearly(tmp_path: Path) -> None:
    array = body_hu(9)
    array[4, 6, 6], array[7, 6, 6] = 100, 190
    paths = write_series(tmp_path, array)
    paths[5].unlink()
    paths[6].unlink()
    volume = kcalc.read_volume(tmp_path, allow_gap=2)
    assert volume.array[4:8, 6, 6].tolist() == [100, 130, 160, 190]


@pytest.mark.parametrize("value", [-1, True, 1.0, "2"])
def test_allow_gap_is_a_count(tmp_path: Path, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="allow_gap"):
        kcalc.read_volume(tmp_path, allow_gap=value)


def test_a_mask_on_a_filled_grid_returns_to_the_slices_that_exist() -> None:
    positions = np.array([[0, 0, z] for z in (0.0, 3.0, 9.0, 12.0)])
    stack = SliceStack(positions, np.array([0, 1.0, 0]), np.array([1.0, 0, 0]), (2, 2))
    grid = Geometry.axial((5, 2, 2), (3.0, 1.0, 1.0))
    mask = np.zeros((5, 2, 2), bool)
    mask[2:4, 0, 1] = True
    back = mask_on_slices(mask, grid, stack)
    assert back[:, 0, 1].tolist() == [False, False, True, False]


# --- tilt ---------------------------------------------------------------------


@pytest.mark.parametrize("angle_deg", [18.5, -12.0])
def test_a07_a_tilt_is_sheared_away_where_it_is_asked(
    tmp_path: Path, angle_deg: float
) -> None:
    write_series(tmp_path, body_hu(6, 32), edit=tilted(angle_deg))
    error = refusal(tmp_path)
    assert (error.code, "--untilt" in error.hint) == ("GEOM_TILT", True)
    volume = kcalc.read_volume(tmp_path, untilt=True)
    message = finding(volume, "GEOM_TILT").message
    assert f"{abs(angle_deg):.1f} degrees" in message
    assert volume.geometry.tilt_deg < 0.01
    spacing = 3 * math.cos(math.radians(angle_deg))
    assert volume.spacing_mm == pytest.approx((spacing, 0.5, 0.5), rel=1e-6)
    assert volume.source is not None
    stored = volume.source.stack.geometry()
    assert stored is not None
    assert stored.tilt_deg == pytest.approx(abs(angle_deg), abs=0.01)
    assert stored.spacing_mm == pytest.approx((spacing, 0.5, 0.5), rel=1e-6)
    np.testing.assert_array_equal(volume.source.array, body_hu(6, 32))
    as_stored = volume.as_stored()
    assert as_stored is not None
    assert (len(volume.frames), len(as_stored.frames)) == (0, 6)
    assert as_stored.spacing_mm == stored.spacing_mm


def test_a07_shearing_keeps_every_point_where_it_is(tmp_path: Path) -> None:
    array = body_hu(6, 32)
    array[:, 8, 8] = 40
    array[4, 20:24, 11:15] = 900
    write_series(tmp_path, array, edit=tilted(15.0))
    volume = kcalc.read_volume(tmp_path, untilt=True)
    source = volume.source
    assert source is not None
    stored = source.stack.geometry()
    assert stored is not None

    def centre(values, geometry):
        bright = np.argwhere(values > 400)
        weights = values[tuple(bright.T)].astype(float) - 40
        return geometry.index_to_mm((bright * weights[:, None]).sum(0) / weights.sum())

    np.testing.assert_allclose(
        centre(volume.array, volume.geometry), centre(source.array, stored), atol=0.2
    )


def test_a07_a_tilt_of_forty_degrees_is_no_tilt(tmp_path: Path) -> None:
    write_series(tmp_path, edit=tilted(40.0))
    error = refusal(tmp_path, untilt=True)
    assert error.code == "GEOM_TILT"
    assert "--untilt" not in error.hint


def test_a07_a_scan_without_tilt_is_the_same_with_untilt(tmp_path: Path) -> None:
    write_series(tmp_path)
    plain = kcalc.read_volume(tmp_path)
    asked = kcalc.read_volume(tmp_path, untilt=True, resample=True, allow_gap=9)
    assert asked.source is None
    assert asked.findings == plain.findings
    np.testing.assert_array_equal(asked.array, plain.array)
    np.testing.assert_array_equal(asked.geometry.affine_lps, plain.geometry.affine_lps)


@settings(max_examples=40, deadline=None)
@given(
    angle_deg=st.floats(-30, 30),
    num_slices=st.integers(2, 6),
    lines=st.tuples(st.integers(2, 12), st.integers(2, 12)),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_mask_of_all_stored_voxels_survives_the_way_there_and_back(
    angle_deg, num_slices, lines, seed
) -> None:
    angle = math.radians(angle_deg)
    corners = np.array([[1.0, 2.0, 3.0 * k] for k in range(num_slices)])
    row = 0.5 * np.array([0, math.cos(angle), math.sin(angle)])
    stack = SliceStack(corners, row, np.array([0.7, 0, 0]), lines)
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 100, (num_slices, *lines)).astype(np.int16)
    spacing = 3.0 * math.cos(angle)
    grid = upright_grid(stack, float(stack.along_mm[0]), spacing, num_slices)
    upright = onto_grid(SourceSlices(array, stack), grid, outside=-1.0)
    back = mask_on_slices(upright >= 0, grid, stack)
    # Nearest voxels at the border may be mixed with the outside.
    assert back[:, 1:-1].all()


# --- uneven spacing -----------------------------------------------------------


def test_a06_uneven_spacing_is_resampled_where_it_is_asked(tmp_path: Path) -> None:
    positions = [0.0, 3.0, 6.0, 9.0, 12.0, 14.0, 16.0, 18.0]
    array = body_hu(8)
    for index, position in enumerate(positions):
        array[index, 5, 5] = 10 * position
    write_series(tmp_path, array, edit=at_positions(positions))
    error = refusal(tmp_path)
    assert (error.code, "--resample" in error.hint) == ("GEOM_UNEVEN", True)
    volume = kcalc.read_volume(tmp_path, resample=True)
    assert finding(volume, "GEOM_RESAMPLED").kind == "warning"
    step = volume.spacing_mm[0]
    assert volume.geometry.index_to_mm((volume.shape[0] - 1, 0, 0))[2] == (
        pytest.approx(18.0)
    )
    heights = step * np.arange(volume.shape[0])
    np.testing.assert_allclose(volume.array[:, 5, 5], 10 * heights, atol=1.0)
    assert volume.source is not None
    assert volume.as_stored() is None


def test_a06_a_hole_is_not_resampled_over(tmp_path: Path) -> None:
    positions = [0.0, 3.0, 6.0, 9.0, 12.0, 14.0, 40.0, 43.0]
    write_series(tmp_path, body_hu(8), edit=at_positions(positions))
    error = refusal(tmp_path, resample=True)
    assert error.code == "GEOM_UNEVEN"
    assert "No gap above 3 x the median" in str(error)


def test_a10_a_coronal_scan_is_turned_by_whole_axes(tmp_path: Path) -> None:
    array = body_hu(6)

    def coronal(ds, index: int) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        ds.ImagePositionPatient = [-10, 3 * index, 100]

    write_series(tmp_path, array, edit=coronal)
    error = refusal(tmp_path)
    assert (error.code, "--resample" in error.hint) == ("GEOM_ORIENT", True)
    volume = kcalc.read_volume(tmp_path, resample=True)
    assert volume.spacing_mm == pytest.approx((0.5, 3.0, 0.5))
    np.testing.assert_array_equal(volume.array, array[:, ::-1].transpose(1, 0, 2))
    assert finding(volume, "GEOM_RESAMPLED").kind == "warning"
    source = volume.source
    assert source is not None
    back = mask_on_slices(volume.array >= 130, volume.geometry, source.stack)
    np.testing.assert_array_equal(back, array >= 130)


def test_a10_an_oblique_scan_is_resampled_onto_an_axial_grid(tmp_path: Path) -> None:
    angle = math.radians(20)
    array = np.full((12, 24, 24), -1000, np.int16)
    array[3:9, 6:18, 6:18] = 40
    array[5:7, 10:14, 10:14] = 800

    def oblique(ds, index: int) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, 0, math.cos(angle), math.sin(angle)]
        ds.ImagePositionPatient = [
            0,
            -math.sin(angle) * 2 * index,
            math.cos(angle) * 2 * index,
        ]

    write_series(tmp_path, array, (2.0, 0.5, 0.5), edit=oblique)
    assert refusal(tmp_path).code == "GEOM_ORIENT"
    volume = kcalc.read_volume(tmp_path, resample=True)
    affine = volume.geometry.affine_lps
    assert affine[2, 0] == pytest.approx(2.0)
    assert np.count_nonzero(np.round(affine[:3, :3], 6)) == 3
    source = volume.source
    assert source is not None
    mask = mask_on_slices(volume.array >= 300, volume.geometry, source.stack)
    assert (mask & (array >= 300)).sum() >= 0.5 * (array >= 300).sum()
    np.testing.assert_array_equal(volume.array.min(), -1024)


def test_a_corrected_grid_beyond_the_budget_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions = [0.0, 3.0, 6.0, 9.0, 12.0, 14.0, 16.0, 18.0]
    write_series(tmp_path, body_hu(8), edit=at_positions(positions))
    monkeypatch.setattr(grid_corrections, "MAX_VOXELS", 100)
    monkeypatch.setattr(
        grid_corrections, "onto_grid", lambda *a, **k: pytest.fail("it was made")
    )
    assert refusal(tmp_path, resample=True).code == "BUDGET"


# --- NIfTI --------------------------------------------------------------------


def test_a_tilted_nifti_is_sheared_upright_and_its_mask_goes_back(
    tmp_path: Path,
) -> None:
    write_series(tmp_path / "dicom", body_hu(6, 32), edit=tilted(18.5))
    from_dicom = kcalc.read_volume(tmp_path / "dicom", untilt=True)
    assert from_dicom.source is not None
    stored = from_dicom.source.stack.geometry()
    assert stored is not None
    path = write_nifti(tmp_path / "scan.nii", from_dicom.source.array, stored)
    error = refusal(path)
    assert (error.code, "--untilt" in error.hint) == ("NIFTI_AFFINE", True)
    volume = kcalc.read_volume(path, untilt=True)
    np.testing.assert_allclose(
        volume.geometry.affine_lps, from_dicom.geometry.affine_lps, atol=1e-3
    )
    # NIfTI keeps the affine in float32, so parts of a pixel differ a little.
    np.testing.assert_allclose(volume.array, from_dicom.array, atol=3)
    labels = (from_dicom.source.array > 130).astype(np.uint8)
    mask_path = write_nifti(tmp_path / "mask.nii.gz", labels, stored)
    np.testing.assert_array_equal(read_mask(mask_path, stored), labels)
    with pytest.raises(InputError, match="MASK_GRID"):
        read_mask(mask_path, from_dicom.geometry)


# --- real ---------------------------------------------------------------------


@pytest.mark.data
def test_the_real_tilted_head_is_read_with_both_corrections(test_data: Path) -> None:
    folder = test_data / "head-ct-tilted"
    with pytest.raises(GeometryError, match="GEOM_UNEVEN"):
        kcalc.read_volume(folder, untilt=True)
    volume = kcalc.read_volume(folder, untilt=True, resample=True)
    assert "18.5 degrees" in finding(volume, "GEOM_TILT").message
    assert finding(volume, "GEOM_RESAMPLED").kind == "warning"
    assert volume.geometry.tilt_deg < 0.01
    assert volume.source is not None
    assert volume.source.array.shape == (28, 512, 512)
    bright = volume.array >= 130
    back = mask_on_slices(bright, volume.geometry, volume.source.stack)
    own = volume.source.array >= 130
    assert (back & own).sum() > 0.9 * own.sum()


# --- scores -------------------------------------------------------------------


def lesion_array() -> np.ndarray:
    """Tissue in air with one lesion of 5 x 4 voxels of 450 HU in two slices."""
    array = np.full((8, 40, 48), -1000, np.int16)
    array[:, 4:36, 4:44] = 40
    array[3:5, 18:23, 20:24] = 450
    return array


class FindsBrightVoxels:
    """Stands in for the network: marks what is above 200 HU, keeps what it saw."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[kcalc.Volume] = []
        monkeypatch.setattr(scan, "find_calcium", self)

    def __call__(
        self, model: Any, target: Any, volume: kcalc.Volume, report: Any
    ) -> Any:
        self.seen.append(volume)
        return FoundMask((volume.array > 200).astype(np.uint8), {"name": "stand-in"})


def test_a07_the_score_of_a_tilted_scan_is_taken_on_the_stored_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finds = FindsBrightVoxels(monkeypatch)
    monkeypatch.setattr(scan, "render_html", lambda *a, **k: "")
    array = lesion_array()
    write_series(tmp_path / "s", array, (3.0, 0.5, 0.5), edit=tilted(20.0))
    result = scan.score_scan(tmp_path / "s", tmp_path / "out", untilt=True)
    assert finds.seen[0].geometry.tilt_deg < 0.01
    np.testing.assert_array_equal(result.volume.array, array)
    # The network's mask, found on mixed values, is nearest and cut at 130 HU.
    found = result.mask.astype(bool)
    assert not found[array < 130].any()
    assert found.sum() >= 0.8 * (array >= 130).sum()
    spacing = 3.0 * math.cos(math.radians(20.0))
    expected = found.sum() * 0.25 * 4 * spacing / 3
    assert result.score.agatston == pytest.approx(expected, rel=1e-6)
    grid = json.loads((tmp_path / "out" / "score.json").read_text())["grid"]
    assert grid["taken_on"] == "stored slices"
    assert grid["corrections"] == ["untilted"]
    assert grid["tilt_deg"] == pytest.approx(20.0, abs=0.01)
    np.testing.assert_array_equal(result.mask_on_slices, result.mask)


def test_a07_the_mask_of_a_tilted_result_goes_back_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FindsBrightVoxels(monkeypatch)
    monkeypatch.setattr(scan, "render_html", lambda *a, **k: "")
    write_series(tmp_path / "s", lesion_array(), edit=tilted(20.0))
    first = scan.score_scan(tmp_path / "s", tmp_path / "one", untilt=True)
    mask = tmp_path / "one" / "mask.nii.gz"
    second = scan.score_scan(
        tmp_path / "s", tmp_path / "two", mask_path=mask, untilt=True
    )
    assert second.score == first.score


def write_uneven(folder: Path) -> None:
    positions = [0.0, 3.0, 6.0, 9.0, 12.0, 14.0, 16.0, 18.0]
    write_series(folder, lesion_array(), edit=at_positions(positions))


def test_a06_a_resampled_score_says_so_and_its_mask_returns_to_the_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FindsBrightVoxels(monkeypatch)
    monkeypatch.setattr(scan, "render_html", lambda *a, **k: "")
    write_uneven(tmp_path / "s")
    result = scan.score_scan(tmp_path / "s", tmp_path / "out", resample=True)
    record = json.loads((tmp_path / "out" / "score.json").read_text())
    assert record["grid"]["taken_on"] == "corrected grid"
    assert record["grid"]["corrections"] == ["resampled"]
    assert record["grid"]["stored_slices"] == 8
    (warning,) = [f for f in record["findings"] if f["code"] == "GEOM_RESAMPLED"]
    assert "not a standard one" in warning["message"]
    assert "resampled" in result.summary()
    assert result.mask.shape == result.volume.shape != (8, 40, 48)
    np.testing.assert_array_equal(
        result.mask_on_slices.astype(bool), lesion_array() >= 130
    )
    assert record["grid"]["calcium_voxels_on_stored_slices"] == 40
    assert result.volume.frames == ()
    assert not (tmp_path / "out" / "mask_stored.nii.gz").exists()


def test_a10_the_mask_of_a_coronal_scan_is_written_on_its_own_grid_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FindsBrightVoxels(monkeypatch)
    monkeypatch.setattr(scan, "render_html", lambda *a, **k: "")

    def coronal(ds, index: int) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        ds.ImagePositionPatient = [-10, 3 * index, 100]

    write_series(tmp_path / "s", lesion_array(), edit=coronal)
    scan.score_scan(tmp_path / "s", tmp_path / "out", resample=True)
    stored = kcalc.read_volume(tmp_path / "s", resample=True).as_stored()
    assert stored is not None
    mask = read_mask(tmp_path / "out" / "mask_stored.nii.gz", stored.geometry)
    np.testing.assert_array_equal(mask.astype(bool), lesion_array() >= 130)


def test_a01_a_score_over_a_filled_gap_says_so_in_every_output(tmp_path: Path) -> None:
    array = lesion_array()
    paths = write_series(tmp_path / "s", array)
    paths[6].unlink()
    labels = (array > 200).astype(np.uint8)
    geometry = Geometry.axial((8, 40, 48), (3.0, 0.5, 0.5), (-10, -20, 100))
    mask = write_nifti(tmp_path / "mask.nii", labels, geometry)
    out = tmp_path / "out"
    arguments = ["score", "-i", str(tmp_path / "s"), "--mask", str(mask)]
    assert main([*arguments, "-o", str(out)]) == 3
    assert main([*arguments, "-o", str(out), "--allow-gap", "1"]) == 0
    record = json.loads((out / "score.json").read_text())
    assert record["agatston"] == pytest.approx(40 * 0.25 * 4)
    assert record["grid"]["corrections"] == ["gap filled"]
    report = (out / "report.html").read_text()
    assert "missing slices were interpolated" in report
    assert "calcium there is a guess" in report


def test_an_ordinary_score_is_taken_on_the_stored_slices(tmp_path: Path) -> None:
    write_series(tmp_path / "s", lesion_array())
    geometry = Geometry.axial((8, 40, 48), (3.0, 0.5, 0.5), (-10, -20, 100))
    labels = (lesion_array() > 200).astype(np.uint8)
    mask = write_nifti(tmp_path / "mask.nii", labels, geometry)
    result = scan.score_scan(tmp_path / "s", tmp_path / "out", mask_path=mask)
    assert result.record["grid"] == {
        "taken_on": "stored slices",
        "corrections": [],
        "description": "the stored slices",
        "tilt_deg": 0.0,
        "stored_slices": 8,
        "calcium_voxels_on_stored_slices": 40,
    }
    assert "the stored slices" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("value", ["-1", "1.5", "x"])
def test_allow_gap_on_the_command_line_is_a_count(tmp_path: Path, value: str) -> None:
    arguments = ["score", "-i", str(tmp_path), "-o", str(tmp_path / "o")]
    assert main([*arguments, "--allow-gap", value]) == 2
