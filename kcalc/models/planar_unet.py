"""The planar U-Net: any volume in, the probability of every class in each voxel out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

import kcalc.layers
from kcalc.layers.planar_conv_block import KERNELS_ZYX, PLANAR

CHANNELS = (30, 60, 120, 240)
"""Channels at full, half, quarter and eighth size; the first is in Table 1."""
DROPOUT = 0.15
"""Share dropped before the output: Table 1's keep probability of 0.85."""
L2 = 3e-4
"""Weight of half the squared norm of all kernels (Table 1)."""

Tensor = Any


def planar_unet(
    input_shape: tuple[int | None, int | None, int | None, int] = (
        None,
        None,
        None,
        1,
    ),
    classes: int = 2,
    *,
    channels: Sequence[int] = CHANNELS,
    planes: Sequence[str] = PLANAR,
    dropout: float = DROPOUT,
    block_dropout: float = 0.0,
    batch_normalization: bool = False,
    l2: float = L2,
    kernel_initializer: Any = "he_normal",
) -> keras.Model:
    """Return the planar U-Net, the general network of Avetisian (2017).

    The switches give the paper's comparisons: ``planes=kcalc.layers.FULL`` for full
    3x3x3 blocks of equal width, ``batch_normalization``, ``block_dropout`` (one of the
    two places that the text names), ``dropout=0`` and ``l2=0``.

    Stated in the paper: U-Net of blocks of four planar convolutions with ReLU, max
    pooling, channels that double, up-convolution with a kernel of 1, skips
    concatenated, sizes of 2^3 n, softmax, no batch normalisation, and the values of
    Table 1. Not stated, chosen here: the order of planes; three levels below 30
    channels (from 2^3 n); nearest up-sampling with a 1x1x1 convolution to half the
    channels (a true transposed convolution of kernel 1 and stride 2 would leave seven
    of eight voxels at its bias), done before the up-sampling, which gives the same
    numbers at an eighth of the cost; half the squared norm (TensorFlow's ``l2_loss``);
    He's initialisation. 3.30 million weights.

    Sizes that are no multiples of 8 are continued by their mirror image at the high
    ends (:class:`kcalc.layers.PadToMultiple`), and the output is cropped back.

    Args:
        input_shape: (z, y, x, channels) of one input; sizes may be None.
        classes: Classes of the softmax with the background as class 0; at least 2.
        channels: Channels on each level, from full size down; one pooling between two
            levels.
        planes: Planes of each block (:class:`kcalc.layers.PlanarConvBlock`).
        dropout: Share dropped right before the output layer, in [0, 1).
        block_dropout: Share dropped after every convolution of the blocks, in [0, 1).
        batch_normalization: Whether every convolution of the blocks is normalised.
        l2: Weight of half the sum of squares of all kernels; 0 for none.
        kernel_initializer: Initialiser of all kernels.

    Returns:
        A functional model from (batch, z, y, x, channels) to probabilities
        (batch, z, y, x, classes), float32 also under mixed precision.

    Raises:
        ValueError: An argument breaks these rules.

    Example:
        >>> planar_unet((13, 60, 60, 1), channels=(4, 8)).output_shape
        (None, 13, 60, 60, 2)

    References:
        Avetisian, Volumetric Medical Image Segmentation with Deep Convolutional
        Neural Networks, 2017, sections 2.1 and 2.2, Table 1.
    """
    _check(input_shape, classes, channels, dropout, l2)
    stride = 2 ** (len(channels) - 1)

    def initializer(name: str) -> Any:
        return kcalc.layers.independent_initializer(kernel_initializer, name)

    def regularizer() -> Any:
        return keras.regularizers.L2(l2 / 2) if l2 else None

    def block(x: Tensor, filters: int, name: str) -> Tensor:
        return kcalc.layers.PlanarConvBlock(
            filters,
            planes,
            dropout=block_dropout,
            batch_normalization=batch_normalization,
            kernel_initializer=initializer(name),
            kernel_regularizer=regularizer(),
            name=name,
        )(x)

    def pointwise(x: Tensor, filters: int, name: str, **kwargs: Any) -> Tensor:
        return keras.layers.Conv3D(
            filters,
            1,
            kernel_initializer=initializer(name),
            kernel_regularizer=regularizer(),
            name=name,
            **kwargs,
        )(x)

    inputs = keras.Input(input_shape, name="image")
    x = kcalc.layers.PadToMultiple((stride,) * 3, name="pad")(inputs)

    # Encoder: a skip at each level but the lowest.
    skips = []
    for number, filters in enumerate(channels[:-1], start=1):
        x = block(x, filters, f"encoder{number}")
        skips.append(x)
        x = keras.layers.MaxPooling3D(2, name=f"encoder{number}_pool")(x)
    x = block(x, channels[-1], "bottom")

    # Decoder: each level narrows, doubles, joins the skip.
    for number in range(len(skips), 0, -1):
        filters, name = channels[number - 1], f"decoder{number}"
        x = pointwise(x, filters, f"{name}_narrow")
        x = keras.layers.UpSampling3D(2, name=f"{name}_up")(x)
        x = keras.layers.Concatenate(name=f"{name}_join")([skips[number - 1], x])
        x = block(x, filters, name)

    # Head, in float32 under every dtype policy.
    if dropout:
        x = keras.layers.Dropout(dropout, name="head_drop")(x)
    x = pointwise(x, classes, "head_logits", dtype="float32")
    x = kcalc.layers.CropLike(dtype="float32", name="head_crop")([x, inputs])
    outputs = keras.layers.Softmax(dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, outputs, name="planar_unet")


