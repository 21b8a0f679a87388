"""BilinearDoubling: maps in, maps of twice the height and width out."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kcalc.layers.dense_block import Shape


@keras.saving.register_keras_serializable(package="kcalc")
class BilinearDoubling(keras.layers.Layer):  # type: ignore[misc]
    """Bilinear enlargement by two, with pixel centres at half-integer places.

    The same numbers as ``UpSampling2D(2, interpolation="bilinear")``, but it can also
    be traced where y and x are unknown, as an exported signature for scans of any size
    needs (Keras 3.15 takes the unknown size for a Python bool there). Each pixel is
    repeated twice along an axis and the result smoothed with (1, 2, 1) / 4; the border
    repeats.

    Args:
        **kwargs: ``name`` and ``dtype``, as of every Keras layer.

    Call arguments:
        inputs: Maps.

    Input shape:
        (batch, y, x, channels); any y and x, also unknown ones.

    Output shape:
        (batch, 2 y, 2 x, channels).

    Example:
        >>> maps = ops.reshape([0.0, 1.0], (1, 1, 2, 1))
        >>> ops.convert_to_numpy(BilinearDoubling()(maps))[0, 0, :, 0].tolist()
        [0.0, 0.25, 0.75, 1.0]
    """

    def call(self, inputs: Any) -> Any:
        x = ops.repeat(inputs, 2, axis=1)
        x = ops.concatenate([x[:, :1], x, x[:, -1:]], axis=1)
        x = 0.25 * x[:, :-2] + 0.5 * x[:, 1:-1] + 0.25 * x[:, 2:]
        x = ops.repeat(x, 2, axis=2)
        x = ops.concatenate([x[:, :, :1], x, x[:, :, -1:]], axis=2)
        return 0.25 * x[:, :, :-2] + 0.5 * x[:, :, 1:-1] + 0.25 * x[:, :, 2:]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, y, x, channels = input_shape
        return (
            batch,
            None if y is None else 2 * y,
            None if x is None else 2 * x,
            channels,
        )
