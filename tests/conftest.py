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


@pytest.fixture(scope="session")
def phantom_slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean DICOM series of the QRM phantom, 9 slices of 128 x 128 every 3 mm."""
    from kcalc.phantoms import qrm, write_dicom_series

    folder = tmp_path_factory.mktemp("phantom")
    write_dicom_series(qrm(seed=3, num_slices=9, rows=128, columns=128), folder)
    return folder
