"""The model card: figures and facts enter, MODEL_CARD.md leaves.

The order is the one that reviewers expect (FDA transparency principles for
machine-learning-enabled devices, 2024): intended use, what it is not for, data,
performance, limitations, human oversight, change log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kcalc.data import CaseStore
from kcalc.evaluation import case_table


@dataclass(frozen=True)
class CardSubject:
    """What all cards of one kind of calcium say.

    Args:
        headline: What goes in and what comes out.
        intended_use: What the model is for.
        out_of_scope: What it is not for.
        human_oversight: Who checks what.
    """

    headline: str
    intended_use: str
    out_of_scope: str
    human_oversight: str


CORONARY = CardSubject(
    headline="Coronary calcium on non-contrast CT: Hounsfield units in, a mask out.",
    intended_use="""\
Research on coronary calcium in non-contrast chest and cardiac CT at 120 kVp: a first
mask for a reader to check, and experiments on serving and scoring. Input is a scan in
Hounsfield units, output a mask; the score is made from the mask under a named rule.""",
    out_of_scope="""\
Diagnosis, triage or any decision on a patient. Contrast-enhanced scans. Patients under
18. Coronary stents, and patients after bypass surgery (clips, wires). Other calcium,
such as that of valves, aorta or carotid arteries. Scans that kcalc refuses.""",
    human_oversight="""\
Someone trained to read cardiac CT checks every lesion before a number is used:
`kcalc score` shows each slice with a lesion in `report.html` and writes
`mask.nii.gz`, which can be edited in a viewer and scored again with `--mask`. A score
of 0 needs the same check as any other.""",
)

CAROTID = CardSubject(
    headline=(
        "Calcium of the intracranial carotid arteries on non-contrast head CT: "
        "Hounsfield units in, a mask out."
    ),
    intended_use="""\
Research on intracranial carotid artery calcification (ICAC), petrous part to circle of
Willis, in non-contrast head CT: a first mask for a reader to check, and its volume.
Input is a scan in Hounsfield units on the model's grid; `kcalc score --target icac`
brings a scan there where it is asked to.""",
    out_of_scope="""\
Diagnosis, triage or any decision on a patient. Contrast-enhanced scans. Patients under
18. Aneurysm clips, coils and stents near the skull base. Other calcium, such as that of
vertebral arteries, falx, pineal gland or plexus. Scans that kcalc refuses.""",
    human_oversight="""\
Someone trained to read head CT checks every lesion before a volume is used:
`kcalc score` shows each slice with a lesion in `report.html` and writes
`mask.nii.gz`, which can be edited in a viewer and scored again with `--mask`. Bone
beside the artery is what a network takes for calcium first. A volume of 0 needs the
same check as any other.""",
)


def model_card(
    name: str,
    subject: CardSubject,
    *,
    network: str,
    recipe_file: str,
    run: Mapping[str, Any],
    kept: str,
    mask: str,
    trained_on: str,
    store: CaseStore,
    performance: str,
    real_scans: str,
    limitations: Sequence[str],
    changes: Sequence[str],
) -> str:
    """Return a model's card in Markdown.

    Args:
        name: Name of the model.
        subject: ``CORONARY`` or ``CAROTID``.
        network: Architecture and its source.
        recipe_file: Recipe in ``recipes/``.
        run: ``run.json`` of the training.
        kept: By what the kept epoch is the best, with the figure.
        mask: When a voxel is in the mask.
        trained_on: Where the cases came from, in a sentence or two.
        store: The cases.
        performance: On held-out cases, in Markdown without a heading.
        real_scans: On real scans, likewise.
        limitations: Lines on what is known to go wrong.
        changes: Lines of the change log.
    """
    recipe = run["recipe"]
    facts = (
        f"Network: {network}, {run['parameters']} parameters.",
        f"Trained by `recipes/{recipe_file}`, recipe `{recipe['name']}`, seed "
        f"{run['seed']}, commit {run['git']['commit']}"
        f"{' with uncommitted changes' if run['git']['dirty'] else ''}.",
        f"Kept: epoch {run['best']['epoch']} of {recipe['training']['epochs']}, the "
        f"best by {kept}.",
        f"Mask: {mask}",
    )
    sections = {
        "Intended use": subject.intended_use,
        "Out of scope": subject.out_of_scope,
        "Data": f"{trained_on}\n\n{case_table(store)}",
        "Performance on held-out cases": performance,
        "Real scans (measured once, after the model was frozen)": real_scans,
        "Limitations": _bullets(limitations),
        "Human oversight": subject.human_oversight,
        "Change log": _bullets(changes),
    }
    head = (
        f"# {name}\n\n{subject.headline}\n"
        "**Research use only. Not a medical device; not for diagnosis.**\n\n"
        f"{_bullets(facts)}\n"
    )
    return head + "".join(
        f"\n## {title}\n\n{text.strip()}\n" for title, text in sections.items()
    )


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
