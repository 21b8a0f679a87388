"""Losses: labels and probabilities in, one value a sample out."""

from kcalc.losses.bootstrap_crossentropy import (
    BootstrapCrossentropy,
    bootstrap_crossentropy,
)
from kcalc.losses.bootstrap_iou import BootstrapIoU, bootstrap_iou
from kcalc.losses.deep_supervision import DeepSupervision
from kcalc.losses.masked_binary_crossentropy import (
    MaskedBinaryCrossentropy,
    masked_binary_crossentropy,
)
from kcalc.losses.pooled_over_batch import PooledOverBatch
from kcalc.losses.soft_iou import SoftIoU, soft_iou
from kcalc.losses.weighted_crossentropy import (
    WeightedCrossentropy,
    weighted_crossentropy,
)

__all__ = [
    "BootstrapCrossentropy",
    "BootstrapIoU",
    "DeepSupervision",
    "MaskedBinaryCrossentropy",
    "PooledOverBatch",
    "SoftIoU",
    "WeightedCrossentropy",
    "bootstrap_crossentropy",
    "bootstrap_iou",
    "masked_binary_crossentropy",
    "soft_iou",
    "weighted_crossentropy",
]
