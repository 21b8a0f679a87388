"""The score of a mask in plain TensorFlow ops: :func:`kcalc.calcium_score` in a graph.

A mask, Hounsfield units and spacing enter; totals and a table of lesions leave.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kcalc.artifact import Signature, TensorInfo
from kcalc.export.components import component_of_voxels
from kcalc.export.signatures import SCAN_SPECS, SEGMENT, GraphFunction
from kcalc.hounsfield import reaches
from kcalc.scoring import TARGETS, Target, presets

COLUMNS = (
    "slice_index",
    "first_slice_index",
    "last_slice_index",
    "num_pixels",
    "area_mm2",
    "volume_mm3",
    "max_hu",
    "mean_hu",
    "centroid_z",
    "centroid_y",
    "centroid_x",
)
"""Columns of ``lesions``, as :class:`kcalc.scoring.Lesion` has them."""
WEIGHT_COLUMNS = ("weight", "agatston")
"""Further ones where there is an Agatston score."""

_COUNT_TOLERANCE = 1e-6
_FLOAT32 = 2.5e-7
"""By what share the pixel area of a spacing in float32 may be off."""


def target_of_task(task: str) -> Target | None:
    """Return the first target that a task's networks find; None without any."""
    return next((t for t in TARGETS.values() if t.task == task), None)


def describe_score(target: Target) -> Signature:
    """Return the contract of ``score``, as the manifest stores it."""
    columns = len(_columns(target))
    outputs = {
        "volume_mm3": TensorInfo("float32", (), ()),
        "lesion_count": TensorInfo("int32", (), ()),
        "lesions": TensorInfo("float32", ("lesion", "column"), (None, columns)),
        "lesion_columns": TensorInfo("string", ("column",), (columns,)),
        "rule": TensorInfo("string", (), ()),
    }
    if target.has_agatston:
        outputs["agatston"] = TensorInfo("float32", (), ())
    return Signature(inputs=SEGMENT.inputs, outputs=outputs)


def score_signature(mask_of: GraphFunction, target: Target) -> Any:
    """Return ``score``: a scan in, its numbers out.

    Args:
        mask_of: From ``hu`` and ``spacing_mm`` to ``mask`` uint8.
        target: What is scored, under its own rule or ``agatston_1990``.

    Returns:
        ``tf.function`` from what ``segment`` takes to what :func:`score_of_mask` gives.
    """

    def score(hu: Any, spacing_mm: Any) -> dict[str, Any]:
        mask = mask_of(hu, spacing_mm) > 0
        with tf.control_dependencies([mask]):  # which refuses what is no scan
            scan = (tf.identity(hu), mask, tf.identity(spacing_mm))
        return score_of_mask(*scan, target)

    return tf.function(score, input_signature=SCAN_SPECS, autograph=False)


def score_of_mask(
    hu: Any, mask: Any, spacing_mm: Any, target: Target
) -> dict[str, Any]:
    """Return what the rule of a target gives for a mask.

    Args:
        hu: int16 (z, y, x).
        mask: bool (z, y, x).
        spacing_mm: float32 (3,), (z, y, x).
        target: Its rule, or ``agatston_1990`` where it has none.

    Returns:
        ``volume_mm3``, ``lesion_count``, ``lesions`` (num_lesions, columns) in scan
        order, ``lesion_columns``, ``rule`` (its name) and ``agatston`` where the
        target has one. Spacing being float32, a lesion whose area is that of the
        minimum to 3e-7 counts.
    """
    rule = target.rule or presets.rule("agatston_1990")
    spacing = tf.cast(spacing_mm, tf.float64)
    pixel_mm2 = spacing[1] * spacing[2]
    threshold = int(rule.threshold_hu or 0)
    index = tf.where(mask)
    values_hu = tf.gather_nd(hu, index)
    calcium = reaches(values_hu, threshold, rule.threshold_comparison)
    index = tf.boolean_mask(index, calcium)
    values_hu = tf.cast(tf.boolean_mask(values_hu, calcium), tf.float64)
    size = tf.shape(mask, out_type=tf.int64)
    component = component_of_voxels(index, size, int(rule.connectivity))
    num_voxels = tf.size(component)
    ones = tf.ones([num_voxels], tf.float64)
    sizes = tf.math.unsorted_segment_sum(ones, component, num_voxels)
    quotient = rule.minimum_area_mm2 / pixel_mm2
    least = tf.math.ceil(quotient * (1.0 - _FLOAT32) - _COUNT_TOLERANCE)
    kept = tf.gather(sizes >= tf.maximum(least, rule.minimum_pixels), component)

    first = kept & tf.equal(component, tf.range(num_voxels))
    number = tf.gather(tf.cumsum(tf.cast(first, tf.int32)) - 1, component)
    lesion = tf.boolean_mask(number, kept)
    count = tf.reduce_sum(tf.cast(first, tf.int32))
    place = tf.cast(tf.boolean_mask(index, kept), tf.float64)
    value = tf.boolean_mask(values_hu, kept)

    def total(of: Any) -> Any:
        return tf.math.unsorted_segment_sum(of, lesion, count)

    pixels = total(tf.ones_like(value))
    max_hu = tf.math.unsorted_segment_max(value, lesion, count)
    is_max = tf.equal(value, tf.gather(max_hu, lesion))
    peak = tf.where(is_max, place[:, 0], tf.constant(float("inf"), tf.float64))
    centroid = total(place) / pixels[:, None]
    area_mm2 = pixels * pixel_mm2
    volume_mm3 = area_mm2 * spacing[0]
    columns = [
        tf.math.unsorted_segment_min(peak, lesion, count),
        tf.math.unsorted_segment_min(place[:, 0], lesion, count),
        tf.math.unsorted_segment_max(place[:, 0], lesion, count),
        pixels,
        area_mm2,
        volume_mm3,
        max_hu,
        total(value) / pixels,
        *tf.unstack(centroid, axis=1, num=3),
    ]
    result = {
        "volume_mm3": tf.cast(tf.reduce_sum(volume_mm3), tf.float32),
        "lesion_count": count,
        "lesion_columns": tf.constant(_columns(target)),
        "rule": tf.constant(rule.name),
    }
    if target.has_agatston:
        weight = tf.zeros_like(max_hu)
        for edge_hu, of_bin in rule.density_bins:
            in_bin = reaches(max_hu, edge_hu, rule.bin_comparison)
            weight = tf.where(in_bin, tf.constant(of_bin, tf.float64), weight)
        factor = spacing[0] / rule.reference_slice_mm
        agatston = area_mm2 * weight * factor
        columns += [weight, agatston]
        result["agatston"] = tf.cast(tf.reduce_sum(agatston), tf.float32)
    result["lesions"] = tf.cast(tf.stack(columns, axis=1), tf.float32)
    return result


def _columns(target: Target) -> tuple[str, ...]:
    return (*COLUMNS, *WEIGHT_COLUMNS) if target.has_agatston else COLUMNS
