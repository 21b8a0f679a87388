"""A file of DenseNet-121 weights enters, the trunk of DenseRAUnet starts from it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import numpy.typing as npt

from kcalc.errors import ModelError

BLOCKS = (6, 12, 24, 16)
"""Layers of DenseNet-121's dense blocks."""
COLOURS = 3

FloatArray = npt.NDArray[np.float32]


def load_densenet121(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Put published DenseNet-121 weights into the trunk of a full-size DenseRAUnet.

    The first convolution's three colours are repeated over the slices and divided, so
    that a stack of equal slices gives what a grey picture gives. Every tensor of the
    file finds its place, or none is used.

    Args:
        model: :func:`kcalc.models.dense_ra_unet` of width 1 and blocks
            (6, 12, 24, 16), whose number of slices is a multiple of 3.
        path: Weights of ``keras.applications.DenseNet121(include_top=False)`` in one
            of Keras' layouts: ``.h5`` (as
            ``densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5``) or
            ``.weights.h5``.

    Raises:
        ModelError: ``MODEL_MISSING``: there is no such file. ``MODEL_CORRUPT``: it is
            damaged or of another network. ``MODEL_NONFINITE``: a weight is not finite.
    """
    published = _published(Path(path))
    for name, layer in _places(model):
        values = published.pop(name)
        if name == "conv1_conv":
            values = [_over_slices(values[0], model.input_shape[-1])]
        layer.set_weights(values)


def _published(path: Path) -> dict[str, list[FloatArray]]:
    """Return the file's tensors by the name of Keras' layer."""
    if not path.is_file():
        raise ModelError(
            "MODEL_MISSING",
            "There is no such file of weights.",
            path=path,
            hint="Give the path of densenet121_weights_tf_dim_ordering_tf_kernels_"
            "notop.h5.",
        )
    try:
        with warnings.catch_warnings():
            # Keras warns of variables that it leaves as they were initialised.
            warnings.simplefilter("error", UserWarning)
            network = keras.applications.DenseNet121(
                weights=str(path), include_top=False, input_shape=(32, 32, COLOURS)
            )
        reason = "" if _num_values(path) == network.count_params() else "more tensors"
    except (OSError, KeyError, ValueError, UserWarning, RuntimeError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if reason:
        raise ModelError(
            "MODEL_CORRUPT",
            "The file must hold the weights of DenseNet-121 without its top, whole. "
            f"Received: {reason}.",
            path=path,
            hint="Take the file whose name ends in notop.h5, and copy it again.",
        )
    values = {
        layer.name: layer.get_weights() for layer in network.layers if layer.weights
    }
    for name, tensors in values.items():
        if not all(np.isfinite(tensor).all() for tensor in tensors):
            raise ModelError(
                "MODEL_NONFINITE",
                f"Weights must be finite; {name} holds NaN or infinity.",
                path=path,
                hint="Copy the file again from where it came.",
            )
    return values


def _num_values(path: Path) -> int:
    """Return how many numbers a file's own tensors hold; links are not followed."""
    sizes = []

    def count(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            sizes.append(item.size)

    with h5py.File(path, "r") as file:
        file.visititems(count)
    return int(sum(sizes))


def _places(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield the name in Keras' DenseNet121 and the layer here of every tensor."""
    yield "conv1_conv", model.get_layer("stem_conv")
    yield "conv1_bn", model.get_layer("stem_bn")
    for block, num_layers in enumerate(BLOCKS, start=1):
        dense = model.get_layer(f"dense{block}")
        for number in range(num_layers):
            name = f"conv{block + 1}_block{number + 1}"
            yield f"{name}_0_bn", dense.reduce_norms[number]
            yield f"{name}_1_conv", dense.reduce_convs[number]
            yield f"{name}_1_bn", dense.grow_norms[number]
            yield f"{name}_2_conv", dense.grow_convs[number]
        last = block == len(BLOCKS)
        norm = model.get_layer(f"dense{block}_out_bn")
        yield ("bn" if last else f"pool{block + 1}_bn"), norm
        if not last:
            yield f"pool{block + 1}_conv", model.get_layer(f"transition{block}_conv")


def _over_slices(kernel: FloatArray, num_slices: int) -> FloatArray:
    """Return a (7, 7, 3, 64) kernel repeated over slices, of the same sum."""
    repeats = num_slices // COLOURS
    return np.tile(kernel, (1, 1, repeats, 1)) / np.float32(repeats)
