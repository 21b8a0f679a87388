"""The patient of the head phantom: size, tissue and the way the head is turned.

Positions are LPS millimetres of a median head whose pituitary fossa is the origin: x
to the left, y to the back, z to the vertex.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kcalc.phantoms.render import Paint
from kcalc.phantoms.shapes import Tube, ellipsoid
from kcalc.phantoms.thorax import Build, Points, smooth_path

SIDES = (-1, 1)
"""Right and left: the sign of x."""

Place = tuple[float, float, float]


@dataclass(frozen=True)
class HeadBuild(Build):
    """Size, tissue and pose of one head; ``wall_mm`` is the scalp.

    Args:
        turn_rad: Small angles: turned to a side (yaw), chin up (pitch), tilted to a
            shoulder (roll).
    """

    turn_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def points(self, *xyz_mm: Place) -> Points:
        """Scale and turn positions of the median head, (n, 3)."""
        yaw, pitch, roll = self.turn_rad
        turn = np.array([[1, -yaw, roll], [yaw, 1, -pitch], [-roll, pitch, 1]])
        scaled = np.array(xyz_mm, dtype=float) * np.array(self.scale_xyz)
        return np.asarray(scaled @ turn.T)

    def point(self, x: float, y: float, z: float) -> Place:
        """Scale and turn one position of the median head."""
        px, py, pz = self.points((x, y, z))[0].tolist()
        return (px, py, pz)

    @property
    def yaw_rad(self) -> float:
        """Angle of the head in the axial plane."""
        return self.turn_rad[0]

    def tube(
        self,
        course: tuple[Place, ...],
        radius_mm: float | Points,
        hu: float,
        *,
        side: int = 1,
        jitter_mm: float = 0.0,
        texture_hu: float = 0.0,
        flatten_z: float = 1.0,
    ) -> Paint:
        """Return a smooth tube along a course given for the left side."""
        points = self.points(*((side * x, y, z) for x, y, z in course))
        points = points + self.rng.normal(0, 1, points.shape) * jitter_mm
        path = smooth_path(points, 6 * len(course)) if len(course) > 2 else points
        radius = np.asarray(radius_mm, dtype=float)
        if radius.ndim:
            knots = np.linspace(0, 1, len(radius))
            radius = np.interp(np.linspace(0, 1, len(path)), knots, radius)
        return Paint(Tube(path, radius, flatten_z), hu, texture_hu)

    def blob(
        self,
        centre: Place,
        half_xyz_mm: Place,
        hu: float,
        texture_hu: float = 0.0,
        *,
        angle_rad: float = 0.0,
        power: float = 2.0,
    ) -> Paint:
        """Return an ellipsoid of the median head, turned in plane with the head."""
        sx, sy, sz = self.scale_xyz
        size = (half_xyz_mm[0] * sx, half_xyz_mm[1] * sy, half_xyz_mm[2] * sz)
        angle = self.yaw_rad + angle_rad
        return Paint(ellipsoid(self.point(*centre), size, angle, power), hu, texture_hu)
