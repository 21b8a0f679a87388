"""The presets: scoring rules by name, each with the source it follows.

``remarks`` say which faults of its origin a preset keeps and where it departs from it.
Origins were read at the versions named; their numbers are facts, none of their code is
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from kcalc.scoring.rules import AGATSTON_BINS, KvpRow, ScoringRule

_FQM = ScoringRule(
    name="fqm",
    source=(
        "FQM: van Praagh GD et al., Med Phys 2021, doi 10.1002/mp.14912; limits and "
        "thresholds of its MATLAB code (CACscore.m, version 1.0)"
    ),
    remarks=(
        "8-connected, as the scores published for the MolloiLab scan need, where the "
        "published code has 4-connected. Its Python code drops a lesion of exactly the "
        "minimum. At 100 kVp the threshold is 147 HU and the density bins stay at "
        "130/200/300/400, as in both codes; no other voltage is defined."
    ),
    kvp_table=(KvpRow(100, 147, AGATSTON_BINS), KvpRow(120, 130, AGATSTON_BINS)),
    only_listed_kvp=True,
)


def _fqm(name: str, method: str, remarks: str = "", **changes: object) -> ScoringRule:
    """Return FQM's rule for one vendor's method."""
    words = f"{_FQM.remarks} {remarks}".strip()
    source = f"{_FQM.source}, method {method}"
    return replace(_FQM, name=name, source=source, remarks=words, **changes)  # type: ignore[arg-type]


_AI_CAC = ScoringRule(
    name="ai_cac",
    source=(
        "AI-CAC: Raffi-Hagopian/AI-CAC v1.0.0 (MIT), doi 10.1056/AIoa2400937, as its "
        "inference runs: more than 1 voxel"
    ),
    remarks=(
        "Keeps faults of its origin: one bright voxel sets the weight of a whole 3-D "
        "lesion; the score scales by the thickness of the first slice, so overlapping "
        "slices count twice; no 130 HU cut; the tube voltage is ignored; each lesion "
        "is rounded to an integer. Volume and mass are kcalc's: the origin gives none."
    ),
    threshold_hu=None,
    connectivity=6,
    weight_from="lesion",
    minimum_pixels=1,
    minimum_comparison=">",
    slice_scaling="thickness",
    lesion_decimals=0,
)

_PRESETS = (
    ScoringRule(
        name="agatston_1990",
        source=(
            "Agatston AS et al., J Am Coll Cardiol 1990, "
            "doi 10.1016/0735-1097(90)90282-T (contiguous 3 mm slices, electron-beam "
            "CT); 120 kVp, 8-connectivity and spacing / 3 mm are later conventions"
        ),
        minimum_area_mm2=1.0,
    ),
    _fqm("fqm_siemens", "Siemens"),
    _fqm(
        "fqm_philips",
        "Philips",
        "Volume and mass count lesions formed above 112.5 HU (99 / 0.88), at every "
        "voltage, with the same minimum.",
        minimum_area_mm2=0.5,
        volume_threshold_hu=112.5,
        volume_comparison=">",
    ),
    _fqm("fqm_ge", "GE", minimum_area_mm2=1.0),
    _fqm(
        "fqm_canon",
        "Canon",
        "More than 3 pixels, as its Python code has and its published scores need; its "
        "MATLAB code has at least 3.",
        minimum_pixels=3,
        minimum_comparison=">",
    ),
    _fqm(
        "fqm_literature",
        "literatureCAC",
        "Volume is interpolated between slices by kcalc, which looks at the lesions "
        "alone, where FQM looks at the whole insert.",
        minimum_area_mm2=1.0,
        volume_of="isotropic",
    ),
    ScoringRule(
        name="orcascore",
        source=(
            "orCaScore challenge, its evaluation page "
            "(orcascore.isi.uu.nl/evaluation, read in November 2026)"
        ),
        remarks=(
            "Threshold and 3-D 6-connectivity are published; its minimum lesion and "
            "its slice scaling are not: none and spacing / 3 mm are kcalc's defaults. "
            "Its risk classes (0-10, 11-100, 101-400, > 400) are not those shown."
        ),
        threshold_comparison=">",
        connectivity=6,
    ),
    ScoringRule(
        name="tiger",
        source="DIAGNijmegen/Tiger (Lessmann; Apache-2.0), tiger/metrics.py @03a29c0",
        remarks=(
            "No minimum, so that noise of one pixel counts. Volume and mass count the "
            "mask whatever its HU, though the score cuts at 130 HU. The mass of the "
            "origin is uncalibrated."
        ),
        total_decimals=0,
        volume_of="mask",
    ),
    ScoringRule(
        name="deepcac",
        source=(
            "AIM-Harvard/DeepCAC (GPL-3; numbers only), run_step4_cac_scoring.py "
            "@ff480d8"
        ),
        remarks=(
            "Meant for its own network's mask (probability at least 0.1); no 130 HU "
            "cut, so a lesion's dim border counts. Keeps a fault of its origin: the "
            "pixel's area x spacing / 3 is rounded to 3 decimals first (+1.9 % at "
            "0.35 x 0.35 x 0.625 mm). Exact halves round to even, where its Python 2 "
            "rounds them up. Its classes (0, 100, 300) are not the risk "
            "category shown; volume and mass are kcalc's, the origin gives none."
        ),
        threshold_hu=None,
        minimum_pixels=3,
        minimum_comparison=">",
        pixel_decimals=3,
        lesion_decimals=3,
        total_decimals=3,
    ),
    _AI_CAC,
    replace(
        _AI_CAC,
        name="ai_cac_default",
        source=(
            "AI-CAC: Raffi-Hagopian/AI-CAC v1.0.0 (MIT), doi 10.1056/AIoa2400937, by "
            "its function's default: more than 3 voxels (its issue 8)"
        ),
        minimum_pixels=3,
    ),
    ScoringRule(
        name="calciumscoring_jl",
        source="MolloiLab/CalciumScoring.jl (MIT), src/agatston.jl @36a6316",
        remarks=(
            "Keeps faults of its origin: at 120 kVp the threshold is > 128 HU and the "
            "bins begin at 130/199/299/399; a lesion of 129 HU weighs 0 but counts in "
            "volume and mass; no slice scaling, so thin slices multiply the score; "
            "pixels of 0.82 mm and more are each a lesion of their own. Its threshold "
            "is round(378 exp(-0.009 kV)), its bins after Graeni 2018, "
            "doi 10.1093/ehjci/jey019; other voltages are refused, there too."
        ),
        threshold_hu=128,
        threshold_comparison=">",
        density_bins=((130, 1), (199, 2), (299, 3), (399, 4)),
        minimum_area_mm2=1.0,
        minimum_rounding="nearest",
        single_pixels_below=2,
        slice_scaling="none",
        kvp_table=(
            KvpRow(70, 201, ((207, 1), (318, 2), (477, 3), (636, 4))),
            KvpRow(80, 184, ((177, 1), (271, 2), (408, 3), (544, 4))),
            KvpRow(100, 154, ((145, 1), (222, 2), (334, 3), (446, 4))),
            KvpRow(120, 128, ((130, 1), (199, 2), (299, 3), (399, 4))),
            KvpRow(135, 112, ((119, 1), (183, 2), (274, 3), (364, 4))),
        ),
        only_listed_kvp=True,
    ),
    ScoringRule(
        name="slicer_agatston",
        source=(
            "3D Slicer module CardiacAgatstonMeasures (BRAINSia, University of Iowa), "
            "CardiacAgatstonMeasures.py @02592c1"
        ),
        remarks=(
            "Keeps faults of its origin: all calcium of one vessel in a slice is "
            "weighed by that slice's brightest voxel, joined or not; no minimum; no "
            "term for the slice. Without a vessel map each island of voxels is one "
            "label. The origin knows 80 and 120 kV, and leaves out voxels above 4000 "
            "HU."
        ),
        connectivity="label",
        slice_scaling="none",
        kvp_table=(
            KvpRow(80, 167, ((167, 1), (266, 2), (408, 3), (551, 4))),
            KvpRow(120, 130, AGATSTON_BINS),
        ),
        only_listed_kvp=True,
    ),
    ScoringRule(
        name="lassoan",
        source=(
            "Slicer script of A. Lasso, "
            "gist.github.com/lassoan/d85be45b7284a3b4e580688fccdb1d02"
        ),
        remarks=(
            "The weight is floor(maximum / 100), at most 4. Keeps faults of its "
            "origin: no term for the slice; the minimum of 1 mm2 is rounded to the "
            "nearest whole pixel, so that smaller lesions may count (0.95 mm2 at 0.488 "
            "mm). Volume and mass are kcalc's: the origin gives none."
        ),
        threshold_comparison=">",
        density_bins=((100, 1), (200, 2), (300, 3), (400, 4)),
        connectivity=4,
        minimum_area_mm2=1.0,
        minimum_rounding="nearest",
        slice_scaling="none",
    ),
    ScoringRule(
        name="dicom_viewer",
        source="kcenon/dicom_viewer (BSD-3), calcium_scorer.cpp @04b7ea4",
        remarks=(
            "Keeps faults of its origin: no term for the slice; the minimum of 1 mm2 "
            "is met by the area of all slices together. Volume is that of its Agatston "
            "function; its separate volume function counts every voxel from 130 HU."
        ),
        connectivity=6,
        minimum_area_mm2=1.0,
        slice_scaling="none",
    ),
    ScoringRule(
        name="comp2comp",
        source=(
            "StanfordMIMI/Comp2Comp (Apache-2.0), aortic_calcium.py @0c1dd4f, with its "
            "threshold at 130 HU"
        ),
        remarks=(
            "Made for the aorta. Keeps faults of its origin: no term for the slice; a "
            "lesion of exactly 1 mm2 is dropped, though volume and mass count it. Its "
            "adaptive threshold, and its refusal where the middle of the aorta is "
            "above 100 HU, need a segmented aorta and are not part of the rule."
        ),
        connectivity=4,
        speck_voxels=3,
        minimum_area_mm2=1.0,
        minimum_comparison=">",
        slice_scaling="none",
        volume_of="calcium",
    ),
)

RULES: Mapping[str, ScoringRule] = MappingProxyType({r.name: r for r in _PRESETS})
"""The presets by name; read-only."""


def rule(name: str | ScoringRule) -> ScoringRule:
    """Return a preset by its name; a ScoringRule is returned as it is.

    Args:
        name: One of the names in :data:`RULES`, or a rule of your own.

    Raises:
        ValueError: No preset has that name.
        TypeError: name is neither a string nor a ScoringRule.

    Example:
        >>> rule("agatston_1990").minimum_area_mm2
        1.0
    """
    if isinstance(name, ScoringRule):
        return name
    if not isinstance(name, str):
        raise TypeError(
            "rule must be the name of a preset or a ScoringRule. "
            f"Received: {type(name).__name__}"
        )
    if name not in RULES:
        raise ValueError(
            f"rule must be one of {', '.join(sorted(RULES))}, or a ScoringRule. "
            f"Received: rule={name!r}"
        )
    return RULES[name]
