"""DenseRAUnet for coronary calcium: Ma and Zhang 2019.

Ma J, Zhang R. Automatic Calcium Scoring in Cardiac and Chest CT Using DenseRAUnet.
arXiv 1907.11392, 2019, doi 10.48550/arXiv.1907.11392.

Data: the paper's 805 chest and 44 cardiac scans are not public. Without ``--data``,
``prepare`` renders phantoms (``kcalc.phantoms``). With ``--data DIR`` it does what
``kcalc prepare -i DIR`` does: it reads Stanford COCA, orCaScore, nnU-Net or MSD, or one
folder a case: ``DIR/<patient>__<scan>/`` (or ``DIR/<patient>/``) with ``image.nii.gz``
in HU or a DICOM folder ``image/``, and ``label.nii.gz`` (or another format of labels)
on the same grid where a coronary artery is calcified. Patients are split 70/10/20.

Commands, the small network on phantoms (what kcalc ships)::

    python recipes/ma2019_dense_ra_unet.py prepare  --miniature --out runs/small
    python recipes/ma2019_dense_ra_unet.py train    --miniature --out runs/small
    python recipes/ma2019_dense_ra_unet.py evaluate --miniature --out runs/small
    python recipes/ma2019_dense_ra_unet.py export   --miniature --out runs/small

``train`` goes on after a kill with ``--resume``. Without ``--miniature`` the same four
commands train the paper's network; ``--smoke`` tries either in minutes: small phantoms,
two steps. ``export`` writes ``OUT/export/<name>/<version>``, ready for
``saved_models/``, and counts on from the versions that are there.

Hours: the small network 1.3 to 2 on two CPU cores, a sixth of it to render; the
paper's network was not trained here: its million steps want a GPU.

Expected: the small network's figures are in its model card. Paper: pixel F1 0.75, right
risk class 120 of 144 scans (0.83) after the 130 HU cut.

Deviations from the paper, all of them ours where it is silent or its data closed:

* Both: phantoms instead of patients by default; an epoch of 40 000 samples is about
  one pass over the slices of 661 scans (the paper counts epochs, not steps); crop sides
  192 to 384 resized to 256, window -200 to 800 HU (not stated); crops that hold
  calcium or a voxel >= 130 HU without a label are drawn more often; no flips;
  validation by pooled pixel F1 decides which epoch is kept. Of the post-processing
  only "130 HU and connected components" is published: here a component of a slice is
  calcium, whole, if at least half of it has p >= 0.5, and else no part of it is.
* Small network alone: fewer channels and layers, batch 4, Adam with a cosine schedule
  and gradient clipping for SGD, moving average of the weights, crops up to the
  whole slice (the network sees whole slices at test), shift, scale and noise
  of HU, a fiftieth of the samples, in two stages: the second goes on from the first's
  best weights with more crops on imitators (components >= 130 HU as large as calcium
  but without a label, such as aortic plaques and valves). Its loss has the bootstrap
  threshold 0.999 and both coefficients 1, and the network starts from p = 0.005 (the
  paper's values are lost). Tried first and given up, on validation slices: threshold
  0.9, balanced classes: after 4 epochs the background stood at p = 0.05, just under
  what the bootstrap keeps, which summed over a slice drowns every lesion in the soft
  IoU (0.002, no gradient; pixel F1 0.65, recall 0.53); threshold 0.999, balanced:
  after 2 epochs precision 0.02 at recall 0.90.
"""

from __future__ import annotations

import argparse
import logging
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kcalc.data import (
    Augmentation,
    CasesRefusedError,
    CaseStore,
    PatchSampling,
    SliceData,
    count_supervised,
    prepare_store,
)
from kcalc.data.sources import PhantomOrder, phantom_cases
from kcalc.evaluation import case_table, compare_split, figures, patient_text
from kcalc.files import writable_folder
from kcalc.preparation import InputSpec
from kcalc.training import OptimizerConfig, Recipe, TrainingConfig
from kcalc.training.command_line import run_recipe
from kcalc.training.config import smoke_recipe
from kcalc.training.run_record import write_json

if TYPE_CHECKING:
    import keras

log = logging.getLogger("ma2019_dense_ra_unet")

INPUT_SPEC = InputSpec(
    window_hu=(-200.0, 800.0), stack=9, multiple_zyx=(1, 16, 16), context="slice"
)


def build_model(
    width: float, blocks: tuple[int, ...], prior: float = 0.5
) -> keras.Model:
    """Return the network for slices of any size.

    Args:
        width: Factor on the channels.
        blocks: Layers of the dense blocks.
        prior: Probability of calcium that the new network starts from.
    """
    from kcalc.models import dense_ra_unet

    model = dense_ra_unet((None, None, INPUT_SPEC.stack), width=width, blocks=blocks)
    model.get_layer("head_logits").bias.assign([math.log(prior / (1 - prior))])
    return model


