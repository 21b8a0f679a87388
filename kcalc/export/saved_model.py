"""Writing a trained model: a SavedModel version folder, or a ``.keras`` file.

Either is written under another name first and then renamed, so that it appears whole or
not at all, and has its manifest with it.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kcalc._version import __version__
from kcalc.artifact import (
    CARD_FILE,
    MANIFEST_FILE,
    RECIPE_FILE,
    WEIGHTS_FILE,
    Manifest,
    manifest_path,
    relative_files,
    sha256_of,
    version_numbers,
    write_sums,
)
from kcalc.errors import ModelError
from kcalc.export.graph_scoring import (
    describe_score,
    score_signature,
    target_of_task,
)
from kcalc.export.packing import pack_weights
from kcalc.export.signatures import (
    describe_signatures,
    segment_signature,
    serving_signature,
    stack_mask_function,
)
from kcalc.export.volume_signatures import (
    describe_volume_signatures,
    volume_mask_function,
    volume_serving_signature,
)
from kcalc.files import sync_file
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.inference.network import (
    check_finite_weights,
    check_network,
    probability_function,
)
from kcalc.inference.opening import candidate_comparison
from kcalc.inference.postprocess import check_component_share
from kcalc.inference.tiling import MAX_VOXELS, check_max_voxels
from kcalc.inference.valid_network import main_model, volume_function
from kcalc.preparation import InputSpec, ValidGeometry
from kcalc.scoring.targets import CAROTID_TASK, CORONARY_TASK

_TEMPORARY_PREFIX = "unfinished-"


def export_saved_model(
    model: keras.Model,
    directory: str | os.PathLike[str],
    *,
    input_spec: InputSpec,
    name: str | None = None,
    task: str | None = None,
    labels: Sequence[str] | None = None,
    threshold: float = 0.5,
    component_share: float | None = None,
    batch_slices: int = 1,
    max_voxels: int = MAX_VOXELS,
    trained_on: str = "",
    model_card: str | None = None,
    recipe_json: str | os.PathLike[str] | None = None,
) -> Path:
    """Export a network as the next version of a SavedModel.

    The signatures ``serving_default`` and ``segment`` (:mod:`kcalc.export.signatures`,
    :mod:`kcalc.export.volume_signatures`) take Hounsfield units, and so does ``score``
    (:mod:`kcalc.export.graph_scoring`) of a task that kcalc has a rule for; all
    preparation is in the graph. The folder loads with TensorFlow alone and can be
    served as it is. An existing version is never touched.

    Args:
        model: Maps (batch, y, x, stack) to (batch, y, x, 1), any y and x; or a
            :func:`kcalc.models.residual_dropout_fcn` with
            ``input_shape=(None, None, None, 1)``, of which the main output is exported
            and the auxiliary ones are left out.
        directory: The model's folder, which TensorFlow Serving polls; made if absent.
        input_spec: What the network takes.
        name: Name of the model; None for the folder's name.
        task: What the model finds; None for ``"coronary_calcium"``, or
            ``"intracranial_carotid_calcium"`` of a residual_dropout_fcn.
        labels: Name of the mask's value 1; None for the task.
        threshold: Probability at and above which a voxel is in the mask, in (0, 1).
        component_share: Share of a component, in (0, 1], that must reach the
            threshold for the component to be in the mask, whole; None takes each voxel
            for itself (:func:`kcalc.inference.postprocess.calcium_of_slices`).
        batch_slices: Slices per call of a 2.5-D network in ``segment``; memory grows
            with it.
        max_voxels: Voxels of the largest input of a residual_dropout_fcn in
            ``segment``; memory grows with it.
        trained_on: One sentence on the training data, for manifest and card.
        model_card: Text of MODEL_CARD.md; None for a minimal one.
        recipe_json: ``run.json`` of the training run, copied as recipe.json; or None.

    Returns:
        The version folder, named by the next free integer, with ``saved_model.pb``,
        ``variables/``, ``assets.extra/kcalc.json``, ``model.weights.h5``,
        ``MODEL_CARD.md``, ``recipe.json`` if given, and ``SHA256SUMS``.

    Raises:
        ModelError: ``MODEL_NONFINITE`` (weights with NaN or infinity) or
            ``MODEL_TASK`` (another kind of network, or fixed to one size).
        ValueError: An argument is out of range.
    """
    check_finite_weights(model)
    geometry = check_network(model, input_spec)
    manifest = _manifest(
        directory, input_spec, geometry, name, task, labels, threshold, component_share
    )
    signatures = (
        describe_signatures(input_spec)
        if geometry is None
        else describe_volume_signatures()
    )
    target = target_of_task(manifest.task)
    if target is not None:
        signatures["score"] = describe_score(target)
    manifest = replace(manifest, trained_on=trained_on, signatures=signatures)
    if batch_slices < 1:
        raise ValueError(
            f"batch_slices must be at least 1. Received: batch_slices={batch_slices}"
        )
    if geometry is not None:
        check_max_voxels(max_voxels, geometry)
    elif tuple(model.input_shape[1:3]) != (None, None):
        raise ModelError(
            "MODEL_TASK",
            "An exported network takes slices of any size. Received: "
            f"input shape {model.input_shape}.",
            hint="Build it with input_shape=(None, None, stack) and load its weights.",
        )
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=directory))
    try:
        unfinished.chmod(0o755)  # mkdtemp's 0700 would shut out a server's own user
        _write_graph(model, unfinished, manifest, batch_slices, max_voxels)
        model.save_weights(unfinished / WEIGHTS_FILE)
        (unfinished / CARD_FILE).write_text(
            _minimal_card(manifest) if model_card is None else model_card,
            encoding="utf-8",
        )
        if recipe_json is not None:
            shutil.copyfile(recipe_json, unfinished / RECIPE_FILE)
        return _publish(unfinished, directory, manifest)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def save_keras_model(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    input_spec: InputSpec,
    name: str | None = None,
    task: str | None = None,
    labels: Sequence[str] | None = None,
    threshold: float = 0.5,
    component_share: float | None = None,
    trained_on: str = "",
) -> Path:
    """Write a ``.keras`` file with its manifest beside it, replacing older ones.

    With the manifest (``best.kcalc.json`` for ``best.keras``) :func:`kcalc.predict`
    knows what the model takes, and a damaged file is found before it is loaded.
    Arguments are those of :func:`export_saved_model`.

    Raises:
        ModelError: As :func:`export_saved_model`.
        ValueError: The path does not end in ``.keras``, or an argument is out of range.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"path must end in .keras. Received: path={path}")
    check_finite_weights(model)
    geometry = check_network(model, input_spec)
    name = name or path.stem
    manifest = _manifest(
        path, input_spec, geometry, name, task, labels, threshold, component_share
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=_TEMPORARY_PREFIX, dir=path.parent
    ) as folder:
        file = Path(folder) / path.name
        model.save(file)
        manifest = replace(
            manifest, trained_on=trained_on, files={path.name: sha256_of(file)}
        )
        manifest_path(file).write_text(manifest.to_json(), encoding="utf-8")
        for written in (file, manifest_path(file)):
            sync_file(written)
        file.replace(path)
        manifest_path(file).replace(manifest_path(path))
    return path


