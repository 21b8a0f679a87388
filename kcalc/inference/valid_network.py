"""From a Keras model of valid 3-D convolutions to what :mod:`tiling` runs."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kcalc.errors import ModelError
from kcalc.inference.tiling import Run, ValidGeometry
from kcalc.models.residual_dropout_plan import (
    SMALLEST_ZYX,
    TOTAL_STRIDE_ZYX,
    output_windows,
)
from kcalc.preparation import InputSpec, windowed


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


def valid_run(model: keras.Model, input_spec: InputSpec) -> Run:
    """Return the function from HU (z, y, x) to probabilities of a network.

    Of a network with several outputs only what ``main`` needs is computed. The function
    is traced once, for tiles of any size.

    Args:
        model: Maps (batch, z, y, x, 1) of free sizes to (batch, z, y, x, 1), or to a
            dict with such a ``main``.
        input_spec: Its window is applied first.

    Returns:
        Function from int16 or float HU to float32 probabilities.

    Raises:
        ModelError: ``MODEL_TASK``: the network's shapes are others.
    """
    output = model.output
    output = output["main"] if isinstance(output, Mapping) else output
    takes = model.input_shape
    if takes != (None, None, None, None, 1) or tuple(output.shape) != takes:
        raise ModelError(
            "MODEL_TASK",
            "The network must map (batch, z, y, x, 1) of free sizes to the same form. "
            f"Received: {takes} to {tuple(output.shape)}.",
            hint="Build it with input_shape=(None, None, None, 1), load its weights.",
        )
    main = keras.Model(model.inputs, output)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec([None, None, None], tf.float32)]
    )
    def probabilities(hu: tf.Tensor) -> tf.Tensor:
        patch = windowed(hu, input_spec)[tf.newaxis, ..., tf.newaxis]
        return main(patch, training=False)[0, ..., 0]

    def run(hu: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        result: npt.NDArray[np.float32] = probabilities(hu.astype(np.float32)).numpy()
        return result

    return run