def build_loss(threshold: float, weight: float | None = None) -> keras.losses.Loss:
    """Return the paper's loss: bootstrap cross-entropy plus soft IoU.

    Args:
        threshold: Background of at least this probability is left out.
        weight: Both trade-off coefficients; None balances the classes.
    """
    from kcalc.losses import BootstrapIoU

    return BootstrapIoU(threshold=threshold, alpha=weight, beta=weight)


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
    data=SliceData(sampling=_SAMPLING, validation_slices=200),
    optimizer=_SGD,
    training=TrainingConfig(epochs=25, steps_per_epoch=40_000, batch_size=1),
    build_model=partial(build_model, width=1.0, blocks=(6, 12, 24, 16)),
    build_loss=partial(build_loss, threshold=0.9),
    build_optimizer=partial(build_sgd, _SGD),
)

_ADAM = OptimizerConfig(
    learning_rate=2e-3, warmup_steps=200, clip_norm=5.0, ema_momentum=0.99
)
_SHORT = TrainingConfig(epochs=12, steps_per_epoch=250, batch_size=4)
SMALL_FIRST = replace(
    RECIPE,
    name="ma2019_dense_ra_unet_small_first",
    data=SliceData(
        sampling=replace(_SAMPLING, side=(192, 512)),
        augmentation=Augmentation(offset_hu=10.0, scale=0.03, noise_hu=10.0),
        validation_slices=96,
    ),
    optimizer=_ADAM,
    training=_SHORT,
    build_model=partial(build_model, width=0.25, blocks=(4, 6, 8, 6), prior=0.005),
    build_loss=partial(build_loss, threshold=0.999, weight=1.0),
    build_optimizer=partial(build_adam, _ADAM, _SHORT.total_steps),
)

_GENTLE = replace(_ADAM, learning_rate=1e-3)
_SHORTER = replace(_SHORT, epochs=8)
SMALL = replace(
    SMALL_FIRST,
    name="ma2019_dense_ra_unet_small",
    data=replace(
        SMALL_FIRST.data,
        sampling=replace(
            SMALL_FIRST.data.sampling,
            p_positive=0.35,
            p_hard_negative=0.1,
            p_imitator=0.35,
        ),
    ),
    optimizer=_GENTLE,
    training=_SHORTER,
    build_optimizer=partial(build_adam, _GENTLE, _SHORTER.total_steps),
)
"""Goes on from the best weights of ``SMALL_FIRST``, on what imitates calcium."""

THRESHOLD, COMPONENT_SHARE = 0.5, 0.5
"""From probabilities to the mask: the paper's 0.5, 130 HU and connected components.
What it does with components is not published; here one is calcium, whole, if at least
this share of it reaches the threshold, and else no part of it is."""

MODEL_NAMES = {
    RECIPE.name: "cac_dense_ra_unet",
    SMALL.name: "cac_dense_ra_unet_small",
}
CHANGES = {
    "cac_dense_ra_unet": (),
    "cac_dense_ra_unet_small": (
        "Version 2. Version 1 saw phantoms at the heart's height alone. On its own "
        "held-out phantoms it had pixel F1 0.626; on the real scans above 777.5 of "
        "966.6 points (QRM) and 8229.5 points, nearly all false, on ribs, shoulder "
        "blades and vertebrae (chest).",
        "That result, and a look at slices of the real chest CT, led to the phantoms "
        "of version 2, which reach from the kidneys to the neck: that scan is not "
        "untouched in the choice of anatomy. No voxel of it was trained on.",
        "The vote by component was chosen on version 1 and its validation phantoms "
        "(median absolute error 13.2 to 0.0 points), before version 2 was trained. "
        "The test phantoms are new ones, first scored after training; the real scans "
        "were first read by version 2 after that.",
    ),
}
NUM_PHANTOMS = {"train": 200, "validation": 20, "test": 30}
MIXTURE = ("wide",) * 12 + ("cardiac",) * 4 + ("qrm",) * 4
"""Kinds of phantoms, repeated: 60 % wide chest, 20 % cardiac, 20 % QRM insert."""
SEED_OF_SPLIT = {"train": 0, "validation": 100_000, "test": 300_000}
SMOKE_PHANTOM = {"num_lesions": 4, "shape_zyx": (9, 256, 256), "pixel_mm": 0.7}
STORE_FILE = "cases.h5"
SIMULATED = (
    "Simulated scans alone (kcalc.phantoms): chest, cardiac and QRM insert in random "
    "layouts; no patient."
)
LABELLED = "Labelled scans given with --data."
LIMITATIONS = (
    "Only what the table under Data describes was seen. Phantoms lack most of real "
    "anatomy, disease and artefacts; figures on them say little about patients.",
    "All of the small network's score of the real chest CT above is false: a calcified "
    "costal cartilage beside the xiphoid and a calcified spot at the inner wall of the "
    "aortic arch. Of 15 held-out phantoms without calcium it called 6 calcified, 8 to "
    "166 points: a score of that size may be nothing.",
    "Calcium of the valves, the aortic wall or the bones beside a coronary artery can "
    "be taken for coronary calcium, and noise >= 130 HU in thin or low-dose scans too.",
    "No figures were made per tube voltage, kernel, slice thickness or scanner.",
)


