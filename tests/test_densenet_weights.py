"""Tests of kcalc.models.densenet_weights: a start from published DenseNet-121 weights.

The published file is not at hand; files of the same two layouts are written from
``keras.applications.DenseNet121(weights=None)``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from kcalc.errors import ModelError
from kcalc.models import dense_ra_unet
from kcalc.models.densenet_weights import load_densenet121

NUM_TENSORS = 120 + 4 * 121
"""A kernel of every convolution, four vectors of every normalisation."""


@pytest.fixture(scope="module")
def published() -> keras.Model:
    network = keras.applications.DenseNet121(
        weights=None, include_top=False, input_shape=(64, 64, 3)
    )
    rng = np.random.default_rng(0)
    network.set_weights(
        [
            rng.uniform(0.5, 1.5, w.shape)
            if "variance" in w.path
            else np.asarray(w) + rng.normal(0, 0.02, w.shape)
            for w in network.weights
        ]
    )
    return network


def write(network: keras.Model, path: Path) -> Path:
    """Write weights as Keras does today, or as the published file has them."""
    if path.name.endswith(".weights.h5"):
        network.save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, network)
    return path


@pytest.fixture(scope="module")
def notop(published: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    name = "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"
    return write(published, folder / name)


def trunk_of(model: keras.Model) -> keras.Model:
    return keras.Model(model.input, model.get_layer("dense4_out_relu").output)


def without_first_pooling(network: keras.Model) -> keras.Model:
    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name in ("pool1", "zero_padding2d_1"):
            return keras.layers.Identity(name=layer.name)
        # "same" padding of stride 2 puts its odd pixel at the end, Keras's at the
        # start; the convolution here pads as the network under test does.
        if layer.name == "zero_padding2d":
            return keras.layers.ZeroPadding2D(((2, 3), (2, 3)), name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    names = [layer.name for layer in network.layers]
    paddings = [name for name in names if name.startswith("zero_padding2d")]
    assert len(paddings) == 2
    for layer, name in zip(
        [network.get_layer(padding) for padding in paddings],
        ("zero_padding2d", "zero_padding2d_1"),
        strict=True,
    ):
        layer.name = name
    copy = keras.models.clone_model(network, clone_function=clone)
    copy.set_weights(network.get_weights())
    return copy


@pytest.mark.slow
def test_the_trunk_gives_what_densenet_121_of_keras_gives(
    published: keras.Model, notop: Path, tmp_path: Path
) -> None:
    inputs = np.random.default_rng(1).random((1, 64, 64, 3), dtype="float32")
    expected = np.asarray(without_first_pooling(published)(inputs))
    assert expected.std() > 0.03
    for path in (notop, write(published, tmp_path / "new.weights.h5")):
        model = dense_ra_unet((64, 64, 3), imagenet_weights=path)
        trunk = trunk_of(model)
        assert len(trunk.weights) == len(published.weights) == NUM_TENSORS
        found = np.asarray(trunk(inputs))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_nine_equal_slices_give_what_a_grey_picture_gives(
    published: keras.Model, notop: Path
) -> None:
    grey = np.random.default_rng(2).random((1, 64, 64, 1), dtype="float32")
    expected = np.asarray(without_first_pooling(published)(np.repeat(grey, 3, -1)))
    model = dense_ra_unet((64, 64, 9), imagenet_weights=notop)
    kernel = np.asarray(model.get_layer("stem_conv").kernel)
    colours = np.asarray(published.get_layer("conv1_conv").kernel)
    for channel in range(9):
        np.testing.assert_allclose(
            kernel[:, :, channel] * 3, colours[:, :, channel % 3]
        )
    found = np.asarray(trunk_of(model)(np.repeat(grey, 9, -1)))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def with_top(path: Path, _: keras.Model) -> None:
    with h5py.File(path, "a") as file:
        names = [*file.attrs["layer_names"], "predictions"]
        file.attrs["layer_names"] = np.array(names, "S")
        group = file.create_group("predictions")
        group.attrs["weight_names"] = [b"predictions/bias:0"]
        group["predictions/bias:0"] = np.zeros(1000, np.float32)


def stray_tensor(path: Path, _: keras.Model) -> None:
    with h5py.File(path, "a") as file:
        file["stray"] = np.zeros(3, np.float32)


def other_shape(path: Path, _: keras.Model) -> None:
    with h5py.File(path, "a") as file:
        group = file["conv1_conv"]
        (name,) = group.attrs["weight_names"]
        del group[name]
        group[name] = np.zeros((3, 3, 3, 64), np.float32)


def not_a_number(path: Path, _: keras.Model) -> None:
    with h5py.File(path, "a") as file:
        group = file["conv1_conv"]
        group[group.attrs["weight_names"][0]][0, 0, 0, 0] = np.nan


def cut(path: Path, _: keras.Model) -> None:
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "code", "part"),
    [
        (with_top, "MODEL_CORRUPT", "Layer count mismatch"),
        (stray_tensor, "MODEL_CORRUPT", "more tensors"),
        (other_shape, "MODEL_CORRUPT", "Shape mismatch"),
        (not_a_number, "MODEL_NONFINITE", "conv1_conv holds NaN"),
        (cut, "MODEL_CORRUPT", "OSError"),
    ],
)
def test_a_file_that_is_not_the_whole_trunk_is_refused(
    published: keras.Model,
    notop: Path,
    tmp_path: Path,
    damage: Any,
    code: str,
    part: str,
) -> None:
    path = Path(shutil.copy(notop, tmp_path / "bad.h5"))
    damage(path, published)
    untouched = dense_ra_unet((32, 32, 3), width=0.125, blocks=(1, 1, 1, 1))
    before = untouched.get_weights()
    with pytest.raises(ModelError, match=f"{code}.*{part}"):
        load_densenet121(untouched, path)
    for weight, was in zip(untouched.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, was)


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    small = dense_ra_unet((32, 32, 3), width=0.125, blocks=(1, 1, 1, 1))
    with pytest.raises(ModelError, match=r"MODEL_MISSING.*none\.h5"):
        load_densenet121(small, tmp_path / "none.h5")


@pytest.mark.parametrize(
    "changes",
    [{"width": 0.5}, {"blocks": (6, 12, 24, 12)}, {"input_shape": (32, 32, 8)}],
)
def test_only_the_papers_trunk_takes_published_weights(changes: Any) -> None:
    arguments = {"input_shape": (32, 32, 9), **changes}
    with pytest.raises(ValueError, match="imagenet_weights need width=1"):
        dense_ra_unet(**arguments, imagenet_weights="any.h5")
