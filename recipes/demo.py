"""The main job on built-in data: a phantom as DICOM in, score and report out.

Renders a chest CT phantom whose calcium is known, scores it with the shipped model,
scores the true mask, and prints both beside the score without noise and the physical
truth::

    python recipes/demo.py --out demo

What it calls is the command line (``kcalc phantom``, ``kcalc score``); the same by
hand is in the README. About one minute on two cores. Simulated data only.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from kcalc.cli import main as kcalc

SEED = 314168
"""Not among the seeds that the shipped model was trained or tested on."""


def run(*command: str) -> None:
    """Run one kcalc command and stop the demo where it fails."""
    print("$ kcalc", *command, flush=True)
    code = kcalc(command)
    if code:
        sys.exit(code)


def table(out: Path) -> str:
    """Return the scores of both masks beside the phantom's physical truth."""
    truth = json.loads((out / "phantom" / "truth.json").read_text("utf-8"))
    records = [
        json.loads((out / folder / "score.json").read_text("utf-8"))
        for folder in ("result", "true-mask")
    ]
    rows = [("", "Agatston", "volume mm3", "mass mg", "lesions", "risk")]
    for name, record in zip(("model's mask", "true mask"), records, strict=True):
        mass = record["mass_mg"]
        rows.append(
            (
                name,
                f"{record['agatston']:.1f}",
                f"{record['volume_mm3']:.1f}",
                "-" if mass is None else f"{mass:.1f}",
                str(len(record["lesions"])),
                str(record["risk_category"]),
            )
        )
    clean = truth["score_without_noise"]
    rows.append(
        (
            "without noise",
            f"{clean['agatston']:.1f}",
            f"{clean['volume_mm3']:.1f}",
            "-",
            str(clean["num_lesions"]),
            "-",
        )
    )
    volume, mass = truth["true_volume_mm3"], truth["true_mass_mg"]
    count = str(len(truth["lesions"]))
    rows.append(("physical truth", "-", f"{volume:.1f}", f"{mass:.1f}", count, "-"))
    return "\n".join(
        f"{row[0]:<16}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows
    )


def main(argv: list[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args(argv)
    out = arguments.out
    scan, label = str(out / "phantom" / "dicom"), str(out / "phantom" / "label.nii.gz")
    run("phantom", "chest", "-o", str(out / "phantom"), "--seed", str(arguments.seed))
    calibration = ("--mass-calibration", str(calibration_of(out)))
    run("score", "-i", scan, "-o", str(out / "result"), *calibration)
    run(
        "score", "-i", scan, "-o", str(out / "true-mask"), "--mask", label, *calibration
    )
    print(
        "\nSimulated data. A score's volume counts whole voxels >= 130 HU, and its mass"
    )
    print("their HU: partial volume parts both from the physical truth.\n")
    print(table(out))
    print(f"\nReport: {out / 'result' / 'report.html'}")
    return 0


def calibration_of(out: Path) -> float:
    """Return mg/mL per HU: what a calibration rod of this simulated scanner reads."""
    truth = json.loads((out / "phantom" / "truth.json").read_text("utf-8"))
    return round(1.0 / truth["parameters"]["scanner"]["ha_hu_per_mg_per_ml"], 4)


if __name__ == "__main__":
    raise SystemExit(main())
