"""CohenKappa: scikit-learn's number from batches, eagerly, in graphs and in fit."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from kcalc.metrics import CohenKappa
from tests.two_replicas import numbers_from

WEIGHTINGS = (None, "linear", "quadratic")
RNG = np.random.default_rng(7)
TRUTH = RNG.integers(0, 5, 200)
FOUND = np.clip(TRUTH + RNG.integers(-1, 2, 200), 0, 4)
WEIGHTS = RNG.uniform(0, 3, 200)


def kappa_of(truth, found, sample_weight=None, **arguments) -> float:
    """Return the metric of one batch of class numbers."""
    metric = CohenKappa(5, sparse_labels=True, **arguments)
    metric.update_state(truth, found, sample_weight=sample_weight)
    return float(metric.result())


@pytest.mark.parametrize("weightage", WEIGHTINGS)
@pytest.mark.parametrize("sample_weight", [None, WEIGHTS])
def test_kappa_of_batches_is_that_of_scikit_learn(weightage, sample_weight):
    metric = CohenKappa(5, weightage=weightage, sparse_labels=True)
    for part in np.array_split(np.arange(200), 7):
        weights = None if sample_weight is None else sample_weight[part]
        metric.update_state(TRUTH[part], FOUND[part], sample_weight=weights)
    expected = cohen_kappa_score(
        TRUTH, FOUND, weights=weightage, sample_weight=sample_weight
    )
    assert float(metric.result()) == pytest.approx(expected, abs=2e-6)
    metric.reset_state()
    assert float(metric.result()) == 0.0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30),
    st.sampled_from(WEIGHTINGS),
)
def test_kappa_is_symmetric_and_at_most_one(pairs, weightage):
    truth, found = np.array(pairs).T
    got = kappa_of(truth, found, weightage=weightage)
    assert got <= 1 + 1e-6
    assert kappa_of(found, truth, weightage=weightage) == pytest.approx(got, abs=1e-5)
    if len({*truth.tolist(), *found.tolist()}) > 1:
        expected = cohen_kappa_score(truth, found, labels=range(5), weights=weightage)
        assert got == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("weightage", WEIGHTINGS)
def test_kappa_that_is_nothing_by_nothing_is_zero(weightage):
    assert float(CohenKappa(3, weightage=weightage).result()) == 0.0
    assert kappa_of([2, 2, 2], [2, 2, 2], weightage=weightage) == 0.0


def test_full_agreement_is_one_and_agreement_by_chance_zero():
    assert kappa_of([0, 1, 2], [0, 1, 2]) == 1.0
    assert kappa_of([0, 0, 1, 1], [0, 1, 0, 1]) == 0.0


def test_scores_and_one_hot_labels_say_the_same_as_numbers():
    one_hot, scores = np.eye(5)[TRUTH], np.eye(5)[FOUND] * 0.3 + 0.1
    expected = kappa_of(TRUTH, FOUND, weightage="linear")
    metric = CohenKappa(5, weightage="linear")
    metric.update_state(one_hot, scores)
    assert float(metric.result()) == expected
    assert kappa_of(TRUTH[:, None], scores, weightage="linear") == expected
    assert kappa_of(TRUTH[:, None], FOUND[:, None], weightage="linear") == expected


def test_reals_are_rounded_and_two_classes_cut_at_one_half():
    shifted = FOUND + RNG.uniform(-0.4, 0.4, 200)
    got = kappa_of(TRUTH, shifted, weightage="quadratic", regression=True)
    assert got == kappa_of(TRUTH, FOUND, weightage="quadratic")
    two = CohenKappa(2, sparse_labels=True, regression=True)
    two.update_state([0, 0, 1, 1], np.array([[0.1], [0.5], [0.51], [3.0]]))
    assert float(two.result()) == 1.0


def test_maps_of_pixels_are_taken_with_weights_by_case_or_pixel():
    truth, found = TRUTH.reshape(2, 10, 10), FOUND.reshape(2, 10, 10)
    assert kappa_of(truth, np.eye(5)[found]) == kappa_of(TRUTH, FOUND)
    by_case = np.repeat([1.0, 3.0], 100)
    expected = cohen_kappa_score(TRUTH, FOUND, sample_weight=by_case)
    for weights in ([1.0, 3.0], by_case.reshape(2, 10, 10)):
        got = kappa_of(truth, found, sample_weight=weights)
        assert got == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("truth", "found"),
    [
        ([0, 5], np.array([0, 1])),
        ([0, -1], np.array([0, 1])),
        ([0, 1], np.array([7, 1])),
        ([0, 1], np.array([[1, 0, 0, 0, 0], [0, math.nan, 0, 0, 0]])),
    ],
)
def test_a_class_that_is_none_makes_the_value_nan(truth, found):
    assert math.isnan(kappa_of(truth, found))


def test_kappa_runs_in_a_graph_of_unknown_sizes():
    metric = CohenKappa(5, weightage="linear", sparse_labels=True)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None, 5], tf.float32),
            tf.TensorSpec([None], tf.float32),
        ]
    )
    def step(truth, scores, weights):
        metric.update_state(truth, scores, sample_weight=weights)
        return metric.result()

    for part in np.array_split(np.arange(200), 3):
        got = step(TRUTH[part], np.eye(5)[FOUND[part]], WEIGHTS[part])
    expected = kappa_of(TRUTH, FOUND, WEIGHTS, weightage="linear")
    assert float(got) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_kappa_is_a_metric_of_a_compiled_model(jit_compile, tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Softmax()])
    model.compile(
        loss="sparse_categorical_crossentropy",
        metrics=[CohenKappa(5, weightage="linear", sparse_labels=True)],
        weighted_metrics=[CohenKappa(5, sparse_labels=True, name="weighted")],
        jit_compile=jit_compile,
    )
    scores = 4.0 * np.eye(5)[FOUND]
    got = model.evaluate(
        scores, TRUTH, sample_weight=WEIGHTS, batch_size=32, return_dict=True, verbose=0
    )
    expected = kappa_of(TRUTH, FOUND, weightage="linear")
    assert got["cohen_kappa"] == pytest.approx(expected, abs=1e-5)
    assert got["weighted"] == pytest.approx(kappa_of(TRUTH, FOUND, WEIGHTS), abs=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(
        scores, TRUTH, sample_weight=WEIGHTS, batch_size=32, return_dict=True, verbose=0
    )["cohen_kappa"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_two_replicas_give_the_kappa_of_one():
    one, two = numbers_from("""
        from kcalc.metrics import CohenKappa

        truth = np.arange(64) % 5
        scores = 4.0 * np.eye(5)[np.roll(truth, 1) % 3]
        values = []
        for strategy in strategies:
            with strategy.scope():
                model = keras.Sequential([keras.Input((5,)), keras.layers.Softmax()])
                kappa = CohenKappa(5, weightage="linear", sparse_labels=True)
                model.compile(loss="sparse_categorical_crossentropy", metrics=[kappa])
            values.append(model.evaluate(scores, truth, batch_size=16, verbose=0)[1])
        print(*values)
    """)
    assert one == pytest.approx(two, abs=1e-6)
    assert one != 0


def test_the_configuration_survives():
    metric = CohenKappa(4, "k", "quadratic", sparse_labels=True, regression=True)
    config = metric.get_config()
    again = CohenKappa.from_config(config)
    assert again.get_config() == config
    assert (config["name"], config["weightage"]) == ("k", "quadratic")
    saved = keras.saving.serialize_keras_object(metric)
    assert saved["registered_name"] == "kcalc>CohenKappa"
    assert keras.saving.deserialize_keras_object(saved).get_config() == config


def test_the_state_is_float32_under_mixed_precision():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        metric = CohenKappa(5, sparse_labels=True)
        scores = np.eye(5, dtype=np.float16)[np.tile(FOUND, 20)]
        metric.update_state(np.tile(TRUTH, 20), scores)
        expected = cohen_kappa_score(TRUTH, FOUND)
        assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_classes": 1}, "at least 2"),
        ({"num_classes": 3, "weightage": "cubic"}, "weightage must be"),
    ],
)
def test_what_the_metric_refuses(arguments, words):
    with pytest.raises(ValueError, match=words):
        CohenKappa(**arguments)


@pytest.mark.parametrize(
    ("sparse", "truth", "found", "words"),
    [
        (False, [0, 1], np.eye(3)[:2], "sparse_labels=True"),
        (True, [0, 1], np.array([0.2, 0.9]), "regression=True"),
        (True, [0, 1], np.eye(2), "scores of each class"),
    ],
)
def test_shapes_that_could_mean_two_things_are_refused(sparse, truth, found, words):
    with pytest.raises(ValueError, match=words):
        CohenKappa(3, sparse_labels=sparse).update_state(truth, found)


@pytest.mark.parametrize(
    ("sample_weight", "expected"),
    [(None, 0.61904764), ([1, 1, 2, 5, 10, 2, 3, 3], 0.37209308)],
)
def test_the_example_of_tensorflow_addons_gives_its_numbers(sample_weight, expected):
    # Docstring of tensorflow_addons.metrics.CohenKappa, version 0.23.0.
    truth = np.array([4, 4, 3, 4, 2, 4, 1, 1], np.int32)
    found = np.array([4, 4, 3, 4, 4, 2, 1, 1], np.int32)
    assert kappa_of(truth, found, sample_weight) == pytest.approx(expected, abs=1e-6)
