"""Small networks and volumes that stand in for a trained one in tests."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kcalc.geometry import Geometry
from kcalc.preparation import InputSpec
from kcalc.volume import Volume

SPEC = InputSpec(
    window_hu=(-200.0, 800.0), stack=9, multiple_zyx=(1, 4, 4), context="slice"
)
"""0.5 in the window is 300 HU exactly."""


def random_network(seed: int = 1) -> keras.Model:
    """Convolutions, pooling to a quarter, a branch of global pooling, dropout."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((None, None, 9))
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(x)
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = x * keras.layers.Dense(6, activation="sigmoid")(gate)
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.UpSampling2D(4)(x)
    x = keras.layers.Conv2D(4, 3, padding="same")(x)
    outputs = keras.layers.Conv2D(1, 1, activation="sigmoid")(x)
    return keras.Model(inputs, outputs)


def picking_network(channel: int = 4, gain: float = 1.0) -> keras.Model:
    """Its probability is one slice of the stack, windowed, times a gain."""
    inputs = keras.Input((None, None, 9))
    layer = keras.layers.Conv2D(1, 1, use_bias=False)
    model = keras.Model(inputs, layer(inputs))
    kernel = np.zeros((1, 1, 9, 1), np.float32)
    kernel[0, 0, channel, 0] = gain
    layer.set_weights([kernel])
    return model


def noise_volume(
    shape_zyx: tuple[int, int, int] = (7, 13, 18), seed: int = 0
) -> Volume:
    """Noise that holds many candidates, but none in slice 3."""
    rng = np.random.default_rng(seed)
    array = rng.normal(60.0, 150.0, shape_zyx).astype(np.int16)
    array[0, 0, 0] = -900
    if shape_zyx[0] > 3:
        array[3] = 40
    return Volume(array, Geometry.axial(shape_zyx, (3.0, 0.5, 0.5)))


def stacks_of(array: Any) -> Any:
    """(z, y, x, 9) of every slice with its neighbours, slow and plain."""
    padded = np.pad(array, ((4, 4), (0, 0), (0, 0)), mode="edge")
    return np.stack([padded[i : i + len(array)] for i in range(9)], axis=-1)
