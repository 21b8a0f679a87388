"""A scan of the QRM thorax phantom with its cardiac calcification insert."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np

from kcalc.phantoms.case import Phantom
from kcalc.phantoms.physics import Scanner
from kcalc.phantoms.qrm_layout import InsertLayout, product_layout, random_layout
from kcalc.phantoms.qrm_scene import Thorax, thorax_paints
from kcalc.phantoms.render import Scene, render

PRODUCT_FIELD_OF_VIEW_MM = 250.0
BODY_CENTRE_Y_MM = 20.0
"""The insert lies this far before the middle of the body."""
_THICKNESSES_MM = (3.0, 2.5, 1.5, 5.0)
_PADDINGS_HU = (None, -1024, -2000, -2048)


def qrm(
    layout: Literal["product", "random"] = "product",
    seed: int = 0,
    *,
    num_slices: int | None = None,
    rows: int = 512,
    columns: int = 512,
    field_of_view_mm: float | None = None,
    slice_thickness_mm: float | None = None,
    slice_spacing_mm: float | None = None,
    z_offset_mm: float = 0.0,
    large: bool | None = None,
    **scanner: Any,
) -> Phantom:
    """Render a scan of the QRM thorax phantom with known calcium.

    ``"product"`` is the insert that is sold: nine hydroxyapatite cylinders of 5, 3
    and 1 mm with 800, 400 and 200 mg/mL (168.2 mg in all) and two rods on other
    slices. ``"random"`` draws insert, thorax and scanner anew for every seed, never
    the product's layout, and leaves out calcium in more than 40 % of the cases; it is
    meant for training. Lesions carry ``anatomy.INSERT_LABEL``. The same arguments
    give the same bytes.

    Args:
        layout: ``"product"`` or ``"random"``.
        seed: Seed of the noise, and of all that is drawn.
        num_slices: Default 48, or drawn from 24 to 48.
        rows: Rows of the image.
        columns: Columns of the image.
        field_of_view_mm: Width of the shorter side; default 250 mm, or drawn from 180
            to 430 mm. Fields below 400 mm cut the large phantom.
        slice_thickness_mm: Default 3 mm, or drawn.
        slice_spacing_mm: Default the thickness; random layouts overlap some slices.
        z_offset_mm: Shift of the slice positions against the phantom.
        large: With the fat ring of 400 x 300 mm; default true, or drawn.
        **scanner: Other fields of :class:`kcalc.phantoms.physics.Scanner`, such as
            ``noise_sd_hu``, ``tube_voltage_kvp`` or ``padding_hu``.

    Returns:
        The phantom with its three truths.

    Raises:
        ValueError: The layout is unknown, or a size is out of range.
        TypeError: A keyword is no field of ``Scanner``.

    References:
        McCollough 2007, doi 10.1148/radiol.2432050808 (calcium phantom).
        van Praagh 2021, doi 10.1002/mp.14912 (scores of the insert).
    """
    if layout not in ("product", "random"):
        raise ValueError(
            f"layout must be 'product' or 'random'. Received: layout={layout!r}"
        )
    given = {
        "field_of_view_mm": field_of_view_mm,
        "slice_thickness_mm": slice_thickness_mm,
        "slice_spacing_mm": slice_spacing_mm,
    }
    for argument, value in given.items():
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ValueError(f"{argument} must be above 0 mm. Received: {value}")
    if min(rows, columns) < 16 or (num_slices is not None and num_slices < 1):
        raise ValueError(
            "rows and columns must be at least 16 and num_slices at least 1. "
            f"Received: rows={rows}, columns={columns}, num_slices={num_slices}"
        )
    rng = np.random.default_rng((seed, 20))
    if layout == "product":
        machine, thorax = _product_machine(), Thorax(large=True)
    else:
        machine, thorax = _random_machine(rng), _random_thorax(rng)
    field = field_of_view_mm or machine.pixel_mm * 512
    thickness = slice_thickness_mm or machine.slice_thickness_mm
    overlap = machine.slice_spacing_mm / machine.slice_thickness_mm
    machine = replace(
        machine,
        shape_zyx=(num_slices or machine.shape_zyx[0], rows, columns),
        pixel_mm=field / min(rows, columns),
        slice_thickness_mm=thickness,
        slice_spacing_mm=slice_spacing_mm or thickness * overlap,
        centre_xyz_mm=(*machine.centre_xyz_mm[:2], z_offset_mm),
    )
    machine = replace(machine, **scanner)
    thorax = replace(
        thorax,
        large=thorax.large if large is None else large,
        rim_radius_mm=machine.pixel_mm * min(rows, columns) / 2,
        rim_centre_xy_mm=machine.centre_xyz_mm[:2],
    )
    contents = product_layout()
    if layout == "random":
        half_height = _half_height_mm(machine, thorax)
        contents = random_layout(rng, thorax.insert_radius_mm, half_height)
    gain = machine.calcium_hu_per_mg_per_ml
    scene = Scene(thorax_paints(thorax, contents, gain), contents.lesions)
    return render(
        scene,
        machine,
        name=f"qrm-{layout}",
        seed=seed,
        parameters=_parameters(machine, thorax, contents),
    )


def _half_height_mm(machine: Scanner, thorax: Thorax) -> float:
    """Half the height that is scanned and has the materials' full values."""
    scanned = machine.slice_spacing_mm * (machine.shape_zyx[0] - 1) / 2
    slant = 60.0 * float(np.abs(thorax.fade_slope).sum())
    whole = thorax.half_length_mm - thorax.fade_mm - slant
    return max(min(scanned - 2 * machine.slice_thickness_mm, whole), 3.0)


