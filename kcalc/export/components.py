"""Connected components of slices in plain TensorFlow ops.

Voxels are few, so they are a list: each points at its neighbours, and the smallest
number of a component spreads through it by hooking and pointer jumping (Shiloach and
Vishkin 1982, doi 10.1016/0196-6774(82)90008-6), in a number of rounds that grows with
the logarithm of the component's size.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

_FORWARD_YX = ((0, 1), (1, -1), (1, 0), (1, 1))
"""One of each pair of opposite neighbours in a slice."""


def component_of_voxels(mask: Any) -> tuple[Any, Any]:
    """Return the voxels of a mask and the 2-D, 8-connected component of each.

    Args:
        mask: bool (n, y, x); slices are apart.

    Returns:
        Indices int64 (num_voxels, 3) in scan order, and for each the number of the
        first voxel of its component, int32 (num_voxels,).
    """
    index = tf.where(mask)
    num_voxels = tf.size(index, out_type=tf.int64) // 3
    size = tf.shape(mask, out_type=tf.int64)
    # One column and one row of padding keep neighbours from wrapping round an edge.
    strides = tf.stack(
        [(size[1] + 1) * (size[2] + 2), size[2] + 2, tf.constant(1, tf.int64)]
    )
    place = tf.reduce_sum(index * strides, axis=1) + 1
    number = tf.range(tf.cast(num_voxels, tf.int32))
    room = size[0] * strides[0] + strides[1] + 3
    table = tf.tensor_scatter_nd_update(
        tf.fill([room], tf.constant(-1, tf.int32)), place[:, None], number
    )
    starts, ends = [], []
    for dy, dx in _FORWARD_YX:
        other = tf.gather(table, place + dy * strides[1] + dx)
        found = other >= 0
        starts.append(tf.boolean_mask(number, found))
        ends.append(tf.boolean_mask(other, found))
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

    parent = tf.while_loop(unjoined, lambda parent: (join(parent),), (number,))[0]
    return index, parent


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
    index, component = component_of_voxels(candidates)
    num_voxels = tf.size(component)
    voted = tf.cast(tf.gather_nd(votes, index), tf.float64)
    size = tf.math.unsorted_segment_sum(tf.ones_like(voted), component, num_voxels)
    votes_of = tf.math.unsorted_segment_sum(voted, component, num_voxels)
    keep = tf.gather(votes_of >= component_share * size, component)
    shape = tf.shape(candidates, out_type=tf.int64)
    return tf.scatter_nd(index, tf.cast(keep, tf.uint8), shape) > 0
