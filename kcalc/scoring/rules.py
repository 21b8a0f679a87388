"""A scoring rule as a frozen value: every convention behind a calcium score.

A rule enters with its numbers and leaves as words (:meth:`ScoringRule.describe`), so
that no score stands without the rule it was made with.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from kcalc.hounsfield import AGATSTON_THRESHOLD_HU

Comparison = Literal[">=", ">"]

AGATSTON_BINS: tuple[tuple[float, int], ...] = (
    (AGATSTON_THRESHOLD_HU, 1),
    (200, 2),
    (300, 3),
    (400, 4),
)
"""Density bins, (lower edge in HU, weight): Agatston 1990, as the digest E.1 has it."""
REFERENCE_SLICE_MM = 3.0
"""Slice spacing that scores are scaled to: Agatston 1990 scanned contiguous 3 mm."""
STANDARD_TUBE_VOLTAGE_KVP = 120.0
"""Tube voltage at which 130 HU is the accepted threshold (digest E.4)."""
_SAME_KVP = 0.5
_COUNT_TOLERANCE = 1e-6
_CONNECTIVITIES = {4: 2, 8: 2, 6: 3, 26: 3}


@dataclass(frozen=True)
class KvpRow:
    """Threshold and density bins that a rule uses at one tube voltage.

    Args:
        tube_voltage_kvp: Tube voltage in kV; scans within 0.5 kV of it use the row.
        threshold_hu: Calcium threshold in HU at that voltage.
        density_bins: (lower edge in HU, weight) at that voltage, edges rising.
    """

    tube_voltage_kvp: float
    threshold_hu: float
    density_bins: tuple[tuple[float, int], ...] = AGATSTON_BINS

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tube_voltage_kvp) and self.tube_voltage_kvp > 0):
            raise ValueError(
                "tube_voltage_kvp must be a positive number of kV. "
                f"Received: tube_voltage_kvp={self.tube_voltage_kvp}"
            )
        _check_threshold(self.threshold_hu)
        object.__setattr__(self, "density_bins", _checked_bins(self.density_bins))


@dataclass(frozen=True)
class ScoringRule:
    """Every convention that turns a mask and Hounsfield units into a calcium score.

    The Agatston score of a lesion is the sum over its slices of area in mm2 x weight,
    times the slice scaling. Volume is area x slice spacing, mass is volume x mean HU x
    calibration; both count exactly the lesions that the score keeps.

    Args:
        name: Name that stands beside the number.
        source: Citation of the rule and of where it departs from its origin.
        threshold_hu: Voxels of the mask at this value belong to lesions; None takes
            the mask as it is.
        threshold_comparison: ``">="`` includes the threshold itself, ``">"`` does not.
        density_bins: Rows (lower edge in HU, weight), edges rising. A maximum below
            the first edge weighs 0, though its lesion counts in volume and mass.
        bin_comparison: Whether a maximum on an edge belongs to the bin (``">="``).
        connectivity: 4 or 8 makes 2-D lesions within each slice, 6 or 26 makes 3-D
            lesions across slices.
        weight_from: ``"slice"`` weighs each slice of a lesion by the maximum in that
            slice, ``"lesion"`` by the maximum of the whole lesion; in 2-D the same.
        minimum_area_mm2: Smallest lesion as the area of its voxels (3-D: summed over
            its slices) in mm2; 0 asks for none.
        minimum_pixels: Smallest lesion in voxels; 0 asks for none. Both limits hold.
        minimum_comparison: Whether a lesion of exactly the minimum stays (``">="``).
        slice_scaling: Factor of the score: ``"spacing"`` is the distance of slices /
            reference, ``"thickness"`` the nominal thickness / reference, ``"none"`` 1.
        reference_slice_mm: Slice spacing in mm that the scaling refers to.
        lesion_decimals: Decimals each lesion's score is rounded to (half to even);
            None leaves it.
        total_decimals: The same for the sum of the lesions.
        kvp_table: Other thresholds and bins at stated tube voltages; see
            :meth:`at_tube_voltage`.

    Raises:
        ValueError: A value is outside these sets, or bins or table rows do not rise.

    Example:
        >>> from dataclasses import replace
        >>> from kcalc.scoring import rule
        >>> replace(rule("agatston_1990"), name="mine", connectivity=6).ndim
        3
    """

    name: str
    source: str
    threshold_hu: float | None = AGATSTON_THRESHOLD_HU
    threshold_comparison: Comparison = ">="
    density_bins: tuple[tuple[float, int], ...] = AGATSTON_BINS
    bin_comparison: Comparison = ">="
    connectivity: Literal[4, 8, 6, 26] = 8
    weight_from: Literal["slice", "lesion"] = "slice"
    minimum_area_mm2: float = 0.0
    minimum_pixels: int = 0
    minimum_comparison: Comparison = ">="
    slice_scaling: Literal["spacing", "thickness", "none"] = "spacing"
    reference_slice_mm: float = REFERENCE_SLICE_MM
    lesion_decimals: int | None = None
    total_decimals: int | None = None
    kvp_table: tuple[KvpRow, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or not self.source:
            raise ValueError(
                "A scoring rule must have a name and a source. "
                f"Received: name={self.name!r}, source={self.source!r}"
            )
        if self.threshold_hu is not None:
            _check_threshold(self.threshold_hu)
        for field, allowed in (
            ("threshold_comparison", (">=", ">")),
            ("bin_comparison", (">=", ">")),
            ("minimum_comparison", (">=", ">")),
            ("connectivity", tuple(_CONNECTIVITIES)),
            ("weight_from", ("slice", "lesion")),
            ("slice_scaling", ("spacing", "thickness", "none")),
        ):
            value = getattr(self, field)
            if value not in allowed:
                raise ValueError(
                    f"{field} must be one of {allowed}. Received: {field}={value!r}"
                )
        if not (math.isfinite(self.minimum_area_mm2) and self.minimum_area_mm2 >= 0):
            raise ValueError(
                "minimum_area_mm2 must be an area of at least 0 mm2. "
                f"Received: minimum_area_mm2={self.minimum_area_mm2}"
            )
        if self.minimum_pixels < 0 or self.minimum_pixels != int(self.minimum_pixels):
            raise ValueError(
                "minimum_pixels must be a whole number of at least 0. "
                f"Received: minimum_pixels={self.minimum_pixels}"
            )
        if not (math.isfinite(self.reference_slice_mm) and self.reference_slice_mm > 0):
            raise ValueError(
                "reference_slice_mm must be a positive distance in mm. "
                f"Received: reference_slice_mm={self.reference_slice_mm}"
            )
        voltages = [row.tube_voltage_kvp for row in self.kvp_table]
        if any(b - a <= 2 * _SAME_KVP for a, b in pairwise(voltages)):
            raise ValueError(
                "kvp_table must rise in tube voltage by more than 1 kV a row. "
                f"Received: {voltages} kV"
            )
        object.__setattr__(self, "density_bins", _checked_bins(self.density_bins))
        object.__setattr__(self, "kvp_table", tuple(self.kvp_table))

    @property
    def ndim(self) -> int:
        """Rank of a lesion: 2 (within a slice) or 3 (across slices)."""
        return _CONNECTIVITIES[self.connectivity]

    def kvp_row(self, tube_voltage_kvp: float | None) -> KvpRow | None:
        """Return the table's row for a tube voltage in kV, None where it has none."""
        if tube_voltage_kvp is None:
            return None
        for row in self.kvp_table:
            if abs(row.tube_voltage_kvp - tube_voltage_kvp) <= _SAME_KVP:
                return row
        return None

    def at_tube_voltage(self, tube_voltage_kvp: float | None) -> ScoringRule:
        """Return the rule with the thresholds its own table has for a tube voltage.

        Args:
            tube_voltage_kvp: Tube voltage in kV. Where the table has no row for it,
                and for None, the rule itself is returned; nothing is interpolated.

        Example:
            >>> from kcalc.scoring import rule
            >>> rule("fqm_canon").at_tube_voltage(100).threshold_hu
            147
        """
        row = self.kvp_row(tube_voltage_kvp)
        if row is None:
            return self
        return replace(
            self, threshold_hu=row.threshold_hu, density_bins=row.density_bins
        )

    def minimum_voxels(self, pixel_area_mm2: float) -> int:
        """Return the smallest lesion kept, as a whole number of voxels of at least 1.

        It is ceil(minimum area / pixel area - 1e-6) in float64, so that an area that
        equals the minimum but for rounding counts as equal; with ``">"`` it is one
        voxel more wherever the quotient is whole.

        Args:
            pixel_area_mm2: Area of one pixel in mm2, > 0.

        Example:
            >>> from kcalc.scoring import rule
            >>> rule("agatston_1990").minimum_voxels(0.1 * 0.1)
            100
            >>> rule("fqm_canon").minimum_voxels(0.25)
            4
        """
        quotient = float(self.minimum_area_mm2) / float(pixel_area_mm2)
        if self.minimum_comparison == ">=":
            by_area = math.ceil(quotient - _COUNT_TOLERANCE)
            return max(1, by_area, int(self.minimum_pixels))
        by_area = math.floor(quotient + _COUNT_TOLERANCE) + 1
        return max(1, by_area, int(self.minimum_pixels) + 1)

    def describe(self) -> str:
        """Return the whole rule in words, for reports.

        Example:
            >>> from kcalc.scoring import rule
            >>> print(rule("fqm_canon").describe().split(". ")[0])
            Calcium: voxels of the mask at or above 130 HU
        """
        return " ".join(
            (
                self._describe_threshold(),
                self._describe_lesion(),
                self._describe_weight(),
                self._describe_score(),
                "Volume: area x slice spacing over the lesions kept. Mass: volume x "
                "mean HU x calibration over the same lesions.",
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """Return name, words, source and every parameter, ready for JSON."""
        parameters = asdict(self)
        parameters["density_bins"] = [list(row) for row in self.density_bins]
        parameters["kvp_table"] = [
            asdict(row) | {"density_bins": [list(b) for b in row.density_bins]}
            for row in self.kvp_table
        ]
        return {
            "name": parameters.pop("name"),
            "description": self.describe(),
            "source": parameters.pop("source"),
            "parameters": parameters,
        }

    def _describe_threshold(self) -> str:
        if self.threshold_hu is None:
            text = "Calcium: every voxel of the mask, without a threshold"
        else:
            how = "at or above" if self.threshold_comparison == ">=" else "above"
            text = f"Calcium: voxels of the mask {how} {self.threshold_hu:g} HU"
        others = ", ".join(
            f"{row.threshold_hu:g} HU at {row.tube_voltage_kvp:g} kVp"
            for row in self.kvp_table
        )
        return f"{text}. The rule's table: {others}." if others else f"{text}."

    def _describe_lesion(self) -> str:
        form = "2-D, within each slice" if self.ndim == 2 else "3-D, across slices"
        how = "at least" if self.minimum_comparison == ">=" else "more than"
        limits = []
        if self.minimum_area_mm2:
            limits.append(f"{how} {self.minimum_area_mm2:g} mm2")
        if self.minimum_pixels:
            unit = "pixel" if self.ndim == 2 else "voxel"
            plural = "" if self.minimum_pixels == 1 else "s"
            limits.append(f"{how} {self.minimum_pixels} {unit}{plural}")
        size = " and ".join(limits) if limits else "any size"
        return f"Lesion: {self.connectivity}-connected, {form}, of {size}."

    def _describe_weight(self) -> str:
        where = "lesion"
        if self.ndim == 3:
            where = "lesion in each slice" if self.weight_from == "slice" else where
        edge = "from" if self.bin_comparison == ">=" else "above"
        bins = ", ".join(f"{w} {edge} {low:g} HU" for low, w in self.density_bins)
        return f"Weight by the maximum of the {where}: {bins}, else 0."

    def _describe_score(self) -> str:
        scale = {
            "spacing": f" x slice spacing / {self.reference_slice_mm:g} mm",
            "thickness": f" x slice thickness / {self.reference_slice_mm:g} mm",
            "none": ", without slice scaling",
        }[self.slice_scaling]
        text = f"Agatston score: sum of area in mm2 x weight{scale}"
        if self.lesion_decimals is not None:
            text += f"; each lesion rounded to {self.lesion_decimals} decimals"
        if self.total_decimals is not None:
            text += f"; the total rounded to {self.total_decimals} decimals"
        return f"{text}."


def _check_threshold(threshold_hu: float) -> None:
    if not math.isfinite(threshold_hu):
        raise ValueError(
            "threshold_hu must be a finite value in HU, or None where a rule has "
            f"none. Received: threshold_hu={threshold_hu}"
        )


def _checked_bins(
    density_bins: tuple[tuple[float, int], ...],
) -> tuple[tuple[float, int], ...]:
    bins = tuple((edge, weight) for edge, weight in density_bins)
    edges = [edge for edge, _ in bins]
    if (
        not bins
        or not all(math.isfinite(edge) for edge in edges)
        or edges != sorted(set(edges))
        or any(not math.isfinite(weight) or weight < 0 for _, weight in bins)
    ):
        raise ValueError(
            "density_bins must be rows (lower edge in HU, weight) with rising finite "
            f"edges and weights of at least 0. Received: density_bins={density_bins}"
        )
    return bins
