"""How far a registered head phantom is from the truth: a pose enters, mm leave."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kcalc.phantoms import Phantom
from kcalc.phantoms.siphon import PETROUS_FROM_KNOT
from kcalc.registration.pose import Pose
from kcalc.registration.reference import phantom_reference


class SiphonError(NamedTuple):
    """Distances of a phantom's carotids from where a pose puts the reference's.

    Args:
        mean_mm: Mean over both arteries, petrous part to their ends.
        shift_mm: Length of the mean vector: by how much all of it is off.
        least_mm: The mean that the best rigid pose would leave, for the patient is not
            the median head.
    """

    mean_mm: float
    shift_mm: float
    least_mm: float


def siphon_error(
    phantom: Phantom, pose: Pose, motion: npt.NDArray[np.float64] | None = None
) -> SiphonError:
    """Return how far a pose puts the carotids of a head phantom from the true ones.

    Args:
        phantom: Of :func:`kcalc.phantoms.head`.
        pose: What :func:`kcalc.registration.register_head` found.
        motion: 4 x 4, by which the phantom was moved before that, LPS mm.
    """
    from scipy.spatial.transform import Rotation

    reference = phantom_reference().carotids_xyz_mm
    courses = phantom.parameters["carotids"].values()
    count = len(reference) // len(courses)
    points = []
    for course in courses:
        knots = np.array(course)
        # The knots run from the neck; the reference begins at the petrous part.
        wanted = np.linspace(PETROUS_FROM_KNOT, len(knots) - 1, count)
        at = np.arange(len(knots))
        points.append([np.interp(wanted, at, axis) for axis in knots.T])
    true_mm = np.concatenate([np.transpose(axes) for axes in points])
    if motion is not None:
        true_mm = true_mm @ motion[:3, :3].T + motion[:3, 3]
    off = reference @ pose.rotation.T + pose.matrix[:3, 3] - true_mm
    middles = reference - reference.mean(axis=0), true_mm - true_mm.mean(axis=0)
    best, _ = Rotation.align_vectors(middles[1], middles[0])
    left = best.apply(middles[0]) - middles[1]
    return SiphonError(
        float(np.linalg.norm(off, axis=1).mean()),
        float(np.linalg.norm(off.mean(axis=0))),
        float(np.linalg.norm(left, axis=1).mean()),
    )
