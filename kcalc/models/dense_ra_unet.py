"""DenseRAUnet: nine neighbouring slices in, calcium probability of the middle one out.

Trunk: DenseNet-121 without its first pooling, so that its four dense blocks work at
1/2, 1/4, 1/8 and 1/16 of the slice's size. Decoder: three modules up to 1/2. Lesions
are 3 to 20 pixels wide; with the pooling the finest map would be at 1/4.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras

import kcalc.layers
from kcalc.layers import norm_relu
from kcalc.models.densenet_weights import BLOCKS, COLOURS, load_densenet121

STEM_FILTERS = 64
GROWTH_RATE = 32
COMPRESSION = 0.5
DECODER_FILTERS = (256, 128, 64)
TOTAL_STRIDE = 16

Tensor = Any


def dense_ra_unet(
    input_shape: tuple[int | None, int | None, int] = (512, 512, 9),
    *,
    width: float = 1.0,
    blocks: Sequence[int] = BLOCKS,
    residual_atrous: bool = True,
    extra_dense: bool = True,
    scse: bool = True,
    dilations: Sequence[int] = (2, 4, 8),
    kernel_initializer: Any = None,
    initial_std: float | None = None,
    imagenet_weights: str | os.PathLike[str] | None = None,
) -> keras.Model:
    """Return DenseRAUnet, the coronary network of Ma and Zhang (2019).

    The three switches give the rows of the paper's Table 1: all off is its Dense U-Net.

    Stated in the paper: the DenseNet-121 encoder, nine slices as channels, three
    decoder modules of deconvolution and two convolutions with batch normalisation and
    ReLU, scSE after each, the residual atrous unit with dilations 2, 4 and 8 on the
    skips, the extra dense block on the first of them, Gaussian initialisation.
    Not stated, chosen here: no first pooling (see the module), skips taken after the
    normalisation and ReLU that follow each dense block, 3x3 kernels, 2x2 stride-2
    deconvolution, 256, 128 and 64 decoder channels, extra dense block before residual
    atrous unit. The 1x1 output convolution runs at half size and its logits are
    enlarged bilinearly: the same numbers as enlarging first, since both are linear and
    bilinear weights sum to one, at a quarter of the cost.

    Args:
        input_shape: (y, x, slices) of one input. y and x may be None, and must be
            multiples of 16 when the network runs (``InputSpec.multiple_zyx`` pads).
            Values are expected in [0, 1], caudal slice first.
        width: Factor on all channel numbers, rounded to multiples of 4, at least 4. The
            paper's network is 1; 0.25 is small enough to ship.
        blocks: Layers of the four dense blocks; (6, 12, 24, 16) is DenseNet-121.
        residual_atrous: Whether the skips pass through ``ResidualAtrousUnit``.
        extra_dense: Whether the first skip passes through ``ExtraDenseBlock``.
        scse: Whether each decoder module ends with ``ScSE``. It makes every output
            depend on the whole slice.
        dilations: Dilations of the residual atrous units.
        kernel_initializer: Initialiser of all kernels instead of a Gaussian.
        initial_std: Standard deviation of the Gaussian that all kernels start from.
            None, the default, is sqrt(2 / fan_in) of each kernel: "Gauss" in MXNet's
            ``Xavier(rnd_type="gaussian", factor_type="in", magnitude=2)``. The paper
            names the family, not the deviation; MXNet's ``Normal`` has 0.01. Measured
            at full size on noise, in training: 0.01 starts nearer to p = 0.5 (0.51, SD
            0.007, against 0.72, SD 0.07), and a first SGD step of the paper's rate
            changes a kernel by 2.6 times as large a part of itself (median; 11 times at
            most): batch normalisation makes up for small kernels, not for the rate.
        imagenet_weights: File of Keras' DenseNet-121 weights without top that the trunk
            starts from (:func:`kcalc.models.densenet_weights.load_densenet121`); for
            width 1, blocks (6, 12, 24, 16) and a multiple of 3 slices. The paper starts
            from scratch. Two things differ from where those weights were trained: no
            first pooling, so that blocks see twice as fine maps, and the stem's odd
            padding pixel lies at the end.

    Returns:
        A functional model from (batch, y, x, slices) to probabilities of the middle
        slice, (batch, y, x, 1), float32 also under mixed precision. Batch
        normalisation shares its moments between replicas.

    Raises:
        ValueError: An argument breaks these rules.
        ModelError: The file of weights is missing, damaged or of another network.

    Example:
        >>> model = dense_ra_unet((32, 32, 9), width=0.125, blocks=(1, 1, 1, 1))
        >>> model.output_shape
        (None, 32, 32, 1)

    References:
        Ma, Zhang, Automatic Calcium Scoring in Cardiac and Chest CT Using DenseRAUnet,
        2019, arXiv 1907.11392, section 2.3 and Fig. 1. Huang et al., Densely Connected
        Convolutional Networks, CVPR 2017, doi 10.1109/CVPR.2017.243, Table 1.
    """
    _check(input_shape, width, blocks)
    if imagenet_weights is not None:
        _check_imagenet(input_shape, width, blocks)
    if kernel_initializer is None:
        kernel_initializer = _gaussian(initial_std)
    elif initial_std is not None:
        raise ValueError(
            "initial_std is the deviation of the default Gaussian; with another "
            f"kernel_initializer it must be None. Received: initial_std={initial_std}."
        )

    def channels(full_width: float) -> int:
        return max(4, 4 * round(full_width * width / 4))

    def initializer(name: str) -> Any:
        return kcalc.layers.independent_initializer(kernel_initializer, name)

    convolution = _convolution_of(initializer)
    growth_rate = channels(GROWTH_RATE)

    # Encoder: taps at strides 2, 4, 8 and 16.
    inputs = keras.Input(input_shape, name="slices")
    x = convolution(inputs, channels(STEM_FILTERS), 7, "stem", strides=2)
    x = norm_relu(x, "stem")
    taps = []
    for number, num_layers in enumerate(blocks, start=1):
        x = kcalc.layers.DenseBlock(
            num_layers,
            growth_rate,
            kernel_initializer=initializer(f"dense{number}"),
            name=f"dense{number}",
        )(x)
        x = norm_relu(x, f"dense{number}_out")
        taps.append(x)
        if number < len(blocks):
            compressed = int(x.shape[-1] * COMPRESSION)
            x = convolution(x, compressed, 1, f"transition{number}")
            x = keras.layers.AveragePooling2D(2, name=f"transition{number}_pool")(x)

    # Skips: the first has the extra dense block, all have the residual atrous unit.
    skips = taps[:-1]
    if extra_dense:
        skips[0] = kcalc.layers.ExtraDenseBlock(
            growth_rate=growth_rate,
            kernel_initializer=initializer("skip1_extra_dense"),
            name="skip1_extra_dense",
        )(skips[0])
    if residual_atrous:
        skips = [
            kcalc.layers.ResidualAtrousUnit(
                dilations,
                branch_filters=max(4, skip.shape[-1] // 4),
                kernel_initializer=initializer(f"skip{number}_residual_atrous"),
                name=f"skip{number}_residual_atrous",
            )(skip)
            for number, skip in enumerate(skips, start=1)
        ]

    # Decoder: 1/16 -> 1/8 -> 1/4 -> 1/2.
    for number, full_width in zip((3, 2, 1), DECODER_FILTERS, strict=True):
        filters = channels(full_width)
        name = f"decoder{number}"
        x = keras.layers.Conv2DTranspose(
            filters,
            2,
            strides=2,
            use_bias=False,
            kernel_initializer=initializer(f"{name}_up_deconv"),
            name=f"{name}_up_deconv",
        )(x)
        x = norm_relu(x, f"{name}_up")
        x = keras.layers.Concatenate(name=f"{name}_join")([x, skips[number - 1]])
        for part in ("a", "b"):
            x = convolution(x, filters, 3, f"{name}_{part}")
            x = norm_relu(x, f"{name}_{part}")
        if scse:
            x = kcalc.layers.ScSE(
                kernel_initializer=initializer(f"{name}_scse"), name=f"{name}_scse"
            )(x)

    # Head, in float32 under every dtype policy.
    x = keras.layers.Conv2D(
        1,
        1,
        kernel_initializer=initializer("head_logits"),
        dtype="float32",
        name="head_logits",
    )(x)
    x = kcalc.layers.BilinearDoubling(dtype="float32", name="head_enlarge")(x)
    outputs = keras.layers.Activation("sigmoid", dtype="float32", name="probabilities")(
        x
    )
    model = keras.Model(inputs, outputs, name="dense_ra_unet")
    if imagenet_weights is not None:
        load_densenet121(model, imagenet_weights)
    return model


def _gaussian(std: float | None) -> keras.initializers.Initializer:
    if std is None:
        return keras.initializers.VarianceScaling(
            scale=2.0, mode="fan_in", distribution="untruncated_normal"
        )
    if not 0 < std < math.inf:
        raise ValueError(
            f"initial_std must be None or above 0. Received: initial_std={std}."
        )
    return keras.initializers.RandomNormal(0.0, std)


def _check(input_shape: Sequence[int | None], width: float, blocks: Any) -> None:
    sizes = tuple(input_shape)
    fits = len(sizes) == 3 and all(
        size is None or (size > 0 and size % TOTAL_STRIDE == 0) for size in sizes[:2]
    )
    if not fits or sizes[2] is None or sizes[2] < 1:
        raise ValueError(
            "input_shape must be (y, x, slices) with y and x multiples of "
            f"{TOTAL_STRIDE} or None and a known number of slices. Received: "
            f"input_shape={sizes}. Pad the slices, as InputSpec(multiple_zyx="
            f"(1, {TOTAL_STRIDE}, {TOTAL_STRIDE})) does."
        )
    if not width > 0:
        raise ValueError(f"width must be above 0. Received: width={width}.")
    if len(blocks) != 4 or min(blocks) < 1:
        raise ValueError(
            "blocks must be four numbers of layers, each at least 1. Received: "
            f"blocks={tuple(blocks)}. DenseNet-121 is (6, 12, 24, 16)."
        )


def _check_imagenet(
    input_shape: Sequence[int | None], width: float, blocks: Sequence[int]
) -> None:
    if width != 1 or tuple(blocks) != BLOCKS or (input_shape[-1] or 0) % COLOURS:
        raise ValueError(
            f"imagenet_weights need width=1, blocks={BLOCKS} and a multiple of "
            f"{COLOURS} slices. Received: width={width}, blocks={tuple(blocks)}, "
            f"input_shape={tuple(input_shape)}."
        )


def _convolution_of(initializer: Callable[[str], Any]) -> Callable[..., Tensor]:
    def convolution(
        x: Tensor, filters: int, size: int, name: str, strides: int = 1
    ) -> Tensor:
        return keras.layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer=initializer(name),
            name=f"{name}_conv",
        )(x)

    return convolution
