"""What a coronary model's card says of its figures, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kcalc.evaluation import markdown_table

REAL_SCANS_COMMAND = "python benchmarks/real_scans.py --model MODEL --out OUT"
_MAX_PLACES = 10


def mask_rule(threshold: float, component_share: float | None) -> str:
    """Return when a voxel is in the mask.

    Args:
        threshold: Probability at and above which a voxel gets the network's vote.
        component_share: Share of a component that makes it calcium, or None.
    """
    voxel = f"probability >= {threshold} and >= 130 HU"
    if component_share is None:
        return f"voxels of {voxel}."
    return (
        "each 8-connected component of a slice's voxels >= 130 HU, whole, if at least "
        f"{component_share:.0%} of it has {voxel}; else no part of it."
    )


def performance(evaluation: Mapping[str, Any]) -> str:
    """Return what :func:`kcalc.evaluation.figures` gave."""
    kinds = {"all": evaluation["overall"], **evaluation["by_kind"]}
    rows = [
        {
            "kind": kind,
            "cases (patients)": f"{figures['cases']} ({figures['patients']})",
            "pixel F1": f"{figures['pixel_f1']:.3f}",
            "Agatston bias": f"{figures['agatston_bias']:+.1f}",
            "median absolute error": (
                f"{figures['median_absolute_agatston_error']:.1f}"
            ),
            "same risk category": f"{figures['risk_category_agreement']:.3f}",
            "no calcium, scored 0": (
                f"{figures['of_these_scored_zero']} of "
                f"{figures['cases_without_calcium']}"
            ),
        }
        for kind, figures in kinds.items()
    ]
    return (
        "By the recipe's `evaluate`, whole scans of the test split, network against "
        f"label, rule `{evaluation['rule']}`. Pixel F1 is over all pixels of a row's "
        "cases together; errors are in Agatston points, the bias is the mean of "
        f"network minus label.\n\n{markdown_table(rows)}\n"
    )


def real_scans(figures: Mapping[str, Any] | None) -> str:
    """Return what ``benchmarks/real_scans.py`` wrote; None where it has not run."""
    if figures is None:
        return f"Not measured. Command: `{REAL_SCANS_COMMAND}`"
    sha256 = figures["model"]["weights_sha256"]
    parts = [f"By `{REAL_SCANS_COMMAND}`, on the weights of sha256 {sha256[:16]}.\n"]
    if "qrm" in figures:
        qrm = figures["qrm"]
        parts.append(
            "QRM calcium phantom (MolloiLab/CAC-stanford-data; 120 kVp, 3 mm), rule "
            f"`{qrm['rule']}`: Agatston {qrm['agatston_total']:.1f} against "
            f"{qrm['agatston_of_inserts_by_rule']:.1f} that the rule gives over the "
            f"nine inserts, ratio {qrm['ratio']:.3f} (aim 0.85 to 1.15); "
            f"{qrm['points_outside_inserts']:.1f} points outside them (aim at most "
            "10).\n"
        )
    if "chest" in figures:
        parts.append(_chest(figures["chest"]))
    return "\n".join(parts)


def _chest(chest: Mapping[str, Any]) -> str:
    places = list(chest["where"])
    text = (
        "Chest CT (TCIA Lung-PET-CT-Dx A0001, 120 kVp, 5 mm; no unmistakable coronary "
        "calcium, a heavy plaque of the aortic arch), rule "
        f"`{chest.get('rule', 'agatston_1990')}`: Agatston {chest['agatston']:.1f}, "
        f"volume {chest['volume_mm3']:.1f} mm3, {chest['num_lesions']} lesions.\n"
    )
    if not places:
        return text
    left_out = len(places) - _MAX_PLACES
    rest = f"\n\n{left_out} lesions more.\n" if left_out > 0 else "\n"
    return f"{text}\n{markdown_table(places[:_MAX_PLACES])}{rest}"
