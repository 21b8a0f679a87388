"""Enhanced multi-frame CT: every frame is checked like a slice (fault A20)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import body_hu, ct_slice
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

import kcalc
from kcalc.errors import InputError

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_CONVERTED_CT = "1.2.840.10008.5.1.4.1.1.2.2"

Edit = Callable[[FileDataset], None]


def item(**values: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def group(**values: Any) -> Sequence:
    return Sequence([item(**values)])


def write_enhanced(
    path: Path,
    array_hu: np.ndarray | None = None,
    *,
    slopes: list[float] | None = None,
    order: list[int] | None = None,
    sop_class: str = ENHANCED_CT,
    syntax: str = ExplicitVRLittleEndian,
    edit: Edit | None = None,
) -> Path:
    """Write an Enhanced CT: shared orientation and spacing, the rest per frame."""
    array_hu = body_hu() if array_hu is None else array_hu
    count = len(array_hu)
    slopes = [1.0] * count if slopes is None else slopes
    order = list(range(count)) if order is None else order
    ds = ct_slice(array_hu[0], position_xyz_mm=(0, 0, 0), series_uid="1.2.840.99.7")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    for keyword in (
        *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "KVP"),
        *("SliceThickness", "RescaleSlope", "RescaleIntercept", "ConvolutionKernel"),
    ):
        delattr(ds, keyword)
    ds.NumberOfFrames = count
    ds.SharedFunctionalGroupsSequence = group(
        PlaneOrientationSequence=group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelMeasuresSequence=group(PixelSpacing=[0.5, 0.5], SliceThickness=3),
        CTXRayDetailsSequence=group(KVP=100),
        CTReconstructionSequence=group(ConvolutionKernel="B35f"),
    )
    frames, stored = [], []
    for index in order:
        slope = slopes[index]
        values = (array_hu[index].astype(np.float64) + 1024) / slope
        stored.append(np.rint(values).astype("<u2"))
        frames.append(
            item(
                PlanePositionSequence=group(ImagePositionPatient=[-10, -20, 3 * index]),
                PixelValueTransformationSequence=group(
                    RescaleSlope=slope, RescaleIntercept=-1024, RescaleType="HU"
                ),
                CTImageFrameTypeSequence=group(
                    FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
                ),
            )
        )
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.PixelData = np.stack(stored).tobytes()
    ds.file_meta.TransferSyntaxUID = syntax
    if edit is not None:
        edit(ds)
    if syntax in (JPEGLSLossless, RLELossless):
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.compress(syntax, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def refusal(path: Path, **arguments: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        kcalc.read_volume(path, **arguments)
    return caught.value


@pytest.mark.parametrize("sop_class", [ENHANCED_CT, LEGACY_CONVERTED_CT])
def test_a20_frames_are_read_with_their_positions_and_rescale(
    tmp_path: Path, sop_class: str
) -> None:
    path = write_enhanced(
        tmp_path / "e.dcm",
        slopes=[1.0, 2.0, 1.0, 4.0, 1.0],
        order=[3, 0, 4, 2, 1],
        sop_class=sop_class,
    )
    volume = kcalc.read_volume(path)
    expected = body_hu()
    # Slopes of 2 and 4 store 301 and 303 HU to the nearest step.
    expected[1, 8, 8], expected[3, 8, 8] = 300, 304
    np.testing.assert_array_equal(volume.array, expected)
    assert volume.spacing_mm == pytest.approx((3.0, 0.5, 0.5))
    assert volume.geometry.affine_lps[:3, 3].tolist() == [-10, -20, 0]
    assert volume.acquisition.tube_voltage_kvp == 100
    assert volume.acquisition.convolution_kernel == "B35f"
    assert volume.acquisition.slice_thickness_mm == 3
    assert [f.frame_number for f in volume.frames] == [2, 5, 4, 1, 3]
    assert len({f.sop_instance_uid for f in volume.frames}) == 1


@pytest.mark.parametrize(
    "syntax", [JPEGLSLossless, RLELossless, DeflatedExplicitVRLittleEndian]
)
def test_a20_compressed_frames_give_the_same_volume(
    tmp_path: Path, syntax: str
) -> None:
    path = write_enhanced(tmp_path / "e.dcm", order=[3, 0, 4, 2, 1], syntax=syntax)
    np.testing.assert_array_equal(kcalc.read_volume(path).array, body_hu())


def test_a20_two_objects_of_one_series_make_one_volume(tmp_path: Path) -> None:
    array = body_hu(8)

    def second(ds: FileDataset) -> None:
        for k, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
            position = [-10, -20, 12 + 3 * k]
            frame.PlanePositionSequence[0].ImagePositionPatient = position

    write_enhanced(tmp_path / "a.dcm", array[:4])
    write_enhanced(tmp_path / "b.dcm", array[4:], edit=second)
    np.testing.assert_array_equal(kcalc.read_volume(tmp_path).array, array)


def test_a20_the_same_object_twice_is_dropped_as_copies(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "a.dcm")
    (tmp_path / "copy.dcm").write_bytes(path.read_bytes())
    volume = kcalc.read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, body_hu())
    assert "DUPLICATE_FILE" in {f.code for f in volume.findings}


def drop_frame(ds: FileDataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence[2]


def without_groups(ds: FileDataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence


def without_rescale(ds: FileDataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence[2].PixelValueTransformationSequence


def without_position(ds: FileDataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence


def gap(ds: FileDataset) -> None:
    for frame in ds.PerFrameFunctionalGroupsSequence[3:]:
        frame.PlanePositionSequence[0].ImagePositionPatient[2] += 3


def same_position(ds: FileDataset) -> None:
    frames = ds.PerFrameFunctionalGroupsSequence
    frames[1].PlanePositionSequence = frames[0].PlanePositionSequence


def many_frames(ds: FileDataset) -> None:
    ds.NumberOfFrames = 10**9


def contrast(ds: FileDataset) -> None:
    ds.ContrastBolusAgentSequence = group(
        CodeMeaning="Iohexol",
        ContrastBolusAdministrationRouteSequence=group(CodeMeaning="Intravenous route"),
    )


def colour(ds: FileDataset) -> None:
    ds.PixelPresentation = "COLOR"


def perfusion(ds: FileDataset) -> None:
    for frame in ds.PerFrameFunctionalGroupsSequence:
        kind = ["DERIVED", "PRIMARY", "PERFUSION", "RCBF"]
        frame.CTImageFrameTypeSequence[0].FrameType = kind


def cut_pixels(ds: FileDataset) -> None:
    ds.PixelData = ds.PixelData[:-64]


def other_unit(ds: FileDataset) -> None:
    for frame in ds.PerFrameFunctionalGroupsSequence:
        frame.PixelValueTransformationSequence[0].RescaleType = "MGML"


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (drop_frame, "ENHANCED_UNSUPPORTED"),
        (without_groups, "ENHANCED_UNSUPPORTED"),
        (many_frames, "ENHANCED_UNSUPPORTED"),
        (without_rescale, "HU_UNKNOWN"),
        (other_unit, "HU_UNKNOWN"),
        (without_position, "GEOM_POSITION"),
        (gap, "GEOM_GAP"),
        (same_position, "GEOM_DUP"),
        (contrast, "CONTRAST"),
        (colour, "NO_IMAGE"),
        (perfusion, "NO_IMAGE"),
        (cut_pixels, "TRUNCATED"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a20_a_frame_with_a_defect_is_refused_like_a_slice(
    tmp_path: Path, edit: Edit, code: str
) -> None:
    assert refusal(write_enhanced(tmp_path / "e.dcm", edit=edit)).code == code


def test_a20_oral_or_no_contrast_is_accepted(tmp_path: Path) -> None:
    def oral(ds: FileDataset) -> None:
        contrast(ds)
        agent = ds.ContrastBolusAgentSequence[0]
        agent.ContrastBolusAdministrationRouteSequence[0].CodeMeaning = "Oral route"

    def not_given(ds: FileDataset) -> None:
        contrast(ds)
        shared = ds.SharedFunctionalGroupsSequence[0]
        shared.ContrastBolusUsageSequence = group(ContrastBolusAgentAdministered="NO")

    for name, edit in (("oral", oral), ("none", not_given)):
        kcalc.read_volume(write_enhanced(tmp_path / f"{name}.dcm", edit=edit))


def test_a20_an_undescribed_object_beside_a_series_is_set_aside(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "e.dcm", edit=without_groups)
    write_enhanced(tmp_path / "good.dcm")
    volume = kcalc.read_volume(tmp_path)
    (note,) = [f.message for f in volume.findings if f.code == "FILES_SET_ASIDE"]
    assert "1 multi-frame" in note


def test_a20_groups_that_cannot_be_parsed_are_refused(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "e.dcm")
    content = bytearray(path.read_bytes())
    tag = content.find(b"\x00\x52\x30\x92")  # per-frame functional groups
    content[tag + 8 : tag + 12] = (40).to_bytes(4, "little")
    path.write_bytes(content)
    assert refusal(path).code in ("DICOM_BROKEN", "ENHANCED_UNSUPPORTED", "TRUNCATED")


@pytest.mark.data
def test_a20_the_real_perfusion_maps_are_no_scan(test_data: Path) -> None:
    path = test_data / "odd-dicom" / "eCT_Supplemental.dcm"
    assert pydicom.dcmread(path).NumberOfFrames == 2
    error = refusal(path)
    assert error.code == "NO_IMAGE"
    assert "2 colour map" in str(error)
