"""Small scans with the numbers that a rule gives on them, and where those are from.

``published``: the origin's own test suite, numbers only (CalciumScoring.jl, MolloiLab,
MIT, test/*.jl @36a6316; dicom_viewer, kcenon, BSD-3, calcium_scorer_test.cpp @04b7ea4).
``by hand``: worked out on paper from the origin's rule, one number a preset.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kcalc.scoring import CalciumScore, calcium_score

Numbers = tuple[float, float | None]
"""Agatston score and volume in mm3 (None: not stated)."""


@dataclass(frozen=True)
class Vector:
    """A scan, its facts, and the numbers expected by preset.

    Args:
        name: Short name.
        words: What is in it.
        scan: HU, (z, y, x).
        mask: Where calcium is looked for; None is everywhere.
        spacing_mm: (z, y, x).
        kvp: Tube voltage, None for unknown.
        thickness_mm: Nominal thickness.
        published: Numbers of the origin's own tests, by preset.
        by_hand: Numbers worked out by hand, by preset; None where the preset does not
            apply.
    """

    name: str
    words: str
    scan: np.ndarray
    spacing_mm: tuple[float, float, float]
    mask: np.ndarray | None = None
    kvp: float | None = None
    thickness_mm: float | None = 3.0
    published: dict[str, Numbers] = field(default_factory=dict)
    by_hand: dict[str, Numbers | None] = field(default_factory=dict)

    @property
    def where(self) -> np.ndarray:
        """The mask, everywhere where none is given."""
        return np.ones(self.scan.shape, bool) if self.mask is None else self.mask

    def score(self, rule: str) -> CalciumScore:
        """Return kcalc's score under a preset."""
        return calcium_score(
            self.scan,
            self.where,
            self.spacing_mm,
            rule=rule,
            tube_voltage_kvp=self.kvp,
            slice_thickness_mm=self.thickness_mm,
        )


def _apart(*values_hu: float) -> np.ndarray:
    """Return one slice with single pixels that do not touch, in air."""
    scan = np.full((1, 1, 2 * len(values_hu) - 1), -1000.0)
    scan[0, 0, ::2] = values_hu
    return scan


def _blocks(
    num_slices: int, *blocks: tuple[int, int, int, int, int, int, int]
) -> np.ndarray:
    """Return 20 x 20 pixels of 0 HU with blocks (x0, y0, z0, x1, y1, z1, HU)."""
    scan = np.zeros((num_slices, 20, 20), np.int16)
    for x0, y0, z0, x1, y1, z1, hu in blocks:
        scan[z0 : z1 + 1, y0 : y1 + 1, x0 : x1 + 1] = hu
    return scan


def _half(hu: int) -> np.ndarray:
    scan = np.zeros((2, 4, 4), np.int16)
    scan[:, :, :2] = hu
    return scan


def _twelve(hu: int) -> np.ndarray:
    scan = np.zeros((2, 6, 6), np.int16)
    scan[:, 1:4, 1:5] = hu
    return scan


def _stack() -> np.ndarray:
    """Two slices: 2 x 2 under 3 x 3 with a peak, a diagonal pixel, a row of three."""
    scan = np.full((2, 8, 8), 40.0)
    scan[0, 0:2, 0:2] = 150
    scan[1, 0:3, 0:3] = 150
    scan[1, 1, 1] = 450
    scan[1, 3, 3] = 250
    scan[0, 6, 0:3] = 250
    return scan


def _dim() -> np.ndarray:
    scan = np.full((1, 3, 6), -1000.0)
    scan[0, 0] = 60, 115, 125, 140, 310, 90
    scan[0, 2, :5] = 100
    return scan


_EDGES = _apart(128, 129, 130, 199, 200, 299, 300, 399, 400)
_LOW_KV = _apart(140, 146, 147, 150, 230, 340, 460)

