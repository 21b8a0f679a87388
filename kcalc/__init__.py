"""kcalc finds vascular calcification in medical images and scores it explicitly.

Research use only; not a medical device. ``import kcalc`` is light: each public name
loads its module, and TensorFlow where that needs it, on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

from kcalc._version import __version__
from kcalc.errors import InputError, KcalcError
from kcalc.volume import Volume

_LAZY = {
    "calcium_score": ("kcalc.scoring", "calcium_score"),
    "load_model": ("kcalc.inference", "load_model"),
    "predict": ("kcalc.inference", "predict"),
    "read_volume": ("kcalc.io", "read_volume"),
}
_SUBPACKAGES = (
    "data",
    "evaluation",
    "export",
    "inference",
    "io",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "phantoms",
    "preparation",
    "report",
    "scoring",
    "training",
)

__all__ = [
    "InputError",
    "KcalcError",
    "Volume",
    "__version__",
    *_LAZY,
    *_SUBPACKAGES,
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module, attribute = _LAZY[name]
        return getattr(importlib.import_module(module), attribute)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"kcalc.{name}")
    raise AttributeError(f"module 'kcalc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
