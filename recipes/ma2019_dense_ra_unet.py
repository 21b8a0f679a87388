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
    python recipes/ma2019_dense_ra_unet.py tables   --miniature --out runs/tables

``tables --row NAME --seed N`` makes one row of the paper's tables (dense_unet, rau,
edb, scse, iou): it renders wide chest phantoms to train on and chest and cardiac ones
to test on, trains, tests, and writes ``recipes/results/ma2019/NAME-N.json``; run again
after a kill it goes on. ``tables`` alone prints what is there.

``train`` goes on after a kill with ``--resume``. Without ``--miniature`` the same four
commands train the paper's network; ``--smoke`` tries either in minutes: small phantoms,
two steps. ``export`` writes ``OUT/export/<name>/<version>``, ready for
``saved_models/``, and counts on from the versions that are there.

Hours: the small network 1.3 to 2 on two CPU cores, a sixth of it to render; a row of
the tables with one seed about 7 minutes on one core; the paper's network was not
trained here: its million steps want a GPU.

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
* Rows of the tables with ``--miniature``: an eighth of the channels, 12 dense layers,
  1500 steps of 4 crops of 128 x 128, else as the small network's second stage from the
  start; 40 training, 12 chest and 12 cardiac test phantoms of 24 slices of 256 x 256.
  The paper states neither its risk classes nor what a score without post-processing
  counts: here the classes of ``kcalc.scoring``, and all marked pixels, weighted by the
  maximum of their component. Without ``--miniature`` the rows are the paper's network
  on the cases of ``prepare``.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcalc.data import (
    Augmentation,
    CasesRefusedError,
    CaseStore,
    PatchSampling,
    SliceData,
    count_supervised,
    prepare_store,
)
from kcalc.data.sources import PhantomOrder, is_simulated, phantom_cases
from kcalc.errors import UsageError
from kcalc.evaluation import (
    CaseComparison,
    by_kind,
    case_table,
    compare_masks,
    compare_split,
    figures,
    patient_text,
    summary,
)
from kcalc.files import writable_folder
from kcalc.geometry import Geometry
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU, CT_MIN_HU
from kcalc.preparation import InputSpec
from kcalc.scoring import rule
from kcalc.training import OptimizerConfig, Recipe, TrainingConfig
from kcalc.training.ablation import AblationRow, read_rows
from kcalc.training.ablation_command import Tested, make_row, print_tables, row_named
from kcalc.training.ablation_table import (
    Column,
    Finding,
    ablation_table,
    findings_text,
    mean_and_sd,
    missing_text,
)
from kcalc.training.command_line import fit_options, run_recipe
from kcalc.training.config import smoke_recipe
from kcalc.training.run_record import write_json
from kcalc.volume import Volume

if TYPE_CHECKING:
    import keras

    from kcalc.training import TrainingResult

log = logging.getLogger("ma2019_dense_ra_unet")

INPUT_SPEC = InputSpec(
    window_hu=(-200.0, 800.0), stack=9, multiple_zyx=(1, 16, 16), context="slice"
)


def build_model(
    width: float, blocks: tuple[int, ...], prior: float = 0.5, **options: Any
) -> keras.Model:
    """Return the network for slices of any size.

    Args:
        width: Factor on the channels.
        blocks: Layers of the dense blocks.
        prior: Probability of calcium that the new network starts from.
        **options: Of :func:`kcalc.models.dense_ra_unet`, such as ``scse=False`` or
            ``imagenet_weights="densenet121_..._notop.h5"``.
    """
    from kcalc.models import dense_ra_unet

    model = dense_ra_unet(
        (None, None, INPUT_SPEC.stack), width=width, blocks=blocks, **options
    )
    model.get_layer("head_logits").bias.assign([math.log(prior / (1 - prior))])
    return model


def build_loss(
    threshold: float, weight: float | None = None, iou: bool = True
) -> keras.losses.Loss:
    """Return the paper's loss: bootstrap cross-entropy plus soft IoU.

    Args:
        threshold: Background of at least this probability is left out.
        weight: Both trade-off coefficients; None balances the classes.
        iou: Whether the soft IoU is added.
    """
    from kcalc.losses import BootstrapCrossentropy, BootstrapIoU

    loss = BootstrapIoU if iou else BootstrapCrossentropy
    return loss(threshold=threshold, alpha=weight, beta=weight)


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

