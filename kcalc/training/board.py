"""TensorBoard: the log's figures, and what the network marks in validation samples."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kcalc.errors import ResourceError, UsageError
from kcalc.training.objective import Objective, main_output, main_part

_NUM_SAMPLES = 4
_STRENGTH = 0.5


class Board:
    """Writes a run's epochs for TensorBoard.

    Pictures show the first validation samples, one slice each: truth red, result green,
    both yellow.

    Args:
        folder: Of the event files; made if absent.
        samples: Validation batches (image, target, candidates).
        objective: The recipe's loss, for the part that ``main`` covers.
        threshold: Probability from which a voxel is marked.
    """

    def __init__(
        self,
        folder: Path,
        samples: tf.data.Dataset,
        objective: Objective,
        threshold: float,
    ) -> None:
        self._folder = folder
        self._samples = samples.unbatch().batch(1).take(_NUM_SAMPLES)
        self._objective = objective
        self._threshold = threshold
        self._writer: Any = None

    def write(self, model: keras.Model, row: Mapping[str, float]) -> None:
        """Write an epoch's row and overlays. Written again, it changes nothing to see.

        Raises:
            ResourceError: The folder cannot be written (``WRITE_FAILED``).
        """
        step = int(row["epoch"])
        try:
            if self._writer is None:
                self._writer = tf.summary.create_file_writer(str(self._folder))
            with self._writer.as_default(step=step):
                for name, value in row.items():
                    if name != "epoch":
                        tf.summary.scalar(name, value)
                for number, picture in enumerate(self._pictures(model), start=1):
                    tf.summary.image(f"validation/{number}", picture[None])
            self._writer.flush()
        except (OSError, tf.errors.OpError) as error:
            if isinstance(error, tf.errors.ResourceExhaustedError):
                raise
            raise ResourceError(
                "WRITE_FAILED",
                f"TensorBoard's files could not be written ({type(error).__name__}).",
                path=self._folder,
                hint="Free disk space, or train without tensorboard.",
            ) from error

    def _pictures(self, model: keras.Model) -> list[npt.NDArray[np.uint8]]:
        pictures = []
        for image, target, candidates in self._samples:
            probabilities = main_output(model(image, training=False))
            cut = main_part(self._objective, candidates).numpy() > 0.5
            pictures.append(
                overlay(
                    main_part(self._objective, image).numpy()[0],
                    main_part(self._objective, target).numpy()[0, ..., 0] == 1,
                    (probabilities.numpy()[0] >= self._threshold)[..., 0]
                    & cut[0, ..., 0],
                )
            )
        return pictures


def overlay(
    image: npt.NDArray[np.floating],
    truth: npt.NDArray[np.bool_],
    result: npt.NDArray[np.bool_],
) -> npt.NDArray[np.uint8]:
    """Return one slice as RGB (y, x, 3): truth red, result green, both yellow.

    Args:
        image: In [0, 1]: a stack of slices (y, x, slice), of which the middle one is
            shown, or a box (z, y, x, 1), of which the slice with most truth is shown,
            then with most result, else the middle one.
        truth: (y, x) or (z, y, x).
        result: Of the same shape.
    """
    if image.ndim == 4:
        num_slices = len(image)
        order = [
            (int(truth[z].sum()), int(result[z].sum()), -abs(z - num_slices // 2))
            for z in range(num_slices)
        ]
        shown = max(range(num_slices), key=order.__getitem__)
        image, truth, result = image[shown], truth[shown], result[shown]
    grey = image[..., image.shape[-1] // 2]
    colours = np.repeat(grey[..., None], 3, axis=-1)
    for channel, marked in ((0, truth), (1, result)):
        colours[marked, channel] += _STRENGTH * (1.0 - colours[marked, channel])
    either = truth | result
    colours[either, 2] *= 1.0 - _STRENGTH
    colours[result & ~truth, 0] *= 1.0 - _STRENGTH
    colours[truth & ~result, 1] *= 1.0 - _STRENGTH
    return np.asarray(np.rint(255 * colours.clip(0, 1)), dtype=np.uint8)


def require_tensorboard() -> None:
    """Refuse where TensorBoard is not installed.

    Raises:
        UsageError: ``TENSORBOARD``.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError(
            "TENSORBOARD",
            "Its files are written by the package tensorboard, which is not installed.",
            hint='Install it with: pip install "kcalc[tensorboard]", or train without; '
            "log.csv, log.jsonl and curve.png are always written.",
        )
