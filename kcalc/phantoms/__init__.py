"""Simulated scans whose true volume and mass are known by construction."""

from kcalc.phantoms.case import Phantom, TrueLesion
from kcalc.phantoms.chest import chest
from kcalc.phantoms.dicom_writer import write_dicom_series
from kcalc.phantoms.qrm import qrm

__all__ = ["Phantom", "TrueLesion", "chest", "qrm", "write_dicom_series"]
