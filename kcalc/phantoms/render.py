"""From a scene to a scan: paint, average over the slice, blur, add noise, label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.phantoms.case import Phantom, TrueLesion
from kcalc.phantoms.deposits import Deposit, render_deposit
from kcalc.phantoms.physics import (
    Scanner,
    clip_and_round,
    noise_filter,
    resampler,
    streak_filter,
    transfer_function,
)
from kcalc.phantoms.shapes import Patch, Shape
from kcalc.volume import Acquisition, Volume

FloatArray = npt.NDArray[np.float32]

VISIBLE_CALCIUM_HU = 40.0
"""A component is a reader's lesion if blurred calcium adds at least this somewhere."""
REACH_CALCIUM_HU = 10.0
"""Voxels to which blurred calcium adds less than this are never labelled."""
_METAL_HU = 2500.0


@dataclass(frozen=True)
class Paint:
    """A shape filled with one material, over whatever lay there.

    Args:
        shape: Where.
        hu: Value in HU.
        texture_hu: SD of the material's own fine structure in HU (spongy bone, lung).
    """

    shape: Shape
    hu: float
    texture_hu: float = 0.0


@dataclass(frozen=True)
class Scene:
    """Everything that lies in the scanner.

    Args:
        paints: Painted in order, later over earlier.
        deposits: Calcium, added to what is painted.
        moving: Shape within which everything moves while it is scanned, or None.
        motion_mm: Displacement (x, y) between the first and the last phase in mm.
        background_hu: Value of the surroundings.
        calcium_share: Share of a voxel's HU above ``beside_hu`` that must be a target's
            calcium for a reader to count the voxel, where bone lies beside it.
        beside_hu: Value of what calcium lies in.
    """

    paints: Sequence[Paint]
    deposits: Sequence[Deposit] = ()
    moving: Shape | None = None
    motion_mm: tuple[float, float] = (0.0, 0.0)
    background_hu: float = -1000.0
    calcium_share: float = 0.0
    beside_hu: float = 40.0


@dataclass
class _Scan:
    """Arrays that the slices are written into."""

    noisy: npt.NDArray[np.int16]
    noise_free: npt.NDArray[np.int16]
    label: npt.NDArray[np.uint8]
    noise_free_label: npt.NDArray[np.uint8]
    calcium: dict[int, dict[int, FloatArray]] = field(default_factory=dict)


def render(
    scene: Scene,
    scanner: Scanner,
    *,
    name: str,
    seed: int,
    parameters: dict[str, Any] | None = None,
    body_part: str = "CHEST",
    ecg_gated: bool | None = None,
) -> Phantom:
    """Scan a scene.

    Each slice is the mean of two to four sub-slices, plus the finely sampled calcium
    weighted by the slice profile, blurred in plane by the kernel; then drift, noise,
    streaks, rounding and clipping. The same arguments give the same bytes.

    Args:
        scene: What is scanned.
        scanner: How.
        name: Kind of phantom.
        seed: Seed of noise and texture.
        parameters: What the scene was drawn from, kept with the phantom.
        body_part: BodyPartExamined of the acquisition.
        ecg_gated: Whether the acquisition was gated; None where it does not say.

    Returns:
        The phantom with its three truths.
    """
    from scipy import fft

    final = scanner.resampled
    shape = final.shape_zyx
    scan = _Scan(
        np.empty(shape, np.int16),
        np.empty(shape, np.int16),
        np.zeros(shape, np.uint8),
        np.zeros(shape, np.uint8),
    )
    lesions = _render_calcium(scene, scanner, scan)
    transfer = transfer_function(scanner)
    noise_gain = noise_filter(scanner) * scanner.noise_sd_hu
    streak_gain = streak_filter(scanner) * scanner.streak_sd_hu
    z_mm, y_mm, x_mm = scanner.axes_mm()
    resample = _resampling(scanner)
    _, final_y_mm, final_x_mm = final.axes_mm()
    outside = _outside_circle(final, final_y_mm, final_x_mm)
    metal = tuple(paint for paint in scene.paints if paint.hu >= _METAL_HU)
    for index, z in enumerate(z_mm):
        rng = np.random.default_rng((seed, index, 1))
        tissue = _tissue(scene, scanner, float(z), y_mm, x_mm, rng)
        moving = _moving_patch(scene, float(z), y_mm, x_mm)
        calcium = {
            label: _move(plane, moving, scene, scanner)
            for label, plane in scan.calcium.get(index, {}).items()
        }
        tissue = _move(tissue, moving, scene, scanner)
        for plane in calcium.values():
            tissue = tissue + plane
        clean = fft.irfft2(fft.rfft2(tissue) * transfer, s=tissue.shape)
        clean = clean + np.float32(scanner.hu_offset)
        white = rng.standard_normal(tissue.shape, dtype=np.float32)
        noise_spectrum = fft.rfft2(white) * noise_gain
        if scanner.streak_sd_hu > 0:
            rough = rng.standard_normal(tissue.shape, dtype=np.float32)
            noise_spectrum += fft.rfft2(rough) * streak_gain
        noisy = clean + fft.irfft2(noise_spectrum, s=tissue.shape)
        for paint in metal:
            _add_star(noisy, paint.shape.patch(float(z), y_mm, x_mm), rng)
        scan.noise_free[index] = np.rint(resample(clip_and_round(clean, scanner)))
        scan.noisy[index] = np.rint(resample(clip_and_round(noisy, scanner)))
        blurred = {
            label: resample(fft.irfft2(fft.rfft2(plane) * transfer, s=plane.shape))
            for label, plane in calcium.items()
            if label > 0
        }
        if blurred:
            share_hu = scene.calcium_share * (resample(clean) - scene.beside_hu)
            scan.label[index] = _reader_label(scan.noisy[index], blurred, share_hu)
            scan.noise_free_label[index] = _reader_label(
                scan.noise_free[index], blurred, share_hu
            )
        if outside is not None and scanner.padding_hu is not None:
            for target in (scan.noisy, scan.noise_free):
                target[index][outside] = scanner.padding_hu
            for labels in (scan.label, scan.noise_free_label):
                labels[index][outside] = 0
    acquisition = Acquisition(
        modality="CT",
        tube_voltage_kvp=scanner.tube_voltage_kvp,
        slice_thickness_mm=scanner.slice_thickness_mm,
        convolution_kernel=scanner.kernel,
        manufacturer="kcalc phantom",
        manufacturer_model_name=name,
        image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
        body_part=body_part,
        ecg_gated=ecg_gated,
    )
    return Phantom(
        volume=Volume(scan.noisy, final.geometry, "HU", acquisition),
        lesions=lesions,
        noise_free_hu=scan.noise_free,
        noise_free_label=scan.noise_free_label,
        label=scan.label,
        name=name,
        seed=seed,
        parameters=parameters or {},
    )


