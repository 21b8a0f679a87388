"""CPU time and peak memory of ``kcalc score`` on a 512 x 512 x 64 chest phantom.

    python benchmarks/bench_score.py

Each round is a fresh process on two cores that does what the command does, from the
DICOM folder to the report; figures are medians of the rounds. ``network`` is the time
in the calls of the network, ``start`` that of TensorFlow's import and of loading and
verifying the model, ``rest`` everything else: Python, reading, scoring, pictures,
writing. ``--mask`` is the route with the phantom's true mask and no network. CPU time
is of all threads; memory is the process's peak resident size.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

SHAPE_ZYX = (64, 512, 512)
SEED = 314160
COLUMNS = ("network", "start", "rest", "total", "wall", "peak_mib")


def render(folder: Path) -> float:
    """Write the phantom as DICOM with its true mask; return the mask's Agatston."""
    from kcalc import calcium_score
    from kcalc.io.nifti import write_nifti
    from kcalc.phantoms import chest, write_dicom_series

    phantom = chest("wide", SEED, shape_zyx=SHAPE_ZYX)
    write_dicom_series(phantom, folder / "dicom")
    write_nifti(folder / "label.nii.gz", phantom.label, phantom.volume.geometry)
    volume = phantom.volume
    return float(calcium_score(volume.array, phantom.label, volume.spacing_mm).agatston)


def score_with_network(folder: Path, model: str | None) -> dict[str, float]:
    """Score the phantom with a model in this process, which must be fresh."""
    began = time.perf_counter()
    from kcalc.workflow import score_scan

    before = time.process_time()
    from kcalc.inference import open_network

    network = open_network(model)
    start = time.process_time() - before
    inside = 0.0

    def timed(hu: Any) -> Any:
        nonlocal inside
        entered = time.process_time()
        output = network.run(hu)
        inside += time.process_time() - entered
        return output

    score_scan(folder / "dicom", folder / "out", model=replace(network, run=timed))
    return figures(began, network=inside, start=start)


def score_with_mask(folder: Path, model: str | None) -> dict[str, float]:
    """Score the phantom with its true mask in this process, which must be fresh."""
    began = time.perf_counter()
    from kcalc.workflow import score_scan

    score_scan(folder / "dicom", folder / "out", mask_path=folder / "label.nii.gz")
    if "tensorflow" in sys.modules:
        raise RuntimeError("The route with a mask loaded TensorFlow.")
    return figures(began, network=0.0, start=0.0)


def figures(began: float, *, network: float, start: float) -> dict[str, float]:
    """Return this process's CPU seconds by part, wall seconds and peak memory."""
    total = time.process_time()
    return {
        "network": network,
        "start": start,
        "rest": total - network - start,
        "total": total,
        "wall": time.perf_counter() - began,
        "peak_mib": peak_mib(),
    }


def peak_mib() -> float:
    """Return the peak resident size of this process in MiB.

    Linux counts into ``ru_maxrss`` what the parent held at the fork; VmHWM does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def in_fresh_process(cores: int, work: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function gives in a new Python process on so many cores."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        1, context, initializer=use_cores, initargs=(cores,)
    ) as pool:
        return pool.submit(work, *arguments).result()


def use_cores(count: int) -> None:
    """Bind this process to its first cores, before TensorFlow counts them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def main() -> None:
    """Print one line a route."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--rounds", type=int, default=3, help="processes a route (default 3)")
    add("--model", help="model by name or folder (default: the shipped one)")
    add("--cores", type=int, default=2, help="cores to use (default 2)")
    arguments = parser.parse_args()
    routes = {"kcalc score": score_with_network, "kcalc score --mask": score_with_mask}
    with tempfile.TemporaryDirectory() as temporary:
        folder, cores = Path(temporary), arguments.cores
        agatston = in_fresh_process(cores, render, folder)
        print(
            f"Python {platform.python_version()}, {cores} cores, chest phantom "
            f"{SHAPE_ZYX}, Agatston of its true mask {agatston:.1f}"
        )
        print(f"CPU s, median of {arguments.rounds}".ljust(24), *headings())
        for route_name, route in routes.items():
            rounds = [
                in_fresh_process(cores, route, folder, arguments.model)
                for _ in range(arguments.rounds)
            ]
            medians = (statistics.median(r[name] for r in rounds) for name in COLUMNS)
            print(route_name.ljust(24), *(f"{value:8.1f}" for value in medians))


def headings() -> list[str]:
    """Return the columns' names as wide as their numbers."""
    names = (*COLUMNS[:-2], "wall s", "peak MiB")
    return [name.rjust(8) for name in names]


if __name__ == "__main__":
    main()
