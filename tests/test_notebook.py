"""The notebook runs with the shipped model, and its .ipynb is the executed script."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "recipes" / "notebooks"
SCRIPT = NOTEBOOKS / "savedmodel_with_tensorflow_alone.py"
NUMBER = r"\d+(\.\d+)?"
EXECUTED = SCRIPT.with_suffix(".ipynb")


def cells(notebook: Any) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook: Any) -> str:
    return "".join(
        output.text
        for cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stdout"
    )


def check_outputs(notebook: Any) -> None:
    """Every cell ran in order without an error; slices were shown, nothing loaded."""
    ran = code_cells(notebook)
    assert [cell.execution_count for cell in ran] == list(range(1, len(ran) + 1))
    kinds = [output.output_type for cell in ran for output in cell.outputs]
    assert "error" not in kinds
    pictures = [
        output for cell in ran for output in cell.outputs if "image/png" in str(output)
    ]
    assert len(pictures) == 1
    text = printed(notebook)
    assert text.endswith("keras was not imported\nkcalc was not imported\n")
    assert "hu must have voxels below 0 HU" in text


def test_the_script_imports_neither_kcalc_nor_keras():
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(SCRIPT.read_text("utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    assert not imported & {"kcalc", "keras"}
    assert "tensorflow" in imported


def test_the_executed_notebook_has_the_cells_of_the_script():
    assert cells(nbformat.read(EXECUTED, 4)) == cells(jupytext.read(SCRIPT))


def test_the_executed_notebook_has_outputs_without_errors_or_places_of_a_machine():
    notebook = nbformat.read(EXECUTED, 4)
    check_outputs(notebook)
    assert "cac_dense_ra_unet_small version" in printed(notebook)
    text = EXECUTED.read_text("utf-8")
    assert str(Path.home()) + "/" not in text
    assert "/tmp" not in text
    assert EXECUTED.stat().st_size < 1_000_000


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_runs_and_prints_what_the_executed_one_shows():
    executor = runpy.run_path(str(NOTEBOOKS / "execute.py"))
    assert executor["scripts"]() == [SCRIPT]
    notebook = executor["execute"](SCRIPT)
    check_outputs(notebook)
    shown, expected = printed(notebook), printed(nbformat.read(EXECUTED, 4))
    assert re.sub(NUMBER, "#", shown) == re.sub(NUMBER, "#", expected)
    shapes = [text.splitlines()[1:5] for text in (shown, expected)]
    assert shapes[0] == shapes[1]