def _render_calcium(
    scene: Scene, scanner: Scanner, scan: _Scan
) -> tuple[TrueLesion, ...]:
    """Add every deposit's HU to its slices, per label; return the target lesions."""
    lesions = []
    for deposit in scene.deposits:
        rendered = render_deposit(deposit, scanner)
        if rendered is None:
            continue
        gain = np.float32(deposit.density_mg_per_ml * scanner.calcium_hu_per_mg_per_ml)
        for offset, occupancy in enumerate(rendered.occupancy):
            planes = scan.calcium.setdefault(rendered.first_slice + offset, {})
            if deposit.label not in planes:
                planes[deposit.label] = np.zeros(scanner.shape_zyx[1:], np.float32)
            planes[deposit.label][rendered.rows, rendered.columns] += gain * occupancy
        if deposit.label > 0:
            lesions.append(
                TrueLesion(
                    deposit.label,
                    rendered.volume_mm3,
                    deposit.density_mg_per_ml,
                    rendered.volume_mm3 * deposit.density_mg_per_ml / 1000,
                    deposit.centre_xyz_mm,
                )
            )
    return tuple(lesions)


def _tissue(
    scene: Scene,
    scanner: Scanner,
    z_mm: float,
    y_mm: FloatArray,
    x_mm: FloatArray,
    rng: np.random.Generator,
) -> FloatArray:
    """Paint one slice as the mean of sub-slices over its thickness."""
    count = 3 if scanner.slice_thickness_mm >= 2 else 2
    count = 1 if scanner.slice_thickness_mm < 0.9 else count
    offsets = ((np.arange(count) + 0.5) / count - 0.5) * scanner.slice_thickness_mm
    grain = _grain(rng, scanner)
    total = np.zeros((len(y_mm), len(x_mm)), np.float32)
    for offset in offsets:
        plane = np.full(total.shape, scene.background_hu, np.float32)
        for paint in scene.paints:
            patch = paint.shape.patch(z_mm + float(offset), y_mm, x_mm)
            if patch is None:
                continue
            view = plane[patch.rows, patch.columns]
            value: FloatArray | np.float32 = np.float32(paint.hu)
            if paint.texture_hu:
                value = value + paint.texture_hu * grain[patch.rows, patch.columns]
            view += patch.occupancy * (value - view)
        total += plane
    return total / np.float32(count)


def _grain(rng: np.random.Generator, scanner: Scanner) -> FloatArray:
    """A random field of SD about 1 with structure of about 2 mm."""
    from scipy.ndimage import gaussian_filter

    sigma = 0.8 / scanner.pixel_mm
    white = rng.standard_normal(scanner.shape_zyx[1:], dtype=np.float32)
    grain = gaussian_filter(white, sigma, mode="wrap", truncate=2.5)
    return np.asarray(grain * np.float32(2 * np.sqrt(np.pi) * max(sigma, 0.3)))


