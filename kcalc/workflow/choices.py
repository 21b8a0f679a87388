"""Choices of a score that do not go together: refused before any work."""

from __future__ import annotations

from typing import Literal

from kcalc.artifact import SHIPPED_MODELS
from kcalc.errors import UsageError
from kcalc.registration.rigid import simpleitk
from kcalc.scoring.mass import check_calibration
from kcalc.workflow.dicom import Phi
from kcalc.workflow.options import ScoreOptions


def refuse_contradictions(
    options: ScoreOptions,
    *,
    model: bool,
    mask: bool,
    mask_labels: bool,
    mass_calibration: float | Literal["population"] | None,
    dicom: bool,
    phi: Phi,
) -> None:
    """Refuse choices of :func:`kcalc.workflow.score_scan` that exclude each other.

    Args:
        options: Its options.
        model: Whether a model was given.
        mask: Whether a mask was given.
        mask_labels: Whether it was said what the labels of a mask mean.
        mass_calibration: As :func:`kcalc.workflow.score_scan` takes it.
        dicom: Whether DICOM outputs are wanted.
        phi: What of the identifiers they keep.

    Raises:
        UsageError: ``OPTIONS``, or ``PACKAGE``: what was asked for is not installed.
        ValueError: Arguments of Python alone that exclude each other.
    """
    target = options.target_preset
    if options.register:
        simpleitk()
    if mass_calibration is not None and options.calibration_path is not None:
        raise UsageError(
            "OPTIONS", "give a mass calibration or a calibration rod, not both."
        )
    if mass_calibration != "population":
        check_calibration(mass_calibration)
    if not mask and target.task is None:
        raise UsageError(
            "OPTIONS",
            f"no network finds the target {target.name}; give a mask of it (mask_path, "
            "--mask).",
        )
    if not mask and not model and target.task not in SHIPPED_MODELS:
        raise UsageError(
            "OPTIONS",
            f"no model that finds the target {target.name} is shipped; give one "
            "(model, --model) or a mask (mask_path, --mask).",
        )
    if dicom and not target.has_classes:
        raise UsageError(
            "OPTIONS",
            f"DICOM results are of coronary calcium; the target {target.name} has none "
            "(leave out --dicom).",
        )
    if phi == "keep" and not dicom:
        raise UsageError(
            "OPTIONS",
            "identifiers are kept in the DICOM outputs alone; ask for those too "
            "(dicom=True, --dicom) or leave out phi (--phi).",
        )
    if model and mask:
        raise ValueError("Give a model or a mask_path, not both.")
    if mask_labels and not mask:
        raise ValueError("mask_labels need a mask_path.")
