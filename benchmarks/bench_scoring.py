"""CPU time of calcium_score on 300 x 512 x 512 beside other ways, in one process.

    pip install "kcalc[bench]"
    python benchmarks/bench_scoring.py

Each round times the cases in turn; medians of the rounds. The straightforward way is
what most public scorers do: label the thresholded mask slice by slice in 2-D with
``scipy.ndimage.label`` and measure with ``skimage.regionprops``. SimpleITK and cc3d
label and measure the same 2-D components of the whole array. All give the same Agatston
score, which is checked. Exits with 1 where calcium_score takes more than a tenth of the
straightforward way's CPU time.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

import kcalc
from kcalc.scoring import score_under_all_rules

SHAPE = (300, 512, 512)
SPACING_MM = (1.0, 0.5, 0.5)
PIXEL_MM2 = SPACING_MM[1] * SPACING_MM[2]
MINIMUM_PIXELS = 4  # 1 mm2
EDGES_HU = (130, 200, 300, 400)
AIM = 0.1


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


def points(num_pixels: float, maximum_hu: float) -> float:
    """Return the Agatston points of one 2-D component."""
    if num_pixels < MINIMUM_PIXELS:
        return 0.0
    weight = int(np.searchsorted(EDGES_HU, maximum_hu, side="right"))
    return num_pixels * PIXEL_MM2 * weight * SPACING_MM[0] / 3


def straightforward_3d(scan: np.ndarray, mask: np.ndarray) -> float:
    """Label the whole array with scipy, measure with skimage.regionprops."""
    from scipy import ndimage
    from skimage.measure import regionprops

    in_plane = np.zeros((3, 3, 3), int)
    in_plane[1] = 1
    labels, _ = ndimage.label(mask & (scan >= EDGES_HU[0]), in_plane)
    return sum(points(r.area, r.intensity_max) for r in regionprops(labels, scan))


def straightforward_2d(scan: np.ndarray, mask: np.ndarray) -> float:
    """Do the same slice by slice."""
    from scipy import ndimage
    from skimage.measure import regionprops

    total = 0.0
    for z in range(len(scan)):
        labels, _ = ndimage.label(
            mask[z] & (scan[z] >= EDGES_HU[0]), np.ones((3, 3), int)
        )
        total += sum(
            points(r.area, r.intensity_max) for r in regionprops(labels, scan[z])
        )
    return total


def simple_itk(scan: np.ndarray, mask: np.ndarray) -> float:
    """Label and measure slice by slice with SimpleITK."""
    import SimpleITK as sitk  # noqa: N813

    label = sitk.ConnectedComponentImageFilter()
    label.FullyConnectedOn()
    measure = sitk.LabelStatisticsImageFilter()
    total = 0.0
    for z in range(len(scan)):
        calcium = mask[z] & (scan[z] >= EDGES_HU[0])
        labels = label.Execute(sitk.GetImageFromArray(calcium.astype(np.uint8)))
        measure.Execute(sitk.GetImageFromArray(scan[z]), labels)
        total += sum(
            points(measure.GetCount(n), measure.GetMaximum(n))
            for n in measure.GetLabels()
            if n
        )
    return total


def cc3d_labels(scan: np.ndarray, mask: np.ndarray) -> float:
    """Label slice by slice with cc3d, measure with scipy."""
    import cc3d
    from scipy import ndimage

    total = 0.0
    for z in range(len(scan)):
        calcium = mask[z] & (scan[z] >= EDGES_HU[0])
        labels, count = cc3d.connected_components(
            calcium, connectivity=8, return_N=True
        )
        if count:
            index = np.arange(1, count + 1)
            sizes = np.bincount(labels.ravel())[1:]
            maxima = ndimage.maximum(scan[z], labels, index)
            total += sum(map(points, sizes, maxima))
    return total


def cpu_ms(work: Callable[[], object]) -> float:
    """Return the CPU time of one call in ms, all threads together."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e3


def main() -> int:
    """Print one line a case; 1 where the aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lesions", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    scan, mask = render(arguments.lesions, seed=0)
    floats, labels = scan.astype(np.float32), mask.astype(np.uint8)
    first_ms = cpu_ms(lambda: kcalc.calcium_score(scan, mask, SPACING_MM))
    score = kcalc.calcium_score(scan, mask, SPACING_MM)
    empty = np.zeros_like(mask)
    own = "int16 scan, bool mask"
    cases: dict[str, Callable[[], object]] = {
        own: lambda: kcalc.calcium_score(scan, mask, SPACING_MM),
        "int16 scan, uint8 mask, vessels": lambda: kcalc.calcium_score(
            scan, labels, SPACING_MM, vessels=labels
        ),
        "float32 scan, bool mask": lambda: kcalc.calcium_score(
            floats, mask, SPACING_MM
        ),
        "int16 scan, empty mask": lambda: kcalc.calcium_score(scan, empty, SPACING_MM),
        "all 16 rules": lambda: score_under_all_rules(
            scan, mask, SPACING_MM, tube_voltage_kvp=120, slice_thickness_mm=1.0
        ),
    }
    for name, way in (
        ("scipy label + regionprops, whole", straightforward_3d),
        ("scipy label + regionprops, by slice", straightforward_2d),
        ("SimpleITK, by slice", simple_itk),
        ("cc3d + scipy, by slice", cc3d_labels),
    ):
        try:
            total = way(scan, mask)
        except ModuleNotFoundError as missing:
            print(f"{name:40s} not measured: no {missing.name} here")
            continue
        if abs(total - score.agatston) > 1e-6:
            raise SystemExit(f"{name} gives {total}, kcalc {score.agatston}")
        cases[name] = lambda way=way: way(scan, mask)
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(arguments.rounds):
        for name, work in cases.items():
            times[name].append(cpu_ms(work))
    print(f"{platform.processor() or platform.machine()}, NumPy {np.__version__}")
    print(f"{SHAPE} voxels, {score.num_lesions} lesions, {int(mask.sum())} mask voxels")
    print(f"{'first call, with the import of scipy':40s} {first_ms:8.1f} ms CPU")
    median = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        low, high = min(values), max(values)
        print(
            f"{name:40s} {median[name]:8.1f} ms CPU [{low:.1f}, {high:.1f}], "
            f"{median[name] / median[own]:.1f} x calcium_score"
        )
    share = median[own] / min(
        median[name] for name in cases if name.startswith("scipy label")
    )
    print(f"share of the faster scipy + skimage way: {share:.3f} (aim {AIM})")
    return 1 if share > AIM else 0


if __name__ == "__main__":
    sys.exit(main())
