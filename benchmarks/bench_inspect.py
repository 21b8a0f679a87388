"""Time of ``kcalc.io.inspect_folder`` on 20 000 slices in 200 series.

    python benchmarks/bench_inspect.py [SERIES] [SLICES]

The files are written to a temporary folder first. Their pixels are holes that take no
space: only headers are read, which is what is measured.
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from kcalc.geometry import Geometry
from kcalc.io import inspect_folder
from kcalc.phantoms import write_dicom_series
from kcalc.volume import Acquisition, Volume

PIXEL_BYTES = 512 * 512 * 2


def write_tree(root: Path, num_series: int, num_slices: int) -> None:
    """Write series of one slice after another, their pixels left out."""
    array = np.full((num_slices, 512, 512), -1000, np.int16)
    facts = Acquisition(tube_voltage_kvp=120.0, slice_thickness_mm=3.0)
    geometry = Geometry.axial(array.shape, (3.0, 0.5, 0.5))
    volume = Volume(array, geometry, acquisition=facts)
    paths = write_dicom_series(volume, root / "first")
    heads = [path.read_bytes()[:-PIXEL_BYTES] for path in paths]
    shutil.rmtree(root / "first")
    element = heads[0].split(b"\x20\x00\x0e\x00UI")[1]
    uid = element[2 : 2 + int.from_bytes(element[:2], "little")].rstrip(b"\0")
    for number in range(num_series):
        folder = root / f"{number:04d}"
        folder.mkdir()
        own = uid[:-4] + f"{number:04d}".encode()
        for index, head in enumerate(heads):
            with (folder / f"{index:04d}.dcm").open("wb") as file:
                file.write(head.replace(uid, own))
                file.truncate(len(head) + PIXEL_BYTES)


def main() -> None:
    """Write the tree, inspect it, print seconds and memory."""
    num_series, num_slices = map(int, sys.argv[1:] or (200, 100))
    with tempfile.TemporaryDirectory() as name:
        write_tree(Path(name), num_series, num_slices)
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, cpu = time.perf_counter(), time.process_time()
        found = inspect_folder(name)
        print(
            f"{found.num_files} files, {len(found.series)} series, "
            f"{found.num_scorable} can be scored: "
            f"{time.process_time() - cpu:.1f} CPU s, "
            f"{time.perf_counter() - began:.1f} s"
        )
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"peak memory {before_kib // 1024} MiB before, {peak_kib // 1024} after")


if __name__ == "__main__":
    main()
