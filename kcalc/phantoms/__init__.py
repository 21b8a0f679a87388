"""Simulated scans whose true volume and mass are known by construction."""

from kcalc.phantoms.case import Phantom, RoiOutline, TrueLesion
from kcalc.phantoms.chest import chest
from kcalc.phantoms.dicom_writer import write_dicom_series
from kcalc.phantoms.head import head
from kcalc.phantoms.qrm import qrm
from kcalc.phantoms.roi import write_outlines
from kcalc.phantoms.ventricle import VentriclePhantom, ventricle

__all__ = [
    "Phantom",
    "RoiOutline",
    "TrueLesion",
    "VentriclePhantom",
    "chest",
    "head",
    "qrm",
    "ventricle",
    "write_dicom_series",
    "write_outlines",
]
