"""Training samples per second of kcalc and of MONAI, and how long a step waits.

MONAI runs in an environment of its own, beside the checkout::

    python3.11 -m venv ../venv-peers
    ../venv-peers/bin/pip install torch==2.13.0 monai numpy  # a CPU build of torch
    python benchmarks/bench_pipeline.py --peers ../venv-peers/bin/python

Both read the same eight volumes of 100x240x240 from the page cache, and give batches of
random patches, half of them round labelled voxels, as float32 images in [0, 1] with
their labels. ``crop`` crops and windows; ``all`` mirrors (three axes), turns, deforms,
scales, shifts and adds noise to every patch too. MONAI: ``CacheDataset`` in memory,
4096 indices of each class drawn beforehand, no copies of what is cached, ``DataLoader``
with two workers; for each task its fastest of several ways counts: one or four patches
a volume, and ``Rand3DElasticd``, or ``RandSmoothDeformd`` before ``RandRotated``. kcalc
labels voxels at or below 130 HU 255 on top. Contestants alternate, each for some
seconds a round; printed are medians over rounds, CPU seconds with the workers', and the
median of the rounds' ratios.

With ``--wait`` it trains the two smallest networks here on changed samples instead, and
prints the share of a step's time that passes in ``next`` on the pipeline, and the time
of a step without a pipeline at work beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SHAPE_ZYX = (100, 240, 240)
SPACING_MM = (1.0, 0.49, 0.49)
NUM_VOLUMES = 8
WINDOW_HU = (-200.0, 800.0)
ROTATE_DEG, TILT_DEG, ELASTIC_MM, ELASTIC_DISTANCE_MM = 15.0, 5.0, 3.0, 16.0
OFFSET_HU, SCALE, NOISE_HU = 10.0, 0.05, 20.0
MONAI_WAYS = {
    "crop": ("crop x1", "crop x4"),
    "all": ("elastic x1", "elastic x4", "smooth x1", "smooth x4"),
}
WARM_UP, WORKERS = 3, 2
MAX_SAMPLED_VOXELS = 4096
"""Voxels of each class that MONAI draws from, as kcalc's tables keep; whole lists of
indices would be copied for every patch."""


def write_volumes(folder: Path) -> None:
    """Write noise with a bright, labelled cube in each volume, for both contestants."""
    from kcalc.data import Case, CaseStore

    rng = np.random.default_rng(0)
    cases = []
    for number in range(NUM_VOLUMES):
        image = rng.integers(-150, 250, SHAPE_ZYX).astype(np.int16)
        label = np.zeros(SHAPE_ZYX, np.uint8)
        z, y, x = (int(rng.integers(10, n - 16)) for n in SHAPE_ZYX)
        image[z : z + 6, y : y + 6, x : x + 6] = 600
        label[z : z + 6, y : y + 6, x : x + 6] = 1
        np.savez(folder / f"{number}.npz", image=image, label=label)
        name = f"case{number}"
        cases.append(Case(name, image, label, SPACING_MM, name, "train"))
    CaseStore.write(folder / "cases.h5", cases)


def kcalc_batches(
    folder: Path, way: str, patch: tuple[int, ...], batch: int
) -> Iterator[Any]:
    """Yield batches of kcalc's pipeline."""
    from kcalc.data import Augmentation, CaseStore, VolumeData
    from kcalc.preparation import InputSpec

    z, y, x = patch
    plan = VolumeData(
        (z, y, x),
        p_positive=0.5,
        augmentation=all_changes(Augmentation) if way == "all" else Augmentation(),
    )
    dataset = plan.training(
        CaseStore(folder / "cases.h5"),
        input_spec=InputSpec(window_hu=WINDOW_HU),
        batch_size=batch,
        seed=0,
        start=0,
        stop=10**9,
    )
    return iter(dataset)


