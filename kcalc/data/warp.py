"""Rotation and elastic deformation of a sample, as one resampling of its scan.

Where each voxel of a sample comes from is a tensor-product spline: a few control points
drawn with NumPy, and weights an axis. Splines reproduce what is linear, so the rotation
lies in the control points too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kcalc.data.augment import Augmentation

if TYPE_CHECKING:
    import tensorflow as tf

Floats = npt.NDArray[np.floating[Any]]

_PLANES = ((1, 2), (0, 2), (0, 1))
"""Axes that turn about z, y and x."""


@dataclass(frozen=True)
class Frame:
    """How a sample lies in the block that it is resampled from, before any change.

    Axes are (z, y, x), or (y, x) for slices.

    Args:
        size: Voxels of the sample.
        step_mm: Distance of its voxels in mm.
        source_mm: Distance of the block's voxels in mm.
    """

    size: tuple[int, ...]
    step_mm: tuple[float, ...]
    source_mm: tuple[float, ...]


def draw_warp(
    augmentation: Augmentation,
    frame: Frame,
    centre: Sequence[float],
    flips: Sequence[bool],
    rng: np.random.Generator,
) -> list[npt.NDArray[np.float32]]:
    """Draw where the voxels of one sample come from.

    Args:
        augmentation: Its rotation and elastic deformation are drawn.
        frame: How the sample lies in its block.
        centre: Position of the sample's middle in voxels of the block.
        flips: Whether each axis is mirrored.
        rng: Of this sample.

    Returns:
        float32 control points (axes, points along the first axis, ...) in voxels of the
        block, then for each axis weights (voxels, points): see :func:`coordinates`.
    """
    angles_deg = rng.uniform(-1, 1, 3) * (
        augmentation.rotate_deg,
        augmentation.tilt_deg,
        augmentation.tilt_deg,
    )
    turn = _rotation(np.deg2rad(angles_deg))[-len(frame.size) :, -len(frame.size) :]
    nodes, weights = [], []
    for size, step_mm in zip(frame.size, frame.step_mm, strict=True):
        node, weight = (
            _cubic(size, augmentation.elastic_distance_mm / step_mm, rng.random())
            if augmentation.elastic_mm
            else _linear(size)
        )
        nodes.append((node - (size - 1) / 2) * step_mm)
        weights.append(weight.astype(np.float32))
    mirror = np.where(flips, -1.0, 1.0)
    points_mm = np.stack(np.meshgrid(*nodes, indexing="ij"))
    points_mm = np.tensordot(turn * mirror, points_mm, axes=1)
    if augmentation.elastic_mm:
        points_mm += augmentation.elastic_mm * rng.uniform(-1, 1, points_mm.shape)
    points = points_mm / _column(frame.source_mm) + _column(centre)
    return [points.astype(np.float32), *weights]


def source_size(augmentation: Augmentation, frame: Frame) -> tuple[int, ...]:
    """Return the size of a block that holds every voxel a sample can come from."""
    axes = len(frame.size)
    angles_deg = (augmentation.rotate_deg, augmentation.tilt_deg, augmentation.tilt_deg)
    bound = np.eye(3)
    for angle_deg, plane in zip(angles_deg, _PLANES, strict=True):
        sine = math.sin(math.radians(min(angle_deg, 90)))
        bound = _turned(plane, 1.0, (sine, sine)) @ bound
    extent_mm = np.multiply(frame.size, frame.step_mm)
    reach_mm = bound[-axes:, -axes:] @ extent_mm
    reach_mm = np.minimum(reach_mm, np.linalg.norm(extent_mm))
    # A cubic spline stays within its control points: no voxel moves further than they.
    reach_mm += 2 * augmentation.elastic_mm
    voxels = np.ceil(reach_mm / np.asarray(frame.source_mm)) + 2
    return tuple(int(n) for n in voxels)


def coordinates(
    controls: tf.Tensor, weights: Sequence[tf.Tensor], size: tuple[int, ...]
) -> tf.Tensor:
    """Return where each voxel of a sample comes from.

    Args:
        controls: float32 (axes, points along the first axis, ...).
        weights: For each axis float32 (voxels, points).
        size: Voxels of the sample along each axis.

    Returns:
        float32 (axes, *size) in voxels of the block.
    """
    import tensorflow as tf

    axes = len(size)
    controls = tf.ensure_shape(controls, (axes,) + (None,) * axes)
    weights = [
        tf.ensure_shape(weight, (n, None))
        for weight, n in zip(weights, size, strict=True)
    ]
    points = [tf.shape(weight)[1] for weight in weights]
    found, lines = controls, axes
    for weight, count, n in zip(weights[:-1], points, size[:-1], strict=False):
        found = tf.matmul(weight, tf.reshape(found, (lines, count, -1)))
        lines *= n
    found = tf.reshape(found, (lines, points[-1]))
    found = tf.matmul(found, weights[-1], transpose_b=True)
    return tf.reshape(found, (axes, *size))


def resampled(block: Any, where: Any) -> Any:
    """Return a block's values at coordinates, by linear interpolation.

    Beyond the block its nearest value stands. Call it under ``jit_compile``, with known
    shapes: not compiled, Keras' operation takes forty times as long.

    Args:
        block: float32 (z, y, x) or (y, x).
        where: float32 (axes, ...), see :func:`coordinates`.
    """
    import keras

    return keras.ops.image.map_coordinates(block, where, order=1, fill_mode="nearest")


def _rotation(angles_rad: npt.NDArray[Any]) -> Floats:
    """Return the turn about z, then y, then x, for columns (z, y, x)."""
    turn = np.eye(3)
    for angle, plane in zip(angles_rad, _PLANES, strict=True):
        sine = math.sin(angle)
        turn = _turned(plane, math.cos(angle), (-sine, sine)) @ turn
    return turn


def _turned(
    plane: tuple[int, int], cosine: float, sines: tuple[float, float]
) -> Floats:
    matrix = np.eye(3)
    i, j = plane
    matrix[i, i] = matrix[j, j] = cosine
    matrix[i, j], matrix[j, i] = sines
    return matrix


def _linear(size: int) -> tuple[Floats, Floats]:
    """Return two nodes, at the ends, and the weights of each voxel."""
    last = max(size - 1, 1)
    share = np.arange(size) / last
    return np.array([0.0, last]), np.stack([1 - share, share], axis=1)


def _cubic(size: int, distance: float, phase: float) -> tuple[Floats, Floats]:
    """Return nodes of a uniform cubic B-spline and the weights of each voxel."""
    place = np.arange(size) / distance + phase
    first = np.floor(place).astype(int)
    t = place - first
    shares = (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )
    weights = np.zeros((size, int(first[-1]) + 4))
    for offset, share in enumerate(shares):
        weights[np.arange(size), first + offset] = share
    nodes = (np.arange(weights.shape[1]) - 1 - phase) * distance
    return nodes, weights


def _column(values: Sequence[float]) -> Floats:
    return np.asarray(values, dtype=np.float64).reshape(-1, *(1,) * len(values))