def _product_machine() -> Scanner:
    return Scanner(
        pixel_mm=PRODUCT_FIELD_OF_VIEW_MM / 512,
        centre_xyz_mm=(0.0, BODY_CENTRE_Y_MM, 0.0),
        streak_sd_hu=3.0,
        padding_hu=-2048,
    )


def _random_machine(rng: np.random.Generator) -> Scanner:
    """Draw a scanner: field of view, slices, kernel, noise and defects."""
    thickness = float(rng.choice(_THICKNESSES_MM, p=[0.6, 0.15, 0.15, 0.1]))
    overlap = float(rng.choice([1.0, 0.5, 0.8], p=[0.8, 0.1, 0.1]))
    psf_sigma = float(rng.uniform(0.42, 0.75))
    padding = rng.choice(4, p=[0.25, 0.2, 0.2, 0.35])
    return Scanner(
        shape_zyx=(int(rng.integers(24, 49)), 512, 512),
        pixel_mm=float(rng.triangular(180.0, 240.0, 430.0)) / 512,
        slice_thickness_mm=thickness,
        slice_spacing_mm=thickness * overlap,
        centre_xyz_mm=(
            float(rng.uniform(-20.0, 20.0)),
            float(rng.uniform(-5.0, 35.0)),
            0.0,
        ),
        ha_hu_per_mg_per_ml=float(rng.uniform(1.25, 1.45)),
        psf_sigma_mm=psf_sigma,
        overshoot=float(rng.choice([0.0, 0.3, 0.8], p=[0.6, 0.25, 0.15])),
        noise_sd_hu=float(rng.uniform(12.0, 32.0)),
        noise_sigma_mm=psf_sigma * float(rng.uniform(0.8, 1.5)),
        streak_sd_hu=float(rng.choice([0.0, 4.0, 8.0, 14.0])),
        hu_offset=float(rng.uniform(-10.0, 10.0)),
        padding_hu=_PADDINGS_HU[padding],
        kernel="phantom-random",
    )


def _random_thorax(rng: np.random.Generator) -> Thorax:
    """Draw the phantom round the insert."""
    insert_hu = float(rng.uniform(30.0, 90.0))
    spine = rng.random() < 0.92
    wall_rods = tuple(
        (
            float(rng.uniform(-110.0, 110.0)),
            float(rng.choice([-71.0, 109.0])),
            float(rng.uniform(2.0, 7.0)),
            float(rng.uniform(150.0, 700.0)),
        )
        for _ in range(int(rng.choice([0, 0, 0, 1, 3])))
    )
    return Thorax(
        large=bool(rng.random() < 0.5),
        insert_radius_mm=float(rng.uniform(40.0, 55.0)),
        insert_hu=insert_hu,
        plastic_hu=float(rng.uniform(20.0, 110.0)),
        lung_hu=float(rng.uniform(-860.0, -760.0)),
        ring_hu=float(rng.uniform(-115.0, -60.0)),
        scale=float(rng.uniform(0.95, 1.08)),
        squareness=float(rng.uniform(2.2, 4.5)),
        gap_mm=float(rng.choice([0.0, 0.4, 0.8, 1.4])),
        neck_mm=float(rng.uniform(20.0, 70.0)),
        spine_radius_mm=float(rng.uniform(13.0, 21.0)) if spine else 0.0,
        spine_wall_mm=float(rng.choice([2.5, 3.4, 5.0, 30.0], p=[0.3, 0.4, 0.2, 0.1])),
        spine_ring_hu=float(rng.uniform(220.0, 520.0)),
        spine_core_hu=float(rng.uniform(90.0, 220.0)),
        process_mm=float(rng.choice([0.0, 18.0, 27.0, 35.0])),
        wing_mm=float(rng.choice([0.0, 28.0, 36.0, 45.0])),
        wall_rods=wall_rods,
        half_length_mm=float(rng.uniform(42.0, 75.0)),
        fade_mm=float(rng.uniform(2.0, 25.0)),
        fade_slope=(float(rng.normal(0.0, 0.03)), float(rng.normal(0.0, 0.05))),
        rim_gain=float(rng.uniform(0.0, 0.18)),
        shades=tuple(
            (
                float(rng.uniform(-60.0, 60.0)),
                float(rng.uniform(-60.0, 90.0)),
                float(rng.uniform(12.0, 50.0)),
                float(rng.uniform(-0.03, 0.03)),
            )
            for _ in range(int(rng.integers(0, 4)))
        ),
        table=bool(rng.random() < 0.6),
    )


def _parameters(
    machine: Scanner, thorax: Thorax, contents: InsertLayout
) -> dict[str, Any]:
    """Return what was drawn as plain values for JSON."""
    return {
        "scanner": asdict(machine),
        "thorax": asdict(thorax),
        "rods": [asdict(rod) for rod in contents.rods],
        "num_lesions": len(contents.lesions),
    }
