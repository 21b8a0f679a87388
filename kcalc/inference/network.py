"""From a Keras model to the function that predict and export share.

Hounsfield units enter, probabilities leave; windowing, padding to the network's
multiple and cropping back are inside, so that a notebook, ``kcalc.predict`` and a
server cannot diverge.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from kcalc.errors import ModelError
from kcalc.hounsfield import CT_MIN_HU
from kcalc.inference.valid_network import (
    geometry_of,
    is_volume_network,
    main_model,
    volume_function,
)
from kcalc.preparation import InputSpec, ValidGeometry, windowed

GraphFunction = Callable[[Any], Any]


def check_network(model: keras.Model, input_spec: InputSpec) -> ValidGeometry | None:
    """Refuse a network of another kind than kcalc runs, and return its geometry.

    Returns:
        How the output of a network of valid 3-D convolutions lies in its input; None
        for a 2.5-D network, whose output lies on its input's middle slice.

    Raises:
        ModelError: ``MODEL_TASK``, as :func:`check_stack_model` and
            :func:`kcalc.inference.valid_network.geometry_of`.
    """
    if is_volume_network(model):
        return geometry_of(model, input_spec)
    check_stack_model(model, input_spec)
    return None


def check_stack_model(model: keras.Model, input_spec: InputSpec) -> None:
    """Refuse a model that is not a 2.5-D one of one class with this input.

    Raises:
        ModelError: ``MODEL_TASK``: the shapes are not (batch, y, x, stack) ->
            (batch, y, x, 1), or the spec asks for a spacing, which such models do
            not resample to.
    """
    takes, gives = model.input_shape, model.output_shape
    if (
        not (isinstance(takes, tuple) and isinstance(gives, tuple))
        or (len(takes), len(gives)) != (4, 4)
        or (takes[-1], gives[-1]) != (input_spec.stack, 1)
    ):
        raise ModelError(
            "MODEL_TASK",
            "The network must map (batch, y, x, stack) to (batch, y, x, 1) with "
            f"stack={input_spec.stack}. Received: {takes} to {gives}.",
            hint="Give the InputSpec that the network was trained with.",
        )
    if input_spec.spacing_mm is not None:
        raise ModelError(
            "MODEL_TASK",
            "A network on stacks of slices takes the scan's own spacing. Received: "
            f"input_spec.spacing_mm={input_spec.spacing_mm}.",
            hint="Resample the volume first and leave spacing_mm None.",
        )


def check_finite_weights(model: keras.Model) -> None:
    """Refuse a model with NaN or infinite weights, naming the first.

    Raises:
        ModelError: ``MODEL_NONFINITE``.
    """
    for variable in model.variables:
        value = tf.convert_to_tensor(variable.value)
        if value.dtype.is_floating and not bool(
            tf.reduce_all(tf.math.is_finite(value))
        ):
            raise ModelError(
                "MODEL_NONFINITE",
                f"Weights must be finite; {variable.path} holds NaN or infinity.",
                hint="Training diverged: go back to the last good checkpoint.",
            )


def probability_function(
    network: GraphFunction, input_spec: InputSpec
) -> GraphFunction:
    """Return the traced way from stacks in HU to probabilities.

    Args:
        network: Maps (batch, y, x, stack) float32 in [0, 1] to (batch, y, x, 1), such
            as a Keras model called with ``training=False``.
        input_spec: Window, stack and the multiple that y and x are padded to, with
            air (-1024 HU before the window) below and at the right.

    Returns:
        ``tf.function`` from ``hu`` int16 (n, y, x, stack), any n, y and x of at least
        1, to float32 probabilities (n, y, x). It is traced once, here.
    """
    _, multiple_y, multiple_x = input_spec.multiple_zyx
    spec = tf.TensorSpec([None, None, None, input_spec.stack], tf.int16, "hu")

    def probabilities(hu: Any) -> Any:
        size = tf.shape(hu)
        pad_y, pad_x = -size[1] % multiple_y, -size[2] % multiple_x
        # A non-zero constant: a zero Pad before a convolution is fused wrongly by
        # oneDNN in some shapes.
        padded = tf.pad(
            tf.cast(hu, tf.float32),
            [[0, 0], [0, pad_y], [0, pad_x], [0, 0]],
            constant_values=float(CT_MIN_HU),
        )
        scaled = windowed(padded, input_spec)
        scaled.set_shape([None, None, None, input_spec.stack])
        output = tf.cast(network(scaled), tf.float32)
        return output[:, : size[1], : size[2], 0]

    function: Any = tf.function(probabilities, input_signature=[spec], autograph=False)
    function.get_concrete_function()
    return function  # type: ignore[no-any-return]


_FUNCTIONS: weakref.WeakKeyDictionary[keras.Model, dict[InputSpec, GraphFunction]] = (
    weakref.WeakKeyDictionary()
)


def cached_probability_function(
    model: keras.Model, input_spec: InputSpec
) -> GraphFunction:
    """Return a model's way from HU to probabilities, traced once in its lifetime.

    The caller keeps the model alive; the function refers to it weakly.

    Returns:
        :func:`probability_function`, or of a network of valid 3-D convolutions
        :func:`kcalc.inference.valid_network.volume_function`.

    Raises:
        ModelError: The model is not of that form (:func:`check_network`).
    """
    functions = _FUNCTIONS.setdefault(model, {})
    if input_spec not in functions:
        if check_network(model, input_spec) is not None:
            main = main_model(model)
            functions[input_spec] = volume_function(
                lambda patch: main(patch, training=False), input_spec
            )
            return functions[input_spec]
        reference = weakref.ref(model)

        def network(scaled: Any) -> Any:
            alive: Any = reference()
            return alive(scaled, training=False)

        functions[input_spec] = probability_function(network, input_spec)
    return functions[input_spec]
