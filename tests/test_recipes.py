"""Recipes: what their head must say; every command, from phantoms to a SavedModel."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from kcalc.artifact import verify
from kcalc.data import CaseStore
from kcalc.data.case import Case
from kcalc.data.sources import is_simulated
from kcalc.geometry import Geometry
from kcalc.io.nifti import write_nifti
from kcalc.training import recipe_to_dict

ROOT = Path(__file__).parents[1]
RECIPES = sorted(
    path for path in (ROOT / "recipes").glob("*.py") if path.name != "demo.py"
)
SMOKE = ("--miniature", "--smoke")
CARD_ORDER = [
    "Intended use",
    "Out of scope",
    "Data",
    "Performance on held-out cases",
    "Real scans (measured once, after the model was frozen)",
    "Limitations",
    "Human oversight",
    "Change log",
]

every_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)


def load(path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ma2019() -> ModuleType:
    return load(ROOT / "recipes" / "ma2019_dense_ra_unet.py")


# --- the head -------------------------------------------------------------------


def test_there_are_recipes():
    assert "ma2019_dense_ra_unet" in [path.stem for path in RECIPES]


@every_recipe
@pytest.mark.parametrize(
    "pattern",
    [
        r"\b(19|20)\d\d, doi 10\.\d{4,}/\S+",
        r"^Data: ",
        r"^Hours: ",
        r"^Expected: ",
        r"^Deviations from the paper",
        "--data DIR",
        "--resume",
        "--smoke",
    ],
)
def test_the_head_states(path: Path, pattern: str):
    head = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    assert re.search(pattern, head, re.MULTILINE)


@every_recipe
def test_the_head_gives_a_command_of_its_own_file_for_every_step(path: Path):
    module = load(path)
    commands = re.findall(r"^    python (\S+) +(\S+)", module.__doc__, re.MULTILINE)
    expected = [(f"recipes/{path.name}", name) for name in module.COMMANDS]
    assert commands == expected
    assert list(module.COMMANDS)[:4] == ["prepare", "train", "evaluate", "export"]


@every_recipe
def test_importing_a_recipe_loads_no_tensorflow(path: Path):
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1], run_name='recipe'); "
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_the_recipe_and_its_miniature_have_a_name_of_their_own(ma2019: ModuleType):
    assert ma2019.RECIPE.name == "ma2019_dense_ra_unet"
    assert ma2019.SMALL.name == "ma2019_dense_ra_unet_small"
    assert ma2019.MODEL_NAMES[ma2019.SMALL.name] == "cac_dense_ra_unet_small"


def test_the_record_holds_the_size_of_the_small_network(ma2019: ModuleType):
    recorded = recipe_to_dict(ma2019.SMALL)["build_model"]
    size = {"width": 0.25, "blocks": [4, 6, 8, 6]}
    assert recorded["keywords"].items() >= size.items()


# --- what is rendered -----------------------------------------------------------


def test_no_two_phantoms_of_two_neighbouring_seeds_are_the_same(ma2019: ModuleType):
    orders = [o for seed in (0, 1) for o in ma2019.phantom_orders(seed, smoke=False)]
    assert len(orders) == 500
    assert len({order.seed for order in orders}) == 500


@pytest.mark.parametrize(
    ("split", "wide", "cardiac", "qrm"),
    [("train", 120, 40, 40), ("validation", 12, 4, 4), ("test", 19, 6, 5)],
)
def test_the_mixture_of_every_split(
    ma2019: ModuleType, split: str, wide: int, cardiac: int, qrm: int
):
    kinds = [o.kind for o in ma2019.phantom_orders(0, smoke=False) if o.split == split]
    counted = [kinds.count(kind) for kind in ("wide", "cardiac", "qrm")]
    assert counted == [wide, cardiac, qrm]


# --- end to end -----------------------------------------------------------------


@pytest.fixture(scope="module")
def smoke(ma2019: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which prepare, train and evaluate of a smoke run were done."""
    out = tmp_path_factory.mktemp("smoke")
    for command in ("prepare", "train", "evaluate"):
        assert ma2019.main([command, *SMOKE, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def version(ma2019: ModuleType, smoke: Path) -> Path:
    """The version folder that export made of the smoke run."""
    assert ma2019.main(["export", *SMOKE, "--out", str(smoke)]) == 0
    return smoke / "export" / "cac_dense_ra_unet_small" / "1"


@pytest.mark.slow
def test_the_smoke_run_evaluates_overall_and_per_kind(smoke: Path):
    figures = json.loads((smoke / "evaluation.json").read_text())
    assert figures["rule"] == "agatston_1990"
    assert figures["overall"]["cases"] == 1
    assert figures["by_kind"] == {"chest-cardiac": figures["overall"]}
    assert [row["case"] for row in figures["rows"]] == ["chest-cardiac-0300000"]
    assert figures["agreement"]["risk"]["accuracy"] in (0, 1)
    assert (smoke / "evaluation" / "risk_classes.png").exists()
    text = (smoke / "evaluation" / "evaluation.md").read_text("utf-8")
    assert "linearly weighted kappa" in text


@pytest.mark.slow
def test_the_exported_model_predicts_with_tensorflow_alone(version: Path, smoke: Path):
    import tensorflow as tf

    assert verify(version).name == "cac_dense_ra_unet_small"
    store = CaseStore(smoke / "cases.h5")
    (record,) = store.split("test")
    hu = np.array(store.image(record.name))
    loaded = tf.saved_model.load(str(version))
    mask = loaded.signatures["segment"](
        hu=tf.constant(hu), spacing_mm=tf.constant(record.spacing_mm, tf.float32)
    )["mask"].numpy()
    assert mask.shape == hu.shape
    assert not mask[hu < 130].any()
    row = json.loads((smoke / "evaluation.json").read_text())["rows"][0]
    assert int(mask.sum()) == row["voxels_result"]


@pytest.mark.slow
def test_the_card_has_its_sections_in_the_order_of_reviewers(version: Path):
    card = (version / "MODEL_CARD.md").read_text("utf-8")
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == CARD_ORDER
    assert "Not measured." in card
    assert "Simulated scans alone" in card
    assert "| all | 1 (1) |" in card
    assert "| chest-cardiac | 1 (1) |" in card


@pytest.mark.slow
def test_the_exported_record_is_the_runs_and_names_the_exporting_program(
    version: Path, smoke: Path
):
    record = json.loads((version / "recipe.json").read_text())
    run = json.loads((smoke / "run" / "run.json").read_text())
    assert {key: record[key] for key in run} == run
    assert set(record) - set(run) == {"export"}
    assert record["recipe"]["build_model"]["keywords"]["blocks"] == [4, 6, 8, 6]


@pytest.mark.slow
def test_real_scans_once_measured_stand_in_the_card(
    ma2019: ModuleType, version: Path, smoke: Path
):
    figures = {
        "model": {"weights_sha256": "0123456789abcdef" * 4},
        "qrm": {
            "rule": "fqm_canon",
            "agatston_total": 1234.56,
            "agatston_of_inserts_by_rule": 987.65,
            "ratio": 1.25,
            "points_outside_inserts": 321.04,
        },
        "chest": {
            "agatston": 43.21,
            "volume_mm3": 65.43,
            "num_lesions": 1,
            "where": [{"slice_index": 42, "agatston": 43.2}],
        },
    }
    (smoke / "real_scans.json").write_text(json.dumps(figures))
    try:
        assert ma2019.main(["export", *SMOKE, "--out", str(smoke)]) == 0
    finally:
        (smoke / "real_scans.json").unlink()
    card = (version.parent / "2" / "MODEL_CARD.md").read_text("utf-8")
    assert "Not measured." not in card
    for number in (
        "1234.6",
        "987.6",
        "1.250",
        "321.0",
        "43.2",
        "65.4",
        "| 42 |",
        "0123456789abcdef",
    ):
        assert number in card


@pytest.mark.slow
def test_training_again_is_refused_and_resuming_ends_at_once(
    ma2019: ModuleType, smoke: Path, capsys: pytest.CaptureFixture[str]
):
    log = (smoke / "run" / "log.csv").read_bytes()
    weights = (smoke / "run" / "best.weights.h5").read_bytes()
    train = ["train", *SMOKE, "--out", str(smoke)]
    assert ma2019.main(train) == 3
    assert_paragraph(capsys.readouterr().err, "RUN_EXISTS", "--resume")
    assert ma2019.main([*train, "--resume"]) == 0
    assert (smoke / "run" / "log.csv").read_bytes() == log
    assert (smoke / "run" / "best.weights.h5").read_bytes() == weights
    assert ma2019.main([*train, "--resume", "--seed", "7"]) == 3
    assert_paragraph(capsys.readouterr().err, "RUN_DIFFERS", "seed: 0 -> 7")


@pytest.mark.slow
def test_another_recipe_than_the_runs_is_not_exported(
    ma2019: ModuleType, smoke: Path, capsys: pytest.CaptureFixture[str]
):
    assert ma2019.main(["export", "--miniature", "--out", str(smoke)]) == 3
    assert_paragraph(capsys.readouterr().err, "RUN_DIFFERS", "name, training")
    assert ma2019.main(["evaluate", "--out", str(smoke)]) == 3
    assert_paragraph(capsys.readouterr().err, "RUN_DIFFERS", "best.weights.h5")


@pytest.mark.slow
def test_figures_of_other_weights_are_not_exported(
    ma2019: ModuleType, smoke: Path, capsys: pytest.CaptureFixture[str]
):
    path = smoke / "evaluation.json"
    figures = path.read_text()
    path.write_text(json.dumps({**json.loads(figures), "weights_sha256": "0" * 64}))
    try:
        assert ma2019.main(["export", *SMOKE, "--out", str(smoke)]) == 3
    finally:
        path.write_text(figures)
    assert_paragraph(capsys.readouterr().err, "RUN_DIFFERS", "evaluate")


# --- refusals -------------------------------------------------------------------


def assert_paragraph(text: str, code: str, *parts: str) -> None:
    assert text.startswith(f"{code}: ")
    assert len(text.strip().splitlines()) == 1
    assert "Traceback" not in text
    for part in parts:
        assert part in text


def write_case(folder: Path, make: Callable[[Path, Geometry], None]) -> None:
    folder.mkdir(parents=True)
    make(folder, Geometry.axial((4, 16, 16), (3.0, 0.5, 0.5)))


def without_label(folder: Path, geometry: Geometry) -> None:
    scan = np.full(geometry.shape_zyx, -500, np.int16)
    scan[1:3, 4:9, 4:9] = 200
    write_nifti(folder / "image.nii.gz", scan, geometry)


def label_on_another_grid(folder: Path, geometry: Geometry) -> None:
    without_label(folder, geometry)
    other = Geometry.axial((4, 16, 15), (3.0, 0.5, 0.5))
    write_nifti(folder / "label.nii.gz", np.zeros(other.shape_zyx, np.uint8), other)


@pytest.mark.parametrize(
    ("make", "code", "part"),
    [
        (None, "NOT_FOUND", "data"),
        (lambda folder, geometry: None, "DATA_EMPTY", "nnunet"),
        (without_label, "DATA_NO_LABEL", "someone__1"),
        (label_on_another_grid, "MASK_GRID", "someone__1"),
    ],
)
def test_data_that_is_not_as_the_head_says_is_refused_and_leaves_no_store(
    ma2019: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    make: Any,
    code: str,
    part: str,
):
    data, out = tmp_path / "data", tmp_path / "out"
    if make is not None:
        write_case(data / "someone__1", make)
    options = ["--data", str(data), "--out", str(out)]
    assert ma2019.main(["prepare", *options]) == 3
    told = caplog.text + capsys.readouterr().err
    assert code in told
    assert part in told
    assert {path.name for path in out.iterdir()} <= {"cases.h5.report.json"}


def test_a_folder_that_cannot_be_made_is_refused(
    ma2019: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "run"
    assert ma2019.main(["prepare", *SMOKE, "--out", str(out)]) == 7
    assert_paragraph(capsys.readouterr().err, "WRITE_FAILED", str(out))


@pytest.mark.parametrize(
    ("command", "code", "way_out"),
    [
        ("train", "STORE_READ", "prepare"),
        ("evaluate", "RUN_MISSING", "train command"),
        ("export", "RUN_MISSING", "train command"),
    ],
)
def test_a_step_before_its_turn_names_the_step_to_run(
    ma2019: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    code: str,
    way_out: str,
):
    assert ma2019.main([command, *SMOKE, "--out", str(tmp_path)]) == 3
    assert_paragraph(capsys.readouterr().err, code, way_out)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "RUN_MISSING"),
        ("[1]", "RUN_MISSING"),
        ('{"finished": false}', "RUN_UNFINISHED"),
    ],
)
def test_a_run_without_a_whole_finished_record_is_not_exported(
    ma2019: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    code: str,
):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(content)
    assert ma2019.main(["export", *SMOKE, "--out", str(tmp_path)]) == 3
    assert_paragraph(capsys.readouterr().err, code, "train command")


