"""Masks of several stages side by side, as in figure 2 of Ma and Zhang 2019."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from kcalc.geometry import Geometry
from kcalc.report.stages import StagedScan, stages_picture

SHAPE = (3, 96, 96)


def scan(title: str = "chest", **masks: np.ndarray) -> StagedScan:
    image = np.full(SHAPE, 40, np.int16)
    image[1, 40:44, 40:44] = 400
    return StagedScan(title, image, Geometry.axial(SHAPE, (3.0, 1.0, 1.0)), masks)


def box(z: int = 1, size: int = 4) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[z, 40 : 40 + size, 40 : 40 + size] = True
    return mask


def green_by_third(path: Path) -> list[int]:
    """Number of green pixels in the left, middle and right third of the picture."""
    picture = imread(path)
    green = (picture[..., 1] > 0.6) & (picture[..., 0] < 0.4) & (picture[..., 2] < 0.6)
    return [int(part.sum()) for part in np.array_split(green, 3, axis=1)]


def test_each_stage_is_outlined_in_its_own_column(tmp_path: Path):
    raw, none, truth = box(size=12), np.zeros(SHAPE, bool), box()
    path = stages_picture(
        tmp_path / "f.png", [scan(raw=raw, filtered=none, truth=truth)], title="F"
    )
    left, middle, right = green_by_third(path)
    assert left > 2 * right > 0
    assert middle == 0


def test_the_slice_is_that_with_most_truth(tmp_path: Path):
    elsewhere, truth = box(z=0, size=20), box(z=1)
    path = stages_picture(
        tmp_path / "f.png", [scan(raw=elsewhere, filtered=truth, truth=truth)]
    )
    left, middle, right = green_by_third(path)
    assert left == 0
    assert middle == pytest.approx(right, rel=0.1)


def test_every_scan_is_a_row(tmp_path: Path):
    one = [scan(raw=box(), truth=box())]
    heights = [
        imread(stages_picture(tmp_path / "f.png", one * count)).shape[0]
        for count in (1, 2)
    ]
    assert heights[1] - heights[0] == 420  # 2.8 inches of 150 dots


def test_scans_of_other_stages_do_not_stand_under_one_head(tmp_path: Path):
    scans = [scan(raw=box(), truth=box()), scan(truth=box())]
    with pytest.raises(ValueError, match="of the same stages"):
        stages_picture(tmp_path / "f.png", scans)
    with pytest.raises(ValueError, match="one or more"):
        stages_picture(tmp_path / "f.png", [])
    assert list(tmp_path.iterdir()) == []


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"the scan's shape, \(3, 96, 96\)"):
        scan(truth=np.zeros((3, 96, 95), bool))
    with pytest.raises(ValueError, match="the scan's shape"):
        scan()
