"""setup.cfg names every package, and the wheel alone scores a scan."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def options() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_setup_cfg_lists_every_package(options: configparser.ConfigParser):
    listed = set(options["options"]["packages"].split())
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "kcalc").rglob("__init__.py")
    }
    assert listed == found | {"kcalc.saved_models"}


def test_pyproject_holds_the_build_system_alone():
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert list(tomllib.load(file)) == ["build-system"]


def test_python_versions_are_those_that_tensorflow_has_wheels_for(
    options: configparser.ConfigParser,
):
    assert options["options"]["python_requires"] == ">=3.11,<3.14"


@pytest.mark.slow
def test_the_wheel_in_an_empty_environment_scores_a_phantom(tmp_path: Path):
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def run(*command: str) -> str:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=clean,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
    run(*pip, "--wheel-dir", str(tmp_path / "dist"), str(ROOT))
    (wheel,) = (tmp_path / "dist").glob("kcalc-*.whl")
    venv.create(tmp_path / "empty", with_pip=True)
    binaries = tmp_path / "empty" / "bin"
    run(str(binaries / "python"), "-m", "pip", "install", "--quiet", str(wheel))
    kcalc = str(binaries / "kcalc")
    run(kcalc, "phantom", "qrm", "-o", "scan")
    record = json.loads(run(kcalc, "score", "-i", "scan/dicom", "-o", "out", "--json"))
    assert record["agatston"] > 0
    assert record["model"]["name"] == "cac_dense_ra_unet_small"
    assert (tmp_path / "out" / "report.html").stat().st_size > 1000
