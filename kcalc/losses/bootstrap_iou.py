"""BootstrapIoU, the loss of DenseRAUnet: bootstrap cross-entropy and soft IoU added."""

from __future__ import annotations

from typing import Any

import keras

from kcalc.losses.bootstrap_crossentropy import (
    THRESHOLD,
    BootstrapCrossentropy,
    bootstrap_crossentropy,
)
from kcalc.losses.soft_iou import SoftIoU, soft_iou


def bootstrap_iou(
    y_true: Any,
    y_pred: Any,
    *,
    threshold: float = THRESHOLD,
    alpha: float | None = None,
    beta: float | None = None,
    form: str = "exponential",
    smooth_pixels: float = 1.0,
) -> Any:
    """Return bootstrap cross-entropy plus soft IoU loss, one value a sample.

    The paper adds the two without a weight. At the edges, with the defaults: truth and
    prediction empty 0 + exp(-1) = 0.368, the least value; prediction (p = 0) empty on n
    true pixels 8.06 + exp(-1 / (1 + n)); truth empty: the mean over hard background
    plus exp(-1 / (1 + sum p)).

    Args:
        y_true: Labels, 0 or 1, (batch, ...).
        y_pred: Probabilities in [0, 1], of the same shape.
        threshold: See :func:`kcalc.losses.bootstrap_crossentropy`.
        alpha: See there.
        beta: See there.
        form: See :func:`kcalc.losses.soft_iou`.
        smooth_pixels: See there.

    Returns:
        Loss per sample, (batch,), float32.

    Raises:
        ValueError: As of the two functions.

    References:
        Ma, Zhang 2019, arXiv 1907.11392, section 2.4.
    """
    return bootstrap_crossentropy(
        y_true, y_pred, threshold=threshold, alpha=alpha, beta=beta
    ) + soft_iou(y_true, y_pred, form=form, smooth_pixels=smooth_pixels)


@keras.saving.register_keras_serializable(package="kcalc")
class BootstrapIoU(keras.losses.Loss):  # type: ignore[misc]
    """The loss of DenseRAUnet: bootstrap cross-entropy plus soft IoU loss.

    See :func:`bootstrap_iou` for the values at the edges.

    Args:
        threshold: See :class:`kcalc.losses.BootstrapCrossentropy`.
        alpha: See there.
        beta: See there.
        form: See :class:`kcalc.losses.SoftIoU`.
        smooth_pixels: See there.
        **kwargs: ``name``, ``reduction`` and ``dtype``, as of every Keras loss.

    Raises:
        ValueError: As of the two classes.

    Example:
        >>> loss = BootstrapIoU(form="linear")
        >>> float(loss([[0.0, 0.0]], [[0.0, 0.0]]))
        0.0
    """

    def __init__(
        self,
        threshold: float = THRESHOLD,
        alpha: float | None = None,
        beta: float | None = None,
        form: str = "exponential",
        smooth_pixels: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": "bootstrap_iou", **kwargs})
        # Made for their checks of the arguments, so that both refuse at once.
        BootstrapCrossentropy(threshold, alpha, beta)
        SoftIoU(form, smooth_pixels)
        self.threshold = threshold
        self.alpha = alpha
        self.beta = beta
        self.form = form
        self.smooth_pixels = smooth_pixels

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return bootstrap_iou(
            y_true,
            y_pred,
            threshold=self.threshold,
            alpha=self.alpha,
            beta=self.beta,
            form=self.form,
            smooth_pixels=self.smooth_pixels,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "threshold": self.threshold,
            "alpha": self.alpha,
            "beta": self.beta,
            "form": self.form,
            "smooth_pixels": self.smooth_pixels,
        }
