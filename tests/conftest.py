"""Fixtures that more than one test file needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Root of the real scans; tests that need it skip where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("KCALC_TEST_DATA", default))
    if not root.is_dir():
        pytest.skip("KCALC_TEST_DATA is absent")
    return root
