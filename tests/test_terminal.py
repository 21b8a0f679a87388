"""TensorFlow's start-up lines are held back, everything else on stderr is not."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import os, sys
from kcalc.terminal import without_start_up_lines
with without_start_up_lines():
    os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called\\n")
    os.write(2, b"E0000 00:00:1 1 cuda_platform.cc:52] failed call to cuInit\\n")
    os.write(2, b"W1120 a real warning\\n")
os.write(2, b"after\\n")
sys.modules["tensorflow"] = None
with without_start_up_lines():
    os.write(2, b"I0000 shown, TensorFlow was there before\\n")
"""


def test_start_up_lines_go_and_everything_else_stays():
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines() == [
        "W1120 a real warning",
        "after",
        "I0000 shown, TensorFlow was there before",
    ]


def test_what_was_written_comes_out_when_the_start_fails():
    code = CODE.replace('os.write(2, b"W1120', 'raise SystemExit("broken")  # (b"')
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["broken"]


def test_a_closed_standard_error_is_no_trouble():
    code = "import os; os.close(2)\n" + CODE.split("os.write(2, b", 1)[0] + "print(1)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
