"""The head phantom: siphons, bone beside them, outlines, and its place in the tools."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import kcalc
from kcalc.anatomy import INTRACRANIAL_CAROTIDS, LABEL_NAMES
from kcalc.geometry import Geometry
from kcalc.io.label_names import part_number, vessel_number
from kcalc.io.labels import read_labels
from kcalc.phantoms import head, write_dicom_series, write_outlines
from kcalc.phantoms.deposits import Deposit, Part
from kcalc.phantoms.head import _drawn_number
from kcalc.phantoms.head_build import HeadBuild
from kcalc.phantoms.physics import Scanner, resampler
from kcalc.phantoms.relief import Layer, Relief
from kcalc.phantoms.render import Paint, Scene, render
from kcalc.phantoms.roi import cut_at_threshold, draw_outlines
from kcalc.phantoms.shapes import Column, cylinder
from kcalc.phantoms.siphon import carotid_lesions, carotids

RIGHT, LEFT = (vessel.label for vessel in INTRACRANIAL_CAROTIDS)
FEW = {"shape_zyx": (22, 512, 512), "slice_spacing_mm": 2.0, "slice_thickness_mm": 2.0}
TINY = {"shape_zyx": (2, 32, 32), "pixel_mm": 3.6, "resampled_pixel_mm": None}


def _build(seed: int = 1) -> HeadBuild:
    rng = np.random.default_rng(seed)
    return HeadBuild((1.0, 1.0, 1.0), 45.0, 50.0, -100.0, 1.0, 6.0, rng)


@pytest.fixture(scope="module")
def study():
    return head("study", 5, num_lesions=12, padding_hu=None, **FEW)


def test_the_study_grid_is_the_papers(study):
    assert study.volume.shape == (22, 240, 240)
    assert study.volume.spacing_mm == pytest.approx((2.0, 0.49, 0.49))
    assert study.volume.acquisition.body_part == "HEAD"
    assert head("study", 1, **{**FEW, "shape_zyx": (1, 512, 512)}).volume.shape[1:] == (
        240,
        240,
    )


def test_study_is_native_resampled_linearly_after_blur_and_noise():
    few = {**FEW, "shape_zyx": (3, 512, 512), "slice_spacing_mm": 8.0}
    native = head("native", 2, num_lesions=3, padding_hu=None, **few)
    study = head("study", 2, num_lesions=3, padding_hu=None, **few)
    assert native.volume.spacing_mm == pytest.approx((8.0, 0.23, 0.23))
    x = (np.arange(240) - 119.5) * 0.49
    position = x / 0.23 + 255.5
    low = np.floor(position).astype(int)
    share = position - low
    fine = native.volume.array.astype(float)
    rows = fine[:, low] * (1 - share[:, None]) + fine[:, low + 1] * share[:, None]
    both = rows[..., low] * (1 - share) + rows[..., low + 1] * share
    assert np.abs(both - study.volume.array).max() <= 1.01
    assert study.lesions[0].volume_mm3 == native.lesions[0].volume_mm3


def test_resampling_keeps_a_ramp():
    axis = np.arange(20) * 0.23
    wanted = np.array([0.1, 1.0, 3.3])
    np.testing.assert_allclose(resampler(axis, wanted) @ (5 * axis), 5 * wanted, 1e-5)


def test_a_case_holds_air_bone_fat_brain_and_marrow(study):
    image = study.noise_free_hu
    for low, high in ((-1024, -900), (-130, -70), (20, 60), (150, 600), (700, 1500)):
        share = ((image >= low) & (image <= high)).mean()
        assert share > 0.003, (low, high)


def test_every_voxel_of_a_lesion_is_above_130_hu_within_an_outline(study):
    assert set(np.unique(study.label)) <= {0, RIGHT, LEFT}
    assert (study.label > 0).sum() > 50
    assert study.volume.array[study.label > 0].min() > 130
    again = cut_at_threshold(study.outlines, study.volume.array, study.volume.geometry)
    np.testing.assert_array_equal(again, study.label)


def test_outlines_stay_close_to_the_calcium_and_out_of_the_bone(study):
    geometry = study.volume.geometry
    inside = cut_at_threshold(
        study.outlines, np.full(study.volume.shape, 200, np.int16), geometry
    )
    assert (inside > 0).sum() > 1.5 * (study.label > 0).sum()  # generously drawn
    bone = (study.volume.array > 130) & (inside == 0)
    assert bone.sum() > 100 * (study.label > 0).sum()


def test_labels_lie_on_true_calcium_of_their_side(study):
    x = study.volume.geometry.index_to_mm(np.argwhere(study.label == LEFT))[:, 0]
    assert (x > 0).all()
    x = study.volume.geometry.index_to_mm(np.argwhere(study.label == RIGHT))[:, 0]
    assert (x < 0).all()
    centres = np.array([lesion.centre_xyz_mm for lesion in study.lesions])
    points = study.volume.geometry.index_to_mm(np.argwhere(study.label > 0))
    away = np.linalg.norm(points[:, None] - centres[None], axis=2).min(axis=1)
    assert away.max() < 9.0


def test_outlines_read_as_labels_give_the_lesions(study, tmp_path):
    table = write_outlines(study, tmp_path / "outlines.csv")
    labels = read_labels(table, study.volume, threshold_hu=131)
    assert labels.file_format == "outlines"
    assert labels.vessels_named
    np.testing.assert_array_equal(labels.array, study.label)


def test_a_written_head_is_read_back_with_body_part_and_pixels(study, tmp_path):
    write_dicom_series(study, tmp_path / "dicom")
    volume = kcalc.read_volume(tmp_path / "dicom")
    np.testing.assert_array_equal(volume.array, study.volume.array)
    assert volume.acquisition.body_part == "HEAD"
    table = write_outlines(study, tmp_path / "outlines.csv")
    labels = read_labels(table, volume, threshold_hu=131)
    np.testing.assert_array_equal(labels.array, study.label)


def test_same_seed_gives_the_same_bytes_and_another_seed_another_scan():
    first, again = head("study", 7, **TINY), head("study", 7, **TINY)
    assert first.volume.array.tobytes() == again.volume.array.tobytes()
    assert first.parameters == again.parameters
    assert json.dumps(first.physical_truth()) == json.dumps(again.physical_truth())
    other = head("study", 8, **TINY)
    assert first.volume.array.tobytes() != other.volume.array.tobytes()


def test_two_fifths_of_cases_have_no_calcium_and_the_others_some():
    rng = np.random.default_rng(0)
    counts = np.array([_drawn_number(rng) for _ in range(2000)])
    assert 0.40 <= (counts == 0).mean() <= 0.45
    assert 4 < counts[counts > 0].mean() < 8
    none = head("study", 1, num_lesions=0, **TINY)
    assert none.lesions == none.outlines == ()
    assert not none.label.any()


def test_siphons_bend_from_the_petrous_bone_to_beside_the_sella():
    for seed in range(8):
        for artery in carotids(_build(seed)):
            path = artery.path_xyz_mm * (artery.side, 1, 1)
            assert (path[:, 0] > 5).all()
            at = {name: path[[s == name for s in artery.segments]] for name in _names()}
            assert at["petrous"][:, 1].mean() > at["lacerum"][:, 1].mean() > 9
            assert at["cavernous"][:, 1].min() < -7  # the anterior genu
            assert at["supraclinoid"][:, 2].min() > at["cavernous"][:, 2].mean()
            assert at["petrous"][0, 0] > at["petrous"][-1, 0] + 8  # runs inwards
            length = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
            assert 80 < length < 170
    assert LABEL_NAMES[RIGHT] == "right ICA"


def _names() -> tuple[str, ...]:
    return ("petrous", "lacerum", "cavernous", "clinoid", "supraclinoid")


def test_lesions_lie_on_the_wall_of_their_artery():
    build = _build(3)
    arteries = carotids(build)
    deposits, facts = carotid_lesions(build, arteries, 60)
    by_label = {artery.label: artery for artery in arteries}
    kinds = {str(fact["kind"]) for fact in facts}
    assert kinds == {"faint spot", "spot", "plaque", "ring"}
    assert {fact["segment"] for fact in facts} == set(_names())
    for deposit, fact in zip(deposits, facts, strict=True):
        artery = by_label[deposit.label]
        assert (artery.side > 0) == (fact["side"] == "left")
        for part in deposit.parts:
            gap = np.linalg.norm(artery.path_xyz_mm - part.centre_xyz_mm, axis=1)
            nearest = int(gap.argmin())
            assert gap.min() <= artery.radius_mm[nearest] + 0.2
            assert gap.min() > 0.2 * artery.radius_mm[nearest]


def test_a_relief_paints_bone_to_its_thickness_and_nothing_above():
    x, y = np.meshgrid(np.linspace(-20, 20, 6), np.linspace(-20, 20, 6))
    flat = np.stack([x.ravel(), y.ravel(), np.full(36, 3.0)], axis=1)
    relief = Relief(flat, np.where([True, True, False], flat, 4.0))
    layer = Layer(relief, 0.0, 0.0)
    axis = np.linspace(-10, 10, 81, dtype=np.float32)
    for z, filled in ((4.0, 0.0), (2.0, 1.0), (0.0, 1.0), (-0.6, 1.0), (-2.0, 0.0)):
        patch = layer.patch(z, axis, axis)
        share = 0.0 if patch is None else float(patch.occupancy.mean())
        assert share == pytest.approx(filled, abs=0.01), z
    deeper = Layer(relief, 0.0, None, below=True).patch(-2.0, axis, axis)
    assert deeper is not None
    assert deeper.occupancy.mean() == pytest.approx(1.0)


def test_cells_fill_a_large_ellipse_as_every_pixel_would():
    axis = np.arange(-60, 60, 0.4, dtype=np.float32)
    for power, angle, taper in ((2.0, 0.0, 0.0), (2.0, 0.2, 0.06), (2.7, 0.1, 0.0)):
        halves = ((40, 40), (30, 30))
        column = Column((-1, 1), (3, 3), (2, 2), *halves, power, angle, taper)
        patch = column.patch(0.0, axis, axis)
        assert patch is not None
        dy, dx = axis[patch.rows][:, None] - 2, axis[patch.columns][None, :] - 3
        slow = np.clip(0.5 + column._inside_mm(dx, dy, 40, 30) / 0.4, 0, 1)
        np.testing.assert_allclose(patch.occupancy, slow, atol=2e-5)


def test_an_observer_keeps_clear_of_bone_that_touches_the_calcium():
    scanner = Scanner(shape_zyx=(3, 80, 80), pixel_mm=0.49, noise_sd_hu=5.0)
    scene = Scene(
        [
            Paint(cylinder((0, 0, 0), 400, 400, 900), 45.0),
            Paint(cylinder((6.5, 0, 0), 5, 12, 90), 900.0),
        ],
        [Deposit((Part((0, 0, 0), (1.5, 2.5, 4.0)),), 400, LEFT)],
        calcium_share=0.35,
    )
    scan = render(scene, scanner, name="test", seed=1)
    outlines = draw_outlines(scan.label, scan.volume.array, scan.volume.geometry)
    label = cut_at_threshold(outlines, scan.volume.array, scan.volume.geometry)
    x = scan.volume.geometry.index_to_mm(np.argwhere(label > 0))[:, 0]
    assert -3.5 < x.min() < -1.0
    assert x.max() < 2.4  # bone begins at 1.5, blurred by half a millimetre
    loose = dataclasses.replace(scene, calcium_share=0.0)
    wide = render(loose, scanner, name="test", seed=1).label
    assert (wide > 0).sum() > (label > 0).sum()


def test_an_outline_with_a_hole_leaves_the_hole_out():
    label = np.zeros((1, 24, 24), np.uint8)
    label[0, 6:18, 6:18] = LEFT
    label[0, 9:15, 9:15] = 0
    image = np.full(label.shape, 300, np.int16)
    image[label == 0] = 40
    image[0, 9:15, 9:15] = 900  # bone within a ring
    geometry = Geometry.axial(label.shape, (1.0, 0.49, 0.49))
    outlines = draw_outlines(label, image, geometry)
    assert len(outlines) == 2
    np.testing.assert_array_equal(cut_at_threshold(outlines, image, geometry), label)


def test_names_of_the_carotids_become_their_numbers():
    assert vessel_number("Left ICA calcification") == LEFT
    assert vessel_number("right internal carotid artery") == RIGHT
    assert part_number("left ICA", ["86117002"]) == LEFT


def test_unknown_presets_and_fields_are_refused_by_name():
    with pytest.raises(ValueError, match="preset must be 'study', 'native' or 'full'"):
        head("wide")
    with pytest.raises(ValueError, match=r"unknown fields of Scanner: \['pixels'\]"):
        head("study", 0, pixels=3)


@pytest.mark.slow
def test_negatives_above_the_threshold_are_about_a_fifth_of_all_negatives():
    shares = []
    for seed in range(6):
        few = {"shape_zyx": (20, 512, 512), "slice_spacing_mm": 5.0}
        scan = head("study", seed, padding_hu=None, slice_thickness_mm=1.0, **few)
        negative = scan.label == 0
        shares.append((negative & (scan.volume.array > 130)).sum() / negative.sum())
    assert 0.15 <= np.mean(shares) <= 0.25


def test_the_command_writes_scan_outlines_and_truth(tmp_path, monkeypatch):
    from kcalc.cli import main

    def small_head(preset, seed):
        few = {**FEW, "shape_zyx": (8, 512, 512), "padding_hu": None}
        return head(preset, seed, num_lesions=12, **few)

    monkeypatch.setattr("kcalc.phantoms.head", small_head)
    where = tmp_path / "head"
    assert main(["phantom", "head", "-o", str(where), "--seed", "3"]) == 0
    truth = json.loads((where / "truth.json").read_text("utf-8"))
    volume = kcalc.read_volume(where / "dicom")
    labels = read_labels(where / "outlines.csv", volume, threshold_hu=131)
    mm3 = float(np.prod(volume.spacing_mm)) * (labels.array > 0).sum()
    assert truth["score_of_label"]["volume_mm3"] == pytest.approx(mm3)
    assert "agatston" not in truth["score_of_label"]
    assert truth["lesions"]
