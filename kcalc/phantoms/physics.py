"""CT physics of the phantoms: materials, calcium, scanner, blur and noise.

Figures are those of the digest, sections F.4 and F.5, which name their origins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.geometry import Geometry
from kcalc.hounsfield import CT_MAX_HU, CT_MIN_HU

FloatArray = npt.NDArray[np.float32]

MATERIALS_HU: dict[str, float] = {
    "air": -1000.0,
    "lung": -830.0,
    "fat": -100.0,
    "water": 0.0,
    "soft": 45.0,
    "blood": 40.0,
    "muscle": 55.0,
    "liver": 60.0,
    "cartilage": 95.0,
    "plastic": 30.0,
    "trabecular": 190.0,
    "cortical": 900.0,
    "metal": 6000.0,
}
"""Materials in HU at 120 kVp; tissue hardly depends on the tube voltage."""

_THRESHOLD_BY_KVP = {70: 207.0, 80: 177.0, 100: 145.0, 120: 130.0, 135: 119.0}


def hydroxyapatite_hu_per_mg_per_ml(
    tube_voltage_kvp: float, at_120_kvp: float = 1.30
) -> float:
    """Return the HU that 1 mg/mL of calcium hydroxyapatite adds to its background.

    Scaled from 120 kVp as the calcium threshold is (digest E.4 and F.4), log-linear
    between the tabulated voltages.

    Args:
        tube_voltage_kvp: Tube voltage in kV, 70 to 135.
        at_120_kvp: HU per mg/mL at 120 kVp; 1.25 to 1.45 in real scans.

    Raises:
        ValueError: The tube voltage lies outside the table.

    Example:
        >>> round(hydroxyapatite_hu_per_mg_per_ml(100), 2)
        1.45
    """
    voltages = sorted(_THRESHOLD_BY_KVP)
    if not voltages[0] <= tube_voltage_kvp <= voltages[-1]:
        raise ValueError(
            f"tube_voltage_kvp must be {voltages[0]} to {voltages[-1]} kV. "
            f"Received: tube_voltage_kvp={tube_voltage_kvp}"
        )
    logs = [np.log(_THRESHOLD_BY_KVP[kvp]) for kvp in voltages]
    threshold_hu = float(np.exp(np.interp(tube_voltage_kvp, voltages, logs)))
    return at_120_kvp * threshold_hu / _THRESHOLD_BY_KVP[120]


@dataclass(frozen=True)
class Scanner:
    """One acquisition and reconstruction: grid, blur, noise and its defects.

    Args:
        shape_zyx: Number of slices, rows, columns.
        pixel_mm: In-plane pixel size in mm (square).
        slice_spacing_mm: Distance between slice positions in mm.
        slice_thickness_mm: Width of the rectangular slice profile in mm; larger than
            the spacing for overlapping reconstructions.
        centre_xyz_mm: LPS position of the middle of the grid in mm.
        tube_voltage_kvp: Tube voltage in kV.
        ha_hu_per_mg_per_ml: HU per mg/mL hydroxyapatite **at 120 kVp**.
        psf_sigma_mm: Gaussian in-plane blur in mm; 0.45 to 0.63 for cardiac kernels.
        overshoot: Edge enhancement: the gain of the transfer function at its peak
            above the Gaussian's, 0 for soft kernels, up to 1.5 for sharp ones.
        z_sigma_mm: Gaussian blur of the slice profile in mm.
        noise_sd_hu: Standard deviation of the noise in a homogeneous region in HU.
        noise_sigma_mm: Correlation of the noise: NPS(f) ~ f exp(-(2 pi sigma f)^2 / 2).
        streak_sd_hu: Standard deviation of horizontal photon-starvation streaks in HU.
        hu_offset: Calibration drift of all tissue in HU.
        padding_hu: Value outside the circle of reconstruction, None for no circle.
        max_hu: Clipping of the stored values, 3071 for 12 bits.
        kernel: Name of the convolution kernel for the file.
        resampled_pixel_mm: Pixel size in mm to which the finished slices are resampled
            in plane, as studies do it; None leaves them as reconstructed.
    """

    shape_zyx: tuple[int, int, int] = (48, 512, 512)
    pixel_mm: float = 0.7
    slice_spacing_mm: float = 3.0
    slice_thickness_mm: float = 3.0
    centre_xyz_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tube_voltage_kvp: float = 120.0
    ha_hu_per_mg_per_ml: float = 1.30
    psf_sigma_mm: float = 0.52
    overshoot: float = 0.0
    z_sigma_mm: float = 0.4
    noise_sd_hu: float = 20.0
    noise_sigma_mm: float = 0.5
    streak_sd_hu: float = 0.0
    hu_offset: float = 0.0
    padding_hu: int | None = None
    max_hu: int = CT_MAX_HU
    kernel: str = "phantom-standard"
    resampled_pixel_mm: float | None = None

    @property
    def resampled(self) -> Scanner:
        """The scanner with the grid of what it gives out."""
        if self.resampled_pixel_mm is None:
            return self
        factor = self.resampled_pixel_mm / self.pixel_mm
        slices, rows, columns = self.shape_zyx
        shape = (slices, int(rows / factor), int(columns / factor))
        return replace(
            self,
            shape_zyx=shape,
            pixel_mm=self.resampled_pixel_mm,
            resampled_pixel_mm=None,
        )

    @property
    def geometry(self) -> Geometry:
        """Grid in patient space: axial, caudal to cranial, rows to the back."""
        num_slices, rows, columns = self.shape_zyx
        x_mm, y_mm, z_mm = self.centre_xyz_mm
        origin = (
            x_mm - self.pixel_mm * (columns - 1) / 2,
            y_mm - self.pixel_mm * (rows - 1) / 2,
            z_mm - self.slice_spacing_mm * (num_slices - 1) / 2,
        )
        spacing = (self.slice_spacing_mm, self.pixel_mm, self.pixel_mm)
        return Geometry.axial(self.shape_zyx, spacing, origin)

    def axes_mm(
        self,
    ) -> tuple[npt.NDArray[np.float64], FloatArray, FloatArray]:
        """Return the positions of slices, rows and columns in mm: z, y, x."""
        num_slices, rows, columns = self.shape_zyx
        x0, y0, z0 = self.geometry.affine_lps[:3, 3]
        z_mm = z0 + self.slice_spacing_mm * np.arange(num_slices)
        y_mm = (y0 + self.pixel_mm * np.arange(rows)).astype(np.float32)
        x_mm = (x0 + self.pixel_mm * np.arange(columns)).astype(np.float32)
        return z_mm, y_mm, x_mm

    @property
    def calcium_hu_per_mg_per_ml(self) -> float:
        """HU per mg/mL hydroxyapatite at this tube voltage."""
        return hydroxyapatite_hu_per_mg_per_ml(
            self.tube_voltage_kvp, self.ha_hu_per_mg_per_ml
        )


def drawn_scanner(values: Mapping[str, Any], fixed: Mapping[str, Any]) -> Scanner:
    """Return a scanner of drawn values; what the caller fixed wins.

    Args:
        values: Fields of :class:`Scanner` that were drawn.
        fixed: Fields that the caller gave.

    Raises:
        ValueError: A field that was given is none of them.
    """
    unknown = set(fixed) - set(Scanner.__dataclass_fields__)
    if unknown:
        raise ValueError(
            f"unknown fields of Scanner: {sorted(unknown)}. "
            f"Known: {sorted(Scanner.__dataclass_fields__)}"
        )
    return Scanner(**{**values, **fixed})


def frequencies_per_mm(
    shape_yx: tuple[int, int], pixel_mm: float
) -> tuple[FloatArray, FloatArray]:
    """Return the spatial frequencies of ``rfft2`` in 1/mm, (rows, 1) and (1, half)."""
    fy = np.fft.fftfreq(shape_yx[0], pixel_mm).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(shape_yx[1], pixel_mm).astype(np.float32)[None, :]
    return fy, fx


def transfer_function(scanner: Scanner) -> FloatArray:
    """Return the in-plane transfer function on the ``rfft2`` grid, 1 at frequency 0.

    A Gaussian, times a mid-frequency gain that peaks near 0.35/mm for edge-enhancing
    kernels, which gives the over- and undershoot that real sharp kernels show.
    """
    fy, fx = frequencies_per_mm(scanner.shape_zyx[1:], scanner.pixel_mm)
    f2 = fy**2 + fx**2
    gaussian = np.exp(-2 * (np.pi * scanner.psf_sigma_mm) ** 2 * f2)
    peak2 = np.float32(0.35**2)
    boost = scanner.overshoot * (f2 / peak2) * np.exp(1 - f2 / peak2)
    return np.asarray(gaussian * (1 + boost), dtype=np.float32)


def noise_filter(scanner: Scanner) -> FloatArray:
    """Return the filter that turns white noise of SD 1 into CT noise of SD 1.

    Noise power NPS(f) ~ f exp(-(2 pi sigma f)^2 / 2) as digest F.4 item 4, so the
    filter is its square root, scaled to unit variance.
    """
    shape_yx = scanner.shape_zyx[1:]
    fy, fx = frequencies_per_mm(shape_yx, scanner.pixel_mm)
    f2 = fy**2 + fx**2
    power = np.sqrt(f2) * np.exp(-2 * (np.pi * scanner.noise_sigma_mm) ** 2 * f2)
    return _unit_variance(np.sqrt(power), shape_yx)


def streak_filter(scanner: Scanner) -> FloatArray:
    """Return the filter for horizontal streaks of photon starvation, SD 1."""
    shape_yx = scanner.shape_zyx[1:]
    fy, fx = frequencies_per_mm(shape_yx, scanner.pixel_mm)
    along = np.exp(-2 * (np.pi * 25.0) ** 2 * fx**2)
    across = np.exp(-2 * (np.pi * 0.8) ** 2 * fy**2) * (1 - np.exp(-(fy**2) / 0.002))
    return _unit_variance(along * across, shape_yx)


def _unit_variance(gain: npt.ArrayLike, shape_yx: tuple[int, int]) -> FloatArray:
    """Scale a filter so that white noise of SD 1 leaves it with SD 1."""
    gain = np.asarray(gain, dtype=np.float64)
    weights = np.full(gain.shape[1], 2.0)
    weights[0] = 1.0
    if shape_yx[1] % 2 == 0:
        weights[-1] = 1.0
    variance = float((gain**2 * weights).sum()) / (shape_yx[0] * shape_yx[1])
    return np.asarray(gain / np.sqrt(variance), dtype=np.float32)


def resampler(from_mm: npt.ArrayLike, to_mm: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the matrix (to, from) that interpolates linearly between two axes.

    Args:
        from_mm: Increasing, evenly spaced positions.
        to_mm: Positions wanted, within the first ones.
    """
    source = np.asarray(from_mm, dtype=np.float64)
    index = (np.asarray(to_mm, dtype=np.float64) - source[0]) / (source[1] - source[0])
    gap = np.abs(index[:, None] - np.arange(len(source))[None, :])
    weights = np.clip(1 - gap, 0, 1)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def slice_profile(
    offset_mm: npt.ArrayLike, scanner: Scanner
) -> npt.NDArray[np.float64]:
    """Return the slice sensitivity in 1/mm at distances from the slice centre.

    A rectangle of the slice thickness, blurred by a Gaussian; its integral is 1.

    Args:
        offset_mm: Distances along z in mm.
        scanner: Its thickness and z blur.
    """
    from scipy.special import ndtr

    offset = np.asarray(offset_mm, dtype=np.float64)
    half = scanner.slice_thickness_mm / 2
    upper = ndtr((offset + half) / scanner.z_sigma_mm)
    lower = ndtr((offset - half) / scanner.z_sigma_mm)
    return np.asarray((upper - lower) / scanner.slice_thickness_mm)


def clip_and_round(image_hu: npt.ArrayLike, scanner: Scanner) -> npt.NDArray[np.int16]:
    """Round to integer HU and clip to what the scanner stores."""
    image = np.clip(np.rint(np.asarray(image_hu)), CT_MIN_HU, scanner.max_hu)
    return np.asarray(image, dtype=np.int16)
