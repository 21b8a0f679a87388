"""DICOM SEG and SR of a result: references, geometry, codes, identity, validity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_factory import write_series

from kcalc.geometry import Geometry
from kcalc.io import read_volume
from kcalc.volume import SourceFrame, Volume

# --- the frames of a volume -----------------------------------------------------


def test_a_volume_names_the_frame_of_every_slice(tmp_path: Path) -> None:
    paths = write_series(tmp_path, stem="b")
    for old, new in zip(paths, "53124", strict=True):
        old.rename(tmp_path / f"{new}.dcm")
    volume = read_volume(tmp_path)
    assert [frame.path[-5] for frame in volume.frames] == list("53124")
    assert [frame.position_xyz_mm[2] for frame in volume.frames] == [
        *(100.0, 103.0, 106.0, 109.0, 112.0)
    ]
    assert {frame.sop_class_uid for frame in volume.frames} == {
        "1.2.840.10008.5.1.4.1.1.2"
    }
    assert len({frame.sop_instance_uid for frame in volume.frames}) == 5
    assert volume.acquisition.study_uid == "1.2.3.4"


def test_frames_that_are_not_one_a_slice_are_refused() -> None:
    frame = SourceFrame("a.dcm", "1.2", "1.3", (0.0, 0.0, 0.0))
    geometry = Geometry.axial((2, 4, 4), (3.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="one a slice"):
        Volume(np.zeros((2, 4, 4), np.int16), geometry, frames=(frame,))
