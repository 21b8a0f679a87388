"""One image compared: a reference and a result enter, a row of plain numbers leaves.

A row is a few numbers and its lesions, so that thousands of scans are compared one
at a time, rows are kept as JSON, and tables are made of rows alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from kcalc.anatomy import LABEL_NAMES
from kcalc.evaluation.bone import BoneDistance
from kcalc.evaluation.detection import LesionOverlap, lesion_overlaps
from kcalc.evaluation.overlap import ImageOverlap
from kcalc.scoring.checks import checked_labels, checked_spacing
from kcalc.scoring.lesions import UNASSIGNED


@dataclass(frozen=True)
class VesselOverlap:
    """Voxels of one vessel in the reference, in the result, and in both."""

    voxels_reference: int
    voxels_result: int
    voxels_both: int


@dataclass(frozen=True, kw_only=True)
class ImageAgreement(ImageOverlap):
    """How a result agrees with a reference on one image.

    Args:
        case: Name of the image.
        patient: Key of its patient; intervals are over patients.
        voxel_mm3: Volume of a voxel in mm3.
        voxels_reference: Voxels in the reference.
        voxels_result: Voxels in the result.
        voxels_both: Voxels in both.
        reference_lesions: Lesions of the reference, and how much the result has.
        result_lesions: Lesions of the result, and how much the reference has.
        vessels: Voxels by vessel, where both have vessels; else None.
    """

    reference_lesions: tuple[LesionOverlap, ...]
    result_lesions: tuple[LesionOverlap, ...]
    vessels: dict[str, VesselOverlap] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, those of lesions to a millionth."""
        plain = asdict(self)
        for name in ("reference_lesions", "result_lesions"):
            plain[name] = [
                {
                    key: round(value, 6) if isinstance(value, float) else value
                    for key, value in lesion.items()
                }
                for lesion in plain[name]
            ]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return the row that :meth:`to_dict` gave; keys of no field are passed over.

        Raises:
            ValueError: A field is missing.
        """
        names = {field.name for field in fields(cls)}
        known = {name: value for name, value in plain.items() if name in names}
        for name in ("reference_lesions", "result_lesions"):
            known[name] = tuple(LesionOverlap(**x) for x in known.get(name, ()))
        if known.get("vessels") is not None:
            known["vessels"] = {
                name: VesselOverlap(**counts)
                for name, counts in known["vessels"].items()
            }
        missing = sorted(names - known.keys() - {"vessels"})
        if missing:
            raise ValueError(
                f"A row must hold {', '.join(sorted(names))}. Missing: "
                f"{', '.join(missing)}"
            )
        return cls(**known)


def compare_image(
    case: str,
    reference: npt.ArrayLike,
    result: npt.ArrayLike,
    spacing_mm: Sequence[float],
    *,
    image_hu: npt.NDArray[Any] | None = None,
    patient: str | None = None,
    reference_vessels: npt.ArrayLike | None = None,
    result_vessels: npt.ArrayLike | None = None,
) -> ImageAgreement:
    """Compare a result with a reference on one image.

    Masks are taken as they are: what a threshold removes must be gone from both.

    Args:
        case: Name of the image, unique in its table.
        reference: Calcium of the reader, bool or integer (z, y, x), nonzero is calcium.
        result: Calcium of the network or of another reader, likewise.
        spacing_mm: Distance of voxels in mm, (z, y, x).
        image_hu: The scan in HU, (z, y, x), for peaks and distances to bone.
        patient: Key of the patient; None for a patient of its own.
        reference_vessels: Label map of :mod:`kcalc.anatomy`, such as the reference
            itself where it has vessels; read within the reference alone.
        result_vessels: The same of the result.

    Raises:
        ValueError: The shapes differ, or labels are none of kcalc's.
        TypeError: A mask is neither bool nor integer.
        GeometryError: ``GEOM_SPACING``.

    Example:
        >>> reader = np.array([[[1, 1, 0, 0, 1]]])
        >>> network = np.array([[[0, 1, 1, 0, 0]]])
        >>> row = compare_image("a", reader, network, (3, 0.5, 0.5))
        >>> row.dice, row.volume_reference_mm3
        (0.4, 2.25)
        >>> [lesion.matched for lesion in row.reference_lesions]
        [True, False]
    """
    truth, found, truth_vessels, found_vessels = _checked_masks(
        reference, result, image_hu, reference_vessels, result_vessels
    )
    spacing = checked_spacing(spacing_mm)
    marked = bool(truth.any() or found.any())
    bone = None
    if image_hu is not None and marked:
        bone = BoneDistance(image_hu, truth, spacing)
    vessels = None
    if truth_vessels is not None and found_vessels is not None:
        either = np.nonzero(truth | found)
        vessels = _by_vessel(
            truth[either] * truth_vessels[either], found[either] * found_vessels[either]
        )
    return ImageAgreement(
        case=case,
        patient=case if patient is None else patient,
        voxel_mm3=float(np.prod(spacing)),
        voxels_reference=int(np.count_nonzero(truth)),
        voxels_result=int(np.count_nonzero(found)),
        voxels_both=int(np.count_nonzero(truth & found)),
        reference_lesions=lesion_overlaps(
            truth,
            found,
            spacing,
            image_hu=image_hu,
            bone=bone,
            vessels=truth_vessels,
        ),
        result_lesions=lesion_overlaps(
            found,
            truth,
            spacing,
            image_hu=image_hu,
            bone=bone,
            vessels=found_vessels,
        ),
        vessels=vessels,
    )


def one_row_a_case(rows: Iterable[ImageAgreement]) -> list[ImageAgreement]:
    """Return the rows, each of which must be of a case of its own.

    Raises:
        ValueError: There is none, or a case stands twice.
    """
    kept = list(rows)
    counts = Counter(row.case for row in kept)
    twice = sorted(name for name, count in counts.items() if count > 1)[:3]
    if twice or not kept:
        raise ValueError(
            "A table needs at least one image, and each once. Received: "
            f"{', '.join(twice) + ' twice' if twice else 'none'}"
        )
    return kept


def _checked_masks(
    reference: npt.ArrayLike,
    result: npt.ArrayLike,
    image_hu: npt.NDArray[Any] | None,
    *vessels: npt.ArrayLike | None,
) -> tuple[Any, ...]:
    shape = np.asarray(reference).shape if image_hu is None else image_hu.shape
    if len(shape) != 3:
        raise ValueError(
            f"Masks and scan must have the axes (z, y, x). Received: shape {shape}"
        )
    masks = [
        checked_labels(mask, name, shape) != 0
        for mask, name in ((reference, "reference"), (result, "result"))
    ]
    maps = [
        None if labels is None else checked_labels(labels, "vessels", shape)
        for labels in vessels
    ]
    return (*masks, *maps)


def _by_vessel(
    reference: npt.NDArray[Any], result: npt.NDArray[Any]
) -> dict[str, VesselOverlap]:
    """Return voxels by vessel of the labels of two masks, (voxels,), by label."""
    present = np.union1d(np.unique(reference), np.unique(result)).tolist()
    unknown = [label for label in present if label not in (0, *LABEL_NAMES)]
    if unknown:
        raise ValueError(
            "Vessels must be labels of kcalc.anatomy. Received: labels "
            f"{unknown[:5]}. Map your labels to these first."
        )
    groups: dict[str, list[int]] = {}
    for label in sorted(set(present) - {0}):
        groups.setdefault(LABEL_NAMES[label] or UNASSIGNED, []).append(label)
    overlaps = {}
    for name, labels in groups.items():
        one, other = np.isin(reference, labels), np.isin(result, labels)
        overlaps[name] = VesselOverlap(
            voxels_reference=int(np.count_nonzero(one)),
            voxels_result=int(np.count_nonzero(other)),
            voxels_both=int(np.count_nonzero(one & other)),
        )
    return overlaps