VECTORS: tuple[Vector, ...] = (
    Vector(
        "jl-1",
        "half of two 4 x 4 slices at 400 HU, 0.5 mm",
        _half(400),
        (0.5, 0.5, 0.5),
        published={
            "calciumscoring_jl": (16.0, 2.0),
            "agatston_1990": (2.6666667, None),
        },
    ),
    *(
        Vector(
            f"jl-{kvp}",
            f"12 pixels in two slices at {hu} HU, 0.5 mm, {kvp} kVp",
            _twelve(hu),
            (0.5, 0.5, 0.5),
            kvp=kvp,
            published={"calciumscoring_jl": (12.0, None)},
        )
        for kvp, hu in ((135, 260), (120, 280), (100, 310), (80, 400))
    ),
    Vector(
        "kcenon-w1",
        "16 pixels at 150 HU, 0.5 mm, 3 mm slices",
        _blocks(5, (5, 5, 2, 8, 8, 2, 150)),
        (3.0, 0.5, 0.5),
        published={"dicom_viewer": (4.0, None)},
    ),
    Vector(
        "kcenon-multi",
        "16 pixels in three slices at 250 HU",
        _blocks(10, (5, 5, 3, 8, 8, 5, 250)),
        (3.0, 0.5, 0.5),
        published={"dicom_viewer": (24.0, 36.0)},
    ),
    Vector(
        "kcenon-mixed",
        "16 pixels at 150 HU below 16 at 350 HU",
        _blocks(5, (5, 5, 2, 8, 8, 2, 150), (5, 5, 3, 8, 8, 3, 350)),
        (3.0, 0.5, 0.5),
        published={"dicom_viewer": (16.0, None)},
    ),
    Vector(
        "kcenon-th130",
        "16 pixels at 130 HU, 1 mm slices: tells scaled from unscaled",
        _blocks(5, (8, 8, 2, 11, 11, 2, 130)),
        (1.0, 1.0, 1.0),
        thickness_mm=1.0,
        published={"dicom_viewer": (16.0, None)},
        by_hand={"agatston_1990": (16 / 3, 16.0), "lassoan": (0.0, 0.0)},
    ),
    Vector(
        "kcenon-tiny",
        "one pixel of 0.09 mm2 at 200 HU",
        _blocks(5, (10, 10, 2, 10, 10, 2, 200)),
        (3.0, 0.3, 0.3),
        published={"dicom_viewer": (0.0, None)},
    ),
    Vector(
        "edges",
        "single pixels of 1 mm2 at 128, 129, 130, 199, 200, 299, 300, 399, 400 HU",
        _EDGES,
        (3.0, 1.0, 1.0),
        mask=_EDGES > 0,
        by_hand={
            "agatston_1990": (16.0, 21.0),
            "fqm_siemens": (16.0, 21.0),
            "fqm_philips": (16.0, 27.0),
            "fqm_ge": (16.0, 21.0),
            "fqm_canon": (0.0, 0.0),
            # one slice: a single layer of samples, seven cubes of 1 mm
            "fqm_literature": (16.0, 7.0),
            "orcascore": (15.0, 18.0),
            "tiger": (16.0, 27.0),
            "deepcac": (0.0, 0.0),
            "ai_cac": (0.0, 0.0),
            "ai_cac_default": (0.0, 0.0),
            "calciumscoring_jl": (19.0, 24.0),
            "slicer_agatston": (16.0, 21.0),
            "lassoan": (15.0, 18.0),
            "dicom_viewer": (16.0, 21.0),
            "comp2comp": (0.0, 0.0),
        },
    ),
    Vector(
        "stack",
        "4 pixels under 9 with a peak of 450, one diagonal pixel, a row of three; "
        "0.5 mm pixels, 3 mm slices every 1.5 mm",
        _stack(),
        (1.5, 0.5, 0.5),
        mask=_stack() > 100,
        by_hand={
            "agatston_1990": (5.5, 5.25),
            "fqm_siemens": (6.25, 6.375),
            "fqm_philips": (6.25, 6.375),
            "fqm_ge": (5.5, 5.25),
            "fqm_canon": (5.5, 5.25),
            "orcascore": (6.0, 6.375),
            "tiger": (6.0, 6.375),
            "deepcac": (5.5, 5.25),
            "ai_cac": (15.0, 6.0),
            "ai_cac_default": (13.0, 4.875),
            "calciumscoring_jl": (11.0, 5.25),
            "slicer_agatston": (12.0, 6.375),
            "lassoan": (10.0, 4.875),
            "dicom_viewer": (10.0, 4.875),
            "comp2comp": (9.0, 4.875),
        },
    ),
    Vector(
        "dim",
        "a row of 60, 115, 125, 140, 310, 90 HU and five pixels of 100 HU, all in the "
        "mask; 1 mm pixels",
        _dim(),
        (3.0, 1.0, 1.0),
        mask=_dim() > 0,
        by_hand={
            "agatston_1990": (6.0, 6.0),
            "fqm_siemens": (6.0, 6.0),
            "fqm_philips": (6.0, 12.0),
            "fqm_ge": (6.0, 6.0),
            "fqm_canon": (0.0, 0.0),
            "fqm_literature": (6.0, 2.0),
            "orcascore": (6.0, 6.0),
            "tiger": (6.0, 33.0),
            "deepcac": (18.0, 33.0),
            "ai_cac": (18.0, 33.0),
            "ai_cac_default": (18.0, 33.0),
            "calciumscoring_jl": (4.0, 6.0),
            "slicer_agatston": (6.0, 6.0),
            "lassoan": (6.0, 6.0),
            "dicom_viewer": (6.0, 6.0),
            "comp2comp": (0.0, 0.0),
        },
    ),
    Vector(
        "100 kVp",
        "single pixels of 1 mm2 at 140, 146, 147, 150, 230, 340, 460 HU at 100 kVp",
        _LOW_KV,
        (3.0, 1.0, 1.0),
        mask=_LOW_KV > 0,
        kvp=100,
        by_hand={
            "agatston_1990": (13.0, 21.0),
            "fqm_siemens": (11.0, 15.0),
            "fqm_philips": (11.0, 21.0),
            "fqm_ge": (11.0, 15.0),
            "fqm_canon": (0.0, 0.0),
            "fqm_literature": (11.0, 5.0),
            "orcascore": (13.0, 21.0),
            "tiger": (13.0, 21.0),
            "deepcac": (0.0, 0.0),
            "ai_cac": (0.0, 0.0),
            "ai_cac_default": (0.0, 0.0),
            "calciumscoring_jl": (9.0, 9.0),
            "slicer_agatston": None,
            "lassoan": (13.0, 21.0),
            "dicom_viewer": (13.0, 21.0),
            "comp2comp": (0.0, 0.0),
        },
    ),
    Vector(
        "80 kVp",
        "single pixels of 1 mm2 at 166, 167, 266, 408, 551 HU at 80 kVp",
        _apart(166, 167, 266, 408, 551),
        (3.0, 1.0, 1.0),
        kvp=80,
        by_hand={
            "fqm_ge": None,
            "slicer_agatston": (10.0, 12.0),
            "calciumscoring_jl": (8.0, 9.0),
        },
    ),
    Vector(
        "112.5 HU",
        "two pixels of 112.5 HU and two of 112.6 HU, 1 mm",
        np.array([[[112.5, 112.5, 0, 112.6, 112.6]]]),
        (3.0, 1.0, 1.0),
        by_hand={"fqm_philips": (0.0, 6.0), "fqm_siemens": (0.0, 0.0)},
    ),
    Vector(
        "large pixels",
        "a row of 150, 250, 350 HU at 0.9 mm: pixels of 0.81 mm2",
        np.array([[[150.0, 250.0, 350.0]]]),
        (3.0, 0.9, 0.9),
        by_hand={
            "agatston_1990": (3 * 0.81 * 3, 3 * 0.81 * 3),
            # round(1 / 0.81) = 1 pixel, so every pixel is a lesion of its own
            "calciumscoring_jl": (0.81 * (1 + 2 + 3), 3 * 0.81 * 3),
        },
    ),
    Vector(
        "no thickness",
        "six pixels of 250 HU, slice thickness unknown",
        _blocks(1, (5, 5, 0, 7, 6, 0, 250)),
        (3.0, 0.5, 0.5),
        thickness_mm=None,
        by_hand={
            "agatston_1990": (3.0, 4.5),
            "ai_cac": None,
            "ai_cac_default": None,
        },
    ),
)
