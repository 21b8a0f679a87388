"""A cardiac MR phantom as a folder: scan, true mask and truth.json, all or nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kcalc._version import NOTICE
from kcalc.report import result_folder, write_record
from kcalc.workflow.phantom import LABEL_FILE, SCAN_FILE, TRUTH_FILE

if TYPE_CHECKING:
    from kcalc.phantoms import VentriclePhantom


@dataclass(frozen=True)
class VentricleResult:
    """What :func:`render_ventricle` made and wrote.

    Args:
        phantom: The phantom with its truth.
        directory: The folder.
    """

    phantom: VentriclePhantom
    directory: Path

    def summary(self) -> str:
        """Return the truth in a few lines of text."""
        depth, rows, columns = self.phantom.volume.shape
        return "\n".join(
            (
                f"Phantom         {self.phantom.name}, seed {self.phantom.seed}",
                f"Slices          {depth} of {rows} x {columns}",
                f"True cavity     {self.phantom.cavity_mm3 / 1000:.1f} mL",
                f"True myocardium {self.phantom.myocardium_mm3 / 1000:.1f} mL",
                f"Scan            {self.directory / SCAN_FILE}",
                f"True mask       {self.directory / LABEL_FILE}",
            )
        )


def render_ventricle(
    output_directory: str | os.PathLike[str],
    *,
    seed: int = 0,
    phase: Literal["diastole", "systole"] | None = None,
) -> VentricleResult:
    """Render a left ventricle in MR and write it with its truth, whole or not at all.

    The folder gets ``scan.nii.gz`` (arbitrary units; read it with
    ``kcalc.read_volume(path, modality="MR")``), ``label.nii.gz`` (1 cavity, 2
    myocardium) and ``truth.json`` (true volumes, the parameters drawn).

    Args:
        output_directory: New, empty, or an unchanged former phantom.
        seed: Same seed, same bytes.
        phase: End-diastole or end-systole; drawn from the seed by default.

    Raises:
        ResourceError: The output folder cannot be written, or holds something else.
        ValueError: The phase is unknown.
    """
    from kcalc.io.nifti import write_nifti
    from kcalc.phantoms import ventricle

    with result_folder(output_directory, TRUTH_FILE) as folder:
        phantom = ventricle(seed, phase=phase)
        volume = phantom.volume
        write_nifti(folder / SCAN_FILE, volume.array, volume.geometry)
        write_nifti(folder / LABEL_FILE, phantom.label, volume.geometry)
        truth = {"notice": f"Simulated data. {NOTICE}", **phantom.physical_truth()}
        write_record(folder / TRUTH_FILE, truth)
    return VentricleResult(phantom, Path(output_directory))
