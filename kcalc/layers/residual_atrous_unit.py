"""ResidualAtrousUnit: feature maps in, the same with context of several reaches out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kcalc.layers.batch_normalization import batch_normalization
from kcalc.layers.dense_block import Shape
from kcalc.layers.independent_initializer import independent_initializer

# Up to this many channels a branch keeps half of them, above it a quarter, so that
# narrow maps are not squeezed to nothing.
NARROW_CHANNELS = 128


@keras.saving.register_keras_serializable(package="kcalc")
class ResidualAtrousUnit(keras.layers.Layer):  # type: ignore[misc]
    """Parallel dilated 3x3 convolutions, joined, brought back and added to the input.

    ``relu(x + BN(C1([relu(BN(D_2(x))), relu(BN(D_4(x))), relu(BN(D_8(x)))])))`` with
    3x3 convolutions ``D_d`` of dilation d and a 1x1 convolution ``C1`` to the input's
    channels. Use it on a skip connection, so that small and large lesions both find
    the context they need; an output pixel sees ``max(dilations)`` pixels to each side.

    Args:
        dilations: Dilation of each branch in pixels of the feature map; 2, 4 and 8 as
            published. Each at least 1.
        branch_filters: Channels of each branch. None, the default, takes a quarter of
            the input's channels, or a half where the input has at most 128.
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
        ValueError: ``dilations`` is empty or holds a value below 1, or
            ``branch_filters`` is below 1.

    Example:
        >>> ResidualAtrousUnit().compute_output_shape((2, 32, 32, 256))
        (2, 32, 32, 256)

    References:
        Ma, Zhang, Automatic Calcium Scoring in Cardiac and Chest CT Using DenseRAUnet,
        2019, arXiv 1907.11392, section 2.3 and Fig. 1. Dilations and concatenation are
        stated there; widths and the place of the normalisation are not.
    """

    def __init__(
        self,
        dilations: Sequence[int] = (2, 4, 8),
        branch_filters: int | None = None,
        kernel_initializer: Any = "he_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if len(dilations) == 0 or min(dilations) < 1:
            raise ValueError(
                "dilations must be one or more whole numbers of at least 1. "
                f"Received: dilations={tuple(dilations)}. The paper uses (2, 4, 8)."
            )
        if branch_filters is not None and branch_filters < 1:
            raise ValueError(
                "branch_filters must be at least 1, or None for a share of the input's "
                f"channels. Received: branch_filters={branch_filters}."
            )
        self.dilations = tuple(dilations)
        self.branch_filters = branch_filters
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        if channels is None:
            raise ValueError(
                "A residual atrous unit needs a known number of channels. Received: "
                f"input_shape={tuple(input_shape)}. Give the last axis a size."
            )
        share = 2 if channels <= NARROW_CHANNELS else 4
        filters = self.branch_filters or max(1, channels // share)
        self.branch_convs = [
            self._convolution(filters, 3, dilation, f"dilation{dilation}_conv")
            for dilation in self.dilations
        ]
        self.branch_norms = [self._norm(f"dilation{d}_bn") for d in self.dilations]
        self.fuse_conv = self._convolution(channels, 1, 1, "fuse_conv")
        self.fuse_norm = self._norm("fuse_bn")
        leading = tuple(input_shape[:-1])
        for conv, norm in zip(self.branch_convs, self.branch_norms, strict=True):
            conv.build(input_shape)
            norm.build((*leading, filters))
        self.fuse_conv.build((*leading, filters * len(self.dilations)))
        self.fuse_norm.build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        branches = [
            ops.relu(norm(conv(inputs), training=training))
            for conv, norm in zip(self.branch_convs, self.branch_norms, strict=True)
        ]
        x = self.fuse_conv(ops.concatenate(branches, axis=-1))
        return ops.relu(inputs + self.fuse_norm(x, training=training))

    def _convolution(
        self, filters: int, size: int, dilation: int, name: str
    ) -> keras.layers.Conv2D:
        return keras.layers.Conv2D(
            filters,
            size,
            padding="same",
            dilation_rate=dilation,
            use_bias=False,
            kernel_initializer=independent_initializer(self.kernel_initializer, name),
            dtype=self.dtype_policy,
            name=name,
        )

    def _norm(self, name: str) -> keras.layers.BatchNormalization:
        return batch_normalization(dtype=self.dtype_policy, name=name)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dilations": self.dilations,
            "branch_filters": self.branch_filters,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
