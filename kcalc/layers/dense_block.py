"""DenseBlock: feature maps in, the same maps with new ones joined to them out."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kcalc.layers.batch_normalization import batch_normalization
from kcalc.layers.independent_initializer import independent_initializer

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="kcalc")
class DenseBlock(keras.layers.Layer):  # type: ignore[misc]
    """Densely connected convolutions, each of which sees all maps made before it.

    Layer ``i`` computes ``h_i = C3(relu(BN(C1(relu(BN([x, h_1, ..., h_(i-1)]))))))``
    with a 1x1 convolution ``C1`` to ``bottleneck * growth_rate`` channels and a 3x3
    convolution ``C3`` to ``growth_rate`` channels, both without bias. The output is
    ``[x, h_1, ..., h_n]``, not yet normalised. DenseNet-121 is four of these blocks.

    Args:
        num_layers: Number of pairs of convolutions; at least 1.
        growth_rate: Channels that each pair adds; at least 1.
        bottleneck: Channels of the 1x1 convolution in units of ``growth_rate``; 4 as
            published.
        kernel_initializer: Initialiser of the convolution kernels.
        **kwargs: ``name`` and ``dtype``, as of every Keras layer.

    Call arguments:
        inputs: Feature maps.
        training: Whether batch normalisation uses the batch's own moments.

    Input shape:
        (batch, y, x, channels); any y and x, also unknown ones.

    Output shape:
        (batch, y, x, channels + num_layers * growth_rate).

    Raises:
        ValueError: ``num_layers``, ``growth_rate`` or ``bottleneck`` is below 1.

    Example:
        >>> DenseBlock(3, growth_rate=4).compute_output_shape((2, 8, 8, 16))
        (2, 8, 8, 28)

    References:
        Huang, Liu, van der Maaten, Weinberger, Densely Connected Convolutional
        Networks, CVPR 2017, doi 10.1109/CVPR.2017.243, section 3 (DenseNet-B).
    """

    def __init__(
        self,
        num_layers: int,
        growth_rate: int = 32,
        bottleneck: int = 4,
        kernel_initializer: Any = "he_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min(num_layers, growth_rate, bottleneck) < 1:
            raise ValueError(
                "A dense block needs num_layers, growth_rate and bottleneck of at "
                f"least 1. Received: num_layers={num_layers}, "
                f"growth_rate={growth_rate}, bottleneck={bottleneck}. Leave the block "
                "out to have none."
            )
        self.num_layers = num_layers
        self.growth_rate = growth_rate
        self.bottleneck = bottleneck
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

        def convolution(filters: int, size: int, name: str) -> keras.layers.Conv2D:
            return keras.layers.Conv2D(
                filters,
                size,
                padding="same",
                use_bias=False,
                kernel_initializer=independent_initializer(
                    self.kernel_initializer, name
                ),
                dtype=self.dtype_policy,
                name=name,
            )

        def norm(name: str) -> keras.layers.BatchNormalization:
            return batch_normalization(dtype=self.dtype_policy, name=name)

        numbers = range(1, num_layers + 1)
        self.reduce_norms = [norm(f"layer{i}_reduce_bn") for i in numbers]
        self.reduce_convs = [
            convolution(bottleneck * growth_rate, 1, f"layer{i}_reduce_conv")
            for i in numbers
        ]
        self.grow_norms = [norm(f"layer{i}_grow_bn") for i in numbers]
        self.grow_convs = [
            convolution(growth_rate, 3, f"layer{i}_grow_conv") for i in numbers
        ]

    def build(self, input_shape: Shape) -> None:
        *leading, channels = input_shape
        if channels is None:
            raise ValueError(
                "A dense block needs a known number of channels. Received: "
                f"input_shape={tuple(input_shape)}. Give the last axis a size."
            )
        narrow = (*leading, self.bottleneck * self.growth_rate)
        for parts in self._pairs():
            reduce_norm, reduce_conv, grow_norm, grow_conv = parts
            reduce_norm.build((*leading, channels))
            reduce_conv.build((*leading, channels))
            grow_norm.build(narrow)
            grow_conv.build(narrow)
            channels += self.growth_rate

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        maps = inputs
        for reduce_norm, reduce_conv, grow_norm, grow_conv in self._pairs():
            x = reduce_conv(ops.relu(reduce_norm(maps, training=training)))
            x = grow_conv(ops.relu(grow_norm(x, training=training)))
            maps = ops.concatenate([maps, x], axis=-1)
        return maps

    def _pairs(self) -> Any:
        return zip(
            self.reduce_norms,
            self.reduce_convs,
            self.grow_norms,
            self.grow_convs,
            strict=True,
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        *leading, channels = input_shape
        if channels is None:
            return (*leading, None)
        return (*leading, channels + self.num_layers * self.growth_rate)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "growth_rate": self.growth_rate,
            "bottleneck": self.bottleneck,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
