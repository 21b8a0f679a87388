"""Simulated scans whose true volume and mass are known by construction."""

from kcalc.phantoms.case import Phantom, TrueLesion
from kcalc.phantoms.chest import chest

__all__ = ["Phantom", "TrueLesion", "chest"]
