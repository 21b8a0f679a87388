"""CohenKappa: labels and predictions of batches in, their agreement out."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kcalc")
class CohenKappa(keras.metrics.Metric):  # type: ignore[misc]
    """Cohen's kappa of two readers over all batches, weighted or not.

    ``1 - sum(d O) / sum(d E)`` of the confusion of all batches so far: O are the
    observed shares, E those expected of independent readers with the same margins, d
    the disagreement: 1 off the diagonal, ``|i - j|`` (``"linear"``) or ``(i - j) ** 2``
    (``"quadratic"``). Equal to ``sklearn.metrics.cohen_kappa_score``; arguments are
    those of TensorFlow Addons' metric of this name.

    The value is 0 where kappa is 0 / 0: before the first batch, or as long as both
    readers gave one same class to everything. A class outside 0 to ``num_classes - 1``
    or a score that is NaN makes it NaN: a graph cannot refuse, and leaving the case out
    would be silent.

    Args:
        num_classes: Number of classes, at least 2.
        name: Name of the metric.
        weightage: None, ``"linear"`` or ``"quadratic"``; weighted where classes are
            ordered, such as risk classes.
        sparse_labels: Whether ``y_true`` holds class numbers; False: one-hot vectors.
        regression: Whether ``y_pred`` is a class number as a real, which is rounded,
            for two classes cut at 0.5; False: scores of each class.
        **kwargs: ``dtype``, as of every Keras metric.

    Call arguments:
        y_true: Class numbers or one-hot vectors.
        y_pred: Scores (probabilities or logits) of each class, whose largest counts; or
            class numbers.
        sample_weight: Weight of each case, or None.

    Input shape:
        ``y_true`` (batch, ...), with an axis of ``num_classes`` last unless
        ``sparse_labels``. ``y_pred`` (batch, ..., num_classes); or (batch, ...) of
        class numbers, integers or, with ``regression``, reals. A last axis of length 1
        is dropped. ``sample_weight`` (batch, ...) or the first axes of it.

    Output shape:
        A scalar.

    Raises:
        ValueError: ``num_classes``, ``weightage`` or the shapes break these rules.

    Example:
        >>> metric = CohenKappa(num_classes=5, weightage="linear", sparse_labels=True)
        >>> metric.update_state([4, 4, 3, 4], [4, 4, 1, 2])
        >>> round(float(metric.result()), 4)
        0.2

    References:
        Cohen J, Psychol Bull 1968, doi 10.1037/h0026256; digest E.7.
    """

    def __init__(
        self,
        num_classes: int,
        name: str = "cohen_kappa",
        weightage: str | None = None,
        sparse_labels: bool = False,
        regression: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if num_classes < 2:
            raise ValueError(
                f"num_classes must be at least 2. Received: num_classes={num_classes}."
            )
        if weightage not in (None, "linear", "quadratic"):
            raise ValueError(
                "weightage must be None, 'linear' or 'quadratic'. "
                f"Received: weightage={weightage!r}."
            )
        self.num_classes = num_classes
        self.weightage = weightage
        self.sparse_labels = sparse_labels
        self.regression = regression
        self.confusion = self.add_weight(
            shape=(num_classes, num_classes), initializer="zeros", name="confusion"
        )
        self.outside = self.add_weight(shape=(), initializer="zeros", name="outside")

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any | None = None
    ) -> None:
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        truth = self._classes_of_labels(y_true)
        found = self._classes_of_predictions(y_pred, len(truth.shape))
        weights = self._weights_of(sample_weight, truth)
        truth, found = ops.reshape(truth, (-1,)), ops.reshape(found, (-1,))
        inside = ops.logical_and(self._known(truth), self._known(found))
        cell = ops.where(inside, truth * self.num_classes + found, 0)
        counted = ops.where(inside, weights, 0)
        sums = ops.segment_sum(counted, cell, num_segments=self.num_classes**2)
        shape = (self.num_classes, self.num_classes)
        self.confusion.assign_add(ops.reshape(sums, shape))
        lost = ops.where(inside, 0.0, 1.0)
        self.outside.assign_add(ops.cast(ops.sum(lost), self.outside.dtype))

    def result(self) -> Any:
        counts = ops.convert_to_tensor(self.confusion)
        rows, columns = ops.sum(counts, axis=1), ops.sum(counts, axis=0)
        places = ops.arange(self.num_classes, dtype=counts.dtype)
        distance = ops.abs(places[:, None] - places[None, :])
        if self.weightage is None:
            distance = ops.cast(distance > 0, counts.dtype)
        elif self.weightage == "quadratic":
            distance = ops.square(distance)
        total = ops.sum(counts)
        # Shares before products, which in float32 would overflow for large counts.
        whole = ops.maximum(total, keras.config.epsilon())
        expected = ops.sum(distance * (rows[:, None] / whole) * (columns / whole))
        observed = ops.sum(distance * (counts / whole))
        known = ops.where(expected > 0, expected, 1)
        kappa = ops.where(expected > 0, 1 - observed / known, 0)
        return ops.where(self.outside > 0, float("nan"), kappa)

    def _classes_of_labels(self, y_true: Any) -> Any:
        if self.sparse_labels:
            return ops.cast(_without_last_one(y_true), "int32")
        if len(y_true.shape) < 2 or y_true.shape[-1] != self.num_classes:
            raise ValueError(
                f"y_true must be one-hot, (batch, ..., {self.num_classes}). "
                f"Received: shape {tuple(y_true.shape)}. For class numbers give "
                "sparse_labels=True."
            )
        return ops.cast(ops.argmax(y_true, axis=-1), "int32")

    def _classes_of_predictions(self, y_pred: Any, rank: int) -> Any:
        if not self.regression and len(y_pred.shape) == rank + 1 != 1:
            if y_pred.shape[-1] == self.num_classes:
                largest = ops.cast(ops.argmax(y_pred, axis=-1), "int32")
                return ops.where(ops.any(ops.isnan(y_pred), axis=-1), -1, largest)
        numbers = _without_last_one(y_pred) if len(y_pred.shape) > rank else y_pred
        is_integer = "int" in keras.backend.standardize_dtype(y_pred.dtype)
        if len(numbers.shape) != rank or not (self.regression or is_integer):
            raise ValueError(
                f"y_pred must hold scores of each class, (batch, ..., "
                f"{self.num_classes}), or integer class numbers (batch, ...). "
                f"Received: shape {tuple(y_pred.shape)} of {y_pred.dtype}. For class "
                "numbers as reals give regression=True."
            )
        if not self.regression:
            return ops.cast(numbers, "int32")
        if self.num_classes == 2:
            return ops.cast(numbers > 0.5, "int32")
        return ops.cast(ops.round(numbers), "int32")

    def _weights_of(self, sample_weight: Any | None, truth: Any) -> Any:
        dtype = self.confusion.dtype
        if sample_weight is None:
            return ops.ones((ops.size(truth),), dtype=dtype)
        weights = ops.cast(ops.convert_to_tensor(sample_weight), dtype)
        if len(weights.shape) > len(truth.shape):
            weights = _without_last_one(weights)
        while len(weights.shape) < len(truth.shape):
            weights = ops.expand_dims(weights, -1)
        return ops.reshape(ops.broadcast_to(weights, ops.shape(truth)), (-1,))

    def _known(self, classes: Any) -> Any:
        return ops.logical_and(classes >= 0, classes < self.num_classes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "weightage": self.weightage,
            "sparse_labels": self.sparse_labels,
            "regression": self.regression,
        }


def _without_last_one(values: Any) -> Any:
    """Drop a last axis of length 1, as ``fit`` gives labels of shape (batch, 1)."""
    if len(values.shape) > 1 and values.shape[-1] == 1:
        return ops.squeeze(values, axis=-1)
    return values
