"""DenseRAUnet for coronary calcium: Ma and Zhang 2019.

Ma J, Zhang R. Automatic Calcium Scoring in Cardiac and Chest CT Using DenseRAUnet.
arXiv 1907.11392, 2019, doi 10.48550/arXiv.1907.11392.

Data: the paper's 805 chest and 44 cardiac scans are not public. Without ``--data``,
``prepare`` renders phantoms (``kcalc.phantoms``). With ``--data DIR`` it reads one
folder a case: ``DIR/<patient>__<scan>/`` (or ``DIR/<patient>/``) with ``image.nii.gz``
in HU or a DICOM folder ``image/``, and ``label.nii.gz`` on the same grid, above 0 where
a coronary artery is calcified. Patients are split 70/10/20.

Commands, the small network on phantoms (what kcalc ships)::

    python recipes/ma2019_dense_ra_unet.py prepare  --miniature --out runs/small
    python recipes/ma2019_dense_ra_unet.py train    --miniature --out runs/small
    python recipes/ma2019_dense_ra_unet.py evaluate --miniature --out runs/small
    python recipes/ma2019_dense_ra_unet.py export   --miniature --out runs/small

``train`` goes on after a kill with ``--resume``. Without ``--miniature`` the same four
commands train the paper's network; ``--smoke`` tries either in minutes: small phantoms,
two steps. ``export`` writes ``OUT/export/<name>/<version>``, ready for
``saved_models/``.

Hours: the small network about 3 on two CPU cores, 1 of it to render; the paper's
network was not trained here: its million steps want a GPU.

Expected: the small network's figures are in its model card. Paper: pixel F1 0.75, right
risk class 120 of 144 scans (0.83) after the 130 HU cut.

Deviations from the paper, all of them ours where it is silent or its data closed:

* Both: phantoms instead of patients by default; an epoch of 40 000 samples is about
  one pass over the slices of 661 scans (the paper counts epochs, not steps); crop sides
  192 to 384 resized to 256, window -200 to 800 HU (not stated); crops that hold
  calcium or a voxel >= 130 HU without a label are drawn more often; no flips;
  validation by pooled pixel F1 decides which epoch is kept.
* Small network alone: fewer channels and layers, batch 4, Adam with a cosine schedule
  and gradient clipping for SGD, moving average of the weights, crops up to the
  whole slice (the network sees whole slices at test), shift, scale and noise
  of HU, a seventieth of the samples; bootstrap threshold 0.999, because at 0.9 (our
  default, the paper's value is lost) the background settled at p = 0.05, just under
  what the bootstrap keeps: summed over a slice that drowns every lesion in the soft
  IoU, whose gradient vanished (soft IoU about 0.002 on validation slices).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import multiprocessing
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcalc.data import Augmentation, Case, CaseStore, PatchSampling, split_patients
from kcalc.errors import InputError, KcalcError
from kcalc.preparation import InputSpec
from kcalc.training import DataConfig, OptimizerConfig, Recipe, TrainingConfig

if TYPE_CHECKING:
    import keras

log = logging.getLogger("ma2019_dense_ra_unet")

INPUT_SPEC = InputSpec(
    window_hu=(-200.0, 800.0), stack=9, multiple_zyx=(1, 16, 16), context="slice"
)


def build_model(width: float, blocks: tuple[int, ...]) -> keras.Model:
    """Return the network for slices of any size."""
    from kcalc.models import dense_ra_unet

    return dense_ra_unet((None, None, INPUT_SPEC.stack), width=width, blocks=blocks)


def build_loss(threshold: float) -> keras.losses.Loss:
    """Return the paper's loss: bootstrap cross-entropy plus soft IoU."""
    from kcalc.losses import BootstrapIoU

    return BootstrapIoU(threshold=threshold)


def build_sgd(config: OptimizerConfig) -> keras.optimizers.Optimizer:
    """Return the paper's optimiser."""
    from kcalc.training.schedules import momentum_sgd

    return momentum_sgd(config)


def build_adam(config: OptimizerConfig, total_steps: int) -> keras.optimizers.Optimizer:
    """Return the small network's optimiser."""
    from kcalc.training.schedules import cosine_adam

    return cosine_adam(config, total_steps)


