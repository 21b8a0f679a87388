"""CPU time of calcium_score on 300 x 512 x 512, in one process, medians of rounds.

    python benchmarks/bench_scoring.py

Each round times the cases in turn. ``scipy.ndimage.label`` on the whole mask, the
straightforward first step of a scorer, stands beside them for scale.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np

import kcalc

SHAPE = (300, 512, 512)
SPACING_MM = (1.0, 0.5, 0.5)


def render(num_lesions: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a noisy scan in HU and a mask with lesions all over it."""
    rng = np.random.default_rng(seed)
    plane = rng.normal(-300, 400, SHAPE[1:]).astype(np.int16)
    scan = np.stack([np.roll(plane, 7 * z, axis=1) for z in range(SHAPE[0])])
    mask = np.zeros(SHAPE, bool)
    for _ in range(num_lesions):
        z, y, x = (int(rng.integers(10, size - 20)) for size in SHAPE)
        depth, height, width = (int(n) for n in rng.integers(2, 9, 3))
        block = np.s_[z : z + depth, y : y + height, x : x + width]
        scan[block] = rng.integers(135, 900, scan[block].shape)
        mask[block] = True
    return scan, mask


def cpu_ms(work: Callable[[], object]) -> float:
    """Return the CPU time of one call in ms, all threads together."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e3


def main() -> None:
    """Print one line a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lesions", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    scan, mask = render(arguments.lesions, seed=0)
    floats, labels = scan.astype(np.float32), mask.astype(np.uint8)
    first_ms = cpu_ms(lambda: kcalc.calcium_score(scan, mask, SPACING_MM))

    from scipy import ndimage

    in_plane = np.zeros((3, 3, 3), int)
    in_plane[1] = 1
    empty = np.zeros_like(mask)
    cases: dict[str, Callable[[], object]] = {
        "int16 scan, bool mask": lambda: kcalc.calcium_score(scan, mask, SPACING_MM),
        "int16 scan, uint8 mask, vessels": lambda: kcalc.calcium_score(
            scan, labels, SPACING_MM, vessels=labels
        ),
        "float32 scan, bool mask": lambda: kcalc.calcium_score(
            floats, mask, SPACING_MM
        ),
        "int16 scan, empty mask": lambda: kcalc.calcium_score(scan, empty, SPACING_MM),
        "ndimage.label alone, whole mask": lambda: ndimage.label(mask, in_plane),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(arguments.rounds):
        for name, work in cases.items():
            times[name].append(cpu_ms(work))
    score = kcalc.calcium_score(scan, mask, SPACING_MM)
    print(f"{platform.processor() or platform.machine()}, NumPy {np.__version__}")
    print(f"{SHAPE} voxels, {score.num_lesions} lesions, {int(mask.sum())} mask voxels")
    print(f"{'first call, with the import of scipy':40s} {first_ms:8.1f} ms CPU")
    for name, values in times.items():
        low, high = min(values), max(values)
        print(
            f"{name:40s} {statistics.median(values):8.1f} ms CPU "
            f"[{low:.1f}, {high:.1f}]"
        )


if __name__ == "__main__":
    main()
