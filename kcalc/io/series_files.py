"""The files of one series, and how it is told from others without patient data.

Nothing is repeated that is free text: numbers, code strings and the kernel's name
alone, and those only where they look like what they should be.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kcalc.io.dicom_header import SliceHeader

PHASE_UNITS = {"NominalPercentageOfCardiacPhase": "%", "TriggerTime": "ms"}
"""Attributes that state the cardiac phase of a slice, and their units."""
_KERNEL_NAME = re.compile(r"[\w .,+*/^()-]{1,32}", re.ASCII)
_SHARP_NAMES = frozenset(
    {"LUNG", "BONE", "BONEPLUS", "BONE+", "EDGE", "L", "E", "YB", "YC", "YD", "YE"}
)


class SeriesFiles(NamedTuple):
    """The slices of one series that may be read."""

    uid: str
    headers: tuple[SliceHeader, ...]

    @property
    def short_id(self) -> str:
        """Eight hexadecimal digits that name the series without its UID."""
        return hashlib.sha256(self.uid.encode()).hexdigest()[:8]

    def describe(self) -> str:
        """Return what tells this series from others, without patient data.

        No part of a UID: archives put dates and numbers of patients into them.
        """
        first = self.headers[0]
        spacing_mm = slice_spacing_mm(self.headers)
        pixel_mm = first.numbers("PixelSpacing")[:1]
        kind = first.image_type[0] if first.image_type else "unknown type"
        words = [
            f"series number {_figure(first.number('SeriesNumber'))}",
            f"{len(self.headers)} slices every {_figure(spacing_mm)} mm",
            f"thickness {_figure(first.number('SliceThickness'))} mm",
            f"pixels {_figure(pixel_mm[0] if pixel_mm else None)} mm",
            f"kernel {kernel_name(first) or '?'}",
            *filter(None, [phase_words(self.headers)]),
            kind if kind in ("ORIGINAL", "DERIVED") else "unknown type",
        ]
        return f"{self.short_id} ({', '.join(words)})"


def _figure(value: float | None) -> str:
    """Return a number in at most six digits, "?" where there is none."""
    return "?" if value is None else f"{value:g}"


def cardiac_phases(headers: Sequence[SliceHeader]) -> tuple[str, list[float]]:
    """Return the attribute that states the cardiac phase, and its values, rising.

    Percent of the heart's cycle where it is stated, else milliseconds after the
    trigger; no values where the series states neither.
    """
    for keyword in PHASE_UNITS:
        values = {header.number(keyword) for header in headers}
        told = sorted(value for value in values if value is not None)
        if told:
            return keyword, told
    return "", []


def phase_words(headers: Sequence[SliceHeader]) -> str:
    """Return the cardiac phases of a series in words, "" where it states none."""
    keyword, told = cardiac_phases(headers)
    if not told:
        return ""
    some = ", ".join(f"{value:g}" for value in told[:8])
    return f"phase {some}{', ...' if len(told) > 8 else ''} {PHASE_UNITS[keyword]}"


def kernel_name(header: SliceHeader) -> str | None:
    """Return the reconstruction kernel's name, None where it states none.

    "?" stands for a text that is no name of a kernel.
    """
    name = header.get("ConvolutionKernel").split("\\")[0].strip()
    if not name:
        return None
    return name if _KERNEL_NAME.fullmatch(name) else "?"


def slice_spacing_mm(headers: Sequence[SliceHeader]) -> float | None:
    """Return the median distance of slices along their normal in mm.

    For telling series apart, not for measuring: nothing is checked. None where fewer
    than two slices state position and orientation.
    """
    normal = normal_of(headers[0])
    positions = [header.numbers("ImagePositionPatient") for header in headers]
    points = np.array([p for p in positions if len(p) == 3]).reshape(-1, 3)
    if normal is None or len(points) < 2 or not np.isfinite(points).all():
        return None
    return round(float(np.median(np.diff(np.sort(points @ normal)))), 4)


def normal_of(header: SliceHeader) -> npt.NDArray[np.float64] | None:
    """Return the unit vector across a slice, None where it states no orientation."""
    orientation = header.numbers("ImageOrientationPatient")
    if len(orientation) != 6 or not np.isfinite(orientation).all():
        return None
    normal = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(normal))
    return normal / length if length > 0.5 else None


def is_sharp_kernel(kernel: str) -> bool:
    """Return whether a kernel's name is a vendor's lung or bone kernel.

    Only narrows a choice between series, so a name it does not know counts as soft.
    Siemens numbers its kernels by sharpness (B10 to B80, Br32 to Bl64); Canon's
    FC30-39, FC50-59 and FC80-89 are bone and lung; GE and Philips use names.

    Args:
        kernel: ConvolutionKernel as it stands in the file.

    Example:
        >>> [is_sharp_kernel(k) for k in ("B35f", "Bl57", "FC12", "LUNG")]
        [False, True, False, True]
    """
    name = kernel.split("\\")[0].strip().upper()
    if name in _SHARP_NAMES:
        return True
    canon = re.match(r"FC(\d\d)", name)
    if canon:
        return int(canon[1]) // 10 in (3, 5, 8)
    siemens = re.match(r"[BHTIUQ][A-Z]?(\d\d)", name)
    return siemens is not None and int(siemens[1]) >= 50
