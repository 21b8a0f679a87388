"""Simulated scans whose true volume and mass are known by construction."""

from kcalc.phantoms.case import Phantom, RoiOutline, TrueLesion
from kcalc.phantoms.chest import chest
from kcalc.phantoms.dicom_writer import write_dicom_series
from kcalc.phantoms.head import head
from kcalc.phantoms.qrm import qrm
from kcalc.phantoms.roi import write_outlines

__all__ = [
    "Phantom",
    "RoiOutline",
    "TrueLesion",
    "chest",
    "head",
    "qrm",
    "write_dicom_series",
    "write_outlines",
]
