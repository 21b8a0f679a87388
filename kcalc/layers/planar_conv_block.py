"""PlanarConvBlock: volumes of features in, features from planar convolutions out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kcalc.layers.batch_normalization import batch_normalization as _normalization
from kcalc.layers.dense_block import Shape
from kcalc.layers.independent_initializer import independent_initializer

KERNELS_ZYX = {
    "xy": (1, 3, 3),
    "xz": (3, 1, 3),
    "yz": (3, 3, 1),
    "xyz": (3, 3, 3),
}
"""Kernel size (z, y, x) of a convolution in each plane, and of a full one."""
PLANAR = ("xy", "xz", "yz", "xy")
"""The paper's block; its order of planes is not stated (see PlanarConvBlock)."""
FULL = ("xyz", "xyz")
"""The block that the paper compares with: two full convolutions, as in 3D U-Net."""


@keras.saving.register_keras_serializable(package="kcalc")
class PlanarConvBlock(keras.layers.Layer):  # type: ignore[misc]
    """Four 3x3 convolutions in different planes of a volume, each with ReLU.

    Each step is ``x = dropout(relu(norm(conv(x))))`` with "same" padding by zeros; the
    dropout and the normalisation are left out by default. Four planar kernels have 36
    weights for each pair of channels, one full 3x3x3 kernel has 27 and two have 54.

    Not stated in the paper, chosen here: the order. The plane of the slices comes
    first and again last, since the paper's scans have 10 to 15 thick slices.

    Args:
        filters: Channels of every convolution; at least 1.
        planes: Planes of the convolutions in their order, each ``"xy"`` (in the
            slice), ``"xz"``, ``"yz"`` or ``"xyz"`` (a full 3x3x3 kernel).
        dropout: Share of values dropped after each ReLU, in [0, 1); 0 for none.
        batch_normalization: Whether each convolution, then without bias, is
            normalised. The paper found it numerically unstable and does without.
        kernel_initializer: Initialiser of the kernels.
        kernel_regularizer: Regulariser of the kernels, or None.
        **kwargs: ``name`` and ``dtype``, as of every Keras layer.

    Call arguments:
        inputs: Feature maps.
        training: Whether dropout is on and moments are the batch's own.

    Input shape:
        (batch, z, y, x, channels); any sizes, also unknown ones.

    Output shape:
        (batch, z, y, x, filters).

    Raises:
        ValueError: An argument breaks these rules.

    Example:
        >>> PlanarConvBlock(30).compute_output_shape((2, 16, 64, 64, 1))
        (2, 16, 64, 64, 30)

    References:
        Avetisian, Volumetric Medical Image Segmentation with Deep Convolutional
        Neural Networks, 2017, section 2.1 and Figure 2.
    """

    def __init__(
        self,
        filters: int,
        planes: Sequence[str] = PLANAR,
        dropout: float = 0.0,
        batch_normalization: bool = False,
        kernel_initializer: Any = "he_normal",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check(filters, planes, dropout)
        self.filters = filters
        self.planes = tuple(planes)
        self.dropout = dropout
        self.batch_normalization = batch_normalization
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.convs = [
            self._convolution(plane, f"conv{number}_{plane}")
            for number, plane in enumerate(planes, start=1)
        ]
        numbers = range(1, len(self.planes) + 1)
        self.norms = [
            _normalization(dtype=self.dtype_policy, name=f"conv{i}_bn")
            for i in numbers
            if batch_normalization
        ]
        self.dropouts = [
            keras.layers.Dropout(dropout, dtype=self.dtype_policy, name=f"conv{i}_drop")
            for i in numbers
            if dropout
        ]

    def _convolution(self, plane: str, name: str) -> keras.layers.Conv3D:
        return keras.layers.Conv3D(
            self.filters,
            KERNELS_ZYX[plane],
            padding="same",
            use_bias=not self.batch_normalization,
            kernel_initializer=independent_initializer(self.kernel_initializer, name),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape: Shape) -> None:
        shape = tuple(input_shape)
        for conv in self.convs:
            conv.build(shape)
            shape = self.compute_output_shape(shape)
        for norm in self.norms:
            norm.build(shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = inputs
        for number, conv in enumerate(self.convs):
            x = conv(x)
            if self.norms:
                x = self.norms[number](x, training=training)
            x = keras.ops.relu(x)
            if self.dropouts:
                x = self.dropouts[number](x, training=training)
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "planes": self.planes,
            "dropout": self.dropout,
            "batch_normalization": self.batch_normalization,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


def _check(filters: int, planes: Sequence[str], dropout: float) -> None:
    if filters < 1:
        raise ValueError(f"filters must be at least 1. Received: filters={filters}.")
    if isinstance(planes, str) or not planes or not set(planes) <= set(KERNELS_ZYX):
        raise ValueError(
            f"planes must be one or more of {tuple(KERNELS_ZYX)}, in order. Received: "
            f"planes={planes!r}. The paper's block is {PLANAR}."
        )
    if not 0 <= dropout < 1:
        raise ValueError(
            f"dropout must be a share in [0, 1). Received: dropout={dropout}."
        )
