"""Imports point one way, and the light parts stay light (design.md section 2)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kcalc

ROOT = Path(kcalc.__file__).parent

ORDER = (
    "_version",
    "errors",
    "hounsfield",
    "anatomy",
    "geometry",
    "slices",
    "orientation",
    "volume",
    "regrid",
    "files",
    "termination",
    "io",
    "phantoms",
    "registration",
    "scoring",
    "preparation",
    "data",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "models",
    "artifact",
    "inference",
    "evaluation",
    "training",
    "report",
    "export",
    "terminal",
    "workflow",
    "cli",
    "testing",
)
"""From the top of the way of one scan to its end."""

TENSORFLOW_FREE = (
    "errors",
    "geometry",
    "slices",
    "orientation",
    "volume",
    "regrid",
    "io",
    "phantoms",
    "registration",
    "scoring",
    "evaluation",
    "report",
)


def _imports(path: Path) -> set[str]:
    """First name below kcalc of every import in a file, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kcalc"):
            parts = (node.module or "").split(".")
            names = [parts[1]] if len(parts) > 1 else [a.name for a in node.names]
            found.update(names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("kcalc."):
                    found.add(alias.name.split(".")[1])
    return found


def _modules() -> list[Path]:
    return [p for p in sorted(ROOT.rglob("*.py")) if p != ROOT / "__init__.py"]


def test_every_module_has_its_place_in_the_order():
    names = {p.relative_to(ROOT).parts[0].removesuffix(".py") for p in _modules()}
    assert names <= set(ORDER)


@pytest.mark.parametrize(
    "path", _modules(), ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_imports_point_up(path: Path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    below = {
        name
        for name in _imports(path)
        if name in ORDER and ORDER.index(name) > ORDER.index(own)
    }
    assert below == set(), f"{own} imports from below itself"


@pytest.mark.parametrize("path", _modules(), ids=lambda p: p.name)
def test_tensorflow_stays_out_of_the_light_parts(path: Path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if own not in TENSORFLOW_FREE:
        return
    tree = ast.parse(path.read_text("utf-8"))
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        (node.module or "").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    assert not imported & {"tensorflow", "keras"}


@pytest.mark.parametrize(
    "module",
    [
        *("kcalc", "kcalc.scoring", "kcalc.io", "kcalc.phantoms"),
        *("kcalc.registration", "kcalc.cli"),
    ],
)
def test_importing_the_light_parts_loads_nothing_heavy(module: str):
    heavy = (
        *("tensorflow", "keras", "scipy", "pydicom", "highdicom", "matplotlib"),
        "SimpleITK",
    )
    code = (
        f"import sys, {module}\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_these():
    assert sorted(kcalc.__all__) == [
        "InputError",
        "KcalcError",
        "Volume",
        "__version__",
        "calcium_score",
        "data",
        "evaluation",
        "export",
        "inference",
        "io",
        "layers",
        "load_model",
        "losses",
        "metrics",
        "models",
        "optimizers",
        "phantoms",
        "predict",
        "preparation",
        "read_volume",
        "report",
        "scoring",
        "training",
    ]


def test_no_file_is_longer_than_four_hundred_lines():
    long = {
        p.name: n for p in _modules() if (n := len(p.read_text().splitlines())) > 400
    }
    assert long == {}
