"""What holds for every scan under a rule, and which presets it does not hold for.

A property is a function of a drawn case and a rule that says whether it held. Every
exception names its reason; tests show a counterexample for each, so that none is
listed without need.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kcalc.scoring import CalciumScore, ScoringRule, calcium_score

LEVELS_HU = (-1000, 40, 112, 113, 129, 130, 199, 200, 299, 300, 399, 400, 1200)
SPACING_MM = (2.5, 0.7, 0.7)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))


@dataclass(frozen=True)
class Case:
    """A small scan, a mask, a part of that mask, and how much brighter it gets."""

    scan: np.ndarray
    mask: np.ndarray
    part: np.ndarray
    brighter_hu: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a case."""
    shape = draw(shapes)
    scan = draw(hnp.arrays(np.int16, shape, elements=st.sampled_from(LEVELS_HU)))
    mask = draw(hnp.arrays(np.bool_, shape))
    part = mask & draw(hnp.arrays(np.bool_, shape))
    return Case(scan, mask, part, draw(st.integers(1, 300)))


def score(
    scan: np.ndarray,
    mask: np.ndarray,
    rule: ScoringRule,
    spacing_mm: tuple[float, ...] = SPACING_MM,
    **facts: object,
) -> CalciumScore:
    """Score with a thickness and a calibration, which some rules and values need."""
    return calcium_score(
        scan,
        mask,
        spacing_mm,
        rule=rule,
        slice_thickness_mm=spacing_mm[0],
        mass_calibration=0.8,
        **facts,  # type: ignore[arg-type]
    )


