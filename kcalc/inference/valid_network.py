"""From a Keras model of valid 3-D convolutions to what :mod:`tiling` runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kcalc.errors import ModelError
from kcalc.inference.tiling import Run
from kcalc.models.residual_dropout_plan import (
    PLANS,
    SMALLEST_ZYX,
    TOTAL_STRIDE_ZYX,
    output_windows,
)
from kcalc.preparation import InputSpec, Sizes, ValidGeometry, windowed

GraphFunction = Callable[[Any], Any]


def residual_dropout_geometry(variant: str = "literal") -> ValidGeometry:
    """Return how :func:`kcalc.models.residual_dropout_fcn` maps voxels.

    Raises:
        ValueError: There is no such variant.

    Example:
        >>> residual_dropout_geometry("aligned").before_zyx
        (18, 42, 42)
    """
    z, y, x = output_windows(SMALLEST_ZYX, variant)["main"]
    after = [n - w.stop for n, w in zip(SMALLEST_ZYX, (z, y, x), strict=True)]
    return ValidGeometry(
        before_zyx=(z.start, y.start, x.start),
        after_zyx=(after[0], after[1], after[2]),
        stride_zyx=TOTAL_STRIDE_ZYX,
        smallest_zyx=SMALLEST_ZYX,
    )


def is_volume_network(model: keras.Model) -> bool:
    """Return whether a model takes (batch, z, y, x, channel), as valid networks do."""
    takes = model.input_shape
    return isinstance(takes, tuple) and len(takes) == 5


def geometry_of(model: keras.Model, input_spec: InputSpec) -> ValidGeometry:
    """Return how the main output of a residual_dropout_fcn lies in its input.

    Args:
        model: The network, of any variant and of free sizes.
        input_spec: May repeat the geometry: ``halo_zyx`` what is taken off at the ends,
            or between them where they differ, ``stride_zyx`` the total stride.

    Raises:
        ModelError: ``MODEL_TASK``: it is another network, has fixed sizes, or the spec
            contradicts it.
    """
    stem = next((layer for layer in model.layers if layer.name == "stem_conv"), None)
    variants = [name for name, plan in PLANS.items() if plan.stem == _kernel_of(stem)]
    output = main_output(model)
    if not variants or output is None:
        raise ModelError(
            "MODEL_TASK",
            "A network on volumes must be a kcalc.models.residual_dropout_fcn. "
            f"Received: the model {model.name!r}.",
            hint="Give such a model, or a network on stacks of slices.",
        )
    takes = model.input_shape
    if takes != (None, None, None, None, 1) or tuple(output.shape) != takes:
        raise ModelError(
            "MODEL_TASK",
            "The network must map (batch, z, y, x, 1) of free sizes to the same form. "
            f"Received: {takes} to {tuple(output.shape)}.",
            hint="Build it with input_shape=(None, None, None, 1), load its weights.",
        )
    geometry = residual_dropout_geometry(variants[0])
    ends = (geometry.before_zyx, geometry.after_zyx)
    fits = input_spec.halo_zyx == (0, 0, 0) or all(
        min(sides) <= n <= max(sides)
        for n, sides in zip(input_spec.halo_zyx, zip(*ends, strict=True), strict=True)
    )
    strides = ((1, 1, 1), geometry.stride_zyx)
    if (
        (input_spec.stack, input_spec.multiple_zyx, input_spec.context)
        != (1, (1, 1, 1), "local")
        or not fits
        or input_spec.stride_zyx not in strides
    ):
        raise ModelError(
            "MODEL_TASK",
            "The InputSpec of this network has stack=1, multiple_zyx=(1, 1, 1), "
            f"context='local', halo_zyx (0, 0, 0) or {ends[0]} to {ends[1]}, and "
            f"stride_zyx one of {strides}. Received: {input_spec}.",
            hint="Give window_hu and spacing_mm alone; the network tells the rest.",
        )
    return geometry


def _kernel_of(layer: Any) -> Sizes | None:
    kernel = getattr(layer, "kernel_size", ())
    return tuple(kernel) if len(kernel) == 3 else None


def main_output(model: keras.Model) -> Any:
    """Return the output ``main`` of several, or the only one; None without either."""
    output = model.output
    return output.get("main") if isinstance(output, Mapping) else output


def main_model(model: keras.Model) -> keras.Model:
    """Return the part of a network that its main output needs, on the same weights."""
    return keras.Model(model.inputs, main_output(model))


def volume_function(network: GraphFunction, input_spec: InputSpec) -> GraphFunction:
    """Return the traced way from volumes in HU to probabilities, valid in size.

    Args:
        network: Maps (batch, z, y, x, 1) float32 in [0, 1] to probabilities
            (batch, z', y', x', 1), such as :func:`main_model`.
        input_spec: Its window is applied first.

    Returns:
        ``tf.function`` from ``hu`` int16 (n, z, y, x) to float32 (n, z', y', x'). It
        is traced once, here.
    """
    spec = tf.TensorSpec([None, None, None, None], tf.int16, "hu")

    def probabilities(hu: Any) -> Any:
        patch = windowed(tf.cast(hu, tf.float32), input_spec)[..., tf.newaxis]
        return tf.cast(network(patch), tf.float32)[..., 0]

    function: Any = tf.function(probabilities, input_signature=[spec], autograph=False)
    function.get_concrete_function()
    return function  # type: ignore[no-any-return]


def valid_run(model: keras.Model, input_spec: InputSpec) -> Run:
    """Return the function from HU (z, y, x) to probabilities of a network.

    Of a network with several outputs only what ``main`` needs is computed. The function
    is traced once, for tiles of any size.

    Args:
        model: :func:`kcalc.models.residual_dropout_fcn` of free sizes.
        input_spec: Its window is applied first.

    Returns:
        Function from HU, rounded to int16, to float32 probabilities.

    Raises:
        ModelError: As :func:`geometry_of`.
    """
    geometry_of(model, input_spec)
    main = main_model(model)
    probabilities = volume_function(
        lambda patch: main(patch, training=False), input_spec
    )

    def run(hu: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        batch = tf.constant(rounded_hu(hu)[np.newaxis])
        result: npt.NDArray[np.float32] = probabilities(batch).numpy()[0]
        return result

    return run


def rounded_hu(hu: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """Return HU as a network sees them: rounded to int16, clipped to its range."""
    if hu.dtype == np.int16:
        return hu
    limits = np.iinfo(np.int16)
    return np.asarray(np.clip(np.rint(hu), limits.min, limits.max), np.int16)
