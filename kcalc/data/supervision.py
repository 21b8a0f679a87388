"""Which voxels of a scan a network is trained on: those that could be calcium."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kcalc.data.store import CaseStore
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.preparation import NOT_SUPERVISED


@dataclass(frozen=True)
class SupervisedVoxels:
    """How many voxels above the threshold are calcium, and how many are not.

    Args:
        positive: Labelled voxels.
        negative: The others: bone, metal, noise.
    """

    positive: int
    negative: int

    @property
    def negatives_per_positive(self) -> float:
        """The ratio that makes both classes count alike; infinite without calcium."""
        return self.negative / self.positive if self.positive else float("inf")

    def __str__(self) -> str:
        ratio = (
            f"1 : {self.negatives_per_positive:.0f}" if self.positive else "no positive"
        )
        return (
            f"supervised voxels: {self.positive} positive, {self.negative} negative "
            f"({ratio})"
        )


def supervised_label(
    hu: npt.NDArray[np.number],
    label: npt.NDArray[np.number],
    threshold_hu: float = AGATSTON_THRESHOLD_HU,
) -> npt.NDArray[np.uint8]:
    """Return labels for :class:`kcalc.losses.MaskedBinaryCrossentropy`.

    Args:
        hu: Image in HU, any shape.
        label: Above 0 where calcified, same shape.
        threshold_hu: Only voxels above it are supervised.

    Returns:
        uint8: 1 for calcium, 0 for other voxels above the threshold, 255 for the rest.

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> supervised_label(np.array([400, 131, 130]), np.array([1, 0, 1])).tolist()
        [1, 0, 255]

    References:
        Bortsova et al. 2017, doi 10.1007/978-3-319-66179-7_41, section 2.2.
    """
    if hu.shape != label.shape:
        raise ValueError(
            "Image and label must have one shape. "
            f"Received: hu {hu.shape}, label {label.shape}."
        )
    supervised = np.where(hu > threshold_hu, label > 0, NOT_SUPERVISED)
    return supervised.astype(np.uint8)


def count_supervised(
    store: CaseStore,
    split: str = "train",
    threshold_hu: float = AGATSTON_THRESHOLD_HU,
) -> SupervisedVoxels:
    """Count the supervised voxels of a split, slice by slice.

    Raises:
        InputError: The split has no case (``STORE_SPLIT``).
    """
    positive = negative = 0
    for record in store.split(split):
        image, label = store.image(record.name), store.label(record.name)
        for hu, marked in zip(image, label, strict=True):
            above = hu > threshold_hu
            num_positive = int(np.count_nonzero(above & (marked > 0)))
            positive += num_positive
            negative += int(np.count_nonzero(above)) - num_positive
    return SupervisedVoxels(positive, negative)
