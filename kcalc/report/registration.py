"""How a head lies against the reference: pictures and numbers for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.geometry import Geometry
from kcalc.registration import NetworkScan, Reference
from kcalc.regrid import onto_axial
from kcalc.report.figures import DisplayPlane, Outline, plane_svg

_BONE_HU = 250.0
_COURSE_RADIUS_MM = 2.5
_PLANES = (
    # axis, position in the standard pose in mm, title
    (0, -1.0, "Axial, siphons"),
    (0, -17.0, "Axial, petrous parts"),
    (1, 4.0, "Coronal, siphons"),
    (2, 0.0, "Sagittal, middle"),
)
_LETTERS = (("I", "S"), ("A", "P"), ("R", "L"))


def registration_pictures(
    scan: NetworkScan, calcium: npt.NDArray[Any], reference: Reference
) -> list[str]:
    """Draw a registered scan in four planes, the reference's bone outlined on it.

    Args:
        scan: The scan on the network's grid.
        calcium: (z, y, x) what was scored there.
        reference: What it was registered to.

    Returns:
        An ``<svg>`` each.
    """
    pictures = []
    for number, (axis, position_mm, title) in enumerate(_PLANES):
        index = _index_of(scan.grid, axis, position_mm)
        plane = _display_plane(scan.grid, axis)
        bone = _reference_plane(reference, scan.grid, axis, index) > _BONE_HU
        course = _course_plane(reference, scan.grid, axis, index)
        outlines = (
            Outline(plane.turn(bone), "reference"),
            Outline(plane.turn(course), "course"),
            Outline(plane.turn(calcium.take(index, axis) > 0), "kept"),
        )
        pictures.append(
            plane_svg(
                plane.turn(scan.volume.array.take(index, axis)),
                outlines,
                plane,
                picture_id=f"registration-{number}",
                label=title,
            )
        )
    return pictures


def registration_section(record: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """Return the section on the registration; "" where none was asked for.

    Args:
        record: What ``score.json`` holds.
        pictures: What :func:`registration_pictures` drew.
    """
    grid = record["network_grid"]
    if grid is None:
        return ""
    fit = grid["registration"]
    middle = ", ".join(f"{value:.1f}" for value in fit["middle_xyz_mm"])
    rows = (
        ("Registered to", fit["reference"]),
        (
            "Turned by",
            f"pitch {fit['pitch_deg']:.1f}°, roll {fit['roll_deg']:.1f}°, yaw "
            f"{fit['yaw_deg']:.1f}°",
        ),
        ("Middle of the grid in the scan", f"{middle} mm (LPS)"),
        ("Correlation of the skull base", f"{fit['correlation']:.2f}"),
        ("Grid within the scan", f"{grid['share_inside']:.1%}"),
        ("Carotids within the scan", f"{fit['carotid_share']:.1%}"),
    )
    table = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>"
        for name, text in rows
    )
    figures = "".join(
        f"<figure>{svg}<figcaption>{escape(title)}</figcaption></figure>"
        for svg, (_, _, title) in zip(pictures, _PLANES, strict=True)
    )
    return (
        "<section><h2>Registration</h2><p>The scan on the network's grid, in the pose "
        "of the reference. If the bone of the scan does not lie along that of the "
        "reference, do not use the numbers.</p>"
        f"<table><tbody>{table}</tbody></table>"
        '<p><span><i class="key reference"></i>bone of the reference</span> '
        '<span><i class="key course"></i>its carotids</span> '
        '<span><i class="key"></i>calcium that was scored</span></p>'
        f'<div class="planes">{figures}</div></section>'
    )


def network_grid_words(record: Mapping[str, Any]) -> str:
    """Return the grid in words, "" without one: ``100 x 240 x 240 voxels of ...``."""
    grid = record["network_grid"]
    if grid is None:
        return ""
    shape = " x ".join(str(n) for n in grid["shape_zyx"])
    spacing = " x ".join(f"{n:g}" for n in grid["spacing_mm"])
    return f"{shape} voxels of {spacing} mm"


def _index_of(grid: Geometry, axis: int, position_mm: float) -> int:
    start = grid.affine_lps[2 - axis, 3]
    return round(float((position_mm - start) / grid.spacing_mm[axis]))


def _display_plane(grid: Geometry, axis: int) -> DisplayPlane:
    down, across = (other for other in range(3) if other != axis)
    spacing_mm = grid.spacing_mm
    top, bottom = _LETTERS[down][:: -1 if down == 0 else 1]
    return DisplayPlane(
        transpose=False,
        flip_rows=down == 0,
        flip_columns=False,
        marks=(*_LETTERS[across], top, bottom),
        spacing_mm=(spacing_mm[down], spacing_mm[across]),
    )


def _reference_plane(
    reference: Reference, grid: Geometry, axis: int, index: int
) -> npt.NDArray[np.float32]:
    """Return the reference's HU in one plane of the network's grid."""
    affine = np.array(grid.affine_lps)
    affine[:3, 3] += index * affine[:3, axis]
    z, y, x = (1 if other == axis else n for other, n in enumerate(grid.shape_zyx))
    head = reference.grid
    plane = onto_axial(
        head.array_hu, head.geometry, Geometry((z, y, x), affine), outside=-1000.0
    )
    return np.asarray(plane.take(0, axis))


def _course_plane(
    reference: Reference, grid: Geometry, axis: int, index: int
) -> npt.NDArray[np.bool_]:
    """Return the pixels of a plane within 2.5 mm of the reference's carotids."""
    points = grid.mm_to_index(reference.carotids_xyz_mm)
    spacing_mm = np.array(grid.spacing_mm)
    down, across = (other for other in range(3) if other != axis)
    rows = np.arange(grid.shape_zyx[down])[:, None, None]
    columns = np.arange(grid.shape_zyx[across])[None, :, None]
    away_mm = np.abs(points[:, axis] - index) * spacing_mm[axis]
    near = points[away_mm < _COURSE_RADIUS_MM]
    if not len(near):
        return np.zeros((rows.size, columns.size), np.bool_)
    distance2 = (
        ((rows - near[:, down]) * spacing_mm[down]) ** 2
        + ((columns - near[:, across]) * spacing_mm[across]) ** 2
        + ((index - near[:, axis]) * spacing_mm[axis]) ** 2
    )
    return np.asarray(distance2.min(axis=2) <= _COURSE_RADIUS_MM**2)
