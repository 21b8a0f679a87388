"""Residual dropout FCN for intracranial carotid calcium: Bortsova and others 2017.

Bortsova G, van Tulder G, Dubost F, Peng T, Navab N, van der Lugt A, Bos D,
de Bruijne M. Segmentation of Intracranial Arterial Calcification with Deeply Supervised
Residual Dropout Networks. MICCAI 2017, doi 10.1007/978-3-319-66179-7_41.

Data: the paper's 1882 head scans are not public. Without ``--data``, ``prepare``
renders head phantoms (``kcalc.phantoms.head``). With ``--data DIR`` it does what
``kcalc prepare -i DIR --register`` does: labelled heads are registered and come onto
the network's grid (extra ``register``).

Commands, the narrow network on phantoms (what kcalc ships)::

    python recipes/bortsova2017_icac.py prepare  --miniature --out runs/icac
    python recipes/bortsova2017_icac.py train    --miniature --out runs/icac
    python recipes/bortsova2017_icac.py evaluate --miniature --out runs/icac
    python recipes/bortsova2017_icac.py export   --miniature --out runs/icac
    python recipes/bortsova2017_icac.py tables   --miniature --out runs/icac

``tables --row NAME --seed N`` trains and tests one row of the paper's Tables 1 and 2,
or of its text, on the cases that ``prepare`` wrote, and writes
``recipes/results/bortsova2017/NAME-N.json``; run again after a kill it goes on.
``tables`` alone prints what is there. ``train`` goes on after a kill with ``--resume``.
Without ``--miniature`` the same commands train the paper's network; ``--smoke`` tries
either in minutes: two steps.

Hours: on two CPU cores the small network 1.5, its phantoms a quarter; a row of the
tables with one seed a tenth; the paper's network was not trained here: it wants a GPU.

Expected: not known yet; no weights are shipped and no row of the tables was made. On
whole fields of 118 mm 1200 steps were too few (simulated; commit ca83c42): Dice 0.43 on
patches drawn for calcium, 0.11 on the ten whole validation heads, where 96 % of the
false voxels lay outside the box that holds all carotid calcium of the training heads
(within it Dice 0.39). Since then the miniature's fields are cropped round that box.
Paper: mean Dice 69.1, with deep supervision 72.9, with the objective on voxels above
130 HU alone 75.1, with dropout before the addition of residual blocks 76.2; ICC of
volumes 0.977.

Deviations from the paper, all of them ours where it is silent or its data closed:

* Both: phantoms instead of patients by default. The network is the exactly aligned
  reading of the paper's numbers (``variant="aligned"``), window -200 to 1000 HU, left
  and right flipped in half of the samples, an epoch of one patch a training scan.
  The loss is the weighted mean over supervised voxels, not their sum. Patches are drawn
  uniformly by the paper's network; which plain block position "plain dropout" has is
  not stated: before the second convolution.
* Miniature alone: fewer channels, images of 0.98 mm in plane cropped round the
  carotids, patches that label less along z than the paper's and as much in plane, half
  of them on calcium and the others on what imitates it, Adam with a cosine schedule and
  gradient clipping for SGD (with the paper's rates 200 steps taught nothing), far fewer
  epochs, weights that change at the same shares of them; positive voxels weigh 10 and
  not 1000 at first, for the drawn patches hold about one positive for 60 negatives; the
  epoch with the best Dice on validation patches is kept, not that of the lowest loss
  (on so few patches that was a network that marks bone).
* Tables in miniature: half of those channels, 400 steps.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcalc.data import (
    Augmentation,
    CasesRefusedError,
    CaseStore,
    VolumeData,
    count_supervised,
    prepare_store,
)
from kcalc.data.sources import PhantomOrder, is_simulated, phantom_cases
from kcalc.evaluation import (
    ImageAgreement,
    agreement_figures,
    agreement_text,
    case_table,
    compare_image,
    values_by_case,
)
from kcalc.files import writable_folder
from kcalc.geometry import Geometry
from kcalc.preparation import InputSpec
from kcalc.report import write_agreement
from kcalc.training import (
    LinearChange,
    OptimizerConfig,
    Recipe,
    StepChange,
    TrainingConfig,
)
from kcalc.training.ablation import AblationRow, read_rows
from kcalc.training.ablation_command import Tested, make_row, print_tables, row_named
from kcalc.training.ablation_table import (
    Column,
    Finding,
    ablation_table,
    findings_text,
    missing_text,
)
from kcalc.training.command_line import fit_options, run_recipe
from kcalc.training.config import smoke_recipe
from kcalc.training.run_record import write_json
from kcalc.volume import Volume

if TYPE_CHECKING:
    import keras

    from kcalc.losses import DeepSupervision
    from kcalc.training import TrainingResult

log = logging.getLogger("bortsova2017_icac")

VARIANT = "aligned"
INPUT_SPEC = InputSpec(
    window_hu=(-200.0, 1000.0),
    spacing_mm=(1.0, 0.49, 0.49),
    halo_zyx=(18, 42, 42),
    stride_zyx=(2, 4, 4),
)


def build_model(
    channels: tuple[int, int, int], halved: bool = False, **switches: Any
) -> keras.Model:
    """Return the network for volumes of any size.

    Args:
        channels: At full size and after one and two steps down.
        halved: Whether to take half of them.
        **switches: Of :func:`kcalc.models.residual_dropout_fcn`.
    """
    from kcalc.models import residual_dropout_fcn

    if halved:
        channels = (channels[0] // 2, channels[1] // 2, channels[2] // 2)
    return residual_dropout_fcn(
        (None, None, None, 1), VARIANT, channels=channels, **switches
    )


def build_loss(
    patch_zyx: tuple[int, int, int], deep_supervision: bool = True
) -> DeepSupervision:
    """Return the paper's objective: the loss of the output and of the auxiliary ones.

    Args:
        patch_zyx: Size of a training patch.
        deep_supervision: Whether there are auxiliary outputs.
    """
    from kcalc.losses import DeepSupervision, MaskedBinaryCrossentropy
    from kcalc.models import output_windows

    windows = output_windows(patch_zyx, VARIANT)
    if not deep_supervision:
        windows = {"main": windows["main"]}
    return DeepSupervision(MaskedBinaryCrossentropy(), windows)


def build_sgd(
    learning_rate: StepChange, momentum: StepChange, steps_per_epoch: int
) -> keras.optimizers.Optimizer:
    """Return the paper's optimiser."""
    from kcalc.training.schedules import stepped_sgd

    return stepped_sgd(learning_rate, momentum, steps_per_epoch)


