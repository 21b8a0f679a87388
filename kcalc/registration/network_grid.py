"""The network's grid: 240 x 240 x 100 voxels round the intracranial carotids.

Bortsova 2017, section 3: registered rigidly to one reference, cropped along z, and
resampled in plane. Here the three are one resampling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.errors import InputError
from kcalc.geometry import Geometry
from kcalc.hounsfield import CT_MIN_HU
from kcalc.phantoms.head_reference import (
    STUDY_CENTRE_XYZ_MM,
    STUDY_SHAPE_ZYX,
    STUDY_SPACING_MM,
)
from kcalc.registration.reference import Reference
from kcalc.registration.register import Fit, register_head
from kcalc.regrid import mask_on_slices, onto_axial
from kcalc.slices import SliceStack
from kcalc.volume import Finding, Volume


def network_grid(
    spacing_mm: tuple[float, float, float] = STUDY_SPACING_MM,
) -> Geometry:
    """Return the grid in the standard pose, for a network of some spacing.

    Args:
        spacing_mm: Voxel spacing (z, y, x) in mm; the paper's by default, and then
            100 x 240 x 240 voxels. Another one fills the same field.

    Example:
        >>> network_grid((1.0, 0.98, 0.98)).shape_zyx
        (100, 120, 120)
    """
    z, y, x = (
        max(round(count * spacing / wanted), 1)
        for count, spacing, wanted in zip(
            STUDY_SHAPE_ZYX, STUDY_SPACING_MM, spacing_mm, strict=True
        )
    )
    corner = [
        middle - spacing * (count - 1) / 2
        for middle, spacing, count in zip(
            STUDY_CENTRE_XYZ_MM, spacing_mm[::-1], (x, y, z), strict=True
        )
    ]
    return Geometry.axial((z, y, x), spacing_mm, (corner[0], corner[1], corner[2]))


NETWORK_GRID = network_grid()
"""The grid of the paper: 100 x 240 x 240 voxels of 1 x 0.49 x 0.49 mm."""


@dataclass(frozen=True, eq=False)
class NetworkScan:
    """A head CT on the network's grid.

    Args:
        volume: The scan there; its geometry says where each voxel lies in the patient,
            so that masks and points go back. Air where the scan does not reach.
        label: (z, y, x) the label there, or None.
        fit: How it was registered.
        share_inside: Share of the grid that lies in the scan.
        grid: The grid in the standard pose.
    """

    volume: Volume
    label: npt.NDArray[np.uint8] | None
    fit: Fit
    share_inside: float
    grid: Geometry = NETWORK_GRID

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What there is to say of the registration; the volume's findings have it."""
        return _findings(self.fit, self.share_inside)

    def label_of(
        self, label: npt.NDArray[np.uint8], geometry: Geometry
    ) -> npt.NDArray[np.uint8]:
        """Return a label of the scan's grid on the network's, nearest voxel."""
        stack = SliceStack.from_geometry(self.volume.geometry)
        return mask_on_slices(label, geometry, stack)

    def mask_back(self, mask: npt.NDArray[Any], geometry: Geometry) -> npt.NDArray[Any]:
        """Return a mask of the network's grid on a grid of the scan, nearest voxel.

        Args:
            mask: (z, y, x) of the network's grid, bool or labels.
            geometry: The scan's grid.

        Returns:
            (z, y, x) of the scan's grid; 0 beyond the network's.
        """
        stack = SliceStack.from_geometry(geometry)
        return mask_on_slices(mask, self.volume.geometry, stack)


def to_network_grid(
    volume: Volume,
    label: npt.NDArray[np.uint8] | None = None,
    *,
    reference: Reference | None = None,
    grid: Geometry = NETWORK_GRID,
) -> NetworkScan:
    """Bring a head CT, and its label, into the standard pose on the network's grid.

    The image is resampled linearly, once; a label takes the value of the nearest voxel
    and is to be cut at the threshold there.

    Args:
        volume: A head CT in HU, as :func:`register_head` takes it.
        label: (z, y, x) of the volume: a mask or numbers of ``kcalc.anatomy``.
        reference: The head to register to; None for kcalc's phantom.
        grid: The grid in the standard pose, see :func:`network_grid`.

    Returns:
        The scan there. ``volume.findings`` gains what there is to say of it.

    Raises:
        UsageError: ``PACKAGE``.
        InputError: ``MASK_GRID``, the label has another shape than the volume, and what
            :func:`register_head` refuses.

    Example:
        ``to_network_grid(kcalc.read_volume("head/")).volume.shape``
    """
    if label is not None and label.shape != volume.shape:
        raise InputError(
            "MASK_GRID",
            f"a label must lie on the scan's grid, {volume.shape}. "
            f"Received: {label.shape}.",
            hint="Give the label of this very scan.",
        )
    fit = register_head(volume, reference)
    there = Geometry(grid.shape_zyx, fit.pose.matrix @ grid.affine_lps)
    array = onto_axial(volume.array, volume.geometry, there, outside=float(CT_MIN_HU))
    share = _share_of_grid(volume, there)
    placed = replace(
        volume,
        array=array,
        geometry=there,
        findings=(*volume.findings, *_findings(fit, share)),
        frames=(),
        source=None,
    )
    scan = NetworkScan(placed, None, fit, share, grid)
    if label is None:
        return scan
    return replace(scan, label=scan.label_of(label, volume.geometry))


def _findings(fit: Fit, share_inside: float) -> tuple[Finding, ...]:
    pitch, roll, yaw = fit.pose.rotation_deg
    message = (
        f"The head was registered to the {fit.reference} (pitch {pitch:.1f}, roll "
        f"{roll:.1f}, yaw {yaw:.1f} degrees, correlation {fit.correlation:.2f}) and "
        "resampled onto the network's grid, as the caller asked."
    )
    registered = Finding("REGISTERED", message, "correction")
    cut = fit.carotid_share < 1.0
    if share_inside > 0.9995 and not cut:
        return (registered,)
    words = f", and {1 - fit.carotid_share:.1%} of the carotids' course" if cut else ""
    message = (
        f"{1 - share_inside:.1%} of the network's grid lie outside the scan{words}; "
        "what lies there counts as air."
    )
    return (registered, Finding("REGISTER_CUT", message, "warning" if cut else "note"))


def _share_of_grid(volume: Volume, grid: Geometry) -> float:
    """Return the share of every fourth voxel of a grid that lies in a scan."""
    index = np.stack(
        np.meshgrid(*(np.arange(0, n, 4) for n in grid.shape_zyx), indexing="ij"), -1
    )
    there = volume.geometry.mm_to_index(grid.index_to_mm(index))
    inside = (there >= -0.5) & (there <= np.array(volume.shape) - 0.5)
    return float(inside.all(axis=-1).mean())
