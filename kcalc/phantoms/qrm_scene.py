"""The thorax phantom round the insert: fat ring, plastic, lungs, spine and its edges.

The insert's centre is the origin; measures follow the QRM thorax phantom of
300 x 200 mm, with its ring 400 x 300 mm (digest F.1 and F.5 item 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kcalc.phantoms.prisms import FOREVER_MM, Convex, Prism, Rim, Shade, trimmed
from kcalc.phantoms.qrm_layout import PRODUCT_ROD_DENSITY_MG_PER_ML, InsertLayout
from kcalc.phantoms.render import Paint
from kcalc.phantoms.shapes import FloatArray, Patch, cylinder

_BODY_Y_MM = 20.0
"""The body's centre lies this far behind the insert's."""
_SPINE_Y_MM = 71.0
_LEAST_RIM_RADIUS_MM = 100.0


@dataclass(frozen=True)
class Thorax:
    """Measures and materials of the phantom round the insert.

    Args:
        large: With the fat ring of 400 x 300 mm.
        insert_radius_mm: Radius of the insert.
        insert_hu: Its background.
        plastic_hu: Body wall, and the shell round the insert.
        lung_hu: Lungs.
        ring_hu: Fat ring.
        scale: Size against the product.
        squareness: Power of the body's superellipse: 2 ellipse, 4 rounded box.
        gap_mm: Width of the air gap at the front and back of the insert.
        neck_mm: Width of the plastic that carries the insert at the front.
        spine_radius_mm: Outer radius of the spine's ring, 0 for no spine.
        spine_wall_mm: Thickness of the ring.
        spine_ring_hu: Ring and process.
        spine_core_hu: Inside of the ring.
        process_mm: Length of the spinous process, 0 for none.
        wing_mm: Reach of the transverse processes to each side, 0 for none.
        wall_rods: Small rods in the body wall: (x, y, radius, HU) each.
        half_length_mm: Half the phantom's length; beyond it is air.
        fade_mm: Width over which the values fall off before the end.
        fade_slope: Slant of the end in mm per mm along x and y.
        rim_gain: Brightening at the edge of the field of view, share of 1000 HU.
        rim_radius_mm: Radius of the field of view.
        rim_centre_xy_mm: Its centre.
        shades: Broad uneven brightness: (x, y, SD in mm, share of +1000 HU, or if
            negative of -1000 HU) each.
        table: With a patient table behind the phantom.
    """

    large: bool
    insert_radius_mm: float = 50.0
    insert_hu: float = 40.0
    plastic_hu: float = 60.0
    lung_hu: float = -805.0
    ring_hu: float = -80.0
    scale: float = 1.0
    squareness: float = 3.2
    gap_mm: float = 0.8
    neck_mm: float = 50.0
    spine_radius_mm: float = 18.0
    spine_wall_mm: float = 3.4
    spine_ring_hu: float = 400.0
    spine_core_hu: float = 145.0
    process_mm: float = 27.0
    wing_mm: float = 36.0
    wall_rods: tuple[tuple[float, float, float, float], ...] = ()
    half_length_mm: float = 56.0
    fade_mm: float = 22.0
    fade_slope: tuple[float, float] = (0.0, 0.0)
    rim_gain: float = 0.12
    rim_radius_mm: float = 125.0
    rim_centre_xy_mm: tuple[float, float] = (0.0, _BODY_Y_MM)
    shades: tuple[tuple[float, float, float, float], ...] = ()
    table: bool = False

    @property
    def half_width_mm(self) -> float:
        """Half the phantom's width."""
        return (200.0 if self.large else 150.0) * self.scale


def thorax_paints(
    thorax: Thorax, layout: InsertLayout, rod_hu_per_mg_per_ml: float
) -> list[Paint]:
    """Return the paints of the phantom without its calcium, back to front.

    Args:
        thorax: Measures and materials.
        layout: Its rods are painted; its calcium is not.
        rod_hu_per_mg_per_ml: HU that 1 mg/mL hydroxyapatite adds, for the rods.
    """
    paints = [
        *_wall_paints(thorax),
        *_insert_paints(thorax),
        *_spine_paints(thorax),
    ]
    for x, y, radius, hu in thorax.wall_rods:
        paints.append(Paint(_disc(x, y, radius, radius), hu))
    calcium_rod_hu = (
        thorax.insert_hu + PRODUCT_ROD_DENSITY_MG_PER_ML * rod_hu_per_mg_per_ml
    )
    for rod in layout.rods:
        x, y, z = rod.centre_xyz_mm
        low, high = z - rod.length_mm / 2, z + rod.length_mm / 2
        disc = cylinder((x, y, 0.0), rod.radius_mm, rod.radius_mm, FOREVER_MM)
        hu = calcium_rod_hu if rod.hu is None else rod.hu
        paints.append(Paint(Prism(disc, low, high), hu))
    for x, y, sd, share in thorax.shades:
        paints.append(Paint(Prism(Shade(x, y, sd, abs(share))), np.sign(share) * 1e3))
    # Smaller fields are cut out of a larger reconstruction, which has no such edge.
    cut_off = _LEAST_RIM_RADIUS_MM <= thorax.rim_radius_mm < thorax.half_width_mm
    if thorax.rim_gain > 0 and cut_off:
        rim = Rim(thorax.rim_centre_xy_mm, thorax.rim_radius_mm, thorax.rim_gain)
        paints.append(Paint(Prism(rim), 1000.0))
    paints.append(Paint(_End(thorax), -1000.0))
    return paints


