"""Training of every network: ``fit`` with a recipe, a store and a folder.

``fit`` needs TensorFlow and is loaded on first use, so that a recipe's worker processes
stay light.
"""

from __future__ import annotations

import importlib
from typing import Any

from kcalc.training.config import (
    OptimizerConfig,
    Recipe,
    TrainingConfig,
    recipe_to_dict,
    smoke_recipe,
)
from kcalc.training.epoch_schedules import LinearChange, StepChange

__all__ = [
    "LinearChange",
    "OptimizerConfig",
    "Recipe",
    "StepChange",
    "TrainingConfig",
    "TrainingResult",
    "fit",
    "recipe_to_dict",
    "smoke_recipe",
]


def __getattr__(name: str) -> Any:
    if name in ("fit", "TrainingResult"):
        return getattr(importlib.import_module("kcalc.training.loop"), name)
    raise AttributeError(f"module 'kcalc.training' has no attribute {name!r}")
