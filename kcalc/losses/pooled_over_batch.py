"""A loss of the whole batch: its samples count as one."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kcalc")
class PooledOverBatch(keras.losses.Loss):  # type: ignore[misc]
    """Any loss, taken once over all voxels of a batch instead of once a sample.

    A ratio such as soft IoU over a batch is not the mean of the samples' ratios: slices
    without calcium then cost only what they add to the batch's sums. A device knows its
    own share of a batch alone, so the value would depend on their number; more than
    one is refused, and so are micro-batches in :func:`kcalc.training.fit`.

    Args:
        loss: What is taken; a loss that sums over all axes but the first.
        **kwargs: ``name``, ``reduction`` and ``dtype``, as of every Keras loss.

    Call arguments:
        y_true: Labels (batch, ..., channel).
        y_pred: Predictions of the same shape.

    Returns:
        The batch's value once for each sample, (batch,), so that their mean is it.

    Raises:
        ValueError: It is called under a strategy of several replicas.

    Example:
        >>> from kcalc.losses import SoftIoU
        >>> loss = PooledOverBatch(SoftIoU(form="linear", smooth_pixels=0))
        >>> float(loss([[1.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]))
        0.5
    """

    def __init__(self, loss: keras.losses.Loss, **kwargs: Any) -> None:
        super().__init__(**{"name": "pooled_over_batch", **kwargs})
        self.loss = loss

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if _num_replicas() > 1:
            raise ValueError(
                "A loss pooled over the batch needs all of it on one device. "
                f"Received: {_num_replicas()} replicas."
            )
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        value = self.loss.call(
            ops.reshape(y_true, (1, -1, y_true.shape[-1])),
            ops.reshape(y_pred, (1, -1, y_pred.shape[-1])),
        )
        return ops.repeat(ops.reshape(ops.mean(value), (1,)), ops.shape(y_pred)[0])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "loss": keras.saving.serialize_keras_object(self.loss),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PooledOverBatch:
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return cls(**{**config, "loss": loss})


def _num_replicas() -> int:
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)
