"""Soft IoU loss: overlap of prediction and truth as one value a sample."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kcalc.losses.bootstrap_crossentropy import aligned
from kcalc.losses.class_targets import check_classes, class_targets

FORMS = ("exponential", "exponential_minus_one", "linear")
_EPSILON = 1e-7


def soft_iou(
    y_true: Any,
    y_pred: Any,
    *,
    form: str = "exponential",
    smooth_pixels: float = 1.0,
    classes: int | None = None,
) -> Any:
    """Return a loss that falls as prediction and truth overlap, one value a sample.

    With p the probabilities, y the labels and s = ``smooth_pixels``::

        IoU = (sum p y + s) / (sum p + sum y - sum p y + s)

    and the loss is exp(-IoU) ("exponential"), exp(1 - IoU) - 1
    ("exponential_minus_one") or 1 - IoU ("linear").

    With ``classes`` p and y are those of a softmax, and the sums run over all classes
    but the first, the background: one ratio for all of the foreground, not a mean of
    ratios of classes. Voxels labelled 255 are left out.

    ``smooth_pixels=0`` is the plain ratio (1e-7 in the denominator alone). It gives 0
    for every empty truth whatever is predicted: a constant penalty without gradient on
    the many slices that have no calcium. One pixel of smoothing, the default, makes
    the IoU of an empty truth 1 / (1 + sum p): best when nothing is predicted.

    At the edges, IoU with s = 1 | s = 0: truth and prediction empty 1 | 0; truth empty
    and sum p = k predicted 1 / (1 + k) | 0; prediction empty and n pixels true
    1 / (1 + n) | 0; both alike and not empty 1 | 1. The loss runs from exp(-1) = 0.368
    at IoU 1 to 1 at IoU 0, from 0 to 1.718, and from 0 to 1, in the order of the forms.

    Args:
        y_true: Labels, 0 or 1, (batch, ...).
        y_pred: Probabilities in [0, 1], of the same shape. All axes but the first are
            summed, in float32.
        form: One of ``"exponential"``, ``"exponential_minus_one"``, ``"linear"``.
        smooth_pixels: Pixels added to intersection and union; at least 0.
        classes: Classes of a softmax, the background first; None, the default, for
            the probability of one class.

    Returns:
        Loss per sample, (batch,), float32.

    Raises:
        ValueError: ``form`` is another word, ``smooth_pixels`` is negative,
            ``classes`` is below 2, the two ranks differ, or a last axis does not fit
            ``classes``.

    References:
        Ma, Zhang 2019, arXiv 1907.11392, section 2.4 (IoU Loss, "exponential form" so
        that both losses are of one magnitude; its exponent is lost from the text, and
        exp(-IoU) is the bounded decreasing choice). The smoothing is kcalc's.
        Avetisian 2017, section 2.1 (several classes; printed as a gain together with
        a step up its gradient, which is "linear" for a minimiser; it sums over the
        voxels of its batch: :class:`kcalc.losses.PooledOverBatch`). Rahman, Wang, ISVC
        2016, doi 10.1007/978-3-319-50835-1_22 (one class).
    """
    _check(form, smooth_pixels, classes)
    if classes is None:
        y_true, y_pred = aligned(y_true, y_pred)
    else:
        y_true, y_pred, _ = class_targets(y_true, y_pred, classes)
        y_true, y_pred = y_true[..., 1:], y_pred[..., 1:]
    axes = tuple(range(1, len(y_pred.shape)))
    intersection = ops.sum(y_true * y_pred, axis=axes)
    union = ops.sum(y_true + y_pred - y_true * y_pred, axis=axes)
    iou = (intersection + smooth_pixels) / (union + max(smooth_pixels, _EPSILON))
    if form == "exponential":
        return ops.exp(-iou)
    if form == "exponential_minus_one":
        return ops.exp(1.0 - iou) - 1.0
    return 1.0 - iou


@keras.saving.register_keras_serializable(package="kcalc")
class SoftIoU(keras.losses.Loss):  # type: ignore[misc]
    """Loss that falls with the overlap of prediction and truth.

    See :func:`soft_iou` for the formula and the values at the edges.

    Args:
        form: ``"exponential"`` for exp(-IoU), ``"exponential_minus_one"`` for
            exp(1 - IoU) - 1, ``"linear"`` for 1 - IoU.
        smooth_pixels: Pixels added to intersection and union; at least 0.
        classes: Classes of a softmax, whose foreground is pooled; None for the
            probability of one class.
        **kwargs: ``name``, ``reduction`` and ``dtype``, as of every Keras loss.

    Raises:
        ValueError: As of :func:`soft_iou`.

    Example:
        >>> loss = SoftIoU(form="linear", smooth_pixels=0)
        >>> float(loss([[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]))
        0.5
    """

    def __init__(
        self,
        form: str = "exponential",
        smooth_pixels: float = 1.0,
        classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": "soft_iou", **kwargs})
        _check(form, smooth_pixels, classes)
        self.form = form
        self.smooth_pixels = smooth_pixels
        self.classes = classes

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return soft_iou(
            y_true,
            y_pred,
            form=self.form,
            smooth_pixels=self.smooth_pixels,
            classes=self.classes,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "form": self.form,
            "smooth_pixels": self.smooth_pixels,
            "classes": self.classes,
        }


def _check(form: str, smooth_pixels: float, classes: int | None) -> None:
    if classes is not None:
        check_classes(classes)
    if form not in FORMS:
        raise ValueError(f"form must be one of {FORMS}. Received: form={form!r}.")
    if smooth_pixels < 0:
        raise ValueError(
            "smooth_pixels must be at least 0. "
            f"Received: smooth_pixels={smooth_pixels}."
        )
