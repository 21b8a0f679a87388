"""Tests of kcalc.testing.contracts: each broken rule is found and named."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kcalc.testing import check_layer, check_loss, check_model

SHAPE = (2, 6, 8, 4)


@keras.saving.register_keras_serializable(package="kcalc_tests")
class _Scale(keras.layers.Layer):  # type: ignore[misc]
    """Multiply by one weight a channel; the base of the broken layers below."""

    def __init__(self, factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones")

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale * self.factor

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="kcalc_tests")
class _ChangesItsArgument(_Scale):
    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.factor = self.factor + 1.0


@keras.saving.register_keras_serializable(package="kcalc_tests")
class _ForgetsItsArgument(_Scale):
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": 1.0}


@keras.saving.register_keras_serializable(package="kcalc_tests")
class _TellsAnotherShape(_Scale):
    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], 7)


@keras.saving.register_keras_serializable(package="kcalc_tests")
class _CutsTheGradient(_Scale):
    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.offset = self.add_weight(shape=(input_shape[-1],), name="offset")

    def call(self, inputs: Any) -> Any:
        return super().call(inputs) + 0.0 * self.offset


@keras.saving.register_keras_serializable(package="kcalc_tests")
class _GivesInfinity(_Scale):
    def call(self, inputs: Any) -> Any:
        return inputs * self.scale / 0.0


@keras.saving.register_keras_serializable(package="kcalc_tests")
class _AlwaysFloat32(_Scale):
    def call(self, inputs: Any) -> Any:
        return ops.cast(super().call(inputs), "float32")


class _NotRegistered(_Scale):
    pass


def test_a_sound_layer_passes() -> None:
    layer = check_layer(lambda **k: _Scale(2.0, **k), SHAPE, SHAPE)
    assert layer.built


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (_ChangesItsArgument, r"Building a layer must leave the config .* factor 2\.0"),
        (_TellsAnotherShape, "compute_output_shape must give"),
        (_CutsTheGradient, r"must reach every trainable weight.*offset"),
        (_GivesInfinity, "The output of finite input must be finite"),
        (_AlwaysFloat32, r"output must be bfloat16\. Found: float32"),
    ],
)
def test_a_broken_layer_is_found(broken: Any, rule: str) -> None:
    with pytest.raises(AssertionError, match=rule), np.errstate(divide="ignore"):
        check_layer(lambda **k: broken(2.0, **k), SHAPE, SHAPE)


def test_a_config_that_forgets_an_argument_is_found() -> None:
    with pytest.raises(AssertionError, match="Unknown sizes must give the eager"):
        check_layer(lambda **k: _ForgetsItsArgument(2.0, **k), SHAPE, SHAPE)


def test_a_layer_that_is_not_registered_is_found() -> None:
    with pytest.raises(TypeError, match="_NotRegistered"):
        check_layer(lambda **k: _NotRegistered(**k), SHAPE, SHAPE)


def test_another_output_shape_than_expected_is_found() -> None:
    with pytest.raises(AssertionError, match=r"must have shape \(2, 6, 8, 5\)"):
        check_layer(lambda **k: _Scale(**k), SHAPE, (2, 6, 8, 5))


@keras.saving.register_keras_serializable(package="kcalc_tests")
class _PooledDice(keras.losses.Loss):  # type: ignore[misc]
    """One ratio for the batch: a sample's value depends on the others."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        ratio = 1.0 - ops.sum(y_true * y_pred) / (ops.sum(y_true + y_pred) + 1.0)
        return ratio + ops.zeros(ops.shape(y_true)[:1])


@keras.saving.register_keras_serializable(package="kcalc_tests")
class _NakedLogarithm(keras.losses.Loss):  # type: ignore[misc]
    """No guard at a prediction of 0."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return -ops.mean(ops.log(ops.cast(y_pred, "float32")), axis=(1, 2, 3))


@keras.saving.register_keras_serializable(package="kcalc_tests")
class _OneAPixel(keras.losses.Loss):  # type: ignore[misc]
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.square(y_true - y_pred)


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (_PooledDice, "A sample by itself must give"),
        (_NakedLogarithm, "must be finite at the edges"),
        (_OneAPixel, "one float32 value a sample"),
    ],
)
def test_a_broken_loss_is_found(broken: Any, rule: str) -> None:
    rng = np.random.default_rng(0)
    truth, prediction = rng.random((3, 4, 4, 1)) > 0.6, rng.random((3, 4, 4, 1))
    with pytest.raises(AssertionError, match=rule):
        check_loss(broken(), truth, prediction)


def _one_layer_model(
    shape: tuple[int | None, ...], activation: str = "sigmoid", **kwargs: Any
) -> keras.Model:
    inputs = keras.Input(shape)
    layer = keras.layers.Conv2D(1, 3, padding="same", activation=activation, **kwargs)
    return keras.Model(inputs, layer(inputs))


def test_a_sound_model_passes() -> None:
    check_model(
        lambda s: _one_layer_model(s, dtype="float32"), (2, 8, 8, 3), (2, 8, 8, 1)
    )


def test_a_model_that_gives_no_probabilities_is_found() -> None:
    with pytest.raises(AssertionError, match=r"probabilities in \[0, 1\]"):
        check_model(lambda s: _one_layer_model(s, "linear"), (2, 8, 8, 3), (2, 8, 8, 1))


def test_a_model_of_constant_output_is_found() -> None:
    with pytest.raises(AssertionError, match="must depend on the input"):
        check_model(
            lambda s: _one_layer_model(s, kernel_initializer="zeros"),
            (2, 8, 8, 3),
            (2, 8, 8, 1),
        )


def test_a_head_that_loses_float32_under_mixed_precision_is_found() -> None:
    with pytest.raises(AssertionError, match=r"must be float32\. Found: bfloat16"):
        check_model(_one_layer_model, (2, 8, 8, 3), (2, 8, 8, 1))


def _two_outputs(shape: Any) -> keras.Model:
    inputs = keras.Input(shape)
    outputs = {
        name: keras.layers.Conv2D(
            1, size, activation="sigmoid", dtype="float32", name=name
        )(inputs)
        for name, size in (("first", 1), ("second", 3))
    }
    return keras.Model(inputs, outputs)


def test_a_model_of_several_outputs_is_checked_in_each() -> None:
    shapes = {"first": (2, 6, 8, 1), "second": (2, 4, 6, 1)}
    check_model(_two_outputs, SHAPE, shapes)
    with pytest.raises(AssertionError, match=r"'second': \(2, 6, 8, 1\)"):
        check_model(_two_outputs, SHAPE, {**shapes, "second": (2, 6, 8, 1)})
