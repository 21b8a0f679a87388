"""fit: the run's folder, resuming, refusals, and its parts by hand-worked numbers."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kcalc import InputError, KcalcError
from kcalc.data import Case, CaseStore, PatchSampling, SliceData, VolumeData
from kcalc.errors import ModelError, ResourceError
from kcalc.preparation import InputSpec
from kcalc.training import (
    OptimizerConfig,
    Recipe,
    TrainingConfig,
    fit,
    recipe_to_dict,
    smoke_recipe,
)
from kcalc.training.checkpoint import (
    LAST,
    load_checkpoint,
    read_state,
    save_checkpoint,
)
from kcalc.training.keeper import Keeper
from kcalc.training.schedules import cosine_adam, momentum_sgd
from kcalc.training.strategy import training_strategy
from kcalc.training.validation import averaged_weights, pooled_validation

SPEC = InputSpec(window_hu=(-200.0, 800.0), stack=3)
ADAM = OptimizerConfig(learning_rate=0.01, warmup_steps=2, ema_momentum=0.5)


def build_model(dropout: float = 0.3) -> keras.Model:
    inputs = keras.Input((None, None, 3), name="slices")
    x = keras.layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    x = keras.layers.BatchNormalization(synchronized=True, name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    outputs = keras.layers.Conv2D(1, 1, activation="sigmoid", name="last")(x)
    return keras.Model(inputs, outputs)


def build_loss() -> keras.losses.Loss:
    return keras.losses.BinaryCrossentropy()


def make_recipe(**changes: object) -> Recipe:
    training = TrainingConfig(epochs=3, steps_per_epoch=2, batch_size=2)
    recipe = Recipe(
        name="test",
        input_spec=SPEC,
        data=SliceData(
            sampling=PatchSampling(size=16, side=(12, 24), p_positive=0.5),
            validation_slices=3,
            validation_size=32,
        ),
        optimizer=ADAM,
        training=training,
        build_model=build_model,
        build_loss=build_loss,
        build_optimizer=partial(cosine_adam, ADAM, training.total_steps),
    )
    return replace(recipe, **changes)  # type: ignore[arg-type]


def write_store(path: Path) -> CaseStore:
    rng = np.random.default_rng(1)
    cases = []
    for name, split in (("a", "train"), ("b", "train"), ("c", "validation")):
        image = rng.normal(0, 20, (4, 32, 32)).astype(np.int16)
        label = np.zeros(image.shape, np.uint8)
        image[2, 8:14, 8:14], label[2, 8:14, 8:14] = 400, 2
        cases.append(Case(name, image, label, (3.0, 0.7, 0.7), name, split))
    return CaseStore.write(path, cases)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    return write_store(tmp_path_factory.mktemp("store") / "cases.h5")


@pytest.fixture(scope="module")
def finished(store: CaseStore, tmp_path_factory: pytest.TempPathFactory):
    """Return a folder with a finished run of the test recipe, and its result."""
    out = tmp_path_factory.mktemp("run")
    return out, fit(make_recipe(), store=store, out=out, seed=4)


def arrays(variables: list[keras.Variable]) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def values(model: keras.Model) -> list[np.ndarray]:
    return arrays(model.variables)


# A run.


def test_a_run_leaves_record_log_checkpoint_and_weights_and_nothing_else(finished):
    out, _ = finished
    assert sorted(file.name for file in out.iterdir()) == [
        "best.weights.h5",
        "curve.png",
        "last.checkpoint.h5",
        "log.csv",
        "log.jsonl",
        "run.json",
    ]


def test_the_record_says_what_the_run_was_made_of(finished, store):
    out, result = finished
    record = json.loads((out / "run.json").read_text())
    assert record["recipe"] == json.loads(json.dumps(recipe_to_dict(make_recipe())))
    assert record["recipe"]["training"]["steps_per_epoch"] == 2
    assert record["seed"] == 4
    assert record["store_fingerprint"] == store.fingerprint()
    assert record["versions"]["keras"] == keras.__version__
    assert set(record["git"]) == {"commit", "dirty"}
    assert record["finished"] is True
    assert record["best"] == result.best and record["last"] == result.last


def test_the_log_has_a_row_an_epoch(finished):
    lines = (finished[0] / "log.csv").read_text().splitlines()
    assert lines[0].split(",")[:4] == ["epoch", "loss", "learning_rate", "val_loss"]
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3"]
    text = (finished[0] / "log.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert rows[-1] == finished[1].last
    assert len(rows) == 3


def test_the_result_has_the_weights_of_the_best_epoch(finished):
    out, result = finished
    fresh = build_model()
    fresh.load_weights(out / "best.weights.h5")
    for kept, loaded in zip(
        arrays(result.model.trainable_variables),
        arrays(fresh.trainable_variables),
        strict=True,
    ):
        np.testing.assert_array_equal(kept, loaded)


def test_the_same_seed_gives_the_same_run(finished, store, tmp_path):
    again = fit(make_recipe(), store=store, out=tmp_path, seed=4)
    assert again.last == finished[1].last
    other = fit(make_recipe(), store=store, out=tmp_path / "other", seed=5)
    assert other.last != finished[1].last


@pytest.mark.parametrize("saved_within", [False, True])
def test_a_run_killed_in_an_epoch_resumes_to_the_same_end(
    finished, store, tmp_path, monkeypatch, saved_within
):
    whole = Keeper.after_step

    def killed(self: Keeper, loss: float) -> None:
        whole(self, loss)
        if self.state["epoch"] == 1:  # after the first step of the second epoch
            raise RuntimeError("killed")

    monkeypatch.setattr(Keeper, "after_step", killed)
    with pytest.raises(RuntimeError, match="killed"):
        fit(
            make_recipe(),
            store=store,
            out=tmp_path,
            seed=4,
            checkpoint_minutes=0.0 if saved_within else 10.0,
        )
    position = read_state(tmp_path / LAST)
    assert (position["epoch"], position["step"]) == (1, 1 if saved_within else 0)
    monkeypatch.setattr(Keeper, "after_step", whole)
    resumed = fit(make_recipe(), store=store, out=tmp_path, seed=4, resume=True)
    assert resumed.last == finished[1].last and resumed.best == finished[1].best
    assert (tmp_path / "log.csv").read_text() == (finished[0] / "log.csv").read_text()
    states = []
    for folder in (tmp_path, finished[0]):
        model = build_model()
        model.compile(cosine_adam(ADAM, 6), build_loss())
        model.optimizer.build(model.trainable_variables)
        load_checkpoint(folder / LAST, model)
        states.append(values(model) + arrays(model.optimizer.variables))
    for left, right in zip(*states, strict=True):
        np.testing.assert_array_equal(left, right)


def test_resuming_a_finished_run_changes_nothing(finished, store):
    out, result = finished
    before = (out / LAST).read_bytes()
    again = fit(make_recipe(), store=store, out=out, seed=4, resume=True)
    assert again.best == result.best
    assert (out / LAST).read_bytes() == before


def test_resume_without_a_checkpoint_begins_anew(store, tmp_path):
    result = fit(make_recipe(), store=store, out=tmp_path, resume=True, smoke=True)
    assert result.last["epoch"] == 1


def test_smoke_is_two_steps(store, tmp_path):
    recipe = replace(
        make_recipe(), training=TrainingConfig(epochs=9, steps_per_epoch=999)
    )
    assert smoke_recipe(recipe).training.total_steps == 2
    result = fit(recipe, store=store, out=tmp_path, smoke=True)
    assert json.loads(result.record.read_text())["recipe"]["name"] == "test-smoke"


# Refusals.


def test_a_new_run_in_a_used_folder_is_refused(finished, store):
    with pytest.raises(InputError, match=r"RUN_EXISTS.*Pass --resume"):
        fit(make_recipe(), store=store, out=finished[0], seed=4)


def test_resuming_with_another_recipe_seed_or_store_names_the_difference(
    finished, store, tmp_path
):
    out, _ = finished
    other = make_recipe(optimizer=replace(ADAM, learning_rate=0.02))
    with pytest.raises(
        InputError, match=r"recipe.optimizer.learning_rate: 0.01 -> 0.02"
    ):
        fit(other, store=store, out=out, seed=4, resume=True)
    with pytest.raises(InputError, match=r"RUN_DIFFERS.*seed: 4 -> 5"):
        fit(make_recipe(), store=store, out=out, seed=5, resume=True)
    cases = [
        Case("z", store.image("a"), store.label("a"), (3.0, 1.0, 1.0), name, split)
        if name == "p"
        else Case(name, store.image("a"), store.label("a"), (3.0, 1, 1), name, split)
        for name, split in (("p", "train"), ("q", "validation"))
    ]
    another = CaseStore.write(tmp_path / "other.h5", cases)
    with pytest.raises(InputError, match="store_fingerprint"):
        fit(make_recipe(), store=another, out=out, seed=4, resume=True)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_epoch_and_step(
    store, tmp_path
):
    class Broken(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: object) -> object:  # the third step spoils the weights
            return keras.ops.where(step >= 2, math.nan, 0.01)

    def diverging() -> keras.optimizers.Optimizer:
        return keras.optimizers.SGD(Broken())

    recipe = make_recipe(build_optimizer=diverging)
    with pytest.raises(
        KcalcError, match=r"epoch 2, step 2: samples 6 to 7 of.*cases [ab], [ab]\."
    ):
        fit(recipe, store=store, out=tmp_path)
    model = build_model()
    model.compile(diverging(), build_loss())
    model.optimizer.build(model.trainable_variables)
    assert load_checkpoint(tmp_path / LAST, model)["epoch"] == 1
    assert all(np.isfinite(value).all() for value in values(model))


def test_a_batch_that_two_devices_cannot_share_is_refused(store, tmp_path, monkeypatch):
    class TwoDevices:
        num_replicas_in_sync = 2

    monkeypatch.setattr(
        "kcalc.training.loop.training_strategy", lambda devices: TwoDevices()
    )
    recipe = make_recipe(training=TrainingConfig(1, 2, batch_size=3))
    with pytest.raises(ValueError, match="batch_size=3, 2 devices, micro_batches=1"):
        fit(recipe, store=store, out=tmp_path)


def test_a_folder_that_cannot_be_made_is_refused_at_once(store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="WRITE_FAILED"):
        fit(make_recipe(), store=store, out=tmp_path / "file" / "run")


def test_a_store_without_validation_cases_is_refused(tmp_path):
    image, label = np.zeros((3, 32, 32), np.int16), np.zeros((3, 32, 32), np.uint8)
    case = Case("a", image, label, (3.0, 1.0, 1.0), "p", "train")
    only_train = CaseStore.write(tmp_path / "s.h5", [case])
    with pytest.raises(InputError, match=r"STORE_SPLIT.*'validation'"):
        fit(make_recipe(), store=only_train, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("plan", "spec"),
    [
        (
            SliceData(PatchSampling(size=16, side=(12, 24), p_positive=0.5)),
            InputSpec((-1000.0, 1000.0), stack=3),
        ),
        (VolumeData((4, 16, 16), p_positive=0.5), InputSpec((-1000.0, 1000.0))),
    ],
)
def test_a_plan_tells_the_case_of_every_sample(tmp_path: Path, plan, spec) -> None:
    cases = []
    for name, hu in (("a", -500), ("b", 0), ("c", 500)):
        image = np.full((4, 32, 32), hu, np.int16)
        label = np.zeros(image.shape, np.uint8)
        label[2, 4, 4] = 2
        cases.append(Case(name, image, label, (3.0, 1.0, 1.0), name, "train"))
    store = CaseStore.write(tmp_path / "cases.h5", cases)
    common = {"input_spec": spec, "seed": 3, "start": 5, "stop": 25}
    names = {0.25: "a", 0.5: "b", 0.75: "c"}
    found = [
        names[round(float(image[0].numpy().mean()), 2)]
        for image, _ in plan.training(store, batch_size=1, **common)
    ]
    assert found == plan.cases(store, **common)
    assert set(found) == {"a", "b", "c"}


# Checkpoints.


def compiled(dropout: float = 0.3) -> keras.Model:
    model = build_model(dropout)
    model.compile(cosine_adam(ADAM, 6), build_loss())
    model.optimizer.build(model.trainable_variables)
    return model


def test_a_checkpoint_keeps_optimiser_and_dropout_state(tmp_path):
    keras.utils.set_random_seed(0)
    model = compiled()
    x, y = np.ones((2, 8, 8, 3), np.float32), np.ones((2, 8, 8, 1), np.float32)
    model.train_on_batch(x, y)
    save_checkpoint(tmp_path / LAST, model, {"epoch": 1})
    model.train_on_batch(x, y)
    keras.utils.set_random_seed(1)
    other = compiled()
    assert load_checkpoint(tmp_path / LAST, other) == {"epoch": 1}
    other.train_on_batch(x, y)
    for left, right in zip(values(model), values(other), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    save_checkpoint(tmp_path / LAST, compiled(), {})
    inputs = keras.Input((None, None, 3))
    other = keras.Model(inputs, keras.layers.Conv2D(1, 1)(inputs))
    other.compile(cosine_adam(ADAM, 6), build_loss())
    other.optimizer.build(other.trainable_variables)
    with pytest.raises(ModelError, match=r"CHECKPOINT.*values for"):
        load_checkpoint(tmp_path / LAST, other)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    save_checkpoint(tmp_path / LAST, compiled(), {})
    os.truncate(tmp_path / LAST, 2000)
    with pytest.raises(ModelError, match="CHECKPOINT"):
        load_checkpoint(tmp_path / LAST, compiled())


def test_a_full_disk_leaves_the_former_checkpoint(tmp_path, monkeypatch):
    model = compiled()
    save_checkpoint(tmp_path / LAST, model, {"epoch": 1})
    before = (tmp_path / LAST).read_bytes()

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(ResourceError, match="No space left"):
        save_checkpoint(tmp_path / LAST, model, {"epoch": 2})
    assert (tmp_path / LAST).read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [LAST]


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    model = compiled()
    save_checkpoint(tmp_path / LAST, model, {"epoch": 1})
    model.trainable_variables[0].assign(np.full((3, 3, 3, 4), np.nan))
    with pytest.raises(KcalcError, match=r"TRAIN_NONFINITE.*first/kernel"):
        save_checkpoint(tmp_path / LAST, model, {"epoch": 2})
    assert load_checkpoint(tmp_path / LAST, compiled()) == {"epoch": 1}


# Validation figures.


def test_validation_figures_are_pooled_over_all_pixels():
    # Samples of 1 x 4 pixels whose "network" returns its input as probabilities.
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    probabilities = np.array([[0.9, 0.8, 0.5, 0.1], [0.6, 0.2, 0.2, 0.2]])
    truth = np.array([[1, 0, 1, 1], [0, 0, 0, 0]])
    candidates = np.array([[1, 1, 1, 1], [0, 1, 1, 1]])
    batch = [
        a.reshape(2, 1, 4, 1).astype(np.float32)
        for a in (probabilities, truth, candidates)
    ]
    data = tf.data.Dataset.from_tensor_slices(tuple(batch)).batch(1)
    loss = keras.losses.MeanAbsoluteError()
    figures = pooled_validation(data, loss, 0.5)(model)
    # Sample means of the error: (0.1 + 0.8 + 0.5 + 0.9) / 4 and (0.6 + 3 x 0.2) / 4.
    assert figures["val_loss"] == pytest.approx((0.575 + 0.3) / 2)
    # 2 hits, 3 predicted with the cut (4 without), 3 true.
    assert figures["val_f1"] == pytest.approx(4 / 6)
    assert figures["val_precision"] == pytest.approx(2 / 3)
    assert figures["val_recall"] == pytest.approx(2 / 3)
    assert figures["val_f1_uncut"] == pytest.approx(4 / 7)


def test_figures_of_nothing_are_one():
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    nothing = np.zeros((1, 1, 4, 1), np.float32)
    data = tf.data.Dataset.from_tensors((nothing, nothing, nothing))
    figures = pooled_validation(data, keras.losses.MeanAbsoluteError(), 0.5)(model)
    assert figures == {
        "val_loss": 0.0,
        "val_f1": 1.0,
        "val_precision": 1.0,
        "val_recall": 1.0,
        "val_f1_uncut": 1.0,
    }


def test_averaged_weights_are_in_the_model_only_inside_the_block():
    keras.utils.set_random_seed(0)
    model = compiled()
    x, y = np.ones((2, 8, 8, 3), np.float32), np.ones((2, 8, 8, 1), np.float32)
    for _ in range(3):
        model.train_on_batch(x, y)
    raw = values(model)
    with averaged_weights(model):
        inside = values(model)
    for before, after in zip(raw, values(model), strict=True):
        np.testing.assert_array_equal(before, after)
    assert any((a != b).any() for a, b in zip(raw, inside, strict=True))


# Schedules, configuration, strategy.


def rate_at(optimizer: keras.optimizers.Optimizer, step: int) -> float:
    optimizer.iterations.assign(step)
    return float(optimizer.learning_rate)


def test_the_papers_rate_falls_by_one_percent_every_2000_steps():
    sgd = momentum_sgd(OptimizerConfig(1e-3, decay_rate=0.99, decay_steps=2000))
    assert sgd.momentum == 0.9
    expected = {0: 1e-3, 1999: 1e-3, 2000: 0.99e-3, 6000: 1e-3 * 0.99**3}
    for step, rate in expected.items():
        assert rate_at(sgd, step) == pytest.approx(rate, rel=1e-5)


def test_the_cosine_rate_warms_up_and_ends_at_a_hundredth():
    adam = cosine_adam(OptimizerConfig(0.1, warmup_steps=10), total_steps=110)
    assert rate_at(adam, 5) == pytest.approx(0.05, rel=1e-5)
    assert rate_at(adam, 10) == pytest.approx(0.1, rel=1e-5)
    assert rate_at(adam, 60) == pytest.approx(0.0505, rel=1e-5)
    assert rate_at(adam, 110) == pytest.approx(0.001, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: TrainingConfig(0, 1), "epochs must be above 0"),
        (lambda: TrainingConfig(1, 1, batch_size=0), "batch_size must be above 0"),
        (lambda: OptimizerConfig(0.0), "learning_rate must be above 0"),
        (lambda: OptimizerConfig(0.1, momentum=1.0), "below 1. Received: momentum=1.0"),
        (lambda: OptimizerConfig(0.1, ema_momentum=2.0), "ema_momentum must be"),
        (lambda: SliceData(validation_slices=0), "validation_slices must be above 0"),
        (lambda: make_recipe(threshold=1.0), "threshold must lie between 0 and 1"),
    ],
)
def test_impossible_configurations_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_functions_of_a_recipe_are_recorded_by_name_and_arguments():
    plain = recipe_to_dict(make_recipe(build_model=partial(build_model, dropout=0.1)))
    assert plain["build_loss"] == f"{__name__}.build_loss"
    assert plain["build_model"] == {
        "function": f"{__name__}.build_model",
        "arguments": [],
        "keywords": {"dropout": 0.1},
    }
    assert plain["build_optimizer"]["function"].endswith("schedules.cosine_adam")
    assert plain["build_optimizer"]["arguments"][0]["learning_rate"] == 0.01


def test_one_device_needs_no_mirroring_and_strategies_are_shared():
    strategy = training_strategy(["CPU:0"])
    assert strategy.num_replicas_in_sync == 1
    assert training_strategy(["CPU:0"]) is strategy


_TWO_DEVICES = """
import sys
import keras
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
logical = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, logical)
sys.path.insert(0, sys.argv[1])
import test_training as t
from functools import partial
from pathlib import Path
here = Path(sys.argv[2])
store = t.write_store(here / "cases.h5")
# Adam would enlarge the rounding noise of the bias before the normalisation.
recipe = t.make_recipe(
    build_model=partial(t.build_model, dropout=0.0),
    build_optimizer=partial(t.momentum_sgd, t.OptimizerConfig(0.05, ema_momentum=0.5)),
)
one, two = (
    t.fit(recipe, store=store, out=here / str(len(names)), devices=names)
    for names in (["CPU:0"], ["CPU:0", "CPU:1"])
)
assert abs(one.last["loss"] - two.last["loss"]) < 1e-5, (one.last, two.last)
for a, b in zip(t.values(one.model), t.values(two.model), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)
"""


@pytest.mark.slow
def test_two_devices_train_the_weights_of_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _TWO_DEVICES, str(Path(__file__).parent), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_run_can_begin_with_the_weights_of_another(store: CaseStore, tmp_path: Path):
    first = fit(make_recipe(), store=store, out=tmp_path / "first", smoke=True)
    second = fit(
        make_recipe(),
        store=store,
        out=tmp_path / "second",
        smoke=True,
        initial_weights=first.weights,
    )
    record = json.loads(second.record.read_text())
    assert len(record["initial_weights_sha256"]) == 64
    with pytest.raises(InputError, match=r"RUN_DIFFERS.*whole and of the network"):
        fit(
            make_recipe(),
            store=store,
            out=tmp_path / "third",
            smoke=True,
            initial_weights=first.record,
        )
    with pytest.raises(InputError, match=r"RUN_MISSING.*No such file"):
        fit(
            make_recipe(),
            store=store,
            out=tmp_path / "fourth",
            smoke=True,
            initial_weights=tmp_path / "absent.weights.h5",
        )
