"""Budgets on bytes, pixels and frames, each held before memory is taken (C5 to C7)."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_factory import write_series
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless
from test_dicom_enhanced import write_enhanced

import kcalc
from kcalc.errors import InputError
from kcalc.io import dicom_series, discovery


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        kcalc.read_volume(path)
    return caught.value


@pytest.fixture
def never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where pixels are read, which is where memory for them is taken."""

    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("pixels were read")

    monkeypatch.setattr(dicom_series, "read_pixels", fail)


def compressed(uid: str, **tags: object) -> Callable[[pydicom.FileDataset, int], None]:
    def edit(ds: pydicom.FileDataset, index: int) -> None:
        if uid == JPEG2000Lossless:  # its encoder takes no picture below 32
            ds.Rows = ds.Columns = 32
            ds.PixelData = np.full((32, 32), 1064 + index, "<u2").tobytes()
        ds.compress(uid, generate_instance_uid=False)
        for keyword, value in tags.items():
            setattr(ds, keyword, value)

    return edit


@pytest.mark.usefixtures("never_read")
@pytest.mark.parametrize("uid", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_c06_a_small_stream_cannot_claim_a_large_picture(
    tmp_path: Path, uid: str
) -> None:
    write_series(tmp_path, edit=compressed(uid, Rows=20000, Columns=20000))
    error = refusal(tmp_path)
    assert error.code == "BUDGET"
    assert "compressed bytes may give" in str(error)


def test_c06_a_frame_longer_than_its_pixels_is_refused(tmp_path: Path) -> None:
    def edit(ds: pydicom.FileDataset, index: int) -> None:
        ds.compress(RLELossless, generate_instance_uid=False)
        ds.PixelData = encapsulate([bytes(1 << 20)], has_bot=False)

    write_series(tmp_path, edit=edit)
    error = refusal(tmp_path)
    assert error.code == "BUDGET"
    assert "more than uncompressed ones" in str(error)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (8, (64).to_bytes(4, "big") * 2 + (32).to_bytes(4, "big") * 2, "4096 tiles"),
        (40, b"\x40\x00", "16384 samples a pixel"),
    ],
)
def test_c06_a_stream_of_many_tiles_or_samples_is_never_decoded(
    tmp_path: Path, place: int, value: bytes, words: str
) -> None:
    path = write_series(tmp_path, edit=compressed(JPEG2000Lossless))[-1]
    raw = bytearray(path.read_bytes())
    start = raw.index(b"\xff\x4f\xff\x51")
    raw[start + place : start + place + len(value)] = value
    if "tiles" in words:
        raw[start + 24 : start + 32] = (1).to_bytes(4, "big") * 2
    path.write_bytes(raw)
    error = refusal(tmp_path)
    assert error.code == "DECODER"
    assert words in str(error)


def test_c06_a_header_without_end_is_not_read_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(ds: pydicom.FileDataset, index: int) -> None:
        block = ds.private_block(0x0019, "KCALC", create=True)
        block.add_new(1, "OB", bytes(1 << 22))

    write_series(tmp_path, edit=edit)
    assert kcalc.read_volume(tmp_path).shape == (5, 16, 16)
    monkeypatch.setattr(discovery, "MAX_HEADER_BYTES", 1 << 20)
    error = refusal(tmp_path)
    assert error.code == "BUDGET"
    assert "a header may have 1048576 bytes" in str(error)


@pytest.mark.usefixtures("never_read")
def test_c06_a_thousand_million_frames_take_no_memory(tmp_path: Path) -> None:
    def edit(ds: pydicom.FileDataset) -> None:
        ds.NumberOfFrames = 10**9

    path = write_enhanced(tmp_path / "e.dcm", edit=edit)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refusal(path).code == "ENHANCED_UNSUPPORTED"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 16