def _moving_patch(
    scene: Scene, z_mm: float, y_mm: FloatArray, x_mm: FloatArray
) -> Patch | None:
    if scene.moving is None or scene.motion_mm == (0.0, 0.0):
        return None
    return scene.moving.patch(z_mm, y_mm, x_mm)


def _move(
    plane: FloatArray, moving: Patch | None, scene: Scene, scanner: Scanner
) -> FloatArray:
    """Average three phases of a motion within the moving shape: double edges."""
    if moving is None:
        return plane
    step_x = round(scene.motion_mm[0] / 2 / scanner.pixel_mm)
    step_y = round(scene.motion_mm[1] / 2 / scanner.pixel_mm)
    phases = (
        0.4 * np.roll(plane, (-step_y, -step_x), axis=(0, 1))
        + 0.2 * plane
        + 0.4 * np.roll(plane, (step_y, step_x), axis=(0, 1))
    )
    moved = plane.copy()
    view = moved[moving.rows, moving.columns]
    view += moving.occupancy * (phases[moving.rows, moving.columns] - view)
    return moved


def _resampling(scanner: Scanner) -> Callable[[npt.NDArray[Any]], FloatArray]:
    """Return what turns a reconstructed slice into one of the grid given out."""
    if scanner.resampled_pixel_mm is None:
        return lambda plane: plane
    from scipy.sparse import csr_array

    _, y_mm, x_mm = scanner.axes_mm()
    _, to_y_mm, to_x_mm = scanner.resampled.axes_mm()
    rows = csr_array(resampler(y_mm, to_y_mm))
    columns = csr_array(resampler(x_mm, to_x_mm))
    return lambda plane: np.asarray((columns @ (rows @ plane).T).T)


def _outside_circle(
    scanner: Scanner, y_mm: FloatArray, x_mm: FloatArray
) -> npt.NDArray[np.bool_] | None:
    if scanner.padding_hu is None:
        return None
    x0, y0, _ = scanner.centre_xyz_mm
    radius = scanner.pixel_mm * min(scanner.shape_zyx[1:]) / 2
    return (y_mm[:, None] - y0) ** 2 + (x_mm[None, :] - x0) ** 2 > radius**2


def _add_star(image: FloatArray, metal: Patch | None, rng: np.random.Generator) -> None:
    """Add streaks that run out from a piece of metal, in place."""
    if metal is None or float(metal.occupancy.sum()) < 0.5:
        return
    row = (metal.rows.start + metal.rows.stop) / 2
    column = (metal.columns.start + metal.columns.stop) / 2
    reach = 60
    rows = slice(max(int(row) - reach, 0), min(int(row) + reach, image.shape[0]))
    columns = slice(
        max(int(column) - reach, 0), min(int(column) + reach, image.shape[1])
    )
    y = np.arange(rows.start, rows.stop)[:, None] - row
    x = np.arange(columns.start, columns.stop)[None, :] - column
    distance = np.hypot(y, x) + 1.0
    angle = np.arctan2(y, x)
    phases = rng.uniform(0, 2 * np.pi, 3)
    star = sum(
        np.cos(order * angle + phase) / 3
        for order, phase in zip((2, 6, 10), phases, strict=True)
    )
    strength = min(400.0, 40.0 * float(metal.occupancy.sum()) ** 0.5)
    fade = np.exp(-distance / 25) * np.clip(distance / 4, 0, 1)
    image[rows, columns] += (strength * star * fade).astype(np.float32)


def _reader_label(
    image_hu: npt.NDArray[np.int16],
    calcium_hu: dict[int, FloatArray],
    share_hu: FloatArray,
) -> npt.NDArray[np.uint8]:
    """Label voxels >= 130 HU that are joined to visible calcium (truth (c)).

    ``share_hu`` is what calcium must add to a voxel at the least.
    """
    from scipy import ndimage

    labels = np.array(sorted(calcium_hu), dtype=np.uint8)
    planes = np.stack([calcium_hu[int(label)] for label in labels])
    strongest = planes.max(axis=0)
    reached = strongest >= np.maximum(share_hu, REACH_CALCIUM_HU)
    candidates = (image_hu >= AGATSTON_THRESHOLD_HU) & reached
    result = np.zeros(image_hu.shape, np.uint8)
    if not candidates.any():
        return result
    components, count = ndimage.label(candidates, structure=np.ones((3, 3)))
    visible = np.zeros(count + 1, bool)
    seen = components[candidates & (strongest >= VISIBLE_CALCIUM_HU)]
    visible[np.unique(seen)] = True
    kept = visible[components] & candidates
    result[kept] = labels[planes.argmax(axis=0)[kept]]
    return result
