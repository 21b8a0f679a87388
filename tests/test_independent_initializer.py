"""Tests of kcalc.layers.independent_initializer."""

from __future__ import annotations

import keras
import numpy as np

from kcalc.layers import independent_initializer


def test_parts_with_one_unseeded_initializer_start_differently() -> None:
    one = keras.initializers.HeNormal()
    first = np.asarray(independent_initializer(one, "a")((3, 3)))
    second = np.asarray(independent_initializer(one, "a")((3, 3)))
    assert np.abs(first - second).max() > 0.01


def test_global_seed_makes_the_draws_repeatable() -> None:
    draws = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        draws.append(np.asarray(independent_initializer("he_normal", "a")((3, 3))))
    np.testing.assert_array_equal(*draws)


def test_seeded_initializer_depends_on_the_name_alone() -> None:
    one = keras.initializers.RandomNormal(stddev=0.5, seed=3)
    first = np.asarray(independent_initializer(one, "a")((3, 3)))
    again = np.asarray(independent_initializer(one, "a")((3, 3)))
    other = np.asarray(independent_initializer(one, "b")((3, 3)))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_distribution_is_kept() -> None:
    made = independent_initializer(keras.initializers.RandomNormal(2.0, 0.25), "a")
    assert isinstance(made, keras.initializers.RandomNormal)
    assert (made.mean, made.stddev) == (2.0, 0.25)


def test_functions_and_moving_seeds_are_returned_as_they_are() -> None:
    def function(shape: tuple[int, ...], dtype: str | None = None) -> None: ...

    moving = keras.initializers.RandomNormal(seed=keras.random.SeedGenerator(1))
    assert independent_initializer(function, "a") is function
    assert independent_initializer(moving, "a") is moving