def _manifest(
    folder: str | os.PathLike[str],
    input_spec: InputSpec,
    geometry: ValidGeometry | None,
    name: str | None,
    task: str | None,
    labels: Sequence[str] | None,
    threshold: float,
    component_share: float | None,
) -> Manifest:
    """Return the manifest as far as the arguments give it, and check them."""
    if not 0.0 < threshold < 1.0:
        raise ValueError(
            f"threshold must lie between 0 and 1. Received: threshold={threshold}"
        )
    check_component_share(component_share)
    task = task or (CORONARY_TASK if geometry is None else CAROTID_TASK)
    labels = (task,) if labels is None else labels
    if isinstance(labels, str) or len(labels) != 1:
        raise ValueError(
            f"labels must name the one class of the network. Received: {labels!r}"
        )
    return Manifest(
        name=Path(folder).resolve().name if name is None else name,
        version=0,
        task=task,
        labels=tuple(labels),
        input_spec=input_spec,
        threshold=float(threshold),
        candidate_hu=AGATSTON_THRESHOLD_HU,
        trained_on="",
        component_share=component_share,
        candidate_comparison=candidate_comparison(geometry),
        geometry=geometry,
        written_with={
            "kcalc": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    )


def _write_graph(
    model: keras.Model,
    folder: Path,
    manifest: Manifest,
    batch_slices: int,
    max_voxels: int,
) -> None:
    input_spec, geometry = manifest.input_spec, manifest.geometry
    module: Any = tf.Module()
    if geometry is None:
        network, weights = pack_weights(model)
        probabilities = probability_function(network, input_spec)
        serving = serving_signature(probabilities, input_spec)
        mask_of = stack_mask_function(
            probabilities,
            input_spec,
            threshold=manifest.threshold,
            candidate_hu=int(manifest.candidate_hu),
            component_share=manifest.component_share,
            batch_slices=batch_slices,
        )
    else:
        network, weights = pack_weights(main_model(model))
        probabilities = volume_function(network, input_spec)
        serving = volume_serving_signature(probabilities, geometry)
        mask_of = volume_mask_function(
            probabilities,
            input_spec,
            geometry,
            threshold=manifest.threshold,
            candidate_hu=int(manifest.candidate_hu),
            comparison=manifest.candidate_comparison,
            component_share=manifest.component_share,
            max_voxels=max_voxels,
        )
    # A bare tf.Variable: with the Keras model as attribute a session loader, such as a
    # server's, does not find the variables; keras.export stores each twice.
    module.tfvars = [weights]
    signatures = {"serving_default": serving, "segment": segment_signature(mask_of)}
    target = target_of_task(manifest.task)
    if target is not None:
        signatures["score"] = score_signature(mask_of, target)
    tf.saved_model.save(module, str(folder), signatures=signatures)


def _minimal_card(manifest: Manifest) -> str:
    return (
        f"# {manifest.name}\n\n"
        f"Finds: {', '.join(manifest.labels)} (task {manifest.task}).\n\n"
        f"Trained on: {manifest.trained_on or 'not stated'}.\n\n"
        "Research use only. Not a medical device; not for diagnosis. No figures were "
        "given at export.\n"
    )


def _publish(unfinished: Path, directory: Path, manifest: Manifest) -> Path:
    """Name the folder by the next free version, which another export may take first."""
    sums = {
        name: sha256_of(unfinished / name)
        for name in sorted(relative_files(unfinished))
    }
    manifest_file = unfinished / MANIFEST_FILE
    manifest_file.parent.mkdir(exist_ok=True)
    while True:
        version = max(version_numbers(directory), default=0) + 1
        manifest_file.write_text(
            replace(manifest, version=version, files=sums).to_json(), encoding="utf-8"
        )
        write_sums(unfinished)
        for name in relative_files(unfinished):
            sync_file(unfinished / name)
        target = directory / str(version)
        try:
            unfinished.rename(target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        else:
            return target