def all_changes(augmentation: Any, **less: float) -> Any:
    """Return kcalc's augmentation with everything on."""
    changes = {
        "flip_left_right": True,
        "flip_up_down": True,
        "flip_head_foot": True,
        "offset_hu": OFFSET_HU,
        "scale": SCALE,
        "noise_hu": NOISE_HU,
        "rotate_deg": ROTATE_DEG,
        "tilt_deg": TILT_DEG,
        "elastic_mm": ELASTIC_MM,
        "elastic_distance_mm": ELASTIC_DISTANCE_MM,
    }
    return augmentation(**(changes | less))


def monai_batches(
    folder: Path, way: str, patch: tuple[int, ...], batch: int
) -> Iterator[Any]:
    """Yield batches of MONAI's CacheDataset and DataLoader."""
    import torch
    from monai import transforms as t
    from monai.data import CacheDataset, DataLoader
    from monai.data.utils import list_data_collate

    kind, _, count = way.partition(" x")
    per_volume = min(int(count), batch)
    both, angles = ["image", "label"], np.deg2rad([ROTATE_DEG, TILT_DEG, TILT_DEG])
    turn = dict(zip(("range_x", "range_y", "range_z"), angles.tolist(), strict=True))
    window = t.ScaleIntensityRanged(["image"], *WINDOW_HU, 0.0, 1.0, clip=True)

    def few(indices: Any) -> Any:
        return indices[:: len(indices) // MAX_SAMPLED_VOXELS + 1]

    def read(number: int) -> dict[str, Any]:
        arrays = np.load(folder / f"{number}.npz")
        return {key: arrays[key][None].astype(np.float32) for key in both}

    steps: list[Any] = [t.EnsureTyped(both, track_meta=False)]
    steps += [window] if kind == "crop" else []
    steps += [
        t.FgBgToIndicesd("label", "_fg", "_bg"),
        t.Lambdad(["label_fg", "label_bg"], few),
        t.RandCropByPosNegLabeld(
            both,
            "label",
            patch,
            num_samples=per_volume,
            fg_indices_key="label_fg",
            bg_indices_key="label_bg",
        ),
        t.DeleteItemsd(["label_fg", "label_bg"]),
    ]
    if kind != "crop":
        steps += [t.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)]
    modes = ["bilinear", "nearest"]
    if kind == "elastic":
        steps += [
            t.Rand3DElasticd(
                both,
                sigma_range=(5, 7),
                magnitude_range=(50, 150),
                prob=1.0,
                rotate_range=angles.tolist(),
                mode=modes,
                padding_mode="border",
            )
        ]
    if kind == "smooth":
        points = [
            int(n * mm / ELASTIC_DISTANCE_MM) + 2
            for n, mm in zip(patch, SPACING_MM, strict=True)
        ]
        steps += [
            t.RandSmoothDeformd(
                both,
                spatial_size=patch,
                rand_size=points,
                prob=1.0,
                def_range=2 * ELASTIC_MM / 40,
                field_mode="trilinear",
                grid_mode=modes,
            ),
            t.RandRotated(both, prob=1.0, mode=modes, **turn),
        ]
    if kind != "crop":
        steps += [
            t.RandScaleIntensityd(["image"], SCALE, prob=1.0),
            t.RandShiftIntensityd(["image"], OFFSET_HU, prob=1.0),
            t.RandGaussianNoised(["image"], prob=1.0, std=NOISE_HU),
            window,
        ]
    torch.set_num_threads(1)  # what each worker has too
    dataset = CacheDataset(
        [read(number) for number in range(NUM_VOLUMES)],
        t.Compose(steps),
        progress=False,
        copy_cache=False,
    )
    endless = torch.utils.data.RandomSampler(
        dataset, replacement=True, num_samples=10**8
    )
    loader = DataLoader(
        dataset,
        batch_size=batch // per_volume,
        sampler=endless,
        num_workers=WORKERS,
        collate_fn=list_data_collate,
    )
    return iter(loader)


