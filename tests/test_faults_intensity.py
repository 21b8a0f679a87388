"""Section B of the fault catalogue: values and suitability, on phantoms and real scans.

Each test is named after its row.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from fault_series import NUM_SLICES, message, refused, setting, spoilt, told
from pydicom.uid import JPEGBaseline8Bit

import kcalc
from kcalc import cli
from kcalc.errors import IntensityError, UnfitError
from kcalc.io.intensity import noise_hu
from kcalc.io.nifti import write_nifti
from kcalc.preparation import InputSpec, windowed
from kcalc.scoring import calcium_score
from kcalc.workflow import ScoreOptions, score_scan

CLEAN = {"PADDING": "correction"}
"""What the phantom's own scan says: it has padding outside its field of view."""


def stored_as(
    ds: pydicom.FileDataset, stored: np.ndarray[Any, Any], *, bits: int = 16
) -> None:
    """Replace the pixels of a slice, signed where the array is."""
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    ds.BitsAllocated = stored.dtype.itemsize * 8
    ds.BitsStored, ds.HighBit = bits, bits - 1
    if "PixelPaddingValue" in ds:
        del ds.PixelPaddingValue
    ds.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()


def hu_of(ds: pydicom.FileDataset) -> np.ndarray[Any, Any]:
    """Return the HU of a slice as the phantom's writer stored them."""
    return ds.pixel_array.astype(np.int32) + int(ds.RescaleIntercept)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_b01_a_missing_rescale_is_refused_unless_hu_are_said(
    phantom_slices: Path,
    tmp_path: Path,
    keyword: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def bare(ds: pydicom.FileDataset, index: int) -> None:
        stored_as(ds, hu_of(ds).astype(np.int16))
        ds.RescaleIntercept = 0
        if index == 3:
            delattr(ds, keyword)

    spoilt(phantom_slices, tmp_path / "clean")
    spoilt(phantom_slices, tmp_path / "in", bare)
    error = refused(tmp_path / "in", "HU_UNKNOWN")
    assert isinstance(error, IntensityError)
    assert f"{keyword} is missing" in str(error)
    assert "--assume-hu" in error.hint
    volume = kcalc.read_volume(tmp_path / "in", unit="HU")
    np.testing.assert_array_equal(
        volume.array, kcalc.read_volume(tmp_path / "clean").array
    )
    mask = tmp_path / "mask.nii.gz"
    write_nifti(mask, volume.array >= 130, volume.geometry)
    arguments = ["score", "-i", str(tmp_path / "in"), "--mask", str(mask)]
    assert cli.main([*arguments, "-o", str(tmp_path / "a")]) == 3
    assert cli.main([*arguments, "-o", str(tmp_path / "b"), "--assume-hu"]) == 0
    if keyword == "RescaleSlope":
        assert "HU_ASSUMED" in capsys.readouterr().out


def test_b02_slope_and_intercept_are_applied_slice_by_slice(
    phantom_slices: Path, tmp_path: Path
) -> None:
    wanted = []

    def own(ds: pydicom.FileDataset, index: int) -> None:
        slope, intercept = index % 3 + 1, -1024 - 10 * index
        stored = (np.maximum(hu_of(ds), -1024) - intercept) // slope
        stored_as(ds, stored.astype(np.uint16))
        ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
        wanted.append(np.maximum(stored * slope + intercept, -1024))

    spoilt(phantom_slices, tmp_path, own)
    np.testing.assert_array_equal(kcalc.read_volume(tmp_path).array, wanted)


@pytest.mark.parametrize("value", ["0", "NaN", "inf", "-inf", "1,0"])
def test_b03_a_slope_that_is_none_is_refused(
    phantom_slices: Path, tmp_path: Path, value: str
) -> None:
    def edit(ds: pydicom.FileDataset, index: int) -> None:
        if index == 2:
            del ds.RescaleSlope
            ds.add_new("RescaleSlope", "LO", value)

    paths = spoilt(phantom_slices, tmp_path, edit)
    error = refused(tmp_path, "HU_RESCALE")
    assert error.path == str(paths[2])
    assert repr(value) in str(error)


@pytest.mark.parametrize("padding_hu", [-2000, -2048, -3024, -32768])
@pytest.mark.parametrize("tagged", [True, False])
def test_b04_b05_padding_below_air_becomes_air_with_and_without_its_tag(
    phantom_slices: Path, tmp_path: Path, padding_hu: int, tagged: bool
) -> None:
    def padded(ds: pydicom.FileDataset, index: int) -> None:
        hu = hu_of(ds)
        stored_as(ds, np.where(hu < -1024, padding_hu, hu).astype(np.int16))
        ds.RescaleIntercept = 0
        if tagged:
            ds.add_new("PixelPaddingValue", "SS", padding_hu)

    spoilt(phantom_slices, tmp_path / "clean")
    spoilt(phantom_slices, tmp_path / "in", padded)
    clean = kcalc.read_volume(tmp_path / "clean")
    volume = kcalc.read_volume(tmp_path / "in")
    np.testing.assert_array_equal(volume.array, clean.array)
    assert volume.array.min() == -1024
    assert told(volume) == CLEAN
    assert message(volume, "PADDING") == message(clean, "PADDING")


def test_b04_a_range_of_padding_in_stored_units_is_compared_signed(
    phantom_slices: Path, tmp_path: Path
) -> None:
    def ranged(ds: pydicom.FileDataset, index: int) -> None:
        hu = hu_of(ds)
        stored = np.where(hu < -1024, -2000, hu).astype(np.int16)
        stored[0, :3] = -1990
        stored_as(ds, stored)
        ds.RescaleIntercept = 0
        # Written as unsigned, as careless writers do: 63536 is -2000.
        ds.add_new("PixelPaddingValue", "US", 63536)
        ds.add_new("PixelPaddingRangeLimit", "US", 63546)

    spoilt(phantom_slices, tmp_path, ranged)
    volume = kcalc.read_volume(tmp_path)
    assert volume.array.min() == -1024
    assert told(volume) == CLEAN


def test_b04_padding_inside_the_hu_range_is_kept_and_reported(
    phantom_slices: Path, tmp_path: Path
) -> None:
    def inside(ds: pydicom.FileDataset, index: int) -> None:
        hu = hu_of(ds)
        hu[50:60, 50:60] = 0
        stored_as(ds, hu.astype(np.int16))
        ds.RescaleIntercept = 0
        ds.add_new("PixelPaddingValue", "SS", 0)

    spoilt(phantom_slices, tmp_path, inside)
    volume = kcalc.read_volume(tmp_path)
    assert (volume.array[:, 50:60, 50:60] == 0).all()
    assert told(volume)["PADDING_IN_RANGE"] == "warning"
    count = int(message(volume, "PADDING_IN_RANGE").split()[0])
    assert count >= 100 * NUM_SLICES


def test_b06_values_that_are_not_finite_are_refused_with_their_count(
    phantom_slices: Path, tmp_path: Path
) -> None:
    volume = kcalc.read_volume(phantom_slices)
    values = volume.array.astype(np.float32)
    write_nifti(tmp_path / "clean.nii.gz", values, volume.geometry)
    image = nibabel.load(tmp_path / "clean.nii.gz")
    data = np.asarray(image.dataobj).copy()
    data[3, 4, 5], data[6, 7, 8], data[1, 1, 1] = np.nan, np.inf, -np.inf
    nibabel.save(nibabel.Nifti1Image(data, image.affine), tmp_path / "bad.nii.gz")
    error = refused(tmp_path / "bad.nii.gz", "HU_NAN")
    assert f"3 of {data.size} are NaN or infinite" in str(error)
    assert kcalc.read_volume(tmp_path / "clean.nii.gz").shape == volume.shape


def test_b07_metal_is_scored_as_it_is_clipped_for_the_network_and_reported(
    phantom_slices: Path, tmp_path: Path
) -> None:
    def metal(ds: pydicom.FileDataset, index: int) -> None:
        hu = hu_of(ds)
        hu[60:66, 60:66] = 9000  # 16-bit CT with an extended scale
        stored_as(ds, (hu + 8192).astype(np.uint16))
        ds.RescaleIntercept = -8192

    spoilt(phantom_slices, tmp_path / "16", metal)
    volume = kcalc.read_volume(tmp_path / "16")
    assert told(volume)["METAL"] == "warning"
    assert f"{36 * NUM_SLICES} voxels" in message(volume, "METAL")
    assert volume.array.max() == 9000
    mask = np.zeros(volume.shape, np.bool_)
    mask[4, 60:66, 60:66] = True
    score = calcium_score(volume.array, mask, volume.spacing_mm, tube_voltage_kvp=120.0)
    (lesion,) = score.lesions
    assert lesion.max_hu == 9000
    spec = InputSpec(window_hu=(-200.0, 1000.0), stack=9, spacing_mm=None)
    assert float(np.max(windowed(volume.array.astype(np.float32), spec))) <= 1.0


def test_b07_twelve_bit_saturation_is_reported_from_a_hundred_voxels_on(
    phantom_slices: Path, tmp_path: Path
) -> None:
    def saturated(ds: pydicom.FileDataset, index: int) -> None:
        hu = np.clip(hu_of(ds), -1024, 3071)
        hu[60 : 60 + len(name), 60:70] = 3071
        stored_as(ds, (hu + 1024).astype(np.uint16), bits=12)
        ds.RescaleIntercept = -1024

    for name in ("1", "22"):
        spoilt(phantom_slices, tmp_path / name, saturated)
        noticed = "METAL" in told(kcalc.read_volume(tmp_path / name))
        assert noticed == (len(name) * 10 * NUM_SLICES > 100)


@pytest.mark.parametrize(
    ("agent", "route", "is_contrast"),
    [
        ("ISOVUE 300", "", True),
        ("Ultravist", "INTRAVENOUS", True),
        ("APPLIED", "", True),
        ("NONE", "", False),
        ("No", "", False),
        ("without", "", False),
        ("", "", False),
        ("GASTROGRAFIN", "ORAL", False),
    ],
)
def test_b08_declared_contrast_is_unfit_and_words_for_none_are_not(
    phantom_slices: Path,
    tmp_path: Path,
    agent: str,
    route: str,
    is_contrast: bool,
) -> None:
    tags = {"ContrastBolusAgent": agent, "ContrastBolusRoute": route}
    spoilt(phantom_slices, tmp_path / "in", setting(**tags))
    if not is_contrast:
        assert told(kcalc.read_volume(tmp_path / "in")) == CLEAN
        return
    error = refused(tmp_path / "in", "CONTRAST")
    assert isinstance(error, UnfitError)
    arguments = ["score", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert cli.main(arguments) == 5


def test_b08_undeclared_contrast_is_suspected_from_the_centre(
    phantom_slices: Path, tmp_path: Path
) -> None:
    def brighter(ds: pydicom.FileDataset, index: int) -> None:
        hu = hu_of(ds)
        stored_as(ds, np.where(hu > -200, hu + 150, hu).astype(np.int16))
        ds.RescaleIntercept = 0

    spoilt(phantom_slices, tmp_path, brighter)
    volume = kcalc.read_volume(tmp_path)
    assert told(volume)["CONTRAST"] == "warning"
    assert "central soft tissue" in message(volume, "CONTRAST")


@pytest.mark.parametrize("modality", ["MR", "PT", "US", "CR", "RTIMAGE"])
def test_b09_another_modality_is_refused(
    phantom_slices: Path, tmp_path: Path, modality: str
) -> None:
    spoilt(phantom_slices, tmp_path, setting(Modality=modality))
    assert f"found is {modality}" in str(refused(tmp_path, "MODALITY"))


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["examples_ybr_color.dcm", "gdcm-US-ALOKA-16.dcm", "US1_UNCI.dcm"]
)
def test_b09_real_objects_of_other_modalities_are_refused(
    test_data: Path, name: str
) -> None:
    refused(test_data / "odd-dicom" / name, "MODALITY")


def test_b10_monochrome1_gives_equal_hu_without_inversion(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path / "2")
    spoilt(
        phantom_slices, tmp_path / "1", setting(PhotometricInterpretation="MONOCHROME1")
    )
    one, two = (kcalc.read_volume(tmp_path / name) for name in "12")
    np.testing.assert_array_equal(one.array, two.array)
    assert told(one) == told(two)


@pytest.mark.parametrize("kind", ["RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422"])
def test_b10_colours_are_refused(
    phantom_slices: Path, tmp_path: Path, kind: str
) -> None:
    spoilt(phantom_slices, tmp_path, setting(4, PhotometricInterpretation=kind))
    assert kind in str(refused(tmp_path, "PHOTOMETRIC"))


def test_b10_three_samples_are_refused(phantom_slices: Path, tmp_path: Path) -> None:
    spoilt(phantom_slices, tmp_path, setting(SamplesPerPixel=3))
    refused(tmp_path, "PHOTOMETRIC")


def test_b11_overlays_in_the_high_bits_are_masked_and_counted(
    phantom_slices: Path, tmp_path: Path
) -> None:
    def overlay(ds: pydicom.FileDataset, index: int) -> None:
        stored = (np.clip(hu_of(ds), -1024, 3071) + 1024).astype(np.uint16)
        stored[10:20, 10:20] |= 0x8000
        stored_as(ds, stored, bits=12)
        ds.RescaleIntercept = -1024

    spoilt(phantom_slices, tmp_path / "clean")
    spoilt(phantom_slices, tmp_path / "in", overlay)
    volume = kcalc.read_volume(tmp_path / "in")
    np.testing.assert_array_equal(
        volume.array, kcalc.read_volume(tmp_path / "clean").array
    )
    assert told(volume)["OVERLAY_BITS"] == "correction"
    assert f"{100 * NUM_SLICES} pixels" in message(volume, "OVERLAY_BITS")


def test_b12_a_wrong_sign_and_windowed_values_are_refused(
    phantom_slices: Path, tmp_path: Path
) -> None:
    def unsigned(ds: pydicom.FileDataset, index: int) -> None:
        stored_as(ds, hu_of(ds).astype(np.int16))
        ds.RescaleIntercept, ds.PixelRepresentation = 0, 0

    def as_picture(ds: pydicom.FileDataset, index: int) -> None:
        stored_as(ds, np.clip((hu_of(ds) + 125) * 255 // 350, 0, 255).astype(np.uint16))
        ds.RescaleIntercept = 0

    spoilt(phantom_slices, tmp_path / "sign", unsigned)
    assert "above 20000 HU" in str(refused(tmp_path / "sign", "HU_RANGE"))
    spoilt(phantom_slices, tmp_path / "window", as_picture)
    assert "the lowest value is 0" in str(refused(tmp_path / "window", "HU_RANGE"))


def test_b12_a_crop_without_air_is_accepted(
    phantom_slices: Path, tmp_path: Path
) -> None:
    def crop(ds: pydicom.FileDataset, index: int) -> None:
        hu = np.clip(hu_of(ds), -110, None)
        stored_as(ds, hu.astype(np.int16))
        ds.RescaleIntercept = 0

    spoilt(phantom_slices, tmp_path, crop)
    assert kcalc.read_volume(tmp_path).array.min() == -110


@pytest.mark.parametrize("voltage_kvp", [70, 80, 100, 140])
def test_b13_another_voltage_warns_and_adapts_only_on_request(
    phantom_slices: Path, tmp_path: Path, voltage_kvp: int
) -> None:
    spoilt(phantom_slices, tmp_path / "in", setting(KVP=voltage_kvp))
    volume = kcalc.read_volume(tmp_path / "in")
    assert told(volume)["KVP"] == "warning"
    assert f"{voltage_kvp} kVp" in message(volume, "KVP")
    mask = tmp_path / "mask.nii.gz"
    write_nifti(mask, volume.array >= 100, volume.geometry)
    plain = score_scan(tmp_path / "in", tmp_path / "a", mask_path=mask)
    assert plain.score.rule.threshold_hu == 130
    assert "KVP" in plain.summary()
    options = ScoreOptions(kvp_adapted=True)
    adapted = score_scan(
        tmp_path / "in", tmp_path / "b", mask_path=mask, options=options
    )
    higher = adapted.score.rule.threshold_hu > 130
    assert higher == (voltage_kvp < 120)


def test_b13_an_unknown_voltage_is_unfit(phantom_slices: Path, tmp_path: Path) -> None:
    spoilt(phantom_slices, tmp_path / "in", setting(KVP=None))
    assert told(kcalc.read_volume(tmp_path / "in"))["KVP_UNKNOWN"] == "warning"
    arguments = ["score", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert cli.main(arguments) == 5
    assert not (tmp_path / "out").exists()


def test_b14_noise_and_sharp_kernels_are_told(
    phantom_slices: Path, tmp_path: Path
) -> None:
    def noisy(ds: pydicom.FileDataset, index: int) -> None:
        noise = np.random.default_rng(index).normal(0, 50, (128, 128))
        stored_as(ds, (np.maximum(hu_of(ds), -1024) + noise).astype(np.int16))
        ds.RescaleIntercept = 0

    spoilt(phantom_slices, tmp_path / "noisy", noisy)
    volume = kcalc.read_volume(tmp_path / "noisy")
    assert told(volume)["NOISE"] == "warning"
    told_hu = int(re.findall(r"is (\d+) HU", message(volume, "NOISE"))[0])
    assert 40 < told_hu < 60
    spoilt(phantom_slices, tmp_path / "sharp", setting(ConvolutionKernel="B70f"))
    assert told(kcalc.read_volume(tmp_path / "sharp"))["KERNEL"] == "warning"


@pytest.mark.data
def test_b14_the_noise_of_the_real_phantom_is_near_what_its_readme_says(
    test_data: Path,
) -> None:
    volume = kcalc.read_volume(test_data / "qrm-phantom" / "dicom")
    noise = noise_hu(volume.array)
    assert noise is not None
    assert 14 < noise < 24  # SD 22 HU over large regions


def test_b15_eight_bits_cannot_be_hu(phantom_slices: Path, tmp_path: Path) -> None:
    def eight(ds: pydicom.FileDataset, index: int) -> None:
        picture = np.clip((hu_of(ds) + 125) * 255 // 350, 0, 255).astype(np.uint8)
        stored_as(ds, picture, bits=8)

    spoilt(phantom_slices, tmp_path, eight)
    assert "8 bits" in str(refused(tmp_path, "HU_RANGE"))


@pytest.mark.parametrize(("hu", "word"), [(40, "40 to 40"), (-1000, "-1000 to -1000")])
def test_b16_a_constant_volume_is_refused(
    phantom_slices: Path, tmp_path: Path, hu: int, word: str
) -> None:
    def constant(ds: pydicom.FileDataset, index: int) -> None:
        stored_as(ds, np.full((128, 128), hu, np.int16))
        ds.RescaleIntercept = 0

    spoilt(phantom_slices, tmp_path, constant)
    assert word in str(refused(tmp_path, "EMPTY"))


def test_b16_an_all_air_volume_is_refused(phantom_slices: Path, tmp_path: Path) -> None:
    def air(ds: pydicom.FileDataset, index: int) -> None:
        noise = np.random.default_rng(index).normal(-1000, 10, (128, 128))
        stored_as(ds, noise.astype(np.int16))
        ds.RescaleIntercept = 0

    spoilt(phantom_slices, tmp_path, air)
    refused(tmp_path, "EMPTY")


def test_b17_another_part_of_the_body_is_told(
    phantom_slices: Path, tmp_path: Path
) -> None:
    spoilt(phantom_slices, tmp_path / "in", setting(BodyPartExamined="HEAD"))
    volume = kcalc.read_volume(tmp_path / "in")
    mask = tmp_path / "mask.nii.gz"
    write_nifti(mask, volume.array >= 130, volume.geometry)
    result = score_scan(tmp_path / "in", tmp_path / "out", mask_path=mask)
    assert "BodyPartExamined is HEAD" in result.summary()
    clean = score_scan(phantom_slices, tmp_path / "clean", mask_path=mask)
    assert "BodyPartExamined" not in clean.summary()


@pytest.mark.parametrize("value", ["01", "02"])
def test_b19_lossy_compression_by_its_tag_is_a_warning(
    phantom_slices: Path, tmp_path: Path, value: str
) -> None:
    spoilt(phantom_slices, tmp_path, setting(LossyImageCompression=value))
    lossy = told(kcalc.read_volume(tmp_path)).get("LOSSY")
    assert lossy == ("warning" if value == "01" else None)


@pytest.mark.data
def test_b19_real_lossy_slices_are_refused_at_eight_bits_and_flagged_above(
    test_data: Path, tmp_path: Path
) -> None:
    folder = test_data / "ct-transfer-syntaxes"
    of = {}
    for path in folder.iterdir():
        if not path.name.startswith("LICENSE"):
            ds = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            if "file_meta" in dir(ds):
                of.setdefault(ds.file_meta.get("TransferSyntaxUID"), path)
    for uid, code in (
        (JPEGBaseline8Bit, "HU_RANGE"),
        ("1.2.840.10008.1.2.4.91", "LOSSY"),
    ):
        one = pydicom.dcmread(of[uid])
        series = tmp_path / code
        series.mkdir()
        for index in range(2):
            one.SOPInstanceUID = f"1.2.3.{index}"
            one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
            one.ImagePositionPatient = [0, 0, 3.0 * index]
            one.save_as(series / f"{index}.dcm")
        if code == "HU_RANGE":
            refused(series, code)
        else:
            assert told(kcalc.read_volume(series))["LOSSY"] == "warning"


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qrm-phantom/dicom", {"DERIVED": "warning", "PADDING": "correction"}),
        ("chest-ct", {"FILES_SKIPPED": "note", "PROTOCOL": "warning"}),
    ],
)
def test_b08_b12_the_real_scans_pass_every_check_of_their_values(
    test_data: Path, name: str, expected: dict[str, str]
) -> None:
    assert told(kcalc.read_volume(test_data / name)) == expected
