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
from kcalc.scoring import calcium_score
from kcalc.volume import Volume

if TYPE_CHECKING:
    import numpy as np

    from kcalc.phantoms import Phantom

TRUTH_FILE = "truth.json"
LABEL_FILE = "label.nii.gz"
SCAN_FILE = "scan.nii.gz"
DICOM_FOLDER = "dicom"


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
        return "\n".join(
            (
                f"Phantom         {self.phantom.name}, seed {self.phantom.seed}",
                f"True lesions    {len(self.phantom.lesions)}",
                f"True volume     {self.phantom.true_volume_mm3:.1f} mm3",
                f"True mass       {self.phantom.true_mass_mg:.2f} mg",
                f"Score of the true mask {label['agatston']:.1f} "
                f"({label['rule']}), volume {label['volume_mm3']:.1f} mm3",
                f"DICOM series    {self.directory / DICOM_FOLDER}",
                f"True mask       {self.directory / LABEL_FILE}",
            )
        )


def render_phantom(
    kind: Literal["chest", "qrm"],
    output_directory: str | os.PathLike[str],
    *,
    seed: int = 0,
    preset: Literal["wide", "cardiac"] | None = None,
    nifti: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> PhantomResult:
    """Render a phantom and write it with its truth, whole or not at all.

    The folder gets ``dicom/`` (a CT series), ``label.nii.gz`` (the vessel number of
    every voxel a perfect reader would mark) and ``truth.json`` (physical volume and
    mass of each lesion, the parameters drawn, and the score of the label).

    Args:
        kind: ``"chest"`` or ``"qrm"`` (:mod:`kcalc.phantoms`).
        output_directory: New, empty, or an unchanged former phantom.
        seed: Same seed, same bytes.
        preset: Of a chest, ``"wide"`` (default) or ``"cardiac"``.
        nifti: Whether to write the scan as ``scan.nii.gz`` too.
        progress: Called as the work goes on.

    Raises:
        ResourceError: The output folder cannot be written, or holds something else.
        ValueError: The kind is unknown, or a preset is given for another kind.
    """
    from kcalc import phantoms
    from kcalc.io.nifti import write_nifti

    if kind not in ("chest", "qrm"):
        raise ValueError(f"kind must be 'chest' or 'qrm'. Received: kind={kind!r}")
    if preset is not None and kind != "chest":
        raise ValueError(f"preset is for kind='chest'. Received: kind={kind!r}")
    with result_folder(output_directory, TRUTH_FILE) as folder:
        _tell(progress, "Rendering the phantom")
        phantom = (
            phantoms.chest(preset or "wide", seed)
            if kind == "chest"
            else phantoms.qrm(seed=seed)
        )
        _tell(progress, "Writing the phantom")
        volume = phantom.volume
        phantoms.write_dicom_series(phantom, folder / DICOM_FOLDER)
        write_nifti(folder / LABEL_FILE, phantom.label, volume.geometry)
        if nifti:
            write_nifti(folder / SCAN_FILE, volume.array, volume.geometry)
        truth = {
            "notice": f"Simulated data. {NOTICE}",
            **phantom.physical_truth(),
            "score_of_label": _short_score(volume, volume.array, phantom.label),
            "score_without_noise": _short_score(
                volume, phantom.noise_free_hu, phantom.noise_free_label
            ),
        }
        truth = write_record(folder / TRUTH_FILE, truth)
    return PhantomResult(phantom, truth, Path(output_directory))


def _short_score(
    volume: Volume, array_hu: npt.NDArray[Any], label: npt.NDArray[np.uint8]
) -> dict[str, Any]:
    score = calcium_score(
        array_hu,
        label,
        volume.spacing_mm,
        tube_voltage_kvp=volume.acquisition.tube_voltage_kvp,
        slice_thickness_mm=volume.acquisition.slice_thickness_mm,
    )
    return {
        "agatston": score.agatston,
        "volume_mm3": score.volume_mm3,
        "num_lesions": score.num_lesions,
        "rule": score.rule.name,
    }


def _tell(progress: Callable[[str, int, int], None] | None, stage: str) -> None:
    if progress is not None:
        progress(stage, 0, 0)
