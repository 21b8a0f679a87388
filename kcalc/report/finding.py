"""One paragraph to copy into a report: a record enters, plain text leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NON_STANDARD_WORDS: Mapping[str, str] = {
    "KVP": "not 120 kVp",
    "KEV": "mono-energetic image",
    "SPECTRAL": "mono- or multi-energy image",
    "KVP_NOT_ADAPTED": "thresholds not adapted",
    "PROTOCOL": "slices not 2.5 to 3 mm thick",
    "NOT_GATED": "no ECG gating stated",
    "FOV": "heart cut",
    "GEOM_GAP": "missing slices interpolated",
    "GEOM_RESAMPLED": "slices resampled",
    "LOSSY": "irreversible compression",
    "CONTRAST": "contrast medium",
}
"""What each code of :mod:`kcalc.scoring.standard` means, in a few words."""


def finding_text(record: Mapping[str, Any]) -> str:
    """Return the result as one paragraph, with its rule and its reservations.

    It holds nothing of the patient but the age and sex that the caller gave for a
    percentile.

    Args:
        record: What ``score.json`` holds.
    """
    sentences = (
        _scan(record),
        _score(record),
        _network_grid(record),
        _lesions(record),
        _classes(record),
        _percentile(record),
        _ordinal(record),
        _aortic_valve(record),
        _standing(record),
        f"Rule: {record['rule']['name']}.",
        record["notice"],
    )
    return " ".join(sentence for sentence in sentences if sentence)


def non_standard_words(record: Mapping[str, Any]) -> str:
    """Return why the acquisition is not a standard one, "" where it is."""
    return ", ".join(
        NON_STANDARD_WORDS.get(code, code)
        for code in record["non_standard_acquisition"]
    )


def percentile_words(found: Mapping[str, Any]) -> str:
    """Return a percentile in words."""
    people = f"age {found['age']:g}, {found['sex']}"
    people += f", {found['group']}" if found["group"] else ""
    above, at_most = found["above"], found["at_most"]
    if at_most >= 100:
        return f"above the {_nth(above)} percentile ({people})"
    if above <= 0:
        return f"at or below the {_nth(at_most)} percentile ({people})"
    return f"between the {_nth(above)} and the {_nth(at_most)} percentile ({people})"


def _nth(number: float) -> str:
    """Return a number as an ordinal, such as 1st, 12th or 97.5th."""
    text = f"{number:g}"
    if text.endswith(("11", "12", "13")) or "." in text:
        return f"{text}th"
    return text + {"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th")


def _scan(record: Mapping[str, Any]) -> str:
    facts, spacing_mm = record["acquisition"], record["spacing_mm"]
    voltage, thickness = facts["tube_voltage_kvp"], facts["slice_thickness_mm"]
    beam = "" if voltage is None else f"{voltage:g} kVp, "
    slices = f"slices every {spacing_mm[0]:.3g} mm"
    if thickness is not None:
        slices = f"slices of {thickness:g} mm every {spacing_mm[0]:.3g} mm"
    return f"{record['target']['title']} on CT ({beam}{slices})."


def _score(record: Mapping[str, Any]) -> str:
    parts = []
    if record["agatston"] is not None:
        parts.append(f"Agatston score {record['agatston']:.1f}")
        if record["agatston"] != record["coronary_agatston"]:
            if record["risk_category"] is not None:
                parts[0] += f", of it coronary {record['coronary_agatston']:.1f}"
    volume, isotropic = record["volume_mm3"], record["volume_isotropic_mm3"]
    interpolated = (
        ""
        if isotropic is None
        else f" (after isotropic interpolation {isotropic:.1f} mm3)"
    )
    parts.append(f"volume {volume:.1f} mm3{interpolated}")
    if record["mass_mg"] is not None:
        source = (record["mass_calibration"] or {}).get("source", "given")
        parts.append(
            f"mass {record['mass_mg']:.2f} mg hydroxyapatite ({source} calibration)"
        )
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _network_grid(record: Mapping[str, Any]) -> str:
    grid = record["network_grid"]
    if grid is None:
        return ""
    return f"On the network's grid {grid['volume_mm3']:.1f} mm3."


def _lesions(record: Mapping[str, Any]) -> str:
    count = record["num_lesions"]
    text = f"{count} lesion{'' if count == 1 else 's'}"
    vessels = record["per_vessel"]
    if vessels is None:
        return f"{text}."
    key = "volume_mm3" if record["agatston"] is None else "agatston"
    unit = " mm3" if key == "volume_mm3" else ""
    by_vessel = ", ".join(
        f"{name} {total[key]:.1f}{unit}" for name, total in vessels.items()
    )
    return f"{text}. By vessel: {by_vessel}."


def _classes(record: Mapping[str, Any]) -> str:
    if record["risk_category"] is None:
        return ""
    kind = " (orCaScore)" if record["risk_classes"] == "orcascore" else ""
    return (
        f"Risk category {record['risk_category']}{kind}, CAC-DRS {record['cac_drs']}."
    )


def _percentile(record: Mapping[str, Any]) -> str:
    found = record["percentile"]
    return "" if found is None else f"The score lies {percentile_words(found)}."


def _ordinal(record: Mapping[str, Any]) -> str:
    found = record["ordinal"]
    if found is None:
        return ""
    grades = ", ".join(f"{name} {grade}" for name, grade in found["grades"].items())
    return f"Ordinal score {found['score']} of 12 ({grades})."


def _aortic_valve(record: Mapping[str, Any]) -> str:
    found = record["aortic_valve"]
    if found is None or found["class"] is None:
        return ""
    return f"By the cut-off for {found['sex']} sex: {found['class']}."


def _standing(record: Mapping[str, Any]) -> str:
    words = non_standard_words(record)
    return f"Non-standard acquisition: {words}." if words else ""
