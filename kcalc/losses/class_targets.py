"""Labels of several classes as targets of a softmax, for the losses that take them."""

from __future__ import annotations

from typing import Any

from keras import ops

from kcalc.losses.bootstrap_crossentropy import aligned
from kcalc.preparation import NOT_SUPERVISED


def class_targets(y_true: Any, y_pred: Any, classes: int) -> tuple[Any, Any, Any]:
    """Return one-hot targets, probabilities and the supervised voxels, float32.

    Args:
        y_true: Class numbers (batch, ..., 1), 255 where not supervised, or one-hot
            (batch, ..., classes).
        y_pred: Probabilities (batch, ..., classes).
        classes: Classes of the softmax; class 0 is the background.

    Returns:
        Targets and probabilities (batch, ..., classes), 0 where not supervised, and
        the supervised voxels (batch, ..., 1), 1 or 0.

    Raises:
        ValueError: The ranks differ, or a last axis is none of these.
    """
    y_true, y_pred = aligned(y_true, y_pred)
    if y_pred.shape[-1] != classes or y_true.shape[-1] not in (1, classes):
        raise ValueError(
            f"With classes={classes} probabilities must be (batch, ..., {classes}) and "
            "labels class numbers (batch, ..., 1) or one-hot of that shape. Received: "
            f"y_true {tuple(y_true.shape)}, y_pred {tuple(y_pred.shape)}."
        )
    if y_true.shape[-1] == classes:
        return y_true, y_pred, ops.ones_like(y_true[..., :1])
    supervised = ops.cast(y_true < NOT_SUPERVISED - 0.5, "float32")
    targets = ops.cast(
        ops.abs(y_true - ops.arange(classes, dtype="float32")) < 0.5, "float32"
    )
    return targets, y_pred * supervised, supervised


def check_classes(classes: int) -> None:
    """Refuse a softmax of fewer than two classes.

    Raises:
        ValueError: ``classes`` is below 2.
    """
    if classes < 2:
        raise ValueError(
            "classes must be at least 2, the background being the first. "
            f"Received: classes={classes}."
        )
