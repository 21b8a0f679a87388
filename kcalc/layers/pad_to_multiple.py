"""PadToMultiple and CropLike: any size in, sizes that pooling can halve, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kcalc.layers.dense_block import Shape


@keras.saving.register_keras_serializable(package="kcalc")
class PadToMultiple(keras.layers.Layer):  # type: ignore[misc]
    """Volumes continued at the high end of each axis to the next multiple of a size.

    The volume is continued by its mirror image, the last voxel first (NumPy's
    "symmetric"), as often as it takes, so that even one slice can become eight. The
    voxels are gathered and not padded: TensorFlow with oneDNN computes a padding by
    zeros before a "same" Conv3D as a "valid" one, without an error, where sizes are
    known.

    Args:
        multiple_zyx: Sizes (z, y, x) become multiples of these; each at least 1.
        **kwargs: ``name`` and ``dtype``, as of every Keras layer.

    Call arguments:
        inputs: Volumes.

    Input shape:
        (batch, z, y, x, channels); any sizes of at least 1, also unknown ones.

    Output shape:
        (batch, padded z, padded y, padded x, channels).

    Raises:
        ValueError: ``multiple_zyx`` is not three sizes of at least 1.

    Example:
        >>> PadToMultiple((8, 8, 8)).compute_output_shape((1, 13, 60, None, 1))
        (1, 16, 64, None, 1)
    """

    def __init__(self, multiple_zyx: Sequence[int] = (8, 8, 8), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if len(tuple(multiple_zyx)) != 3 or min(multiple_zyx) < 1:
            raise ValueError(
                "multiple_zyx must be three sizes of at least 1. "
                f"Received: multiple_zyx={multiple_zyx}."
            )
        self.multiple_zyx = tuple(multiple_zyx)

    def call(self, inputs: Any) -> Any:
        x = inputs
        for axis, multiple in enumerate(self.multiple_zyx, start=1):
            size = x.shape[axis]
            if size is None:
                size = ops.shape(x)[axis]
            elif size % multiple == 0:
                continue
            padded = (size + multiple - 1) // multiple * multiple
            index = ops.arange(padded, dtype="int32") % (2 * size)
            index = ops.minimum(index, 2 * size - 1 - index)
            x = ops.take(x, index, axis=axis)
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, *sizes, channels = input_shape
        padded = (
            None if n is None else n + -n % multiple
            for n, multiple in zip(sizes, self.multiple_zyx, strict=True)
        )
        return (batch, *padded, channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "multiple_zyx": self.multiple_zyx}


@keras.saving.register_keras_serializable(package="kcalc")
class CropLike(keras.layers.Layer):  # type: ignore[misc]
    """The part of volumes that lies where other volumes do: PadToMultiple undone.

    Args:
        **kwargs: ``name`` and ``dtype``, as of every Keras layer.

    Call arguments:
        inputs: A pair: volumes to cut, and volumes of the size to cut them to.

    Input shape:
        Two of (batch, z, y, x, channels).

    Output shape:
        (batch, z, y, x) of the second, channels of the first.

    Example:
        >>> shapes = [(1, 16, 64, 64, 2), (1, 13, 60, 60, 1)]
        >>> CropLike().compute_output_shape(shapes)
        (1, 13, 60, 60, 2)
    """

    def call(self, inputs: Any) -> Any:
        x, like = inputs
        z, y, x_size = (
            ops.shape(like)[axis] if like.shape[axis] is None else like.shape[axis]
            for axis in (1, 2, 3)
        )
        return x[:, :z, :y, :x_size]

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        of_volumes, of_like = input_shape
        return (*of_like[:-1], of_volumes[-1])
