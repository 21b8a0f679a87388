"""Detection by lesion: lesions of a reference and of a result enter, rates leave.

A lesion is a 3-D 6-connected component of a mask, as in the orCaScore challenge. It is
matched if the other mask marks at least one of its voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kcalc.evaluation.bone import BoneDistance
from kcalc.evaluation.checks import FloatArray
from kcalc.evaluation.resampling import bootstrap_interval, sums_by_patient
from kcalc.scoring.components import find_components
from kcalc.scoring.lesions import measure_lesions
from kcalc.scoring.rules import ScoringRule

if TYPE_CHECKING:
    from kcalc.evaluation.images import ImageAgreement

VOLUME_EDGES_MM3 = (1.0, 3.0, 10.0, 30.0)
PEAK_EDGES_HU = (150.0, 200.0, 300.0, 400.0)
BONE_EDGES_MM = (1.5, 3.0, 5.0, 10.0)
"""Edges of the classes in which missed lesions are counted; ours, the paper has none.
The first class of each is what Bortsova 2017 found missed: very small lesions, faint
ones, and lesions beside bone (neighbours of it on a grid of 0.5 x 0.5 x 1 mm)."""

LESION_RULE = ScoringRule(
    "lesions of an evaluation",
    "orCaScore challenge: lesions are 3-D, 6-connected (digest F.2)",
    threshold_hu=None,
    connectivity=6,
)


@dataclass(frozen=True, kw_only=True)
class LesionOverlap:
    """A lesion of one mask, and how much of it the other mask marks.

    Args:
        voxels: Its voxels.
        volume_mm3: Their volume in mm3.
        shared_voxels: Those that the other mask marks too.
        peak_hu: Its maximum in HU, None without the scan.
        bone_mm: Least distance of its voxels to bone in mm
            (:class:`~kcalc.evaluation.bone.BoneDistance`); None without the scan, or
            in a scan without bone.
        vessel: Vessel of most of its voxels, None without a vessel map.
    """

    voxels: int
    volume_mm3: float
    shared_voxels: int
    peak_hu: float | None = None
    bone_mm: float | None = None
    vessel: str | None = None

    @property
    def matched(self) -> bool:
        """Whether the other mask marks any of its voxels."""
        return self.shared_voxels > 0


def lesion_overlaps(
    mask: npt.NDArray[np.bool_],
    other: npt.NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    *,
    image_hu: npt.NDArray[Any] | None = None,
    bone: BoneDistance | None = None,
    vessels: npt.NDArray[Any] | None = None,
) -> tuple[LesionOverlap, ...]:
    """Return the lesions of a mask, in scan order of their first voxels.

    Args:
        mask: The mask whose lesions are wanted, (z, y, x).
        other: The mask they are compared with, (z, y, x).
        spacing_mm: Distance of voxels in mm, (z, y, x).
        image_hu: The scan in HU, for the peaks.
        bone: Bone of the scan, for the distances.
        vessels: Label map of :mod:`kcalc.anatomy`, (z, y, x).

    Raises:
        ValueError: A lesion lies on a vessel label that kcalc does not know, or on a
            voxel that is not finite.
    """
    values = mask if image_hu is None else image_hu
    components = find_components(values, mask, LESION_RULE)
    if not np.isfinite(components.values_hu).all():
        raise ValueError("image_hu must be finite under every lesion. Received: NaN")
    lesions = measure_lesions(
        components, LESION_RULE, spacing_mm, slice_factor=1.0, vessels=vessels
    )
    number, index = components.component, components.index_zyx
    shared = np.bincount(number, other[tuple(index.T)], minlength=len(lesions))
    nearest = np.full(len(lesions), np.inf)
    if bone is not None:
        np.minimum.at(nearest, number, bone.mm(index))
    return tuple(
        LesionOverlap(
            voxels=lesion.num_pixels,
            volume_mm3=lesion.volume_mm3,
            shared_voxels=int(shared[i]),
            peak_hu=None if image_hu is None else lesion.max_hu,
            bone_mm=float(nearest[i]) if np.isfinite(nearest[i]) else None,
            vessel=lesion.vessel,
        )
        for i, lesion in enumerate(lesions)
    )


def detection_figures(
    rows: Sequence[ImageAgreement], *, seed: int = 0
) -> dict[str, Any]:
    """Return sensitivity and positive predictive value by lesion and by volume.

    Lesions and volumes of all images are added up first, as in orCaScore.

    Args:
        rows: At least one image.
        seed: Seed of the bootstrap.

    Returns:
        ``lesions``, ``found``, ``sensitivity`` = found / lesions; ``result_lesions``,
        ``true_result_lesions``, ``ppv`` = true / result; the same two by volume,
        ``volume_sensitivity`` and ``volume_ppv``, and ``volume_f1``, their harmonic
        mean; ``false_lesions_per_image`` and ``false_mm3_per_image``. Rates have 95 %
        bootstrap intervals over patients, ``..._interval``; a rate of nothing (0 / 0)
        is None.

    References:
        Wolterink JM et al., Med Phys 2016, doi 10.1118/1.4945696.
    """
    parts = np.array([_counts(row) for row in rows], dtype=np.float64)
    totals = sums_by_patient([row.patient for row in rows], parts)
    lesions, found, of_result, true, mm3, mm3_result, mm3_both = parts.sum(axis=0)
    figures: dict[str, Any] = {
        "lesions": int(lesions),
        "found": int(found),
        "result_lesions": int(of_result),
        "true_result_lesions": int(true),
        "false_lesions_per_image": float(of_result - true) / len(rows),
        "false_mm3_per_image": float(mm3_result - mm3_both) / len(rows),
        "volume_f1": rate(2 * mm3_both, mm3 + mm3_result),
    }
    for name, part, whole in (
        ("sensitivity", 1, 0),
        ("ppv", 3, 2),
        ("volume_sensitivity", 6, 4),
        ("volume_ppv", 6, 5),
    ):
        figures[name] = rate(*parts.sum(axis=0)[[part, whole]])
        figures[f"{name}_interval"] = bootstrap_interval(
            totals, _rate_of(part, whole), seed=seed
        )
    return figures


def missed_lesions(rows: Sequence[ImageAgreement]) -> dict[str, list[dict[str, Any]]]:
    """Return how many lesions are missed, by volume, peak and distance to bone.

    Args:
        rows: Images.

    Returns:
        Under ``by_volume_mm3``, ``by_peak_hu`` and ``by_bone_mm`` a row a class:
        ``from`` (included) and ``to`` (excluded; None is without end), ``lesions`` of
        the reference, ``missed`` and ``missed_share`` of these (None of none). Lesions
        whose peak or distance is not known are in no class. ``small_or_faint`` is one
        row of the lesions in the first class by volume or by peak, with
        ``share_of_missed``.
    """
    lesions = [lesion for row in rows for lesion in row.reference_lesions]
    tables = {
        "by_volume_mm3": _classes(
            [(x.volume_mm3, x.matched) for x in lesions], VOLUME_EDGES_MM3
        ),
        "by_peak_hu": _classes(
            [(x.peak_hu, x.matched) for x in lesions], PEAK_EDGES_HU
        ),
        "by_bone_mm": _classes(
            [(x.bone_mm, x.matched) for x in lesions], BONE_EDGES_MM
        ),
    }
    hard = [
        x
        for x in lesions
        if x.volume_mm3 < VOLUME_EDGES_MM3[0]
        or (x.peak_hu is not None and x.peak_hu < PEAK_EDGES_HU[0])
    ]
    missed, all_missed = _missed(hard), _missed(lesions)
    tables["small_or_faint"] = [
        {
            "lesions": len(hard),
            "missed": missed,
            "missed_share": rate(missed, len(hard)),
            "share_of_missed": rate(missed, all_missed),
        }
    ]
    return tables


def _missed(lesions: Sequence[LesionOverlap]) -> int:
    return sum(not lesion.matched for lesion in lesions)


def _classes(
    lesions: Sequence[tuple[float | None, bool]], edges: Sequence[float]
) -> list[dict[str, Any]]:
    table = []
    for low, high in pairwise((0.0, *edges, float("inf"))):
        inside = [
            matched
            for value, matched in lesions
            if value is not None and low <= value < high
        ]
        missed = len(inside) - sum(inside)
        table.append(
            {
                "from": low,
                "to": high if np.isfinite(high) else None,
                "lesions": len(inside),
                "missed": missed,
                "missed_share": rate(missed, len(inside)),
            }
        )
    return table


def _counts(row: ImageAgreement) -> tuple[float, ...]:
    return (
        len(row.reference_lesions),
        sum(lesion.matched for lesion in row.reference_lesions),
        len(row.result_lesions),
        sum(lesion.matched for lesion in row.result_lesions),
        row.volume_reference_mm3,
        row.volume_result_mm3,
        row.voxels_both * row.voxel_mm3,
    )


def rate(part: float, whole: float) -> float | None:
    """Return a share, None of nothing."""
    return float(part / whole) if whole else None


def _rate_of(part: int, whole: int) -> Any:
    def rates(totals: FloatArray) -> FloatArray:
        with np.errstate(invalid="ignore"):
            return np.asarray(totals[:, part] / totals[:, whole])

    return rates