def cpu_seconds() -> float:
    """Return the CPU time of this process and of the children that live."""
    ticks = 0
    own = os.getpid()
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if folder.name == str(own) or fields[1] == str(own):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def work(library: str, folder: Path, patch: tuple[int, ...], batch: int) -> None:
    """Run what standard input names, and answer with figures, a line each."""
    make = {"kcalc": kcalc_batches, "monai": monai_batches}[library]
    sources: dict[str, Iterator[Any]] = {}
    for line in sys.stdin:
        way, _, seconds = line.strip().partition("\t")
        if way not in sources:
            sources.clear()  # ends the workers of the former way
            sources[way] = make(folder, way, patch, batch)
            for _ in range(WARM_UP):
                next(sources[way])
        for _ in range(2):  # what was made while this process paused
            next(sources[way])
        count, began, cpu = 0, time.perf_counter(), cpu_seconds()
        while time.perf_counter() - began < float(seconds) or count < 3:
            next(sources[way])
            count += 1
        wall = time.perf_counter() - began
        figures = {
            "per_s": count * batch / wall,
            "cpu_ms": 1e3 * (cpu_seconds() - cpu) / (count * batch),
        }
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()


class Contestant:
    """A process that stays up and runs what it is asked."""

    def __init__(self, python: str, library: str, folder: Path, size: str) -> None:
        self.process = subprocess.Popen(
            [python, __file__, "--work", library, str(folder), "--size", size],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )

    def run(self, way: str, seconds: float) -> dict[str, float]:
        """Run a way for some seconds and return its figures."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the process has no input or output")
        self.process.stdin.write(f"{way}\t{seconds}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{way}: the process ended; its error stands above")
        return dict(json.loads(answer))

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait()


def compare(folder: Path, peers: str, size: str, rounds: int, seconds: float) -> None:
    """Print samples per second of both, for both tasks."""
    ours = Contestant(sys.executable, "kcalc", folder, size)
    theirs = Contestant(peers, "monai", folder, size)
    for task, ways in MONAI_WAYS.items():
        possible = [w for w in ways if sizes(size)[1] > 1 or w.endswith("x1")]
        trial = {way: theirs.run(way, seconds)["per_s"] for way in possible}
        best = max(trial, key=lambda way: trial[way])
        for way, per_s in trial.items():
            print(f"  MONAI {way}: {per_s:.1f} samples/s in a first trial")
        found = [
            (ours.run(task, seconds), theirs.run(best, seconds)) for _ in range(rounds)
        ]
        print(f"{size} {task}: kcalc against MONAI's {best}, {rounds} rounds")
        for key, unit in (("per_s", "samples/s"), ("cpu_ms", "CPU ms a sample")):
            a, b = (statistics.median(pair[i][key] for pair in found) for i in (0, 1))
            ratios = [pair[0][key] / pair[1][key] for pair in found]
            low, high = min(ratios), max(ratios)
            print(
                f"  {a:.2f} and {b:.2f} {unit}, ratio "
                f"{statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}]",
                flush=True,
            )
    ours.stop()
    theirs.stop()


def wait(folder: Path, steps: int) -> None:
    """Print what share of a training step passes in waiting for data."""
    for name, prepare in (("residual_dropout_fcn", fcn), ("dense_ra_unet", unet)):
        step, source = prepare(folder)
        batch = next(source)
        step(batch)
        waited, stepped, began = 0.0, [], time.perf_counter()
        for _ in range(steps):
            before = time.perf_counter()
            batch = next(source)
            waited += time.perf_counter() - before
            step(batch)
            stepped.append(time.perf_counter() - before)
        whole = time.perf_counter() - began
        del source
        alone = []
        for _ in range(steps):
            before = time.perf_counter()
            step(batch)
            alone.append(time.perf_counter() - before)
        print(
            f"{name}: waits {100 * waited / whole:.2f} % of its time ({steps} steps of "
            f"{statistics.median(stepped):.2f} s; {statistics.median(alone):.2f} s on "
            "one batch again and again)",
            flush=True,
        )


def fcn(folder: Path) -> tuple[Callable[[Any], Any], Iterator[Any]]:
    """Return a step of the narrow network for head CT, and its samples."""
    from kcalc.data import Augmentation, VolumeData
    from kcalc.losses import DeepSupervision, MaskedBinaryCrossentropy
    from kcalc.models import output_windows, residual_dropout_fcn
    from kcalc.preparation import InputSpec

    patch = (66, 130, 130)
    return training(
        folder,
        VolumeData(patch, p_positive=0.5, augmentation=all_changes(Augmentation)),
        InputSpec(window_hu=WINDOW_HU, halo_zyx=(18, 42, 42)),
        1,
        lambda: residual_dropout_fcn((*patch, 1), channels=(4, 8, 16)),
        lambda: DeepSupervision(MaskedBinaryCrossentropy(), output_windows(patch)),
    )


def unet(folder: Path) -> tuple[Callable[[Any], Any], Iterator[Any]]:
    """Return a step of the shipped network for coronary calcium, and its samples."""
    import keras

    from kcalc.data import Augmentation, PatchSampling, SliceData
    from kcalc.models import dense_ra_unet
    from kcalc.preparation import InputSpec

    sampling = PatchSampling(size=256, side=(192, 240), p_positive=0.4)
    return training(
        folder,
        SliceData(sampling, all_changes(Augmentation, tilt_deg=0.0)),
        InputSpec(window_hu=WINDOW_HU, stack=9),
        4,
        lambda: dense_ra_unet((256, 256, 9), width=0.25, blocks=(4, 6, 8, 6)),
        keras.losses.BinaryCrossentropy,
    )


def training(
    folder: Path,
    plan: Any,
    input_spec: Any,
    batch: int,
    build_model: Callable[[], Any],
    build_loss: Callable[[], Any],
) -> tuple[Callable[[Any], Any], Iterator[Any]]:
    """Return the step that ``fit`` makes, and an iterator over a plan's batches."""
    import keras

    from kcalc.data import CaseStore
    from kcalc.training.step import TrainStep
    from kcalc.training.strategy import training_strategy

    strategy = training_strategy(None)
    with strategy.scope():
        model = build_model()
        objective = build_loss()
        model.compile(keras.optimizers.Adam(1e-4), jit_compile=False)
        model.optimizer.build(model.trainable_variables)
    samples = plan.training(
        CaseStore(folder / "cases.h5"),
        input_spec=input_spec,
        batch_size=batch,
        seed=0,
        start=0,
        stop=10**9,
    )
    step = TrainStep(model, objective, strategy)
    return step, iter(strategy.experimental_distribute_dataset(samples))


