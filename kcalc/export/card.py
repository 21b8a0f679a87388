"""The model card: figures and facts enter, MODEL_CARD.md leaves.

The order is the one that reviewers expect (FDA transparency principles for
machine-learning-enabled devices, 2024): intended use, what it is not for, data,
performance, limitations, human oversight, change log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcalc.data import CaseStore
from kcalc.evaluation import case_table, markdown_table

REAL_SCANS_COMMAND = "python benchmarks/real_scans.py --model MODEL --out OUT"
_MAX_PLACES = 10

_HEAD = """# {name}

Coronary calcium on non-contrast CT: Hounsfield units in, a mask out.
**Research use only. Not a medical device; not for diagnosis.**
{facts}

## Intended use

Research on coronary calcium in non-contrast chest and cardiac CT at 120 kVp: a first
mask for a reader to check, and experiments on serving and scoring. Input is a scan in
Hounsfield units, output a mask; the score is made from the mask under a named rule.

## Out of scope

Diagnosis, triage or any decision on a patient. Contrast-enhanced scans. Patients under
18. Coronary stents, and patients after bypass surgery (clips, wires). Other calcium,
such as that of valves, aorta or carotid arteries. Scans that kcalc refuses.
"""

_TAIL = """
## Human oversight

Someone trained to read cardiac CT checks every lesion before a number is used:
`kcalc score` shows each slice with a lesion in `report.html` and writes
`mask.nii.gz`, which can be edited in a viewer and scored again with `--mask`. A score
of 0 needs the same check as any other.
"""


def model_card(
    name: str,
    *,
    network: str,
    recipe_file: str,
    run: Mapping[str, Any],
    trained_on: str,
    store: CaseStore,
    evaluation: Mapping[str, Any],
    real_scans: Mapping[str, Any] | None,
    threshold: float,
    component_share: float | None,
    limitations: Sequence[str],
    changes: Sequence[str],
) -> str:
    """Return the card of a coronary calcium model in Markdown.

    Args:
        name: Name of the model.
        network: Architecture and its source.
        recipe_file: Recipe in ``recipes/``.
        run: ``run.json`` of the training.
        trained_on: Where the cases came from, in a sentence or two.
        store: The cases.
        evaluation: What :func:`kcalc.evaluation.figures` gave.
        real_scans: What ``benchmarks/real_scans.py`` wrote, or None.
        threshold: Probability at and above which a voxel gets the network's vote.
        component_share: Share of a component that makes it calcium, or None.
        limitations: Lines on what is known to go wrong.
        changes: Lines of the change log.
    """
    recipe, best = run["recipe"], run["best"]
    facts = (
        f"Network: {network}, {run['parameters']} parameters.",
        f"Trained by `recipes/{recipe_file}`, recipe `{recipe['name']}`, seed "
        f"{run['seed']}, commit {run['git']['commit']}"
        f"{' with uncommitted changes' if run['git']['dirty'] else ''}.",
        f"Kept: epoch {best['epoch']} of {recipe['training']['epochs']}, the best by "
        f"pixel F1 on validation slices, {best['val_f1']:.3f} (probability >= "
        f"{recipe['threshold']} and >= 130 HU).",
        f"Mask: {_mask_rule(threshold, component_share)}",
    )
    return "\n".join(
        (
            _HEAD.format(name=name, facts=_bullets(facts)),
            f"## Data\n\n{trained_on}\n\n{case_table(store)}\n",
            _performance(evaluation),
            _real_scans(real_scans),
            f"## Limitations\n{_bullets(limitations)}",
            _TAIL,
            f"## Change log\n{_bullets(changes)}\n",
        )
    )


def _mask_rule(threshold: float, component_share: float | None) -> str:
    voxel = f"probability >= {threshold} and >= 130 HU"
    if component_share is None:
        return f"voxels of {voxel}."
    return (
        "each 8-connected component of a slice's voxels >= 130 HU, whole, if at least "
        f"{component_share:.0%} of it has {voxel}; else no part of it."
    )


def _performance(evaluation: Mapping[str, Any]) -> str:
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
        "## Performance on held-out cases\n\n"
        "By the recipe's `evaluate`, whole scans of the test split, network against "
        f"label, rule `{evaluation['rule']}`. Pixel F1 is over all pixels of a row's "
        "cases together; errors are in Agatston points, the bias is the mean of "
        f"network minus label.\n\n{markdown_table(rows)}\n"
    )


def _real_scans(figures: Mapping[str, Any] | None) -> str:
    parts = ["## Real scans (measured once, after the model was frozen)\n"]
    if figures is None:
        return f"{parts[0]}\nNot measured. Command: `{REAL_SCANS_COMMAND}`\n"
    sha256 = figures["model"]["weights_sha256"]
    parts.append(
        f"By `{REAL_SCANS_COMMAND}`, on the weights of sha256 {sha256[:16]}.\n"
    )
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


def _bullets(lines: Sequence[str]) -> str:
    return "".join(f"\n- {line}" for line in lines)
