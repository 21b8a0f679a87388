"""MetaImage: what is written comes back; hostile headers are refused (C13)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import body_hu
from label_files import write_mhd

import kcalc
from kcalc.io.metaimage import load_metaimage


def refusal(path: Path) -> kcalc.InputError:
    with pytest.raises(kcalc.InputError) as caught:
        kcalc.read_volume(path)
    return caught.value


@pytest.mark.parametrize("name", ["scan.mhd", "scan.mha"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4"])
def test_a_scan_comes_back(tmp_path: Path, name: str, compressed: bool, dtype: str):
    array = body_hu().astype(dtype)
    path = write_mhd(tmp_path / name, array, compressed=compressed)
    volume = kcalc.read_volume(path, tube_voltage_kvp=120)
    np.testing.assert_array_equal(volume.array, body_hu())
    assert volume.array.dtype == np.int16
    assert volume.spacing_mm == (3.0, 0.5, 0.5)
    assert volume.geometry.index_to_mm([1, 2, 4]).tolist() == [-8.0, -19.0, 103.0]
    assert {f.code for f in volume.findings} == {"UNIT_ASSUMED", "KVP_GIVEN"}


def test_the_grid_is_that_of_simpleitk(tmp_path: Path):
    sitk = pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(0)
    array = rng.integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.4, 0.5, 3.0))
    image.SetOrigin((1, -2, 30))
    c, s = np.cos(0.1), np.sin(0.1)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    image.SetDirection((turn @ [[1, 0, 0], [0, 0, 1], [0, -1, 0]]).ravel())
    sitk.WriteImage(image, str(tmp_path / "a.mhd"), True)
    values, geometry, oriented = load_metaimage(tmp_path / "a.mhd", sheared=False)
    np.testing.assert_array_equal(values, array)
    assert oriented
    for index in [(0, 0, 0), (1, 2, 3), (3, 4, 5)]:
        expected = image.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose(geometry.index_to_mm(index), expected, atol=1e-9)


def test_without_directions_left_and_right_are_unknown(tmp_path: Path):
    path = write_mhd(tmp_path / "a.mhd", body_hu(), TransformMatrix=None)
    codes = {f.code for f in kcalc.read_volume(path).findings}
    assert "ORIENTATION_UNKNOWN" in codes


def test_c13_no_data_file_outside_the_folder_is_read(tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(body_hu().tobytes())
    for name in (
        "/etc/passwd",
        "../secret.raw",
        str(tmp_path / "secret.raw"),
        "..",
        "LIST",
        "List 2",
        "slice%03d.raw 1 5 1",
        "a\\b.raw",
        "",
    ):
        path = write_mhd(folder / "a.mhd", body_hu(), ElementDataFile=name)
        assert refusal(path).code == "MHD_FILE"
        assert "etc" not in refusal(path).rule


def test_c13_a_link_that_leads_elsewhere_is_not_followed(tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(body_hu().tobytes())
    os.symlink(tmp_path / "secret.raw", folder / "link.raw")
    path = write_mhd(folder / "a.mhd", body_hu(), ElementDataFile="link.raw")
    assert refusal(path).code == "MHD_FILE"


@pytest.mark.parametrize(
    "num_bytes", [0, 100, 2 * 5 * 16 * 16 - 1, 2 * 5 * 16 * 16 + 1]
)
def test_c13_a_data_file_of_another_size_is_refused(tmp_path: Path, num_bytes: int):
    path = write_mhd(tmp_path / "a.mhd", body_hu())
    (tmp_path / "a.raw").write_bytes(bytes(num_bytes))
    assert refusal(path).code == "TRUNCATED"


def test_c13_what_says_compressed_must_be(tmp_path: Path):
    path = write_mhd(tmp_path / "a.mhd", body_hu(), CompressedData="True")
    assert refusal(path).code == "TRUNCATED"
    path = write_mhd(tmp_path / "b.mhd", body_hu(), compressed=True)
    path.write_bytes(path.read_bytes().replace(b"CompressedData = True", b"Comment = "))
    assert refusal(path).code == "TRUNCATED"


def test_c13_a_compressed_file_that_expands_to_more_is_refused(tmp_path: Path):
    path = write_mhd(tmp_path / "a.mhd", body_hu(), compressed=True, DimSize="4 4 5")
    assert refusal(path).code == "TRUNCATED"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"DimSize": "60000 60000 1000"}, "BUDGET"),
        ({"DimSize": "1e300 1e300 1e300"}, "BUDGET"),
        ({"DimSize": "2048 2048 500"}, "TRUNCATED"),
        ({"DimSize": "0 16 5"}, "MHD_HEADER"),
        ({"DimSize": "-16 -16 5"}, "MHD_HEADER"),
        ({"DimSize": "nan 16 5"}, "MHD_HEADER"),
        ({"DimSize": "16.5 16 5"}, "MHD_HEADER"),
        ({"DimSize": "16 16"}, "MHD_HEADER"),
        ({"NDims": "4"}, "MHD_HEADER"),
        ({"ObjectType": "Tube"}, "MHD_HEADER"),
        ({"ElementType": "MET_OTHER"}, "MHD_HEADER"),
        ({"ElementNumberOfChannels": "3"}, "MHD_HEADER"),
        ({"ElementToIntensityFunctionSlope": "2"}, "MHD_HEADER"),
        ({"BinaryData": "False"}, "MHD_HEADER"),
        ({"ElementSpacing": "0 0.5 3"}, "MHD_HEADER"),
        ({"ElementSpacing": "inf 0.5 3"}, "MHD_HEADER"),
        ({"ElementSpacing": None}, "MHD_HEADER"),
        ({"TransformMatrix": "2 0 0 0 1 0 0 0 1"}, "MHD_HEADER"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "MHD_AFFINE"),
        ({"TransformMatrix": "1 0 0 0 0.8 0.6 0 0 1"}, "MHD_AFFINE"),
        ({"HeaderSize": "-2"}, "MHD_HEADER"),
        ({"HeaderSize": "1e9"}, "MHD_HEADER"),
    ],
)
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, changes, code: str):
    assert refusal(write_mhd(tmp_path / "a.mhd", body_hu(), **changes)).code == code


def test_a_header_without_a_data_file_or_with_a_key_twice_is_refused(tmp_path: Path):
    path = write_mhd(tmp_path / "a.mhd", body_hu())
    whole = path.read_bytes()
    for broken in (
        b"",
        b"\0" * 500,
        whole.partition(b"ElementDataFile")[0],
        b"NDims = 3\n" + whole,
        b"no equals sign\n" + whole,
    ):
        path.write_bytes(broken)
        assert refusal(path).code == "MHD_HEADER"


def test_a_data_file_after_other_bytes_is_read(tmp_path: Path):
    for size in ("7", "-1"):
        path = write_mhd(tmp_path / "a.mhd", body_hu(), HeaderSize=size)
        data = tmp_path / "a.raw"
        data.write_bytes(b"7 bytes" + data.read_bytes())
        np.testing.assert_array_equal(kcalc.read_volume(path).array, body_hu())


def test_what_is_not_there_is_told(tmp_path: Path):
    assert refusal(tmp_path / "none.mhd").code == "NOT_FOUND"
    path = write_mhd(tmp_path / "a.mhd", body_hu(), ElementDataFile="none.raw")
    assert refusal(path).code == "NOT_FOUND"


def test_a_series_of_a_file_is_refused(tmp_path: Path):
    path = write_mhd(tmp_path / "a.mhd", body_hu())
    with pytest.raises(kcalc.InputError, match="SERIES_UNKNOWN"):
        kcalc.read_volume(path, series="1.2")
