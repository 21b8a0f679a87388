"""Case and CaseRecord: a labelled scan on its way into a store, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from kcalc.data.splits import SPLITS
from kcalc.errors import InputError
from kcalc.preparation import InputSpec

Unit = Literal["HU", "arbitrary"]


@dataclass(frozen=True)
class Case:
    """One labelled scan on its way into a store.

    Args:
        name: Name of the case, no slash; not a patient's name.
        image: (z, y, x) int16 in ``unit``.
        label: (z, y, x) uint8: vessel number of ``kcalc.anatomy``, 8 or 9 where
            calcified, else 0; of a scan in its own unit the classes of its task.
        spacing_mm: Voxel spacing (z, y, x) in mm.
        patient: Key that all cases of one patient share; a hash, not an identity.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        tube_voltage_kvp: Tube voltage, None where unknown.
        unit: ``"HU"``, or ``"arbitrary"`` as of MR, whose values mean something within
            one scan alone; such a case has no hard negatives and no imitators, which
            are voxels >= 130 HU.

    Raises:
        InputError: ``STORE_CASE``: one of these rules is broken.
    """

    name: str
    image: npt.NDArray[np.int16]
    label: npt.NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    patient: str
    split: str
    tube_voltage_kvp: float | None = None
    unit: Unit = "HU"

    def __post_init__(self) -> None:
        spacing = np.asarray(self.spacing_mm, dtype=np.float64)
        broken = ""
        if not self.name or "/" in self.name or self.name.startswith("."):
            broken = "name must be a plain name without a slash"
        elif self.image.ndim != 3 or self.image.dtype != np.int16:
            broken = (
                f"image must be int16 zyx, is {self.image.dtype} {self.image.shape}"
            )
        elif self.label.shape != self.image.shape or self.label.dtype != np.uint8:
            broken = (
                f"label must be uint8 {self.image.shape}, is "
                f"{self.label.dtype} {self.label.shape}"
            )
        elif min(self.image.shape) < 1:
            broken = f"image must not be empty, is {self.image.shape}"
        elif spacing.shape != (3,) or not np.isfinite(spacing).all():
            broken = f"spacing_mm must be three numbers, is {self.spacing_mm}"
        elif min(self.spacing_mm) <= 0:
            broken = f"spacing_mm must be above 0, is {self.spacing_mm}"
        elif not self.patient:
            broken = "patient must be a key, is empty"
        elif self.split not in SPLITS:
            broken = f"split must be one of {SPLITS}, is {self.split!r}"
        elif self.unit not in ("HU", "arbitrary"):
            broken = f"unit must be 'HU' or 'arbitrary', is {self.unit!r}"
        if broken:
            raise InputError("STORE_CASE", f"A case was refused: {broken}.")


@dataclass(frozen=True)
class CaseRecord:
    """What a store tells about a case without reading its voxels."""

    name: str
    patient: str
    split: str
    shape_zyx: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    tube_voltage_kvp: float | None
    sha256: str
    unit: Unit = "HU"


def check_unit(record: CaseRecord, input_spec: InputSpec) -> None:
    """Refuse a case in arbitrary units for a network whose window is in HU.

    Raises:
        InputError: ``STORE_UNIT``.
    """
    if record.unit == "arbitrary" and input_spec.window_hu is not None:
        raise InputError(
            "STORE_UNIT",
            "A window in HU needs scans in HU. Received: "
            f"{record.name} in arbitrary units.",
            hint="Scale such scans with InputSpec(None, volume_percentiles=...).",
        )
