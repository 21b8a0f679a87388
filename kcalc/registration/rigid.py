"""Rigid registration with SimpleITK: a rough place by search, then two descents."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.errors import UsageError
from kcalc.geometry import Geometry
from kcalc.phantoms.head_reference import STUDY_CENTRE_XYZ_MM
from kcalc.registration.even_grid import BoolArray, EvenGrid
from kcalc.registration.pose import Pose
from kcalc.registration.reference import Reference

HEAD_WINDOW_HU = (-300.0, 900.0)
"""Air, soft tissue and bone: where the head is."""
BONE_WINDOW_HU = (0.0, 900.0)
"""Bone alone: skin, sinuses and head rest do not pull at the skull base."""

_TURNS_DEG = (
    *((pitch, 0.0, yaw) for pitch in (0.0, -30.0, 30.0) for yaw in (0.0, -30.0, 30.0)),
    *((0.0, -20.0, 0.0), (0.0, 20.0, 0.0)),
)
_LEAST_OVERLAP = 0.5
"""Share of the head, or of the scan if that is smaller, that must meet the other."""
_NUM_STARTS = 2
_SEED = 20175


def simpleitk() -> ModuleType:
    """Return SimpleITK.

    Raises:
        UsageError: ``PACKAGE``: it is not installed.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise UsageError(
            "PACKAGE",
            "registration needs SimpleITK, which is not installed.",
            hint='Install it: pip install "kcalc[register]".',
        ) from error
    module: ModuleType = SimpleITK
    return module


def best_pose(scan: EvenGrid, reference: Reference) -> Pose | None:
    """Return the pose in which a scan fits the skull base of a reference best.

    The head is searched for at 8 mm in eleven turns and all places, by correlation over
    what both show; the best two places are refined at 4 mm on the head, the better one
    at 2 mm on the bone of the skull base, which a rigid pose can fit better than
    the whole head.

    Args:
        scan: The scan on cubes of 2 mm.
        reference: The head in the standard pose.

    Returns:
        None where the scan has nothing in common with the head.

    Raises:
        UsageError: ``PACKAGE``.
    """
    whole = replace(reference.grid, inside=reference.head)
    base = replace(reference.grid, inside=reference.skull_base)
    scan_4, whole_4 = scan.coarser(2), whole.coarser(2)
    found: list[tuple[float, Pose]] = []
    for start in _places(scan.coarser(4), whole.coarser(4))[:_NUM_STARTS]:
        moved = _descended(
            start, scan_4, whole_4, HEAD_WINDOW_HU, step_mm=4.0, sampled=0.5
        )
        if moved is not None:
            found.append(moved)
    if not found:
        return None
    _, better = min(found, key=lambda pair: pair[0])
    final = _descended(better, scan, base, BONE_WINDOW_HU, step_mm=2.0, sampled=0.4)
    return None if final is None else final[1]


def _places(scan: EvenGrid, head: EvenGrid) -> list[Pose]:
    """Return the best place of each turn of the head, the most alike first."""
    sitk = simpleitk()
    side = int(np.ceil(np.linalg.norm(head.geometry.shape_zyx)))
    middle = np.array(STUDY_CENTRE_XYZ_MM)
    spacing_mm = head.spacing_mm
    corner = middle - (side - 1) / 2 * spacing_mm
    x, y, z = corner.tolist()
    room = Geometry.axial((side,) * 3, (spacing_mm,) * 3, (x, y, z))
    values, seen = (
        _image(sitk, array, spacing_mm)
        for array in (_clipped(scan, HEAD_WINDOW_HU), scan.inside.astype(np.float32))
    )
    found = []
    for turn_deg in _TURNS_DEG:
        pose = Pose(turn_deg)
        turned = head.resampled_to(room, pose.inverse)
        box = _box_round(turned.inside)
        mask = np.ascontiguousarray(turned.inside[box], np.float32)
        part = np.ascontiguousarray(_clipped(turned, HEAD_WINDOW_HU)[box])
        least = int(_LEAST_OVERLAP * min(mask.sum(), scan.inside.sum()))
        alike = sitk.GetArrayFromImage(
            sitk.MaskedFFTNormalizedCorrelation(
                values,
                _image(sitk, part, spacing_mm),
                seen,
                _image(sitk, mask, spacing_mm),
                least,
                0.0,
            )
        )
        place = np.unravel_index(int(alike.argmax()), alike.shape)
        shift = np.array(place) - (np.array(part.shape) - 1)
        first = np.array([edge.start for edge in box])
        offset = (shift - first)[::-1] * spacing_mm + scan.origin_xyz_mm - corner
        found.append((float(alike.max()), Pose.of(pose.rotation, middle + offset)))
    return [pose for _, pose in sorted(found, key=lambda pair: -pair[0])]


