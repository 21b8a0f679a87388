"""Head CT phantoms: calcium of the intracranial carotids, and bone beside it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np

from kcalc.anatomy import LABEL_NAMES
from kcalc.phantoms.case import Phantom
from kcalc.phantoms.head_brain import brain, scalp, vessels
from kcalc.phantoms.head_build import HeadBuild
from kcalc.phantoms.head_calcium import artefacts, other_head_calcium
from kcalc.phantoms.head_face import ears, face, face_outline
from kcalc.phantoms.physics import Scanner, drawn_scanner
from kcalc.phantoms.render import Paint, Scene, render
from kcalc.phantoms.roi import cut_at_threshold, draw_outlines
from kcalc.phantoms.siphon import Carotid, carotid_lesions, carotids, walls
from kcalc.phantoms.skull_base import calvaria, sella, skull, skull_base

SHARE_WITHOUT_ICAC = 0.42
"""Share of cases without a target lesion; digest F.5 item 1 asks for at least 0.40."""
NATIVE_PIXEL_MM = 0.23
"""In-plane pixel of the study's reconstructions (Bortsova 2017, section 3)."""
STUDY_PIXEL_MM = 0.49
"""In-plane pixel of its down-sampled images: 2.13-fold, 240 x 240 from 512 x 512."""

Preset = Literal["study", "native", "full"]


def head(
    preset: Preset = "study",
    seed: int = 0,
    *,
    num_lesions: int | None = None,
    **scanner: Any,
) -> Phantom:
    """Render a non-contrast head CT with intracranial carotid calcium and imitators.

    Patient, lesions, hard negatives, artefacts and scanner are drawn from the seed;
    see digest F.4 and F.5 item 4 for what varies and why.

    Args:
        preset: ``"study"``: the field of 120 mm round the siphons, reconstructed and
            blurred at 0.23 mm, then resampled in plane to 240 x 240 pixels of 0.49 mm
            (linearly; the paper names no method), 100 slices of 1 mm; ``"native"``: the
            same scan before it is resampled; ``"full"``: the whole head in a field of
            220 to 250 mm.
        seed: Same seed, same bytes. ``"study"`` and ``"native"`` of one seed are one
            patient and one scan.
        num_lesions: Number of carotid lesions; by default drawn, none in 42 %.
        **scanner: Fields of :class:`~kcalc.phantoms.physics.Scanner` to fix.

    Returns:
        The phantom with its three truths; labels are those of
        ``kcalc.anatomy.INTRACRANIAL_CAROTIDS``. ``outlines`` are regions as observers
        draw them on this grid; truth (c), ``label``, is the scan above 130 HU within
        them, which is the paper's definition of a lesion.

    Raises:
        ValueError: The preset is unknown.
    """
    if preset not in ("study", "native", "full"):
        raise ValueError(
            f"preset must be 'study', 'native' or 'full'. Received: preset={preset!r}"
        )
    rng = np.random.default_rng((seed, 20172))
    build = _patient(rng, preset)
    if num_lesions is None:
        num_lesions = _drawn_number(rng)
    arteries = carotids(build)
    deposits, facts = carotid_lesions(build, arteries, num_lesions)
    deposits += other_head_calcium(build)
    paints = [
        *head_tissue(build, arteries, with_ears=preset == "full"),
        *artefacts(build),
    ]
    machine = _scanner(preset, build, scanner)
    scene = Scene(paints, deposits, calcium_share=0.35, beside_hu=build.blood_hu)
    parameters = {
        "preset": preset,
        "carotids": {
            LABEL_NAMES[artery.label]: artery.knots_xyz_mm() for artery in arteries
        },
        "num_lesions": num_lesions,
        "lesions": facts,
        "blood_hu": build.blood_hu,
        "turn_rad": build.turn_rad,
        "scanner": asdict(machine),
    }
    phantom = render(
        scene,
        machine,
        name=f"head-{preset}",
        seed=seed,
        parameters=parameters,
        body_part="HEAD",
    )
    scan = phantom.volume
    outlines = draw_outlines(phantom.label, scan.array, scan.geometry)
    label = cut_at_threshold(outlines, scan.array, scan.geometry)
    return replace(phantom, outlines=outlines, label=label)


