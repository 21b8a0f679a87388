"""Schedules of a run: values by epoch, in ``fit``, and after a kill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_training import make_recipe, values, write_store

from kcalc.data import CaseStore
from kcalc.losses import DeepSupervision, MaskedBinaryCrossentropy
from kcalc.training import (
    LinearChange,
    Recipe,
    StepChange,
    TrainingConfig,
    fit,
    recipe_to_dict,
)
from kcalc.training.keeper import Keeper
from kcalc.training.objective import scheduled_variable, set_scheduled
from kcalc.training.schedules import stepped_sgd


def build_model() -> keras.Model:
    """Gives ``main`` of the middle 12 of 16 pixels, ``aux_2`` of all."""
    inputs = keras.Input((None, None, 3), name="slices")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="a")(inputs)
    aux = keras.layers.Conv2D(1, 1, activation="sigmoid", name="aux_2")(x)
    x = keras.layers.Dropout(0.2)(keras.layers.Cropping2D(2)(x))
    main = keras.layers.Conv2D(1, 1, activation="sigmoid", name="main")(x)
    return keras.Model(inputs, {"main": main, "aux_2": aux})


def build_objective() -> DeepSupervision:
    whole, middle = slice(0, None), slice(2, -2)
    return DeepSupervision(
        MaskedBinaryCrossentropy(),
        {"main": (middle, middle), "aux_2": (whole, whole)},
    )


def scheduled_recipe() -> Recipe:
    return make_recipe(
        training=TrainingConfig(epochs=4, steps_per_epoch=2, batch_size=2),
        build_model=build_model,
        build_loss=build_objective,
        build_optimizer=partial(
            stepped_sgd, StepChange(0.1, 0.01, 2), StepChange(0.9, 0.99, 2), 2
        ),
        schedules={
            "positive_weight": StepChange(50.0, 1.0, 2),
            "auxiliary_weight": LinearChange(1.0, 0.0, 3),
        },
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    return write_store(tmp_path_factory.mktemp("store") / "cases.h5")


class _Seen:
    """Notes the scheduled values and the optimiser's at the end of every epoch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kill_in: int | None = None):
        self.values: dict[int, tuple[float, ...]] = {}
        self.objective = build_objective()
        after_step, after_epoch = Keeper.after_step, Keeper.after_epoch

        def noted(keeper: Keeper, loss: float) -> None:
            optimizer = keeper._model.optimizer
            self.values[keeper.state["epoch"]] = tuple(
                round(float(value), 4)
                for value in (
                    self.objective.loss.positive_weight,
                    self.objective.auxiliary_weight,
                    optimizer.learning_rate,
                    optimizer.current_momentum,
                )
            )
            after_step(keeper, loss)

        def validated(keeper: Keeper, scheduled: Mapping[str, float]) -> None:
            if keeper.state["epoch"] == kill_in:
                raise KeyboardInterrupt
            assert set(scheduled) == {"positive_weight", "auxiliary_weight"}
            # Every epoch is measured with what the schedules end with.
            assert float(self.objective.loss.positive_weight) == 1.0
            assert float(self.objective.auxiliary_weight) == 0.0
            after_epoch(keeper, scheduled)

        monkeypatch.setattr(Keeper, "after_step", noted)
        monkeypatch.setattr(Keeper, "after_epoch", validated)


# At the end of an epoch the optimiser's values are those of the next step.
EXPECTED = {
    0: (50.0, 1.0, 0.1, 0.9),
    1: (50.0, 0.6667, 0.01, 0.99),
    2: (1.0, 0.3333, 0.01, 0.99),
    3: (1.0, 0.0, 0.01, 0.99),
}


def seen_by(recipe: Recipe, seen: _Seen) -> Recipe:
    """The recipe with an objective whose variables are watched, of the same name."""

    def build_objective() -> DeepSupervision:
        return seen.objective

    build_objective.__qualname__ = "build_objective"
    return replace(recipe, build_loss=build_objective)


