"""The mask that a network finds: a model and a scan in, mask and facts out."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from kcalc.artifact import (
    SHIPPED_MODELS,
    Manifest,
    find_model,
    manifest_path,
    read_manifest,
)
from kcalc.errors import ModelError
from kcalc.geometry import Geometry
from kcalc.registration import NETWORK_GRID, network_grid
from kcalc.scoring import TARGETS, Target
from kcalc.terminal import without_start_up_lines
from kcalc.volume import Volume
from kcalc.workflow.masks import FoundMask

if TYPE_CHECKING:
    import keras

    from kcalc.inference import Network

Progress = Callable[[str, int, int], None]
"""Called with what is being done, steps done, steps to do (0 where unknown)."""


def grid_of(
    model: Network | keras.Model | str | os.PathLike[str] | None, target: Target
) -> Geometry:
    """Return the grid, in the standard pose, on which a network sees a head.

    Args:
        model: As of :func:`find_calcium`.
        target: What is looked for.

    Raises:
        ModelError: The model is missing or damaged.
    """
    spec = getattr(model, "input_spec", None)
    if model is None or isinstance(model, str | os.PathLike):
        path = find_model(SHIPPED_MODELS[target.task or ""] if model is None else model)
        if manifest_path(path).is_file():
            spec = read_manifest(path).input_spec
    spacing_mm = getattr(spec, "spacing_mm", None)
    return NETWORK_GRID if spacing_mm is None else network_grid(spacing_mm)


def find_calcium(
    model: Network | keras.Model | str | os.PathLike[str] | None,
    target: Target,
    volume: Volume,
    report: Progress,
) -> FoundMask:
    """Return what a network finds of a target in a scan.

    Args:
        model: What :func:`kcalc.inference.open_network` takes; None for the model that
            is shipped for the target's task.
        target: What is looked for.
        volume: The scan.
        report: Called as the work goes on.

    Raises:
        GeometryError: ``MODEL_SPACING``, the model needs another spacing.
        ModelError: The model is missing, damaged or for another task.
    """
    report("Loading the network", 0, 0)
    if model is None or isinstance(model, str | os.PathLike):
        # A wrong model is told before TensorFlow starts, which takes seconds.
        model = find_model(
            SHIPPED_MODELS[target.task or ""] if model is None else model
        )
        if manifest_path(model).is_file():
            _check_task(read_manifest(model), target)
    with without_start_up_lines():
        from kcalc.inference import Network, open_network, predict

        network = model if isinstance(model, Network) else open_network(model)
    if network.manifest is not None:
        _check_task(network.manifest, target)
    part = "slice" if network.geometry is None else "part"
    prediction = predict(
        network,
        volume,
        progress=lambda done, total: report(f"Finding calcium, {part}", done, total),
    )
    facts: dict[str, Any] = {
        "name": "unnamed",
        "version": 0,
        "threshold": network.threshold,
        "candidate_hu": network.candidate_hu,
        "num_slices_run": prediction.num_slices_run,
    }
    if network.manifest is not None:
        manifest = network.manifest
        facts |= {
            "name": manifest.name,
            "version": manifest.version,
            "task": manifest.task,
            "trained_on": manifest.trained_on,
            "files_sha256": dict(sorted(manifest.files.items())),
        }
    return FoundMask(
        prediction.mask.astype(np.uint8),
        facts,
        packages=("numpy", "scipy", "tensorflow", "keras"),
        seconds_network=prediction.seconds_network,
    )


def _check_task(manifest: Manifest, target: Target) -> None:
    """Refuse a model that finds something else than the target.

    Raises:
        ModelError: ``MODEL_TASK``.
    """
    if manifest.task == target.task:
        return
    fitting = [t.name for t in TARGETS.values() if t.task == manifest.task]
    raise ModelError(
        "MODEL_TASK",
        f"The target {target.name} needs a model for {target.task}. Received: "
        f"{manifest.name}, which is for {manifest.task}.",
        hint=f"Score it with --target {' or '.join(fitting)}."
        if fitting
        else "Name a model of this target.",
    )
