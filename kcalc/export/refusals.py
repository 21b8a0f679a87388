"""Refusals inside a graph: bad input raises InvalidArgument and says what to send."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kcalc.preparation import SPACING_TOLERANCE, InputSpec

SEND_SCAN = "Send hu as int16 Hounsfield units [z, y, x]."
SEND_SPACING = "Send spacing_mm as three positive float32 millimetres [z, y, x]."


def require(tensor: Any, condition: Any, message: str, *data: Any) -> Any:
    """Return the tensor, which exists only where the condition holds."""
    check = tf.debugging.Assert(condition, [message, "Received:", *data], summarize=8)
    with tf.control_dependencies([check]):
        return tf.identity(tensor)


def require_scan(hu: Any, spacing_mm: Any, input_spec: InputSpec) -> Any:
    """Return a scan [z, y, x] that is one, and has the spacing a network needs."""
    shape = tf.shape(hide_shape(hu))
    hu = require(
        hu, tf.equal(tf.size(shape), 3), f"hu must have three axes. {SEND_SCAN}", shape
    )
    # Counted, not compared with the static shape, which would be folded away.
    good = tf.cast(tf.math.is_finite(spacing_mm) & (spacing_mm > 0.0), tf.int32)
    spacing_mm = require(
        hide_shape(spacing_mm),
        tf.equal(tf.reduce_sum(good), 3) & tf.equal(tf.reduce_sum(1 - good), 0),
        f"spacing_mm must be three finite, positive numbers. {SEND_SPACING}",
        spacing_mm,
    )
    if input_spec.spacing_mm is not None:
        needs = tf.constant(input_spec.spacing_mm, tf.float32)
        words = " x ".join(f"{n:g}" for n in input_spec.spacing_mm)
        spacing_mm = require(
            spacing_mm,
            tf.reduce_all(tf.abs(spacing_mm - needs) <= SPACING_TOLERANCE * needs),
            f"spacing_mm must be {words}, {SPACING_TOLERANCE:.0%} more or less, as the "
            "network was trained. Resample the scan to that spacing first.",
            spacing_mm,
        )
    with tf.control_dependencies([spacing_mm]):
        hu = tf.identity(hu)
    return require_hounsfield(hu, shape, SEND_SCAN)


def require_hounsfield(hu: Any, shape: Any, send: str) -> Any:
    """Return an image that is neither empty nor constant nor without air."""
    hu = require(hu, tf.reduce_all(shape > 0), f"hu must not be empty. {send}", shape)
    low_hu, high_hu = tf.reduce_min(hu), tf.reduce_max(hu)
    hu = require(
        hu,
        low_hu < high_hu,
        f"hu must be an image; every voxel has the same value. {send}",
        low_hu,
    )
    return require(
        hu,
        low_hu < 0,
        "hu must have voxels below 0 HU, as air and fat have. Was the rescale "
        "forgotten, or the image windowed? Send stored value * RescaleSlope + "
        f"RescaleIntercept. {send}",
        low_hu,
    )


def require_finite(tensor: Any, finite: Any) -> Any:
    """Return the tensor unless the network gave NaN or infinity."""
    return require(
        tensor,
        finite,
        "the network gave NaN or infinite probabilities. Send the scan to another "
        "model; this one's weights overflow on it.",
        finite,
    )


def all_finite(tensor: Any) -> Any:
    """Return whether no value is NaN or infinite."""
    return tf.reduce_all(tf.math.is_finite(tensor))


def hide_shape(tensor: Any) -> Any:
    """Return the tensor with its static shape unknown.

    A server does not compare what it is sent with the signature's shape, and a check of
    a shape that the graph believes to know is folded away.
    """
    return tf.compat.v1.placeholder_with_default(tensor, shape=None)
