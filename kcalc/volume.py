"""A Volume: voxel values with geometry, acquisition facts and findings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kcalc.geometry import Geometry
from kcalc.slices import SliceStack

GridCorrection = Literal["untilted", "gap filled", "resampled"]
"""What a reader did to a grid on request."""


@dataclass(frozen=True)
class Finding:
    """Something the reader noticed: a warning to heed or a correction it made."""

    code: str
    message: str
    kind: Literal["warning", "correction", "note"] = "warning"


@dataclass(frozen=True)
class Acquisition:
    """How a scan was made, as far as its file says; None where it does not.

    No field identifies a patient. Whether an ECG steered the scan, a tin filter
    hardened its beam or its values are those of a mono- or multi-energy image is told
    from several DICOM attributes (:mod:`kcalc.io.technique`); None says that the file
    does not state the first.
    """

    modality: str | None = None
    tube_voltage_kvp: float | None = None
    slice_thickness_mm: float | None = None
    convolution_kernel: str | None = None
    manufacturer: str | None = None
    manufacturer_model_name: str | None = None
    image_type: tuple[str, ...] = ()
    contrast_agent: str | None = None
    body_part: str | None = None
    study_uid: str | None = None
    series_uid: str | None = None
    frame_of_reference_uid: str | None = None
    ecg_gated: bool | None = None
    tin_filter: bool = False
    spectral: bool = False


@dataclass(frozen=True)
class SourceFrame:
    """The DICOM frame that a slice was read from: what a reference to it needs.

    Args:
        path: Its file.
        sop_class_uid: Kind of the object.
        sop_instance_uid: The object.
        position_xyz_mm: LPS centre of its pixel (0, 0) in mm, as the file says.
        frame_number: Number in a multi-frame object from 1; None for a single-frame
            one.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    position_xyz_mm: tuple[float, float, float]
    frame_number: int | None = None


@dataclass(frozen=True)
class SourceSlices:
    """The stored slices of a scan whose Volume lies on a corrected grid.

    Args:
        array: (z, y, x), in the unit of the Volume.
        stack: Where they lie.
        corrections: What was done to them, in this order.
        frames: The DICOM frame of each, or ().

    Raises:
        ValueError: The array has not the stack's shape.
    """

    array: npt.NDArray[Any]
    stack: SliceStack
    corrections: tuple[GridCorrection, ...] = ()
    frames: tuple[SourceFrame, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        expected = (len(self.stack.corners_xyz_mm), *self.stack.shape_yx)
        if self.array.shape != expected:
            raise ValueError(
                "array must have the stack's shape (z, y, x). "
                f"Received: {self.array.shape} against {expected}"
            )


@dataclass(frozen=True)
class Volume:
    """Voxel values on a regular grid, checked when it is made.

    Args:
        array: (z, y, x). int16 where every value is an integer; float32 where
            a scan has fractional HU, so that thresholds are compared before rounding.
        geometry: Grid in patient space; its shape is the array's.
        unit: ``"HU"`` or ``"arbitrary"``.
        acquisition: Facts from the file.
        findings: Warnings and corrections of the reader.
        frames: The DICOM frame of each slice, with its pixels as they are stored, in
            the order of the slices; () where there is none, as in a NIfTI file or
            on a corrected grid.
        source: The stored slices, where the reader was asked to correct their grid
            (untilt, fill gaps, resample) and ``array`` lies on the corrected one;
            None where ``array`` holds the stored slices themselves.

    Raises:
        ValueError: Shape, dtype or unit break these rules, or a value is not finite.
    """

    array: npt.NDArray[Any]
    geometry: Geometry
    unit: Literal["HU", "arbitrary"] = "HU"
    acquisition: Acquisition = field(default_factory=Acquisition)
    findings: tuple[Finding, ...] = ()
    frames: tuple[SourceFrame, ...] = field(default=(), repr=False)
    source: SourceSlices | None = None

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape_zyx:
            raise ValueError(
                "array must have the geometry's shape (z, y, x). "
                f"Received: {self.array.shape} against {self.geometry.shape_zyx}"
            )
        if self.array.dtype not in (np.dtype(np.int16), np.dtype(np.float32)):
            raise ValueError(
                f"array must be int16 or float32. Received: dtype={self.array.dtype}"
            )
        if self.unit not in ("HU", "arbitrary"):
            raise ValueError(
                f"unit must be 'HU' or 'arbitrary'. Received: unit={self.unit!r}"
            )
        if self.frames and len(self.frames) != self.array.shape[0]:
            raise ValueError(
                "frames must be empty or one a slice. "
                f"Received: {len(self.frames)} for {self.array.shape[0]} slices"
            )
        if self.array.dtype.kind == "f" and not np.isfinite(self.array).all():
            raise ValueError("array must be finite; it holds NaN or infinite values.")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres in mm, (z, y, x)."""
        return self.geometry.spacing_mm

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of slices, rows and columns."""
        return self.geometry.shape_zyx

    def as_stored(self) -> Volume | None:
        """Return the scan on the grid of its stored slices.

        It is the volume itself where nothing was corrected; slices of a tilted gantry
        have a sheared grid.

        Returns:
            None where the stored slices form no regular grid: one is missing, or
            their spacing changes.
        """
        if self.source is None:
            return self
        geometry = self.source.stack.geometry()
        if geometry is None:
            return None
        return replace(
            self,
            array=self.source.array,
            geometry=geometry,
            frames=self.source.frames,
            source=None,
        )
