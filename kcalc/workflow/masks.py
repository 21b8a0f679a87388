"""Where to look for calcium: a file or a network's mask in, mask and vessels out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.anatomy import UNDETERMINED_LABEL
from kcalc.errors import InputError
from kcalc.scoring import Target, nearest_vessels
from kcalc.scoring.vessels import checked_vessels
from kcalc.volume import Finding, Volume


@dataclass(frozen=True)
class FoundMask:
    """A mask and where it is from.

    Args:
        mask: (z, y, x) uint8, 0 outside; vessel numbers where ``vessel_map`` is one.
        model: Facts of the network, None where the mask was given.
        vessel_map: Where the vessel numbers are from, None where there are none.
        findings: What there is to say of it.
        packages: Distributions that made it.
        seconds_network: Wall time in the network.
    """

    mask: npt.NDArray[np.uint8]
    model: Mapping[str, Any] | None
    vessel_map: Mapping[str, Any] | None = None
    findings: tuple[Finding, ...] = ()
    packages: tuple[str, ...] = ("numpy", "scipy")
    seconds_network: float = 0.0

    @property
    def vessels(self) -> npt.NDArray[np.uint8] | None:
        """The vessel map, or None."""
        return None if self.vessel_map is None else self.mask


def read_given_mask(
    mask_path: str | os.PathLike[str], volume: Volume, scheme: str | None
) -> FoundMask:
    """Return a mask file of any format on the scan's grid.

    Args:
        mask_path: What :func:`kcalc.io.read_labels` takes.
        volume: The scan.
        scheme: What its labels mean, where it does not say it.

    Raises:
        InputError: The file is refused.
    """
    from kcalc.io import read_labels

    labels = read_labels(mask_path, volume, scheme=scheme)
    if labels.array.any():
        vessel_map = {"source": "the mask"} if labels.vessels_named else None
        return FoundMask(labels.array, None, vessel_map, findings=labels.findings)
    message = "The given mask marks no voxel; the score of 0 says no more than that."
    empty = Finding("MASK_EMPTY", message, "warning")
    return FoundMask(labels.array, None, findings=(*labels.findings, empty))


def read_vessels(
    path: str | os.PathLike[str] | None, volume: Volume
) -> npt.NDArray[np.uint8] | None:
    """Return a segmentation of vessels on the scan's grid, None without a file.

    Raises:
        InputError: ``VESSEL_LABELS``, or the file is refused.
    """
    from kcalc.io.nifti import read_mask

    if path is None:
        return None
    labels = read_mask(path, volume.geometry)
    checked_vessels(labels, volume.shape)
    return labels


def with_nearest_vessels(
    found: FoundMask,
    vessels: npt.NDArray[np.uint8],
    volume: Volume,
    max_distance_mm: float,
) -> FoundMask:
    """Return the mask with the number of the nearest vessel in each voxel.

    Voxels too far from any vessel get the label of calcium whose vessel is unknown.

    Args:
        found: The mask.
        vessels: Segmentation on the scan's grid.
        volume: The scan.
        max_distance_mm: How far a vessel may be.
    """
    nearest = nearest_vessels(
        found.mask, vessels, volume.spacing_mm, max_distance_mm=max_distance_mm
    )
    nearest[(found.mask != 0) & (nearest == 0)] = UNDETERMINED_LABEL
    facts = {"source": "nearest segmented vessel", "max_distance_mm": max_distance_mm}
    return replace(found, mask=nearest, vessel_map=facts)


def restricted_to(found: FoundMask, target: Target) -> FoundMask:
    """Return the mask of a target alone: by its labels, or all of a plain mask.

    Args:
        found: The mask.
        target: The target.

    Raises:
        InputError: ``TARGET_LABEL``, the mask's only value is another structure's.
    """
    if not target.labels:
        return found
    values = _values(found.mask)
    if found.vessel_map is None:
        if len(values) == 1 and not values <= {1, *target.labels}:
            raise InputError(
                "TARGET_LABEL",
                f"the target {target.name} has the label {target.labels[0]}; the mask "
                f"holds {values.pop()} alone.",
                hint="Give the mask of this target, with the value 1 or its label.",
            )
        return found
    own = np.isin(found.mask, target.labels)
    findings = found.findings
    if values and not own.any():
        message = (
            f"No voxel of the mask belongs to the target {target.name}; the score of "
            "0 says no more than that."
        )
        findings = (*findings, Finding("MASK_EMPTY", message, "warning"))
    return replace(found, mask=np.where(own, found.mask, 0), findings=findings)


def _values(mask: npt.NDArray[np.uint8]) -> set[int]:
    counts = np.bincount(mask.ravel(), minlength=1)
    return set(np.flatnonzero(counts).tolist()) - {0}
