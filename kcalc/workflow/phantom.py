"""A phantom as a folder: DICOM series, true mask and truth.json, all or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from kcalc._version import NOTICE
from kcalc.report import result_folder, write_record
from kcalc.scoring import TARGETS, ScoringRule, calcium_score
from kcalc.volume import Volume

if TYPE_CHECKING:
    import numpy as np

    from kcalc.phantoms import Phantom

TRUTH_FILE = "truth.json"
LABEL_FILE = "label.nii.gz"
SCAN_FILE = "scan.nii.gz"
DICOM_FOLDER = "dicom"
OUTLINES_FILE = "outlines.csv"

_PRESETS: Mapping[str, tuple[str, ...]] = {
    "chest": ("wide", "cardiac"),
    "head": ("study", "native", "full"),
    "qrm": (),
}
"""Presets of each kind, the default first."""


@dataclass(frozen=True)
class PhantomResult:
    """What :func:`render_phantom` made and wrote.

    Args:
        phantom: The phantom with its truths.
        truth: What ``truth.json`` holds.
        directory: The folder.
    """

    phantom: Phantom
    truth: Mapping[str, Any]
    directory: Path

    def summary(self) -> str:
        """Return the truth in a few lines of text."""
        label = self.truth["score_of_label"]
        points = f"{label['agatston']:.1f} " if "agatston" in label else ""
        return "\n".join(
            (
                f"Phantom         {self.phantom.name}, seed {self.phantom.seed}",
                f"True lesions    {len(self.phantom.lesions)}",
                f"True volume     {self.phantom.true_volume_mm3:.1f} mm3",
                f"True mass       {self.phantom.true_mass_mg:.2f} mg",
                f"Score of the true mask {points}({label['rule']}), "
                f"volume {label['volume_mm3']:.1f} mm3",
                f"DICOM series    {self.directory / DICOM_FOLDER}",
                f"True mask       {self.directory / LABEL_FILE}",
            )
        )


def render_phantom(
    kind: Literal["chest", "head", "qrm"],
    output_directory: str | os.PathLike[str],
    *,
    seed: int = 0,
    preset: str | None = None,
    nifti: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> PhantomResult:
    """Render a phantom and write it with its truth, whole or not at all.

    The folder gets ``dicom/`` (a CT series), ``label.nii.gz`` (the vessel number of
    every voxel a perfect reader would mark) and ``truth.json`` (physical volume and
    mass of each lesion, the parameters drawn, and the score of the label). Of a head
    that has carotid calcium it gets ``outlines.csv``: the regions as observers draw
    them, a table that ``kcalc score --mask`` reads; its score is the volume above
    130 HU, for these arteries have no Agatston score.

    Args:
        kind: ``"chest"``, ``"head"`` or ``"qrm"`` (:mod:`kcalc.phantoms`).
        output_directory: New, empty, or an unchanged former phantom.
        seed: Same seed, same bytes.
        preset: Of a chest, ``"wide"`` (default) or ``"cardiac"``; of a head,
            ``"study"`` (default), ``"native"`` or ``"full"``.
        nifti: Whether to write the scan as ``scan.nii.gz`` too.
        progress: Called as the work goes on.

    Raises:
        ResourceError: The output folder cannot be written, or holds something else.
        ValueError: The kind is unknown, or the preset is none of its own.
    """
    from kcalc import phantoms
    from kcalc.io.nifti import write_nifti

    if kind not in _PRESETS:
        raise ValueError(
            f"kind must be 'chest', 'head' or 'qrm'. Received: kind={kind!r}"
        )
    if preset is not None and preset not in _PRESETS[kind]:
        known = " or ".join(map(repr, _PRESETS[kind])) or "left out"
        raise ValueError(
            f"preset must be {known} for kind={kind!r}. Received: preset={preset!r}"
        )
    with result_folder(output_directory, TRUTH_FILE) as folder:
        _tell(progress, "Rendering the phantom")
        phantom = _rendered(kind, preset, seed)
        _tell(progress, "Writing the phantom")
        volume = phantom.volume
        phantoms.write_dicom_series(phantom, folder / DICOM_FOLDER)
        write_nifti(folder / LABEL_FILE, phantom.label, volume.geometry)
        if phantom.outlines:
            phantoms.write_outlines(phantom, folder / OUTLINES_FILE)
        if nifti:
            write_nifti(folder / SCAN_FILE, volume.array, volume.geometry)
        rule = TARGETS["icac"].rule if kind == "head" else None
        truth = {
            "notice": f"Simulated data. {NOTICE}",
            **phantom.physical_truth(),
            "score_of_label": _short_score(volume, volume.array, phantom.label, rule),
            "score_without_noise": _short_score(
                volume, phantom.noise_free_hu, phantom.noise_free_label, rule
            ),
        }
        truth = write_record(folder / TRUTH_FILE, truth)
    return PhantomResult(phantom, truth, Path(output_directory))


def _rendered(kind: str, preset: str | None, seed: int) -> Phantom:
    from kcalc import phantoms

    if kind == "qrm":
        return phantoms.qrm(seed=seed)
    chosen: Any = preset or _PRESETS[kind][0]
    return (phantoms.chest if kind == "chest" else phantoms.head)(chosen, seed)


def _short_score(
    volume: Volume,
    array_hu: npt.NDArray[Any],
    label: npt.NDArray[np.uint8],
    rule: ScoringRule | None,
) -> dict[str, Any]:
    score = calcium_score(
        array_hu,
        label,
        volume.spacing_mm,
        rule=rule or "agatston_1990",
        tube_voltage_kvp=volume.acquisition.tube_voltage_kvp,
        slice_thickness_mm=volume.acquisition.slice_thickness_mm,
    )
    agatston = {} if rule else {"agatston": score.agatston}
    return {
        **agatston,
        "volume_mm3": score.volume_mm3,
        "num_lesions": score.num_lesions,
        "rule": score.rule.name,
    }


def _tell(progress: Callable[[str, int, int], None] | None, stage: str) -> None:
    if progress is not None:
        progress(stage, 0, 0)
