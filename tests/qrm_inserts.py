"""The real QRM scan of the test data: volume, reference numbers, masks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import kcalc
from kcalc.volume import Volume

CALCIUM_SLICES_MM = (597.875, 600.875, 603.875)
INSERT_RADIUS_MM = 50.0
"""Half the diameter of the cardiac insert (digest F.1)."""
NOISY_SLICES = (21, 27)
"""First and last slice of the "whole noisy insert": three with calcium, four after."""


@dataclass(frozen=True)
class QrmScan:
    """The scan and what is known of it."""

    volume: Volume
    reference: dict[str, Any]

    def insert(self, name: str) -> np.ndarray:
        """Return the whole 8-connected components that touch an insert's disk."""
        from scipy import ndimage

        place = self.reference["inserts"][name]
        rows, columns = np.indices(self.volume.shape[1:])
        far2 = (rows - place["roi_row"]) ** 2 + (columns - place["roi_col"]) ** 2
        disk = far2 <= place["roi_radius_px"] ** 2
        mask = np.zeros(self.volume.shape, bool)
        z_mm = [
            self.volume.geometry.index_to_mm([z, 0, 0])[2] for z in range(len(mask))
        ]
        for wanted_mm in CALCIUM_SLICES_MM:
            z = int(np.argmin(np.abs(np.array(z_mm) - wanted_mm)))
            labels, _ = ndimage.label(self.volume.array[z] >= 130, np.ones((3, 3)))
            mask[z] = np.isin(labels, np.setdiff1d(labels[disk], [0]))
        return mask

    def nine_inserts(self) -> np.ndarray:
        """Return the union of the nine inserts."""
        return np.logical_or.reduce([self.insert(n) for n in self.reference["inserts"]])

    def whole_insert(self) -> np.ndarray:
        """Return the cardiac insert's circle on the noisy slices.

        The centre is that of the circle through the three large cylinders.
        """
        places = [self.reference["inserts"][f"Large_{d}"] for d in ("HD", "MD", "LD")]
        points = np.array([[p["roi_row"], p["roi_col"]] for p in places], float)
        squares = (points**2).sum(axis=1)
        centre = np.linalg.solve(2 * (points[1:] - points[0]), squares[1:] - squares[0])
        rows, columns = np.indices(self.volume.shape[1:])
        radius = INSERT_RADIUS_MM / self.volume.spacing_mm[1]
        circle = np.hypot(rows - centre[0], columns - centre[1]) <= radius
        mask = np.zeros(self.volume.shape, bool)
        mask[NOISY_SLICES[0] : NOISY_SLICES[1] + 1] = circle
        return mask

    @property
    def calibration(self) -> float:
        """mg/mL per HU of the reference."""
        return float(self.reference["mass_calibration_mg_per_ml_per_HU"])


def read_qrm(test_data: Path) -> QrmScan:
    """Read the scan and its reference."""
    folder = test_data / "qrm-phantom"
    reference = json.loads((folder / "reference.json").read_text("utf-8"))
    return QrmScan(kcalc.read_volume(folder / "dicom"), reference)