# --- cases of one's own -----------------------------------------------------------


def test_labelled_folders_become_cases_in_lps_order_without_names(
    ma2019: ModuleType, tmp_path: Path
):
    scan = np.full((2, 3, 4), -500, np.int16)
    scan[0, 1, 2], scan[1, 2, 3] = 300, 129
    label = np.zeros(scan.shape, np.uint8)
    label[0, 1, 2] = label[1, 2, 3] = 1
    head_to_feet_and_left_to_right = [-3.0, 0.5, -0.25, 1.0]
    affine = np.eye(4)[:, [2, 1, 0, 3]] * head_to_feet_and_left_to_right
    geometry = Geometry((2, 3, 4), affine)
    for number in range(3):
        folder = tmp_path / "data" / f"Surname{number}__scan"
        folder.mkdir(parents=True)
        scan[0, 0, 0] = number  # no two patients have one image
        write_nifti(folder / "image.nii.gz", scan, geometry)
        write_nifti(folder / "label.nii.gz", label, geometry)
    options = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert ma2019.main(["prepare", *options]) == 0
    store = CaseStore(tmp_path / "out" / "cases.h5")
    assert [r.name for r in store.records] == ["case-0001", "case-0002", "case-0003"]
    assert sorted(r.split for r in store.records) == ["test", "train", "validation"]
    assert store["case-0001"].spacing_mm == (3.0, 0.5, 0.25)
    assert np.argwhere(store.label("case-0001")).tolist() == [[1, 1, 1]]
    assert store.image("case-0001")[1, 1, 1] == 300
    assert b"Surname" not in store.path.read_bytes()


