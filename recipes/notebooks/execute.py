"""Execute the notebooks: every percent script here becomes an executed ``.ipynb``.

    python recipes/notebooks/execute.py

The ``.ipynb`` is replaced only if every cell ran. Kept out of it is what changes from
run to run without a meaning: random cell ids, times, and TensorFlow's start-up lines.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jupytext  # type: ignore[import-untyped]
import nbformat
from nbclient import NotebookClient

from kcalc.files import whole_or_absent

FOLDER = Path(__file__).parent
TIMEOUT_S = 1200
"""Seconds a cell may take."""


def scripts() -> list[Path]:
    """Return the percent scripts of this folder."""
    return sorted(path for path in FOLDER.glob("*.py") if path != Path(__file__))


def execute(script: Path) -> Any:
    """Return a script as a notebook with the outputs of a new kernel.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    notebook = jupytext.read(script)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(script.parent)}},
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    nbformat.validate(notebook)
    return notebook


def main() -> None:
    """Execute every script of this folder."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    for script in scripts():
        notebook = execute(script)
        text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
        with whole_or_absent(script.with_suffix(".ipynb")) as temporary:
            temporary.write_text(f"{text}\n", "utf-8")
        print("written", script.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
