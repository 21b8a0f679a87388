"""A saved model's manifest; how a saved model is found and verified.

No TensorFlow here: a folder is found, its manifest read and its files compared with
their sha256 before anything of it is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from kcalc.errors import ModelError
from kcalc.hounsfield import Comparison
from kcalc.preparation import InputSpec, ValidGeometry
from kcalc.scoring.targets import CORONARY_TASK

DEFAULT_MODEL = "cac_dense_ra_unet_small"
"""Name of the model that kcalc ships and uses when none is named."""

SHIPPED_MODELS: Mapping[str, str] = MappingProxyType({CORONARY_TASK: DEFAULT_MODEL})
"""Name of the shipped model of each task; read-only."""

MANIFEST_FILE = "assets.extra/kcalc.json"
SUMS_FILE = "SHA256SUMS"
WEIGHTS_FILE = "model.weights.h5"
CARD_FILE = "MODEL_CARD.md"
RECIPE_FILE = "recipe.json"
GRAPH_FILE = "saved_model.pb"

SCHEMA = 1
"""Number of the manifest's form; a reader refuses a number it does not know."""

_MAX_MANIFEST_BYTES = 1_000_000
_REEXPORT = "Export the model again with kcalc.export.export_saved_model."


@dataclass(frozen=True)
class TensorInfo:
    """A named input or output of a signature.

    Args:
        dtype: TensorFlow's name of the type, such as ``"int16"``.
        axes: Name of each axis, such as ``("z", "y", "x")``.
        shape: Size of each axis; None where any size is accepted.
    """

    dtype: str
    axes: tuple[str, ...]
    shape: tuple[int | None, ...]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TensorInfo:
        """Return the tensor that ``dataclasses.asdict`` described."""
        return cls(values["dtype"], tuple(values["axes"]), tuple(values["shape"]))


