"""A pose: where a head lies in a scan, against the standard pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kcalc.phantoms.head_reference import STUDY_CENTRE_XYZ_MM

_DECIMALS = 3
"""Poses are rounded to 0.001 degrees and mm, so that a sum in another order, on
another machine, does not change a result's bytes."""


@dataclass(frozen=True)
class Pose:
    """A rigid transform from the standard pose to a scan.

    The point x of the standard head lies at R (x - c) + m in the scan, c being the
    middle of the network's grid.

    Args:
        rotation_deg: Turns about the axes x (pitch: chin down is positive), y (roll)
            and z (yaw) of the scanner, made in this order.
        middle_xyz_mm: m, LPS mm in the scan.
    """

    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    middle_xyz_mm: tuple[float, float, float] = STUDY_CENTRE_XYZ_MM

    @classmethod
    def of(cls, rotation: npt.ArrayLike, middle_xyz_mm: npt.ArrayLike) -> Pose:
        """Return the pose of a rotation matrix and a middle, rounded."""
        from scipy.spatial.transform import Rotation

        angles = Rotation.from_matrix(rotation).as_euler("xyz", degrees=True)
        x, y, z = (round(float(value), _DECIMALS) for value in angles)
        mx, my, mz = (
            round(float(value), _DECIMALS) for value in np.asarray(middle_xyz_mm)
        )
        return cls((x, y, z), (mx, my, mz))

    @property
    def rotation(self) -> npt.NDArray[np.float64]:
        """The 3 x 3 matrix R."""
        from scipy.spatial.transform import Rotation

        turned = Rotation.from_euler("xyz", self.rotation_deg, degrees=True)
        return np.asarray(turned.as_matrix())

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """The 4 x 4 matrix from LPS mm of the standard head to those of the scan.

        Example:
            >>> Pose((0.0, 0.0, 90.0), (1.0, 2.0, 3.0)).matrix.round().tolist()[0]
            [0.0, -1.0, 0.0, 8.0]
        """
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = self.middle_xyz_mm - self.rotation @ STUDY_CENTRE_XYZ_MM
        return matrix

    @property
    def inverse(self) -> npt.NDArray[np.float64]:
        """The 4 x 4 matrix from LPS mm of the scan to those of the standard head."""
        return np.asarray(np.linalg.inv(self.matrix), np.float64)

    @property
    def angle_deg(self) -> float:
        """The one angle by which the head is turned in all, degrees."""
        cosine = (np.trace(self.rotation) - 1) / 2
        return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