def _wall_paints(thorax: Thorax) -> list[Paint]:
    s = thorax.scale
    body = (0.0, _BODY_Y_MM * s)
    paints = []
    if thorax.table:
        behind = (152.0 if thorax.large else 102.0) * s
        table = cylinder((0.0, body[1] + behind + 9.0, 0.0), 215.0, 9.0, FOREVER_MM, 6)
        foam = cylinder((0.0, body[1] + behind + 9.0, 0.0), 213.0, 7.0, FOREVER_MM, 6)
        paints += [Paint(Prism(table), 40.0), Paint(Prism(foam), -900.0)]
    if thorax.large:
        power = max(2.0, thorax.squareness - 0.6)
        paints.append(
            Paint(_disc(*body, 200.0 * s, 150.0 * s, power), thorax.ring_hu, 3.0)
        )
        # Ring and body are two pieces: air lies between them.
        gap = _disc(0.0, body[1] - 0.4, 150.4 * s, 100.9 * s, thorax.squareness)
        paints.append(Paint(gap, -500.0))
    wall = _disc(*body, 150.0 * s, 100.0 * s, thorax.squareness)
    paints.append(Paint(wall, thorax.plastic_hu, 3.0))
    for side in (-1.0, 1.0):
        lung = _disc(side * 62.0 * s, (_BODY_Y_MM - 2.0) * s, 74.0 * s, 81.0 * s, 2.3)
        paints.append(Paint(lung, thorax.lung_hu, 4.0))
    return paints


def _insert_paints(thorax: Thorax) -> list[Paint]:
    s, radius = thorax.scale, thorax.insert_radius_mm
    front = (_BODY_Y_MM - 90.0) * s
    neck = (0.0, front / 2, thorax.neck_mm / 2, abs(front) / 2)
    carrier = (0.0, (radius + _SPINE_Y_MM * s) / 2, 7.0 * s, 12.0 * s)
    paints = [
        Paint(_disc(*neck, 8.0), thorax.plastic_hu, 3.0),
        Paint(_disc(*carrier, 6.0), thorax.plastic_hu, 3.0),
        Paint(_disc(0.0, 0.0, radius + 3.0, radius + 3.0), thorax.plastic_hu),
    ]
    if thorax.gap_mm > 0:
        gap = _disc(0.0, 0.0, radius, radius + thorax.gap_mm)
        paints.append(Paint(gap, -150.0))
    paints.append(Paint(_disc(0.0, 0.0, radius, radius), thorax.insert_hu, 2.0))
    return paints


def _spine_paints(thorax: Thorax) -> list[Paint]:
    outer = thorax.spine_radius_mm
    if outer <= 0:
        return []
    s, bone = thorax.scale, thorax.spine_ring_hu
    y = max(_SPINE_Y_MM * s, thorax.insert_radius_mm + outer + 3.0)
    paints = []
    if thorax.wing_mm > 0:
        for side in (-thorax.wing_mm, thorax.wing_mm):
            corners = ((0.0, 0.6), (side, 1.5), (side, 1.65), (0.0, 1.35))
            wing = Convex(tuple((x, y + down * outer) for x, down in corners))
            paints.append(Paint(Prism(wing), bone, 8.0))
    if thorax.process_mm > 0:
        half = thorax.process_mm / 2
        process = _disc(0.0, y + outer + half, 5.0 * s, half, 5.0)
        paints.append(Paint(process, bone, 8.0))
    inner = max(outer - thorax.spine_wall_mm, 0.0)
    paints.append(Paint(_disc(0.0, y, outer, outer), bone, 8.0))
    if inner > 0:
        paints.append(Paint(_disc(0.0, y, inner, inner), thorax.spine_core_hu, 8.0))
    return paints


def _disc(
    x_mm: float, y_mm: float, half_x_mm: float, half_y_mm: float, power: float = 2.0
) -> Prism:
    column = cylinder((x_mm, y_mm, 0.0), half_x_mm, half_y_mm, FOREVER_MM, power)
    return Prism(column)


@dataclass(frozen=True)
class _End:
    """The share of air towards the slanted ends of the phantom."""

    thorax: Thorax

    def patch(self, z_mm: float, y_mm: FloatArray, x_mm: FloatArray) -> Patch | None:
        thorax = self.thorax
        slope_x, slope_y = thorax.fade_slope
        slant = slope_x * x_mm[None, :] + slope_y * y_mm[:, None]
        depth = abs(z_mm) + np.sign(z_mm) * slant - thorax.half_length_mm
        share = np.clip(1.0 + depth / thorax.fade_mm, 0.0, 1.0) ** 1.5
        return trimmed(share.astype(np.float32))
