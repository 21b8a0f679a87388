"""Mass calibration: a rod in the scan or a population in, mg/mL per HU out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kcalc.errors import InputError, UnfitError
from kcalc.scoring.checks import checked_labels
from kcalc.scoring.rules import STANDARD_TUBE_VOLTAGE_KVP

POPULATION_CALIBRATION = 0.77
"""mg/mL of hydroxyapatite per HU at 120 kVp over patients, 130 HU being about 100 mg/mL
(McCollough 2007; Eur Radiol 2022, s00330-022-08642-5; digest E.3)."""
ROD_DENSITY_MG_PER_ML = 200.0
"""Hydroxyapatite in the calibration rod of the consortium (digest E.3)."""
ROD_LABEL, WATER_LABEL, BACKGROUND_LABEL = 1, 2, 3
"""Labels of a calibration mask: rod, water rod, tissue round the calcium."""
_MIN_ROD_VOXELS = 10
_USUAL = (0.4, 1.2)


@dataclass(frozen=True)
class Calibration:
    """A mass calibration with where it is from.

    Args:
        mg_per_ml_per_hu: The factor, mg/mL of hydroxyapatite per HU.
        source: ``"given"``, ``"rod"`` or ``"population"``.
        rod_density_mg_per_ml: Density of the rod, with the three below for ``"rod"``.
        rod_hu: Mean of the rod in HU.
        rod_sd_hu: Standard deviation in the rod, of the sample, in HU.
        water_hu: Mean of the water rod in HU; 0, as HU are defined, without one.
        background_hu: Mean of the tissue round the calcium, None where not marked.
    """

    mg_per_ml_per_hu: float
    source: Literal["given", "rod", "population"]
    rod_density_mg_per_ml: float | None = None
    rod_hu: float | None = None
    rod_sd_hu: float | None = None
    water_hu: float | None = None
    background_hu: float | None = None

    @property
    def warning(self) -> str:
        """What to heed about the factor, beginning with a code; empty for nothing."""
        factor = f"{self.mg_per_ml_per_hu:.4g} mg/mL per HU"
        if self.source == "population":
            return (
                f"MASS_POPULATION: the mass was made with {factor}, the mean over "
                "patients at 120 kVp, not with a calibration of this scan."
            )
        if not _USUAL[0] <= self.mg_per_ml_per_hu <= _USUAL[1]:
            return (
                f"CALIBRATION: the mass was made with {factor}; factors of scanners "
                f"lie between about {_USUAL[0]} and {_USUAL[1]}."
            )
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary ready for JSON."""
        return asdict(self)


def rod_calibration(
    array_hu: npt.NDArray[Any],
    rois: npt.ArrayLike,
    *,
    rod_density_mg_per_ml: float = ROD_DENSITY_MG_PER_ML,
) -> Calibration:
    """Return the mass calibration of a rod of known density that was scanned along.

    c = density / (mean HU of the rod - mean HU of water); without a water rod, water
    is taken as 0 HU. Draw the regions well inside the rods.

    Args:
        array_hu: The scan in HU, (z, y, x).
        rois: Integers of the same shape: 1 in the rod, at least ten voxels; 2 in the
            water rod, 3 in the tissue round the calcium, both optional.
        rod_density_mg_per_ml: mg of hydroxyapatite per mL of the rod.

    Raises:
        InputError: ``CALIBRATION_ROI``, the rod is not marked or does not read above
            water.
        ValueError: The shape or the density breaks these rules.

    Example:
        >>> scan = np.zeros((1, 8, 8), np.int16)
        >>> rois = np.zeros((1, 8, 8), np.uint8)
        >>> scan[0, :4], rois[0, :4] = 250, 1
        >>> rod_calibration(scan, rois).mg_per_ml_per_hu
        0.8

    References:
        McCollough CH et al., Radiology 2007, doi 10.1148/radiol.2432050808.
    """
    if not 0 < rod_density_mg_per_ml < float("inf"):
        raise ValueError(
            "rod_density_mg_per_ml must be a positive density in mg/mL. "
            f"Received: rod_density_mg_per_ml={rod_density_mg_per_ml}"
        )
    labels = checked_labels(rois, "rois", array_hu.shape)
    rod = array_hu[labels == ROD_LABEL].astype(np.float64)
    if rod.size < _MIN_ROD_VOXELS:
        raise _bad_rois(
            f"label {ROD_LABEL} must mark at least {_MIN_ROD_VOXELS} voxels of the "
            f"rod; it marks {rod.size}"
        )
    water = array_hu[labels == WATER_LABEL].astype(np.float64)
    background = array_hu[labels == BACKGROUND_LABEL].astype(np.float64)
    rod_hu, water_hu = float(rod.mean()), float(water.mean()) if water.size else 0.0
    if rod_hu <= water_hu:
        raise _bad_rois(
            f"the rod must read above water; it reads {rod_hu:.1f} HU and water "
            f"{water_hu:.1f} HU"
        )
    if background.size and background.mean() >= rod_hu:
        raise _bad_rois(
            f"the rod must read above the tissue; it reads {rod_hu:.1f} HU and the "
            f"tissue {background.mean():.1f} HU"
        )
    return Calibration(
        mg_per_ml_per_hu=rod_density_mg_per_ml / (rod_hu - water_hu),
        source="rod",
        rod_density_mg_per_ml=float(rod_density_mg_per_ml),
        rod_hu=rod_hu,
        rod_sd_hu=float(rod.std(ddof=1)),
        water_hu=water_hu,
        background_hu=float(background.mean()) if background.size else None,
    )


def population_calibration(tube_voltage_kvp: float | None) -> Calibration:
    """Return the mean calibration over patients, which holds at 120 kVp only.

    Args:
        tube_voltage_kvp: Tube voltage of the scan in kV.

    Raises:
        UnfitError: ``CALIBRATION_KVP``, another or an unknown tube voltage.

    Example:
        >>> population_calibration(120).mg_per_ml_per_hu
        0.77
    """
    if tube_voltage_kvp is None or abs(tube_voltage_kvp - 120) > 0.5:
        said = "unknown" if tube_voltage_kvp is None else f"{tube_voltage_kvp:g} kVp"
        raise UnfitError(
            "CALIBRATION_KVP",
            f"the population's mass calibration holds at {STANDARD_TUBE_VOLTAGE_KVP:g} "
            f"kVp only; the tube voltage is {said}.",
            hint="Give the factor of this scanner and voltage, or a calibration rod, "
            "or leave the mass out.",
        )
    return Calibration(POPULATION_CALIBRATION, "population")


def _bad_rois(rule: str) -> InputError:
    return InputError(
        "CALIBRATION_ROI",
        f"{rule}.",
        hint="Mark the rod with 1, water with 2 and tissue round the calcium with 3.",
    )