def test_fit_sets_every_value_in_its_epoch_and_goes_on_so_after_a_kill(
    store: CaseStore, tmp_path: Path
) -> None:
    recipe = scheduled_recipe()
    with pytest.MonkeyPatch.context() as patch:
        seen = _Seen(patch)
        whole = fit(seen_by(recipe, seen), store=store, out=tmp_path / "whole", seed=2)
        assert seen.values == EXPECTED
    rows = (tmp_path / "whole" / "log.csv").read_text().splitlines()
    assert rows[0].endswith(",positive_weight,auxiliary_weight")
    assert rows[1].split(",")[-2:] == ["50.0", "1.0"]
    for epoch in (1, 3):
        out = tmp_path / f"killed{epoch}"
        with pytest.MonkeyPatch.context() as patch:
            killed = seen_by(recipe, _Seen(patch, kill_in=epoch))
            with pytest.raises(KeyboardInterrupt):
                fit(killed, store=store, out=out, seed=2)
        with pytest.MonkeyPatch.context() as patch:
            seen = _Seen(patch)
            resumed = fit(
                seen_by(recipe, seen), store=store, out=out, seed=2, resume=True
            )
            assert seen.values == {n: EXPECTED[n] for n in range(epoch, 4)}
        assert resumed.last == whole.last and resumed.best == whole.best
        for one, other in zip(values(whole.model), values(resumed.model), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_schedules_decide_the_weights(store: CaseStore, tmp_path: Path) -> None:
    recipe = scheduled_recipe()
    constant = replace(recipe, schedules={})
    one, other = (
        fit(r, store=store, out=tmp_path / str(n), seed=2)
        for n, r in enumerate((recipe, constant))
    )
    assert one.last["loss"] != other.last["loss"]


def test_the_record_has_the_schedules(store: CaseStore) -> None:
    plain = json.loads(json.dumps(recipe_to_dict(scheduled_recipe())))
    assert plain["schedules"]["positive_weight"] == {
        "before": 50.0,
        "after": 1.0,
        "after_epochs": 2,
    }
    assert plain["schedules"]["auxiliary_weight"]["epochs"] == 3
    momentum = plain["build_optimizer"]["arguments"][1]
    assert momentum == {"before": 0.9, "after": 0.99, "after_epochs": 2}


def test_resuming_with_another_schedule_is_refused(
    store: CaseStore, tmp_path: Path
) -> None:
    recipe = scheduled_recipe()
    fit(recipe, store=store, out=tmp_path, smoke=True)
    other = {**recipe.schedules, "positive_weight": StepChange(9.0, 1.0, 2)}
    with pytest.raises(ValueError, match=r"positive_weight.before: 50.0 -> 9.0"):
        fit(
            replace(recipe, schedules=other),
            store=store,
            out=tmp_path,
            smoke=True,
            resume=True,
        )


def test_the_papers_schedules_by_epoch() -> None:
    positive, auxiliary = StepChange(1000.0, 1.0, 5), LinearChange(1.0, 0.0, 50)
    assert [positive.at(epoch) for epoch in (0, 4, 5, 90)] == [1000, 1000, 1, 1]
    found = [auxiliary.at(epoch) for epoch in (0, 1, 25, 49, 50, 90)]
    np.testing.assert_allclose(found, [1, 0.98, 0.5, 0.02, 0, 0], atol=1e-12)


def test_steps_of_a_change_are_its_epochs() -> None:
    change = StepChange(0.1, 0.01, 3)
    schedule = change.of_steps(7)
    for step in range(30):
        assert float(schedule(step)) == pytest.approx(change.at(step // 7))
    from_the_start = StepChange(0.1, 0.01, 0).of_steps(7)
    assert float(from_the_start(0)) == pytest.approx(0.01)


def test_scheduled_values_need_no_history() -> None:
    objective = build_objective()
    schedules = {"auxiliary_weight": LinearChange(1.0, 0.0, 10)}
    for epoch, expected in ((7, 0.3), (2, 0.8), (40, 0.0)):
        values = set_scheduled(objective, schedules, epoch)
        assert values == {"auxiliary_weight": pytest.approx(expected)}
        assert float(objective.auxiliary_weight) == pytest.approx(expected)


def test_a_schedule_of_no_variable_is_refused(store: CaseStore, tmp_path: Path) -> None:
    recipe = make_recipe(schedules={"positive_weight": StepChange(2.0, 1.0, 1)})
    with pytest.raises(ValueError, match="'positive_weight' with BinaryCrossentropy"):
        fit(recipe, store=store, out=tmp_path)
    objective = build_objective()
    assert scheduled_variable(objective, "positive_weight") is (
        objective.loss.positive_weight
    )
    with pytest.raises(ValueError, match="'rate' with DeepSupervision of Masked"):
        scheduled_variable(objective, "rate")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: StepChange(1.0, 0.0, -1), "after_epochs must be at least 0"),
        (lambda: LinearChange(1.0, 0.0, 0), "epochs must be above 0"),
    ],
)
def test_impossible_schedules_are_refused(make, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_a_mirrored_variable_is_set() -> None:
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        loss = MaskedBinaryCrossentropy(1000.0)
    set_scheduled(loss, {"positive_weight": StepChange(5.0, 1.0, 1)}, epoch=1)
    assert loss.get_config()["positive_weight"] == 1.0
