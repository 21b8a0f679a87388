"""Pixels of a series: faults of section B, and decoders against each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_factory import body_hu, write_series
from pydicom.uid import (
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

import kcalc
from kcalc.errors import InputError, IntensityError
from kcalc.io.codestream import CodedImage, coded_image
from kcalc.io.dicom_header import SliceHeader, read_header
from kcalc.io.dicom_pixels import read_stored
from kcalc.io.pixel_checks import check_pixels

Edit = Callable[[pydicom.FileDataset, int], None]


def codes(volume: kcalc.Volume) -> dict[str, str]:
    """Return finding code -> kind."""
    return {finding.code: finding.kind for finding in volume.findings}


def code_of(path: Path) -> str:
    """Return the code of the refusal that reading must end with."""
    with pytest.raises(InputError, match=r"^[A-Z0-9_]+: ") as caught:
        kcalc.read_volume(path)
    assert caught.value.exit_code == 3
    return caught.value.code


def header_of(path: Path) -> SliceHeader:
    """Return the header of a file that must be DICOM."""
    header = read_header(path)
    assert header is not None
    return header


def with_stored(stored: np.ndarray, **tags: object) -> Edit:
    """Return an edit that puts these stored values and tags into every slice."""

    def edit(ds: pydicom.FileDataset, index: int) -> None:
        for keyword, value in tags.items():
            setattr(ds, keyword, value)
        ds.PixelData = stored[index].tobytes()

    return edit


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_b01_a_missing_rescale_is_refused(tmp_path: Path, keyword: str) -> None:
    def without(ds: pydicom.FileDataset, index: int) -> None:
        if index == 2:
            delattr(ds, keyword)

    paths = write_series(tmp_path, edit=without)
    with pytest.raises(IntensityError, match=f"HU_UNKNOWN.*{keyword}") as caught:
        kcalc.read_volume(tmp_path)
    assert caught.value.path == str(paths[2])


@pytest.mark.parametrize(
    ("value", "code"), [("HU", ""), ("US", ""), ("MGML", "HU_UNKNOWN")]
)
def test_b01_a_rescale_to_another_unit_is_refused(
    tmp_path: Path, value: str, code: str
) -> None:
    def typed(ds: pydicom.FileDataset, index: int) -> None:
        ds.RescaleType = value

    write_series(tmp_path, edit=typed)
    if code:
        assert code_of(tmp_path) == code
        assert kcalc.read_volume(tmp_path, unit="HU").unit == "HU"
    else:
        assert kcalc.read_volume(tmp_path).findings == ()


def test_b02_slope_and_intercept_are_applied_slice_by_slice(tmp_path: Path) -> None:
    def own(ds: pydicom.FileDataset, index: int) -> None:
        slope, intercept = index + 1, -2000 * index - 1200
        ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
        stored = (body_hu()[index].astype(int) - intercept) // slope
        ds.PixelData = stored.astype("<u2").tobytes()

    write_series(tmp_path, edit=own)
    array = kcalc.read_volume(tmp_path).array
    assert array.dtype == np.int16
    error = body_hu() - array
    assert error.min() >= 0
    assert (error.max(axis=(1, 2)) <= np.arange(5)).all()


def test_a_negative_slope_is_applied(tmp_path: Path) -> None:
    stored = (2000 - body_hu()).astype("<u2")
    edit = with_stored(stored, RescaleSlope=-1, RescaleIntercept=2000)
    write_series(tmp_path, edit=edit)
    np.testing.assert_array_equal(kcalc.read_volume(tmp_path).array, body_hu())


@pytest.mark.parametrize("value", ["0", "NaN", "inf", "1,5"])
def test_b03_a_slope_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    def slope(ds: pydicom.FileDataset, index: int) -> None:
        del ds.RescaleSlope
        ds.add_new("RescaleSlope", "LO", value)

    write_series(tmp_path, edit=slope)
    assert code_of(tmp_path) == "HU_RESCALE"


def test_b03_an_intercept_that_is_none_is_refused(tmp_path: Path) -> None:
    def intercept(ds: pydicom.FileDataset, index: int) -> None:
        del ds.RescaleIntercept
        ds.add_new("RescaleIntercept", "LO", "nan")

    write_series(tmp_path, edit=intercept)
    assert code_of(tmp_path) == "HU_RESCALE"


@pytest.mark.parametrize("padding", [-2000, -3024, -32768])
@pytest.mark.parametrize("tagged", [True, False])
def test_b04_padding_below_air_becomes_air(
    tmp_path: Path, padding: int, tagged: bool
) -> None:
    stored = body_hu().astype("<i2")
    stored[:, 0, :] = padding
    tags: dict[str, object] = {"PixelRepresentation": 1, "RescaleIntercept": 0}
    if tagged:
        tags["PixelPaddingValue"] = padding
    write_series(tmp_path, edit=with_stored(stored, **tags))
    volume = kcalc.read_volume(tmp_path)
    assert (volume.array[:, 0, :] == -1024).all()
    np.testing.assert_array_equal(volume.array[:, 1:], body_hu()[:, 1:])
    assert codes(volume) == {"PADDING": "correction"}
    assert volume.findings[0].message.startswith("80 values below -1024 HU")


def test_b04_padding_inside_the_hu_range_is_kept_and_reported(tmp_path: Path) -> None:
    def tagged(ds: pydicom.FileDataset, index: int) -> None:
        ds.PixelPaddingValue = 40 + 1024

    write_series(tmp_path, edit=tagged)
    volume = kcalc.read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, body_hu())
    assert codes(volume) == {"PADDING_IN_RANGE": "warning"}


def test_b07_metal_is_kept_and_reported(tmp_path: Path) -> None:
    array_hu = body_hu()
    array_hu[:, 4:9, 4:9] = 6000
    write_series(tmp_path, array_hu)
    volume = kcalc.read_volume(tmp_path)
    assert volume.array.max() == 6000
    assert codes(volume)["METAL"] == "warning"


def test_b08_a_bright_centre_is_reported_as_possible_contrast(tmp_path: Path) -> None:
    array_hu = np.full((5, 64, 64), -1000, np.int16)
    array_hu[:, 8:-8, 8:-8] = 250
    write_series(tmp_path, array_hu)
    assert codes(kcalc.read_volume(tmp_path)) == {"CONTRAST": "warning"}


def test_b10_monochrome1_gives_the_same_hu(tmp_path: Path) -> None:
    def inverse(ds: pydicom.FileDataset, index: int) -> None:
        ds.PhotometricInterpretation = "MONOCHROME1"

    write_series(tmp_path, edit=inverse)
    np.testing.assert_array_equal(kcalc.read_volume(tmp_path).array, body_hu())


@pytest.mark.parametrize(
    ("photometric", "samples"),
    [("RGB", 3), ("PALETTE COLOR", 1), ("YBR_FULL", 3), ("", 1)],
)
def test_b10_colours_are_refused(
    tmp_path: Path, photometric: str, samples: int
) -> None:
    def colour(ds: pydicom.FileDataset, index: int) -> None:
        ds.PhotometricInterpretation, ds.SamplesPerPixel = photometric, samples

    write_series(tmp_path, edit=colour)
    assert code_of(tmp_path) == "PHOTOMETRIC"


@pytest.mark.parametrize("signed", [0, 1])
def test_b11_overlay_bits_are_masked_and_counted(tmp_path: Path, signed: int) -> None:
    intercept = 0 if signed else -1024
    stored = (body_hu().astype(int) - intercept) & 0x0FFF
    if signed:
        stored = np.where(stored & 0x800, stored | 0xF000, stored)
    stored[:, 4, 4] ^= 0x8000
    edit = with_stored(
        stored.astype("<u2"),
        PixelRepresentation=signed,
        RescaleIntercept=intercept,
        BitsStored=12,
        HighBit=11,
    )
    write_series(tmp_path, edit=edit)
    volume = kcalc.read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, body_hu())
    assert codes(volume) == {"OVERLAY_BITS": "correction"}


@pytest.mark.parametrize(
    "tags",
    [
        {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31},
        {"BitsStored": 12, "HighBit": 15},
        {"BitsStored": 17, "HighBit": 16},
        {"PixelRepresentation": 7},
    ],
)
def test_pixel_descriptions_that_contradict_themselves_are_refused(
    tmp_path: Path, tags: dict[str, int]
) -> None:
    stored = body_hu().astype("<i2")
    write_series(tmp_path, edit=with_stored(stored, **tags))
    assert code_of(tmp_path) == "BITS"


def test_b12_signed_pixels_read_as_unsigned_are_refused(tmp_path: Path) -> None:
    stored = body_hu().astype("<i2")
    write_series(tmp_path, edit=with_stored(stored, RescaleIntercept=0))
    assert code_of(tmp_path) == "HU_RANGE"


def test_b12_a_missing_air_peak_is_no_reason_to_refuse(tmp_path: Path) -> None:
    array_hu = np.maximum(body_hu(), -120)
    write_series(tmp_path, array_hu)
    assert kcalc.read_volume(tmp_path).array.min() == -120


def test_b15_windowed_values_are_refused(tmp_path: Path) -> None:
    windowed = np.clip((body_hu() + 200) // 4, 0, 255).astype("<u2")
    write_series(tmp_path, edit=with_stored(windowed, RescaleIntercept=0))
    assert code_of(tmp_path) == "HU_RANGE"


def test_b15_eight_bit_pixels_are_refused(tmp_path: Path) -> None:
    windowed = np.zeros((5, 16, 16), "u1")
    edit = with_stored(windowed, BitsAllocated=8, BitsStored=8, HighBit=7)
    write_series(tmp_path, edit=edit)
    assert code_of(tmp_path) == "HU_RANGE"


@pytest.mark.parametrize("value", [-1000, 0, 40])
def test_b16_a_constant_volume_is_refused(tmp_path: Path, value: int) -> None:
    write_series(tmp_path, np.full((3, 8, 8), value, np.int16))
    assert code_of(tmp_path) == "EMPTY"


def test_b16_an_all_air_volume_is_refused(tmp_path: Path) -> None:
    array_hu = np.full((3, 8, 8), -1000, np.int16)
    array_hu[1, 2, 3] = -950
    write_series(tmp_path, array_hu)
    assert code_of(tmp_path) == "EMPTY"


def test_b19_lossy_compression_is_reported(tmp_path: Path) -> None:
    def lossy(ds: pydicom.FileDataset, index: int) -> None:
        ds.LossyImageCompression = "01"

    write_series(tmp_path, edit=lossy)
    volume = kcalc.read_volume(tmp_path)
    assert codes(volume) == {"LOSSY": "warning"}
    assert "5 of 5" in volume.findings[0].message


def test_fractional_hu_are_kept_as_float32(tmp_path: Path) -> None:
    def half(ds: pydicom.FileDataset, index: int) -> None:
        ds.RescaleSlope = "0.5"
        stored = 2 * (body_hu()[index].astype(int) + 1024) + 1
        ds.PixelData = stored.astype("<u2").tobytes()

    write_series(tmp_path, edit=half)
    array = kcalc.read_volume(tmp_path).array
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, body_hu() + 0.5)


def test_c04_excess_bytes_after_the_pixels_are_noted(tmp_path: Path) -> None:
    def more(ds: pydicom.FileDataset, index: int) -> None:
        ds.PixelData += bytes(64)

    write_series(tmp_path, edit=more)
    volume = kcalc.read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, body_hu())
    assert codes(volume) == {"EXCESS_BYTES": "correction"}


def test_big_endian_pixels_and_padding_are_read(tmp_path: Path) -> None:
    for index, path in enumerate(write_series(tmp_path)):
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        ds.PixelPaddingValue = 1
        ds["PixelPaddingValue"].VR = "US"
        ds.PixelData = (body_hu()[index] + 1024).astype(">u2").tobytes()
        pydicom.dcmwrite(
            path, ds, implicit_vr=False, little_endian=False, force_encoding=True
        )
    assert header_of(path).integers["PixelPaddingValue"] == 1
    np.testing.assert_array_equal(kcalc.read_volume(tmp_path).array, body_hu())


@pytest.mark.parametrize("uid", [JPEGLSLossless, JPEG2000Lossless, RLELossless])
def test_lossless_compression_gives_the_same_volume(tmp_path: Path, uid: str) -> None:
    # The encoder of JPEG 2000 wants at least 32 pixels for its six resolutions.
    array_hu = np.tile(body_hu(), (1, 4, 4))
    for path in write_series(tmp_path, array_hu):
        ds = pydicom.dcmread(path)
        ds.compress(uid, generate_instance_uid=False)
        ds.save_as(path)
    np.testing.assert_array_equal(kcalc.read_volume(tmp_path).array, array_hu)


def test_c05_damaged_compressed_pixels_are_refused(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        ds = pydicom.dcmread(path)
        ds.compress(JPEGLSLossless, generate_instance_uid=False)
        ds.save_as(path)
    raw = bytearray(path.read_bytes())
    start = raw.index(b"\xff\xd8\xff\xf7")
    raw[start + 13 : start + 40] = bytes(27)
    path.write_bytes(raw)
    assert code_of(tmp_path) == "DECODER"


def test_c06_a_codestream_larger_than_its_header_is_refused_before_decoding(
    tmp_path: Path,
) -> None:
    for path in write_series(tmp_path):
        ds = pydicom.dcmread(path)
        ds.compress(JPEGLSLossless, generate_instance_uid=False)
        ds.save_as(path)
    raw = bytearray(path.read_bytes())
    start = raw.index(b"\xff\xd8\xff\xf7")
    raw[start + 7 : start + 11] = (60000).to_bytes(2, "big") * 2
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"inside is \(60000, 60000\), the header"):
        kcalc.read_volume(tmp_path)


@pytest.mark.parametrize(
    ("uid", "words"),
    [
        ("1.2.840.10008.1.2.4.53", r"Spectral Selection.*has no decoder"),
        ("1.2.3.4.5", "unknown or private"),
    ],
)
def test_c05_a_transfer_syntax_without_decoder_is_named(
    tmp_path: Path, uid: str, words: str
) -> None:
    for path in write_series(tmp_path):
        raw = path.read_bytes()
        old = b"1.2.840.10008.1.2.1\0"
        position = raw.index(b"\x02\x00\x10\x00UI") + 8
        padded = uid.encode().ljust(len(uid) + len(uid) % 2, b"\0")
        change = len(padded) - len(old)
        raw = (
            raw[: position - 2]
            + len(padded).to_bytes(2, "little")
            + padded
            + raw[position + len(old) :]
        )
        size = int.from_bytes(raw[140:144], "little") + change
        path.write_bytes(raw[:140] + size.to_bytes(4, "little") + raw[144:])
    with pytest.raises(InputError, match=rf"DECODER.*{uid}.*{words}"):
        kcalc.read_volume(tmp_path)


def test_c05_a_decoder_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in write_series(tmp_path):
        ds = pydicom.dcmread(path)
        ds.compress(JPEGLSLossless, generate_instance_uid=False)
        ds.save_as(path)
    from pydicom.pixels.decoders.base import Decoder

    monkeypatch.setattr(Decoder, "is_available", property(lambda self: False))
    with pytest.raises(InputError, match=r"DECODER.*4\.80.*kcalc\[decode\]"):
        kcalc.read_volume(tmp_path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        # Decoders ended the process at the first, took seconds for the second.
        (
            lambda raw: raw.replace(b"\xff\xf7\0\x0b\x10", b"\xff\xf7\0\x0b\x11"),
            "17 bits",
        ),
        (lambda raw: raw.replace(b"\xff\xd9", b"\0\0"), "before its end marker"),
    ],
)
def test_c5_a_jpeg_ls_stream_of_too_many_bits_or_no_end_reaches_no_decoder(
    damage: Callable[[bytes], bytes], words: str, tmp_path: Path
) -> None:
    first, *_ = write_series(tmp_path)
    for path in tmp_path.iterdir():
        ds = pydicom.dcmread(path)
        ds.compress(JPEGLSLossless, generate_instance_uid=False)
        ds.save_as(path)
    first.write_bytes(damage(first.read_bytes()))
    with pytest.raises(InputError, match=f"DECODER.*{words}"):
        kcalc.read_volume(tmp_path)


def test_the_size_inside_a_stream_is_found() -> None:
    numbers = (300, 200, 44, 0, 100, 100, 0, 0)
    siz = b"\xff\x4f\xff\x51" + bytes(4)
    siz += b"".join(n.to_bytes(4, "big") for n in numbers) + b"\x00\x03\x0b"
    assert coded_image(siz) == CodedImage((200, 256), 3, 12, 6)
    sof = b"\xff\xd8\xff\xf7\x00\x0b\x10\x02\x00\x01\x00\x01"
    assert coded_image(sof) == CodedImage((512, 256), 1, 16)
    assert coded_image(siz[:42]) is None
    assert coded_image(b"\xff\xd8") is None
    assert coded_image(b"RLE or anything else") is None
    assert coded_image(b"") is None


LOSSLESS = (
    *("BigEndianExplicit", "DeflatedExplicit", "JPEG2000LosslessOnly"),
    *("JPEGLSLossless", "JPEGProcess14SV1", "JPEGProcess14Transfer"),
    *("LittleEndianExplicit", "LittleEndianImplicit", "RLELossless"),
)


@pytest.mark.data
@pytest.mark.parametrize("name", LOSSLESS)
def test_real_lossless_syntaxes_decode_to_the_same_pixels(
    test_data: Path, name: str
) -> None:
    folder = test_data / "ct-transfer-syntaxes"
    (path,) = folder.glob(f"CTImage.dcm_{name}*")
    header = header_of(path)
    assert check_pixels([header], path, hounsfield=True, rescale_required=True) == [
        (1.0, -1024.0)
    ]
    stored = read_stored(header)
    reference = pydicom.dcmread(folder / "CTImage.dcm").pixel_array
    np.testing.assert_array_equal(stored, reference)
    assert (stored.min(), stored.max()) == (-2000, 2402)


@pytest.mark.data
def test_a_real_jpeg2000_with_the_wrong_sign_is_put_right(test_data: Path) -> None:
    header = header_of(test_data / "odd-dicom" / "J2K_pixelrep_mismatch.dcm")
    stored = read_stored(header)
    assert (stored.min(), stored.max()) == (-2000, 1896)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("JPEGProcess1Transfer", "HU_RANGE"),
        ("JPEGProcess6_8", "DECODER"),
        ("JPEGProcess10_12", "DECODER"),
        ("JPEGProcess2_4", "DECODER"),
        ("JPEG2000Transfer", "LOSSY"),
        ("JPEGLSLossy", "LOSSY"),
    ],
)
def test_b19_real_lossy_slices_are_refused_or_flagged(
    test_data: Path, tmp_path: Path, name: str, expected: str
) -> None:
    (path,) = (test_data / "ct-transfer-syntaxes").glob(f"CTImage.dcm_{name}*")
    for index in range(3):
        ds = pydicom.dcmread(path)
        ds.SOPInstanceUID = f"1.2.3.{index}"
        ds.ImagePositionPatient = [0, 0, 5 * index]
        ds.save_as(tmp_path / f"{index}.dcm")
    if expected == "LOSSY":
        volume = kcalc.read_volume(tmp_path)
        assert codes(volume)["LOSSY"] == "warning"
    else:
        assert code_of(tmp_path) == expected
