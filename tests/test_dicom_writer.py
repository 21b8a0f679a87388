"""A written CT series reads back voxel for voxel, with the tags a reader needs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import config
from pydicom.dataset import FileDataset

from kcalc.errors import ResourceError
from kcalc.geometry import Geometry
from kcalc.phantoms.dicom_writer import write_dicom_series
from kcalc.volume import Acquisition, Volume

FACTS = Acquisition(
    tube_voltage_kvp=120.0, slice_thickness_mm=3.0, convolution_kernel="B30f"
)


def make_volume(
    low: int = -1024,
    high: int = 3071,
    shape_zyx: tuple[int, int, int] = (4, 6, 5),
    **facts: Any,
) -> Volume:
    values = np.random.default_rng(0).integers(low, high + 1, shape_zyx)
    values.flat[0], values.flat[1] = low, high
    geometry = Geometry.axial(shape_zyx, (1.5, 0.5, 0.4), (-110.25, -90.5, 534.875))
    return Volume(values.astype(np.int16), geometry, acquisition=Acquisition(**facts))


def read_back(paths: list[Path]) -> list[FileDataset]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return [pydicom.dcmread(path) for path in paths]


def hounsfield(datasets: list[FileDataset]) -> np.ndarray[Any, Any]:
    return np.stack(
        [
            d.pixel_array.astype(np.float64) * float(d.RescaleSlope)
            + float(d.RescaleIntercept)
            for d in datasets
        ]
    )


def test_series_reads_back_voxel_for_voxel(tmp_path: Path) -> None:
    volume = make_volume()
    datasets = read_back(write_dicom_series(volume, tmp_path))
    np.testing.assert_array_equal(hounsfield(datasets), volume.array)


def test_one_file_per_slice_and_nothing_else_is_written(tmp_path: Path) -> None:
    paths = write_dicom_series(make_volume(), tmp_path / "new" / "folder")
    assert [p.name for p in paths] == [f"IM000{i}.dcm" for i in (1, 2, 3, 4)]
    assert sorted((tmp_path / "new" / "folder").iterdir()) == paths


def test_every_element_passes_the_strict_validation_of_pydicom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.RAISE)
    volume = make_volume()
    for dataset in read_back(write_dicom_series(volume, tmp_path)):
        for element in dataset.iterall():
            assert element.value is None or str(element)


def test_tags_of_a_series(tmp_path: Path) -> None:
    volume = make_volume()
    volume = Volume(volume.array, volume.geometry, acquisition=FACTS)
    datasets = read_back(write_dicom_series(volume, tmp_path, name="qrm", seed=7))
    d = datasets[2]
    assert d.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert d.SOPClassUID.name == "CT Image Storage"
    assert d.file_meta.MediaStorageSOPInstanceUID == d.SOPInstanceUID
    assert d.Modality == "CT"
    assert list(d.ImageType) == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert (d.Rows, d.Columns) == (6, 5)
    assert list(d.PixelSpacing) == [0.5, 0.4]
    assert (d.SliceThickness, d.SpacingBetweenSlices) == (3.0, 1.5)
    assert (d.KVP, d.ConvolutionKernel) == (120, "B30f")
    assert (d.RescaleSlope, d.RescaleIntercept) == (1, -1024)
    assert (d.BitsAllocated, d.BitsStored, d.HighBit) == (16, 12, 11)
    assert d.PixelRepresentation == 0
    assert d.PhotometricInterpretation == "MONOCHROME2"
    assert d.BurnedInAnnotation == "NO"
    assert (d.PatientID, d.PatientName) == ("PHANTOM-qrm-7", "Phantom^Kcalc")
    assert (d.PatientPosition, d.BodyPartExamined) == ("HFS", "CHEST")
    assert d.Manufacturer == "kcalc phantom"
    assert list(d.ImagePositionPatient) == [-110.25, -90.5, 537.875]
    assert list(d.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    assert (d.SliceLocation, d.InstanceNumber) == (537.875, 3)
    assert "PixelPaddingValue" not in d
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert len({each[keyword].value for each in datasets}) == 1
    assert len({each.SOPInstanceUID for each in datasets}) == 4


def test_unknown_voltage_and_thickness_are_left_empty(tmp_path: Path) -> None:
    d = read_back(write_dicom_series(make_volume(), tmp_path))[0]
    assert d.KVP is None
    assert d.SliceThickness is None
    assert "ConvolutionKernel" not in d


def test_geometry_survives_an_oblique_orientation(tmp_path: Path) -> None:
    angle = 0.3
    affine = np.eye(4)
    affine[:3, 0] = [0.0, -2.0 * np.sin(angle), 2.0 * np.cos(angle)]
    affine[:3, 1] = [0.0, 0.5 * np.cos(angle), 0.5 * np.sin(angle)]
    affine[:3, 2] = [0.4, 0.0, 0.0]
    affine[:3, 3] = [1 / 3, -200 / 7, 1e-7]
    volume = Volume(np.zeros((3, 6, 5), np.int16), Geometry((3, 6, 5), affine))
    datasets = read_back(write_dicom_series(volume, tmp_path))
    for number, d in enumerate(datasets):
        corner = np.array(d.ImagePositionPatient, float)
        np.testing.assert_allclose(
            corner, affine[:3, 3] + number * affine[:3, 0], atol=1e-9
        )
    directions = np.array(datasets[0].ImageOrientationPatient, float)
    np.testing.assert_allclose(directions[:3] * 0.4, affine[:3, 2], atol=1e-9)
    np.testing.assert_allclose(directions[3:] * 0.5, affine[:3, 1], atol=1e-9)
    assert float(datasets[0].SpacingBetweenSlices) == pytest.approx(2.0, abs=1e-9)
    steps = np.diff([float(d.SliceLocation) for d in datasets])
    np.testing.assert_allclose(steps, 2.0, atol=1e-9)


def test_spacing_of_a_tilted_gantry_is_measured_along_the_normal(
    tmp_path: Path,
) -> None:
    affine = np.diag([0.0, 0.5, 0.0, 1.0])
    affine[:3, 0] = [0.0, 1.0, 3.0]
    affine[0, 2] = 0.5
    volume = Volume(np.zeros((2, 4, 4), np.int16), Geometry((2, 4, 4), affine))
    d = read_back(write_dicom_series(volume, tmp_path))[0]
    assert float(d.SpacingBetweenSlices) == 3.0


def test_bytes_depend_on_content_and_seed_alone(tmp_path: Path) -> None:
    volume = make_volume()
    first = write_dicom_series(volume, tmp_path / "a", seed=1)
    again = write_dicom_series(volume, tmp_path / "b", seed=1)
    other = write_dicom_series(volume, tmp_path / "c", seed=2)
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]
    a, c = read_back([first[0], other[0]])
    assert a.StudyInstanceUID != c.StudyInstanceUID
    assert a.SOPInstanceUID != c.SOPInstanceUID


def test_two_reconstructions_share_study_and_frame_but_not_series(
    tmp_path: Path,
) -> None:
    first = write_dicom_series(make_volume(), tmp_path, prefix="A")
    second = write_dicom_series(make_volume(high=3000), tmp_path, prefix="B")
    a, b = read_back([first[0], second[0]])
    assert a.StudyInstanceUID == b.StudyInstanceUID
    assert a.FrameOfReferenceUID == b.FrameOfReferenceUID
    assert a.SeriesInstanceUID != b.SeriesInstanceUID
    assert len(list(tmp_path.iterdir())) == 8


@pytest.mark.parametrize(
    ("low", "high", "bits_stored", "signed"),
    [(-1024, 3071, 12, 0), (-1024, 3072, 16, 0), (-2048, 500, 16, 1)],
)
def test_bits_and_sign_follow_the_range(
    tmp_path: Path, low: int, high: int, bits_stored: int, signed: int
) -> None:
    volume = make_volume(low, high)
    datasets = read_back(write_dicom_series(volume, tmp_path))
    assert datasets[0].BitsStored == bits_stored
    assert datasets[0].HighBit == bits_stored - 1
    assert datasets[0].PixelRepresentation == signed
    np.testing.assert_array_equal(hounsfield(datasets), volume.array)


def test_padding_below_air_is_declared_in_stored_units(tmp_path: Path) -> None:
    d = read_back(write_dicom_series(make_volume(-2000, 500), tmp_path))[0]
    assert d["PixelPaddingValue"].VR == "SS"
    assert d.PixelPaddingValue == -976


def test_padding_at_the_lowest_ct_number_is_declared_when_named(
    tmp_path: Path,
) -> None:
    paths = write_dicom_series(make_volume(), tmp_path, padding_hu=-1024)
    d = read_back(paths)[0]
    assert d["PixelPaddingValue"].VR == "US"
    assert d.PixelPaddingValue == 0


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (2.0, -1024.0)])
def test_other_rescale_gives_the_same_hounsfield_units(
    tmp_path: Path, slope: float, intercept: float
) -> None:
    volume = make_volume()
    even = Volume((volume.array // 2 * 2).astype(np.int16), volume.geometry)
    paths = write_dicom_series(
        even, tmp_path, rescale_slope=slope, rescale_intercept=intercept
    )
    datasets = read_back(paths)
    assert (datasets[0].RescaleSlope, datasets[0].RescaleIntercept) == (
        slope,
        intercept,
    )
    np.testing.assert_array_equal(hounsfield(datasets), even.array)


def test_fractional_units_are_off_by_at_most_half_a_slope(tmp_path: Path) -> None:
    values = np.linspace(-1000, 1000, 4 * 6 * 5, dtype=np.float32).reshape(4, 6, 5)
    volume = Volume(values, make_volume().geometry)
    paths = write_dicom_series(volume, tmp_path, rescale_slope=-0.1)
    error = np.abs(hounsfield(read_back(paths)) - values)
    assert 0 < error.max() <= 0.05 + 1e-9


def test_implicit_transfer_syntax_holds_the_same_pixels(tmp_path: Path) -> None:
    volume = make_volume()
    datasets = read_back(write_dicom_series(volume, tmp_path, implicit_vr=True))
    assert datasets[0].file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    np.testing.assert_array_equal(hounsfield(datasets), volume.array)


def test_odd_number_of_bytes_cannot_arise_and_odd_pixels_read_back(
    tmp_path: Path,
) -> None:
    volume = make_volume(shape_zyx=(1, 3, 3))
    datasets = read_back(write_dicom_series(volume, tmp_path))
    np.testing.assert_array_equal(hounsfield(datasets), volume.array)


def test_a_failure_midway_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = FileDataset.save_as
    calls = []

    def fail_at_third(self: Any, *args: Any, **kwargs: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        save(self, *args, **kwargs)

    monkeypatch.setattr(pydicom.Dataset, "save_as", fail_at_third)
    with pytest.raises(OSError, match="No space left"):
        write_dicom_series(make_volume(), tmp_path / "series")
    assert list(tmp_path.iterdir()) == []


def test_a_series_is_never_written_over(tmp_path: Path) -> None:
    first = write_dicom_series(make_volume(), tmp_path)
    before = first[0].read_bytes()
    with pytest.raises(ResourceError, match="4 of its files exist") as caught:
        write_dicom_series(make_volume(high=99), tmp_path)
    assert caught.value.code == "OUTPUT_EXISTS"
    assert first[0].read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 4


def test_a_volume_of_arbitrary_units_is_refused(tmp_path: Path) -> None:
    volume = make_volume()
    volume = Volume(volume.array, volume.geometry, unit="arbitrary")
    with pytest.raises(ValueError, match="unit='arbitrary'"):
        write_dicom_series(volume, tmp_path)


def test_values_beyond_sixteen_bits_are_refused(tmp_path: Path) -> None:
    volume = make_volume(-32768, 32767)
    with pytest.raises(ValueError, match="stored values must fit 16 bits"):
        write_dicom_series(volume, tmp_path)


@pytest.mark.parametrize(
    ("argument", "value", "text"),
    [
        ("rescale_slope", 0.0, "rescale_slope=0.0"),
        ("name", "Müller", "name must be of ASCII letters"),
        ("name", "x" * 41, "name must have at most 40 characters"),
        ("prefix", "../x", "prefix must be of ASCII letters"),
        ("series_description", "x" * 65, "series_description must have at most 64"),
    ],
)
def test_arguments_out_of_range_are_refused(
    tmp_path: Path, argument: str, value: Any, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        write_dicom_series(make_volume(), tmp_path, **{argument: value})
    assert list(tmp_path.iterdir()) == []


def test_skewed_rows_and_columns_are_refused(tmp_path: Path) -> None:
    affine = np.eye(4)[[2, 1, 0, 3]]
    affine[0, 1] = 0.2
    volume = Volume(np.zeros((2, 4, 4), np.int16), Geometry((2, 4, 4), affine))
    with pytest.raises(ValueError, match="must be perpendicular"):
        write_dicom_series(volume, tmp_path)