def build_adam(config: OptimizerConfig, total_steps: int) -> keras.optimizers.Optimizer:
    """Return the narrow network's optimiser."""
    from kcalc.training.schedules import cosine_adam

    return cosine_adam(config, total_steps)


PATCH_ZYX = (98, 178, 178)
_TRAINING = TrainingConfig(epochs=100, steps_per_epoch=632, best_by="val_loss")
RECIPE = Recipe(
    name="bortsova2017_icac",
    input_spec=INPUT_SPEC,
    data=VolumeData(
        PATCH_ZYX,
        augmentation=Augmentation(flip_left_right=True),
        validation_patches=250,
    ),
    optimizer=OptimizerConfig(learning_rate=0.1, momentum=0.9),
    training=_TRAINING,
    build_model=partial(build_model, channels=(16, 32, 64)),
    build_loss=partial(build_loss, PATCH_ZYX),
    build_optimizer=partial(
        build_sgd,
        StepChange(0.1, 0.01, after_epochs=10),
        StepChange(0.9, 0.99, after_epochs=10),
        _TRAINING.steps_per_epoch,
    ),
    schedules={
        "positive_weight": StepChange(1000.0, 1.0, after_epochs=5),
        "auxiliary_weight": LinearChange(1.0, 0.0, epochs=50),
    },
)

SMALL_PATCH_ZYX = (66, 130, 130)
_ADAM = OptimizerConfig(learning_rate=0.01, warmup_steps=40, clip_norm=5.0)
_SHORT = TrainingConfig(epochs=60, steps_per_epoch=60, best_by="val_f1")
SMALL = replace(
    RECIPE,
    name="bortsova2017_icac_small",
    input_spec=replace(INPUT_SPEC, spacing_mm=(1.0, 0.98, 0.98)),
    data=VolumeData(
        SMALL_PATCH_ZYX,
        p_positive=0.5,
        p_hard_negative=0.2,
        p_imitator=0.3,
        augmentation=Augmentation(flip_left_right=True),
        validation_patches=24,
    ),
    optimizer=_ADAM,
    training=_SHORT,
    build_model=partial(build_model, channels=(8, 16, 32)),
    build_loss=partial(build_loss, SMALL_PATCH_ZYX),
    build_optimizer=partial(build_adam, _ADAM, _SHORT.total_steps),
    schedules={
        "positive_weight": StepChange(10.0, 1.0, after_epochs=36),
        "auxiliary_weight": LinearChange(1.0, 0.0, epochs=60),
    },
)

