"""``kcalc doctor``: what is lacking is told, with an exit code."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from kcalc import cli
from kcalc.artifact import find_model
from kcalc.workflow import doctor, examine

GIB = 1 << 30


@pytest.fixture(autouse=True)
def no_tensorflow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """Start TensorFlow only in the test that is about it."""
    if "devices" not in request.node.name:
        devices = doctor.Check("devices", "ok", "2 CPU cores; no GPU")
        monkeypatch.setattr(doctor, "_devices", lambda: devices)


def states(model: Path | None = None) -> dict[str, doctor.Check]:
    """Return the checks by name."""
    return {check.name: check for check in examine(model).checks}


def test_a_machine_that_can_score_is_told_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in ("Python", "tensorflow", "pydicom", "memory", "disk", "decoder RLE"):
        assert f" {word}: " in text
    assert "verified by sha256" in text
    assert "Scans can be scored here." in text
    assert "Not a medical device" in text


def test_json_is_all_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["can_score"] is True
    by_name = {check["name"]: check for check in record["checks"]}
    assert by_name["numpy"]["message"] == importlib.metadata.version("numpy")
    assert by_name["model"]["state"] == "ok"


def test_every_requirement_of_setup_cfg_is_looked_at() -> None:
    wanted = {Requirement(line).name for line in doctor._requirements()}
    assert {"tensorflow", "keras", "numpy", "pydicom", "highdicom"} <= wanted
    assert wanted <= set(states())


def test_an_installed_kcalc_knows_its_requirements_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages" / "kcalc" / "workflow" / "doctor.py"
    monkeypatch.setattr(doctor, "__file__", str(installed))
    monkeypatch.setattr(
        importlib.metadata,
        "requires",
        lambda name: ["numpy>=1.26", "no-such-thing>=2", 'jax>=9; extra == "gpu"'],
    )
    checks = states()
    assert checks["numpy"].state == "ok"
    assert checks["no-such-thing"].state == "failed"
    assert "jax" not in checks


def test_a_missing_package_gives_exit_code_seven(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_requirements", lambda: ["no-such-package>=3"])
    assert cli.main(["doctor"]) == 7
    out, err = capsys.readouterr()
    assert "failed   no-such-package: not installed; kcalc needs >=3" in out
    assert "Scans cannot be scored here." in out
    assert err.startswith("kcalc: PACKAGE: ")
    assert 'pip install "no-such-package>=3"' in err


def test_another_version_than_tested_is_a_warning_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_requirements", lambda: ["numpy<1"])
    found = states()["numpy"]
    assert found.state == "warning"
    assert "kcalc is tested with <1" in found.message


def test_a_damaged_or_missing_model_gives_exit_code_six(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "1"
    shutil.copytree(find_model(), copy)
    assert states(copy)["model"].state == "ok"
    with (copy / "variables" / "variables.index").open("r+b") as file:
        file.write(b"\x99")
    assert cli.main(["doctor", "--model", str(copy)]) == 6
    assert "MODEL_CORRUPT" in capsys.readouterr().err
    assert cli.main(["doctor", "--model", "nowhere"]) == 6
    assert "MODEL_MISSING" in capsys.readouterr().err


def test_memory_heeds_the_limit_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": "MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n",
        "/sys/fs/cgroup/memory.max": f"{3 * GIB}\n",
        "/sys/fs/cgroup/memory.current": f"{2 * GIB}\n",
    }

    def read(name: str) -> str:
        try:
            return files[name]
        except KeyError:
            raise FileNotFoundError(name) from None

    assert doctor.available_memory_mib(read) == 1024
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert doctor.available_memory_mib(read) == 16384
    files.clear()
    assert doctor.available_memory_mib(read) is None
    monkeypatch.setattr(doctor, "available_memory_mib", lambda: 700)
    assert states()["memory"].state == "warning"


def test_a_decoder_that_is_lacking_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import pydicom.pixels

    class Bare:
        available_plugins = ()

    monkeypatch.setattr(pydicom.pixels, "get_decoder", lambda uid: Bare())
    found = states()["decoder JPEG lossless"]
    assert found.state == "warning"
    assert "kcalc[decode]" in found.hint


def test_the_devices_are_those_that_tensorflow_sees() -> None:
    found = states()["devices"]
    assert found.state == "ok"
    assert "CPU core" in found.message