def prepare(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Write ``cases.h5`` from phantoms, or from the folder ``--data``."""
    path = writable_folder(arguments.out) / STORE_FILE
    if arguments.resume and path.exists():
        log.info("%s is there already", CaseStore(path))
        return
    if arguments.data is None:
        orders = phantom_orders(arguments.seed, arguments.smoke)
        CaseStore.write(path, phantom_cases(orders))
    else:
        try:
            prepare_store(arguments.data, path, seed=arguments.seed)
        except CasesRefusedError as refusal:
            log.warning("%s", refusal.report.text())
            raise
    store = CaseStore(path)
    log.info("cases:\n%s", case_table(store))
    log.info("%s", count_supervised(store))


def phantom_orders(seed: int, smoke: bool) -> list[PhantomOrder]:
    """Return what to render; splits share no seed for every ``seed`` below 1000."""
    orders = []
    for split, count in NUM_PHANTOMS.items():
        first = seed * 1_000_000 + SEED_OF_SPLIT[split]
        if smoke:
            orders.append(PhantomOrder("cardiac", first, split, SMOKE_PHANTOM))
            continue
        for index in range(count):
            kind = MIXTURE[index * 7 % len(MIXTURE)]
            where = {"any_height": True} if kind == "wide" else {}
            orders.append(PhantomOrder(kind, first + index, split, where))
    return orders


def train(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Train and write the run's folder ``run/``; the small network in two stages."""
    from kcalc.training import fit

    stages = [(recipe, "run")]
    if recipe is SMALL:
        stages.insert(0, (SMALL_FIRST, "run-first"))
    weights = None
    for stage, folder in stages:
        result = fit(
            stage,
            store=arguments.out / STORE_FILE,
            out=arguments.out / folder,
            seed=arguments.seed,
            resume=arguments.resume,
            smoke=arguments.smoke,
            initial_weights=weights,
        )
        weights = result.weights
    log.info("best epoch %d: F1 %.4f", result.best["epoch"], result.best["val_f1"])


def evaluate(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Score the test split with the network and with the labels.

    Writes ``evaluation.json``, and ``evaluation/`` with tables and charts.
    """
    from kcalc.inference import open_network, predict
    from kcalc.report import write_agreement
    from kcalc.training.finished import best_model, write_evaluation

    model = best_model(recipe, arguments.out)
    network = replace(
        open_network(model, input_spec=recipe.input_spec),
        threshold=THRESHOLD,
        component_share=COMPONENT_SHARE,
    )
    comparisons = []
    for comparison in compare_split(
        lambda volume: predict(network, volume).mask,
        CaseStore(arguments.out / STORE_FILE),
    ):
        comparisons.append(comparison)
        log.info("%s", comparison)
    result = figures(comparisons)
    write_evaluation(arguments.out, result)
    write_agreement(arguments.out / "evaluation", result)
    log.info("%s\n\n%s", result["overall"], patient_text(result["agreement"]))


def export(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Write the SavedModel's next version with its card under ``export/``.

    The card has the figures of ``OUT/real_scans.json`` too, once that is there.
    """
    from kcalc.export import card_coronary, export_saved_model
    from kcalc.export.card import CORONARY, model_card
    from kcalc.training.finished import (
        best_model,
        read_evaluation,
        read_record,
        record_for_export,
    )

    out, name = arguments.out, MODEL_NAMES[recipe.name]
    run = read_record(out / "run" / "run.json", made_by="train")
    trained = smoke_recipe(recipe) if arguments.smoke else recipe
    write_json(out / "recipe.json", record_for_export(trained, run))
    real_scans, real_command = out / "real_scans.json", "benchmarks/real_scans.py"
    card = model_card(
        name,
        CORONARY,
        network="DenseRAUnet (Ma and Zhang 2019, arXiv 1907.11392)",
        recipe_file=Path(__file__).name,
        run=run,
        kept=f"pixel F1 on validation slices, {run['best']['val_f1']:.3f} "
        f"(probability >= {recipe.threshold} and >= 130 HU)",
        mask=card_coronary.mask_rule(THRESHOLD, COMPONENT_SHARE),
        trained_on=SIMULATED if arguments.data is None else LABELLED,
        store=CaseStore(out / STORE_FILE),
        performance=card_coronary.performance(read_evaluation(out)),
        real_scans=card_coronary.real_scans(
            read_record(real_scans, made_by=real_command)
            if real_scans.exists()
            else None
        ),
        limitations=LIMITATIONS,
        changes=[f"Trained with kcalc {run['versions']['kcalc']}.", *CHANGES[name]],
    )
    version = export_saved_model(
        best_model(recipe, out),
        out / "export" / name,
        input_spec=recipe.input_spec,
        name=name,
        threshold=THRESHOLD,
        component_share=COMPONENT_SHARE,
        trained_on=SIMULATED if arguments.data is None else LABELLED,
        model_card=card,
        recipe_json=out / "recipe.json",
    )
    log.info("written %s", version)


COMMANDS = {
    "prepare": prepare,
    "train": train,
    "evaluate": evaluate,
    "export": export,
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit code."""
    return run_recipe(__doc__ or "", COMMANDS, full=RECIPE, small=SMALL, argv=argv)


if __name__ == "__main__":
    raise SystemExit(main())
