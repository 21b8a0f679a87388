"""A scoring rule as a frozen value: every convention behind a calcium score.

A rule enters with its numbers and leaves as words (:meth:`ScoringRule.describe`), so
that no score stands without the rule it was made with.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from kcalc.errors import UnfitError
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU, Comparison
from kcalc.scoring.rule_words import rule_in_words

Connectivity = Literal[1, 4, 8, 6, 26, "label"]

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
_CONNECTIVITIES: dict[int | str, int] = {1: 2, 4: 2, 8: 2, 6: 3, 26: 3, "label": 3}


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
    calibration; both count the lesions that the score keeps unless ``volume_of`` or
    ``volume_threshold_hu`` say otherwise.

    Args:
        name: Name that stands beside the number.
        source: Citation of the rule, and which implementation it follows.
        remarks: Known faults of the origin that the rule keeps, and where it departs
            from its origin.
        threshold_hu: Voxels of the mask at this value belong to lesions; None takes
            the mask as it is.
        threshold_comparison: ``">="`` includes the threshold itself, ``">"`` does not.
        density_bins: Rows (lower edge in HU, weight), edges rising. A maximum below
            the first edge weighs 0, though its lesion counts in volume and mass.
        bin_comparison: Whether a maximum on an edge belongs to the bin (``">="``).
        connectivity: 4 or 8 makes 2-D lesions within each slice, 6 or 26 makes 3-D
            lesions across slices; 1 makes every pixel a lesion of its own, ``"label"``
            makes one lesion of all calcium under one number of the vessel map, joined
            or not, and is 6 where there is no map.
        single_pixels_below: Where the smallest lesion has fewer pixels than this,
            ``connectivity`` gives way to 1; 0 never.
        speck_voxels: 3-D 6-connected components of at most so many voxels are removed
            before lesions are formed; 0 removes none.
        weight_from: ``"slice"`` weighs each slice of a lesion by the maximum in that
            slice, ``"lesion"`` by the maximum of the whole lesion; in 2-D the same.
        minimum_area_mm2: Smallest lesion as the area of its voxels (3-D: summed over
            its slices) in mm2; 0 asks for none.
        minimum_pixels: Smallest lesion in voxels; 0 asks for none. Both limits hold.
        minimum_comparison: Whether a lesion of exactly the minimum stays (``">="``).
        minimum_rounding: How minimum area / pixel area becomes a number of voxels:
            ``"up"``, or ``"nearest"`` (half to even), which lets through lesions
            below the minimum area.
        slice_scaling: Factor of the score: ``"spacing"`` is the distance of slices /
            reference, ``"thickness"`` the nominal thickness / reference, ``"none"`` 1.
        reference_slice_mm: Slice spacing in mm that the scaling refers to.
        pixel_decimals: Decimals that pixel area x slice scaling is rounded to (half to
            even) before it is multiplied by pixels and weight; None leaves it.
        lesion_decimals: Decimals each lesion's score is rounded to (half to even);
            None leaves it.
        total_decimals: The same for the sum of the lesions.
        volume_of: What volume and mass count: ``"lesions"`` of the score,
            ``"calcium"`` of whatever size (specks are gone), or the ``"mask"`` whatever
            its HU. ``"isotropic"`` is the lesions, their volume interpolated between
            slices (:func:`kcalc.scoring.isotropic_volume_mm3`).
        volume_threshold_hu: Threshold of the lesions that volume and mass count, where
            it is not the score's; None is the score's.
        volume_comparison: Its comparison.
        kvp_table: Other thresholds and bins at stated tube voltages; see
            :meth:`at_tube_voltage`.
        only_listed_kvp: Whether the rule is defined at the voltages of its table alone.

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
    remarks: str = ""
    threshold_hu: float | None = AGATSTON_THRESHOLD_HU
    threshold_comparison: Comparison = ">="
    density_bins: tuple[tuple[float, int], ...] = AGATSTON_BINS
    bin_comparison: Comparison = ">="
    connectivity: Connectivity = 8
    single_pixels_below: int = 0
    speck_voxels: int = 0
    weight_from: Literal["slice", "lesion"] = "slice"
    minimum_area_mm2: float = 0.0
    minimum_pixels: int = 0
    minimum_comparison: Comparison = ">="
    minimum_rounding: Literal["up", "nearest"] = "up"
    slice_scaling: Literal["spacing", "thickness", "none"] = "spacing"
    reference_slice_mm: float = REFERENCE_SLICE_MM
    pixel_decimals: int | None = None
    lesion_decimals: int | None = None
    total_decimals: int | None = None
    volume_of: Literal["lesions", "isotropic", "calcium", "mask"] = "lesions"
    volume_threshold_hu: float | None = None
    volume_comparison: Comparison = ">="
    kvp_table: tuple[KvpRow, ...] = ()
    only_listed_kvp: bool = False

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
            ("minimum_rounding", ("up", "nearest")),
            ("connectivity", tuple(_CONNECTIVITIES)),
            ("weight_from", ("slice", "lesion")),
            ("slice_scaling", ("spacing", "thickness", "none")),
            ("volume_of", ("lesions", "isotropic", "calcium", "mask")),
            ("volume_comparison", (">=", ">")),
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
        for field in ("minimum_pixels", "single_pixels_below", "speck_voxels"):
            value = getattr(self, field)
            if value < 0 or value != int(value):
                raise ValueError(
                    f"{field} must be a whole number of at least 0. "
                    f"Received: {field}={value}"
                )
        if self.volume_threshold_hu is not None:
            _check_threshold(self.volume_threshold_hu)
            if self.volume_of != "lesions":
                raise ValueError(
                    "volume_threshold_hu makes lesions of its own, so volume_of must "
                    f"be 'lesions'. Received: volume_of={self.volume_of!r}"
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

    def applied(
        self,
        *,
        pixel_area_mm2: float,
        tube_voltage_kvp: float | None = None,
        slice_thickness_mm: float | None = None,
    ) -> ScoringRule:
        """Return the rule as it applies to a scan: one voltage, one pixel size.

        Where the rule's own table has a row for the tube voltage, the row's threshold
        and bins come in; nothing is interpolated. Where pixels are so large that
        ``single_pixels_below`` counts, connectivity becomes 1.

        Args:
            pixel_area_mm2: Area of one pixel in mm2, > 0.
            tube_voltage_kvp: Tube voltage in kV; None, unknown, takes the rule as it
                stands.
            slice_thickness_mm: Nominal slice thickness in mm, None where unknown.

        Raises:
            UnfitError: ``RULE_KVP``, a rule that is defined at the voltages of its
                table alone is asked for another one; ``RULE_THICKNESS``, it scales by
                a thickness that is unknown.

        Example:
            >>> from kcalc.scoring import rule
            >>> fqm = rule("fqm_canon")
            >>> fqm.applied(pixel_area_mm2=0.25, tube_voltage_kvp=100).threshold_hu
            147
        """
        row = self.kvp_row(tube_voltage_kvp)
        if row is None and self.only_listed_kvp and tube_voltage_kvp is not None:
            listed = ", ".join(f"{r.tube_voltage_kvp:g}" for r in self.kvp_table)
            raise UnfitError(
                "RULE_KVP",
                f"The rule {self.name} is defined at {listed} kVp only. Received: "
                f"tube_voltage_kvp={tube_voltage_kvp:g}.",
                hint="Score under another rule; agatston_1990 takes every voltage, "
                "with a warning.",
            )
        if self.slice_scaling == "thickness" and slice_thickness_mm is None:
            raise UnfitError(
                "RULE_THICKNESS",
                f"The rule {self.name} scales by slice thickness, which is unknown. "
                "Received: slice_thickness_mm=None.",
                hint="Give slice_thickness_mm, or score under a rule that scales by "
                "slice spacing.",
            )
        changes: dict[str, Any] = {}
        if row is not None:
            changes["threshold_hu"] = row.threshold_hu
            changes["density_bins"] = row.density_bins
        if self.minimum_voxels(pixel_area_mm2) < self.single_pixels_below:
            changes["connectivity"] = 1
        return replace(self, **changes)

    @property
    def for_volume(self) -> ScoringRule:
        """The rule whose lesions volume and mass count; self where they are the same.

        Example:
            >>> from kcalc.scoring import rule
            >>> rule("fqm_philips").for_volume.threshold_hu
            112.5
            >>> rule("agatston_1990").for_volume is rule("agatston_1990")
            True
        """
        if self.volume_threshold_hu is not None:
            return replace(
                self,
                threshold_hu=self.volume_threshold_hu,
                threshold_comparison=self.volume_comparison,
                volume_threshold_hu=None,
            )
        if self.volume_of in ("lesions", "isotropic"):
            return self
        # Every voxel counts, joined or not.
        every = replace(
            self,
            volume_of="lesions",
            connectivity=1,
            minimum_area_mm2=0.0,
            minimum_pixels=0,
            minimum_comparison=">=",
        )
        if self.volume_of == "calcium":
            return every
        return replace(every, threshold_hu=None, speck_voxels=0)

    def minimum_voxels(self, pixel_area_mm2: float) -> int:
        """Return the smallest lesion kept, as a whole number of voxels of at least 1.

        It is ceil(minimum area / pixel area - 1e-6) in float64, so that an area that
        equals the minimum but for rounding counts as equal; with ``">"`` it is one
        voxel more wherever the quotient is whole. ``minimum_rounding="nearest"`` takes
        the nearest whole number instead.

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
        more = 1 if self.minimum_comparison == ">" else 0
        if self.minimum_rounding == "nearest":
            by_area = round(quotient) + more
        elif more:
            by_area = math.floor(quotient + _COUNT_TOLERANCE) + 1
        else:
            by_area = math.ceil(quotient - _COUNT_TOLERANCE)
        return max(1, by_area, int(self.minimum_pixels) + more)

    def describe(self) -> str:
        """Return the whole rule in words, for reports.

        Example:
            >>> from kcalc.scoring import rule
            >>> print(rule("fqm_canon").describe().split(". ")[0])
            Calcium: voxels of the mask at or above 130 HU
        """
        return rule_in_words(self)

    def to_dict(self) -> dict[str, Any]:
        """Return name, words, source, remarks, every parameter, ready for JSON."""
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
            "remarks": parameters.pop("remarks"),
            "parameters": parameters,
        }


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
