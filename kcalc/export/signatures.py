"""The entry points of a SavedModel, in plain TensorFlow ops.

A scan in Hounsfield units enters, probabilities or a mask leave; bad input raises
InvalidArgument with a message that says what to send, never a zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from kcalc.artifact import Signature, TensorInfo
from kcalc.export.components import vote
from kcalc.preparation import NEAREST_BELOW, InputSpec

GraphFunction = Callable[..., Any]

_ZYX = ("z", "y", "x")


def describe_signatures(input_spec: InputSpec) -> dict[str, Signature]:
    """Return the contract of the signatures, as the manifest stores it."""
    any_zyx = (None, None, None)
    return {
        "serving_default": Signature(
            inputs={
                "hu": TensorInfo(
                    "int16", ("n", "y", "x", "slice"), (*any_zyx, input_spec.stack)
                )
            },
            outputs={"probabilities": TensorInfo("float32", ("n", "y", "x"), any_zyx)},
        ),
        "segment": Signature(
            inputs={
                "hu": TensorInfo("int16", _ZYX, any_zyx),
                "spacing_mm": TensorInfo("float32", ("zyx",), (3,)),
            },
            outputs={"mask": TensorInfo("uint8", _ZYX, any_zyx)},
        ),
    }


def serving_signature(probabilities: GraphFunction, input_spec: InputSpec) -> Any:
    """Return ``serving_default``: stacks of slices in, probabilities out.

    Args:
        probabilities: From :func:`kcalc.inference.network.probability_function`.
        input_spec: What the network takes.

    Returns:
        ``tf.function`` from ``hu`` int16 (n, y, x, stack), whole slices in HU with the
        slice to label in the middle, to ``probabilities`` float32 (n, y, x).
    """
    send = f"Send hu as int16 Hounsfield units [n, y, x, {input_spec.stack}]."
    spec = tf.TensorSpec([None, None, None, input_spec.stack], tf.int16, "hu")

    def serving_default(hu: Any) -> dict[str, Any]:
        shape = tf.shape(_hide_shape(hu))
        hu = _require(
            hu, tf.equal(tf.size(shape), 4), f"hu must have four axes. {send}", shape
        )
        hu = _require(
            hu,
            tf.equal(shape[-1], input_spec.stack),
            f"hu must hold {_stack_in_words(input_spec)}. {send}",
            shape,
        )
        hu = _require_hounsfield(hu, shape, send)
        output = probabilities(hu)
        return {"probabilities": _require_finite(output, _all_finite(output))}

    return tf.function(serving_default, input_signature=[spec], autograph=False)


def segment_signature(
    probabilities: GraphFunction,
    input_spec: InputSpec,
    *,
    threshold: float,
    candidate_hu: int,
    component_share: float | None,
    batch_slices: int,
) -> Any:
    """Return ``segment``: a scan in, its mask out.

    Each slice with a voxel >= ``candidate_hu`` is run with its neighbours, the border
    slices repeated; the others are 0. Memory is bounded by ``batch_slices``.

    Args:
        probabilities: From :func:`kcalc.inference.network.probability_function`.
        input_spec: What the network takes.
        threshold: Probability at and above which a voxel is in the mask.
        candidate_hu: Value in HU that a voxel must reach to be in the mask.
        component_share: Share of a component that makes it part of the mask, or None
            (:func:`kcalc.inference.postprocess.calcium_of_slices`).
        batch_slices: Slices per call of the network.

    Returns:
        ``tf.function`` from ``hu`` int16 (z, y, x), caudal to cranial, rows to
        posterior, columns to the patient's left, and ``spacing_mm`` float32 (3,), to
        ``mask`` uint8 (z, y, x), 1 where there is calcium.
    """
    send_hu = "Send hu as int16 Hounsfield units [z, y, x]."
    send_spacing = "Send spacing_mm as three positive float32 millimetres [z, y, x]."
    specs = [
        tf.TensorSpec([None, None, None], tf.int16, "hu"),
        tf.TensorSpec([3], tf.float32, "spacing_mm"),
    ]

    def segment(hu: Any, spacing_mm: Any) -> dict[str, Any]:
        shape = tf.shape(_hide_shape(hu))
        hu = _require(
            hu,
            tf.equal(tf.size(shape), 3),
            f"hu must have three axes. {send_hu}",
            shape,
        )
        # Counted, not compared with the static shape, which would be folded away.
        good = tf.cast(tf.math.is_finite(spacing_mm) & (spacing_mm > 0.0), tf.int32)
        hu = _require(
            hu,
            tf.equal(tf.reduce_sum(good), 3) & tf.equal(tf.reduce_sum(1 - good), 0),
            f"spacing_mm must be three finite, positive numbers. {send_spacing}",
            spacing_mm,
        )
        hu = _require_hounsfield(hu, shape, send_hu)
        steps = _stack_steps(input_spec, tf.shape(hu)[0], spacing_mm[0])
        slices = tf.cast(
            tf.where(tf.reduce_any(hu >= candidate_hu, axis=[1, 2]))[:, 0], tf.int32
        )

        def run_batch(start: Any, mask: Any, finite: Any) -> tuple[Any, Any, Any]:
            batch = slices[start : start + batch_slices]
            last = tf.shape(hu)[0] - 1
            stack = tf.clip_by_value(batch[:, None] + steps, 0, last)
            output = probabilities(tf.transpose(tf.gather(hu, stack), [0, 2, 3, 1]))
            candidates = tf.gather(hu, batch) >= candidate_hu
            found = (output >= threshold) & candidates
            if component_share is not None:
                found = vote(found, candidates, component_share)
            mask = tf.tensor_scatter_nd_update(
                mask, batch[:, None], tf.cast(found, tf.uint8)
            )
            return start + batch_slices, mask, finite & _all_finite(output)

        _, mask, finite = tf.while_loop(
            lambda start, mask, finite: start < tf.size(slices),
            run_batch,
            (tf.constant(0), tf.zeros_like(hu, tf.uint8), tf.constant(True)),
            shape_invariants=(
                tf.TensorShape([]),
                tf.TensorShape([None, None, None]),
                tf.TensorShape([]),
            ),
            parallel_iterations=1,
        )
        return {"mask": _require_finite(mask, finite)}

    return tf.function(segment, input_signature=specs, autograph=False)


def _stack_steps(input_spec: InputSpec, num_slices: Any, slice_spacing_mm: Any) -> Any:
    """Return the slices of a stack, int32 (stack,), counted from its middle one."""
    half = input_spec.stack // 2
    steps = tf.range(-half, half + 1)
    if input_spec.stack_step_mm is None:
        return steps
    step_mm = tf.constant(input_spec.stack_step_mm, tf.float64)
    apart = tf.cast(tf.abs(steps), tf.float64) * (
        step_mm / tf.cast(slice_spacing_mm, tf.float64)
    )
    nearest = tf.minimum(
        tf.floor(apart + NEAREST_BELOW), tf.cast(num_slices, tf.float64)
    )
    return tf.sign(steps) * tf.cast(nearest, tf.int32)


def _stack_in_words(input_spec: InputSpec) -> str:
    if input_spec.stack_step_mm is None:
        return f"{input_spec.stack} neighbouring slices"
    return f"{input_spec.stack} slices {input_spec.stack_step_mm:g} mm apart"


def _require(tensor: Any, condition: Any, message: str, *data: Any) -> Any:
    """Return the tensor, which exists only where the condition holds."""
    check = tf.debugging.Assert(condition, [message, "Received:", *data], summarize=8)
    with tf.control_dependencies([check]):
        return tf.identity(tensor)


def _require_hounsfield(hu: Any, shape: Any, send: str) -> Any:
    hu = _require(hu, tf.reduce_all(shape > 0), f"hu must not be empty. {send}", shape)
    low_hu, high_hu = tf.reduce_min(hu), tf.reduce_max(hu)
    hu = _require(
        hu,
        low_hu < high_hu,
        f"hu must be an image; every voxel has the same value. {send}",
        low_hu,
    )
    return _require(
        hu,
        low_hu < 0,
        "hu must have voxels below 0 HU, as air and fat have. Was the rescale "
        "forgotten, or the image windowed? Send stored value * RescaleSlope + "
        f"RescaleIntercept. {send}",
        low_hu,
    )


def _require_finite(tensor: Any, finite: Any) -> Any:
    return _require(
        tensor,
        finite,
        "the network gave NaN or infinite probabilities. Send the scan to another "
        "model; this one's weights overflow on it.",
        finite,
    )


def _all_finite(tensor: Any) -> Any:
    return tf.reduce_all(tf.math.is_finite(tensor))


def _hide_shape(tensor: Any) -> Any:
    """Return the tensor with its static shape unknown.

    A server does not compare what it is sent with the signature's shape, and a check of
    a shape that the graph believes to know is folded away.
    """
    return tf.compat.v1.placeholder_with_default(tensor, shape=None)
