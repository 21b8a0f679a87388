"""Cases scored twice: with the reader's mask and with the network's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.anatomy import LABEL_NAMES
from kcalc.data.case import CaseRecord
from kcalc.data.store import CaseStore
from kcalc.evaluation.images import ImageAgreement, compare_image
from kcalc.geometry import Geometry
from kcalc.scoring import CalciumScore, ScoringRule, calcium_score
from kcalc.volume import Volume


@dataclass(frozen=True, kw_only=True)
class CaseComparison(ImageAgreement):
    """Scores of one case by label (reference) and by network (result).

    Args:
        case: Name of the case.
        patient: Key of its patient.
        voxel_mm3: Volume of a voxel in mm3.
        voxels_reference: Voxels in the label.
        voxels_result: Voxels in the network's mask.
        voxels_both: Voxels in both.
        reference_lesions: Lesions of the label, and how much the network has of each.
        result_lesions: Lesions of the network, and how much the label has of each.
        vessels: Voxels by vessel, where both have vessels; else None.
        agatston_reference: Agatston score of the label.
        agatston_result: Agatston score of the network's mask.
        scored_mm3_reference: Volume that the label's score counts, in mm3.
        scored_mm3_result: Volume that the network's score counts, in mm3.
        risk_reference: Risk category of the label's score.
        risk_result: Risk category of the network's score.
        vessel_agatston_reference: The label's Agatston score by vessel, None where it
            names no vessel.
        vessel_agatston_result: The network's, None where it names no vessel.
    """

    agatston_reference: float
    agatston_result: float
    scored_mm3_reference: float
    scored_mm3_result: float
    risk_reference: str
    risk_result: str
    vessel_agatston_reference: dict[str, float] | None = None
    vessel_agatston_result: dict[str, float] | None = None

    def __str__(self) -> str:
        return (
            f"{self.case}: Dice {self.dice:.3f}, Agatston "
            f"{self.agatston_reference:.1f} by the label, {self.agatston_result:.1f} "
            f"found, risk class {self.risk_reference}, {self.risk_result}"
        )

    @property
    def kind(self) -> str:
        """What the case is compared among, such as ``"chest-wide"``."""
        return kind_of(self.case)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, scores to a hundredth."""
        plain = {"kind": self.kind, **super().to_dict()}
        for name, value in plain.items():
            if name.startswith(("agatston", "scored_mm3")):
                plain[name] = round(value, 2)
            elif name.startswith("vessel_agatston") and value is not None:
                plain[name] = {key: round(one, 2) for key, one in value.items()}
        return plain


def compare_split(
    find: Callable[[Volume], npt.NDArray[Any]],
    store: CaseStore,
    split: str = "test",
    *,
    rule: str | ScoringRule = "agatston_1990",
    finds_vessels: bool = False,
) -> Iterator[CaseComparison]:
    """Compare a network's masks with the labels, case by case.

    Args:
        find: Returns the mask (z, y, x) of a volume, such as
            ``lambda volume: kcalc.predict(network, volume).mask``.
        store: Labelled cases.
        split: Which of them.
        rule: The scoring rule for both masks, or its name.
        finds_vessels: Whether the mask's values are labels of :mod:`kcalc.anatomy`.

    Raises:
        InputError: The split has no case (``STORE_SPLIT``).
    """
    for record in store.split(split):
        image = np.array(store.image(record.name))
        volume = Volume(image, Geometry.axial(record.shape_zyx, record.spacing_mm))
        yield compare_masks(
            record,
            image,
            store.label(record.name),
            find(volume),
            rule=rule,
            finds_vessels=finds_vessels,
        )


def compare_masks(
    record: CaseRecord,
    array_hu: npt.NDArray[Any],
    label: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    *,
    rule: str | ScoringRule = "agatston_1990",
    finds_vessels: bool = False,
) -> CaseComparison:
    """Score one case with the reader's label and with the network's mask.

    Args:
        record: The case.
        array_hu: (z, y, x) in HU.
        label: (z, y, x) labels of :mod:`kcalc.anatomy`, above 0 where the reader
            marked calcium.
        mask: (z, y, x), above 0 where the network did.
        rule: The scoring rule for both, or its name.
        finds_vessels: Whether the mask's values are labels of :mod:`kcalc.anatomy`.

    Raises:
        ValueError: The shapes differ, or :func:`kcalc.calcium_score` refuses.
    """
    truth, found = np.asarray(label), np.asarray(mask)
    truth_vessels = truth if _names_vessels(truth) else None
    found_vessels = found if finds_vessels else None
    agreement = compare_image(
        record.name,
        truth,
        found,
        record.spacing_mm,
        image_hu=array_hu,
        patient=record.patient,
        reference_vessels=truth_vessels,
        result_vessels=found_vessels,
    )
    by_label, by_network = (
        calcium_score(
            array_hu,
            marked > 0,
            record.spacing_mm,
            rule=rule,
            tube_voltage_kvp=record.tube_voltage_kvp,
            vessels=vessels,
        )
        for marked, vessels in ((truth, truth_vessels), (found, found_vessels))
    )
    return CaseComparison(
        **vars(agreement),
        agatston_reference=by_label.agatston,
        agatston_result=by_network.agatston,
        scored_mm3_reference=by_label.volume_mm3,
        scored_mm3_result=by_network.volume_mm3,
        risk_reference=by_label.risk_category,
        risk_result=by_network.risk_category,
        vessel_agatston_reference=_by_vessel(by_label),
        vessel_agatston_result=_by_vessel(by_network),
    )


def kind_of(case: str) -> str:
    """Return a case's kind, its name up to the last hyphen.

    Example:
        >>> kind_of("chest-wide-0000012")
        'chest-wide'
    """
    return case.rpartition("-")[0] or case


def _names_vessels(label: npt.NDArray[Any]) -> bool:
    """Return whether a label map names the vessel of any of its calcium."""
    if label.dtype == np.bool_:
        return False
    return any(LABEL_NAMES.get(n) for n in np.unique(label[label != 0]).tolist())


def _by_vessel(score: CalciumScore) -> dict[str, float] | None:
    if score.per_vessel is None:
        return None
    return {name: total.agatston for name, total in score.per_vessel.items()}
