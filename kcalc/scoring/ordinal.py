"""The ordinal score 0 to 12: calcium and segmented arteries in, a grade an artery out.

For chest CT without ECG gating, where an Agatston score is unsure. The visual score of
Shemesh 2010 grades each of the four coronary arteries by the calcified share of its
length; here that share is measured along a segmentation of the arteries.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.anatomy import CORONARY_VESSELS
from kcalc.errors import InputError
from kcalc.scoring import checks
from kcalc.scoring.vessels import DEFAULT_DISTANCE_MM, checked_vessels, nearest_vessels

ORDINAL_EDGES = (0, 3, 6)
ORDINAL_CLASSES = ("0", "1-3", "4-6", "7-12")
_MILD, _MODERATE = 1 / 3, 2 / 3


@dataclass(frozen=True)
class OrdinalScore:
    """Grades 0 to 3 of the four coronary arteries, and their sum.

    Args:
        score: Sum of the grades, 0 to 12.
        category: ``"0"``, ``"1-3"``, ``"4-6"`` or ``"7-12"``.
        grades: Grade by vessel name.
        calcified_share: Calcified share of the length by vessel name, None where the
            grades are a reader's.
    """

    score: int
    category: str
    grades: dict[str, int]
    calcified_share: dict[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary ready for JSON."""
        return asdict(self)


def ordinal_grade(calcified_share: float) -> int:
    """Return the grade of one artery: 0 none, 1 mild, 2 moderate, 3 severe.

    Args:
        calcified_share: Share of the artery's length with calcium, 0 to 1. Below one
            third is mild, above two thirds severe.

    Raises:
        ValueError: The share is outside 0 to 1.

    Example:
        >>> [ordinal_grade(share) for share in (0, 0.2, 1 / 3, 2 / 3, 0.7)]
        [0, 1, 2, 2, 3]
    """
    if not 0 <= calcified_share <= 1:
        raise ValueError(
            "calcified_share must lie within 0 to 1. "
            f"Received: calcified_share={calcified_share}"
        )
    if calcified_share == 0:
        return 0
    return 1 if calcified_share < _MILD else 2 if calcified_share <= _MODERATE else 3


def ordinal_score(grades: Mapping[str, int]) -> OrdinalScore:
    """Return the ordinal score of four grades, such as a reader's.

    Args:
        grades: Grade 0 to 3 of each of LM, LAD, LCX and RCA.

    Raises:
        ValueError: An artery is missing, unknown, or its grade is none.

    Example:
        >>> ordinal_score({"LM": 0, "LAD": 3, "LCX": 1, "RCA": 1}).category
        '4-6'

    References:
        Shemesh J et al., Radiology 2010, doi 10.1148/radiol.10100383.
    """
    names = [vessel.name for vessel in CORONARY_VESSELS]
    if sorted(grades) != sorted(names) or any(
        grade not in range(4) for grade in grades.values()
    ):
        raise ValueError(
            f"grades must give each of {', '.join(names)} a grade of 0 to 3. "
            f"Received: grades={dict(grades)}"
        )
    score = sum(grades.values())
    category = ORDINAL_CLASSES[bisect_left(ORDINAL_EDGES, score)]
    return OrdinalScore(score, category, {name: grades[name] for name in names})


def ordinal_from_segmentation(
    calcium: npt.ArrayLike,
    vessels: npt.ArrayLike,
    spacing_mm: Sequence[float],
    *,
    max_distance_mm: float = DEFAULT_DISTANCE_MM,
) -> OrdinalScore:
    """Return the ordinal score from lesions and the course of the four arteries.

    Each artery is cut along its course (the way within its voxels from one end) into
    pieces as long as the largest voxel side; a piece is calcified where a lesion voxel
    has its nearest artery voxel in it. The share is that of calcified pieces.

    Args:
        calcium: Voxels of the lesions, bool or integer, (z, y, x).
        vessels: Labels 1 to 4 along the whole course of LM, LAD, LCX and RCA,
            (z, y, x); labels 5 to 7 are passed over.
        spacing_mm: Distance of voxels in mm, (z, y, x).
        max_distance_mm: Farthest an artery may lie from its calcium, in mm.

    Raises:
        InputError: ``VESSEL_ABSENT``, an artery is not segmented; ``VESSEL_LABELS``.
    """
    mask = np.asarray(calcium) != 0
    labels = checked_vessels(vessels, mask.shape)
    spacing = np.array(checks.checked_spacing(spacing_mm))
    missing = [v.name for v in CORONARY_VESSELS if not (labels == v.label).any()]
    if missing:
        raise InputError(
            "VESSEL_ABSENT",
            "the ordinal score needs the course of all four coronary arteries; not "
            f"segmented: {', '.join(missing)}.",
            hint="Give a segmentation of the whole arteries, not of their calcium.",
        )
    own = nearest_vessels(mask, labels, spacing_mm, max_distance_mm=max_distance_mm)
    shares = {
        vessel.name: _calcified_share(
            np.argwhere(labels == vessel.label),
            np.argwhere(own == vessel.label),
            spacing,
        )
        for vessel in CORONARY_VESSELS
    }
    total = ordinal_score(
        {name: ordinal_grade(share) for name, share in shares.items()}
    )
    return OrdinalScore(total.score, total.category, total.grades, shares)


def _calcified_share(
    course: npt.NDArray[np.int64],
    calcium: npt.NDArray[np.int64],
    spacing_mm: npt.NDArray[np.float64],
) -> float:
    """Return the share of an artery's pieces that hold calcium; indices (n, 3)."""
    from scipy.spatial import cKDTree

    pieces = _pieces(course, spacing_mm)
    if not len(calcium):
        return 0.0
    _, nearest = cKDTree(course * spacing_mm).query(calcium * spacing_mm)
    return len(np.unique(pieces[nearest])) / (int(pieces.max()) + 1)


def _pieces(
    course: npt.NDArray[np.int64], spacing_mm: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Number the piece of each artery voxel by its way from an end of its part."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components, dijkstra
    from scipy.spatial import cKDTree

    pairs = cKDTree(course).query_pairs(1.8, output_type="ndarray")  # 26 neighbours
    ways = np.linalg.norm(
        (course[pairs[:, 0]] - course[pairs[:, 1]]) * spacing_mm, axis=1
    )
    size = (len(course), len(course))
    graph = coo_matrix((ways, (pairs[:, 0], pairs[:, 1])), shape=size).tocsr()
    num_parts, part = connected_components(graph, directed=False)
    pieces = np.zeros(len(course), np.int64)
    first_number = 0
    for number in range(num_parts):
        members = np.flatnonzero(part == number)
        somewhere = dijkstra(graph, directed=False, indices=int(members[0]))[members]
        end = int(members[int(np.argmax(somewhere))])
        way_mm = dijkstra(graph, directed=False, indices=end)[members]
        along = np.floor(way_mm / spacing_mm.max() + 1e-9).astype(np.int64)
        # A piece without a voxel, on a diagonal way, is none.
        _, along = np.unique(along, return_inverse=True)
        pieces[members] = first_number + along
        first_number += int(along.max()) + 1
    return pieces