_SGD = OptimizerConfig(
    learning_rate=1e-3, momentum=0.9, decay_rate=0.99, decay_steps=2000
)
_SAMPLING = PatchSampling(
    size=256, side=(192, 384), p_positive=0.4, p_hard_negative=0.3
)
RECIPE = Recipe(
    name="ma2019_dense_ra_unet",
    input_spec=INPUT_SPEC,
    data=DataConfig(sampling=_SAMPLING, validation_slices=200),
    optimizer=_SGD,
    training=TrainingConfig(epochs=25, steps_per_epoch=40_000, batch_size=1),
    build_model=partial(build_model, width=1.0, blocks=(6, 12, 24, 16)),
    build_loss=partial(build_loss, threshold=0.9),
    build_optimizer=partial(build_sgd, _SGD),
)

_ADAM = OptimizerConfig(
    learning_rate=2e-3, warmup_steps=200, clip_norm=5.0, ema_momentum=0.99
)
_SHORT = TrainingConfig(epochs=14, steps_per_epoch=250, batch_size=4)
SMALL = replace(
    RECIPE,
    name="ma2019_dense_ra_unet_small",
    data=DataConfig(
        sampling=replace(_SAMPLING, side=(192, 512)),
        augmentation=Augmentation(offset_hu=10.0, scale=0.03, noise_hu=10.0),
        validation_slices=64,
    ),
    optimizer=_ADAM,
    training=_SHORT,
    build_model=partial(build_model, width=0.25, blocks=(4, 6, 8, 6)),
    build_loss=partial(build_loss, threshold=0.999),
    build_optimizer=partial(build_adam, _ADAM, _SHORT.total_steps),
)

MODEL_NAMES = {
    RECIPE.name: "cac_dense_ra_unet",
    SMALL.name: "cac_dense_ra_unet_small",
}
NUM_PHANTOMS = {"train": 160, "validation": 16, "test": 24}
MIXTURE = ("wide",) * 11 + ("cardiac",) * 5 + ("qrm",) * 4
"""Kinds of phantoms, repeated: 55 % wide chest, 25 % cardiac, 20 % QRM insert."""
SEED_OF_SPLIT = {"train": 0, "validation": 100_000, "test": 200_000}
NUM_WORKERS = 2


