"""The entry points of the SavedModel of a network of valid 3-D convolutions.

``segment`` does in plain TensorFlow ops what :func:`kcalc.inference.predict_exact` does
outside a graph: the same boxes round the candidates, the same continuation beyond the
border.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kcalc.artifact import Signature, TensorInfo
from kcalc.export.components import vote
from kcalc.export.refusals import (
    all_finite,
    hide_shape,
    require,
    require_finite,
    require_scan,
)
from kcalc.export.signatures import SEGMENT, GraphFunction
from kcalc.hounsfield import Comparison, reaches
from kcalc.preparation import InputSpec, ValidGeometry

_AXES = ("n", "z", "y", "x")
_ANY = (None, None, None, None)


def describe_volume_signatures() -> dict[str, Signature]:
    """Return the contract of the signatures, as the manifest stores it."""
    return {
        "serving_default": Signature(
            inputs={"hu": TensorInfo("int16", _AXES, _ANY)},
            outputs={"probabilities": TensorInfo("float32", _AXES, _ANY)},
        ),
        "segment": SEGMENT,
    }


def volume_serving_signature(
    probabilities: GraphFunction, geometry: ValidGeometry
) -> Any:
    """Return ``serving_default``: patches in, probabilities of their inner part out.

    Args:
        probabilities: From :func:`kcalc.inference.valid_network.volume_function`.
        geometry: Of the network.

    Returns:
        ``tf.function`` from ``hu`` int16 (n, z, y, x), sizes of
        ``geometry.smallest_zyx`` and multiples of its stride above that, to
        ``probabilities`` float32 (n, z', y', x') of the voxels from
        ``geometry.before_zyx`` on. A patch may be of one value, as air is.
    """
    spec = tf.TensorSpec(_ANY, tf.int16, "hu")
    send = (
        "Send hu as int16 Hounsfield units [n, z, y, x], sizes of "
        f"{geometry.smallest_zyx} and multiples of {geometry.stride_zyx} above it; "
        "segment takes scans of any size."
    )

    def serving_default(hu: Any) -> dict[str, Any]:
        shape = tf.shape(hide_shape(hu))
        shape = require(
            shape, tf.equal(tf.size(shape), 4), f"hu must have four axes. {send}", shape
        )
        above = shape[1:] - tf.constant(geometry.smallest_zyx)
        fits = (above >= 0) & tf.equal(above % tf.constant(geometry.stride_zyx), 0)
        hu = require(
            hu,
            tf.reduce_all(fits) & (shape[0] > 0),
            f"the network cannot take this size. {send}",
            shape,
        )
        output = probabilities(hu)
        return {"probabilities": require_finite(output, all_finite(output))}

    return tf.function(serving_default, input_signature=[spec], autograph=False)


def volume_mask_function(
    probabilities: GraphFunction,
    input_spec: InputSpec,
    geometry: ValidGeometry,
    *,
    threshold: float,
    candidate_hu: int,
    comparison: Comparison,
    component_share: float | None,
    max_voxels: int,
) -> GraphFunction:
    """Return the way from a scan of any size to its mask.

    Args:
        probabilities: From :func:`kcalc.inference.valid_network.volume_function`.
        input_spec: Its spacing is demanded.
        geometry: Of the network.
        threshold: Probability at and above which a voxel is in the mask.
        candidate_hu: Value in HU that a voxel must reach to be in the mask.
        comparison: Whether ``candidate_hu`` itself is enough.
        component_share: As of :func:`kcalc.export.signatures.stack_mask_function`.
        max_voxels: Largest input of the network, in voxels; memory grows with it.

    Returns:
        As :func:`kcalc.export.signatures.stack_mask_function`.
    """
    before, after = tf.constant(geometry.before_zyx), tf.constant(geometry.after_zyx)

    def mask_of(hu: Any, spacing_mm: Any) -> Any:
        hu = require_scan(hu, spacing_mm, input_spec)
        candidates = reaches(hu, candidate_hu, comparison)
        size = tf.shape(hu)
        low, step, parts = _plan(candidates, geometry, max_voxels)

        def output_of(start: Any, inner: Any) -> tuple[Any, Any]:
            """Run the network round the candidates of one tile."""
            low, high = _on_stride(_box(inner) + start, geometry)
            inside = _output_at_least(high - low, geometry)
            patch = hu
            for axis in range(3):
                first = low[axis] - before[axis]
                last = low[axis] + inside[axis] + after[axis]
                place = tf.clip_by_value(tf.range(first, last), 0, size[axis] - 1)
                patch = tf.gather(patch, place, axis=axis)
            output = probabilities(patch[tf.newaxis])[0]
            n = tf.minimum(low + inside, size) - low
            found = output[: n[0], : n[1], : n[2]] >= threshold
            return tf.pad(found, tf.stack([low, size - low - n], 1)), all_finite(output)

        def run_tile(number: Any, found: Any, finite: Any) -> tuple[Any, Any, Any]:
            place = tf.stack(
                [
                    number // (parts[1] * parts[2]),
                    number // parts[2] % parts[1],
                    number % parts[2],
                ]
            )
            start = low + place * step
            stop = tf.minimum(start + step, size)
            inner = candidates[
                start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]
            ]
            votes, good = tf.cond(
                tf.reduce_any(inner),
                lambda: output_of(start, inner),
                lambda: (tf.zeros_like(candidates), tf.constant(True)),
            )
            return number + 1, found | votes, finite & good

        _, found, finite = tf.while_loop(
            lambda number, found, finite: number < tf.reduce_prod(parts),
            run_tile,
            (tf.constant(0), tf.zeros_like(candidates), tf.constant(True)),
            shape_invariants=(
                tf.TensorShape([]),
                tf.TensorShape([None, None, None]),
                tf.TensorShape([]),
            ),
            parallel_iterations=1,
        )
        found &= candidates
        if component_share is not None:
            found = vote(found, candidates, component_share)
        return require_finite(tf.cast(found, tf.uint8), finite)

    return mask_of


def _plan(candidates: Any, geometry: ValidGeometry, max_voxels: int) -> Any:
    """Return first voxel, tile size and tiles per axis, int32 (3,) each.

    :func:`kcalc.inference.tiling.exact_tiles` chooses the same outside a graph: the
    grid of equal tiles over the box of all candidates whose inputs are fewest voxels.
    """
    low, high = _on_stride(_box(candidates), geometry)
    extent = high - low
    widths, counts, inputs = [], [], []
    for axis in range(3):
        stride, lost = geometry.stride_zyx[axis], geometry.lost_zyx[axis]
        parts = tf.range(1, extent[axis] // stride + 2)
        steps = tf.maximum(_ceil(extent[axis], parts * stride), 1)
        width = tf.unique(steps).y * stride
        shape = tf.where(tf.range(3) == axis, tf.size(width), 1)
        least = geometry.smallest_output_zyx[axis]
        taken = least + tf.maximum(0, _ceil(width - least, stride)) * stride + lost
        widths.append(width)
        counts.append(tf.reshape(tf.cast(_ceil(extent[axis], width), tf.int64), shape))
        inputs.append(tf.reshape(tf.cast(taken, tf.int64), shape))
    one = inputs[0] * inputs[1] * inputs[2]
    total = one * counts[0] * counts[1] * counts[2]
    total = tf.where(one <= max_voxels, total, tf.int64.max)
    best = tf.argmin(tf.reshape(total, [-1]), output_type=tf.int32)
    chosen = tf.unravel_index(best, tf.shape(total))
    step = tf.stack([widths[axis][chosen[axis]] for axis in range(3)])
    return low, step, _ceil(extent, step)


def _box(mask: Any) -> Any:
    """Return first and one past the last index of the true voxels, int32 (2, 3).

    Without any it is a box of no voxel at 0.
    """
    ends = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        any_here = tf.reduce_any(mask, axis=others)
        places = tf.cast(tf.where(any_here)[:, 0], tf.int32)
        some = tf.size(places) > 0
        first = tf.where(some, tf.reduce_min(places), 0)
        last = tf.where(some, tf.reduce_max(places) + 1, 0)
        ends.append(tf.stack([first, last]))
    return tf.stack(ends, axis=1)


def _on_stride(box: Any, geometry: ValidGeometry) -> tuple[Any, Any]:
    """Return a box's ends with its start moved down onto the stride."""
    stride = tf.constant(geometry.stride_zyx)
    return box[0] // stride * stride, box[1]


def _output_at_least(size: Any, geometry: ValidGeometry) -> Any:
    """Return the smallest possible output of at least a size."""
    least = tf.constant(geometry.smallest_output_zyx)
    stride = tf.constant(geometry.stride_zyx)
    return least + tf.maximum(0, _ceil(size - least, stride)) * stride


def _ceil(number: Any, divisor: Any) -> Any:
    return -(-number // divisor)
