"""Losses: labels and probabilities in, one value a sample out."""

from kcalc.losses.bootstrap_crossentropy import (
    BootstrapCrossentropy,
    bootstrap_crossentropy,
)
from kcalc.losses.bootstrap_iou import BootstrapIoU, bootstrap_iou
from kcalc.losses.soft_iou import SoftIoU, soft_iou

__all__ = [
    "BootstrapCrossentropy",
    "BootstrapIoU",
    "SoftIoU",
    "bootstrap_crossentropy",
    "bootstrap_iou",
    "soft_iou",
]