def prepare(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Write ``cases.h5`` from phantoms, or from the folder ``--data``."""
    path = arguments.out / "cases.h5"
    if arguments.resume and path.exists():
        log.info("%s is there already", CaseStore(path))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.data is None:
        cases = phantom_cases(arguments.seed, arguments.smoke)
    else:
        cases = folder_cases(arguments.data, arguments.seed)
    store = CaseStore.write(path, cases)
    for split in SEED_OF_SPLIT:
        names = [record.name for record in store.split(split)]
        calcified = sum(len(store.positive_slices(name)) > 0 for name in names)
        log.info("%s: %d cases, %d with calcium", split, len(names), calcified)


def phantom_cases(seed: int, smoke: bool) -> Iterator[Case]:
    """Render phantoms in two processes and yield them one by one.

    The seeds of the three splits are disjoint for every ``seed`` below 1000.
    """
    jobs = []
    for split, count in NUM_PHANTOMS.items():
        for index in range(1 if smoke else count):
            kind = "smoke" if smoke else MIXTURE[index * 7 % len(MIXTURE)]
            jobs.append((split, kind, seed * 1_000_000 + SEED_OF_SPLIT[split] + index))
    context = multiprocessing.get_context("spawn")
    with context.Pool(NUM_WORKERS) as pool:
        for done, case in enumerate(pool.imap(render_case, jobs), start=1):
            log.info(
                "%d/%d %s %s: %d labelled voxels",
                done,
                len(jobs),
                case.name,
                case.image.shape,
                int((case.label > 0).sum()),
            )
            yield case


def render_case(job: tuple[str, str, int]) -> Case:
    """Render one phantom; runs in a worker process."""
    from kcalc.phantoms import chest, qrm

    split, kind, seed = job
    if kind == "qrm":
        phantom = qrm("random", seed)
    elif kind == "smoke":
        phantom = chest(
            "cardiac", seed, num_lesions=4, shape_zyx=(9, 256, 256), pixel_mm=0.7
        )
    else:
        phantom = chest("cardiac" if kind == "cardiac" else "wide", seed)
    return Case(
        name=f"{phantom.name}-{seed:07d}",
        image=phantom.volume.array,
        label=phantom.label,
        spacing_mm=phantom.volume.spacing_mm,
        patient=f"phantom-{seed:07d}",
        split=split,
        tube_voltage_kvp=phantom.volume.acquisition.tube_voltage_kvp,
    )


def folder_cases(data: Path, seed: int) -> Iterator[Case]:
    """Read one folder a case, in LPS order, named by number to keep no identity."""
    import numpy as np

    from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
    from kcalc.inference.orientation import lps_view
    from kcalc.io import read_volume
    from kcalc.io.nifti import read_mask

    folders = sorted(path for path in data.glob("*/") if path.is_dir())
    if not folders:
        raise InputError(
            "DATA_EMPTY",
            "--data must hold one folder a case. Received: no folder.",
            path=data,
            hint="See the head of this recipe for the layout.",
        )
    keys = [
        hashlib.sha256(folder.name.split("__")[0].encode()).hexdigest()[:16]
        for folder in folders
    ]
    splits = split_patients(keys, seed=seed)
    for number, (folder, key) in enumerate(zip(folders, keys, strict=True), start=1):
        nifti = folder / "image.nii.gz"
        volume = (
            read_volume(nifti, unit="HU")
            if nifti.exists()
            else read_volume(folder / "image")
        )
        label = read_mask(folder / "label.nii.gz", volume.geometry)
        label = label * (volume.array >= AGATSTON_THRESHOLD_HU)
        image = np.rint(volume.array).clip(-32768, 32767).astype(np.int16)
        image, label = (lps_view(a, volume.geometry) for a in (image, label))
        axes = [n - 1 for n in lps_view(np.empty((1, 2, 3)), volume.geometry).shape]
        z_mm, y_mm, x_mm = (volume.spacing_mm[axis] for axis in axes)
        log.info("%d/%d read", number, len(folders))
        yield Case(
            name=f"case-{number:04d}",
            image=image,
            label=label,
            spacing_mm=(z_mm, y_mm, x_mm),
            patient=key,
            split=splits[key],
            tube_voltage_kvp=volume.acquisition.tube_voltage_kvp,
        )


def train(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Train and write the run's folder ``run/``."""
    from kcalc.training import fit

    result = fit(
        recipe,
        store=arguments.out / "cases.h5",
        out=arguments.out / "run",
        seed=arguments.seed,
        resume=arguments.resume,
        smoke=arguments.smoke,
    )
    log.info("best epoch %d: F1 %.4f", result.best["epoch"], result.best["val_f1"])


def evaluate(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Score the test split with the network and with the labels: evaluation.json."""
    from kcalc.inference import open_network
    from kcalc.training.run_record import write_json

    network = open_network(trained_model(recipe, arguments), input_spec=INPUT_SPEC)
    store = CaseStore(arguments.out / "cases.h5")
    rows = []
    for record in store.split("test"):
        rows.append(evaluate_case(network, store, record.name))
        log.info("%s", rows[-1])
    write_json(arguments.out / "evaluation.json", summary(rows))
    log.info("written %s", arguments.out / "evaluation.json")


def evaluate_case(network: Any, store: CaseStore, name: str) -> dict[str, Any]:
    """Return one case's scores by label and by network, and its pixel counts."""
    import numpy as np

    from kcalc import calcium_score, predict
    from kcalc.geometry import Geometry
    from kcalc.volume import Acquisition, Volume

    record = store[name]
    image = np.array(store.image(name))
    truth = np.array(store.label(name)) > 0
    volume = Volume(
        image,
        Geometry.axial(record.shape_zyx, record.spacing_mm),
        acquisition=Acquisition("CT", record.tube_voltage_kvp),
    )
    mask = predict(network, volume).mask > 0
    by_label, by_network = (
        calcium_score(
            image, found, record.spacing_mm, tube_voltage_kvp=record.tube_voltage_kvp
        )
        for found in (truth, mask)
    )
    hits = int((truth & mask).sum())
    pixels = {"truth": int(truth.sum()), "predicted": int(mask.sum()), "both": hits}
    return {
        "case": name,
        "agatston_label": round(by_label.agatston, 2),
        "agatston_network": round(by_network.agatston, 2),
        "volume_mm3_label": round(by_label.volume_mm3, 2),
        "volume_mm3_network": round(by_network.volume_mm3, 2),
        "risk_label": by_label.risk_category,
        "risk_network": by_network.risk_category,
        "pixels": pixels,
        "pixel_f1": f1([pixels]),
    }


def f1(counts: list[dict[str, int]]) -> float:
    """Return the F1 of all counted pixels together; 1 where there are none."""
    both = sum(count["both"] for count in counts)
    either = sum(count["truth"] + count["predicted"] for count in counts)
    return round(2 * both / either, 4) if either else 1.0


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures over all test cases, and the cases."""
    agree = sum(row["risk_label"] == row["risk_network"] for row in rows)
    clean = [row for row in rows if row["agatston_label"] == 0]
    errors = sorted(
        abs(row["agatston_network"] - row["agatston_label"]) for row in rows
    )
    return {
        "cases": len(rows),
        "pixel_f1": f1([row["pixels"] for row in rows]),
        "risk_category_agreement": round(agree / len(rows), 4),
        "median_absolute_agatston_error": errors[len(errors) // 2],
        "cases_without_calcium": len(clean),
        "of_these_scored_zero": sum(row["agatston_network"] == 0 for row in clean),
        "rows": rows,
    }


def export(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Write the SavedModel's next version with its card under ``export/``."""
    from kcalc.export import export_saved_model

    run = json.loads((arguments.out / "run" / "run.json").read_text())
    evaluation = json.loads((arguments.out / "evaluation.json").read_text())
    name = MODEL_NAMES[recipe.name]
    trained_on = (
        "Simulated scans alone (kcalc.phantoms): chest, cardiac and QRM insert."
        if arguments.data is None
        else "Labelled scans given with --data."
    )
    version = export_saved_model(
        trained_model(recipe, arguments),
        arguments.out / "export" / name,
        input_spec=INPUT_SPEC,
        name=name,
        threshold=recipe.threshold,
        trained_on=trained_on,
        model_card=model_card(name, trained_on, run, evaluation),
        recipe_json=arguments.out / "run" / "run.json",
    )
    log.info("written %s", version)


def trained_model(recipe: Recipe, arguments: argparse.Namespace) -> keras.Model:
    """Return the network with the best epoch's weights."""
    weights = arguments.out / "run" / "best.weights.h5"
    if not weights.exists():
        raise InputError(
            "RUN_MISSING",
            "The run must have been trained.",
            path=weights,
            hint="Run this recipe's train command with the same --out.",
        )
    model = recipe.build_model()
    model.load_weights(weights)
    return model


def model_card(
    name: str, trained_on: str, run: dict[str, Any], evaluation: dict[str, Any]
) -> str:
    """Return the card's text with the figures of the run and of the test split."""
    best = run["best"]
    return f"""# {name}

Coronary calcium on non-contrast CT: nine slices in, the middle slice's mask out.
**Research use only. Not a medical device; not for diagnosis.**

- Network: DenseRAUnet (Ma and Zhang 2019, arXiv 1907.11392), {run["parameters"]}
  parameters, trained by `recipes/ma2019_dense_ra_unet.py`, recipe
  `{run["recipe"]["name"]}`, seed {run["seed"]}, commit {run["git"]["commit"]}.
- Trained on: {trained_on}
- Kept: epoch {best["epoch"]} of {run["recipe"]["training"]["epochs"]}, validation pixel
  F1 {best["val_f1"]:.3f} (probability >= {run["recipe"]["threshold"]} and >= 130 HU).

## Held-out cases ({evaluation["cases"]}, by `evaluate`)

| figure | value |
|---|---|
| pixel F1, all pixels together | {evaluation["pixel_f1"]:.3f} |
| same risk category as the label | {evaluation["risk_category_agreement"]:.3f} |
| median absolute error, Agatston points | \
{evaluation["median_absolute_agatston_error"]:.1f} |
| cases without calcium scored 0 | \
{evaluation["of_these_scored_zero"]} of {evaluation["cases_without_calcium"]} |

## Limits

Only what `kcalc.phantoms` renders was seen, unless the line "Trained on" says
otherwise: real anatomy, disease and artefacts differ. Not for contrast-enhanced scans.
"""


COMMANDS = {
    "prepare": prepare,
    "train": train,
    "evaluate": evaluate,
    "export": export,
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--data", type=Path, help="folder of cases; default phantoms")
    parser.add_argument("--out", type=Path, default=Path("runs/ma2019_dense_ra_unet"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on after a kill")
    parser.add_argument("--smoke", action="store_true", help="two steps, tiny data")
    parser.add_argument("--miniature", action="store_true", help="the small network")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("absl").setLevel(logging.ERROR)  # TensorFlow names every weight
    recipe = SMALL if arguments.miniature else RECIPE
    try:
        COMMANDS[arguments.command](recipe, arguments)
    except KcalcError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
