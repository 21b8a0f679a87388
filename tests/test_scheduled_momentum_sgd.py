"""Tests of kcalc.optimizers.ScheduledMomentumSGD."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kcalc.optimizers import ScheduledMomentumSGD
from kcalc.training import StepChange
from kcalc.training.schedules import stepped_sgd


def _rise(gradients: list[float], optimizer: keras.optimizers.Optimizer) -> list[float]:
    """Value of a variable that starts at 1 after each step with these gradients."""
    variable = keras.Variable([1.0])
    values = []
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor([gradient])], [variable])
        values.append(float(variable[0]))
    return values


def test_velocity_and_value_are_the_hand_worked_ones() -> None:
    # Steps 0 and 1 with momentum 0.5, then 0.9; rate 0.1, gradient 1.
    # v: -0.1, -0.15, -0.15 * 0.9 - 0.1 = -0.235.
    momentum = StepChange(0.5, 0.9, 1).of_steps(2)
    values = _rise([1.0, 1.0, 1.0], ScheduledMomentumSGD(0.1, momentum))
    np.testing.assert_allclose(values, [0.9, 0.75, 0.515], rtol=1e-6)


def test_rate_and_momentum_change_at_the_same_step() -> None:
    # After one epoch of two steps the rate is 0.01 and the momentum 0.9:
    # v: -0.1, -0.15, -0.15 * 0.9 - 0.01 = -0.145.
    optimizer = stepped_sgd(StepChange(0.1, 0.01, 1), StepChange(0.5, 0.9, 1), 2)
    values = _rise([1.0, 1.0, 1.0], optimizer)
    np.testing.assert_allclose(values, [0.9, 0.75, 0.605], rtol=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_with_a_constant_momentum_it_is_keras_sgd(nesterov: bool) -> None:
    gradients = [0.3, -1.0, 2.0, 0.5]
    arguments: Any = {"nesterov": nesterov, "weight_decay": 0.01, "clipnorm": 0.9}
    ours = _rise(gradients, ScheduledMomentumSGD(0.1, 0.9, **arguments))
    theirs = _rise(gradients, keras.optimizers.SGD(0.1, 0.9, **arguments))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_without_momentum_it_is_plain_descent() -> None:
    np.testing.assert_allclose(
        _rise([1.0, 2.0], ScheduledMomentumSGD(0.1, 0.0)), [0.9, 0.7], rtol=1e-6
    )


def test_the_papers_schedule_changes_after_exactly_ten_epochs() -> None:
    steps = 632
    optimizer = stepped_sgd(StepChange(0.1, 0.01, 10), StepChange(0.9, 0.99, 10), steps)
    found = []
    for step in (0, 10 * steps - 1, 10 * steps, 60 * steps):
        optimizer.iterations.assign(step)
        found.append(
            (float(optimizer.learning_rate), float(optimizer.current_momentum))
        )
    np.testing.assert_allclose(
        found, [(0.1, 0.9), (0.1, 0.9), (0.01, 0.99), (0.01, 0.99)], rtol=1e-6
    )


def test_a_resumed_run_takes_the_same_steps() -> None:
    def new() -> ScheduledMomentumSGD:
        return stepped_sgd(StepChange(0.1, 0.01, 1), StepChange(0.5, 0.9, 1), 3)

    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(6, 4)).astype("float32")

    def run(optimizer: Any, variable: Any, part: np.ndarray) -> None:
        for gradient in part:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])

    whole, variable = new(), keras.Variable(np.ones(4, "float32"))
    run(whole, variable, gradients)
    for stop in range(1, 6):
        first, kept = new(), keras.Variable(np.ones(4, "float32"))
        run(first, kept, gradients[:stop])
        second, resumed = new(), keras.Variable(np.asarray(kept))
        second.build([resumed])
        for old, fresh in zip(first.variables, second.variables, strict=True):
            fresh.assign(np.asarray(old))
        run(second, resumed, gradients[stop:])
        np.testing.assert_array_equal(np.asarray(resumed), np.asarray(variable))


def test_it_survives_keras_files_with_both_schedules(tmp_path: Any) -> None:
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(
        stepped_sgd(StepChange(0.1, 0.01, 1), StepChange(0.5, 0.9, 1), 2), "mse"
    )
    x, y = np.ones((4, 2)), np.ones((4, 1))
    model.fit(x, y, batch_size=4, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, ScheduledMomentumSGD)
    for one in (model, loaded):
        one.fit(x, y, batch_size=4, epochs=3, verbose=0)
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert float(loaded.optimizer.current_momentum) == pytest.approx(0.9)


def test_a_number_survives_the_config() -> None:
    optimizer = ScheduledMomentumSGD(0.1, 0.7, nesterov=True)
    again = ScheduledMomentumSGD.from_config(optimizer.get_config())
    assert (again.momentum, again.nesterov) == (0.7, True)


@pytest.mark.parametrize("momentum", [1.0, -0.1, float("nan")])
def test_a_momentum_outside_zero_and_one_is_refused(momentum: float) -> None:
    with pytest.raises(ValueError, match=r"momentum must be at least 0 and below 1"):
        ScheduledMomentumSGD(0.1, momentum)