def sizes(text: str) -> tuple[tuple[int, ...], int]:
    """Return patch (z, y, x) and batch of ``64x64x64:4``."""
    patch, _, batch = text.partition(":")
    return tuple(int(n) for n in patch.split("x")), int(batch or 1)


def main() -> None:
    """Compare, or measure waiting; or, as a contestant, work."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--peers", help="Python of the environment with torch and MONAI")
    add("--size", action="append", help="patch and batch, such as 64x64x64:4")
    add("--rounds", type=int, default=7)
    add("--seconds", type=float, default=4.0, help="of each contestant in a round")
    add("--wait", action="store_true", help="measure a training step's waiting")
    add("--steps", type=int, default=20, help="of each network, with --wait")
    add("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        library, folder = options.work
        work(library, Path(folder), *sizes(options.size[0]))
        return
    if not options.wait:
        check_peers(options.peers)
    with tempfile.TemporaryDirectory() as name:
        write_volumes(Path(name))
        if options.wait:
            wait(Path(name), options.steps)
            return
        for size in options.size or ("64x64x64:4", "98x178x178:1"):
            compare(Path(name), options.peers, size, options.rounds, options.seconds)


def check_peers(python: str | None) -> None:
    """Stop with the way out where there is no environment with MONAI."""
    missing = python is None
    if python is not None:
        try:
            found = subprocess.run(
                [python, "-c", "import torch, monai"], capture_output=True, check=False
            )
            missing = found.returncode != 0
        except OSError:
            missing = True
    if missing:
        raise SystemExit(
            "--peers must be the Python of an environment with torch and monai; "
            f"received: {python}.\nMake one:\n    python3.11 -m venv ../venv-peers\n"
            "    ../venv-peers/bin/pip install torch==2.13.0 monai numpy\nand pass "
            "--peers ../venv-peers/bin/python"
        )


if __name__ == "__main__":
    main()