_SHORTER = replace(_SHORT, epochs=10, steps_per_epoch=40, measure_training=True)
TINY = replace(
    SMALL,
    name="bortsova2017_icac_tiny",
    training=_SHORTER,
    build_model=partial(build_model, channels=(4, 8, 16)),
    build_optimizer=partial(build_adam, _ADAM, _SHORTER.total_steps),
    schedules={
        "positive_weight": StepChange(10.0, 1.0, after_epochs=6),
        "auxiliary_weight": LinearChange(1.0, 0.0, epochs=10),
    },
)
"""What ``tables --miniature`` trains in every row."""

THRESHOLD = 0.5
TRAINING_DICE = 0.4
"""Dice on samples of the training split whose epoch the tables tell; the paper's is
0.75, which the network of the tables does not reach in its few epochs."""
MODEL_NAMES = {RECIPE.name: "icac_residual_fcn", SMALL.name: "icac_residual_fcn_small"}
STORE_FILE = "cases.h5"
NUM_PHANTOMS = {"train": 60, "validation": 12, "test": 40}
SEED_OF_SPLIT = {"train": 0, "validation": 100_000, "test": 300_000}
SMALL_SCAN = {
    "shape_zyx": (64, 192, 208),
    "pixel_mm": 0.46,
    "resampled_pixel_mm": 0.98,
}
"""Reconstructed at 0.46 mm, resampled to 64 x 90 x 98 voxels of 1 x 0.98 x 0.98 mm
round the carotids: a network of so few steps marks bone elsewhere."""
SIMULATED = "Simulated head scans alone (kcalc.phantoms.head); no patient."
LABELLED = "Labelled scans given with --data."
LIMITATIONS = (
    "Only what the table under Data describes was seen. Phantoms lack most of real "
    "anatomy, disease and artefacts; figures on them say little about patients.",
    "The grid is coarser than the paper's: small and faint lesions fall below 130 HU "
    "on it and are lost before the network sees them.",
    "No figures were made per tube voltage, kernel, slice thickness or scanner.",
)
SMOKE_SCAN = {**SMALL_SCAN, "shape_zyx": (40, 192, 192), "num_lesions": 6}

_NETWORK = {
    "residual": True,
    "dropout_position": "before_addition",
    "deep_supervision": True,
    "supervise_above_threshold": True,
}
_PLAIN = {**_NETWORK, "residual": False, "dropout_position": None}


def _row(name: str, title: str, group: str, **changes: Any) -> AblationRow:
    return AblationRow(name, title, group, changes)


ROWS = (
    _row(
        "plain",
        "plain 3D FCN",
        "Table 1",
        **{**_PLAIN, "deep_supervision": False, "supervise_above_threshold": False},
    ),
    _row(
        "deep",
        "+ deep supervision",
        "Table 1",
        **{**_PLAIN, "supervise_above_threshold": False},
    ),
    _row("above_130", "+ > 130 HU objective (plain non-dropout)", "Table 1", **_PLAIN),
    _row("best", "+ ResNet, dropout before addition", "Table 1", **_NETWORK),
    _row(
        "plain_dropout",
        "Plain dropout",
        "Table 2",
        **{**_PLAIN, "dropout_position": "before_second"},
    ),
    _row(
        "before_first",
        "ResNet + dropout before first conv.",
        "Table 2",
        **{**_NETWORK, "dropout_position": "before_first"},
    ),
    _row(
        "before_second",
        "ResNet + dropout before second conv.",
        "Table 2",
        **{**_NETWORK, "dropout_position": "before_second"},
    ),
    _row(
        "spatial", "ResNet + SpatialDropout", "text", **_NETWORK, spatial_dropout=True
    ),
    _row("depth", "Stochastic depth", "text", **_NETWORK, stochastic_depth=True),
    _row("narrow", "Half the channels", "text", **_NETWORK, halved=True),
)
"""Rows of Tables 1 and 2, and what the text tells without numbers. ``above_130`` and
``best`` stand in both tables."""
SEEDS = (0, 1, 2)
RESULTS = Path(__file__).parent / "results" / "bortsova2017"
"""Rows of ``tables --miniature`` that are kept in git."""


