"""One scan from file to report: read, find calcium, score, write all or nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from kcalc._version import NOTICE
from kcalc.registration import NETWORK_GRID, NetworkScan
from kcalc.report import (
    lesion_pictures,
    lesions_csv,
    render_html,
    result_folder,
    score_record,
    summary_lines,
    write_record,
    write_text,
)
from kcalc.scoring import CalciumScore, ScoringRule, calcium_score
from kcalc.volume import Volume
from kcalc.workflow.all_rules import (
    DEFAULT_RULE,
    leading_rule,
    under_all_rules,
)
from kcalc.workflow.choices import refuse_contradictions
from kcalc.workflow.derived import (
    calibration_of,
    derived_values,
    read_percentiles,
    standing_findings,
)
from kcalc.workflow.dicom import Phi, dicom_identity, write_dicom
from kcalc.workflow.grid import (
    calcium_of,
    calcium_on_slices,
    grid_facts,
    on_scored_grid,
    scored_volume,
)
from kcalc.workflow.masks import (
    read_given_mask,
    read_vessels,
    restricted_to,
    with_nearest_vessels,
)
from kcalc.workflow.network import Progress, find_calcium, grid_of
from kcalc.workflow.options import ScoreOptions, rule_for_beam
from kcalc.workflow.registered import registered, score_on_network_grid

if TYPE_CHECKING:
    import keras

    from kcalc.inference import Network


SCORE_FILE = "score.json"
LESIONS_FILE = "lesions.csv"
MASK_FILE = "mask.nii.gz"
STORED_MASK_FILE = "mask_stored.nii.gz"
NETWORK_MASK_FILE = "mask_network.nii.gz"
REPORT_FILE = "report.html"


@dataclass(frozen=True)
class ScanResult:
    """What :func:`score_scan` found and wrote.

    Args:
        score: The score with its lesions and rule.
        volume: The scan on the grid on which it was scored.
        mask: (z, y, x) uint8, what ``mask.nii.gz`` holds.
        mask_on_slices: The same calcium on the stored slices, cut there at the
            threshold; ``mask`` itself unless the grid was corrected.
        record: What ``score.json`` holds.
        directory: The result folder.
        seconds_network: Wall time in the network; 0 with a given mask.
        seconds_rest: Wall time of everything else, TensorFlow's start included.
        on_network_grid: The scan registered onto the network's grid; None where that
            was not asked for.
    """

    score: CalciumScore
    volume: Volume
    mask: npt.NDArray[np.uint8]
    mask_on_slices: npt.NDArray[np.uint8]
    record: Mapping[str, Any]
    directory: Path
    seconds_network: float
    seconds_rest: float
    on_network_grid: NetworkScan | None = None

    def summary(self) -> str:
        """Return the result in a few lines of text."""
        return "\n".join(
            (*summary_lines(self.record), f"Results         {self.directory}", NOTICE)
        )

    def timing(self) -> str:
        """Return the wall time, split into network and rest, in words."""
        return (
            f"Seconds: network {self.seconds_network:.1f}, rest {self.seconds_rest:.1f}"
        )


def score_scan(
    input_path: str | os.PathLike[str],
    output_directory: str | os.PathLike[str],
    *,
    model: Network | keras.Model | str | os.PathLike[str] | None = None,
    mask_path: str | os.PathLike[str] | None = None,
    mask_labels: str | None = None,
    rule: str | ScoringRule = DEFAULT_RULE,
    mass_calibration: float | Literal["population"] | None = None,
    tube_voltage_kvp: float | None = None,
    series: str | None = None,
    dicom: bool = False,
    phi: Phi = "remove",
    options: ScoreOptions | None = None,
    allow_gap: int = 0,
    untilt: bool = False,
    resample: bool = False,
    assume_spacing_mm: float | None = None,
    assume_hu: bool = False,
    phase: float | None = None,
    progress: Progress | None = None,
) -> ScanResult:
    """Score one CT scan and write its report folder, whole or not at all.

    The folder gets ``score.json``, ``lesions.csv``, ``mask.nii.gz`` and
    ``report.html``. ``mask.nii.gz`` holds, on the scan's grid, the voxels of the mask
    that reach the rule's threshold: those of the score and those in specks too small
    for it. They are 1, or the vessel numbers of the given mask. It can be edited in a
    viewer and given as ``mask_path``; unedited, it gives the same score again. The
    same input gives the same bytes.

    With ``untilt`` the network sees the slices sheared upright; its mask returns to
    the stored slices, and the score is taken there. With ``allow_gap`` and
    ``resample`` the score is taken on the corrected grid, with a warning; where the
    stored slices form a grid of their own, such as a coronal one,
    ``mask_stored.nii.gz`` has the calcium on it. ``grid`` in ``score.json`` says which.

    With ``options.register`` a network sees the head on the grid that it was trained
    on. Its mask is scored there (``network_grid`` in ``score.json``,
    ``mask_network.nii.gz``), then goes back to the scan's grid, is cut there at the
    threshold and scored as any mask. A given mask goes the other way.

    Args:
        input_path: Folder or file of a DICOM series, or a NIfTI file in HU.
        output_directory: New, empty, or an unchanged former result, which is replaced.
        model: What :func:`kcalc.inference.open_network` takes, made for the target;
            None for the shipped one.
        mask_path: Mask on the scan's grid in any format of
            :func:`kcalc.io.read_labels`; then no network is used and no TensorFlow
            loaded. Vessels that it names give totals by vessel; a NIfTI mask names
            them by the numbers of ``kcalc.anatomy``, if it holds several.
        mask_labels: What the labels of the mask mean, where it does not say it
            (:func:`kcalc.io.label_names.label_scheme`).
        rule: Name of a scoring rule, a rule, or ``"all"``: then ``all_rules`` of
            ``score.json`` has the same mask under every preset, and all else is of
            the default rule.
        mass_calibration: mg/mL of hydroxyapatite per HU; ``"population"`` takes the
            mean over patients, at 120 kVp alone; None gives no mass, unless the options
            name a calibration rod.
        tube_voltage_kvp: Tube voltage in kV of a scan that does not state it.
        series: Which series where a folder holds several
            (:func:`kcalc.io.read_volume`).
        dicom: Write ``sr.dcm`` too and, where a lesion counts, ``seg.dcm``.
        phi: ``"keep"`` copies into these two the identifiers of patient and study by
            which an archive files them; nothing else ever holds any.
        options: Further choices; None for the defaults.
        allow_gap: See :func:`kcalc.io.read_volume`, like the next two.
        untilt: Accept a tilted gantry.
        resample: Accept a spacing that changes and slices that are not axial.
        assume_spacing_mm: See :func:`kcalc.io.read_volume`.
        assume_hu: Take DICOM slices without rescale tags for HU.
        phase: See :func:`kcalc.io.read_volume`.
        progress: Called as the work goes on.

    Raises:
        InputError: The scan or the mask is refused.
        UnfitError: ``KVP_UNKNOWN``, the tube voltage is neither stated nor given;
            ``KVP_RANGE``, it has no adapted thresholds; ``REGISTER_FIT`` or
            ``REGISTER_ROI``, the scan is no head in a pose of one, or does not show the
            carotids.
        GeometryError: ``MODEL_SPACING``, the model needs another spacing.
        ModelError: The model is missing, damaged or for another task.
        UsageError: Choices that exclude each other; ``PACKAGE``, registration needs
            SimpleITK.
        ResourceError: The output folder cannot be written, or holds something else.
        ValueError: An argument breaks these rules, such as an unknown rule.
    """
    from kcalc.io import read_volume
    from kcalc.io.nifti import write_nifti

    began = time.perf_counter()
    report = progress or _silent
    options = options or ScoreOptions()
    target = options.target_preset
    scoring_rule = leading_rule(rule, options)
    refuse_contradictions(
        options,
        model=model is not None,
        mask=mask_path is not None,
        mask_labels=mask_labels is not None,
        mass_calibration=mass_calibration,
        dicom=dicom,
        phi=phi,
    )
    with result_folder(output_directory, SCORE_FILE) as folder:
        report("Reading the scan", 0, 0)
        volume = read_volume(
            input_path,
            series=series,
            tube_voltage_kvp=tube_voltage_kvp,
            allow_gap=allow_gap,
            untilt=untilt,
            resample=resample,
            assume_spacing_mm=assume_spacing_mm,
            phase=phase,
            unit="HU" if assume_hu else None,
        )
        seen, volume = volume, scored_volume(volume)
        identity = dicom_identity(volume, input_path, phi) if dicom else None
        beam_rule, beam_findings = rule_for_beam(
            scoring_rule, options, volume.acquisition
        )
        # What the user gave is refused before the network runs.
        vessels = read_vessels(options.vessels_path, volume)
        calibration = calibration_of(volume, mass_calibration, options)
        percentiles = read_percentiles(options)
        given = None
        if mask_path is not None:
            given = read_given_mask(mask_path, volume, mask_labels)
        grid = NETWORK_GRID if given is not None else grid_of(model, target)
        placed = registered(seen, options, grid, report)
        on_grid = None
        if given is None:
            shown = seen if placed is None else placed.scan.volume
            found = find_calcium(model, target, shown, report)
            on_grid = found.mask
            found = replace(found, mask=on_scored_grid(on_grid, shown, volume))
        else:
            found = given
        if vessels is not None:
            found = with_nearest_vessels(
                found, vessels, volume, options.vessel_distance_mm
            )
        found = restricted_to(found, target)
        report("Scoring", 0, 0)
        facts: dict[str, Any] = {
            "tube_voltage_kvp": None
            if options.kev is not None
            else volume.acquisition.tube_voltage_kvp,
            "slice_thickness_mm": volume.acquisition.slice_thickness_mm,
            "vessels": found.vessels,
            "mass_calibration": None
            if calibration is None
            else calibration.mg_per_ml_per_hu,
        }
        score = calcium_score(
            volume.array, found.mask, volume.spacing_mm, rule=beam_rule, **facts
        )
        network = score_on_network_grid(
            placed, on_grid, found, volume, beam_rule, facts
        )
        all_rules = under_all_rules(rule, volume, found.mask, options, facts)
        mask = calcium_of(volume.array, found.mask, score.rule)
        mask_on_slices = calcium_on_slices(seen, mask, volume, score.rule)
        record = score_record(
            score,
            volume,
            found.mask,
            model=found.model,
            findings=(
                *network.findings,
                *found.findings,
                *beam_findings,
                *standing_findings(volume, score, calibration, options),
            ),
            packages=(*found.packages, *network.packages),
            grid=grid_facts(seen, volume, mask_on_slices),
            derived=derived_values(
                volume,
                found.mask,
                score,
                options,
                calibration=calibration,
                vessels=vessels,
                percentiles=percentiles,
                vessel_map=found.vessel_map,
            )
            | {"all_rules": all_rules, "network_grid": network.record},
        )
        pictures, num_left_out = lesion_pictures(
            volume,
            found.mask,
            score,
            progress=lambda done, total: report("Drawing pictures", done, total),
        )
        report("Writing the results", 0, 0)
        html = render_html(
            record,
            pictures,
            num_left_out=num_left_out,
            registration=network.pictures(),
        )
        write_text(folder / REPORT_FILE, html)
        write_text(folder / LESIONS_FILE, lesions_csv(record["lesions"]))
        write_nifti(folder / MASK_FILE, mask, volume.geometry)
        stored = seen.as_stored()
        if volume.source is not None and stored is not None:
            write_nifti(folder / STORED_MASK_FILE, mask_on_slices, stored.geometry)
        network.write_mask(folder / NETWORK_MASK_FILE)
        if dicom:
            write_dicom(folder, volume, mask, score, record, identity)
        record = write_record(folder / SCORE_FILE, record)
    seconds = time.perf_counter() - began
    return ScanResult(
        score=score,
        volume=volume,
        mask=mask,
        mask_on_slices=mask_on_slices,
        record=record,
        directory=Path(output_directory),
        seconds_network=found.seconds_network,
        seconds_rest=seconds - found.seconds_network,
        on_network_grid=network.scan,
    )


def _silent(stage: str, done: int, total: int) -> None:
    """Report no progress."""
