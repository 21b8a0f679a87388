"""Chest CT phantoms: wide-field and ECG-gated cardiac, with coronary calcium."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from kcalc.phantoms.case import Phantom
from kcalc.phantoms.chest_calcium import (
    coronary_lesions,
    devices,
    masses,
    other_calcium,
)
from kcalc.phantoms.heart import heart
from kcalc.phantoms.physics import Scanner, drawn_scanner
from kcalc.phantoms.render import Scene, render
from kcalc.phantoms.shoulders import shoulders
from kcalc.phantoms.skeleton import skeleton
from kcalc.phantoms.thorax import Build, airways, thorax

SHARE_WITHOUT_CALCIUM = 0.45
"""Share of cases without a target lesion; digest F.5 item 1 asks for at least 0.40."""


def chest(
    preset: Literal["wide", "cardiac"] = "wide",
    seed: int = 0,
    *,
    num_lesions: int | None = None,
    any_height: bool = False,
    **scanner: Any,
) -> Phantom:
    """Render a non-contrast chest CT with coronary calcium and its imitators.

    The patient, the lesions, the hard negatives and the scanner are drawn from the
    seed; see digest F.5 item 2 for what varies and why.

    Args:
        preset: ``"wide"``: whole chest, not gated, more motion; ``"cardiac"``: small
            field of view round the heart, gated.
        seed: Same seed, same bytes.
        num_lesions: Number of coronary lesions; by default drawn, none in 45 %.
        any_height: Whether half of the wide scans lie at any height from the kidneys
            to the neck, so that a network sees what lies beside the heart.
        **scanner: Fields of :class:`~kcalc.phantoms.physics.Scanner` to fix, for
            instance ``shape_zyx=(48, 512, 512)`` or ``noise_sd_hu=20.0``.

    Returns:
        The phantom with its three truths; labels are vessel numbers.

    Raises:
        ValueError: The preset is unknown.
    """
    if preset not in ("wide", "cardiac"):
        raise ValueError(
            f"preset must be 'wide' or 'cardiac'. Received: preset={preset!r}"
        )
    rng = np.random.default_rng((seed, 20171, preset == "cardiac"))
    build = _patient(rng)
    drawn_heart = heart(build)
    if num_lesions is None:
        calcified = rng.random() >= SHARE_WITHOUT_CALCIUM
        num_lesions = 1 + int(rng.negative_binomial(1, 0.2)) if calcified else 0
    deposits = coronary_lesions(build, drawn_heart, num_lesions)
    deposits += other_calcium(build, drawn_heart)
    arms_down = preset == "wide" and build.chance(0.12)
    paints = [
        *thorax(build, arms_down=arms_down),
        *masses(build),
        *drawn_heart.paints,
        *airways(build),
        *shoulders(build, arms_down=arms_down),
        *skeleton(build),
        *devices(build, drawn_heart),
    ]
    machine = _scanner(preset, rng, drawn_heart.centre_xyz_mm, any_height, scanner)
    fastest_mm = 1.0 if preset == "cardiac" else 5.0
    way, direction = rng.beta(1, 2.5) * fastest_mm, rng.uniform(0, 2 * np.pi)
    motion = (float(way * np.cos(direction)), float(way * np.sin(direction)))
    scene = Scene(paints, deposits, drawn_heart.sac, motion)
    parameters = {
        "preset": preset,
        "num_lesions": num_lesions,
        "motion_mm": motion,
        "blood_hu": build.blood_hu,
        "scanner": asdict(machine),
    }
    return render(
        scene,
        machine,
        name=f"chest-{preset}",
        seed=seed,
        parameters=parameters,
        ecg_gated=preset == "cardiac",
    )


def _patient(rng: np.random.Generator) -> Build:
    sx, sy = rng.normal(1.0, 0.07, 2).clip(0.82, 1.2)
    blood = rng.uniform(25, 60)
    return Build(
        scale_xyz=(float(sx), float(sy), float(rng.uniform(0.9, 1.1))),
        blood_hu=float(blood),
        soft_hu=float(np.clip(rng.normal(50, 12), 30, 90)),
        fat_hu=float(rng.uniform(-115, -85)),
        bone_density=float(rng.uniform(0.7, 1.25)),
        wall_mm=float(rng.uniform(6, 40)),
        rng=rng,
    )


def _scanner(
    preset: str,
    rng: np.random.Generator,
    heart_xyz_mm: tuple[float, float, float],
    any_height: bool,
    fixed: dict[str, Any],
) -> Scanner:
    """Draw a scanner; what the caller fixed wins."""
    x, y, _ = heart_xyz_mm
    if preset == "cardiac":
        field_mm = rng.uniform(160, 260)
        spacing = float(rng.choice([3.0, 3.0, 2.5, 1.5]))
        centre = (x + rng.normal(0, 8), y + rng.normal(0, 8), rng.normal(0, 6))
    else:
        field_mm = rng.uniform(290, 500)
        spacing = float(rng.choice([1.0, 1.5, 2.0, 2.5, 3.0, 3.0, 5.0, 5.0]))
        astray = any_height and rng.random() >= 0.5
        height = rng.uniform(-230, 190) if astray else rng.uniform(0, 40)
        centre = (rng.normal(0, 12), rng.normal(5, 10), height)
    count = int(np.clip(np.ceil(130 / spacing), 40, 64))
    thickness = spacing * float(rng.choice([1.0, 1.0, 1.0, 1.25, 2.0]))
    sharp = float(rng.beta(1, 1.2)) if rng.random() < 0.45 else 0.0
    noise = float(rng.uniform(8, 26) * (1 + 0.7 * sharp))
    values: dict[str, Any] = {
        "shape_zyx": (count, 512, 512),
        "pixel_mm": float(field_mm / 512),
        "slice_spacing_mm": spacing,
        "slice_thickness_mm": min(thickness, 6.0),
        "centre_xyz_mm": tuple(float(value) for value in centre),
        "ha_hu_per_mg_per_ml": float(rng.uniform(1.25, 1.45)),
        "psf_sigma_mm": float(max(rng.uniform(0.45, 0.75), 0.45 * field_mm / 512)),
        "overshoot": 1.4 * sharp,
        "noise_sd_hu": min(noise, 45.0),
        "noise_sigma_mm": float(rng.uniform(0.45, 0.9) * (1 - 0.45 * sharp)),
        "streak_sd_hu": float(rng.choice([0.0, 0.0, 3.0, 8.0])),
        "hu_offset": float(rng.uniform(-10, 10)),
        "padding_hu": (None, None, -1024, -2000, -2048)[int(rng.integers(5))],
        "kernel": "phantom-sharp" if sharp > 0.3 else "phantom-standard",
    }
    return drawn_scanner(values, fixed)