TINY = replace(
    SMALL,
    name="ma2019_dense_ra_unet_tiny",
    data=replace(
        SMALL.data,
        sampling=replace(SMALL.data.sampling, size=128, side=(96, 192)),
        validation_slices=48,
        validation_size=256,
    ),
    optimizer=_ADAM,
    training=replace(_SHORT, epochs=6),
    build_model=partial(build_model, width=0.125, blocks=(2, 3, 4, 3), prior=0.005),
    build_optimizer=partial(build_adam, _ADAM, 6 * 250),
)
"""What ``tables --miniature`` trains in every row."""

_SWITCHES = ("residual_atrous", "extra_dense", "scse", "iou")
ROWS = tuple(
    AblationRow(
        name, title, "Tables 1 and 2", {s: s in _SWITCHES[:on] for s in _SWITCHES}
    )
    for on, (name, title) in enumerate(
        [
            ("dense_unet", "Dense U-Net"),
            ("rau", "Dense U-Net + RAU"),
            ("edb", "Dense U-Net + RAU + EDB"),
            ("scse", "Dense U-Net + RAU + EDB + scSE"),
            ("iou", "DenseRAUnet (all of these + IoU)"),
        ]
    )
)
SEEDS = (0, 1, 2)
FIGURE_2 = "figure2.png"
"""Made with the last row, the whole method, and the first seed."""
RESULTS = Path(__file__).parent / "results" / "ma2019"
"""Rows of ``tables --miniature`` that are kept in git."""

TINY_PHANTOMS = {
    "wide": {"train": 40, "validation": 8, "test": 12},
    "cardiac": {"test": 12},
}
"""Phantoms of the tables by kind and split: trained on wide chest alone."""
TINY_SCANS = {
    "wide": {"pixel_mm": 1.1, "slice_spacing_mm": 3.0, "slice_thickness_mm": 3.0},
    "cardiac": {"pixel_mm": 0.8, "slice_spacing_mm": 2.5, "slice_thickness_mm": 2.5},
}
"""Wide fields of 282 mm, gated ones of 205 mm, finer in all directions."""
TINY_SHAPE, TINY_SMOKE_SHAPE = (24, 256, 256), (9, 64, 64)
TINY_SEED = 600_000
TINY_FILE = "tables.h5"

UNFILTERED = replace(
    rule("agatston_1990"),
    name="agatston_1990_unfiltered",
    source="Agatston 1990 on the pixels that a network marks, whatever their HU: the "
    "score without post-processing of Ma and Zhang 2019, Table 2.",
    threshold_hu=float(CT_MIN_HU),
)
STAGES = {
    "raw": "p >= 0.5, no post-processing",
    "filtered": "then 130 HU and connected components, the paper's post-processing",
    "voted": "components by vote, kcalc's post-processing",
}


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
            initial_weights=weights,
            **fit_options(arguments),
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
    store = CaseStore(out / STORE_FILE)
    trained_on = SIMULATED if is_simulated(store) else LABELLED
    card = model_card(
        name,
        CORONARY,
        network="DenseRAUnet (Ma and Zhang 2019, arXiv 1907.11392)",
        recipe_file=Path(__file__).name,
        run=run,
        kept=f"pixel F1 on validation slices, {run['best']['val_f1']:.3f} "
        f"(probability >= {recipe.threshold} and >= 130 HU)",
        mask=card_coronary.mask_rule(THRESHOLD, COMPONENT_SHARE),
        trained_on=trained_on,
        store=store,
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
        trained_on=trained_on,
        model_card=card,
        recipe_json=out / "recipe.json",
    )
    log.info("written %s", version)


