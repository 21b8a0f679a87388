"""The record of one result: what ``score.json`` holds and every report is made from."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc._version import NOTICE, __version__
from kcalc.anatomy import CORONARY_VESSELS
from kcalc.report.finding import finding_text
from kcalc.scoring import TARGETS, CalciumScore, ScoringRule
from kcalc.scoring.components import calcium_voxels
from kcalc.scoring.rule_words import volume_in_words
from kcalc.scoring.standard import non_standard
from kcalc.volume import Finding, Volume

RECORD_SCHEMA = 1
"""Number of the form of ``score.json``; it rises when a key changes its meaning."""

_PLAIN: dict[str, Any] = {
    "all_rules": None,
    "network_grid": None,
    "target": {"name": "coronary", "title": TARGETS["coronary"].title, "note": ""},
    "volume_isotropic_mm3": None,
    "risk_classes": "common",
    "mass_calibration": None,
    "vessel_map": None,
    "percentile": None,
    "aortic_valve": None,
    "ordinal": None,
    "further_indices": None,
}
_ACQUISITION_KEYS = (
    "modality",
    "tube_voltage_kvp",
    "slice_thickness_mm",
    "convolution_kernel",
    "manufacturer",
    "manufacturer_model_name",
)


def score_record(
    score: CalciumScore,
    volume: Volume,
    mask: npt.NDArray[Any],
    *,
    model: Mapping[str, Any] | None,
    findings: Sequence[Finding] = (),
    packages: Sequence[str] = ("numpy", "scipy"),
    grid: Mapping[str, Any] | None = None,
    derived: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return all that is known of a result, as plain values for JSON.

    It holds no date, no path and nothing of the patient but the age, sex and group that
    the caller gave for a percentile or a cut-off, so that the same input gives the same
    bytes and a result can be passed on.

    Args:
        score: The score.
        volume: The scan.
        mask: (z, y, x), nonzero where calcium was looked for.
        model: Name, version and further facts of the network; None if the mask was
            given.
        findings: Further findings, after the reader's and before the score's.
        packages: Distributions whose versions are recorded.
        grid: On which grid the score was taken, with its ``description``; None says
            nothing of it.
        derived: Entries that say more than the score or correct it, such as target,
            classes, percentile, further indices and the scores under all rules; None
            for a plain coronary score under one rule.
    """
    values = score.to_dict() | _PLAIN | dict(derived or {})
    for lesion in values["lesions"]:
        position = volume.geometry.index_to_mm(lesion["centroid_index_zyx"])
        lesion["centroid_xyz_mm"] = [round(float(value), 3) for value in position]
    facts = asdict(volume.acquisition)
    _, calcium_hu, _ = calcium_voxels(volume.array, mask, score.rule)
    values.pop("warnings")
    if values["agatston"] is None:
        _leave_out_agatston(values, score.rule)
    merged = merged_findings(volume, findings, score)
    record = {
        "schema": RECORD_SCHEMA,
        "notice": NOTICE,
        **values,
        "findings": [asdict(finding) for finding in merged],
        "non_standard_acquisition": list(non_standard(f.code for f in merged)),
        "mask": {
            "voxels": int(np.count_nonzero(mask)),
            "calcium_voxels": len(calcium_hu),
            "scored_voxels": sum(lesion.num_pixels for lesion in score.lesions),
        },
        "model": None if model is None else dict(model),
        "acquisition": {key: facts[key] for key in _ACQUISITION_KEYS},
        "grid": None if grid is None else dict(grid),
        "shape_zyx": list(volume.shape),
        "input": {"voxels_sha256": _digest(volume.array)},
        "versions": _versions(packages),
    }
    return record | {"finding_text": finding_text(record)}


def _leave_out_agatston(values: dict[str, Any], rule: ScoringRule) -> None:
    """Set what belongs to an Agatston score to None, in lesions and vessels too."""
    values["rule"]["description"] = volume_in_words(rule)
    for lesion in values["lesions"]:
        lesion |= {"agatston": None, "weight": None}
    if values["per_vessel"] is not None:
        values["per_vessel"] = without_coronary(values["per_vessel"])
        for total in values["per_vessel"].values():
            total["agatston"] = None


def without_coronary(totals: Mapping[str, Any]) -> dict[str, Any]:
    """Return totals by vessel without those of coronary arteries that are empty."""
    names = {vessel.name for vessel in CORONARY_VESSELS}
    return {
        name: total
        for name, total in totals.items()
        if name not in names or total["num_lesions"]
    }


def merged_findings(
    volume: Volume, findings: Sequence[Finding], score: CalciumScore
) -> tuple[Finding, ...]:
    """Return reader's, further and score's findings, each code and text once.

    Where the reader and the score warn under one code, the score's words stay: they
    say what the fact did to the number.
    """
    from_score = []
    for warning in score.warnings:
        code, _, message = warning.partition(": ")
        from_score.append(Finding(code, message, "warning"))
    codes = {finding.code for finding in from_score}
    others = [
        finding
        for finding in (*volume.findings, *findings)
        if finding.code not in codes or finding.kind != "warning"
    ]
    return tuple(dict.fromkeys((*others, *from_score)))


def _digest(array: npt.NDArray[Any]) -> str:
    little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return hashlib.sha256(little_endian.data).hexdigest()


def _versions(packages: Sequence[str]) -> dict[str, str]:
    versions = {"kcalc": __version__, "python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions
