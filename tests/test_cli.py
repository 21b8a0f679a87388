"""The command line: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import kcalc
from kcalc import cli, terminal
from kcalc.geometry import Geometry
from kcalc.io.nifti import write_nifti
from kcalc.phantoms import write_dicom_series
from kcalc.volume import Acquisition, Volume

COMMAND = (sys.executable, "-m", "kcalc.cli")
NOTICE = "Research use only. Not a medical device; not for diagnosis."


def make_scan(kvp: float | None = 120.0) -> Volume:
    """Tissue in air with a lesion of 12 pixels of 0.25 mm2 at 250 HU in slice 2."""
    array = np.full((5, 40, 40), -1000, np.int16)
    array[:, 4:36, 4:36] = 40
    array[2, 20:23, 20:24] = 250
    return Volume(
        array,
        Geometry.axial(array.shape, (3.0, 0.5, 0.5)),
        acquisition=Acquisition(
            modality="CT", tube_voltage_kvp=kvp, slice_thickness_mm=3.0
        ),
    )


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A folder with ``series`` and ``mask.nii.gz``."""
    scan = make_scan()
    write_dicom_series(scan, tmp_path / "series")
    write_nifti(tmp_path / "mask.nii.gz", scan.array >= 130, scan.geometry)
    return tmp_path


def score_arguments(case: Path, series: str = "series") -> list[str]:
    arguments = ["score", "-i", str(case / series), "-o", str(case / "out")]
    return [*arguments, "--mask", str(case / "mask.nii.gz")]


def score(case: Path, *options: str, series: str = "series") -> int:
    return cli.main([*score_arguments(case, series), *options])


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


# --- what is printed ------------------------------------------------------------


def test_score_prints_number_rule_and_notice(case, capsys):
    assert score(case) == 0
    out = capsys.readouterr().out
    assert "Agatston score  6.0  (risk category 1-10, CAC-DRS A1/N?)" in out
    assert "agatston_1990: Calcium: voxels of the mask at or above 130 HU" in out
    assert "no mass calibration" in out
    assert out.rstrip().endswith(NOTICE)
    assert (case / "out" / "report.html").is_file()


def test_json_is_all_that_stands_on_standard_output(case, capsys):
    assert score(case, "--json", "--mass-calibration", "0.8") == 0
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert record == json.loads((case / "out" / "score.json").read_text())
    assert record["agatston"] == pytest.approx(6.0)
    # 9 mm3 x 250 HU x 0.8 mg/mL per HU.
    assert record["mass_mg"] == pytest.approx(1.8)
    assert "Seconds: network 0.0, rest" in captured.err


def test_rule_is_passed_on(case, capsys):
    assert score(case, "--rule", "fqm_canon", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rule"]["name"] == "fqm_canon"


def test_version_says_research_use_only(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"kcalc {kcalc.__version__}. {NOTICE}\n"


def test_help_lists_the_commands(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "score" in out
    assert "phantom" in out


# --- usage ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "COMMAND"),
        (["score", "-i", "x"], "-o"),
        (["score", "-i", "x", "-o", "y", "--rule", "mine"], "fqm_canon"),
        (["score", "-i", "x", "-o", "y", "--mass-calibration", "-1"], "positive"),
        (["score", "-i", "x", "-o", "y", "--mass-calibration", "0.0008"], "mg/mL"),
        (["score", "-i", "x", "-o", "y", "--tube-voltage-kvp", "high"], "positive"),
        (["score", "-i", "x", "-o", "y", "--model", "m", "--mask", "n"], "--mask"),
        (["phantom", "qrm", "-o", "y", "--preset", "wide"], "--preset"),
        (["phantom", "foot", "-o", "y"], "chest"),
        (["phantom", "qrm", "-o", "y", "--seed", "-1"], "whole number"),
        (["score", "-i", "", "-o", "y"], "-i/--input: must not be empty"),
        (["score", "-i", "x", "-o", ""], "-o/--output: must not be empty"),
        (["score", "-i", "x", "-o", "y", "--mask", ""], "--mask: must not be empty"),
        (["score", "-i", "x", "-o", "y", "--model", ""], "--model: must not be"),
    ],
)
def test_usage_errors_give_exit_code_two(arguments, text, capsys):
    assert cli.main(arguments) == 2
    assert text in capsys.readouterr().err


# --- refusals -------------------------------------------------------------------


def _one_paragraph(text: str) -> bool:
    return (
        text.startswith("kcalc: ") and text.count("\n") == 1 and "Traceback" not in text
    )


def _empty(folder: Path) -> None:
    """An empty folder."""


def _texts(folder: Path) -> None:
    (folder / "a.txt").write_text("no scan")
    (folder / "b.txt").write_text("no scan either")


def _single(folder: Path) -> None:
    paths = write_dicom_series(make_scan(), folder)
    for path in paths[1:]:
        path.unlink()


def _gap(folder: Path) -> None:
    write_dicom_series(make_scan(), folder)[2].unlink()


def _twice(folder: Path) -> None:
    import pydicom
    from pydicom.uid import generate_uid

    path = write_dicom_series(make_scan(), folder)[2]
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(folder / "again.dcm")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (_empty, "EMPTY_FOLDER"),
        (_texts, "EMPTY_FOLDER"),
        (_single, "GEOM_SINGLE"),
        (_gap, "GEOM_GAP"),
        (_twice, "GEOM_DUP"),
    ],
)
def test_bad_input_gives_one_paragraph_and_no_output(make, code, case, capsys):
    folder = case / "bad"
    folder.mkdir()
    make(folder)
    assert score(case, series="bad") == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert _one_paragraph(captured.err), captured.err
    assert captured.err.startswith(f"kcalc: {code}: ")
    assert str(folder) in captured.err
    assert not (case / "out").exists()