def _about(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


def nothing_scores_nothing(case: Case, rule: ScoringRule) -> bool:
    """An empty mask has score, volume and mass 0 and no lesion."""
    empty = score(case.scan, np.zeros_like(case.mask), rule)
    return (empty.agatston, empty.volume_mm3, empty.mass_mg, empty.lesions) == (
        0.0,
        0.0,
        0.0,
        (),
    )


def adds_up_over_lesions(case: Case, rule: ScoringRule) -> bool:
    """The score is the sum of its lesions."""
    whole = score(case.scan, case.mask, rule)
    return _about(whole.agatston, math.fsum(x.agatston for x in whole.lesions))


def adds_up_over_slices(case: Case, rule: ScoringRule) -> bool:
    """The score is the sum of its slices scored alone."""
    whole = score(case.scan, case.mask, rule)
    alone = [
        score(case.scan[z : z + 1], case.mask[z : z + 1], rule).agatston
        for z in range(len(case.scan))
    ]
    return _about(whole.agatston, math.fsum(alone))


def adds_up_over_vessels(case: Case, rule: ScoringRule) -> bool:
    """Score, volume and lesions are the sums of the vessels', whatever the map."""
    labels = np.indices(case.scan.shape).sum(axis=0) % 5
    whole = score(case.scan, case.mask, rule, vessels=labels)
    assert whole.per_vessel is not None
    parts = whole.per_vessel.values()
    return (
        _about(whole.agatston, math.fsum(p.agatston for p in parts))
        and _about(whole.volume_mm3, math.fsum(p.volume_mm3 for p in parts))
        and whole.num_lesions == sum(p.num_lesions for p in parts)
    )


_MOVES: tuple[tuple[Callable[[np.ndarray], np.ndarray], tuple[int, int, int]], ...] = (
    (lambda a: a[:, ::-1], (0, 1, 2)),
    (lambda a: a[:, :, ::-1], (0, 1, 2)),
    (lambda a: a[::-1], (0, 1, 2)),
    (lambda a: np.rot90(a, axes=(1, 2)), (0, 2, 1)),
    (lambda a: np.pad(a, ((1, 0), (3, 1), (0, 2))), (0, 1, 2)),
)


def unchanged_by_moves(case: Case, rule: ScoringRule) -> bool:
    """Flips, a quarter turn and a shift leave score, volume and lesions alone."""
    spacing_mm = (3.0, 0.5, 0.75)
    here = score(case.scan, case.mask, rule, spacing_mm)
    for move, order in _MOVES:
        there = score(
            move(case.scan), move(case.mask), rule, tuple(spacing_mm[i] for i in order)
        )
        if not (
            _about(here.agatston, there.agatston)
            and _about(here.volume_mm3, there.volume_mm3)
            and here.num_lesions == there.num_lesions
        ):
            return False
    return True


def doubled_pixels_quadruple_the_area(case: Case, rule: ScoringRule) -> bool:
    """Every lesion at 0.4 mm is one at 0.8 mm with four times the area."""
    near = score(case.scan, case.mask, rule, (3.0, 0.4, 0.4))
    far = score(case.scan, case.mask, rule, (3.0, 0.8, 0.8))
    far_mm2 = {x.centroid_index_zyx: x.area_mm2 for x in far.lesions}
    return all(
        _about(far_mm2.get(x.centroid_index_zyx, 0.0), 4 * x.area_mm2)
        for x in near.lesions
    )


def score_never_falls_as_calcium_grows(case: Case, rule: ScoringRule) -> bool:
    """A larger mask never has a smaller score or volume."""
    small, large = (score(case.scan, m, rule) for m in (case.part, case.mask))
    return _not_less(small.agatston, large.agatston) and _not_less(
        small.volume_mm3, large.volume_mm3
    )


def mass_never_falls_as_calcium_grows(case: Case, rule: ScoringRule) -> bool:
    """A larger mask never has a smaller mass."""
    small, large = (score(case.scan, m, rule) for m in (case.part, case.mask))
    return _not_less(small.mass_mg or 0.0, large.mass_mg or 0.0)


def nothing_falls_as_calcium_brightens(case: Case, rule: ScoringRule) -> bool:
    """A brighter mask never has a smaller score, volume or mass."""
    dim = score(case.scan, case.mask, rule)
    bright = score(case.scan + np.int16(case.brighter_hu) * case.mask, case.mask, rule)
    return (
        _not_less(dim.agatston, bright.agatston)
        and _not_less(dim.volume_mm3, bright.volume_mm3)
        and _not_less(dim.mass_mg or 0.0, bright.mass_mg or 0.0)
    )


def _not_less(low: float, high: float) -> bool:
    return low <= high + 1e-9


PROPERTIES: dict[str, Callable[[Case, ScoringRule], bool]] = {
    "nothing scores nothing": nothing_scores_nothing,
    "adds up over lesions": adds_up_over_lesions,
    "adds up over slices": adds_up_over_slices,
    "adds up over vessels": adds_up_over_vessels,
    "unchanged by flip, turn, shift": unchanged_by_moves,
    "doubled pixels quadruple the area": doubled_pixels_quadruple_the_area,
    "score never falls as calcium grows": score_never_falls_as_calcium_grows,
    "mass never falls as calcium grows": mass_never_falls_as_calcium_grows,
    "nothing falls as calcium brightens": nothing_falls_as_calcium_brightens,
}
"""Style.md section 7, by name."""

_TOTAL_ROUNDED = "the total is rounded to an integer, its parts are not"
_ACROSS = "a lesion of several slices is not the sum of its slices"
_DIM = "the mask counts whatever its HU, and voxels below 0 HU have negative mass"
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("adds up over lesions", "tiger"): _TOTAL_ROUNDED,
    ("adds up over slices", "tiger"): _TOTAL_ROUNDED,
    ("adds up over vessels", "tiger"): _TOTAL_ROUNDED,
    ("adds up over slices", "orcascore"): _ACROSS,
    ("adds up over slices", "ai_cac"): _ACROSS,
    ("adds up over slices", "ai_cac_default"): _ACROSS,
    ("adds up over slices", "dicom_viewer"): _ACROSS,
    ("adds up over slices", "comp2comp"): "specks are counted across slices",
    ("adds up over slices", "slicer_agatston"): _ACROSS,
    ("unchanged by flip, turn, shift", "fqm_literature"): (
        "samples between slices are counted from the first slice, so the volume "
        "depends on where the scan begins"
    ),
    ("nothing falls as calcium brightens", "fqm_literature"): (
        "a speck too small to be a lesion keeps its half of the gap between slices "
        "once it reaches 130 HU"
    ),
    ("score never falls as calcium grows", "ai_cac"): (
        "two lesions that join are rounded once instead of twice"
    ),
    ("score never falls as calcium grows", "ai_cac_default"): (
        "two lesions that join are rounded once instead of twice"
    ),
    ("mass never falls as calcium grows", "tiger"): _DIM,
    ("mass never falls as calcium grows", "deepcac"): _DIM,
    ("mass never falls as calcium grows", "ai_cac"): _DIM,
    ("mass never falls as calcium grows", "ai_cac_default"): _DIM,
}
"""(property, preset) with the reason why it does not hold."""
