"""The paper's training and its tables, as recipes/ma2019_dense_ra_unet.py has them."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

from kcalc.data import Augmentation
from kcalc.evaluation import CaseComparison
from kcalc.scoring import calcium_score
from kcalc.training.ablation import write_row

PATH = Path(__file__).parents[1] / "recipes" / "ma2019_dense_ra_unet.py"


@pytest.fixture(scope="module")
def ma2019() -> ModuleType:
    specification = importlib.util.spec_from_file_location(PATH.stem, PATH)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


# --- the paper's training ---------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 1e-3),
        (1999, 1e-3),
        (2000, 0.99e-3),
        (3999, 0.99e-3),
        (4000, 0.9801e-3),
        (999_999, 1e-3 * 0.99**499),
    ],
)
def test_the_rate_falls_by_a_hundredth_every_2000_iterations(
    ma2019: ModuleType, step: int, rate: float
):
    optimizer = ma2019.RECIPE.build_optimizer()
    optimizer.build([keras.Variable(0.0)])
    optimizer.iterations.assign(step)
    assert float(optimizer.learning_rate) == pytest.approx(rate, rel=1e-5)


def test_two_steps_of_momentum_09_on_a_constant_gradient(ma2019: ModuleType):
    weight = keras.Variable(1.0)
    optimizer = ma2019.RECIPE.build_optimizer()
    for _ in range(2):
        optimizer.apply([keras.ops.convert_to_tensor(2.0)], [weight])
    # First -0.002, then 0.9 * -0.002 - 0.002.
    assert float(weight) == pytest.approx(1 - 0.002 - 0.0038, abs=1e-7)


def test_the_numbers_of_the_paper_stand_in_the_recipe(ma2019: ModuleType):
    recipe = ma2019.RECIPE
    assert (recipe.training.epochs, recipe.training.batch_size) == (25, 1)
    assert recipe.data.threshold_hu == 130
    assert recipe.data.augmentation == Augmentation()
    assert (recipe.input_spec.stack, recipe.input_spec.stack_step_mm) == (9, None)
    assert (recipe.data.sampling.side, recipe.data.sampling.size) == ((192, 384), 256)
    assert ma2019.THRESHOLD == 0.5
    loss = recipe.build_loss().get_config()
    assert (loss["threshold"], loss["form"]) == (0.9, "exponential")
    assert (loss["alpha"], loss["beta"]) == (None, None)


# --- rows ---------------------------------------------------------------------------


def test_every_row_adds_one_part_to_the_one_before(ma2019: ModuleType):
    parts = ("residual_atrous", "extra_dense", "scse", "iou")
    assert [sum(row.changes.values()) for row in ma2019.ROWS] == [0, 1, 2, 3, 4]
    for number, row in enumerate(ma2019.ROWS):
        assert row.changes == {part: part in parts[:number] for part in parts}
    assert ma2019.SEEDS == (0, 1, 2)


def test_a_rows_network_and_loss_are_what_its_title_says(ma2019: ModuleType):
    recipes = [ma2019.row_recipe(ma2019.TINY, row) for row in ma2019.ROWS]
    assert len({recipe.name for recipe in recipes}) == 5
    first, last = recipes[0].build_model(), recipes[-1].build_model()
    assert not [layer for layer in first.layers if "skip" in layer.name]
    assert not [layer for layer in first.layers if "scse" in layer.name]
    names = {layer.name for layer in last.layers}
    assert {"skip1_extra_dense", "skip3_residual_atrous", "decoder1_scse"} <= names
    losses = [type(recipe.build_loss()).__name__ for recipe in recipes]
    assert losses == ["BootstrapCrossentropy"] * 4 + ["BootstrapIoU"]
    # All else is the same in every row.
    plain = ma2019.TINY
    for recipe in recipes:
        same = replace(
            recipe,
            name=plain.name,
            build_model=plain.build_model,
            build_loss=plain.build_loss,
        )
        assert same == plain


def test_training_sees_wide_chest_alone_and_the_test_both_kinds(ma2019: ModuleType):
    orders = ma2019.tables_orders(smoke=False)
    assert {o.kind for o in orders if o.split != "test"} == {"wide"}
    counts = [
        sum((o.kind, o.split) == key for o in orders)
        for key in (("wide", "train"), ("wide", "test"), ("cardiac", "test"))
    ]
    assert counts == [40, 12, 12]
    patients = {o.seed for o in orders}
    assert len(patients) == len(orders)
    others = [o for seed in (0, 1) for o in ma2019.phantom_orders(seed, smoke=False)]
    assert not patients & {o.seed for o in others}


# --- stages -------------------------------------------------------------------------


def test_without_post_processing_pixels_below_130_hu_count(ma2019: ModuleType):
    scan = np.full((1, 8, 8), 40, np.int16)
    scan[0, 2, 2:6] = [100, 120, 130, 250]
    mask = scan >= 100
    spacing = (3.0, 1.0, 1.0)
    raw = calcium_score(scan, mask, spacing, rule=ma2019.UNFILTERED)
    # Four pixels of 1 mm2, weight 2 by the maximum of 250 HU; filtered two.
    assert (raw.agatston, calcium_score(scan, mask, spacing).agatston) == (8.0, 4.0)
    soft = calcium_score(scan, scan == 100, spacing, rule=ma2019.UNFILTERED)
    assert soft.agatston == 0.0
    for kept in (mask & (scan >= 130), scan >= 999):
        filtered = calcium_score(scan, kept, spacing, rule=ma2019.UNFILTERED)
        assert filtered.agatston == calcium_score(scan, kept, spacing).agatston


def comparison(case: str, both: int, risk: str) -> CaseComparison:
    """Four true pixels, two found, risk class 1-10 by the label."""
    return CaseComparison(
        case=case,
        patient=case,
        voxel_mm3=1.0,
        voxels_reference=4,
        voxels_result=2,
        voxels_both=both,
        reference_lesions=(),
        result_lesions=(),
        agatston_reference=5.0,
        agatston_result=3.0,
        scored_mm3_reference=4.0,
        scored_mm3_result=2.0,
        risk_reference="1-10",
        risk_result=risk,
    )


def stages(gain: int = 0) -> dict[str, list[CaseComparison]]:
    raw = [
        comparison("chest-wide-1", 1, "1-10"),
        comparison("chest-wide-2", 0 + gain, "11-100"),
        comparison("chest-cardiac-1", 2, "0"),
        comparison("chest-cardiac-2", 0 + gain, "0"),
    ]
    filtered = [replace(c, risk_result="1-10") for c in raw]
    return {"raw": raw, "filtered": filtered, "voted": filtered}


def test_figures_by_stage_and_kind_and_values_by_case(ma2019: ModuleType):
    figures = ma2019.stage_figures(stages())
    # 2 * 3 of 24 pixels; 1 of 4 right.
    assert figures["raw"]["all"]["pixel_f1"] == 0.25
    assert figures["raw"]["chest-wide"]["pixel_f1"] == pytest.approx(2 / 12, abs=1e-4)
    assert figures["raw"]["all"]["risk_category_agreement"] == 0.25
    assert figures["filtered"]["chest-cardiac"]["risk_category_agreement"] == 1.0
    values = ma2019.stage_values(stages())
    assert values["raw_f1"]["chest-wide-1"] == pytest.approx(2 / 6)
    assert list(values["raw_class"].values()) == [1.0, 0.0, 0.0, 0.0]
    assert sorted(values) == sorted(
        f"{stage}_{what}"
        for stage in ("raw", "filtered", "voted")
        for what in ("f1", "class")
    )


# --- the tables ---------------------------------------------------------------------


def written(ma2019: ModuleType, folder: Path, row: Any, seed: int, gain: int) -> None:
    write_row(
        folder,
        row,
        seed,
        ma2019.stage_figures(stages(gain)),
        cases=ma2019.stage_values(stages(gain)),
        settings={"recipe": row.name},
        cpu_seconds=60.0,
    )


def test_tables_are_printed_from_the_rows_that_are_there(
    ma2019: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(ma2019, "RESULTS", tmp_path)
    for seed in (0, 1, 2):
        written(ma2019, tmp_path, ma2019.ROWS[0], seed, gain=0)
    written(ma2019, tmp_path, ma2019.ROWS[1], 0, gain=2)
    assert ma2019.main(["tables", "--miniature"]) == 0
    text = capsys.readouterr().out
    assert (tmp_path / "tables.md").read_text("utf-8") == text[:-1]
    assert "Missing: rau-1, rau-2, edb-0" in text
    table_1, table_2 = (
        [line.split("|")[1:-1] for line in text.splitlines() if line.startswith(start)]
        for start in ("| Dense U-Net ", "| Dense U-Net + RAU ")
    )
    assert [cell.strip() for cell in table_1[0][:4]] == [
        "Dense U-Net",
        "3",
        "0.250 ± 0.000",
        "–",
    ]
    # 2 * 7 of 24 pixels.
    assert table_2[0][2].strip() == "0.583"
    assert "Dense U-Net + RAU beats Dense U-Net in pixel F1: same direction" in text
    # By patient 0, 1, 1, 1: t = 0.75 / (0.5 / 2) = 3 with three degrees.
    assert (
        "Post-processing raises the CAC rate of Dense U-Net: same direction, not "
        "significant (CAC filter rate +0.75, better in 3 of 3 seeds, P 0.058)." in text
    )
    assert "DenseRAUnet (all of these + IoU) beats Dense U-Net in CAC rate: not" in text
    assert "Test cases: 2 chest-cardiac, 2 chest-wide." in text


def test_tables_without_any_row_name_them_all(
    ma2019: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(ma2019, "RESULTS", tmp_path / "none")
    assert ma2019.main(["tables", "--miniature"]) == 0
    assert capsys.readouterr().out.count("not measured") == len(ma2019.FINDINGS)


def test_a_row_that_is_none_is_refused(
    ma2019: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = ["tables", "--miniature", "--row", "unet", "--out", str(tmp_path)]
    assert ma2019.main(options) == 2
    assert "--row must be one of dense_unet, rau, edb" in capsys.readouterr().err


def test_cases_of_ones_own_are_not_passed_over_in_silence(
    ma2019: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = ["--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert ma2019.main(["tables", "--miniature", "--row", "iou", *options]) == 2
    assert "Run prepare --data DIR, then tables" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_papers_network_takes_the_cases_of_prepare(
    ma2019: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert ma2019.main(["tables", "--row", "iou", "--out", str(tmp_path)]) == 3
    assert "prepare" in capsys.readouterr().err


@pytest.mark.slow
def test_a_row_is_trained_tested_written_and_then_left_alone(
    ma2019: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = ["tables", "--miniature", "--smoke", "--out", str(tmp_path)]
    row = [*options, "--row", "iou"]
    assert ma2019.main(row) == 0
    path = tmp_path / "rows" / "iou-0.json"
    found = json.loads(path.read_text())
    assert (found["row"], found["seed"]) == ("iou", 0)
    assert found["changes"]["iou"] is True
    assert found["cpu_seconds"] > 0
    assert set(found["figures"]) == {"best_epoch", "raw", "filtered", "voted"}
    assert sorted(found["cases"]["raw_f1"]) == [
        "chest-cardiac-0621000",
        "chest-wide-0620000",
    ]
    before = path.read_bytes()
    assert (path.parent / "figure2.png").read_bytes()[:4] == b"\x89PNG"
    assert ma2019.main(row) == 0
    assert path.read_bytes() == before
    assert ma2019.main(options) == 0
    assert "Missing: dense_unet-0" in capsys.readouterr().out
    assert (tmp_path / "rows" / "tables.md").is_file()