def prepare(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Write ``cases.h5`` from phantoms, or from the folder ``--data``."""
    path = writable_folder(arguments.out) / STORE_FILE
    if arguments.resume and path.exists():
        log.info("%s is there already", CaseStore(path))
        return
    if arguments.data is None:
        orders = phantom_orders(recipe, arguments.seed, arguments.smoke)
        CaseStore.write(path, phantom_cases(orders))
    else:
        try:
            prepare_store(
                arguments.data,
                path,
                seed=arguments.seed,
                register=True,
                grid_spacing_mm=recipe.input_spec.spacing_mm,
            )
        except CasesRefusedError as refusal:
            log.warning("%s", refusal.report.text())
            raise
    store = CaseStore(path)
    log.info("cases:\n%s", case_table(store))
    log.info("%s", count_supervised(store))


def phantom_orders(recipe: Recipe, seed: int, smoke: bool) -> list[PhantomOrder]:
    """Return what to render; splits share no seed for every ``seed`` below 1000."""
    scan = SMALL_SCAN if recipe is SMALL else {}
    return [
        PhantomOrder(
            "head",
            seed * 1_000_000 + SEED_OF_SPLIT[split] + index,
            split,
            SMOKE_SCAN if smoke else scan,
        )
        for split, count in NUM_PHANTOMS.items()
        for index in range(1 if smoke else count)
    ]


def train(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Train and write the run's folder ``run/``."""
    from kcalc.training import fit

    result = fit(
        recipe,
        store=arguments.out / STORE_FILE,
        out=arguments.out / "run",
        **fit_options(arguments),
    )
    best = result.best
    log.info("best epoch %d: loss %.4f", best["epoch"], best["val_loss"])


def tested(
    model: keras.Model, recipe: Recipe, store: CaseStore
) -> Iterable[ImageAgreement]:
    """Yield the test cases' masks, of the network against the label."""
    from kcalc.inference import open_network, predict

    network = replace(
        open_network(model, input_spec=recipe.input_spec), threshold=THRESHOLD
    )
    for record in store.split("test"):
        image, label = store.image(record.name)[:], store.label(record.name)[:]
        volume = Volume(image, Geometry.axial(record.shape_zyx, record.spacing_mm))
        row = compare_image(
            record.name,
            label,
            predict(network, volume).mask,
            record.spacing_mm,
            image_hu=image,
            patient=record.patient,
        )
        log.info(
            "%s: %.1f mm3, found %.1f mm3, Dice %.3f",
            record.name,
            row.volume_reference_mm3,
            row.volume_result_mm3,
            row.dice,
        )
        yield row


def evaluate(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Compare network and label on the test split: evaluation.json."""
    from kcalc.training.finished import best_model, write_evaluation

    model = best_model(recipe, arguments.out)
    store = CaseStore(arguments.out / STORE_FILE)
    figures = agreement_figures(tested(model, recipe, store))
    write_evaluation(arguments.out, figures)
    write_agreement(arguments.out / "evaluation", figures)
    log.info("%s", agreement_text(figures))


def export(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Write the SavedModel's next version with its card under ``export/``."""
    from kcalc.export import export_saved_model
    from kcalc.export.card import CAROTID, model_card
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
    store = CaseStore(out / STORE_FILE)
    trained_on = SIMULATED if is_simulated(store) else LABELLED
    best_by = recipe.training.best_by
    card = model_card(
        name,
        CAROTID,
        network=f"residual dropout FCN (Bortsova 2017), variant {VARIANT!r}",
        recipe_file=Path(__file__).name,
        run=run,
        kept=f"{best_by} on validation patches, {run['best'][best_by]:.4f}",
        mask=f"voxels of probability >= {THRESHOLD} and > 130 HU.",
        trained_on=trained_on,
        store=store,
        performance="By the recipe's `evaluate`, whole scans of the test split, "
        "network against label. An image without ICAC has Dice 1 if nothing is found "
        f"in it, else 0.\n\n{agreement_text(read_evaluation(out))}",
        real_scans="No labelled real head CT was at hand: nothing was measured.",
        limitations=LIMITATIONS,
        changes=[f"Trained with kcalc {run['versions']['kcalc']}."],
    )
    version = export_saved_model(
        best_model(recipe, out),
        out / "export" / name,
        input_spec=recipe.input_spec,
        name=name,
        threshold=THRESHOLD,
        trained_on=trained_on,
        model_card=card,
        recipe_json=out / "recipe.json",
    )
    log.info("written %s", version)


def tables(recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Make the row ``--row`` of Tables 1 and 2, or print the rows that are there."""
    kept = recipe is SMALL and not arguments.smoke
    folder = RESULTS if kept else arguments.out / "rows"
    if arguments.row is None:
        print_tables(tables_text(folder), folder)
        return
    row = row_named(ROWS, arguments.row)
    made = row_recipe(TINY if recipe is SMALL else recipe, row)
    store = CaseStore(arguments.out / STORE_FILE)

    def test(result: TrainingResult) -> Tested:
        found = list(tested(result.model, made, store))
        figures = agreement_figures(found)
        del figures["rows"], figures["missed"]
        reached = epoch_reached(result.history, TRAINING_DICE)
        return figures | {"epoch_of_training_dice": reached}, values_by_case(found)

    make_row(made, row, store=store, folder=folder, arguments=arguments, test=test)


def epoch_reached(history: Sequence[Mapping[str, float]], dice: float) -> int | None:
    """Return the first epoch whose training Dice is at least ``dice``, or None."""
    return next((int(r["epoch"]) for r in history if r["train_f1"] >= dice), None)


def row_recipe(base: Recipe, row: AblationRow) -> Recipe:
    """Return the recipe of one row: the switches of its network and its objective."""
    switches = dict(row.changes)
    above = switches.pop("supervise_above_threshold")
    return replace(
        base,
        name=f"{base.name}_{row.name}",
        data=replace(base.data, supervise_above_threshold=above),
        build_model=partial(base.build_model, **switches),
        build_loss=partial(
            base.build_loss, deep_supervision=switches["deep_supervision"]
        ),
    )


ABSOLUTE = Column("Absolute Dice", "dice.pooled")
MEAN = Column("Mean Dice", "dice.mean", cases="dice")
SD = Column("SD over images", "dice.sd")
FILLED = Column("Mean, with ICAC", "dice_with_reference.mean")
QUARTERS = tuple(
    Column(f"Quarter {n}", f"dice_with_reference.by_quarter.{n}.mean_dice")
    for n in range(1, 5)
)
EPOCH = Column(
    f"Epoch of training Dice {TRAINING_DICE}",
    "epoch_of_training_dice",
    decimals=1,
    lower_is_better=True,
)
ICC = Column("ICC(2,1)", "volume.icc_2_1.value")
FINDINGS = (
    Finding("Deep supervision raises the mean Dice", "deep", "plain", MEAN),
    Finding("Deep supervision raises the absolute Dice", "deep", "plain", ABSOLUTE),
    Finding("The > 130 HU objective raises the mean Dice", "above_130", "deep", MEAN),
    Finding("The > 130 HU objective learns faster", "above_130", "deep", EPOCH),
    Finding(
        "Deep supervision learns faster (the paper: it does not)",
        "deep",
        "plain",
        EPOCH,
    ),
    Finding(
        "The best dropout ResNet is better than the plain net",
        "best",
        "above_130",
        MEAN,
    ),
    Finding("Dropout harms the plain network", "above_130", "plain_dropout", MEAN),
    Finding("Before the addition beats before the first", "best", "before_first", MEAN),
    Finding(
        "Before the addition beats before the second", "best", "before_second", MEAN
    ),
    Finding("SpatialDropout is worse than dropout", "best", "spatial", MEAN),
    Finding("Stochastic depth is worse than dropout", "best", "depth", MEAN),
    Finding("Fewer channels are worse", "best", "narrow", MEAN),
    Finding(
        "The best network helps the smallest volumes most (first quarter)",
        "best",
        "above_130",
        QUARTERS[0],
    ),
)
"""What the paper says (section 4)."""


def tables_text(folder: Path) -> str:
    """Return Tables 1 and 2 from the rows in a folder, and what reproduced."""
    results = read_rows(folder, ROWS)
    first = [row for row in ROWS if row.group == "Table 1"]
    second = [row for row in ROWS if row.group != "Table 1"]
    baseline = next(row for row in ROWS if row.name == "above_130")
    best = next(row for row in ROWS if row.name == "best")
    parts = [
        "# Tables 1 and 2 of Bortsova 2017 on simulated heads",
        "Made by `python recipes/bortsova2017_icac.py tables --miniature`. Mean ± SD "
        "over seeds; P: paired t-test over images, each averaged over the seeds. An "
        "image without ICAC has Dice 1 if nothing is found in it, else 0.",
        missing_text(ROWS, results, SEEDS),
        "## Table 1, P against the plain network",
        ablation_table(
            first,
            results,
            (ABSOLUTE, MEAN, SD, FILLED, *QUARTERS, ICC, EPOCH),
            baseline=first[0].name,
        ),
        "## Table 2 and the text, P against the plain network without dropout",
        ablation_table(
            [baseline, best, *second],
            results,
            (ABSOLUTE, MEAN, SD, FILLED, ICC, EPOCH),
            baseline=baseline.name,
        ),
        "## What reproduced",
        findings_text(FINDINGS, results),
    ]
    return "\n\n".join(parts) + "\n"


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
