"""Bootstrap cross-entropy: every calcium pixel, only the hard background ones."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# The paper's value is lost. Near 1, more background takes part at the start.
THRESHOLD = 0.9
_SMALLEST_PROBABILITY = 1e-7


def bootstrap_crossentropy(
    y_true: Any,
    y_pred: Any,
    *,
    threshold: float = THRESHOLD,
    alpha: float | None = None,
    beta: float | None = None,
) -> Any:
    """Return the cross-entropy over calcium and hard background, one value a sample.

    With p the predicted probability of calcium, K the set of kept pixels (all with
    truth 1, and those with truth 0 whose ``1 - p < threshold``)::

        L = -1/|K| [ alpha sum_{truth 1} log p + beta sum_{truth 0, kept} log(1 - p) ]

    Balanced, the default, takes ``alpha = |K| / (2 N1)`` and ``beta = |K| / (2 N0)``
    with N1 and N0 the kept pixels of each class: the mean over calcium and the mean
    over hard background, averaged.

    At the edges, balanced: with empty truth the mean over hard background alone, with
    weight 1; with no hard background half the mean over calcium (the background is
    there and costs nothing), or the whole mean if every pixel is calcium; with empty
    truth and no pixel of p > 1 - threshold, 0. An empty prediction (p = 0) on a truth
    with calcium gives -log(1e-7) / 2 = 8.06, the largest share of one class. With
    constants, an empty K gives 0.

    Args:
        y_true: Labels, 0 or 1, (batch, ...); above 0.5 counts as 1.
        y_pred: Probabilities in [0, 1], of the same shape; clipped to 1e-7 from the
            ends. All axes but the first are summed, in float32.
        threshold: Background pixels whose probability of background reaches it are
            left out. In (0, 1]; at 1 only background that is certain is left out.
        alpha: Constant weight of calcium, or None (with ``beta``) for balance.
        beta: Constant weight of background, or None (with ``alpha``) for balance.

    Returns:
        Loss per sample, (batch,), float32, at least 0.

    Raises:
        ValueError: ``threshold`` is outside (0, 1], only one of ``alpha`` and ``beta``
            is given, one is negative, or the two ranks differ.

    References:
        Ma, Zhang 2019, arXiv 1907.11392, section 2.4 (the equation is lost from the
        text, which says to keep all positives and drop easy negatives). Wu, Shen, van
        den Hengel, Bridging Category-level and Instance-level Semantic Image
        Segmentation, 2016, arXiv 1605.06885 (online bootstrapping).
    """
    _check(threshold, alpha, beta)
    y_true, y_pred = aligned(y_true, y_pred)
    axes = tuple(range(1, len(y_pred.shape)))
    positive = ops.cast(y_true > 0.5, "float32")
    negative = 1.0 - positive
    hard = negative * ops.cast(1.0 - y_pred < threshold, "float32")
    p = ops.clip(y_pred, _SMALLEST_PROBABILITY, 1.0 - _SMALLEST_PROBABILITY)
    positive_sum = -ops.sum(positive * ops.log(p), axis=axes)
    hard_sum = -ops.sum(hard * ops.log(1.0 - p), axis=axes)
    num_positive = ops.sum(positive, axis=axes)
    num_hard = ops.sum(hard, axis=axes)
    if alpha is not None and beta is not None:
        kept = ops.maximum(num_positive + num_hard, 1.0)
        return (alpha * positive_sum + beta * hard_sum) / kept
    num_classes = ops.cast(num_positive > 0, "float32") + ops.cast(
        ops.sum(negative, axis=axes) > 0, "float32"
    )
    means = positive_sum / ops.maximum(num_positive, 1.0) + hard_sum / ops.maximum(
        num_hard, 1.0
    )
    return means / num_classes


@keras.saving.register_keras_serializable(package="kcalc")
class BootstrapCrossentropy(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy over all calcium and the hard background pixels.

    See :func:`bootstrap_crossentropy` for the formula and the values at the edges.

    Args:
        threshold: Background pixels whose probability of background reaches it are
            left out.
        alpha: Constant weight of calcium, or None (with ``beta``) for balance.
        beta: Constant weight of background, or None (with ``alpha``) for balance.
        **kwargs: ``name``, ``reduction`` and ``dtype``, as of every Keras loss.

    Raises:
        ValueError: As of :func:`bootstrap_crossentropy`.

    Example:
        >>> loss = BootstrapCrossentropy()
        >>> round(float(loss([[1.0, 0.0, 0.0]], [[0.5, 0.5, 0.01]])), 4)
        0.6931
    """

    def __init__(
        self,
        threshold: float = THRESHOLD,
        alpha: float | None = None,
        beta: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": "bootstrap_crossentropy", **kwargs})
        _check(threshold, alpha, beta)
        self.threshold = threshold
        self.alpha = alpha
        self.beta = beta

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return bootstrap_crossentropy(
            y_true,
            y_pred,
            threshold=self.threshold,
            alpha=self.alpha,
            beta=self.beta,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "threshold": self.threshold,
            "alpha": self.alpha,
            "beta": self.beta,
        }


def aligned(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Return labels and probabilities as float32 tensors of one rank.

    Raises:
        ValueError: The ranks differ, so that NumPy rules would pair wrong pixels, or
            there is no axis beside the batch.
    """
    y_true = ops.convert_to_tensor(y_true)
    y_pred = ops.convert_to_tensor(y_pred)
    if len(y_true.shape) != len(y_pred.shape) or len(y_pred.shape) < 2:
        raise ValueError(
            "Labels and probabilities must have one shape, (batch, ...). Received: "
            f"y_true {tuple(y_true.shape)}, y_pred {tuple(y_pred.shape)}. Give the "
            "labels the channel axis of the probabilities."
        )
    return ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")


def _check(threshold: float, alpha: float | None, beta: float | None) -> None:
    if not 0 < threshold <= 1:
        raise ValueError(
            f"threshold must be in (0, 1]. Received: threshold={threshold}."
        )
    if (alpha is None) != (beta is None):
        raise ValueError(
            "alpha and beta must be two numbers, or None both for balanced classes. "
            f"Received: alpha={alpha}, beta={beta}."
        )
    if alpha is not None and beta is not None and min(alpha, beta) < 0:
        raise ValueError(
            "alpha and beta must not be negative. "
            f"Received: alpha={alpha}, beta={beta}."
        )
