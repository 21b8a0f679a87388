"""ResidualDropoutBlock: feature maps in, two valid convolutions on, out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kcalc.layers.batch_normalization import batch_normalization
from kcalc.layers.dense_block import Shape
from kcalc.layers.independent_initializer import independent_initializer

DROPOUT_POSITIONS = ("before_first", "before_second", "before_addition", None)


@keras.saving.register_keras_serializable(package="kcalc")
class ResidualDropoutBlock(keras.layers.Layer):  # type: ignore[misc]
    """Two valid 3-D convolutions with dropout that the skip connection goes round.

    ``crop(x) + D3(C2(D2(relu(BN(C1(D1(relu(BN(x)))))))))`` with valid convolutions
    ``C1`` and ``C2`` without bias, and ``crop`` cutting what they lose, evenly at both
    ends of every axis. One of ``D1`` (``"before_first"``), ``D2``
    (``"before_second"``) and ``D3`` (``"before_addition"``) drops values while
    training and scales up the rest; the others are not there. No position puts dropout
    right before a batch normalisation of the same path, which would see other moments
    in training than in use.

    Args:
        kernel_size: Size (z, y, x) of both kernels, odd; (1, 3, 3) works in plane.
        residual: Whether the cropped input is added. False gives the plain block.
        dropout_position: ``"before_first"``, ``"before_second"``,
            ``"before_addition"`` or None. A plain block has no addition, so that
            dropout there would come before the next block's normalisation.
        dropout_rate: Share of values dropped, at least 0 and below 1.
        spatial_dropout: Whether whole feature maps are dropped and not single values.
        stochastic_depth: Whether all that the convolutions give is dropped or kept
            as a whole, sample by sample; only before the addition.
        kernel_initializer: Initialiser of the convolution kernels.
        **kwargs: ``name`` and ``dtype``, as of every Keras layer.

    Call arguments:
        inputs: Feature maps.
        training: Whether batch normalisation uses the batch's own moments, and
            whether values are dropped.

    Input shape:
        (batch, z, y, x, channels); any sizes of at least ``2 * kernel_size - 1``, also
        unknown ones.

    Output shape:
        (batch, z, y, x, channels), each size smaller by ``2 * (kernel - 1)``.

    Raises:
        ValueError: An argument breaks these rules, or the input has another rank, an
            unknown number of channels or is too small.

    Example:
        >>> block = ResidualDropoutBlock((1, 3, 3), dropout_rate=0.4)
        >>> block.compute_output_shape((1, 62, 102, 102, 16))
        (1, 62, 98, 98, 16)

    References:
        Bortsova et al., Segmentation of Intracranial Arterial Calcification with Deeply
        Supervised Residual Dropout Networks, MICCAI 2017, section 2.3 and Fig. 1. He et
        al., Identity Mappings in Deep Residual Networks, 2016, arXiv 1603.05027 (order
        of the layers). Tompson et al. 2015, arXiv 1411.4280 (spatial dropout). Huang et
        al. 2016, arXiv 1603.09382 (stochastic depth).
    """

    def __init__(
        self,
        kernel_size: Sequence[int] = (3, 3, 3),
        *,
        residual: bool = True,
        dropout_position: str | None = "before_addition",
        dropout_rate: float = 0.0,
        spatial_dropout: bool = False,
        stochastic_depth: bool = False,
        kernel_initializer: Any = "he_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_dropout(residual, dropout_position, spatial_dropout, stochastic_depth)
        if len(kernel_size) != 3 or any(k < 1 or k % 2 == 0 for k in kernel_size):
            raise ValueError(
                "kernel_size must be three odd numbers (z, y, x), so that the input is "
                f"cropped evenly. Received: kernel_size={tuple(kernel_size)}."
            )
        if not 0 <= dropout_rate < 1:
            raise ValueError(
                "dropout_rate must be at least 0 and below 1. "
                f"Received: dropout_rate={dropout_rate}."
            )
        self.kernel_size = tuple(kernel_size)
        self.residual = residual
        self.dropout_position = dropout_position
        self.dropout_rate = dropout_rate
        self.spatial_dropout = spatial_dropout
        self.stochastic_depth = stochastic_depth
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        middle, _ = self._shapes(input_shape)
        channels = input_shape[-1]
        self.first_norm = batch_normalization(dtype=self.dtype_policy, name="first_bn")
        self.first_conv = self._convolution(channels, "first_conv")
        self.second_norm = batch_normalization(
            dtype=self.dtype_policy, name="second_bn"
        )
        self.second_conv = self._convolution(channels, "second_conv")
        self.dropout = keras.layers.Dropout(
            self.dropout_rate if self.dropout_position else 0.0,
            noise_shape=self._noise_shape(),
            dtype=self.dtype_policy,
            name="dropout",
        )
        self.first_norm.build(input_shape)
        self.first_conv.build(input_shape)
        self.second_norm.build(middle)
        self.second_conv.build(middle)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        def dropped(x: Any, position: str) -> Any:
            if position != self.dropout_position:
                return x
            return self.dropout(x, training=training)

        x = ops.relu(self.first_norm(inputs, training=training))
        x = self.first_conv(dropped(x, "before_first"))
        x = ops.relu(self.second_norm(x, training=training))
        x = self.second_conv(dropped(x, "before_second"))
        x = dropped(x, "before_addition")
        return x + self._cropped(inputs) if self.residual else x

    def _cropped(self, inputs: Any) -> Any:
        lost = [k - 1 for k in self.kernel_size]
        return inputs[:, *(slice(n, -n or None) for n in lost)]

    def _noise_shape(self) -> tuple[int | None, ...] | None:
        if self.stochastic_depth:
            return (None, 1, 1, 1, 1)
        return (None, 1, 1, 1, None) if self.spatial_dropout else None

    def _convolution(self, channels: int | None, name: str) -> keras.layers.Conv3D:
        return keras.layers.Conv3D(
            channels,
            self.kernel_size,
            use_bias=False,
            kernel_initializer=independent_initializer(self.kernel_initializer, name),
            dtype=self.dtype_policy,
            name=name,
        )

    def _shapes(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Return the shapes after the first and the second convolution."""
        shape = tuple(input_shape)
        if len(shape) != 5 or shape[-1] is None:
            raise ValueError(
                "The input must be (batch, z, y, x, channels) with a known number of "
                f"channels. Received: input_shape={shape}."
            )
        shapes = []
        for _ in range(2):
            sizes = [
                None if n is None else n - k + 1
                for n, k in zip(shape[1:4], self.kernel_size, strict=True)
            ]
            shape = (shape[0], *sizes, shape[-1])
            shapes.append(shape)
        if any(n is not None and n < 1 for n in shape[1:4]):
            raise ValueError(
                f"The input must be at least {[2 * k - 1 for k in self.kernel_size]} "
                f"(z, y, x). Received: input_shape={tuple(input_shape)}."
            )
        return shapes[0], shapes[1]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self._shapes(input_shape)[1]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "residual": self.residual,
            "dropout_position": self.dropout_position,
            "dropout_rate": self.dropout_rate,
            "spatial_dropout": self.spatial_dropout,
            "stochastic_depth": self.stochastic_depth,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def check_dropout(
    residual: bool,
    dropout_position: str | None,
    spatial_dropout: bool,
    stochastic_depth: bool,
) -> None:
    """Refuse switches of a block that exclude each other.

    Raises:
        ValueError: One of the rules of :class:`ResidualDropoutBlock` is broken.
    """
    if dropout_position not in DROPOUT_POSITIONS:
        raise ValueError(
            f"dropout_position must be one of {DROPOUT_POSITIONS}. "
            f"Received: dropout_position={dropout_position!r}."
        )
    if not residual and dropout_position == "before_addition":
        raise ValueError(
            "A plain block has no addition, and dropout cannot precede the batch "
            "normalisation that follows. Received: residual=False, "
            "dropout_position='before_addition'. Take 'before_second', "
            "'before_first' or None."
        )
    if stochastic_depth and dropout_position != "before_addition":
        raise ValueError(
            "stochastic_depth drops what is added, so it needs "
            "dropout_position='before_addition'. Received: "
            f"dropout_position={dropout_position!r}."
        )
    if spatial_dropout and stochastic_depth:
        raise ValueError(
            "spatial_dropout and stochastic_depth are two ways to drop; choose one. "
            "Received: both True."
        )
