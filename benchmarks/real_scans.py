"""Measure a model once on the two real scans, after it was frozen.

    python benchmarks/real_scans.py --model saved_models/cac_dense_ra_unet_small --out .

reads ``KCALC_TEST_DATA`` (default ``../shared/data``) and writes ``real_scans.json``:
the QRM phantom scan under ``fqm_canon``, against the sum which that rule gives over the
nine inserts, and the chest CT under ``agatston_1990`` with where its score lies. The
recipe's ``export`` puts the figures into the model card, whatever they are.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

import kcalc
from kcalc.artifact import WEIGHTS_FILE
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.inference import Network, open_network
from kcalc.volume import Volume

DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"


def insert_mask(volume: Volume, reference: dict[str, Any]) -> np.ndarray:
    """Return the whole components >= 130 HU that touch an insert's disk, bool zyx.

    Reference.json defines it: 8-connected components on the three calcium slices.
    """
    from scipy import ndimage

    rows, columns = np.ogrid[: volume.shape[1], : volume.shape[2]]
    mask = np.zeros(volume.shape, bool)
    calcium_z_mm = (597.875, 600.875, 603.875)
    for index in range(volume.shape[0]):
        z_mm = volume.geometry.index_to_mm([index, 0, 0])[2]
        if not np.isclose(calcium_z_mm, z_mm, atol=0.01).any():
            continue
        candidates = volume.array[index] >= AGATSTON_THRESHOLD_HU
        components, _ = ndimage.label(candidates, structure=np.ones((3, 3)))
        for insert in reference["inserts"].values():
            distance2 = (rows - insert["roi_row"]) ** 2
            distance2 = distance2 + (columns - insert["roi_col"]) ** 2
            disk = distance2 <= insert["roi_radius_px"] ** 2
            touched = np.setdiff1d(components[disk], [0])
            mask[index] |= np.isin(components, touched)
    return mask


def measure_qrm(network: Network, folder: Path) -> dict[str, Any]:
    """Score the real QRM scan and say how much lies outside the nine inserts."""
    reference = json.loads((folder / "reference.json").read_text("utf-8"))
    volume = kcalc.read_volume(folder / "dicom")
    began = time.process_time()
    mask = kcalc.predict(network, volume).mask
    seconds = time.process_time() - began
    inserts = insert_mask(volume, reference)

    def agatston(of: np.ndarray) -> float:
        return kcalc.calcium_score(
            volume.array, of, volume.spacing_mm, rule="fqm_canon", tube_voltage_kvp=120
        ).agatston

    expected, total = agatston(inserts), agatston(mask)
    return {
        "rule": "fqm_canon",
        "agatston_total": round(total, 2),
        "agatston_of_inserts_by_rule": round(expected, 2),
        "ratio": round(total / expected, 4),
        "points_outside_inserts": round(agatston(mask & ~inserts), 2),
        "cpu_seconds_network": round(seconds, 1),
    }


def measure_chest(network: Network, folder: Path) -> dict[str, Any]:
    """Score the real chest CT and say where the score lies."""
    volume = kcalc.read_volume(folder)
    began = time.process_time()
    mask = kcalc.predict(network, volume).mask
    seconds = time.process_time() - began
    score = kcalc.calcium_score(
        volume.array, mask, volume.spacing_mm, tube_voltage_kvp=120
    )
    where = [
        {
            "slice_index": lesion.slice_index,
            "point_xyz_mm": [
                round(float(value), 1)
                for value in volume.geometry.index_to_mm(lesion.centroid_index_zyx)
            ],
            "row_column": [round(float(v)) for v in lesion.centroid_index_zyx[1:]],
            "agatston": round(lesion.agatston, 1),
            "max_hu": int(lesion.max_hu),
        }
        for lesion in sorted(score.lesions, key=lambda lesion: -lesion.agatston)
    ]
    return {
        "rule": score.rule.name,
        "agatston": round(score.agatston, 1),
        "volume_mm3": round(score.volume_mm3, 1),
        "num_lesions": len(score.lesions),
        "risk_category": score.risk_category,
        "where": where,
        "cpu_seconds_network": round(seconds, 1),
    }


def _identity(network: Network) -> dict[str, Any]:
    """Name the model so that its card can be held against it."""
    manifest = network.manifest
    if manifest is None:
        raise SystemExit("--model must be an exported model, which has a manifest.")
    return {
        "name": manifest.name,
        "version": manifest.version,
        "weights_sha256": manifest.files[WEIGHTS_FILE],
    }


def main() -> None:
    """Measure, print and write ``real_scans.json``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, default=Path("."))
    arguments = parser.parse_args()
    root = Path(os.environ.get("KCALC_TEST_DATA", DEFAULT_DATA))
    network = open_network(arguments.model)
    figures = {
        "model": _identity(network),
        "qrm": measure_qrm(network, root / "qrm-phantom"),
        "chest": measure_chest(
            network, root / "chest-ct" / "A0001_philips_5mm_kernelB"
        ),
    }
    text = json.dumps(figures, indent=2)
    (arguments.out / "real_scans.json").write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
