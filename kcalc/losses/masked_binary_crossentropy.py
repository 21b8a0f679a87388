"""Cross-entropy over supervised voxels alone: the rest of a patch costs nothing."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kcalc.losses.bootstrap_crossentropy import aligned
from kcalc.preparation import NOT_SUPERVISED

_SMALLEST_PROBABILITY = 1e-7


def masked_binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    *,
    positive_weight: Any = 1.0,
    total: bool = False,
    from_logits: bool = False,
) -> Any:
    """Return the cross-entropy over the supervised voxels, one value a sample.

    With S the voxels whose label is not 255, p the probability of calcium, and w =
    ``positive_weight`` where the label is 1, else w = 1::

        L = sum_S w CE / sum_S w,    CE = -log p  or  -log(1 - p)

    so that 1000 positives of 1000000 voxels with w = 1000 count as much as all
    negatives, and the size of a step does not depend on how many voxels a patch
    supervises. ``total=True`` is the paper's sum, sum_S w CE; with its learning rate of
    0.1 that diverges unless patches hold alike numbers of supervised voxels.

    At the edges: no voxel supervised gives 0 and no gradient; no positive voxel gives
    the mean over the negatives, and conversely, whatever the weight; a prediction that
    is wrong and certain costs -log(1e-7) = 16.1 a voxel as a probability (without a
    gradient there) and the logit's size as a logit.

    Args:
        y_true: Labels (batch, ...): 255 is not supervised; of the others, those above
            0.5 are calcium. uint8 and floating types.
        y_pred: Probabilities in [0, 1], or logits, of the same shape; probabilities are
            clipped to 1e-7 from the ends. All axes but the first are summed, in
            float32.
        positive_weight: Weight of calcium, a number or a variable; above 0.
        total: Whether to return the sum and not the mean.
        from_logits: Whether ``y_pred`` are logits.

    Returns:
        Loss per sample, (batch,), float32, at least 0.

    Raises:
        ValueError: The two ranks differ, or a ``positive_weight`` that is a number is
            not above 0.

    References:
        Bortsova et al. 2017, doi 10.1007/978-3-319-66179-7_41, sections 2.2 (voxels
        above 130 HU alone, summed) and 3 (weight 1000). The mean is kcalc's.
    """
    if isinstance(positive_weight, int | float):
        _check(positive_weight)
    y_true, y_pred = aligned(y_true, y_pred)
    axes = tuple(range(1, len(y_pred.shape)))
    supervised = ops.cast(y_true < NOT_SUPERVISED - 0.5, "float32")
    positive = supervised * ops.cast(y_true > 0.5, "float32")
    weight = ops.cast(positive_weight, "float32")
    weights = supervised + positive * (weight - 1.0)
    if from_logits:
        # log(1 + exp(-l)) for calcium, log(1 + exp(l)) for the rest.
        crossentropy = ops.softplus(ops.where(positive > 0, -y_pred, y_pred))
    else:
        p = ops.clip(y_pred, _SMALLEST_PROBABILITY, 1.0 - _SMALLEST_PROBABILITY)
        crossentropy = -ops.log(ops.where(positive > 0, p, 1.0 - p))
    value = ops.sum(weights * crossentropy, axis=axes)
    if total:
        return value
    whole = ops.sum(weights, axis=axes)
    return value / ops.where(whole > 0, whole, 1.0)


@keras.saving.register_keras_serializable(package="kcalc")
class MaskedBinaryCrossentropy(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy over the voxels whose label is not 255.

    See :func:`masked_binary_crossentropy` for the formula and the values at the edges.
    The weight of calcium is a variable, so that a recipe's ``schedules`` can change it
    between epochs (:class:`kcalc.training.Recipe`). It is not part of a model's
    weights: a schedule sets it anew when a run resumes.

    Args:
        positive_weight: Weight of calcium to begin with, above 0; the paper's is 1000
            for five epochs, then 1.
        from_logits: Whether predictions are logits.
        reduction: ``"sum_over_batch_size"``: the mean over a sample's supervised
            voxels, then over samples. ``"sum"``: the paper's sum over all of them.
            None: the mean of each sample.
        **kwargs: ``name`` and ``dtype``, as of every Keras loss.

    Raises:
        ValueError: As of :func:`masked_binary_crossentropy`.

    Example:
        >>> loss = MaskedBinaryCrossentropy()
        >>> round(float(loss([[1, 0, 255, 255]], [[0.5, 0.5, 0.9, 0.1]])), 4)
        0.6931
    """

    def __init__(
        self,
        positive_weight: float = 1.0,
        from_logits: bool = False,
        reduction: str | None = "sum_over_batch_size",
        **kwargs: Any,
    ) -> None:
        name = kwargs.pop("name", "masked_binary_crossentropy")
        super().__init__(name=name, reduction=reduction, **kwargs)
        _check(positive_weight)
        self.positive_weight = keras.Variable(
            float(positive_weight),
            trainable=False,
            dtype="float32",
            name="positive_weight",
        )
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return masked_binary_crossentropy(
            y_true,
            y_pred,
            positive_weight=self.positive_weight,
            total=self.reduction == "sum",
            from_logits=self.from_logits,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "positive_weight": float(ops.convert_to_numpy(self.positive_weight)),
            "from_logits": self.from_logits,
        }


def _check(positive_weight: float) -> None:
    if not positive_weight > 0:
        raise ValueError(
            "positive_weight must be above 0. "
            f"Received: positive_weight={positive_weight}."
        )