def head_tissue(
    build: HeadBuild, arteries: list[Carotid], *, with_ears: bool
) -> list[Paint]:
    """Return all of a head but calcium and artefacts, in the order of painting.

    Args:
        build: The patient.
        arteries: Its internal carotids.
        with_ears: Whether the field of view reaches to them.
    """
    relief = skull_base(build)
    return [
        *scalp(build),
        *face_outline(build),
        *calvaria(build),
        *brain(build),
        *skull(build, relief),
        *face(build, relief),
        *sella(build),
        *vessels(build),
        *walls(build, arteries),
        *(ears(build) if with_ears else ()),
    ]


def _drawn_number(rng: np.random.Generator) -> int:
    """Draw how many lesions a case has: none, or one and more of a long tail."""
    if rng.random() < SHARE_WITHOUT_ICAC:
        return 0
    return 1 + int(rng.negative_binomial(1, 0.16))


def _patient(rng: np.random.Generator, preset: Preset) -> HeadBuild:
    size = rng.normal(1.0, 0.045)
    sx, sy, sz = (size * rng.normal(1.0, 0.025, 3)).clip(0.88, 1.12)
    # Rigid registration to one reference leaves small angles.
    sd_rad = np.deg2rad(2.0 if preset != "full" else 4.5)
    turn = rng.normal(0, 1, 3).clip(-2, 2) * sd_rad * (1.0, 1.4, 0.8)
    return HeadBuild(
        scale_xyz=(float(sx), float(sy), float(sz)),
        blood_hu=float(rng.uniform(34, 52)),
        soft_hu=float(rng.uniform(42, 62)),
        fat_hu=float(rng.uniform(-110, -85)),
        bone_density=float(rng.uniform(0.75, 1.15)),
        wall_mm=float(rng.uniform(4, 9)),
        rng=rng,
        turn_rad=(float(turn[0]), float(turn[1]), float(turn[2])),
    )


def _scanner(preset: Preset, build: HeadBuild, fixed: dict[str, Any]) -> Scanner:
    """Draw a scanner; what the caller fixed wins."""
    rng = build.rng
    shift = rng.normal(0, 2.0, 3)
    sharp = float(rng.beta(1, 1.5)) if rng.random() < 0.4 else 0.0
    values: dict[str, Any] = {
        "shape_zyx": (100, 512, 512),
        "pixel_mm": NATIVE_PIXEL_MM,
        "slice_spacing_mm": 1.0,
        "slice_thickness_mm": 1.0,
        "ha_hu_per_mg_per_ml": float(rng.uniform(1.25, 1.45)),
        "psf_sigma_mm": float(rng.uniform(0.40, 0.58)),
        "overshoot": 0.9 * sharp,
        "noise_sd_hu": float(rng.uniform(9, 30) * (1 + 0.5 * sharp)),
        "noise_sigma_mm": float(rng.uniform(0.38, 0.6)),
        "streak_sd_hu": float(rng.choice([0.0, 0.0, 3.0, 6.0])),
        "hu_offset": float(rng.uniform(-8, 8)),
        "padding_hu": (None, None, None, -1024)[int(rng.integers(4))],
        "kernel": "phantom-sharp" if sharp > 0.3 else "phantom-standard",
    }
    field_mm, spacing = float(rng.uniform(220, 250)), float(rng.choice([1.0, 1.5, 2.0]))
    if preset == "full":
        x, y, z = build.point(0, 14, 12)
        count = int(np.ceil(180 / spacing))
        values |= {
            "shape_zyx": (count, 512, 512),
            "pixel_mm": field_mm / 512,
            "slice_spacing_mm": spacing,
            "slice_thickness_mm": spacing,
            "padding_hu": None,
        }
    else:
        x, y, z = build.point(0, 7, -11)
    if preset == "study":
        values["resampled_pixel_mm"] = STUDY_PIXEL_MM
    centre = np.array([x, y, z]) + shift
    values["centre_xyz_mm"] = tuple(float(value) for value in centre)
    return drawn_scanner(values, fixed)