@dataclass(frozen=True)
class Signature:
    """What one entry point of a SavedModel takes and gives, by tensor name."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Signature:
        """Return the signature that ``dataclasses.asdict`` described."""
        inputs, outputs = (
            {name: TensorInfo.from_dict(info) for name, info in values[side].items()}
            for side in ("inputs", "outputs")
        )
        return cls(inputs, outputs)


@dataclass(frozen=True)
class Manifest:
    """All that a caller must know of a saved model before it loads it.

    Args:
        name: Name of the model, the folder that TensorFlow Serving polls.
        version: Number of the version folder; 0 for a ``.keras`` file.
        task: What the model finds, such as ``"coronary_calcium"``.
        labels: Names of the mask's values 1, 2, ... in order.
        input_spec: How Hounsfield units become the network's input.
        threshold: Probability at and above which a voxel is in the mask.
        candidate_hu: Value in HU that a voxel must reach to be in the mask.
        trained_on: One sentence on the training data.
        component_share: Share of a component that must reach the threshold for the
            component to be in the mask, whole; None takes each voxel for itself
            (:func:`kcalc.inference.postprocess.calcium_of_slices`).
        candidate_comparison: Whether a voxel of ``candidate_hu`` itself can be in the
            mask (``">="``) or not (``">"``).
        geometry: How the output lies in the input, of a network of valid convolutions;
            None for any other.
        written_with: Versions of kcalc, tensorflow and keras at export.
        signatures: Entry points by name; none for a ``.keras`` file.
        files: sha256 of each file, by its path relative to the folder.
    """

    name: str
    version: int
    task: str
    labels: tuple[str, ...]
    input_spec: InputSpec
    threshold: float
    candidate_hu: float
    trained_on: str
    component_share: float | None = None
    candidate_comparison: Comparison = ">="
    geometry: ValidGeometry | None = None
    written_with: Mapping[str, str] = field(default_factory=dict)
    signatures: Mapping[str, Signature] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the manifest as it is stored, a JSON object with a schema number."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Manifest:
        """Return the manifest that :meth:`to_json` wrote."""
        return cls(
            name=str(values["name"]),
            version=int(values["version"]),
            task=str(values["task"]),
            labels=tuple(str(label) for label in values["labels"]),
            input_spec=InputSpec.from_dict(values["input_spec"]),
            threshold=float(values["threshold"]),
            candidate_hu=float(values["candidate_hu"]),
            trained_on=str(values["trained_on"]),
            component_share=values.get("component_share"),
            candidate_comparison=_comparison(values.get("candidate_comparison", ">=")),
            geometry=None
            if values.get("geometry") is None
            else ValidGeometry.from_dict(values["geometry"]),
            written_with=dict(values["written_with"]),
            signatures={
                name: Signature.from_dict(value)
                for name, value in values["signatures"].items()
            },
            files=dict(values["files"]),
        )


def _comparison(word: str) -> Comparison:
    if word == ">=":
        return ">="
    if word == ">":
        return ">"
    raise ValueError(f"candidate_comparison must be '>=' or '>'. Received: {word!r}")


def manifest_path(path: str | os.PathLike[str]) -> Path:
    """Return where the manifest of a version folder or of a ``.keras`` file lies.

    Example:
        >>> manifest_path("runs/best.keras").as_posix()
        'runs/best.kcalc.json'
    """
    path = Path(path)
    if path.suffix == ".keras":
        return path.with_suffix(".kcalc.json")
    return path / MANIFEST_FILE


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read the manifest of a version folder, or the one beside a ``.keras`` file.

    Raises:
        ModelError: ``MODEL_MANIFEST``: it is absent, not JSON, of another schema, or
            lacks a field.
    """
    file = manifest_path(path)
    if not file.is_file():
        raise ModelError(
            "MODEL_MANIFEST",
            "A model of kcalc has a manifest; this one has none.",
            path=file,
            hint=f"Was the model written by kcalc, and copied whole? {_REEXPORT}",
        )
    try:
        with file.open("rb") as stream:
            values = json.loads(stream.read(_MAX_MANIFEST_BYTES))
        schema = values["schema"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _bad_manifest(file, error) from error
    if schema != SCHEMA:
        raise ModelError(
            "MODEL_MANIFEST",
            f"This kcalc reads manifests of schema {SCHEMA}. Received: {schema!r}.",
            path=file,
            hint="Install the kcalc that wrote the model, or a newer one.",
        )
    try:
        return Manifest.from_dict(values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _bad_manifest(file, error) from error


def _bad_manifest(file: Path, error: Exception) -> ModelError:
    return ModelError(
        "MODEL_MANIFEST",
        f"The manifest cannot be understood ({type(error).__name__}: {error}).",
        path=file,
        hint=f"Copy the model again, or: {_REEXPORT}",
    )


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a file's bytes in hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify(path: str | os.PathLike[str], *, task: str | None = None) -> Manifest:
    """Check a model's files against its manifest before anything is loaded.

    Args:
        path: Version folder, or ``.keras`` file with its manifest beside it.
        task: What the model is to be used for; None to accept any task.

    Returns:
        The manifest.

    Raises:
        ModelError: ``MODEL_MISSING`` (a file is absent), ``MODEL_CORRUPT`` (a file's
            bytes are not those that were exported), ``MODEL_TASK`` (made for another
            task) or ``MODEL_MANIFEST``.
    """
    path = Path(path)
    folder = path.parent if path.suffix == ".keras" else path
    if not path.exists():
        raise _missing(path)
    manifest = read_manifest(path)
    if task is not None and manifest.task != task:
        raise ModelError(
            "MODEL_TASK",
            f"A model for {task!r} is needed. Received: one for {manifest.task!r}.",
            path=path,
            hint="Name a model that was trained for this task.",
        )
    if path.suffix == ".keras":
        needed, sums = {path.name}, dict(manifest.files)
    else:
        needed = {GRAPH_FILE, "variables/variables.index", MANIFEST_FILE}
        sums = {**manifest.files, **_read_sums(folder)}
        if any(sums[name] != digest for name, digest in manifest.files.items()):
            raise _corrupt(folder / SUMS_FILE)
    absent = sorted(needed - set(sums))
    if absent:
        raise ModelError(
            "MODEL_MANIFEST",
            f"The manifest gives no sha256 for {', '.join(absent)}.",
            path=manifest_path(path),
            hint=_REEXPORT,
        )
    for name, digest in sorted(sums.items()):
        file = folder / _inside(name, folder)
        if not file.is_file():
            raise _missing(file)
        if sha256_of(file) != digest:
            raise _corrupt(file)
    return manifest


def _missing(path: Path) -> ModelError:
    return ModelError(
        "MODEL_MISSING",
        "A file of the model is not there.",
        path=path,
        hint="Copy the model's folder again, whole.",
    )


def _corrupt(path: Path) -> ModelError:
    return ModelError(
        "MODEL_CORRUPT",
        "The file is not the one that was exported: its sha256 differs.",
        path=path,
        hint="Copy the model again from where it came.",
    )


def _read_sums(folder: Path) -> dict[str, str]:
    file = folder / SUMS_FILE
    if not file.is_file():
        raise _missing(file)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return {
            name: digest for digest, name in (line.split("  ", 1) for line in lines)
        }
    except ValueError as error:
        raise _corrupt(file) from error


def _inside(name: str, folder: Path) -> Path:
    """Return a listed path if it stays in the folder; a manifest may be hostile."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\\" in name:
        raise ModelError(
            "MODEL_MANIFEST",
            "The manifest names a file outside the model's folder.",
            path=folder,
            hint="Do not use this model.",
        )
    return Path(*relative.parts)


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS over all files of a folder, in the form of sha256sum(1)."""
    names = sorted(set(relative_files(folder)) - {SUMS_FILE})
    text = "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names)
    (folder / SUMS_FILE).write_text(text, encoding="utf-8")


def relative_files(folder: Path) -> Iterator[str]:
    """Yield the path of each file below a folder, relative to it, with slashes."""
    for file in folder.rglob("*"):
        if file.is_file():
            yield file.relative_to(folder).as_posix()


def model_roots() -> tuple[Path, ...]:
    """Return the folders in which a model's name is looked up.

    In a wheel ``kcalc/saved_models``; in a checkout ``saved_models`` beside ``kcalc``.
    """
    package = Path(__file__).resolve().parent
    return (package / "saved_models", package.parent / "saved_models")


def version_numbers(folder: Path) -> list[int]:
    """Return the integer versions in a model's folder, rising."""
    names = (entry.name for entry in folder.iterdir() if entry.is_dir())
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def find_model(
    name_or_path: str | os.PathLike[str] | None = None,
    *,
    roots: Iterable[Path] | None = None,
) -> Path:
    """Find a model by name or path.

    Args:
        name_or_path: None for the shipped :data:`DEFAULT_MODEL`; the name of a model
            below one of the roots; or a path: a ``.keras`` file, a version folder, or a
            model folder, of which the newest integer version is taken.
        roots: Folders to look names up in; None for :func:`model_roots`.

    Returns:
        The version folder or the ``.keras`` file. It is found, not verified.

    Raises:
        ModelError: ``MODEL_MISSING`` if there is none.
    """
    wanted = Path(DEFAULT_MODEL if name_or_path is None else name_or_path)
    searched = tuple(model_roots() if roots is None else roots)
    tried = [] if name_or_path is None else [wanted]
    if len(wanted.parts) == 1:
        tried += [root / wanted for root in searched]
    for place in tried:
        if place.suffix == ".keras" and place.is_file():
            return place
        if (place / GRAPH_FILE).is_file():
            return place
        versions = version_numbers(place) if place.is_dir() else []
        if versions:
            newest = next(
                entry
                for entry in place.iterdir()
                if entry.name.isdecimal() and int(entry.name) == versions[-1]
            )
            if not (newest / GRAPH_FILE).is_file():
                raise _missing(newest / GRAPH_FILE)
            return newest
    raise ModelError(
        "MODEL_MISSING",
        "A model is named by a .keras file, a SavedModel folder, or the name of a "
        f"model in {' or '.join(str(root) for root in searched)}.",
        path=wanted,
        hint="Correct the name, or export a model there.",
    )