def planar_unet_halo_zyx(
    levels: int = len(CHANNELS), planes: Sequence[str] = PLANAR
) -> tuple[int, int, int]:
    """Return how far round a voxel the network sees: the overlap of seamless tiles.

    For tiles that begin and end on multiples of the total stride ``2^(levels - 1)``;
    rounded up to it. ``kcalc.inference.predict_tiled`` takes it.

    Args:
        levels: Number of levels, ``len(channels)``.
        planes: Planes of each block.

    Returns:
        Voxels on each side, (z, y, x).

    Example:
        >>> planar_unet_halo_zyx()
        (48, 72, 72)
    """
    stride = 1 << (levels - 1)

    def halo(axis: int) -> int:
        reach: int = sum(KERNELS_ZYX[plane][axis] // 2 for plane in planes)
        up: list[int] = [reach]
        for _ in range(levels - 1):
            up.append(-(-up[-1] // 2) + reach)
        voxels: int = up[-1]
        for needed in reversed(up[:-1]):
            voxels = max(2 * voxels, needed) + reach
        return -(-voxels // stride) * stride

    return halo(0), halo(1), halo(2)


def _check(
    input_shape: Sequence[int | None],
    classes: int,
    channels: Sequence[int],
    dropout: float,
    l2: float,
) -> None:
    sizes = tuple(input_shape)
    if (
        len(sizes) != 4
        or sizes[3] is None
        or any(n is not None and n < 1 for n in sizes)
    ):
        raise ValueError(
            "input_shape must be (z, y, x, channels) with sizes of at least 1 or None "
            f"and a known number of channels. Received: input_shape={sizes}."
        )
    if classes < 2:
        raise ValueError(
            "classes must be at least 2, the background being the first. "
            f"Received: classes={classes}."
        )
    if len(channels) < 2 or min(channels) < 1:
        raise ValueError(
            "channels must be two or more numbers of at least 1. "
            f"Received: channels={tuple(channels)}. The paper's are {CHANNELS}."
        )
    if not 0 <= dropout < 1 or not l2 >= 0:
        raise ValueError(
            "dropout must be in [0, 1) and l2 at least 0. "
            f"Received: dropout={dropout}, l2={l2}."
        )
