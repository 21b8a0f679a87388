"""ExtraDenseBlock: maps of a shallow skip in, richer ones of equal shape out."""

from __future__ import annotations

from typing import Any

import keras

from kcalc.layers.dense_block import DenseBlock, Shape
from kcalc.layers.independent_initializer import independent_initializer


@keras.saving.register_keras_serializable(package="kcalc")
class ExtraDenseBlock(keras.layers.Layer):  # type: ignore[misc]
    """A dense block and a 1x1 convolution back to as many channels as came in.

    DenseRAUnet puts it on its first skip connection, to add non-linearity where the
    encoder has seen the image for a few layers only. The paper does not say what it
    holds; the defaults are one DenseNet block of four layers with growth 32.

    Args:
        num_layers: Layers of the dense block; at least 1.
        growth_rate: Channels that each layer of the dense block adds.
        kernel_initializer: Initialiser of the convolution kernels.
        **kwargs: ``name`` and ``dtype``, as of every Keras layer.

    Call arguments:
        inputs: Feature maps.
        training: Whether batch normalisation uses the batch's own moments.

    Input shape:
        (batch, y, x, channels); any y and x, also unknown ones.

    Output shape:
        The input's.

    Raises:
        ValueError: ``num_layers`` or ``growth_rate`` is below 1.

    Example:
        >>> ExtraDenseBlock(growth_rate=8).compute_output_shape((2, 8, 8, 16))
        (2, 8, 8, 16)

    References:
        Ma, Zhang, Automatic Calcium Scoring in Cardiac and Chest CT Using DenseRAUnet,
        2019, arXiv 1907.11392, section 2.3 (Extra Dense Block).
    """

    def __init__(
        self,
        num_layers: int = 4,
        growth_rate: int = 32,
        kernel_initializer: Any = "he_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.growth_rate = growth_rate
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.dense_block = DenseBlock(
            num_layers,
            growth_rate,
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype_policy,
            name="dense_block",
        )

    def build(self, input_shape: Shape) -> None:
        self.dense_block.build(input_shape)
        self.project = keras.layers.Conv2D(
            input_shape[-1],
            1,
            kernel_initializer=independent_initializer(
                self.kernel_initializer, "project"
            ),
            dtype=self.dtype_policy,
            name="project",
        )
        self.project.build(self.dense_block.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.project(self.dense_block(inputs, training=training))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "growth_rate": self.growth_rate,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
