"""Models made ready to predict: a Keras model, a ``.keras`` file or a SavedModel."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kcalc.artifact import Manifest, find_model, manifest_path, read_manifest
from kcalc.errors import ModelError
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU, Comparison
from kcalc.inference.loading import load_model, load_serving_function
from kcalc.inference.network import (
    cached_probability_function,
    check_finite_weights,
    check_network,
)
from kcalc.preparation import InputSpec, ValidGeometry

DEFAULT_THRESHOLD = 0.5
"""Probability cut of a model without a manifest."""

DEFAULT_LABELS = ("calcium",)
"""Label of a model without a manifest."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Network:
    """A model made ready to predict; make it once and use it for many scans.

    Args:
        run: int16 HU (n, y, x, stack) -> float32 probabilities (n, y, x); with a
            ``geometry`` (n, z, y, x) -> (n, z', y', x').
        input_spec: What the model takes.
        labels: Names of the mask's values 1, 2, ... in order.
        threshold: Probability at and above which a voxel is in the mask.
        candidate_hu: Value in HU that a voxel must reach to be in the mask; ``-inf``
            for no such cut, with which every slice is run.
        component_share: Share of a component that makes it part of the mask, or None
            (:func:`kcalc.inference.postprocess.calcium_of_slices`).
        manifest: The model's manifest, or None for a model that has none.
        size_yx: Rows and columns the network is fixed to; None where any will do.
        candidate_comparison: Whether ``candidate_hu`` itself is enough.
        geometry: Of a network of valid 3-D convolutions, how its output lies in its
            input; None for a 2.5-D network.
    """

    run: Callable[[Array], Array]
    input_spec: InputSpec
    labels: tuple[str, ...] = DEFAULT_LABELS
    threshold: float = DEFAULT_THRESHOLD
    candidate_hu: float = AGATSTON_THRESHOLD_HU
    component_share: float | None = None
    manifest: Manifest | None = None
    size_yx: tuple[int | None, int | None] = (None, None)
    candidate_comparison: Comparison = ">="
    geometry: ValidGeometry | None = None


def candidate_comparison(geometry: ValidGeometry | None) -> Comparison:
    """Return which voxels a kind of network answers for, of those at 130 HU.

    A network of valid convolutions is trained on voxels above 130 HU
    (:func:`kcalc.data.supervision.supervised_label`), a 2.5-D one on whole slices.
    """
    return ">=" if geometry is None else ">"


def open_network(
    model: keras.Model | str | os.PathLike[str] | None,
    *,
    input_spec: InputSpec | None = None,
) -> Network:
    """Load and verify a model once, for many calls of :func:`predict`.

    Args:
        model: Keras model; or what :func:`kcalc.artifact.find_model` takes: a
            ``.keras`` file, a SavedModel folder, a model's name, None for the shipped
            one.
        input_spec: Needed where no manifest gives it; must equal it where one does.

    Raises:
        ModelError: The model is missing, damaged or of another form, or its input is
            not known.
    """
    if isinstance(model, keras.Model):
        if input_spec is None:
            raise ModelError(
                "MODEL_MANIFEST",
                "What the model takes must be known. Received: a Keras model without "
                "input_spec.",
                hint="Give input_spec, the InputSpec it was trained with.",
            )
        return _keras_network(model, input_spec, None)
    path = find_model(model)
    if path.suffix != ".keras":
        loaded, manifest = load_serving_function(path)
        _check_same_spec(path, manifest, input_spec)
        return _saved_network(loaded, manifest)
    network = load_model(path)
    manifest_or_none = None
    if input_spec is None or manifest_path(path).is_file():
        manifest_or_none = read_manifest(path)
        _check_same_spec(path, manifest_or_none, input_spec)
        input_spec = manifest_or_none.input_spec
    return _keras_network(network, input_spec, manifest_or_none)


def _check_same_spec(
    path: Path, manifest: Manifest, input_spec: InputSpec | None
) -> None:
    if input_spec is not None and input_spec != manifest.input_spec:
        raise ModelError(
            "MODEL_TASK",
            f"input_spec must be the manifest's, {manifest.input_spec}. "
            f"Received: {input_spec}.",
            path=path,
            hint="Leave input_spec out.",
        )


def _keras_network(
    model: keras.Model, input_spec: InputSpec, manifest: Manifest | None
) -> Network:
    check_finite_weights(model)

    def run(hu: Array) -> Array:
        # Through `model`: the traced function alone does not keep its variables alive.
        probabilities = cached_probability_function(model, input_spec)
        return np.asarray(probabilities(tf.constant(hu, tf.int16)))

    geometry = check_network(model, input_spec)
    size_yx = (None, None) if geometry else model.input_shape[1:3]
    if manifest is None:
        return Network(
            run,
            input_spec,
            size_yx=size_yx,
            candidate_comparison=candidate_comparison(geometry),
            geometry=geometry,
        )
    return _with_manifest(run, manifest, size_yx)


def _saved_network(loaded: Any, manifest: Manifest) -> Network:
    def run(hu: Array) -> Array:
        # Through `loaded`: a signature alone does not keep its variables alive.
        answer = loaded.signatures["serving_default"](hu=tf.constant(hu, tf.int16))
        return np.asarray(answer["probabilities"])

    return _with_manifest(run, manifest, (None, None))


def _with_manifest(
    run: Callable[[Array], Array],
    manifest: Manifest,
    size_yx: tuple[int | None, int | None],
) -> Network:
    return Network(
        run,
        manifest.input_spec,
        manifest.labels,
        manifest.threshold,
        manifest.candidate_hu,
        manifest.component_share,
        manifest,
        size_yx,
        manifest.candidate_comparison,
        manifest.geometry,
    )