def _descended(
    start: Pose,
    scan: EvenGrid,
    head: EvenGrid,
    window_hu: tuple[float, float],
    *,
    step_mm: float,
    sampled: float,
) -> tuple[float, Pose] | None:
    """Follow the correlation from a pose; None where head and scan hardly meet.

    Returns:
        The metric, the less the better, and the pose.
    """
    sitk = simpleitk()
    transform = sitk.Euler3DTransform()
    transform.SetCenter(STUDY_CENTRE_XYZ_MM)
    transform.SetMatrix(start.rotation.ravel().tolist(), 1e-6)
    shift = np.subtract(start.middle_xyz_mm, STUDY_CENTRE_XYZ_MM)
    transform.SetTranslation(shift.tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)  # the sum's order, and so its last bits, stay
    method.SetMetricAsCorrelation()
    method.SetMetricFixedMask(_image_of(sitk, head, head.inside.astype(np.uint8)))
    method.SetMetricMovingMask(_image_of(sitk, scan, scan.inside.astype(np.uint8)))
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(sampled, _SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=step_mm,
        minStep=0.02,
        numberOfIterations=80,
        gradientMagnitudeTolerance=1e-8,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(
            _image_of(sitk, head, _clipped(head, window_hu)),
            _image_of(sitk, scan, _clipped(scan, window_hu)),
        )
    except RuntimeError:  # ITK: nearly all samples lie outside the scan
        return None
    rotation = np.array(transform.GetMatrix()).reshape(3, 3)
    middle = np.add(transform.GetTranslation(), STUDY_CENTRE_XYZ_MM)
    return float(method.GetMetricValue()), Pose.of(rotation, middle)


def correlation(scan: EvenGrid, reference: Reference, pose: Pose) -> float:
    """Return how alike bone of scan and skull base are in what both show.

    Args:
        scan: The scan on cubes.
        reference: The head in the standard pose.
        pose: Where it lies in the scan.

    Returns:
        Pearson's correlation at 4 mm, -1 to 1; 0 where either is constant.
    """
    base = replace(reference.grid, inside=reference.skull_base).coarser(2)
    there = scan.coarser(2).resampled_to(base.geometry, pose.matrix)
    both = base.inside & there.inside
    a, b = (_clipped(grid, BONE_WINDOW_HU)[both] for grid in (base, there))
    if a.size < 2 or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _clipped(grid: EvenGrid, window_hu: tuple[float, float]) -> npt.NDArray[np.float32]:
    return np.clip(grid.array_hu, *window_hu).astype(np.float32)


def _box_round(mask: BoolArray) -> tuple[slice, ...]:
    edges = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        used = np.flatnonzero(mask.any(axis=others))
        edges.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(edges)


def _image(sitk: ModuleType, array: npt.NDArray[Any], spacing_mm: float) -> Any:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((spacing_mm,) * 3)
    return image


def _image_of(sitk: ModuleType, grid: EvenGrid, array: npt.NDArray[Any]) -> Any:
    image = _image(sitk, array, grid.spacing_mm)
    image.SetOrigin(grid.origin_xyz_mm.tolist())
    return image