def test_a_run_from_before_a_field_existed_is_exported_if_the_field_has_its_default():
    from dataclasses import dataclass

    from kcalc.training import finished

    @dataclass(frozen=True)
    class Inner:
        old: int
        new: int = 7

    @dataclass(frozen=True)
    class Grown:
        inner: Inner
        name: str = "x"

    record = finished._with_defaults({"inner": {"old": 1}}, Grown(Inner(1, new=8)))
    assert record == {"inner": {"old": 1, "new": 7}, "name": "x"}


# --- signals and options ----------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_terminated_prepare_gives_143_and_leaves_nothing(
    ma2019: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    def terminated(orders: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        yield

    monkeypatch.setattr(ma2019, "phantom_cases", terminated)
    before = signal.getsignal(signal.SIGTERM)
    assert ma2019.main(["prepare", *SMOKE, "--out", str(tmp_path)]) == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err.startswith("Terminated")


@pytest.mark.parametrize("seed", ["-1", "4294967296", "1.5"])
def test_a_seed_that_no_generator_takes_is_refused(
    seed: str, ma2019: ModuleType, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as stop:
        ma2019.main(["prepare", f"--seed={seed}"])
    assert stop.value.code == 2
    assert "from 0 to 2**32 - 1" in capsys.readouterr().err


def test_training_without_prepared_cases_is_refused_and_makes_no_folder(
    ma2019: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert ma2019.main(["train", *SMOKE, "--out", str(out)]) == 3
    assert "STORE_READ" in capsys.readouterr().err
    assert not out.exists()


def test_the_store_tells_whether_all_its_cases_are_phantoms(tmp_path: Path):
    def store(*patients: str) -> CaseStore:
        image = np.zeros((2, 3, 4), np.int16)
        spacing_mm = (3.0, 0.5, 0.5)
        return CaseStore.write(
            tmp_path / f"{len(patients)}.h5",
            (
                Case(p, image + n, image.astype(np.uint8), spacing_mm, p, "train")
                for n, p in enumerate(patients)
            ),
        )

    assert is_simulated(store("phantom-0000001"))
    assert not is_simulated(store("phantom-0000001", "8c1f"))
