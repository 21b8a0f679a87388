"""Volumes of any kind: a Volume and a network of classes in, a label map out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kcalc.errors import IntensityError, ModelError
from kcalc.inference.same_tiling import predict_tiled
from kcalc.inference.tiling import MAX_VOXELS
from kcalc.preparation import InputSpec, Sizes, volume_window, windowed
from kcalc.volume import Volume


def segment_volume(
    model: keras.Model,
    volume: Volume,
    *,
    input_spec: InputSpec,
    halo_zyx: Sizes,
    multiple_zyx: Sizes = (8, 8, 8),
    max_voxels: int = MAX_VOXELS,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.uint8]:
    """Return the most probable class of every voxel.

    The network sees the volume as it is stored, slice by slice from its first one: the
    short axes of a heart have no order from caudal to cranial to be brought into.

    Args:
        model: From (batch, z, y, x, 1) to probabilities (batch, z, y, x, classes), as
            :func:`kcalc.models.planar_unet` with free sizes.
        volume: Scan in HU for a spec with ``window_hu``, else in any unit.
        input_spec: How its values are scaled.
        halo_zyx: :func:`kcalc.models.planar_unet_halo_zyx` of the network.
        multiple_zyx: Total stride of the network.
        max_voxels: Largest input of one run, in voxels.
        progress: Called with (tiles done, tiles to do) after each.

    Returns:
        uint8 (z, y, x) on the stored grid; 0 is the background.

    Raises:
        IntensityError: ``HU_UNKNOWN``: a window in HU and a scan that is not;
            ``EMPTY``: the volume shows nothing.
        ModelError: ``MODEL_NONFINITE``: a probability is not finite.
        ValueError: As of :func:`predict_tiled`.
    """
    if input_spec.window_hu is not None and volume.unit != "HU":
        raise IntensityError(
            "HU_UNKNOWN",
            "A network with a window in HU needs a scan in HU. Received: "
            f"unit={volume.unit!r}.",
            hint="Take a network that scales by volume_percentiles.",
        )
    window = volume_window(volume.array, input_spec)
    scaled = np.asarray(windowed(volume.array.astype(np.float32), input_spec, window))

    def run(box: npt.NDArray[Any]) -> npt.NDArray[Any]:
        output = model(box[np.newaxis, ..., np.newaxis], training=False)
        result: npt.NDArray[Any] = np.asarray(output)[0]
        return result

    probabilities = predict_tiled(
        run,
        scaled,
        halo_zyx=halo_zyx,
        multiple_zyx=multiple_zyx,
        max_voxels=max_voxels,
        progress=progress,
    )
    if not np.isfinite(probabilities).all():
        raise ModelError(
            "MODEL_NONFINITE",
            "Probabilities must be finite; the network gave NaN or infinity.",
            hint="Use another model: this one's weights overflow on the scan.",
        )
    return np.asarray(probabilities.argmax(axis=-1), np.uint8)
