"""A head CT is registered to the reference: a scan enters, a pose leaves, or a refusal.

A registration that failed is never a crop: what does not fit, is turned too far or
does not show the carotids is refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcalc.errors import InputError, IntensityError, UnfitError
from kcalc.registration.even_grid import EvenGrid
from kcalc.registration.pose import Pose
from kcalc.registration.reference import (
    SPACING_MM,
    Reference,
    phantom_reference,
)
from kcalc.registration.rigid import best_pose, correlation, simpleitk
from kcalc.volume import Volume

LEAST_CORRELATION = 0.4
"""Between 0.57, the real head CT to the phantom, and 0.28, the best of what is no head
in a pose it can have (chest, calcium phantom, a head upside down)."""
MOST_TURN_DEG = 44.0
"""Below 45, at which the grid's rows would be nearest to another axis of the patient,
and about as far as the search reaches."""
LEAST_CAROTID_SHARE = 0.9
"""Least share of the intracranial carotids' course that must lie in the scan."""
_LEAST_EXTENT_MM = (40.0, 60.0, 60.0)
"""Least size z, y, x of a scan that shows both carotids, petrous part to their ends."""


@dataclass(frozen=True)
class Fit:
    """How a scan was registered.

    Args:
        pose: Where the standard head lies in the scan.
        correlation: Of the bone of the skull base in scan and reference, at 4 mm.
        carotid_share: Share of the reference's intracranial carotids in the scan.
        reference: What it was registered to.
    """

    pose: Pose
    correlation: float
    carotid_share: float
    reference: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for ``score.json``."""
        pitch, roll, yaw = self.pose.rotation_deg
        return {
            "reference": self.reference,
            "correlation": round(self.correlation, 3),
            "pitch_deg": pitch,
            "roll_deg": roll,
            "yaw_deg": yaw,
            "middle_xyz_mm": list(self.pose.middle_xyz_mm),
            "carotid_share": round(self.carotid_share, 3),
        }


def register_head(volume: Volume, reference: Reference | None = None) -> Fit:
    """Return where the standard head lies in a CT scan, and how well it fits.

    Args:
        volume: A CT in HU that shows the skull base: a whole head, a field of view of
            120 mm round the siphons, or neck and chest with it; of any regular grid.
        reference: The head to register to; None for :func:`phantom_reference`.

    Raises:
        UsageError: ``PACKAGE``: SimpleITK is not installed.
        IntensityError: ``HU_UNKNOWN``.
        UnfitError: ``REGISTER_FIT`` (the scan does not look like a head in a pose it
            can have) or ``REGISTER_ROI`` (it does not show the carotids).
    """
    simpleitk()
    if volume.unit != "HU":
        raise IntensityError(
            "HU_UNKNOWN",
            f"A head CT is registered by its HU. Received: unit={volume.unit!r}.",
            hint="Read the scan with unit='HU' if its values are HU.",
        )
    reference = phantom_reference() if reference is None else reference
    scan = EvenGrid.of(volume, SPACING_MM)
    _check_extent(scan)
    pose = best_pose(scan, reference)
    if pose is None:
        raise _misfit("nothing that looks like a head")
    alike = correlation(scan, reference, pose)
    if not alike >= LEAST_CORRELATION:
        raise _misfit(f"a correlation of {alike:.2f}")
    carotid_share = _share_inside(volume, reference, pose)
    if carotid_share < LEAST_CAROTID_SHARE:
        raise UnfitError(
            "REGISTER_ROI",
            "a scan must show the carotids from the petrous bone to the circle of "
            f"Willis, {LEAST_CAROTID_SHARE:.0%} of their course at least. Received: "
            f"{carotid_share:.0%}, with a correlation of {alike:.2f}.",
            hint="Choose a series that reaches from below the skull base to above the "
            "sella.",
        )
    if pose.angle_deg > MOST_TURN_DEG:
        raise _misfit(f"a turn by {pose.angle_deg:.0f} degrees")
    return Fit(pose, alike, carotid_share, reference.name)


def given_reference(volume: Volume) -> Reference:
    """Return a user's own head CT as a reference, brought into the standard pose.

    It is registered to kcalc's phantom first, so that the network's grid lies round its
    carotids too.

    Args:
        volume: A head CT, as :func:`register_head` takes it.

    Raises:
        UsageError: ``PACKAGE``.
        InputError: It is refused as any scan that does not fit the phantom.
    """
    standard = phantom_reference()
    fit = register_head(volume, standard)
    scan = EvenGrid.of(volume, SPACING_MM)
    there = scan.resampled_to(standard.grid.geometry, fit.pose.matrix)
    return Reference.of("given reference scan", there, standard.carotids_xyz_mm)


def read_reference(path: str | os.PathLike[str] | None) -> Reference:
    """Return the reference of a file, or kcalc's phantom without one.

    Args:
        path: A head CT as :func:`kcalc.io.read_volume` takes it, or None.

    Raises:
        UsageError: ``PACKAGE``.
        InputError: The file, or the head in it, is refused; the error names it.
    """
    from kcalc.io import read_volume

    simpleitk()
    if path is None:
        return phantom_reference()
    volume = read_volume(path)
    try:
        return given_reference(volume)
    except InputError as error:
        hint = "Give another reference head."
        raise type(error)(error.code, error.rule, path=path, hint=hint) from error


def _misfit(what: str) -> UnfitError:
    return UnfitError(
        "REGISTER_FIT",
        f"a head CT must fit the reference: correlation {LEAST_CORRELATION} or more, "
        f"turned by {MOST_TURN_DEG:g} degrees at most. Received: {what}.",
        hint="Check that it is a head CT in HU with its right orientation, or give a "
        "reference head of your own (--reference).",
    )


def _check_extent(scan: EvenGrid) -> None:
    """Refuse a scan too small to show both carotids, before any search."""
    extent_mm = tuple(n * scan.spacing_mm for n in scan.geometry.shape_zyx)
    if any(e < least for e, least in zip(extent_mm, _LEAST_EXTENT_MM, strict=True)):
        size = " x ".join(f"{extent:.0f}" for extent in extent_mm)
        least = " x ".join(f"{extent:.0f}" for extent in _LEAST_EXTENT_MM)
        raise UnfitError(
            "REGISTER_ROI",
            f"a scan must be {least} mm (z, y, x) at the least to show both "
            f"intracranial carotids. Received: {size} mm.",
            hint="Choose a series that shows the whole skull base.",
        )


def _share_inside(volume: Volume, reference: Reference, pose: Pose) -> float:
    """Return the share of the carotids' points within the outermost voxels."""
    points = reference.carotids_xyz_mm @ pose.rotation.T + pose.matrix[:3, 3]
    index = volume.geometry.mm_to_index(points)
    inside = (index >= -0.5) & (index <= np.array(volume.shape) - 0.5)
    return float(inside.all(axis=1).mean())
