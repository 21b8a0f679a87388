"""Loading models: ``.keras`` files as Keras models, SavedModels as functions."""

from __future__ import annotations

import importlib
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kcalc.artifact import Manifest, manifest_path, verify
from kcalc.errors import ModelError
from kcalc.inference.network import check_finite_weights


def load_model(path: str | os.PathLike[str]) -> keras.Model:
    """Load a ``.keras`` file as an uncompiled model, with kcalc's layers registered.

    If a manifest lies beside the file (``best.kcalc.json`` for ``best.keras``), its
    sha256 is checked first. Keras's safe mode stays on.

    Args:
        path: ``.keras`` file. A SavedModel folder cannot become a Keras model: give it
            to :func:`kcalc.predict`, or load its ``model.weights.h5`` into a new model.

    Returns:
        The model, to use or to compile and go on training.

    Raises:
        ModelError: ``MODEL_MISSING``, ``MODEL_FORMAT`` (not ``.keras``),
            ``MODEL_CORRUPT``, ``MODEL_UNSAFE`` (holds code), ``MODEL_LAYER`` (a class
            that is not registered), ``MODEL_NONFINITE``, ``MODEL_MANIFEST``.
    """
    path = Path(path)
    if not path.exists():
        raise ModelError(
            "MODEL_MISSING", "There is no such file.", path=path, hint="Correct it."
        )
    if path.suffix != ".keras" or not path.is_file():
        raise ModelError(
            "MODEL_FORMAT",
            "load_model reads .keras files.",
            path=path,
            hint="Give a SavedModel folder to kcalc.predict; load a .weights.h5 file "
            "with model.load_weights.",
        )
    if manifest_path(path).is_file():
        verify(path)
    _check_archive(path)
    importlib.import_module("kcalc.models")  # registers kcalc's layers
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise _refusal(path, error) from error
    check_finite_weights(model)
    return model


def _check_archive(path: Path) -> None:
    """Read a ``.keras`` file as the zip archive it is; Keras's own text misleads."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            names = set(archive.namelist())
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        ValueError,
        RuntimeError,  # NotImplementedError too: a flipped bit in the method's number
    ) as error:
        raise _damaged(path, str(error)) from error
    if damaged is not None:
        raise _damaged(path, f"checksum of {damaged} fails")
    absent = {"config.json", "metadata.json", "model.weights.h5"} - names
    if absent:
        raise _damaged(path, f"{', '.join(sorted(absent))} is not in it")


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(
        "MODEL_CORRUPT",
        f"The file is damaged or no .keras archive ({why}).",
        path=path,
        hint="Copy the model again from where it came.",
    )


def _refusal(path: Path, error: Exception) -> ModelError:
    text = " ".join(str(error).split())
    unknown = re.search(r"Could not locate \w+ '[^']{1,80}'", text)
    if "safe_mode" in text or "unsafe" in text.lower():
        return ModelError(
            "MODEL_UNSAFE",
            "A model must hold layers and numbers only; this one holds code.",
            path=path,
            hint="Do not use it; ask for a model without Lambda layers.",
        )
    if unknown:
        return ModelError(
            "MODEL_LAYER",
            f"A layer of the model is not known here ({unknown.group()}).",
            path=path,
            hint="Import the module that registers it before loading.",
        )
    return ModelError(
        "MODEL_CORRUPT",
        f"Keras cannot read the model ({type(error).__name__}: {text[:300]}).",
        path=path,
        hint="Copy the model again, or install the Keras that wrote it.",
    )


def load_serving_function(path: Path) -> tuple[Any, Manifest]:
    """Verify and load a SavedModel version folder, for its ``serving_default``.

    Returns:
        The loaded object, which owns the variables and has ``signatures``; and the
        manifest.

    Raises:
        ModelError: As :func:`kcalc.artifact.verify`; ``MODEL_CORRUPT`` also if
            TensorFlow cannot load it or a signature of the manifest is not in it.
    """
    manifest = verify(path)
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:
        raise ModelError(
            "MODEL_CORRUPT",
            f"TensorFlow cannot load the SavedModel ({type(error).__name__}).",
            path=path,
            hint="Export the model again with kcalc.export.export_saved_model.",
        ) from error
    absent = sorted({*manifest.signatures, "serving_default"} - set(loaded.signatures))
    if absent:
        raise ModelError(
            "MODEL_CORRUPT",
            f"The SavedModel lacks the signature {', '.join(absent)}.",
            path=path,
            hint="Export the model again with kcalc.export.export_saved_model.",
        )
    return loaded, manifest
