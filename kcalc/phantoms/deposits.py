"""Calcium deposits: exact sub-voxel occupancy, physical volume and mass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from kcalc.phantoms.physics import Scanner, slice_profile

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Part:
    """One ellipsoid or circular cylinder of a deposit.

    Args:
        centre_xyz_mm: LPS position of its middle in mm.
        half_mm: Half-axes along its own x, y, z in mm; for a cylinder the third is
            half its length.
        rotation: 3 x 3 matrix whose columns are its own axes in LPS.
        kind: ``"ellipsoid"`` or ``"cylinder"``.
    """

    centre_xyz_mm: tuple[float, float, float]
    half_mm: tuple[float, float, float]
    rotation: npt.NDArray[np.float64] | None = None
    kind: Literal["ellipsoid", "cylinder"] = "ellipsoid"

    @property
    def volume_mm3(self) -> float:
        """Analytic volume in mm3."""
        a, b, c = self.half_mm
        factor = 4 / 3 * np.pi if self.kind == "ellipsoid" else 2 * np.pi
        return float(factor * a * b * c)

    @property
    def reach_mm(self) -> npt.NDArray[np.float64]:
        """Half the size of the bounding box along x, y, z in mm."""
        axes = np.eye(3) if self.rotation is None else self.rotation
        scaled = axes * np.asarray(self.half_mm)
        if self.kind == "ellipsoid":
            return np.asarray(np.sqrt((scaled**2).sum(axis=1)))
        round_part = np.sqrt((scaled[:, :2] ** 2).sum(axis=1))
        return np.asarray(round_part + np.abs(scaled[:, 2]))

    def contains(
        self,
        x: npt.NDArray[np.float64],
        y: npt.NDArray[np.float64],
        z: npt.NDArray[np.float64] | float,
    ) -> npt.NDArray[np.bool_]:
        """Return whether points lie inside; the arguments broadcast, all in mm."""
        dx, dy, dz = (p - c for p, c in zip((x, y, z), self.centre_xyz_mm, strict=True))
        if self.rotation is not None:
            r = self.rotation
            dx, dy, dz = (r[0, i] * dx + r[1, i] * dy + r[2, i] * dz for i in range(3))
        a, b, c = self.half_mm
        in_plane = (dx / a) ** 2 + (dy / b) ** 2
        if self.kind == "ellipsoid":
            return np.asarray(in_plane + (dz / c) ** 2 <= 1.0)
        return np.asarray((in_plane <= 1.0) & (np.abs(dz) <= c))


@dataclass(frozen=True, eq=False)
class Deposit:
    """A piece of calcium: the union of its parts at one density.

    Args:
        parts: Ellipsoids and cylinders.
        density_mg_per_ml: Calcium hydroxyapatite in mg/mL.
        label: Vessel number (``kcalc.anatomy``) if it is a target lesion, else 0.
    """

    parts: tuple[Part, ...]
    density_mg_per_ml: float
    label: int

    @property
    def centre_xyz_mm(self) -> tuple[float, float, float]:
        """Mean of the parts' centres in mm."""
        x, y, z = np.mean([part.centre_xyz_mm for part in self.parts], axis=0)
        return (float(x), float(y), float(z))


@dataclass(frozen=True)
class RenderedDeposit:
    """A deposit on a scanner's grid: filled fraction of voxels before any blur.

    Args:
        volume_mm3: Physical volume: analytic for one part, counted on the fine grid
            for a union of several.
        first_slice: Index of the first touched slice.
        rows: Touched rows.
        columns: Touched columns.
        occupancy: (touched slices, rows, columns), weighted by the slice profile.
    """

    volume_mm3: float
    first_slice: int
    rows: slice
    columns: slice
    occupancy: FloatArray


def render_deposit(deposit: Deposit, scanner: Scanner) -> RenderedDeposit | None:
    """Sample a deposit finely and weight it by the slice profile.

    Each pixel is divided at least five-fold for small deposits and z into layers of at
    most 0.2 mm; a single part is renormalised to its analytic volume.

    Args:
        deposit: The calcium.
        scanner: Grid and slice profile.

    Returns:
        The rendered deposit, or None where it lies outside the grid.
    """
    z_mm, y_mm, x_mm = scanner.axes_mm()
    centres = np.array([part.centre_xyz_mm for part in deposit.parts])
    reaches = np.array([part.reach_mm for part in deposit.parts])
    low, high = (centres - reaches).min(axis=0), (centres + reaches).max(axis=0)
    pixel = scanner.pixel_mm
    columns = _index_range(float(x_mm[0]), pixel, low[0], high[0], len(x_mm))
    rows = _index_range(float(y_mm[0]), pixel, low[1], high[1], len(y_mm))
    tail = scanner.slice_thickness_mm / 2 + 3 * scanner.z_sigma_mm
    slices = _index_range(
        float(z_mm[0]),
        scanner.slice_spacing_mm,
        low[2] - tail,
        high[2] + tail,
        len(z_mm),
    )
    if columns is None or rows is None or slices is None:
        return None
    smallest = float(min(min(part.half_mm) for part in deposit.parts))
    fold = int(np.clip(np.ceil(5 * pixel / max(smallest, 0.05)), 3, 8))
    layer_count = int(np.ceil((high[2] - low[2]) / min(0.2, smallest / 4)))
    layers = np.linspace(low[2], high[2], max(layer_count, 8) + 1)
    layers_mm = (layers[:-1] + layers[1:]) / 2
    layer_mm = float(layers[1] - layers[0])
    sub = (np.arange(fold) + 0.5) / fold - 0.5
    x = (x_mm[columns].astype(float)[:, None] + sub * pixel).ravel()[None, :]
    y = (y_mm[rows].astype(float)[:, None] + sub * pixel).ravel()[:, None]
    weights = (
        slice_profile(layers_mm[None, :] - z_mm[slices][:, None], scanner) * layer_mm
    )
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    occupancy = np.zeros((slices.stop - slices.start, *shape))
    bottoms, tops = (centres - reaches)[:, 2], (centres + reaches)[:, 2]
    counted = 0.0
    for layer, z in enumerate(layers_mm):
        inside = np.zeros((y.size, x.size), dtype=bool)
        for part, lowest, highest in zip(deposit.parts, bottoms, tops, strict=True):
            if lowest <= z <= highest:
                inside |= part.contains(x, y, float(z))
        filled = inside.reshape(shape[0], fold, shape[1], fold).mean(axis=(1, 3))
        counted += float(filled.sum()) * pixel**2 * layer_mm
        occupancy += weights[:, layer, None, None] * filled
    volume_mm3 = deposit.parts[0].volume_mm3 if len(deposit.parts) == 1 else counted
    cut = not (rows.start > 0 and columns.start > 0)
    cut |= rows.stop == len(y_mm) or columns.stop == len(x_mm)
    if counted > 0 and not cut:
        occupancy *= volume_mm3 / counted
    return RenderedDeposit(
        volume_mm3, slices.start, rows, columns, occupancy.astype(np.float32)
    )


def _index_range(
    origin: float, step: float, low: float, high: float, size: int
) -> slice | None:
    start = max(int(np.floor((low - origin) / step)), 0)
    stop = min(int(np.ceil((high - origin) / step)) + 1, size)
    return slice(start, stop) if start < stop else None
