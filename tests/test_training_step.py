"""The step: parts of a batch, devices, precision, what is refused and what stops."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_training import (
    ADAM,
    arrays,
    build_loss,
    build_model,
    make_recipe,
    values,
    write_store,
)
from two_replicas import numbers_from

from kcalc import KcalcError
from kcalc.data import CaseStore
from kcalc.errors import ResourceError, UsageError
from kcalc.losses import (
    DeepSupervision,
    MaskedBinaryCrossentropy,
    PooledOverBatch,
    SoftIoU,
)
from kcalc.training import TrainingConfig, fit
from kcalc.training.checkpoint import LAST, load_checkpoint, save_checkpoint
from kcalc.training.epochs import has_ended
from kcalc.training.keeper import is_better
from kcalc.training.memory import enough_memory, step_bytes
from kcalc.training.objective import sample_values
from kcalc.training.schedules import cosine_adam
from kcalc.training.step import TrainStep
from kcalc.training.strategy import training_strategy
from kcalc.training.validation import averaged_weights


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    return write_store(tmp_path_factory.mktemp("store") / "cases.h5")


def small_model(scale: float = 1.0) -> keras.Model:
    """A network without state: one weight a channel and a bias."""
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(1, 1, activation="sigmoid", name="only")(inputs)
    model = keras.Model(inputs, x)
    model.get_layer("only").kernel.assign(scale * np.ones((1, 1, 3, 1)))
    return model


def step_of(
    model: keras.Model, objective: object = None, **options: object
) -> TrainStep:
    model.compile(keras.optimizers.SGD(0.5), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    strategy = training_strategy(["CPU:0"])
    return TrainStep(model, objective or build_loss(), strategy, **options)  # type: ignore[arg-type]


def batch(samples: int = 4) -> tuple[tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(3)
    image = rng.random((samples, 4, 4, 3), np.float32)
    label = (rng.random((samples, 4, 4, 1)) > 0.5).astype(np.float32)
    return tf.constant(image), tf.constant(label)


# Parts of a batch.


def test_a_step_is_that_of_keras() -> None:
    one, other = small_model(), small_model()
    other.compile(keras.optimizers.SGD(0.5), build_loss(), jit_compile=False)
    expected = other.train_on_batch(*batch())
    loss, asked = step_of(one)(batch())
    assert loss == pytest.approx(float(expected), abs=1e-6)
    assert asked is False
    for left, right in zip(values(one), values(other), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_micro_batches_make_the_step_of_the_whole_batch(reduction: str) -> None:
    losses, weights = [], []
    for parts in (1, 4):
        model = small_model()
        objective = MaskedBinaryCrossentropy(reduction=reduction)
        losses.append(step_of(model, objective, micro_batches=parts)(batch())[0])
        weights.append(values(model))
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    for left, right in zip(*weights, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


def test_a_loss_that_is_a_sum_is_summed_over_the_batch() -> None:
    model = small_model()
    image, label = batch()
    expected = MaskedBinaryCrossentropy(reduction="sum")(label, model(image))
    loss, _ = step_of(model, MaskedBinaryCrossentropy(reduction="sum"))((image, label))
    assert loss == pytest.approx(float(expected), rel=1e-5)


def test_the_objective_of_several_outputs_is_the_weighted_sum() -> None:
    whole, middle = slice(None), slice(1, 3)
    objective = DeepSupervision(
        MaskedBinaryCrossentropy(),
        {"main": (middle, middle), "aux": (whole, whole)},
        auxiliary_weight=0.25,
    )
    label = batch()[1]
    half = tf.fill((4, 4, 4, 1), 0.5)
    outputs = {"main": tf.fill((4, 2, 2, 1), 1.0 - 1e-7), "aux": half}
    main = MaskedBinaryCrossentropy(reduction=None)(label[:, 1:3, 1:3], outputs["main"])
    found = sample_values(objective, label, outputs)
    np.testing.assert_allclose(found, main + 0.25 * np.log(2), rtol=1e-5)


def test_weight_decay_of_layers_counts_once_whatever_the_parts() -> None:
    weights = []
    for parts in (1, 2):
        inputs = keras.Input((4, 4, 3))
        layer = keras.layers.Conv2D(
            1, 1, kernel_initializer="ones", kernel_regularizer="l2"
        )
        model = keras.Model(inputs, keras.layers.Activation("sigmoid")(layer(inputs)))
        step_of(model, micro_batches=parts)(batch())
        weights.append(values(model))
    for left, right in zip(*weights, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)


def test_xla_makes_the_same_step() -> None:
    one, other = small_model(), small_model()
    loss, _ = step_of(one)(batch())
    compiled, _ = step_of(other, xla=True)(batch())
    assert loss == pytest.approx(compiled, abs=1e-5)
    for left, right in zip(values(one), values(other), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


def test_a_loss_pooled_over_the_batch_is_that_of_the_batch_as_one_sample() -> None:
    image, label = batch()
    loss = SoftIoU()
    model = small_model()
    expected = loss(
        tf.reshape(label, (1, 16, 4, 1)), tf.reshape(model(image), (1, 16, 4, 1))
    )
    found, _ = step_of(model, PooledOverBatch(loss))((image, label))
    assert found == pytest.approx(float(expected), rel=1e-5)


# Devices.


def test_two_devices_with_micro_batches_make_the_step_of_one() -> None:
    numbers = numbers_from(
        """
        import sys
        sys.path.insert(0, "tests")
        import test_training_step as t
        from kcalc.training.strategy import training_strategy
        made = []
        for names, parts in ((["CPU:0"], 1), (["CPU:0", "CPU:1"], 2)):
            strategy = training_strategy(names)
            with strategy.scope():
                keras.utils.set_random_seed(1)
                model = t.build_model(0.0)
                model.get_layer("norm").trainable = False
                model.compile(
                    keras.optimizers.SGD(0.5, use_ema=True), jit_compile=False)
                model.optimizer.build(model.trainable_variables)
            data = tf.data.Dataset.from_tensors(t.batch()).repeat()
            source = iter(strategy.experimental_distribute_dataset(data))
            step = t.TrainStep(model, t.build_loss(), strategy, parts)
            losses = [step(next(source), stop=k == 1) for k in range(2)]
            with t.averaged_weights(model):
                averaged = t.values(model)
            made.append((losses, t.values(model) + averaged))
        (one, weights), (two, others) = made
        pairs = list(zip(weights, others, strict=True))
        from kcalc.losses import PooledOverBatch, SoftIoU
        step = t.TrainStep(model, PooledOverBatch(SoftIoU()), strategy)
        try:
            step(next(source))
            refused = 0
        except ValueError as error:
            refused = float("2 replicas" in str(error))
        nan = tf.data.Dataset.from_tensors(
            tuple(float("nan") * part for part in t.batch()))
        step = t.TrainStep(model, t.build_loss(), strategy)
        try:
            step(next(iter(strategy.experimental_distribute_dataset(nan))))
            stopped = 0
        except t.KcalcError as error:
            stopped = float(error.code == "TRAIN_NONFINITE")
        print(
            max(abs(a - b).max() for a, b in pairs), abs(one[1][0] - two[1][0]),
            two[0][1], two[1][1], refused, stopped,
        )
        """.replace("two[0][1], two[1][1]", "float(two[0][1]), float(two[1][1])")
    )
    assert max(numbers[:2]) < 1e-5
    assert numbers[2:] == [0.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"batch_size": 3, "micro_batches": 2}, r"BATCH.*batch_size=3, 1 devices"),
        ({"precision": "mixed_float16"}, r"PRECISION.*needs a GPU"),
        ({"xla": True}, r"XLA.*one GPU.*CPU:0"),
    ],
)
def test_what_a_cpu_cannot_or_should_not_do_is_refused(
    changes: dict[str, object], text: str, store: CaseStore, tmp_path: Path
) -> None:
    training = replace(TrainingConfig(1, 2, batch_size=2), **changes)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=text) as caught:
        fit(make_recipe(training=training), store=store, out=tmp_path)
    assert caught.value.exit_code == 2


def pooled() -> keras.losses.Loss:
    return PooledOverBatch(SoftIoU())


def test_a_pooled_loss_refuses_micro_batches(store: CaseStore, tmp_path: Path) -> None:
    training = TrainingConfig(1, 2, batch_size=2, micro_batches=2)
    recipe = make_recipe(training=training, build_loss=pooled)
    with pytest.raises(UsageError, match=r"POOLED.*2 parts"):
        fit(recipe, store=store, out=tmp_path)


# Precision.


def float16_model() -> tuple[keras.Model, TrainStep]:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs = keras.Input((4, 4, 3))
        x = keras.layers.Conv2D(2, 1, kernel_initializer="ones", name="a")(inputs)
        x = keras.layers.Conv2D(1, 1, dtype="float32", activation="sigmoid")(x)
        model = keras.Model(inputs, x)
        model.compile(cosine_adam(ADAM, 6), jit_compile=False)
        model.optimizer.build(model.trainable_variables)
    finally:
        keras.config.set_dtype_policy("float32")
    return model, TrainStep(model, build_loss(), training_strategy(["CPU:0"]))


def test_float16_scales_the_loss_skips_what_overflows_and_keeps_the_scale(
    tmp_path: Path,
) -> None:
    model, step = float16_model()
    optimizer = model.optimizer
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    for _ in range(3):  # the first has a learning rate of 0
        step(batch())
    optimizer.dynamic_scale.assign(3e38)  # every gradient overflows
    before = values(model)
    loss, _ = step(batch())
    assert np.isfinite(loss)
    for left, right in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(left, right)
    assert float(optimizer.dynamic_scale) == pytest.approx(1.5e38)
    save_checkpoint(tmp_path / LAST, model, {})
    other, _ = float16_model()
    load_checkpoint(tmp_path / LAST, other)
    assert float(other.optimizer.dynamic_scale) == pytest.approx(1.5e38)
    raw = values(model)
    with averaged_weights(model):
        averaged = values(model)
    assert any((a != b).any() for a, b in zip(raw, averaged, strict=True))


def test_float16_stops_once_no_scale_helps() -> None:
    model, step = float16_model()
    image, label = batch()
    model.optimizer.dynamic_scale.assign(0.5)
    model.get_layer("a").kernel.assign(np.full((1, 1, 3, 2), 6e4))  # sums overflow
    with pytest.raises(KcalcError, match="TRAIN_NONFINITE"):
        step((image, label))


def test_bfloat16_trains_with_weights_and_figures_in_float32(
    store: CaseStore, tmp_path: Path
) -> None:
    training = TrainingConfig(1, 2, batch_size=2, precision="mixed_bfloat16")
    result = fit(make_recipe(training=training), store=store, out=tmp_path)
    assert result.model.get_layer("first").compute_dtype == "bfloat16"
    assert {array.dtype.name for array in arrays(result.model.trainable_variables)} == {
        "float32"
    }
    assert np.isfinite(result.last["val_loss"])
    assert keras.config.dtype_policy().name == "float32"


# What stops a run.


class Root(keras.losses.Loss):
    """Finite at 0, where its gradient is not."""

    def call(self, y_true: object, y_pred: object) -> object:
        return tf.sqrt(tf.reduce_mean(y_pred - tf.stop_gradient(y_pred), axis=(1, 2)))


def test_a_gradient_that_is_not_finite_stops_before_it_is_applied() -> None:
    model = small_model()
    step = step_of(model, Root())
    before = values(model)
    with pytest.raises(KcalcError, match="TRAIN_NONFINITE"):
        step(batch())
    for left, right in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(left, right)


class Huge(keras.layers.Layer):
    """Asks for 16 TiB."""

    def call(self, x: object) -> object:
        count = tf.shape(x, out_type=tf.int64)[0] * 2**41
        return x + tf.reduce_sum(tf.random.stateless_uniform((count,), (1, 2)))


def huge_model() -> keras.Model:
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(1, 1, activation="sigmoid")(inputs)
    return keras.Model(inputs, Huge()(x))


def test_out_of_memory_says_what_a_step_needs(store: CaseStore, tmp_path: Path) -> None:
    recipe = make_recipe(build_model=huge_model)
    with pytest.raises(ResourceError) as caught:
        fit(recipe, store=store, out=tmp_path)
    text = str(caught.value)
    assert text.startswith("MEMORY: Training must fit in memory.")
    assert "2 samples of (16, 16, 3) at a time on each of 1 devices" in text
    assert "a tensor of shape[4398046511104] failed" in text
    assert "Raise micro_batches" in text
    assert caught.value.exit_code == 7


def test_memory_of_the_host_is_named_too() -> None:
    model = small_model()
    step_of(model)
    data = tf.data.Dataset.from_tensors(batch())
    with (
        pytest.raises(ResourceError, match=r"4 samples of \(4, 4, 3\).*an allocation"),
        enough_memory(model, data, training_strategy(["CPU:0"]), 1),
    ):
        raise MemoryError


def test_the_least_memory_of_a_step_is_counted() -> None:
    model = small_model()
    model.compile(keras.optimizers.Adam())
    model.optimizer.build(model.trainable_variables)
    # Floats: 4 weights, their gradients and two moments; input 48 and output 16 a
    # sample; of the optimiser a learning rate (4 bytes) and a step (4 or 8 bytes).
    found = step_bytes(model, (2, 4, 4, 3))
    assert 4 * (16 + 2 * 64) + 8 <= found <= 4 * (16 + 2 * 64) + 12


@pytest.mark.parametrize(
    "objective",
    [
        MaskedBinaryCrossentropy,
        SoftIoU,
        pooled,
        build_loss,
        partial(MaskedBinaryCrossentropy, reduction="sum"),
    ],
)
def test_a_batch_without_calcium_gives_a_finite_step(objective: object) -> None:
    model = small_model()
    image, label = batch()
    loss, _ = step_of(model, objective())((image, tf.zeros_like(label)))  # type: ignore[operator]
    assert np.isfinite(loss)
    assert all(np.isfinite(value).all() for value in values(model))


def test_a_batch_without_a_supervised_voxel_changes_nothing() -> None:
    model = small_model()
    before = values(model)
    image, label = batch()
    objective = MaskedBinaryCrossentropy()
    loss, _ = step_of(model, objective)((image, tf.fill(label.shape, 255.0)))
    assert loss == 0.0
    for left, right in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_model_of_batch_normalisation_and_dropout_trains(store: CaseStore) -> None:
    model = build_model()
    before = values(model)
    step_of(model)(
        (tf.ones((2, 8, 8, 3)), tf.ones((2, 8, 8, 1))),
    )
    moved = [(a != b).any() for a, b in zip(before, values(model), strict=True)]
    names = [v.path for v in model.variables]
    still = [name for name, m in zip(names, moved, strict=True) if not m]
    assert still == []


# The best epoch and the end.


def test_a_lower_loss_or_a_higher_f1_is_better_and_equal_ones_are_not() -> None:
    best = {"val_f1": 0.5, "val_loss": 0.4}
    assert is_better({"val_f1": 0.0, "val_loss": 9.0}, None, "val_f1")
    for f1, loss, by, better in (
        (0.6, 0.5, "val_f1", True),
        (0.6, 0.5, "val_loss", False),
        (0.4, 0.3, "val_loss", True),
        (0.5, 0.4, "val_f1", False),
        (0.5, 0.4, "val_loss", False),
    ):
        assert is_better({"val_f1": f1, "val_loss": loss}, best, by) is better


def test_a_run_ends_after_its_epochs_or_when_patience_does() -> None:
    patient = TrainingConfig(9, 1, patience=2)
    best = {"epoch": 3}
    assert not has_ended({"epoch": 0, "best": None}, patient)
    assert not has_ended({"epoch": 4, "best": best}, patient)
    assert has_ended({"epoch": 5, "best": best}, patient)
    assert not has_ended({"epoch": 8, "best": best}, TrainingConfig(9, 1))
    assert has_ended({"epoch": 9, "best": best}, TrainingConfig(9, 1))


@pytest.mark.parametrize("best_by", ["val_f1", "val_loss"])
def test_patience_ends_a_run_with_the_best_epochs_weights(
    best_by: str, store: CaseStore, tmp_path: Path
) -> None:
    def still() -> keras.optimizers.Optimizer:
        return keras.optimizers.SGD(1e-30)

    training = TrainingConfig(9, 1, batch_size=2, best_by=best_by, patience=2)
    model = partial(build_model, dropout=0.0)
    recipe = make_recipe(
        training=training, build_optimizer=still, build_model=partial(frozen, model)
    )
    result = fit(recipe, store=store, out=tmp_path)
    assert (result.best["epoch"], result.last["epoch"]) == (1, 3)
    assert len(result.history) == 3


def frozen(build: partial) -> keras.Model:
    """A network whose normalisation does not change what it gives."""
    model = build()
    model.get_layer("norm").trainable = False
    return model


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"precision": "float16"}, r"precision must be one of .*'mixed_float16'"),
        ({"best_by": "loss"}, "best_by must be one of"),
        ({"patience": 0}, "patience must be above 0"),
        ({"micro_batches": 0}, "micro_batches must be above 0"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        TrainingConfig(1, 1, **changes)  # type: ignore[arg-type]