@pytest.mark.data
@pytest.mark.parametrize(
    "place", ["head-ct-tilted", "odd-dicom/examples_ybr_color.dcm"]
)
def test_real_bad_input_gives_one_paragraph(place, case, capsys, test_data):
    source = test_data / place
    if not source.exists():
        pytest.skip(f"{place} is absent")
    assert cli.main(["score", "-i", str(source), "-o", str(case / "out")]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert _one_paragraph(captured.err), captured.err
    assert not (case / "out").exists()


def test_unknown_tube_voltage_gives_exit_code_five(case, capsys):
    write_dicom_series(make_scan(kvp=None), case / "no_kvp")
    assert score(case, series="no_kvp") == 5
    err = capsys.readouterr().err
    assert "KVP_UNKNOWN" in err
    assert "--tube-voltage-kvp" in err
    assert score(case, "--tube-voltage-kvp", "120", series="no_kvp") == 0


def test_missing_model_gives_exit_code_six(case, capsys):
    arguments = ["score", "-i", str(case / "series"), "-o", str(case / "out")]
    assert cli.main([*arguments, "--model", "no_such_model"]) == 6
    assert _one_paragraph(capsys.readouterr().err)
    assert not (case / "out").exists()


def test_unwritable_output_gives_exit_code_seven_at_once(case, capsys):
    (case / "file").write_text("x")
    began = time.monotonic()
    code = cli.main(["score", "-i", str(case), "-o", str(case / "file" / "out")])
    assert (code, time.monotonic() - began < 1) == (7, True)
    assert "OUTPUT_UNWRITABLE" in capsys.readouterr().err


def test_debug_shows_the_traceback(case, capsys):
    (case / "empty").mkdir()
    assert score(case, "--debug", series="empty") == 3
    assert "Traceback" in capsys.readouterr().err


def test_unforeseen_error_names_its_place_but_not_its_text(case, capsys, monkeypatch):
    def broken(*arguments, **options):
        raise KeyError("MUSTERMANN^MAX")

    monkeypatch.setattr("kcalc.workflow.score_scan", broken)
    assert score(case) == 1
    err = capsys.readouterr().err
    assert _one_paragraph(err)
    assert "KeyError at test_cli.py" in err
    assert "MUSTERMANN" not in err


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (MemoryError(), 7)]
)
def test_interrupt_and_memory_have_their_exit_codes(
    error, code, case, capsys, monkeypatch
):
    def stopped(*arguments, **options):
        raise error

    monkeypatch.setattr("kcalc.workflow.score_scan", stopped)
    assert score(case) == code
    assert _one_paragraph(capsys.readouterr().err)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_termination_gives_143_and_leaves_nothing(case, capsys, monkeypatch):
    def terminated(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr("kcalc.workflow.scan.calcium_score", terminated)
    before = signal.getsignal(signal.SIGTERM)
    assert score(case) == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert sorted(p.name for p in case.iterdir()) == ["mask.nii.gz", "series"]


# --- progress -------------------------------------------------------------------


def test_progress_lines_come_only_when_work_is_long(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    with terminal.progress_on_stderr() as progress:
        progress("Reading the scan", 0, 0)
        for done, seconds in ((1, 3.0), (2, 4.0), (3, 14.0), (4, 15.0)):
            now[0] = seconds
            progress("Finding calcium, slice", done, 4)
    assert capsys.readouterr().err.splitlines() == [
        "Finding calcium, slice: 1 of 4",
        "Finding calcium, slice: 3 of 4",
        "Finding calcium, slice: 4 of 4",
    ]


def test_progress_rewrites_one_line_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with terminal.progress_on_stderr() as progress:
        progress("Reading the scan", 0, 0)
        progress("Drawing pictures", 1, 1)
    err = capsys.readouterr().err
    assert err == "\r\x1b[KReading the scan\n\x1b[KDrawing pictures: 1 of 1\n"


# --- processes ------------------------------------------------------------------


def test_mask_is_scored_without_tensorflow_in_a_fresh_process(case):
    code = (
        "import sys; from kcalc.cli import main; "
        f"code = main(['score', '-i', {str(case / 'series')!r}, "
        f"'-o', {str(case / 'out')!r}, '--mask', {str(case / 'mask.nii.gz')!r}]); "
        "print(code, [m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def test_output_survives_a_stdout_that_knows_ascii_only(case):
    folder = case / "Ergebnis-ä"
    done = run(
        "score", "-i", str(case / "series"), "-o", str(folder),
        "--mask", str(case / "mask.nii.gz"),
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Ergebnis-\\xe4" in done.stdout
    assert (folder / "score.json").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full of Linux")
def test_full_standard_output_is_told_with_the_place_of_the_results(case):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, *score_arguments(case)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 7
    assert "STDOUT: The results are written" in done.stderr
    assert "INTERNAL" not in done.stderr
    assert (case / "out" / "score.json").is_file()


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors of POSIX")
def test_closed_streams_change_neither_results_nor_exit_code(case):
    shell = f"{shlex.join([*COMMAND, *score_arguments(case)])} >&- 2>&-"
    assert subprocess.run(["sh", "-c", shell], check=False).returncode == 0
    assert (case / "out" / "score.json").is_file()
    (case / "empty").mkdir()
    refused = [*COMMAND, *score_arguments(case, "empty"), "--debug"]
    done = subprocess.run(
        ["sh", "-c", f"{shlex.join(refused)} 2>&-"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "")


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from kcalc.cli import main; main(['--help']); "
        "heavy = ('tensorflow', 'keras', 'scipy', 'pydicom', 'nibabel', 'PIL', "
        "'matplotlib'); print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_phantom_command_writes_and_tells(tmp_path, capsys, monkeypatch):
    from kcalc import phantoms

    chest = phantoms.chest
    monkeypatch.setattr(
        phantoms,
        "chest",
        lambda preset, seed: chest(
            preset, seed, num_lesions=3, shape_zyx=(6, 128, 128)
        ),
    )
    out = tmp_path / "p"
    assert cli.main(["phantom", "chest", "-o", str(out), "--seed", "5"]) == 0
    text = capsys.readouterr().out
    truth = json.loads((out / "truth.json").read_text())
    assert re.search(rf"True lesions +{len(truth['lesions'])}\n", text)
    assert "True volume" in text
    assert "Score of the true mask" in text
    assert len(list((out / "dicom").iterdir())) == 6
    assert truth["notice"].startswith("Simulated data.")
    assert cli.main(["phantom", "chest", "-o", str(out), "--seed", "5"]) == 0
