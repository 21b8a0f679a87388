"""Registration of head phantoms against their truth; its CPU time and memory.

    python benchmarks/bench_registration.py [--heads N]

Each patient is another one (size, shape, pose drawn from the seed) and is registered
as it is, turned and shifted at random as one body, in 5 mm slices, and cut to a field
of 120 mm. Errors are those of both carotids, petrous part to circle of Willis; the
least is what the best rigid pose to the median head leaves. Time and memory are of a
head of 180 x 512 x 512 voxels. TensorFlow is not loaded.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from kcalc.geometry import Geometry
from kcalc.phantoms import Phantom, head
from kcalc.registration import phantom_reference, register_head, to_network_grid
from kcalc.registration.accuracy import SiphonError, siphon_error
from kcalc.volume import Volume

COARSE = {
    "shape_zyx": (90, 256, 256),
    "pixel_mm": 0.95,
    "slice_spacing_mm": 2.0,
    "slice_thickness_mm": 2.0,
}
VARIANTS = ("as it is", "turned", "5 mm slices", "120 mm field")


def variant(name: str, volume: Volume, rng: np.random.Generator) -> tuple:
    """Return a volume changed in one way, and how it was moved."""
    motion = np.eye(4)
    affine = np.array(volume.geometry.affine_lps)
    array = volume.array
    if name == "turned":
        angles = rng.uniform(-1, 1, 3) * (25, 12, 25)
        turn = Rotation.from_euler("xyz", angles, degrees=True)
        motion[:3, :3] = turn.as_matrix()
        motion[:3, 3] = rng.uniform(-80, 80, 3)
        affine = motion @ affine
    elif name == "5 mm slices":
        index = np.arange(0, len(array) - 2, 2.5)
        array = np.stack(
            [array[int(i) : int(i) + 3].mean(axis=0) for i in index]
        ).astype(np.int16)
        affine[:3, 3] += affine[:3, 0]
        affine[:3, 0] *= 2.5
    elif name == "120 mm field":
        starts = np.array([8, 66, 64])
        array = np.ascontiguousarray(array[8:58, 66:192, 64:190])
        affine[:3, 3] += affine[:3, :3] @ starts
    return motion, replace(volume, array=array, geometry=Geometry(array.shape, affine))


def errors_of(phantom: Phantom, seed: int) -> dict[str, SiphonError]:
    """Return the error of each variant of one patient."""
    rng = np.random.default_rng(seed)
    errors = {}
    for name in VARIANTS:
        motion, volume = variant(name, phantom.volume, rng)
        errors[name] = siphon_error(phantom, register_head(volume).pose, motion)
    return errors


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--heads", type=int, default=6)
    count = parser.parse_args().heads
    began = time.process_time()
    phantom_reference()
    rendering = time.process_time() - began
    found: dict[str, list[SiphonError]] = {name: [] for name in VARIANTS}
    for seed in range(100, 100 + count):
        phantom = head("full", seed, **COARSE)
        for name, error in errors_of(phantom, seed).items():
            found[name].append(error)
    print(f"{count} patients; mm: mean (largest)")
    print(f"{'':<14}{'siphon':>14}{'of it shift':>14}{'least':>14}")
    for name, errors in found.items():
        cells = "".join(
            f"{np.mean(column):>7.2f} ({np.max(column):.2f})"
            for column in zip(*errors, strict=True)
        )
        print(f"{name:<14}{cells}")
    large = np.repeat(np.repeat(phantom.volume.array, 2, axis=1), 2, axis=2)
    affine = phantom.volume.geometry.affine_lps @ np.diag([0.5, 0.5, 0.5, 1.0])
    large = np.repeat(large, 2, axis=0)
    volume = replace(
        phantom.volume, array=large, geometry=Geometry(large.shape, affine)
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    began, wall = time.process_time(), time.perf_counter()
    to_network_grid(volume)
    cpu, wall = time.process_time() - began, time.perf_counter() - wall
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"to_network_grid of {large.shape}: {cpu:.1f} CPU s, {wall:.1f} s, peak "
        f"{before} MiB before, {after} after; the reference, once: {rendering:.1f} "
        "CPU s"
    )


if __name__ == "__main__":
    main()
