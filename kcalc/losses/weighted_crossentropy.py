"""Cross-entropy of a softmax with a weight for each class, over supervised voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kcalc.losses.class_targets import check_classes, class_targets

_SMALLEST_PROBABILITY = 1e-7


def weighted_crossentropy(
    y_true: Any, y_pred: Any, *, class_weights: Sequence[float]
) -> Any:
    """Return the weighted mean cross-entropy over voxels, one value a sample.

    With c the class of voxel v, p_c its probability, w the weights and S the voxels
    whose label is not 255::

        L = sum_S w_c (-log p_c) / sum_S w_c

    Equal weights give the plain cross-entropy. Keras' own cross-entropies take no
    weight of a class for labels of more than two axes.

    At the edges: no voxel supervised, or none of a class with a weight, gives 0 and no
    gradient; a single class gives the mean over it, whatever its weight; a prediction
    that is wrong and certain costs -log(1e-7) = 16.1 a voxel, without a gradient there.

    Args:
        y_true: Class numbers (batch, ..., 1), 255 where not supervised, or one-hot.
        y_pred: Probabilities (batch, ..., classes), clipped to 1e-7 from 0. All axes
            but the first are summed, in float32.
        class_weights: One a class, background first; at least 0, one above.

    Returns:
        Loss per sample, (batch,), float32, at least 0.

    Raises:
        ValueError: The weights or the shapes break these rules.

    References:
        Avetisian 2017, section 2.1, which finds weighted softmax cross-entropy harder
        to tune than the IoU loss, and does not state its weights.
    """
    _check(class_weights)
    targets, y_pred, _ = class_targets(y_true, y_pred, len(class_weights))
    axes = tuple(range(1, len(y_pred.shape)))
    weights = targets * ops.convert_to_tensor(class_weights, "float32")
    crossentropy = -ops.log(ops.clip(y_pred, _SMALLEST_PROBABILITY, 1.0))
    whole = ops.sum(weights, axis=axes)
    value = ops.sum(weights * crossentropy, axis=axes)
    return value / ops.where(whole > 0, whole, 1.0)


@keras.saving.register_keras_serializable(package="kcalc")
class WeightedCrossentropy(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy of a softmax with a weight for each class.

    See :func:`weighted_crossentropy` for the formula and the values at the edges.

    Args:
        class_weights: One a class, background first; ``(1, 1)`` is the plain
            cross-entropy of two classes.
        **kwargs: ``name``, ``reduction`` and ``dtype``, as of every Keras loss.

    Raises:
        ValueError: As of :func:`weighted_crossentropy`.

    Example:
        >>> loss = WeightedCrossentropy((1.0, 3.0))
        >>> round(float(loss([[[0], [1]]], [[[1.0, 0.0], [0.5, 0.5]]])), 4)
        0.5199
    """

    def __init__(
        self, class_weights: Sequence[float] = (1.0, 1.0), **kwargs: Any
    ) -> None:
        super().__init__(**{"name": "weighted_crossentropy", **kwargs})
        _check(class_weights)
        self.class_weights = tuple(class_weights)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return weighted_crossentropy(y_true, y_pred, class_weights=self.class_weights)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "class_weights": self.class_weights}


def _check(class_weights: Sequence[float]) -> None:
    check_classes(len(class_weights))
    if not (min(class_weights) >= 0 and 0 < max(class_weights) < float("inf")):
        raise ValueError(
            "class_weights must be at least 0, and one of them above. Received: "
            f"class_weights={tuple(class_weights)}."
        )
