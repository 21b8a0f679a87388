"""Calcium scoring under explicit rules: NumPy arrays in, frozen results out."""

from kcalc.scoring.all_rules import RuleOutcome, score_under_all_rules
from kcalc.scoring.calcium import CalciumScore, calcium_score
from kcalc.scoring.calibration import (
    Calibration,
    population_calibration,
    rod_calibration,
)
from kcalc.scoring.indices import (
    calcium_volume_fraction_mm3,
    integrated_mass_mg,
    spatially_weighted_score,
)
from kcalc.scoring.isotropic import isotropic_volume_mm3
from kcalc.scoring.lesions import Lesion, VesselScore
from kcalc.scoring.ordinal import (
    OrdinalScore,
    ordinal_from_segmentation,
    ordinal_score,
)
from kcalc.scoring.percentile import Percentile, percentile, read_percentile_table
from kcalc.scoring.presets import RULES, rule
from kcalc.scoring.risk import cac_drs, orcascore_category, risk_category
from kcalc.scoring.rules import KvpRow, ScoringRule
from kcalc.scoring.targets import TARGETS, Target, aortic_valve_class
from kcalc.scoring.vessels import nearest_vessels
from kcalc.scoring.voltage import adaptation_obstacle, kev_adapted, kvp_adapted

__all__ = [
    "RULES",
    "TARGETS",
    "CalciumScore",
    "Calibration",
    "KvpRow",
    "Lesion",
    "OrdinalScore",
    "Percentile",
    "RuleOutcome",
    "ScoringRule",
    "Target",
    "VesselScore",
    "adaptation_obstacle",
    "aortic_valve_class",
    "cac_drs",
    "calcium_score",
    "calcium_volume_fraction_mm3",
    "integrated_mass_mg",
    "isotropic_volume_mm3",
    "kev_adapted",
    "kvp_adapted",
    "nearest_vessels",
    "orcascore_category",
    "ordinal_from_segmentation",
    "ordinal_score",
    "percentile",
    "population_calibration",
    "read_percentile_table",
    "risk_category",
    "rod_calibration",
    "rule",
    "score_under_all_rules",
    "spatially_weighted_score",
]
