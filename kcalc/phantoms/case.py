"""A phantom: the simulated scan with its three truths."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.volume import Volume


@dataclass(frozen=True)
class TrueLesion:
    """One target lesion as it physically is.

    Args:
        vessel_label: Number in ``kcalc.anatomy``.
        volume_mm3: Physical volume.
        density_mg_per_ml: Calcium hydroxyapatite density.
        mass_mg: Physical mass.
        centre_xyz_mm: LPS position in mm.
    """

    vessel_label: int
    volume_mm3: float
    density_mg_per_ml: float
    mass_mg: float
    centre_xyz_mm: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class RoiOutline:
    """A closed outline that an observer draws round calcium in one slice.

    Args:
        vessel_label: Number in ``kcalc.anatomy``.
        slice_index: Its slice.
        points_xyz_mm: (n, 3) LPS positions in mm.
    """

    vessel_label: int
    slice_index: int
    points_xyz_mm: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Phantom:
    """A simulated scan and what is true of it (digest F.5 item 1).

    Args:
        volume: The noisy scan, as a reader would give it.
        lesions: Truth (a): physical volume and mass of every target lesion.
        noise_free_hu: Truth (b): the scan without noise, int16 (z, y, x), to be
            scored with ``noise_free_label``.
        noise_free_label: Vessel numbers of truth (b), uint8 (z, y, x).
        label: Truth (c), reader-like: vessel number of every voxel of at least 130 HU
            in the noisy scan that is joined to a true lesion, uint8 (z, y, x).
        name: Kind of phantom, for instance ``"chest-wide"``.
        seed: What it was rendered from.
        parameters: What was drawn, plain values for JSON.
        outlines: Regions as observers draw them (the head alone): ``label`` is where
            the noisy scan lies above 130 HU within them.
    """

    volume: Volume
    lesions: tuple[TrueLesion, ...]
    noise_free_hu: npt.NDArray[np.int16]
    noise_free_label: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]
    name: str
    seed: int
    parameters: dict[str, Any]
    outlines: tuple[RoiOutline, ...] = ()

    @property
    def true_volume_mm3(self) -> float:
        """Physical volume of all target lesions in mm3."""
        return float(sum(lesion.volume_mm3 for lesion in self.lesions))

    @property
    def true_mass_mg(self) -> float:
        """Physical mass of all target lesions in mg."""
        return float(sum(lesion.mass_mg for lesion in self.lesions))

    def physical_truth(self) -> dict[str, Any]:
        """Return truth (a) and the parameters as plain values for JSON."""
        return {
            "name": self.name,
            "seed": self.seed,
            "true_volume_mm3": self.true_volume_mm3,
            "true_mass_mg": self.true_mass_mg,
            "lesions": [asdict(lesion) for lesion in self.lesions],
            "parameters": self.parameters,
        }
