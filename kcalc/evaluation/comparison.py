"""Cases scored twice: with the reader's mask and with the network's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.data.store import CaseRecord, CaseStore
from kcalc.geometry import Geometry
from kcalc.scoring import calcium_score
from kcalc.volume import Volume


@dataclass(frozen=True)
class CaseComparison:
    """Scores and voxel counts of one case by label and by network.

    Args:
        case: Name of the case.
        kind: What it is compared among, such as ``"chest-wide"``.
        patient: Key of its patient.
        agatston_label: Agatston score of the label.
        agatston_network: Agatston score of the network's mask.
        volume_mm3_label: Volume that the label's score counts, in mm3.
        volume_mm3_network: Volume that the network's score counts, in mm3.
        risk_label: Risk category of the label's score.
        risk_network: Risk category of the network's score.
        voxels_label: Voxels in the label.
        voxels_network: Voxels in the network's mask.
        voxels_both: Voxels in both.
    """

    case: str
    kind: str
    patient: str
    agatston_label: float
    agatston_network: float
    volume_mm3_label: float
    volume_mm3_network: float
    risk_label: str
    risk_network: str
    voxels_label: int
    voxels_network: int
    voxels_both: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, scores to a hundredth."""
        return {
            name: round(value, 2) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def compare_split(
    find: Callable[[Volume], npt.NDArray[Any]],
    store: CaseStore,
    split: str = "test",
    *,
    rule: str = "agatston_1990",
) -> Iterator[CaseComparison]:
    """Compare a network's masks with the labels, case by case.

    Args:
        find: Returns the mask (z, y, x) of a volume, such as
            ``lambda volume: kcalc.predict(network, volume).mask``.
        store: Labelled cases.
        split: Which of them.
        rule: Name of the scoring rule for both masks.

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
        )


def compare_masks(
    record: CaseRecord,
    array_hu: npt.NDArray[Any],
    label: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    *,
    rule: str = "agatston_1990",
) -> CaseComparison:
    """Score one case with the reader's label and with the network's mask.

    Args:
        record: The case.
        array_hu: (z, y, x) in HU.
        label: (z, y, x), above 0 where the reader marked calcium.
        mask: (z, y, x), above 0 where the network did.
        rule: Name of the scoring rule for both.

    Raises:
        ValueError: The shapes differ, or :func:`kcalc.calcium_score` refuses.
    """
    truth, found = np.asarray(label) > 0, np.asarray(mask) > 0
    by_label, by_network = (
        calcium_score(
            array_hu,
            marked,
            record.spacing_mm,
            rule=rule,
            tube_voltage_kvp=record.tube_voltage_kvp,
        )
        for marked in (truth, found)
    )
    return CaseComparison(
        case=record.name,
        kind=kind_of(record.name),
        patient=record.patient,
        agatston_label=by_label.agatston,
        agatston_network=by_network.agatston,
        volume_mm3_label=by_label.volume_mm3,
        volume_mm3_network=by_network.volume_mm3,
        risk_label=by_label.risk_category,
        risk_network=by_network.risk_category,
        voxels_label=int(np.count_nonzero(truth)),
        voxels_network=int(np.count_nonzero(found)),
        voxels_both=int(np.count_nonzero(truth & found)),
    )


def kind_of(case: str) -> str:
    """Return a case's kind, its name up to the last hyphen.

    Example:
        >>> kind_of("chest-wide-0000012")
        'chest-wide'
    """
    return case.rpartition("-")[0] or case
