"""Tests of kcalc.losses.DeepSupervision."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kcalc.losses import DeepSupervision, MaskedBinaryCrossentropy

MIDDLE, WHOLE = (slice(1, 3),), (slice(0, 4),)


def _model() -> keras.Model:
    """Gives its input as every output, ``main`` of the two middle places alone."""
    inputs = keras.Input((4, 1))
    return keras.Model(
        inputs,
        {
            "main": keras.layers.Cropping1D(1, name="main")(inputs),
            "aux_2": keras.layers.Identity(name="aux_2")(inputs),
            "aux_3": keras.layers.Identity(name="aux_3")(inputs),
        },
    )


def _objective(**kwargs: Any) -> DeepSupervision:
    windows = {"main": MIDDLE, "aux_2": WHOLE, "aux_3": WHOLE}
    return DeepSupervision(MaskedBinaryCrossentropy(), windows, **kwargs)


def _total(model: keras.Model, objective: DeepSupervision, label: list[int]) -> float:
    prediction = np.array([0.5, 0.8, 0.8, 0.5], "float32").reshape(1, 4, 1)
    targets = objective.targets(np.array(label, "uint8").reshape(1, 4, 1))
    return float(model.test_on_batch(prediction, targets)[0])


def _compiled(objective: DeepSupervision) -> keras.Model:
    model = _model()
    model.compile("sgd", loss=objective.losses, loss_weights=objective.loss_weights)
    return model


def test_the_sum_over_heads_is_the_hand_worked_one() -> None:
    objective = _objective(auxiliary_weight=0.25)
    model = _compiled(objective)
    label = [255, 1, 0, 0]
    # main: (-log 0.8 - log 0.2) / 2 = 0.916291;
    # an auxiliary one: (-log 0.8 - log 0.2 - log 0.5) / 3 = 0.841910.
    expected = 0.916291 + 0.25 * 2 * 0.841910
    assert _total(model, objective, label) == pytest.approx(expected, abs=1e-5)
    objective.auxiliary_weight.assign(0.0)
    assert _total(model, objective, label) == pytest.approx(0.916291, abs=1e-5)


def test_one_positive_weight_is_shared_by_all_heads() -> None:
    objective = _objective()
    model = _compiled(objective)
    before = _total(model, objective, [0, 1, 0, 0])
    objective.loss.positive_weight.assign(9.0)
    # main: (9 * 0.223144 + 1.609438) / 10 = 0.361773;
    # an auxiliary one: (9 * 0.223144 + 1.609438 + 2 * 0.693147) / 12 = 0.417002.
    after = _total(model, objective, [0, 1, 0, 0])
    assert before != pytest.approx(after)
    assert after == pytest.approx(0.361773 + 2 * 0.417002, abs=1e-5)


def test_targets_are_the_windows_of_the_label() -> None:
    label = np.arange(2 * 4 * 5).reshape(2, 4, 5, 1)
    objective = DeepSupervision(
        MaskedBinaryCrossentropy(),
        {"main": (slice(1, 3), slice(2, 4)), "aux": (slice(0, 4), slice(0, 5))},
    )
    targets = objective.targets(label)
    assert targets["main"][0, :, :, 0].tolist() == [[7, 8], [12, 13]]
    assert (targets["aux"] == label).all()


def test_the_weights_name_every_output_and_leave_main_alone() -> None:
    objective = _objective(auxiliary_weight=0.5)
    assert set(objective.losses) == set(objective.loss_weights)
    assert objective.loss_weights["main"] == 1.0
    assert objective.loss_weights["aux_3"] is objective.auxiliary_weight


def test_a_model_trained_so_can_be_saved_and_loaded(tmp_path: Any) -> None:
    objective = _objective()
    model = _compiled(objective)
    model.save(tmp_path / "model.keras")
    inputs = np.ones((1, 4, 1), "float32")
    for compiled in (False, True):
        loaded = keras.models.load_model(tmp_path / "model.keras", compile=compiled)
        assert sorted(loaded(inputs)) == ["aux_2", "aux_3", "main"]


def test_windows_without_main_are_refused() -> None:
    with pytest.raises(ValueError, match=r"One output must be 'main'.*\('aux_2',\)"):
        DeepSupervision(MaskedBinaryCrossentropy(), {"aux_2": WHOLE})


@pytest.mark.parametrize("weight", [-0.1, float("nan")])
def test_a_negative_weight_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="auxiliary_weight must be at least 0"):
        _objective(auxiliary_weight=weight)
