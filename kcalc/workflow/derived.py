"""What is told beside the score: classes, percentile, indices, standing of the scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.scoring import (
    CalciumScore,
    Calibration,
    aortic_valve_class,
    calcium_volume_fraction_mm3,
    integrated_mass_mg,
    isotropic_volume_mm3,
    orcascore_category,
    ordinal_from_segmentation,
    percentile,
    population_calibration,
    read_percentile_table,
    rod_calibration,
    spatially_weighted_score,
)
from kcalc.scoring.indices import region_round
from kcalc.scoring.isotropic import lesion_voxels
from kcalc.scoring.percentile import PercentileRow
from kcalc.scoring.standard import cut_findings, heart_findings
from kcalc.volume import Finding, Volume
from kcalc.workflow.options import ScoreOptions

REGION_MARGIN_MM = 2.0
"""Rim of a lesion that the further indices count in: about its blur."""
_SWCS_DENSITY_MG_PER_ML = 100.0


def calibration_of(
    volume: Volume,
    mass_calibration: float | str | None,
    options: ScoreOptions,
) -> Calibration | None:
    """Return the mass calibration as the options ask, None for none.

    Args:
        volume: The scan.
        mass_calibration: A factor in mg/mL per HU, ``"population"`` or None.
        options: The choices, with the mask file of a calibration rod.

    Raises:
        InputError: ``CALIBRATION_ROI``, or the mask file is refused.
        UnfitError: ``CALIBRATION_KVP``.
    """
    from kcalc.io.nifti import read_mask

    if options.calibration_path is not None:
        return rod_calibration(
            volume.array,
            read_mask(options.calibration_path, volume.geometry),
            rod_density_mg_per_ml=options.rod_density_mg_per_ml,
        )
    if isinstance(mass_calibration, str):
        if options.kev is not None:
            return population_calibration(None)
        return population_calibration(volume.acquisition.tube_voltage_kvp)
    if mass_calibration is None:
        return None
    return Calibration(float(mass_calibration), "given")


def standing_findings(
    volume: Volume,
    score: CalciumScore,
    calibration: Calibration | None,
    options: ScoreOptions,
) -> list[Finding]:
    """Return the warnings about how far the numbers can be trusted.

    Args:
        volume: The scan.
        score: Its score.
        calibration: The mass calibration.
        options: The choices.
    """
    of_heart = options.target_preset.has_classes or options.target == "aortic-valve"
    findings = (heart_findings if of_heart else cut_findings)(volume, score)
    if calibration is not None and calibration.warning:
        code, _, message = calibration.warning.partition(": ")
        findings.append(Finding(code, message, "warning"))
    if score.coronary_agatston != score.agatston and options.target_preset.has_classes:
        message = (
            f"{score.agatston - score.coronary_agatston:.1f} of the score lie in aorta "
            "or heart valves; risk category and CAC-DRS are those of the coronary "
            f"{score.coronary_agatston:.1f}."
        )
        findings.append(Finding("EXTRACORONARY", message, "note"))
    return findings


def derived_values(
    volume: Volume,
    mask: npt.NDArray[np.uint8],
    score: CalciumScore,
    options: ScoreOptions,
    *,
    calibration: Calibration | None = None,
    vessels: npt.NDArray[np.uint8] | None = None,
    percentiles: Sequence[PercentileRow] = (),
    vessel_map: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the entries of ``score.json`` that say more than the score itself.

    Args:
        volume: The scan.
        mask: The mask that was scored.
        score: Its score.
        options: The choices.
        calibration: The mass calibration.
        vessels: Segmentation of vessels on the scan's grid.
        percentiles: Rows of the percentile table.
        vessel_map: Where the vessel numbers of the mask are from.

    Raises:
        InputError: ``PERCENTILE_RANGE`` or ``VESSEL_ABSENT``.
    """
    target = options.target_preset
    lesions = lesion_voxels(volume.array, mask, volume.spacing_mm, score.rule)
    values: dict[str, Any] = {
        "target": {"name": target.name, "title": target.title, "note": target.note},
        "volume_isotropic_mm3": isotropic_volume_mm3(
            volume.array, mask, volume.spacing_mm, rule=score.rule
        ),
        "risk_classes": options.risk_classes if target.has_classes else None,
        "mass_calibration": None if calibration is None else calibration.to_dict(),
        "vessel_map": None if vessel_map is None else dict(vessel_map),
        "percentile": _percentile(score, percentiles, options),
        "aortic_valve": None,
        "ordinal": None,
        "further_indices": _further_indices(volume, lesions, calibration),
    }
    if not target.has_classes:
        values |= {"risk_category": None, "cac_drs": None}
    elif options.risk_classes == "orcascore":
        values["risk_category"] = orcascore_category(score.coronary_agatston)
    if not target.has_agatston:
        values |= {"agatston": None, "coronary_agatston": None}
    if target.name == "aortic-valve":
        values["aortic_valve"] = {
            "sex": options.sex,
            "class": None
            if options.sex is None
            else aortic_valve_class(score.agatston, options.sex),
        }
    if target.name == "coronary-ordinal" and vessels is not None:
        values["ordinal"] = ordinal_from_segmentation(
            lesions,
            vessels,
            volume.spacing_mm,
            max_distance_mm=options.vessel_distance_mm,
        ).to_dict()
    return values


def read_percentiles(options: ScoreOptions) -> tuple[PercentileRow, ...]:
    """Return the rows of the percentile table, none without one.

    Raises:
        InputError: The table is refused.
    """
    if options.percentile_table is None:
        return ()
    return read_percentile_table(options.percentile_table)


def _percentile(
    score: CalciumScore, table: Sequence[PercentileRow], options: ScoreOptions
) -> dict[str, Any] | None:
    if not table or options.age is None or options.sex is None:
        return None
    found = percentile(
        score.coronary_agatston,
        table,
        age=options.age,
        sex=options.sex,
        group=options.group,
    )
    return found.to_dict()


def _further_indices(
    volume: Volume, lesions: npt.NDArray[np.bool_], calibration: Calibration | None
) -> dict[str, Any] | None:
    """Return the indices without a threshold, where rod and tissue were marked."""
    if calibration is None or None in (
        calibration.rod_hu,
        calibration.rod_density_mg_per_ml,
        calibration.background_hu,
    ):
        return None
    rod_hu = float(calibration.rod_hu or 0.0)
    water_hu = float(calibration.water_hu or 0.0)
    density = float(calibration.rod_density_mg_per_ml or 0.0)
    background_hu = float(calibration.background_hu or 0.0)
    region = region_round(lesions, volume.spacing_mm, REGION_MARGIN_MM)
    reference = {"background_hu": background_hu, "object_hu": rod_hu}
    at_100_hu = water_hu + (rod_hu - water_hu) * _SWCS_DENSITY_MG_PER_ML / density
    return {
        "region_margin_mm": REGION_MARGIN_MM,
        "integrated_mass_mg": integrated_mass_mg(
            volume.array,
            region,
            volume.spacing_mm,
            **reference,
            object_density_mg_per_ml=density,
        ),
        "volume_fraction_mm3": calcium_volume_fraction_mm3(
            volume.array, region, volume.spacing_mm, **reference
        ),
        "spatially_weighted_score": None
        if not calibration.rod_sd_hu
        else spatially_weighted_score(
            volume.array,
            region,
            reference_mean_hu=at_100_hu,
            reference_sd_hu=calibration.rod_sd_hu,
        ),
    }
