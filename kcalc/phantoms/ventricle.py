"""Short-axis cardiac MR phantoms: the left ventricle, and true masks of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kcalc.geometry import Geometry
from kcalc.phantoms.ventricle_shape import Ventricle, paint
from kcalc.volume import Acquisition, Volume

CAVITY_LABEL = 1
MYOCARDIUM_LABEL = 2
LABELS = {"cavity": CAVITY_LABEL, "myocardium": MYOCARDIUM_LABEL}
"""Numbers in the label. Papillary muscles and trabeculae belong to the cavity."""

_PLANES_PER_SLICE = 5
_END_SYSTOLE = {"radius": 0.62, "wall": 1.4, "length": 0.86}
"""How the ventricle changes from end-diastole: about 60 % ejection."""

Phase = Literal["diastole", "systole"]


@dataclass(frozen=True)
class VentriclePhantom:
    """A simulated cardiac MR scan and what is true of it.

    Args:
        volume: The scan with bias field and noise, int16 in arbitrary units.
        label: What fills at least half of each voxel: 1 cavity, 2 myocardium, else 0,
            uint8 (z, y, x).
        cavity_mm3: True volume of the cavity within the slices, from shares of voxels.
        myocardium_mm3: That of the myocardium.
        name: ``"ventricle-diastole"`` or ``"ventricle-systole"``.
        seed: What it was rendered from.
        parameters: What was drawn, plain values for JSON.
    """

    volume: Volume
    label: npt.NDArray[np.uint8]
    cavity_mm3: float
    myocardium_mm3: float
    name: str
    seed: int
    parameters: dict[str, Any]

    def physical_truth(self) -> dict[str, Any]:
        """Return the truth and the parameters as plain values for JSON."""
        return {
            "name": self.name,
            "seed": self.seed,
            "labels": LABELS,
            "true_volume_mm3": {
                "cavity": self.cavity_mm3,
                "myocardium": self.myocardium_mm3,
            },
            "parameters": self.parameters,
        }


@dataclass(frozen=True)
class MrScanner:
    """One acquisition: grid, contrast and defects.

    Args:
        shape_zyx: Slices, rows and columns; slices from apex to base.
        pixel_mm: In-plane pixel in mm (square).
        slice_spacing_mm: Distance of the slices in mm.
        slice_thickness_mm: Thickness excited, over which each slice is the mean.
        start_mm: Middle of the first slice above the tip of the cavity.
        shifts_uv_mm: Shift of each slice by its own breath-hold.
        bias: Coefficients of the logarithm of the coil's gain: u, v, w, u^2, v^2, u v,
            with 1 at the border of the field.
        signal_to_noise: Signal of blood over the deviation of the noise.
        units: Stored value of blood without gain.

    Raises:
        ValueError: A number is not above 0, or there is not one shift a slice.
    """

    shape_zyx: tuple[int, int, int]
    pixel_mm: float
    slice_spacing_mm: float
    slice_thickness_mm: float
    start_mm: float
    shifts_uv_mm: tuple[tuple[float, float], ...]
    bias: tuple[float, float, float, float, float, float]
    signal_to_noise: float
    units: float

    def __post_init__(self) -> None:
        lengths = (self.pixel_mm, self.slice_spacing_mm, self.slice_thickness_mm)
        scales = (self.signal_to_noise, self.units)
        if min(*self.shape_zyx, *lengths, *scales) <= 0:
            raise ValueError(
                f"Sizes, signal_to_noise and units must be above 0. Received: {self}"
            )
        if len(self.shifts_uv_mm) != self.shape_zyx[0]:
            raise ValueError(
                "shifts_uv_mm must be one a slice. Received: "
                f"{len(self.shifts_uv_mm)} for {self.shape_zyx[0]} slices."
            )


def ventricle(
    seed: int = 0, *, phase: Phase | None = None, **scanner: Any
) -> VentriclePhantom:
    """Render short-axis cardiac MR with its true left ventricle.

    Ten to fifteen slices of 6 to 10 mm with 192 to 256 rows and columns, from below the
    apex to above the base, where atrium and aorta are as bright as the cavity. Drawn
    from the seed: patient (ventricle, papillary muscles, trabeculae, right ventricle,
    fat, lung, liver, chest), phase, grid, a shift of each slice by its breath-hold, the
    coil's gain, Rician noise, and the unit.

    Args:
        seed: Same seed, same bytes. Both phases of one seed are one patient.
        phase: ``"diastole"`` or ``"systole"``; by default drawn.
        **scanner: Fields of :class:`MrScanner` to fix.

    Returns:
        The phantom. Its slices are oblique, as short axes are.

    Raises:
        ValueError: The phase is unknown, or a field breaks the scanner's rules.

    Example:
        >>> phantom = ventricle(1, phase="diastole")
        >>> phantom.volume.unit, phantom.label.max()
        ('arbitrary', np.uint8(2))

    References:
        The scans that Avetisian 2017, section 3, describes (Cardiac Atlas Project; 10
        to 15 slices, most of 192 x 192 or 256 x 256). Anatomy and contrast are kcalc's
        choice (balanced steady-state free precession at 1.5 T).
    """
    if phase not in (None, "diastole", "systole"):
        raise ValueError(
            f"phase must be 'diastole' or 'systole'. Received: phase={phase!r}"
        )
    rng = np.random.default_rng((seed, 20178))
    heart = _patient(rng)
    drawn: Phase = "diastole" if rng.random() < 0.5 else "systole"
    phase = phase or drawn
    machine = _scanner(rng, heart, scanner)
    if phase == "systole":
        heart = replace(
            heart,
            radius_mm=heart.radius_mm * _END_SYSTOLE["radius"],
            wall_mm=heart.wall_mm * _END_SYSTOLE["wall"],
            length_mm=heart.length_mm * _END_SYSTOLE["length"],
        )
    signal, cavity, muscle = _planes(heart, machine)
    array = _scanned(signal, machine, rng)
    label = np.zeros(array.shape, np.uint8)
    label[muscle >= 0.5] = MYOCARDIUM_LABEL
    label[cavity >= 0.5] = CAVITY_LABEL
    acquisition = Acquisition(
        modality="MR",
        slice_thickness_mm=machine.slice_thickness_mm,
        body_part="HEART",
    )
    geometry = _geometry(rng, machine)
    voxel_mm3 = float(np.prod(geometry.spacing_mm))
    return VentriclePhantom(
        volume=Volume(array, geometry, unit="arbitrary", acquisition=acquisition),
        label=label,
        cavity_mm3=float(cavity.sum(dtype=np.float64)) * voxel_mm3,
        myocardium_mm3=float(muscle.sum(dtype=np.float64)) * voxel_mm3,
        name=f"ventricle-{phase}",
        seed=seed,
        parameters={"heart": asdict(heart), "scanner": asdict(machine)},
    )


def _patient(rng: np.random.Generator) -> Ventricle:
    chest = (float(rng.uniform(150, 185)), float(rng.uniform(112, 140)))
    septum = np.pi + float(rng.uniform(-0.35, 0.25))
    vessels = [
        (float(u), float(v), float(rng.uniform(1.2, 4.5)))
        for u, v in zip(
            rng.uniform(-0.85, 0.85, 26) * chest[0],
            rng.uniform(-0.8, 0.6, 26) * chest[1],
            strict=True,
        )
    ]
    return Ventricle(
        length_mm=float(rng.uniform(76, 102)),
        radius_mm=float(rng.uniform(20, 30)),
        wall_mm=float(rng.uniform(6.5, 12)),
        centre_uv_mm=(float(rng.uniform(5, 35)), float(rng.uniform(-25, 5))),
        drift_uv=(float(rng.uniform(-0.12, 0.04)), float(rng.uniform(-0.08, 0.08))),
        harmonics=tuple(
            (order, float(rng.normal(0, sd)), float(rng.uniform(0, 2 * np.pi)))
            for order, sd in ((2, 0.05), (3, 0.025), (5, 0.012))
        ),
        trabeculae=tuple(
            (
                int(order),
                float(rng.uniform(0.02, 0.07)),
                float(rng.uniform(0, 2 * np.pi)),
            )
            for order in rng.integers(7, 20, 4)
        ),
        papillary=tuple(
            (
                septum + angle + float(rng.normal(0, 0.2)),
                float(rng.uniform(3.0, 6.0)),
                float(rng.uniform(0.15, 0.28)),
                float(rng.uniform(0.55, 0.75)),
            )
            for angle in (2.3, -2.2)
        ),
        septum_rad=septum,
        rv_scale=float(rng.uniform(0.8, 1.2)),
        fat_mm=float(rng.uniform(3, 12)),
        chest_mm=chest,
        skin_mm=float(rng.uniform(8, 30)),
        liver_level=float(rng.uniform(0.15, 0.75)),
        vessels=tuple(vessels),
    )


def _scanner(
    rng: np.random.Generator, heart: Ventricle, fixed: dict[str, Any]
) -> MrScanner:
    """Draw a scanner; what the caller fixed wins."""
    count = int(rng.integers(10, 16))
    side = int(rng.choice([192, 192, 208, 224, 256, 256]))
    rows = side - int(rng.choice([0, 0, 0, 32])) if side > 208 else side
    # The slices reach a little beyond both ends of the ventricle in diastole.
    reach = heart.length_mm + float(rng.uniform(12, 24))
    spacing = float(np.clip(reach / (count - 1), 6.0, 10.0))
    count = int(fixed.get("shape_zyx", (count,))[0])
    jitter = rng.normal(0, 1.0, (16, 2)) * rng.uniform(0.3, 2.2)
    jitter = np.resize(jitter, (count, 2))
    values: dict[str, Any] = {
        "shape_zyx": (count, rows, side),
        "pixel_mm": float(rng.uniform(300, 390)) / side,
        "slice_spacing_mm": spacing,
        "slice_thickness_mm": spacing * float(rng.choice([0.75, 0.8, 1.0])),
        "start_mm": float(rng.uniform(-9, -3)),
        "shifts_uv_mm": tuple((float(u), float(v)) for u, v in jitter),
        "bias": tuple(
            float(b) for b in rng.normal(0, 1, 6) * (0.15, 0.2, 0.1, 0.15, 0.2, 0.1)
        ),
        "signal_to_noise": float(rng.uniform(12, 40)),
        "units": float(np.exp(rng.uniform(np.log(150), np.log(2000)))),
    }
    unknown = sorted(set(fixed) - set(values))
    if unknown:
        raise ValueError(
            f"scanner fields are {tuple(values)}. Received: {', '.join(unknown)}."
        )
    return MrScanner(**{**values, **fixed})


Array = npt.NDArray[np.float32]


def _planes(heart: Ventricle, machine: MrScanner) -> tuple[Array, Array, Array]:
    """Return signal and shares of cavity and myocardium, (z, y, x)."""
    u, v = _positions(machine)
    parts = np.zeros((3, *machine.shape_zyx), np.float32)
    offsets = (np.arange(_PLANES_PER_SLICE) + 0.5) / _PLANES_PER_SLICE - 0.5
    for number, (shift_u, shift_v) in enumerate(machine.shifts_uv_mm):
        middle = machine.start_mm + number * machine.slice_spacing_mm
        for offset in offsets:
            w = middle + offset * machine.slice_thickness_mm
            plane = paint(heart, u - shift_u, v - shift_v, w, machine.pixel_mm)
            parts[:, number] += np.stack(plane)
    signal, cavity, muscle = parts / _PLANES_PER_SLICE
    return signal, cavity, muscle


def _positions(machine: MrScanner) -> tuple[Array, Array]:
    """Return the positions of pixels to the right and downwards in mm."""
    _, rows, columns = machine.shape_zyx
    v = (np.arange(rows, dtype=np.float32) - (rows - 1) / 2) * machine.pixel_mm
    u = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2) * machine.pixel_mm
    grid_v, grid_u = np.meshgrid(v, u, indexing="ij")
    return grid_u.astype(np.float32), grid_v.astype(np.float32)


def _scanned(
    signal: Array, machine: MrScanner, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Return the magnitude image: texture, point spread, gain, Rician noise, unit."""
    from scipy import ndimage

    depth, rows, columns = machine.shape_zyx
    coarse = rng.standard_normal((depth, -(-rows // 8), -(-columns // 8)))
    texture = ndimage.zoom(coarse, (1, 8, 8), order=1)[:, :rows, :columns]
    image = ndimage.gaussian_filter(signal * (1 + 0.05 * texture), (0, 0.5, 0.5))
    u, v = (np.linspace(-1, 1, n) for n in (columns, rows))
    w = np.linspace(-1, 1, depth)[:, None, None]
    v, u = v[None, :, None], u[None, None, :]
    terms = (u, v, w, u**2, v**2, u * v)
    gain = np.exp(sum(c * term for c, term in zip(machine.bias, terms, strict=True)))
    noise = rng.standard_normal((2, *machine.shape_zyx)) / machine.signal_to_noise
    magnitude = np.hypot(image * gain + noise[0], noise[1]) * machine.units
    stored = np.clip(np.rint(magnitude), 0, np.iinfo(np.int16).max)
    return np.asarray(stored, np.int16)


def _geometry(rng: np.random.Generator, machine: MrScanner) -> Geometry:
    """Return an oblique grid whose normal points from the apex to the base."""
    normal = np.array([-0.62, 0.52, 0.59]) + rng.normal(0, 0.06, 3)
    normal /= np.linalg.norm(normal)
    row = np.array([0.75, 0.55, -0.3]) + rng.normal(0, 0.05, 3)
    row -= (row @ normal) * normal
    row /= np.linalg.norm(row)
    column = np.cross(normal, row)
    _, rows, columns = machine.shape_zyx
    affine = np.eye(4)
    affine[:3, 0] = normal * machine.slice_spacing_mm
    affine[:3, 1] = column * machine.pixel_mm
    affine[:3, 2] = row * machine.pixel_mm
    corner = -(columns - 1) / 2 * affine[:3, 2] - (rows - 1) / 2 * affine[:3, 1]
    affine[:3, 3] = corner + rng.normal(0, 10, 3)
    return Geometry(machine.shape_zyx, affine)
