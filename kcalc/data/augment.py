"""Random changes of training samples, drawn with NumPy from the sample's own seed.

All are deviations from Ma 2019, which names none; every default is off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import tensorflow as tf


_NO_FOLD = 0.4


@dataclass(frozen=True)
class Augmentation:
    """Which random changes a training sample gets.

    Args:
        flip_left_right: Mirror columns half of the time. Wrong where labels name
            vessels or sides.
        flip_up_down: Mirror rows half of the time. Couch and spine then lie in front.
        flip_head_foot: Mirror the order of slices half of the time.
        offset_hu: Largest shift of all values in HU, either way (calibration drift).
        scale: Largest relative change of all values about 0 HU, either way.
        noise_hu: Largest standard deviation of added white noise in HU; each sample
            draws its own.
        rotate_deg: Largest turn about the slices' normal, either way, in degrees.
        tilt_deg: Largest turn about the rows and the columns, each; volumes alone.
        elastic_mm: Largest displacement of each control point of an elastic deformation
            along each axis (of slices: in plane), in mm; 0 for no deformation.
        elastic_distance_mm: Distance of the control points in mm.

    Raises:
        ValueError: An amplitude is below 0, scale is not below 1, an angle is above
            180 degrees, or control points move by more than 0.4 of their distance, from
            which on a cubic spline can fold.

    References:
        Choi and Lee, Injectivity conditions of 2D and 3D uniform cubic B-spline
        functions, Graphical Models 62, 2000, doi 10.1006/gmod.2000.0531: 0.40 in
        volumes.
    """

    flip_left_right: bool = False
    flip_up_down: bool = False
    flip_head_foot: bool = False
    offset_hu: float = 0.0
    scale: float = 0.0
    noise_hu: float = 0.0
    rotate_deg: float = 0.0
    tilt_deg: float = 0.0
    elastic_mm: float = 0.0
    elastic_distance_mm: float = 16.0

    def __post_init__(self) -> None:
        if min(self.offset_hu, self.scale, self.noise_hu) < 0 or self.scale >= 1:
            raise ValueError(
                "offset_hu, scale and noise_hu must be >= 0 and scale < 1. Received: "
                f"offset_hu={self.offset_hu}, scale={self.scale}, "
                f"noise_hu={self.noise_hu}"
            )
        if not (0 <= self.rotate_deg <= 180 and 0 <= self.tilt_deg <= 180):
            raise ValueError(
                "rotate_deg and tilt_deg must lie between 0 and 180. Received: "
                f"rotate_deg={self.rotate_deg}, tilt_deg={self.tilt_deg}"
            )
        if not 0 <= self.elastic_mm <= _NO_FOLD * self.elastic_distance_mm:
            raise ValueError(
                f"elastic_mm must lie between 0 and {_NO_FOLD} of elastic_distance_mm. "
                f"Received: elastic_mm={self.elastic_mm}, "
                f"elastic_distance_mm={self.elastic_distance_mm}"
            )

    @property
    def warps(self) -> bool:
        """Whether samples are turned or deformed, and so resampled."""
        return max(self.rotate_deg, self.tilt_deg, self.elastic_mm) > 0

    def draw(self, rng: np.random.Generator) -> Changes:
        """Draw the changes of one sample."""
        left_right, up_down = rng.random(2) < 0.5
        intensity = (
            1.0 + self.scale * rng.uniform(-1, 1),
            self.offset_hu * rng.uniform(-1, 1),
            self.noise_hu * rng.uniform(0, 1),
        )
        head_foot = rng.random() < 0.5
        return Changes(
            flip_zyx=(
                bool(self.flip_head_foot and head_foot),
                bool(self.flip_up_down and up_down),
                bool(self.flip_left_right and left_right),
            ),
            intensity=np.array(intensity, dtype=np.float32),
        )


@dataclass(frozen=True)
class Changes:
    """The changes of one sample.

    Args:
        flip_zyx: Whether each axis is mirrored.
        intensity: float32 (3,): scale factor, offset in HU, standard deviation of the
            noise in HU.
    """

    flip_zyx: tuple[bool, bool, bool]
    intensity: npt.NDArray[np.float32]


def flipped(array: npt.NDArray[Any], flips: Sequence[bool]) -> npt.NDArray[Any]:
    """Return a view of an array, mirrored along its first axes where told."""
    return array[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]


def noise_like(
    hu: tf.Tensor, augmentation: Augmentation, seed: int, index: tf.Tensor
) -> tf.Tensor | None:
    """Return white noise of deviation 1 that depends on (seed, index), None for none.

    Args:
        hu: Of the wanted shape.
        augmentation: Whether there is noise at all.
        seed: Seed of all samples.
        index: int64, number of the sample.
    """
    import tensorflow as tf

    if not augmentation.noise_hu:
        return None
    return tf.random.stateless_normal(tf.shape(hu), tf.stack([seed, index]))


def changed_intensity(
    hu: tf.Tensor, intensity: tf.Tensor, noise: tf.Tensor | None
) -> tf.Tensor:
    """Return float32 HU scaled about 0, shifted and with noise; see :class:`Changes`.

    Args:
        hu: float32, any shape.
        intensity: As of :class:`Changes`.
        noise: As of :func:`noise_like`.
    """
    hu = hu * intensity[0] + intensity[1]
    return hu if noise is None else hu + intensity[2] * noise
