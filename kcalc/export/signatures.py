"""The entry points of a 2.5-D network's SavedModel, in plain TensorFlow ops.

A scan in Hounsfield units enters, probabilities or a mask leave; bad input raises
InvalidArgument with a message that says what to send, never a zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from kcalc.artifact import Signature, TensorInfo
from kcalc.export.components import vote
from kcalc.export.refusals import (
    all_finite,
    hide_shape,
    require,
    require_finite,
    require_hounsfield,
    require_scan,
)
from kcalc.preparation import NEAREST_BELOW, InputSpec

GraphFunction = Callable[..., Any]

_ZYX = ("z", "y", "x")

SEGMENT = Signature(
    inputs={
        "hu": TensorInfo("int16", _ZYX, (None, None, None)),
        "spacing_mm": TensorInfo("float32", ("zyx",), (3,)),
    },
    outputs={"mask": TensorInfo("uint8", _ZYX, (None, None, None))},
)
"""The contract of ``segment``, as the manifest stores it."""

SCAN_SPECS = [
    tf.TensorSpec([None, None, None], tf.int16, "hu"),
    tf.TensorSpec([3], tf.float32, "spacing_mm"),
]
"""What ``segment`` takes."""


def describe_signatures(input_spec: InputSpec) -> dict[str, Signature]:
    """Return the contract of the signatures, as the manifest stores it."""
    any_zyx = (None, None, None)
    stacks = TensorInfo("int16", ("n", "y", "x", "slice"), (*any_zyx, input_spec.stack))
    return {
        "serving_default": Signature(
            inputs={"hu": stacks},
            outputs={"probabilities": TensorInfo("float32", ("n", "y", "x"), any_zyx)},
        ),
        "segment": SEGMENT,
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
        shape = tf.shape(hide_shape(hu))
        hu = require(
            hu, tf.equal(tf.size(shape), 4), f"hu must have four axes. {send}", shape
        )
        hu = require(
            hu,
            tf.equal(shape[-1], input_spec.stack),
            f"hu must hold {_stack_in_words(input_spec)}. {send}",
            shape,
        )
        hu = require_hounsfield(hu, shape, send)
        output = probabilities(hu)
        return {"probabilities": require_finite(output, all_finite(output))}

    return tf.function(serving_default, input_signature=[spec], autograph=False)


def stack_mask_function(
    probabilities: GraphFunction,
    input_spec: InputSpec,
    *,
    threshold: float,
    candidate_hu: int,
    component_share: float | None,
    batch_slices: int,
) -> GraphFunction:
    """Return the way from a scan to its mask.

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
        Function from ``hu`` int16 (z, y, x), caudal to cranial, rows to posterior,
        columns to the patient's left, and ``spacing_mm`` float32 (3,), to the mask,
        uint8 (z, y, x), 1 where there is calcium.
    """

    def mask_of(hu: Any, spacing_mm: Any) -> Any:
        hu = require_scan(hu, spacing_mm, input_spec)
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
            return start + batch_slices, mask, finite & all_finite(output)

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
        return require_finite(mask, finite)

    return mask_of


def segment_signature(mask_of: GraphFunction) -> Any:
    """Return ``segment``, the ``tf.function`` from a scan to ``mask``.

    Args:
        mask_of: From :func:`stack_mask_function` or
            :func:`kcalc.export.volume_signatures.volume_mask_function`.
    """

    def segment(hu: Any, spacing_mm: Any) -> dict[str, Any]:
        return {"mask": mask_of(hu, spacing_mm)}

    return tf.function(segment, input_signature=SCAN_SPECS, autograph=False)


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
