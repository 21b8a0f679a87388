"""The median head in the standard pose: what scans of heads are registered to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kcalc.phantoms.head import STUDY_PIXEL_MM, head_tissue
from kcalc.phantoms.head_build import SIDES, HeadBuild
from kcalc.phantoms.physics import Scanner
from kcalc.phantoms.render import Scene, render
from kcalc.phantoms.siphon import carotids, median_course
from kcalc.phantoms.thorax import Points
from kcalc.volume import Volume

STUDY_SHAPE_ZYX = (100, 240, 240)
"""Image size of Bortsova 2017, section 3."""
STUDY_SPACING_MM = (1.0, STUDY_PIXEL_MM, STUDY_PIXEL_MM)
STUDY_CENTRE_XYZ_MM = (0.0, 7.0, -11.0)
"""Where the middle of the study's image lies in the median head."""

_SEED = 20175
_PIXEL_MM = 2.0
_SHAPE_ZYX = (85, 112, 90)
_CENTRE_XYZ_MM = (0.0, 10.0, 22.0)


@dataclass(frozen=True, eq=False)
class ReferenceHead:
    """A head without calcium, noise or artefacts, turned to no side.

    Args:
        volume: 2 mm voxels from the upper jaw to the vertex, its origin the pituitary
            fossa.
        carotids_xyz_mm: (n, 3) points of both internal carotids from the petrous part
            to their ends.
    """

    volume: Volume
    carotids_xyz_mm: Points


def reference_head() -> ReferenceHead:
    """Render the median head in the standard pose; the same bytes each time."""
    build = HeadBuild(
        scale_xyz=(1.0, 1.0, 1.0),
        blood_hu=43.0,
        soft_hu=52.0,
        fat_hu=-98.0,
        bone_density=0.95,
        wall_mm=6.5,
        rng=np.random.default_rng(_SEED),
    )
    scanner = Scanner(
        shape_zyx=_SHAPE_ZYX,
        pixel_mm=_PIXEL_MM,
        slice_spacing_mm=_PIXEL_MM,
        slice_thickness_mm=0.8,
        centre_xyz_mm=_CENTRE_XYZ_MM,
        psf_sigma_mm=0.9,
        noise_sd_hu=0.0,
    )
    tissue = head_tissue(build, carotids(build), with_ears=True)
    phantom = render(
        Scene(tissue), scanner, name="head-reference", seed=_SEED, body_part="HEAD"
    )
    courses = [median_course() * (side, 1, 1) for side in SIDES]
    return ReferenceHead(phantom.volume, np.concatenate(courses))
