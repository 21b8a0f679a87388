"""CPU time and memory of a whole head CT: predict_exact beside MONAI's sliding window.

    python3.11 -m venv ../venv-peers
    ../venv-peers/bin/pip install torch==2.13.0 monai numpy
    python benchmarks/bench_valid_inference.py --peers ../venv-peers/bin/python

The intracranial carotid network at full width (16, 32, 64 channels) on a head phantom
of 100 x 240 x 240 voxels, float32. kcalc runs its valid convolutions with
``predict_exact``. MONAI runs SlidingWindowInferer (overlap 0.25, Gaussian, batch 1)
with the same layers in PyTorch, padded to the same size, in channels-last order if that
is the faster one here. Both give the main output alone; weights are random. Two
processes stay up and are asked in turn; medians of the rounds' ratios. Peak memory is
the process's largest resident set, libraries included. Exits with 1 where kcalc takes
more than 0.35 of MONAI's CPU seconds with the training patch as region, or more than
5.5 GiB (6 GB allow a little more).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

AIM = 0.35
BOUND_GIB = 5.5
MAX_VOXELS = 9_000_000
WINDOW_HU = (-1000.0, 1500.0)
ROIS = {"98x178x178": (98, 178, 178), "96x96x96": (96,) * 3, "64x64x64": (64,) * 3}
LEADING = "98x178x178"


def kcalc_ways(volume: np.ndarray, variant: str) -> dict[str, Callable[[], Any]]:
    """Return predict_exact on the volume, ready to run."""
    import keras

    from kcalc.inference import predict_exact, residual_dropout_geometry, valid_run
    from kcalc.models import residual_dropout_fcn
    from kcalc.preparation import InputSpec

    keras.utils.set_random_seed(0)
    model = residual_dropout_fcn((None, None, None, 1), variant)
    run = valid_run(model, InputSpec(WINDOW_HU))
    geometry = residual_dropout_geometry(variant)
    run(np.zeros(geometry.smallest_zyx, np.int16))

    def exact() -> Any:
        return predict_exact(run, volume, geometry, max_voxels=MAX_VOXELS)

    return {"kcalc": exact}


def monai_ways(volume: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Return MONAI's sliding window with each region, ready to run."""
    import torch
    from monai.inferers import SlidingWindowInferer
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):
        """BN, ReLU, convolution, twice, and the input added."""

        def __init__(self, channels: int, kernel: tuple[int, int, int]) -> None:
            super().__init__()
            pad = tuple(k // 2 for k in kernel)
            self.norms = nn.ModuleList(nn.BatchNorm3d(channels) for _ in range(2))
            self.convs = nn.ModuleList(
                nn.Conv3d(channels, channels, kernel, padding=pad, bias=False)
                for _ in range(2)
            )

        def forward(self, x: Any) -> Any:
            y = x
            for norm, conv in zip(self.norms, self.convs, strict=True):
                y = conv(functional.relu(norm(y)))
            return x + y

    class Step(nn.Module):
        """BN, ReLU, convolution."""

        def __init__(
            self, inner: int, outer: int, kernel: Any = 3, stride: Any = 1
        ) -> None:
            super().__init__()
            pad = tuple(k // 2 for k in kernel) if kernel != 3 else 1
            self.norm = nn.BatchNorm3d(inner)
            self.conv = nn.Conv3d(inner, outer, kernel, stride, pad, bias=False)

        def forward(self, x: Any) -> Any:
            return self.conv(functional.relu(self.norm(x)))

    class Twin(nn.Module):
        """The literal variant's layers, padded to the same size."""

        def __init__(self) -> None:
            super().__init__()
            planar, full = (1, 3, 3), (3, 3, 3)
            self.stem = nn.Conv3d(1, 16, 3, padding=1, bias=False)
            self.first = nn.Sequential(Block(16, planar), Block(16, planar))
            self.down1 = Step(16, 32, planar, (1, 2, 2))
            self.second = Block(32, full)
            self.down2 = Step(32, 64, 3, 2)
            self.third = nn.Sequential(Block(64, full), Block(64, full))
            self.norm2, self.norm1 = nn.BatchNorm3d(64), nn.BatchNorm3d(32)
            self.up2 = nn.Conv3d(64, 32, 3, padding=1, bias=False)
            self.fuse2, self.sixth = Step(64, 32), Block(32, full)
            self.up1 = nn.Conv3d(32, 16, 3, padding=1, bias=False)
            self.fuse1 = Step(32, 16)
            self.last = nn.Sequential(Block(16, planar), Block(16, planar))
            self.logits = nn.Conv3d(16, 1, 1, bias=False)
            self.logits_norm = nn.BatchNorm3d(1)

        def forward(self, x: Any) -> Any:
            fine = self.first(self.stem(x))
            middle = self.second(self.down1(fine))
            x = self.third(self.down2(middle))
            x = joined(self.up2, functional.relu(self.norm2(x)), 2, middle)
            x = self.sixth(self.fuse2(x))
            x = joined(self.up1, functional.relu(self.norm1(x)), (1, 2, 2), fine)
            x = self.last(self.fuse1(x))
            return torch.sigmoid(self.logits_norm(self.logits(x)))

    def joined(up: Any, x: Any, factor: Any, skip: Any) -> Any:
        """Enlarge, cut to the skip's size where that is odd, convolve, join."""
        x = functional.interpolate(x, scale_factor=factor, mode="nearest")
        x = x[..., : skip.shape[2], : skip.shape[3], : skip.shape[4]]
        return torch.cat([up(x), skip], 1)

    torch.manual_seed(0)
    low, high = WINDOW_HU
    scaled = (np.clip(volume.astype(np.float32), low, high) - low) / (high - low)
    image = torch.from_numpy(scaled)[None, None]
    contiguous, last = torch.contiguous_format, torch.channels_last_3d
    spent = {}
    patch = image[..., :48, :96, :96]
    for layout in (contiguous, last, contiguous, last):
        twin = Twin().eval().to(memory_format=layout)
        with torch.inference_mode():
            began = time.process_time()
            twin(patch.contiguous(memory_format=layout))
            spent[layout] = time.process_time() - began
    layout = min(spent, key=lambda key: spent[key])
    twin = Twin().eval().to(memory_format=layout)

    def way(roi: tuple[int, int, int]) -> Callable[[], Any]:
        infer = SlidingWindowInferer(roi, 1, 0.25, mode="gaussian")

        def run() -> Any:
            with torch.inference_mode():
                return infer(
                    image, lambda part: twin(part.contiguous(memory_format=layout))
                )

        return run

    return {name: way(roi) for name, roi in ROIS.items()}


def work(library: str, file: str, variant: str) -> None:
    """Answer each name on standard input with its figures on standard output."""
    volume = np.load(file)
    ways = kcalc_ways(volume, variant) if library == "kcalc" else monai_ways(volume)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        began, wall = time.process_time(), time.perf_counter()
        ways[line.strip()]()
        figures = {
            "cpu_s": time.process_time() - began,
            "wall_s": time.perf_counter() - wall,
            "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()


class Contestant:
    """A process that stays up and runs what it is asked."""

    def __init__(self, python: str, library: str, file: Path, variant: str) -> None:
        command = [python, __file__, "--work", library, str(file), "--variant", variant]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._answer()

    def run(self, name: str) -> dict[str, float]:
        """Run a way by its name and return its figures."""
        if self.process.stdin is None:
            raise RuntimeError("the process has no input")
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return dict(json.loads(self._answer()))

    def _answer(self) -> str:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError("a contestant ended; its message stands above")
        return line

    def stop(self) -> None:
        """End the process."""
        self.process.stdin.close() if self.process.stdin else None
        self.process.wait()


def main() -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", help="Python with torch and monai")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="of the phantom")
    parser.add_argument("--variant", default="literal")
    parser.add_argument("--rois", nargs="*", default=list(ROIS), choices=list(ROIS))
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work, options.variant)
        return 0
    from kcalc.phantoms import head

    volume = head("study", options.seed).volume.array
    share = float((volume > 130).mean())
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; head "
        f"phantom {volume.shape}, {share:.1%} of its voxels above 130 HU"
    )
    figures: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "volume.npy"
        np.save(file, volume)
        mine = Contestant(sys.executable, "kcalc", file, options.variant)
        peer = (
            Contestant(options.peers, "monai", file, options.variant)
            if options.peers
            else None
        )
        for number in range(options.rounds):
            figures.setdefault("kcalc", []).append(mine.run("kcalc"))
            # The small regions once: they are printed beside, and take the longest.
            for name in options.rois if peer and number == 0 else options.rois[:1]:
                if peer:
                    figures.setdefault(name, []).append(peer.run(name))
        mine.stop()
        if peer:
            peer.stop()
    for name, rows in figures.items():
        ratios = [
            mine["cpu_s"] / row["cpu_s"]
            for mine, row in zip(figures["kcalc"], rows, strict=False)
        ]
        print(
            f"{name:>12}: CPU {statistics.median(r['cpu_s'] for r in rows):7.1f} s, "
            f"wall {statistics.median(r['wall_s'] for r in rows):7.1f} s, "
            f"peak {max(r['peak_gib'] for r in rows):5.2f} GiB; kcalc's CPU time is "
            f"{statistics.median(ratios):.2f} of it"
            + (f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else "")
        )
        figures[name][0]["ratio"] = statistics.median(ratios)
    peak_gib = max(row["peak_gib"] for row in figures["kcalc"])
    too_slow = LEADING in figures and figures[LEADING][0]["ratio"] > AIM
    return int(too_slow or peak_gib > BOUND_GIB)


if __name__ == "__main__":
    sys.exit(main())
