"""Time of reading 300 uncompressed slices: kcalc beside SimpleITK, one process.

    python benchmarks/bench_reading.py

Needs SimpleITK (``pip install "kcalc[test]"``). Each round reads the same files
with both, in turn and in changing order; the ratios of each round are taken, of wall
time and of CPU time, and their medians printed: on a busy machine the wall time tells
of its other work. kcalc's time includes every check of ``read_volume``; SimpleITK's is
``ImageSeriesReader`` after ``GetGDCMSeriesFileNames``, which checks nothing. The files
are in the page cache, so that both are measured and not the disk.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import kcalc
from kcalc.geometry import Geometry
from kcalc.phantoms import write_dicom_series
from kcalc.volume import Acquisition, Volume

GOAL = 0.8
"""Largest ratio to SimpleITK's time that kcalc promises."""


def write_scan(folder: Path, num_slices: int, size: int) -> None:
    """Write a scan of noise round soft tissue with air about it."""
    rng = np.random.default_rng(0)
    plane = rng.normal(40, 20, (size, size)).astype(np.int16)
    plane[: size // 8] = plane[-size // 8 :] = -1000
    array = np.stack([np.roll(plane, 7 * z, axis=1) for z in range(num_slices)])
    geometry = Geometry.axial(array.shape, (1.0, 0.5, 0.5))
    facts = Acquisition(modality="CT", tube_voltage_kvp=120.0, slice_thickness_mm=1.0)
    write_dicom_series(Volume(array, geometry, acquisition=facts), folder)


def read_with_simpleitk(folder: str) -> np.ndarray:
    """Return the voxels of a series as SimpleITK reads them."""
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
    voxels: np.ndarray = SimpleITK.GetArrayViewFromImage(reader.Execute())
    return voxels


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the wall time and the CPU time of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Print the medians and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_scan(Path(folder), arguments.slices, arguments.size)
        itk = read_with_simpleitk(folder)
        if not np.array_equal(kcalc.read_volume(folder).array, itk):
            raise SystemExit("The two readers give different voxels.")
        del itk
        readers: dict[str, Callable[[], object]] = {
            "kcalc.read_volume": lambda: kcalc.read_volume(folder),
            "SimpleITK series reader": lambda: read_with_simpleitk(folder),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
        for turn in range(arguments.rounds):
            names = list(readers) if turn % 2 else list(readers)[::-1]
            for name in names:
                times[name].append(seconds(readers[name]))
    print(f"{platform.processor() or platform.machine()}, NumPy {np.__version__}")
    print(f"{arguments.slices} x {arguments.size} x {arguments.size}, uncompressed")
    for place, clock in enumerate(("wall", "CPU")):
        rows = [[pair[place] for pair in pairs] for pairs in times.values()]
        for name, values in zip(times, rows, strict=True):
            print(
                f"{name:26s} {statistics.median(values):7.3f} s {clock} "
                f"[{min(values):.3f}, {max(values):.3f}]"
            )
        ratios = [ours / theirs for ours, theirs in zip(*rows, strict=True)]
        print(
            f"median ratio of {clock} time {statistics.median(ratios):.2f} "
            f"[{min(ratios):.2f}, {max(ratios):.2f}]; promised: at most {GOAL}"
        )


if __name__ == "__main__":
    main()
