"""The result in a few lines for a terminal: a record enters, text leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kcalc.report.all_rules import all_rules_lines
from kcalc.report.finding import non_standard_words, percentile_words
from kcalc.report.registration import network_grid_words


def summary_lines(record: Mapping[str, Any]) -> list[str]:
    """Return the result in lines of text, findings included.

    Args:
        record: What ``score.json`` holds.
    """
    rows = (
        *_target(record),
        *_agatston(record),
        *_volume_and_mass(record),
        *_network_grid(record),
        ("Lesions", record["num_lesions"]),
        *_vessels(record),
        *further_numbers(record),
        ("Rule", f"{record['rule']['name']}: {record['rule']['description']}"),
        *_grid(record),
    )
    return [
        *(f"{name:<16}{value}" for name, value in rows),
        *all_rules_lines(record),
        *(
            f"{finding['kind']} {finding['code']}: {finding['message']}"
            for finding in record["findings"]
        ),
    ]


def further_numbers(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return name and value of what stands beside score, volume and mass.

    Args:
        record: What ``score.json`` holds.
    """
    rows = []
    if record["volume_isotropic_mm3"] is not None:
        rows.append(("Isotropic vol.", f"{record['volume_isotropic_mm3']:.1f} mm3"))
    if record["percentile"] is not None:
        rows.append(("Percentile", percentile_words(record["percentile"])))
    ordinal = record["ordinal"]
    if ordinal is not None:
        grades = ", ".join(
            f"{name} {grade} ({ordinal['calcified_share'][name]:.0%} of its length)"
            for name, grade in ordinal["grades"].items()
        )
        rows.append(("Ordinal score", f"{ordinal['score']} of 12: {grades}"))
    valve = record["aortic_valve"]
    if valve is not None:
        words = f"{valve['class']} ({valve['sex']})"
        if valve["class"] is None:
            words = "not classed, for the sex was not given (--sex)"
        rows.append(("Stenosis", words))
    rows += _mass_source(record)
    indices = record["further_indices"]
    if indices is not None:
        rows += [
            ("Integrated mass", f"{indices['integrated_mass_mg']:.2f} mg"),
            ("Volume fraction", f"{indices['volume_fraction_mm3']:.1f} mm3"),
        ]
        if indices["spatially_weighted_score"] is not None:
            weighted = indices["spatially_weighted_score"]
            rows.append(("SWCS", f"{weighted:.1f} (spatially weighted score)"))
    return rows


def _target(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    target = record["target"]
    return [] if target["name"] == "coronary" else [("Target", target["title"])]


def _agatston(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    if record["agatston"] is None:
        return []
    text = f"{record['agatston']:.1f}"
    if record["risk_category"] is not None:
        kind = " of orCaScore" if record["risk_classes"] == "orcascore" else ""
        text += f"  (risk category{kind} {record['risk_category']}, "
        text += f"CAC-DRS {record['cac_drs']})"
        if record["agatston"] != record["coronary_agatston"]:
            text += f", coronary {record['coronary_agatston']:.1f}"
    rows = [("Agatston score", text)]
    words = non_standard_words(record)
    if words:
        rows.append(("", f"non-standard acquisition: {words}"))
    return rows


def _volume_and_mass(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    mass_mg = record["mass_mg"]
    mass = "no mass calibration" if mass_mg is None else f"{mass_mg:.2f} mg"
    return [("Volume", f"{record['volume_mm3']:.1f} mm3"), ("Mass", mass)]


def _network_grid(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    grid = record["network_grid"]
    if grid is None:
        return []
    text = f"{grid['volume_mm3']:.1f} mm3 on {network_grid_words(record)}"
    return [("Network's grid", text)]


def _mass_source(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    calibration = record["mass_calibration"]
    if calibration is None:
        return []
    source = {
        "given": "given",
        "population": "mean of a population at 120 kVp",
        "rod": "calibration rod in the scan",
    }[calibration["source"]]
    text = f"{calibration['mg_per_ml_per_hu']:.4g} mg/mL per HU, {source}"
    return [("Calibration", text)]


def _vessels(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    vessels = record["per_vessel"]
    if vessels is None:
        return []
    key = "volume_mm3" if record["agatston"] is None else "agatston"
    text = ", ".join(f"{name} {total[key]:.1f}" for name, total in vessels.items())
    source = record["vessel_map"] or {}
    if "max_distance_mm" in source:
        text += f" (nearest within {source['max_distance_mm']:g} mm)"
    return [("Vessels", text)]


def _grid(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    grid = record["grid"]
    return [] if grid is None else [("Grid", grid["description"])]
