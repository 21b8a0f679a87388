"""The intracranial recipe: its rows are what they say; every command runs."""

import json
from pathlib import Path

import pytest
from test_recipes import load

from kcalc.artifact import verify
from kcalc.data import CaseStore

RECIPE = Path(__file__).parents[1] / "recipes" / "bortsova2017_icac.py"
SMOKE = ("--miniature", "--smoke")


@pytest.fixture(scope="module")
def recipe():
    return load(RECIPE)


def test_schedules_of_the_full_recipe_are_the_papers(recipe):
    positive = recipe.RECIPE.schedules["positive_weight"]
    auxiliary = recipe.RECIPE.schedules["auxiliary_weight"]
    assert [positive.at(epoch) for epoch in (0, 4, 5)] == [1000.0, 1000.0, 1.0]
    assert [auxiliary.at(epoch) for epoch in (0, 25, 50)] == [1.0, 0.5, 0.0]
    optimizer = recipe.RECIPE.build_optimizer()
    step = 10 * recipe.RECIPE.training.steps_per_epoch
    assert float(optimizer._learning_rate(step - 1)) == pytest.approx(0.1)
    assert float(optimizer._learning_rate(step)) == pytest.approx(0.01)
    assert float(optimizer.momentum(step - 1)) == pytest.approx(0.9)
    assert float(optimizer.momentum(step)) == pytest.approx(0.99)


def test_the_full_recipe_supervises_the_papers_patch(recipe):
    objective = recipe.RECIPE.build_loss()
    assert recipe.RECIPE.data.patch_zyx == (98, 178, 178)
    assert len(objective.windows) == 7
    size = tuple(window.stop - window.start for window in objective.windows["main"])
    assert size == (62, 94, 94)


def rates(model):
    return [
        layer.dropout_rate
        for layer in model.layers
        if getattr(layer, "dropout_position", None) is not None
    ]


def test_rows_differ_in_what_their_titles_say(recipe):
    made = {row.name: recipe.row_recipe(recipe.TINY, row) for row in recipe.ROWS}
    models = {name: one.build_model() for name, one in made.items()}
    outputs = {name: len(model.outputs) for name, model in models.items()}
    assert outputs.pop("plain") == 1
    assert set(outputs.values()) == {7}
    masked = {name for name, one in made.items() if one.data.supervise_above_threshold}
    assert masked == made.keys() - {"plain", "deep"}
    without = {name for name, model in models.items() if not rates(model)}
    assert without == {"plain", "deep", "above_130"}
    assert rates(models["best"]) == [0.3, 0.3, 0.4, 0.4, 0.5]
    assert models["best"].count_params() > 3 * models["narrow"].count_params()
    plain = models["above_130"].get_layer("block4")
    assert not plain.residual and models["best"].get_layer("block4").residual


def test_rows_are_read_into_both_tables(recipe, tmp_path):
    text = recipe.tables_text(tmp_path)
    assert text.count("| + > 130 HU objective (plain non-dropout) |") == 2
    assert "Missing: plain-0" in text
    assert text.count("not measured") == len(recipe.FINDINGS)


def test_the_epoch_of_a_training_dice_is_the_first_that_reaches_it(recipe):
    history = [{"epoch": n, "train_f1": f1} for n, f1 in ((1, 0.1), (2, 0.4), (3, 0.3))]
    assert recipe.epoch_reached(history, 0.4) == 2
    assert recipe.epoch_reached(history, 0.41) is None


def test_an_unknown_row_is_refused(recipe, tmp_path, capsys):
    command = ("tables", *SMOKE, "--out", str(tmp_path), "--row", "wide")
    assert recipe.main(list(command)) == 2
    assert "plain_dropout" in capsys.readouterr().err


@pytest.mark.slow
def test_every_command_runs_on_small_phantoms(recipe, tmp_path, capsys):
    out = ("--out", str(tmp_path))
    for command in ("prepare", "train", "evaluate", "export"):
        assert recipe.main([command, *SMOKE, *out]) == 0
    store = CaseStore(tmp_path / "cases.h5")
    assert [len(store.split(s)) for s in ("train", "validation", "test")] == [1, 1, 1]
    figures = json.loads((tmp_path / "evaluation.json").read_text("utf-8"))
    assert figures["images"] == 1 and 0 <= figures["dice"]["pooled"] <= 1
    name = recipe.MODEL_NAMES[recipe.SMALL.name]
    version = tmp_path / "export" / name / "1"
    assert verify(version).task == "intracranial_carotid_calcium"
    assert "carotid" in (version / "MODEL_CARD.md").read_text("utf-8")
    for _ in range(2):  # the second time it is there already
        row = ("--row", "best", "--seed", "1")
        assert recipe.main(["tables", *SMOKE, *out, *row]) == 0
    capsys.readouterr()
    assert recipe.main(["tables", *SMOKE, *out]) == 0
    assert "best-0" in capsys.readouterr().out
    assert (tmp_path / "rows" / "best-1.json").is_file()
