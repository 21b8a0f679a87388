"""What a score is of: coronary arteries, aortic valve, thoracic aorta, carotid siphon.

Each target is a labelled preset: its own title, its labels in a vessel map, and its own
cut-offs. A number of one target is never printed under the name of another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kcalc.scoring.rules import ScoringRule

CORONARY_TASK = "coronary_calcium"
CAROTID_TASK = "intracranial_carotid_calcium"
"""What a network finds, by which a model and a target are matched."""

AORTIC_VALVE_CUT_OFFS: Mapping[str, float] = MappingProxyType(
    {"female": 1200.0, "male": 2000.0}
)
"""Agatston score from which severe aortic stenosis is likely, by sex: ESC/EACTS 2021,
doi 10.1093/eurheartj/ehab395."""

ICAC_RULE = ScoringRule(
    name="icac_volume",
    source=(
        "Bortsova G et al., MICCAI 2017 (intracranial carotid artery from the petrous "
        "part to the circle of Willis: voxels above 130 HU)"
    ),
    threshold_comparison=">",
    connectivity=26,
    slice_scaling="none",
)
"""Volume of every voxel above 130 HU; its lesions are for the table alone."""


@dataclass(frozen=True)
class Target:
    """One labelled preset.

    Args:
        name: Its name as an option.
        title: What the report is headed with.
        labels: Labels of :mod:`kcalc.anatomy` that belong to it; () takes the mask
            as it is.
        has_classes: Whether the coronary risk classes and CAC-DRS apply.
        has_agatston: Whether an Agatston score is given.
        rule: Its own rule, None where the user chooses.
        note: What to know about the number.
        task: What a network must find for it; None where no network does.
    """

    name: str
    title: str
    labels: tuple[int, ...] = ()
    has_classes: bool = False
    has_agatston: bool = True
    rule: ScoringRule | None = None
    note: str = ""
    task: str | None = None


_TARGETS = (
    Target("coronary", "Coronary artery calcium", has_classes=True, task=CORONARY_TASK),
    Target(
        "coronary-ordinal",
        "Coronary artery calcium with ordinal score",
        has_classes=True,
        note=(
            "The ordinal score, 0 to 12, is for chest CT without ECG gating; each "
            "artery's grade is the calcified share of its segmented length, after the "
            "visual score of Shemesh 2010, doi 10.1148/radiol.10100383."
        ),
        task=CORONARY_TASK,
    ),
    Target(
        "aortic-valve",
        "Aortic valve calcium",
        labels=(6,),
        note=(
            "Severe aortic stenosis is likely from 1200 in women and 2000 in men "
            "(ESC/EACTS 2021, doi 10.1093/eurheartj/ehab395)."
        ),
    ),
    Target(
        "thoracic-aorta",
        "Thoracic aortic calcium",
        labels=(5,),
        note="No class is agreed for the thoracic aorta.",
    ),
    Target(
        "icac",
        "Intracranial carotid artery calcium",
        has_agatston=False,
        rule=ICAC_RULE,
        note="Volume alone, of voxels above 130 HU; it has no weights and no classes.",
        task=CAROTID_TASK,
    ),
)

TARGETS: Mapping[str, Target] = MappingProxyType({t.name: t for t in _TARGETS})
"""The labelled presets by name; read-only."""


def aortic_valve_class(agatston: float, sex: str) -> str:
    """Return what an aortic-valve score says of stenosis at the cut-off of a sex.

    Args:
        agatston: Agatston score of the aortic valve, finite and at least 0.
        sex: ``"female"`` (1200) or ``"male"`` (2000).

    Raises:
        ValueError: The score or the sex is none.

    Example:
        >>> aortic_valve_class(1200, "female"), aortic_valve_class(1999.9, "male")
        ('severe stenosis likely', 'below the cut-off')
    """
    if not (math.isfinite(agatston) and agatston >= 0):
        raise ValueError(
            "An Agatston score must be finite and at least 0. "
            f"Received: agatston={agatston}"
        )
    if sex not in AORTIC_VALVE_CUT_OFFS:
        raise ValueError(f"sex must be 'female' or 'male'. Received: sex={sex!r}")
    likely = agatston >= AORTIC_VALVE_CUT_OFFS[sex]
    return "severe stenosis likely" if likely else "below the cut-off"
