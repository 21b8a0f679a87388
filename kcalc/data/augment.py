"""Random changes of training samples, drawn with NumPy from the sample's own seed.

All are deviations from Ma 2019, which names none; every default is off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Augmentation:
    """Which random changes a training sample gets.

    Args:
        flip_left_right: Mirror columns half of the time. Wrong where labels name
            vessels or sides.
        flip_up_down: Mirror rows half of the time. Couch and spine then lie in front.
        offset_hu: Largest shift of all values in HU, either way (calibration drift).
        scale: Largest relative change of all values about 0 HU, either way.
        noise_hu: Largest standard deviation of added white noise in HU; each sample
            draws its own.

    Raises:
        ValueError: An amplitude is below 0, or scale is not below 1.
    """

    flip_left_right: bool = False
    flip_up_down: bool = False
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

    def draw_intensity(self, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Return this sample's (scale factor, offset in HU, noise SD in HU)."""
        return np.array(
            [
                1.0 + self.scale * rng.uniform(-1, 1),
                self.offset_hu * rng.uniform(-1, 1),
                self.noise_hu * rng.uniform(0, 1),
            ],
            dtype=np.float32,
        )

    def flip(
        self,
        image: npt.NDArray[np.int16],
        label: npt.NDArray[np.uint8],
        rng: np.random.Generator,
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
        """Return image (y, x, slice) and label (y, x), mirrored alike or not at all."""
        left_right, up_down = rng.random(2) < 0.5
        if self.flip_left_right and left_right:
            image, label = image[:, ::-1], label[:, ::-1]
        if self.flip_up_down and up_down:
            image, label = image[::-1], label[::-1]
        return image, label
