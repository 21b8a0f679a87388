"""Prepared cases and the tf.data pipeline that feeds networks from them.

``kcalc.data.pipeline`` needs TensorFlow and is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

from kcalc.data.augment import Augmentation
from kcalc.data.case import Case, CaseRecord
from kcalc.data.patches import PatchSampling
from kcalc.data.plans import DataPlan, SliceData, VolumeData
from kcalc.data.prepare import prepare_store
from kcalc.data.prepare_report import CasesRefusedError, PreparationReport
from kcalc.data.splits import SPLITS, split_patients
from kcalc.data.store import CaseStore
from kcalc.data.supervision import count_supervised, supervised_label

__all__ = [
    "SPLITS",
    "Augmentation",
    "Case",
    "CaseRecord",
    "CaseStore",
    "CasesRefusedError",
    "DataPlan",
    "PatchSampling",
    "PreparationReport",
    "SliceData",
    "VolumeData",
    "count_supervised",
    "pipeline",
    "prepare_store",
    "split_patients",
    "supervised_label",
]


def __getattr__(name: str) -> Any:
    if name == "pipeline":
        return importlib.import_module("kcalc.data.pipeline")
    raise AttributeError(f"module 'kcalc.data' has no attribute {name!r}")
