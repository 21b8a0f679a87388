"""ScSE: feature maps in, the same maps re-weighted by channel and by place out."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kcalc.layers.dense_block import Shape
from kcalc.layers.independent_initializer import independent_initializer


@keras.saving.register_keras_serializable(package="kcalc")
class ScSE(keras.layers.Layer):  # type: ignore[misc]
    """Concurrent spatial and channel squeeze and excitation.

    ``x * sigmoid(W2 relu(W1 mean_yx(x) + b1) + b2) + x * sigmoid(w . x + b)``: the
    first term weighs channels by the whole slice, the second weighs pixels. Because of
    the mean, every output depends on the whole slice: a network with this layer may not
    be run on tiles. The mean is taken in float32 whatever the dtype policy.

    Args:
        reduction: Divisor of the channels in the hidden layer; 2 as published.
        merge: ``"sum"`` adds the two terms (MICCAI 2018, and DenseRAUnet's time),
            ``"max"`` takes the larger one (the later TMI version).
        kernel_initializer: Initialiser of the three kernels.
        **kwargs: ``name`` and ``dtype``, as of every Keras layer.

    Call arguments:
        inputs: Feature maps.

    Input shape:
        (batch, y, x, channels); any y and x, also unknown ones.

    Output shape:
        The input's.

    Raises:
        ValueError: ``reduction`` is below 1, or ``merge`` is another word.

    Example:
        >>> ScSE().compute_output_shape((2, 32, 32, 64))
        (2, 32, 32, 64)

    References:
        Roy, Navab, Wachinger, Concurrent Spatial and Channel Squeeze & Excitation in
        Fully Convolutional Networks, MICCAI 2018, doi 10.1007/978-3-030-00928-1_48,
        section 2.
    """

    def __init__(
        self,
        reduction: int = 2,
        merge: str = "sum",
        kernel_initializer: Any = "he_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if reduction < 1:
            raise ValueError(
                f"reduction must be at least 1. Received: reduction={reduction}."
            )
        if merge not in ("sum", "max"):
            raise ValueError(
                f"merge must be 'sum' or 'max'. Received: merge={merge!r}."
            )
        self.reduction = reduction
        self.merge = merge
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        if channels is None:
            raise ValueError(
                "ScSE needs a known number of channels. Received: "
                f"input_shape={tuple(input_shape)}. Give the last axis a size."
            )
        hidden = max(1, channels // self.reduction)
        self.squeeze = self._dense(hidden, "relu", "squeeze")
        self.excite = self._dense(channels, "sigmoid", "excite")
        self.spatial = keras.layers.Conv2D(
            1,
            1,
            activation="sigmoid",
            kernel_initializer=independent_initializer(
                self.kernel_initializer, "spatial"
            ),
            dtype=self.dtype_policy,
            name="spatial",
        )
        batch = input_shape[0]
        self.squeeze.build((batch, 1, 1, channels))
        self.excite.build((batch, 1, 1, hidden))
        self.spatial.build(input_shape)

    def call(self, inputs: Any) -> Any:
        means = ops.mean(ops.cast(inputs, "float32"), axis=(1, 2), keepdims=True)
        by_channel = inputs * self.excite(self.squeeze(means))
        by_place = inputs * self.spatial(inputs)
        if self.merge == "max":
            return ops.maximum(by_channel, by_place)
        return by_channel + by_place

    def _dense(self, units: int, activation: str, name: str) -> keras.layers.Dense:
        return keras.layers.Dense(
            units,
            activation=activation,
            kernel_initializer=independent_initializer(self.kernel_initializer, name),
            dtype=self.dtype_policy,
            name=name,
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "reduction": self.reduction,
            "merge": self.merge,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