def tables(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Make the row ``--row`` of Tables 1 and 2, or print the rows that are there."""
    if arguments.data is not None:
        raise UsageError(
            "USAGE",
            "tables takes no --data.",
            hint="Run prepare --data DIR, then tables without --miniature and with the "
            "same --out.",
        )
    tiny = recipe is SMALL
    folder = RESULTS if tiny and not arguments.smoke else arguments.out / "rows"
    if arguments.row is None:
        print_tables(tables_text(folder), folder)
        return
    row, base = row_named(ROWS, arguments.row), TINY if tiny else recipe
    made = row_recipe(base, row)
    store = tables_store(base, writable_folder(arguments.out), arguments.smoke)
    shown = row is ROWS[-1] and arguments.seed == SEEDS[0]

    def test(result: TrainingResult) -> Tested:
        picture = writable_folder(folder) / FIGURE_2 if shown else None
        stages = tested_stages(result.model, made, store, picture)
        return stage_figures(stages), stage_values(stages)

    make_row(made, row, store=store, folder=folder, arguments=arguments, test=test)


def row_recipe(base: Recipe, row: AblationRow) -> Recipe:
    """Return the recipe of one row: the switches of its network and its loss."""
    switches = dict(row.changes)
    iou = switches.pop("iou")
    return replace(
        base,
        name=f"{base.name}_{row.name}",
        build_model=partial(base.build_model, **switches),
        build_loss=partial(base.build_loss, iou=iou),
    )


def tables_store(base: Recipe, out: Path, smoke: bool) -> CaseStore:
    """Return the cases of the tables: one store for all rows and seeds.

    The paper's network takes the cases that ``prepare`` wrote.
    """
    if base is not TINY:
        return CaseStore(out / STORE_FILE)
    path = out / TINY_FILE
    if not path.exists():
        CaseStore.write(path, phantom_cases(tables_orders(smoke)))
    return CaseStore(path)


def tables_orders(smoke: bool) -> list[PhantomOrder]:
    """Return the phantoms of the tables, each another patient than all others.

    None is a phantom of ``prepare``.
    """
    orders = []
    for number, (kind, counts) in enumerate(TINY_PHANTOMS.items()):
        shape = TINY_SMOKE_SHAPE if smoke else TINY_SHAPE
        scan = {**TINY_SCANS[kind], "shape_zyx": shape}
        if smoke:
            scan |= {"num_lesions": 6, "pixel_mm": 2.0}
        for split, count in counts.items():
            first = TINY_SEED + 10_000 * list(SEED_OF_SPLIT).index(split)
            first += 1_000 * number
            for index in range(1 if smoke else count):
                orders.append(PhantomOrder(kind, first + index, split, scan))
    return orders


def tested_stages(
    model: keras.Model, recipe: Recipe, store: CaseStore, picture: Path | None
) -> dict[str, list[CaseComparison]]:
    """Return the test cases scored by label and by the network, stage by stage.

    The picture, if asked for, shows of every kind the case with most true calcium.
    """
    from kcalc.inference import open_network, predict
    from kcalc.inference.postprocess import calcium_of_slices
    from kcalc.report.stages import StagedScan, stages_picture

    network = replace(
        open_network(model, input_spec=recipe.input_spec), candidate_hu=-math.inf
    )
    stages: dict[str, list[CaseComparison]] = {stage: [] for stage in STAGES}
    shown: dict[str, StagedScan] = {}
    most: dict[str, int] = {}
    for record in store.split("test"):
        image, label = store.image(record.name)[:], store.label(record.name)[:]
        volume = Volume(image, Geometry.axial(record.shape_zyx, record.spacing_mm))
        found = predict(network, volume, keep_probability=True)
        candidates = image >= AGATSTON_THRESHOLD_HU
        probability, share = found.probability, COMPONENT_SHARE
        masks = {
            "raw": found.mask,
            "filtered": calcium_of_slices(probability, candidates, THRESHOLD, None),
            "voted": calcium_of_slices(probability, candidates, THRESHOLD, share),
        }
        for stage, mask in masks.items():
            stages[stage].append(
                compare_masks(record, image, label, mask, rule=UNFILTERED)
            )
        one = stages["raw"][-1]
        if one.voxels_reference >= most.get(one.kind, 0):
            most[one.kind] = one.voxels_reference
            columns = {
                "without post-processing": masks["raw"],
                "with post-processing": masks["filtered"],
                "truth": label,
            }
            shown[one.kind] = StagedScan(one.kind, image, volume.geometry, columns)
    if picture is not None:
        title = "Figure 2 of Ma and Zhang 2019 on phantoms"
        stages_picture(picture, list(shown.values()), title=title)
    return stages


def stage_figures(stages: Mapping[str, Sequence[CaseComparison]]) -> dict[str, Any]:
    """Return the figures of every stage, over all test cases and by kind."""
    return {
        stage: {"all": summary(comparisons), **by_kind(comparisons)}
        for stage, comparisons in stages.items()
    }


def stage_values(
    stages: Mapping[str, Sequence[CaseComparison]],
) -> dict[str, dict[str, float]]:
    """Return F1 and whether the risk class is right, by stage and case."""
    values = {}
    for stage, comparisons in stages.items():
        values[f"{stage}_f1"] = {c.case: c.dice for c in comparisons}
        values[f"{stage}_class"] = {
            c.case: float(c.risk_reference == c.risk_result) for c in comparisons
        }
    return values


F1 = Column("F1", "raw.all.pixel_f1", cases="raw_f1")
RIGHT_CLASS = "risk_category_agreement"
CAC_RATE = Column("CAC rate", f"raw.all.{RIGHT_CLASS}", 2, "raw_class")
FILTER_RATE = Column(
    "CAC filter rate", f"filtered.all.{RIGHT_CLASS}", 2, "filtered_class"
)
FINDINGS = (
    *(
        Finding(f"{row.title} beats Dense U-Net in {what}", row.name, "dense_unet", c)
        for what, c in (
            ("pixel F1", F1),
            ("CAC rate", CAC_RATE),
            ("CAC filter rate", FILTER_RATE),
        )
        for row in ROWS[1:]
    ),
    Finding("The IoU loss adds to the network with all parts", "iou", "scse", F1),
    *(
        Finding(
            f"Post-processing raises the CAC rate of {row.title}",
            row.name,
            row.name,
            FILTER_RATE,
            worse_column=CAC_RATE,
        )
        for row in ROWS
    ),
)
"""What the paper says of its tables (sections 3 and 4)."""


def tables_text(folder: Path) -> str:
    """Return Tables 1 and 2 from the rows in a folder, and what reproduced."""
    results = read_rows(folder, ROWS)
    tested = results[0].figures["raw"] if results else {}
    kinds = [name for name in tested if name != "all"]
    parts = [
        "# Tables 1 and 2 of Ma and Zhang 2019 on phantoms",
        "Mean ± SD over seeds; P of a paired t-test over the test cases against Dense "
        "U-Net. Trained on wide chest phantoms alone. F1 is over the pixels of all "
        "cases together. CAC rate is the share of patients in the risk class of the "
        "label (0, 1-10, 11-100, 101-400, >400), of the marked pixels whatever their "
        "HU; CAC filter rate is that after post-processing. Stages: "
        + "; ".join(f"{name}, {words}" for name, words in STAGES.items())
        + ".",
        missing_text(ROWS, results, SEEDS),
        "## Table 1",
        ablation_table(ROWS, results, table_1(kinds), baseline="dense_unet"),
        "The paper: Dense U-Net 0.65, DenseRAUnet 0.75, each part between them.",
        "## Table 2",
        ablation_table(ROWS, results, table_2(kinds), baseline="dense_unet"),
        "The paper, 144 patients: CAC rate 0.70, 0.72, 0.76, 0.76, 0.78; CAC filter "
        "rate 0.69, 0.77, 0.80, 0.81, 0.83.",
        "## What reproduced",
        findings_text(FINDINGS, results),
    ]
    if results:
        counts = ", ".join(f"{tested[kind]['cases']} {kind}" for kind in kinds)
        seconds = mean_and_sd([result.cpu_seconds for result in results], 0)
        commits = {
            str(result.git["commit"])[:12]
            + (" with changes" if result.git["dirty"] else "")
            for result in results
        }
        parts.append(
            f"Test cases: {counts}. CPU seconds a row and seed: {seconds}. "
            f"Commits: {', '.join(sorted(commits))}."
        )
    return "\n\n".join(parts) + "\n"


def table_1(kinds: Sequence[str]) -> list[Column]:
    """Return the columns of Table 1, with one for each kind of test case."""
    return [
        F1,
        *(Column(f"F1 {kind}", f"raw.{kind}.pixel_f1") for kind in kinds),
        Column("F1 filtered", "filtered.all.pixel_f1", cases="filtered_f1"),
        Column("F1 voted", "voted.all.pixel_f1"),
    ]


def table_2(kinds: Sequence[str]) -> list[Column]:
    """Return the columns of Table 2, with two for each kind of test case."""
    columns = []
    for total, stage in ((CAC_RATE, "raw"), (FILTER_RATE, "filtered")):
        columns.append(total)
        columns += [
            Column(f"{total.title} {kind}", f"{stage}.{kind}.{RIGHT_CLASS}", 2)
            for kind in kinds
        ]
    return [*columns, Column("CAC rate voted", f"voted.all.{RIGHT_CLASS}", 2)]


COMMANDS = {
    "prepare": prepare,
    "train": train,
    "evaluate": evaluate,
    "export": export,
    "tables": tables,
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit code."""
    return run_recipe(__doc__ or "", COMMANDS, full=RECIPE, small=SMALL, argv=argv)


if __name__ == "__main__":
    raise SystemExit(main())
