"""A Volume and a model enter, a mask on the volume's own grid leaves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kcalc.errors import GeometryError, IntensityError, ModelError, ResourceError
from kcalc.hounsfield import reaches
from kcalc.inference.opening import Network, open_network
from kcalc.inference.postprocess import calcium_of_slices
from kcalc.inference.tiling import MAX_VOXELS, predict_exact
from kcalc.inference.valid_network import rounded_hu
from kcalc.orientation import lps_spacing_mm, lps_view
from kcalc.preparation import (
    SPACING_TOLERANCE,
    InputSpec,
    ValidGeometry,
    stack_indices,
)
from kcalc.volume import Volume

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Prediction:
    """What a network found in one volume.

    Args:
        mask: (z, y, x) bool on the volume's stored grid.
        labels: Names of the mask's values 1, 2, ... in order.
        probability: (z, y, x) float32 on the same grid, 0 in slices that were not run;
            None unless asked for.
        num_slices_run: Slices with a candidate voxel, which the network saw.
        seconds_network: Wall time in the network.
    """

    mask: npt.NDArray[np.bool_]
    labels: tuple[str, ...]
    probability: npt.NDArray[np.float32] | None
    num_slices_run: int
    seconds_network: float


def predict(
    model: keras.Model | Network | str | os.PathLike[str] | None,
    volume: Volume,
    *,
    input_spec: InputSpec | None = None,
    threshold: float | None = None,
    batch_slices: int = 1,
    max_voxels: int = MAX_VOXELS,
    keep_probability: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Prediction:
    """Find calcification in a CT volume.

    The network sees the volume in LPS order (:func:`lps_view`), a stack of slices
    round each slice that has a candidate voxel (>= 130 HU); all other slices are
    skipped, since nothing below that is calcium. A network of valid 3-D convolutions
    sees the boxes of such voxels (> 130 HU) with what it needs round them, the volume
    going on beyond its border with its outermost voxels, so that any size will do
    (:func:`kcalc.inference.predict_exact`). A voxel is in the mask if its
    probability reaches ``threshold`` and its value 130 HU; or, where the model's
    manifest says so, with its whole component (:mod:`kcalc.inference.postprocess`).
    Fractional HU are compared before they are rounded for the network. A SavedModel's
    ``segment`` gives the same mask.

    Args:
        model: As :func:`open_network`, or what that returned.
        volume: CT in HU. Its size is free; its array is not changed.
        input_spec: As :func:`open_network`.
        threshold: Probability cut in (0, 1); None for the model's own (0.5 where no
            manifest states one).
        batch_slices: Slices per call of a 2.5-D network; memory grows with it.
        max_voxels: Largest input of a network of valid convolutions, in voxels; memory
            grows with it.
        keep_probability: Whether to return the probabilities, 4 bytes a voxel.
        progress: Called with (slices or boxes done, those to do) after each batch.

    Returns:
        Mask on the volume's stored grid, and what it cost.

    Raises:
        GeometryError: ``MODEL_SPACING``: the network needs another spacing.
        IntensityError: ``HU_UNKNOWN`` (not in HU), ``EMPTY`` (constant) or
            ``HU_RANGE`` (no voxel below 0 HU, as when the rescale was forgotten).
        ModelError: The model cannot be used, or gave NaN (``MODEL_NONFINITE``).
        ResourceError: ``MEMORY``: a batch did not fit.
        ValueError: An argument is out of range.

    Example:
        ``kcalc.predict("model/1", kcalc.read_volume("series/")).mask``
    """
    network = (
        model
        if isinstance(model, Network)
        else open_network(model, input_spec=input_spec)
    )
    cut = network.threshold if threshold is None else float(threshold)
    if not 0.0 < cut < 1.0:
        raise ValueError(
            f"threshold must lie between 0 and 1. Received: threshold={threshold}"
        )
    if batch_slices < 1:
        raise ValueError(
            f"batch_slices must be at least 1. Received: batch_slices={batch_slices}"
        )
    _check_hu(volume)

    spacing_mm = lps_spacing_mm(volume.geometry)
    _check_spacing(network, spacing_mm)
    mask = np.zeros(volume.shape, dtype=np.bool_)
    probability = np.zeros(volume.shape, np.float32) if keep_probability else None
    hu = lps_view(volume.array, volume.geometry)
    candidates = reaches(hu, network.candidate_hu, network.candidate_comparison)
    batches = (
        _stacks(network, hu, candidates, spacing_mm[0], batch_slices, progress)
        if network.geometry is None
        else _boxes(network, network.geometry, hu, candidates, max_voxels, progress)
    )
    seconds = 0.0
    for slices, output, spent in batches:
        seconds += spent
        lps_view(mask, volume.geometry)[slices] = calcium_of_slices(
            output, candidates[slices], cut, network.component_share
        )
        if probability is not None:
            lps_view(probability, volume.geometry)[slices] = output
    num_slices = int(np.count_nonzero(candidates.any(axis=(1, 2))))
    return Prediction(mask, network.labels, probability, num_slices, seconds)


Batch = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], float]
"""Slice numbers, their probabilities (n, y, x), wall time in the network."""


def _stacks(
    network: Network,
    hu: Array,
    candidates: Array,
    slice_spacing_mm: float,
    batch_slices: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Batch]:
    """Run a 2.5-D network on the slices with candidates."""
    _check_size(network, hu.shape)
    slices = np.flatnonzero(candidates.any(axis=(1, 2)))
    stacks = stack_indices(len(hu), network.input_spec, slice_spacing_mm)
    for start in range(0, len(slices), batch_slices):
        batch = slices[start : start + batch_slices]
        stack = np.moveaxis(rounded_hu(hu[stacks[batch]]), 1, -1)
        began = time.perf_counter()
        output = _run(network, np.ascontiguousarray(stack))
        yield batch, output, time.perf_counter() - began
        if progress is not None:
            progress(min(start + batch_slices, len(slices)), len(slices))


def _boxes(
    network: Network,
    geometry: ValidGeometry,
    hu: Array,
    candidates: Array,
    max_voxels: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Batch]:
    """Run a network of valid convolutions on the boxes of the candidates."""
    seconds = 0.0

    def run(box: Array) -> Array:
        nonlocal seconds
        began = time.perf_counter()
        output: Array = _run(network, np.ascontiguousarray(box)[np.newaxis])[0]
        seconds += time.perf_counter() - began
        return output

    probability = predict_exact(
        run,
        rounded_hu(hu),
        geometry,
        max_voxels=max_voxels,
        candidates=candidates,
        progress=progress,
    )
    yield np.arange(len(hu)), probability, seconds


def _check_hu(volume: Volume) -> None:
    if volume.unit != "HU":
        raise IntensityError(
            "HU_UNKNOWN",
            f"A CT network needs Hounsfield units. Received: unit={volume.unit!r}.",
            hint="Read the scan with unit='HU' if its values are HU.",
        )
    low_hu, high_hu = volume.array.min(), volume.array.max()
    if low_hu == high_hu:
        raise IntensityError(
            "EMPTY",
            f"A scan has an image; every voxel of this one is {low_hu} HU.",
            hint="Choose another series.",
        )
    if low_hu >= 0:
        raise IntensityError(
            "HU_RANGE",
            f"A CT scan has voxels below 0 HU. Received: minimum {low_hu}.",
            hint="Apply the rescale slope and intercept; do not window the image.",
        )


def _check_spacing(network: Network, spacing_mm: tuple[float, float, float]) -> None:
    if not network.input_spec.takes_spacing(spacing_mm):
        needs = " x ".join(f"{n:g}" for n in network.input_spec.spacing_mm or ())
        has = " x ".join(f"{n:.4g}" for n in spacing_mm)
        raise GeometryError(
            "MODEL_SPACING",
            f"The network was trained on voxels of {needs} mm (z, y, x), "
            f"{SPACING_TOLERANCE:.0%} more or less. Received: {has} mm.",
            hint="Resample the scan to that spacing (a head for the carotids with "
            "--register or kcalc.registration.to_network_grid), or take another model.",
        )


def _check_size(network: Network, shape_zyx: tuple[int, ...]) -> None:
    multiples = network.input_spec.multiple_zyx[1:]
    padded = tuple(n + -n % m for n, m in zip(shape_zyx[1:], multiples, strict=True))
    if any(
        fixed is not None and fixed != size
        for fixed, size in zip(network.size_yx, padded, strict=True)
    ):
        raise ModelError(
            "MODEL_TASK",
            f"The network was built for slices of {network.size_yx} rows and columns. "
            f"Received: {padded}.",
            hint="Build it with input_shape=(None, None, stack) and load its weights.",
        )


def _run(network: Network, stack: Array) -> Array:
    try:
        output = network.run(stack)
    except tf.errors.ResourceExhaustedError as error:
        raise ResourceError(
            "MEMORY",
            f"An input of shape {stack.shape} does not fit in the memory of the "
            "device.",
            hint="Lower batch_slices or max_voxels, or run on the CPU.",
        ) from error
    except tf.errors.InvalidArgumentError as error:
        raise ModelError(
            "MODEL_REFUSED",
            f"The SavedModel refused the scan: {' '.join(error.message.split())[:300]}",
            hint="Look at the scan; export the model again if it is sound.",
        ) from error
    if not np.isfinite(output).all():
        raise ModelError(
            "MODEL_NONFINITE",
            "Probabilities must be finite; the network gave NaN or infinity.",
            hint="Use another model: this one's weights overflow on the scan.",
        )
    return output
