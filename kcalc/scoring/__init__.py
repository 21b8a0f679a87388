"""Calcium scoring under explicit rules: NumPy arrays in, frozen results out."""

from kcalc.scoring.calcium import CalciumScore, calcium_score
from kcalc.scoring.lesions import Lesion, VesselScore
from kcalc.scoring.presets import RULES, rule
from kcalc.scoring.risk import cac_drs, orcascore_category, risk_category
from kcalc.scoring.rules import KvpRow, ScoringRule
from kcalc.scoring.voltage import adaptation_obstacle, kev_adapted, kvp_adapted

__all__ = [
    "RULES",
    "CalciumScore",
    "KvpRow",
    "Lesion",
    "ScoringRule",
    "VesselScore",
    "adaptation_obstacle",
    "cac_drs",
    "calcium_score",
    "kev_adapted",
    "kvp_adapted",
    "orcascore_category",
    "risk_category",
    "rule",
]
