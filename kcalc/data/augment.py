"""Random changes of training samples, drawn with NumPy from the sample's own seed.

All are deviations from Ma 2019, which names none; every default is off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import tensorflow as tf


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

    Raises:
        ValueError: An amplitude is below 0, or scale is not below 1.
    """

    flip_left_right: bool = False
    flip_up_down: bool = False
    flip_head_foot: bool = False
    offset_hu: float = 0.0
    scale: float = 0.0
    noise_hu: float = 0.0

    def __post_init__(self) -> None:
        if min(self.offset_hu, self.scale, self.noise_hu) < 0 or self.scale >= 1:
            raise ValueError(
                "offset_hu, scale and noise_hu must be >= 0 and scale < 1. Received: "
                f"offset_hu={self.offset_hu}, scale={self.scale}, "
                f"noise_hu={self.noise_hu}"
            )

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


def flipped(array: npt.NDArray[Any], flips: tuple[bool, ...]) -> npt.NDArray[Any]:
    """Return a view of an array, mirrored along its first axes where told."""
    return array[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]


def changed_intensity(
    hu: tf.Tensor, intensity: tf.Tensor, seed: int, index: tf.Tensor, noisy: bool
) -> tf.Tensor:
    """Return HU scaled about 0, shifted and with noise that depends on (seed, index).

    Args:
        hu: float32, any shape.
        intensity: As of :class:`Changes`.
        seed: Seed of all samples.
        index: int64, number of the sample.
        noisy: Whether there is noise at all.
    """
    import tensorflow as tf

    intensity = tf.ensure_shape(intensity, (3,))
    hu = hu * intensity[0] + intensity[1]
    if noisy:
        noise = tf.random.stateless_normal(tf.shape(hu), tf.stack([seed, index]))
        hu += intensity[2] * noise
    return hu
