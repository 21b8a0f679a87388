"""Connected components in plain TensorFlow ops.

Voxels are few, so they are a list: each points at its neighbours, and the smallest
number of a component spreads through it by hooking and pointer jumping (Shiloach and
Vishkin 1982, doi 10.1016/0196-6774(82)90008-6), in a number of rounds that grows with
the logarithm of the component's size.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import tensorflow as tf

_MOST_STEPS = {4: (0, 1), 8: (0, 2), 6: (1, 1), 26: (1, 3)}
"""By connectivity: steps along z, and along all axes together, to a neighbour."""


def component_of_voxels(index: Any, size: Any, connectivity: int = 8) -> Any:
    """Return the component of each voxel of a list.

    Args:
        index: int64 (num_voxels, 3), (z, y, x) in scan order, as ``tf.where`` gives it.
        size: int64 (3,), of the grid that the voxels lie on.
        connectivity: 4 or 8 within slices, 6 or 26 across them.

    Returns:
        The number of the first voxel of each voxel's component, int32 (num_voxels,).
    """
    num_voxels = tf.size(index) // 3
    # One column and one row of padding keep neighbours from wrapping round an edge.
    strides = tf.stack(
        [(size[1] + 1) * (size[2] + 2), size[2] + 2, tf.constant(1, tf.int64)]
    )
    place = tf.reduce_sum(index * strides, axis=1)
    number = tf.range(num_voxels)
    starts, ends = [], []
    for step in _forward(connectivity):
        wanted = place + tf.reduce_sum(tf.constant(step, tf.int64) * strides)
        at = tf.minimum(tf.searchsorted(place, wanted), num_voxels - 1)
        found = tf.gather(place, at) == wanted
        starts.append(tf.boolean_mask(number, found))
        ends.append(tf.boolean_mask(at, found))
    start, end = tf.concat(starts, 0), tf.concat(ends, 0)

    def unjoined(parent: Any) -> Any:
        return tf.reduce_any(tf.gather(parent, start) != tf.gather(parent, end))

    def join(parent: Any) -> Any:
        one, two = tf.gather(parent, start), tf.gather(parent, end)
        low, high = tf.minimum(one, two), tf.maximum(one, two)
        parent = tf.tensor_scatter_nd_min(parent, high[:, None], low)
        return tf.while_loop(
            lambda p: tf.reduce_any(tf.gather(p, p) != p),
            lambda p: (tf.gather(p, p),),
            (parent,),
        )[0]

    return tf.while_loop(unjoined, lambda parent: (join(parent),), (number,))[0]


def _forward(connectivity: int) -> list[tuple[int, ...]]:
    """Return one of each pair of opposite neighbours, (z, y, x)."""
    along_z, in_all = _MOST_STEPS[connectivity]
    return [
        step
        for step in product((0, 1), (-1, 0, 1), (-1, 0, 1))
        if step > (0, 0, 0) and step[0] <= along_z and sum(map(abs, step)) <= in_all
    ]


def vote(votes: Any, candidates: Any, component_share: float) -> Any:
    """Return the components of candidates that got enough votes, whole.

    :func:`kcalc.inference.postprocess.calcium_of_slices` does the same outside a graph.

    Args:
        votes: bool (n, y, x), within ``candidates``.
        candidates: bool (n, y, x).
        component_share: Least share of a component's voxels that must have a vote.

    Returns:
        bool (n, y, x).
    """
    index = tf.where(candidates)
    shape = tf.shape(candidates, out_type=tf.int64)
    component = component_of_voxels(index, shape)
    num_voxels = tf.size(component)
    voted = tf.cast(tf.gather_nd(votes, index), tf.float64)
    size = tf.math.unsorted_segment_sum(tf.ones_like(voted), component, num_voxels)
    votes_of = tf.math.unsorted_segment_sum(voted, component, num_voxels)
    keep = tf.gather(votes_of >= component_share * size, component)
    return tf.scatter_nd(index, tf.cast(keep, tf.uint8), shape) > 0
