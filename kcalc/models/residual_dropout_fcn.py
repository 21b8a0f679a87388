"""Residual dropout FCN: a head CT patch in, calcium of the intracranial carotids out.

Valid 3-D convolutions at full size and after one and two steps down, two steps up with
cropped skips, and a classifier on each of the blocks 2 to 8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

import kcalc.layers
from kcalc.layers import norm_relu
from kcalc.layers.residual_dropout_block import check_dropout
from kcalc.models.residual_dropout_plan import (
    BLOCK_KERNELS,
    FUSE_KERNEL,
    STRIDES,
    Sizes,
    check_size,
    plan_of,
)

CHANNELS = (16, 32, 64)
DROPOUT_RATES = (0.3, 0.3, 0.4, 0.4, 0.5)
FIRST_BLOCK_WITH_DROPOUT = 4
AUXILIARY_BLOCKS = range(2, 8)

Tensor = Any


def residual_dropout_fcn(
    input_shape: tuple[int | None, int | None, int | None, int] = (98, 178, 178, 1),
    variant: str = "literal",
    *,
    residual: bool = True,
    dropout_position: str | None = "before_addition",
    dropout_rates: Sequence[float] = DROPOUT_RATES,
    spatial_dropout: bool = False,
    stochastic_depth: bool = False,
    deep_supervision: bool = True,
    channels: Sequence[int] = CHANNELS,
    kernel_initializer: Any = "he_normal",
) -> keras.Model:
    """Return the intracranial carotid network of Bortsova et al. (2017).

    Stated in the paper: valid 3-D convolutions, strided ones for downsampling, less of
    it along z, batch normalisation before every activation, 24 convolutions, six
    auxiliary classifiers, patches of 98x178x178, a receptive field of 37x85x85, the
    blocks and the dropout in blocks 4 to 8. Its Fig. 1, with kernels and channels, is
    lost; both variants are derived from these facts:

    * ``"literal"`` (default): each output voxel has a non-zero gradient at exactly
      37x85x85 input voxels. Output 62x96x96. Odd crops, so that enlarged maps lie half
      a voxel off the skips, and the last row and column of the patch are not seen.
    * ``"aligned"``: an output is 36x84x84 voxels smaller than its input (context
      37x85x85), every crop is symmetric and every map exactly aligned. Output
      62x94x94; a voxel's gradient reaches 38x86x86 to 38x90x90 voxels.

    No network of this form has both properties. Not stated, chosen here: 16, 32 and 64
    channels, nearest-neighbour enlargement, He initialisation, no bias (batch
    normalisation follows every sum), classifiers by 1x1x1 convolution, batch
    normalisation and sigmoid, of the auxiliary ones behind normalisation and ReLU.
    Auxiliary probabilities are enlarged by repetition to the input's voxels: the same
    numbers as enlarging before the sigmoid.

    Args:
        input_shape: (z, y, x, channels) of one input; sizes are 38 and multiples of 2
            above it along z, 86 and multiples of 4 above it in plane, or None.
        variant: ``"literal"`` or ``"aligned"``.
        residual: Whether blocks have skip connections; False is the paper's plain
            network, whose dropout position is not stated (``"before_second"`` is
            kcalc's choice).
        dropout_position: Place of dropout in the blocks 4 to 8: ``"before_addition"``
            (the paper's best), ``"before_first"``, ``"before_second"`` or None.
        dropout_rates: Shares dropped in blocks 4 to 8.
        spatial_dropout: Whether whole feature maps are dropped and not single values.
        stochastic_depth: Whether a block's convolutions are dropped as a whole.
        deep_supervision: Whether the six auxiliary outputs are there.
        channels: Channels at full size and after one and two steps down. The paper's
            are lost; (16, 32, 64) fits its 8 GB.
        kernel_initializer: Initialiser of all kernels.

    Returns:
        A functional model from (batch, z, y, x, channels) to a dict of probabilities,
        float32 also under mixed precision: ``main`` and, with deep supervision,
        ``aux_2`` to ``aux_7``, each (batch, z, y, x, 1) on voxels of the input, of
        which :func:`kcalc.models.output_windows` tells the place. Batch normalisation
        shares its moments between replicas.

    Raises:
        ValueError: An argument breaks these rules, such as ``residual=False`` with
            ``dropout_position="before_addition"``.

    Example:
        >>> model = residual_dropout_fcn((38, 86, 86, 1), channels=(2, 4, 8))
        >>> model.output["main"].shape
        (None, 2, 4, 4, 1)

    References:
        Bortsova et al., Segmentation of Intracranial Arterial Calcification with Deeply
        Supervised Residual Dropout Networks, MICCAI 2017, doi
        10.1007/978-3-319-66179-7_41, sections 2 and 3.
    """
    plan = plan_of(variant)
    check_dropout(residual, dropout_position, spatial_dropout, stochastic_depth)
    _check(input_shape, dropout_rates, channels)

    def initializer(name: str) -> Any:
        return kcalc.layers.independent_initializer(kernel_initializer, name)

    convolution = _convolution_of(initializer)
    dropout_of = dict(enumerate(dropout_rates, start=FIRST_BLOCK_WITH_DROPOUT))
    features: dict[int, Tensor] = {}

    def blocks(x: Tensor, numbers: Sequence[int], level: int) -> Tensor:
        for number in numbers:
            x = kcalc.layers.ResidualDropoutBlock(
                BLOCK_KERNELS[level],
                residual=residual,
                dropout_position=dropout_position if number in dropout_of else None,
                dropout_rate=dropout_of.get(number, 0.0),
                spatial_dropout=spatial_dropout,
                stochastic_depth=stochastic_depth and number in dropout_of,
                kernel_initializer=initializer(f"block{number}"),
                name=f"block{number}",
            )(x)
            features[number] = x
        return x

    # Down: the stem's output enters block 1 as it is.
    inputs = keras.Input(input_shape, name="patch")
    x = convolution(inputs, channels[0], plan.stem, "stem")
    x = blocks(x, plan.encoder[0], 0)
    skips = [x]
    for level in (1, 2):
        name, stride = f"down{level}", STRIDES[level - 1]
        x = norm_relu(x, name)
        x = convolution(x, channels[level], plan.down[level - 1], name, strides=stride)
        x = blocks(x, plan.encoder[level], level)
        skips.append(x)

    # Up: enlarging after normalisation and ReLU gives what enlarging before them gives.
    for level, numbers in zip((1, 0), plan.decoder, strict=True):
        name = f"up{level + 1}"
        x = norm_relu(x, name)
        x = keras.layers.UpSampling3D(STRIDES[level], name=f"{name}_enlarge")(x)
        x = convolution(x, channels[level], plan.up, name)
        skip = keras.layers.Cropping3D(plan.skip_crops[level], name=f"{name}_crop")(
            skips[level]
        )
        x = keras.layers.Concatenate(name=f"{name}_join")([x, skip])
        x = norm_relu(x, f"fuse{level + 1}")
        x = convolution(x, channels[level], FUSE_KERNEL, f"fuse{level + 1}")
        x = blocks(x, numbers, level)

    # Heads, in float32 under every dtype policy.
    outputs = {"main": _head(x, "main", initializer)}
    if deep_supervision:
        steps = _steps_of_blocks(plan.encoder, plan.decoder)
        for number in AUXILIARY_BLOCKS:
            name = f"aux_{number}"
            x = norm_relu(features[number], name)
            outputs[name] = _head(x, name, initializer, steps[number])
    return keras.Model(inputs, outputs, name=f"residual_dropout_fcn_{variant}")


def _check(
    input_shape: Sequence[int | None],
    dropout_rates: Sequence[float],
    channels: Sequence[int],
) -> None:
    sizes = tuple(input_shape)
    if len(sizes) != 4 or sizes[3] is None or sizes[3] < 1:
        raise ValueError(
            "input_shape must be (z, y, x, channels) with a known number of channels. "
            f"Received: input_shape={sizes}."
        )
    check_size(sizes[:3], "input_shape[:3]")
    rates = tuple(dropout_rates)
    if len(rates) != len(DROPOUT_RATES) or not all(0 <= rate < 1 for rate in rates):
        raise ValueError(
            "dropout_rates must be five shares, of blocks 4 to 8, each at least 0 and "
            f"below 1. Received: dropout_rates={rates}. The paper's are "
            f"{DROPOUT_RATES}."
        )
    if len(channels) != len(CHANNELS) or min(channels) < 1:
        raise ValueError(
            "channels must be three numbers, each at least 1: at full size and after "
            f"one and two steps down. Received: channels={tuple(channels)}."
        )


def _steps_of_blocks(
    encoder: Sequence[Sequence[int]], decoder: Sequence[Sequence[int]]
) -> dict[int, Sizes]:
    """Return how many input voxels a voxel of each block's output stands for."""
    first, second = STRIDES
    both: Any = tuple(a * b for a, b in zip(first, second, strict=True))
    of_level: tuple[Sizes, Sizes, Sizes] = ((1, 1, 1), first, both)
    levels = [*enumerate(encoder), *zip((1, 0), decoder, strict=True)]
    return {number: of_level[level] for level, numbers in levels for number in numbers}


def _convolution_of(initializer: Callable[[str], Any]) -> Callable[..., Tensor]:
    def convolution(
        x: Tensor, filters: int, size: Sizes, name: str, strides: Sizes = (1, 1, 1)
    ) -> Tensor:
        return keras.layers.Conv3D(
            filters,
            size,
            strides=strides,
            use_bias=False,
            kernel_initializer=initializer(name),
            name=f"{name}_conv",
        )(x)

    return convolution


def _head(
    x: Tensor,
    name: str,
    initializer: Callable[[str], Any],
    step: Sizes = (1, 1, 1),
) -> Tensor:
    x = keras.layers.Conv3D(
        1,
        1,
        use_bias=False,
        kernel_initializer=initializer(f"{name}_logits"),
        dtype="float32",
        name=f"{name}_logits",
    )(x)
    x = kcalc.layers.batch_normalization(dtype="float32", name=f"{name}_logits_bn")(x)
    x = keras.layers.Activation("sigmoid", dtype="float32", name=f"{name}_sigmoid")(x)
    return keras.layers.UpSampling3D(step, dtype="float32", name=name)(x)
