"""NIfTI: scans in, masks out and back in, whatever a viewer did to them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from dicom_factory import body_hu, write_series

import kcalc
from kcalc.errors import GeometryError, InputError, ResourceError
from kcalc.geometry import Geometry
from kcalc.io.nifti import read_mask, write_nifti

RAS = np.diag([-0.5, -0.5, 3.0, 1.0])


def save(
    path: Path, array_zyx: npt.NDArray[Any], affine: npt.NDArray[Any] | None = None
) -> Path:
    """Write a NIfTI by nibabel alone."""
    image = nibabel.Nifti1Image(array_zyx.T, RAS if affine is None else affine)
    nibabel.save(image, path)
    return path


def code_of(path: Path, **arguments: Any) -> str:
    """Return the code of the refusal that reading must end with."""
    with pytest.raises(InputError, match=r"^[A-Z0-9_]+: ") as caught:
        kcalc.read_volume(path, **arguments)
    assert caught.value.path == str(path)
    return caught.value.code


def labels() -> npt.NDArray[np.uint8]:
    """Return a mask without any symmetry on a 3 x 4 x 5 grid."""
    return (np.arange(60) % 7).astype(np.uint8).reshape(3, 4, 5)


def grid(reverse: bool = False) -> Geometry:
    """Return an axial grid of 3 x 4 x 5, optionally cranial to caudal."""
    geometry = Geometry.axial((3, 4, 5), (3.0, 0.5, 0.7), (-12.5, 30.25, -117.0))
    if not reverse:
        return geometry
    affine = geometry.affine_lps.copy()
    affine[:3, 0] *= -1
    return Geometry((3, 4, 5), affine)


def test_a_scan_is_read_on_its_stored_grid(tmp_path: Path) -> None:
    path = save(tmp_path / "scan.nii.gz", body_hu())
    volume = kcalc.read_volume(path)
    np.testing.assert_array_equal(volume.array, body_hu())
    assert volume.array.dtype == np.int16
    assert volume.array.flags.c_contiguous
    assert volume.spacing_mm == (3.0, 0.5, 0.5)
    assert volume.geometry.index_to_mm((1, 2, 4)).tolist() == [2.0, 1.0, 3.0]
    assert volume.acquisition.tube_voltage_kvp is None
    assert [f.code for f in volume.findings] == ["UNIT_ASSUMED", "KVP_UNKNOWN"]


def test_unit_and_voltage_can_be_given(tmp_path: Path) -> None:
    path = save(tmp_path / "scan.nii", body_hu())
    volume = kcalc.read_volume(path, unit="HU", tube_voltage_kvp=120)
    assert volume.acquisition.tube_voltage_kvp == 120.0
    assert [f.code for f in volume.findings] == ["KVP_GIVEN"]
    volume = kcalc.read_volume(path, modality="MR")
    assert volume.unit == "arbitrary"
    assert volume.array.dtype == np.float32


def test_whole_floats_become_int16_and_fractions_stay(tmp_path: Path) -> None:
    path = save(tmp_path / "whole.nii.gz", body_hu().astype(np.float64))
    assert kcalc.read_volume(path).array.dtype == np.int16
    path = save(tmp_path / "fraction.nii.gz", body_hu() + np.float32(0.25))
    volume = kcalc.read_volume(path)
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, body_hu() + np.float32(0.25))


def test_scaled_integers_are_rescaled(tmp_path: Path) -> None:
    stored = (body_hu() // 2 + 24).astype(np.int16)
    raw = bytearray(nibabel.Nifti1Image(stored.T, RAS).to_bytes())
    raw[112:120] = np.array([2.0, -48.0], "<f4").tobytes()
    path = tmp_path / "scan.nii"
    path.write_bytes(raw)
    np.testing.assert_array_equal(kcalc.read_volume(path).array, body_hu() // 2 * 2)


def test_b04_padding_is_set_to_air(tmp_path: Path) -> None:
    array_hu = body_hu()
    array_hu[:, 0] = -3024
    volume = kcalc.read_volume(save(tmp_path / "scan.nii", array_hu))
    assert volume.array.min() == -1024
    assert volume.findings[0].kind == "correction"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_b06_values_that_are_not_finite_are_counted(
    tmp_path: Path, value: float
) -> None:
    array_hu = body_hu().astype(np.float32)
    array_hu[1, 2, 3:5] = value
    path = save(tmp_path / "scan.nii.gz", array_hu)
    with pytest.raises(InputError, match=r"HU_NAN.* 2 of 1280"):
        kcalc.read_volume(path)


def test_b12_b16_values_that_cannot_be_hu_are_refused(tmp_path: Path) -> None:
    assert code_of(save(tmp_path / "a.nii", body_hu() + 1024)) == "HU_RANGE"
    assert code_of(save(tmp_path / "b.nii", np.zeros((3, 4, 5)))) == "EMPTY"
    array_hu = body_hu().astype(np.int32)
    array_hu[:, 4, 4] = 64500
    assert code_of(save(tmp_path / "c.nii", array_hu)) == "HU_RANGE"


def test_c14_a_singular_or_sheared_affine_is_refused(tmp_path: Path) -> None:
    affine = RAS.copy()
    affine[1, 2] = 0.6
    path = save(tmp_path / "sheared.nii", body_hu(), affine)
    with pytest.raises(InputError, match=r"NIFTI_AFFINE.*11\.3 degrees"):
        kcalc.read_volume(path)
    image = nibabel.Nifti1Image(body_hu().T, RAS)
    image.header["srow_z"] = 0
    path = tmp_path / "singular.nii"
    path.write_bytes(image.to_bytes())
    raw = bytearray(path.read_bytes())
    raw[312:328] = bytes(16)
    path.write_bytes(raw)
    assert code_of(path) == "NIFTI_AFFINE"


def test_c14_dimensions_other_than_three_are_refused(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), RAS)
    nibabel.save(image, tmp_path / "four.nii.gz")
    assert code_of(tmp_path / "four.nii.gz") == "NIFTI_DIMS"
    image = nibabel.Nifti1Image(body_hu().T[..., None], RAS)
    nibabel.save(image, tmp_path / "single.nii.gz")
    assert kcalc.read_volume(tmp_path / "single.nii.gz").shape == (5, 16, 16)
    assert code_of(save(tmp_path / "one.nii", body_hu(1))) == "GEOM_SINGLE"


def test_c14_colours_and_infinite_scales_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "complex.nii", body_hu().astype(np.complex64))
    assert code_of(path) == "NIFTI_DTYPE"
    raw = bytearray(save(tmp_path / "scale.nii", body_hu()).read_bytes())
    raw[112:116] = np.float32(np.inf).tobytes()
    (tmp_path / "scale.nii").write_bytes(raw)
    assert code_of(tmp_path / "scale.nii") == "NIFTI_SCALE"


@pytest.mark.parametrize(("size", "code"), [(30000, "BUDGET"), (1000, "TRUNCATED")])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_c14_huge_dimensions_are_refused_before_allocation(
    tmp_path: Path, size: int, code: str, suffix: str
) -> None:
    raw = bytearray(nibabel.Nifti1Image(body_hu().T, RAS).to_bytes())
    raw[42:48] = np.array([size] * 3, "<i2").tobytes()
    path = tmp_path / f"huge{suffix}"
    path.write_bytes(gzip.compress(raw) if suffix == ".nii.gz" else raw)
    assert code_of(path) == code


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_broken_and_absent_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"scan{suffix}", body_hu())
    raw = path.read_bytes()
    for content in (b"", b"text", raw[:100], raw[: len(raw) // 2], raw[:-9]):
        path.write_bytes(content)
        assert code_of(path) in ("TRUNCATED", "NIFTI_BROKEN")
    assert code_of(tmp_path / f"none{suffix}") == "NOT_FOUND"


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_c18_mutated_files_end_in_a_refusal_or_a_volume(
    tmp_path: Path, suffix: str
) -> None:
    raw = nibabel.Nifti1Image(body_hu().T, RAS).to_bytes()
    generator = np.random.default_rng(18)
    path = tmp_path / f"scan{suffix}"
    num_read = 0
    for _ in range(1500):
        mutated = bytearray(raw)
        for where in generator.integers(0, 352, 2):
            mutated[where] ^= 1 << int(generator.integers(8))
        content = gzip.compress(mutated, 1) if suffix == ".nii.gz" else mutated
        if generator.random() < 0.2:
            content = content[: int(generator.integers(len(content)))]
        path.write_bytes(content)
        for read in (kcalc.read_volume, lambda file: read_mask(file, grid())):
            try:
                num_read += read(path) is not None
            except InputError as error:
                assert error.exit_code == 3
    assert 0 < num_read < 3000


def test_a10_slices_along_another_axis_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "sagittal.nii", body_hu(), RAS[[2, 0, 1, 3]])
    with pytest.raises(InputError, match=r"GEOM_ORIENT.*90\.0 degrees"):
        kcalc.read_volume(path)


def test_a10_slightly_oblique_slices_are_reported(tmp_path: Path) -> None:
    angle = np.radians(3.0)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    volume = kcalc.read_volume(save(tmp_path / "scan.nii", body_hu(), turn @ RAS))
    found = {f.code: f.message for f in volume.findings}
    assert "3.00 degrees" in found["GEOM_OBLIQUE"]


def test_values_beyond_int16_are_clipped_and_counted(tmp_path: Path) -> None:
    array_hu = body_hu(8, 32).astype(np.int32)
    array_hu[2, 8, 8:11] = 70000
    volume = kcalc.read_volume(save(tmp_path / "scan.nii", array_hu))
    found = {f.code: (f.kind, f.message) for f in volume.findings}
    assert found["HU_CLIPPED"][0] == "correction"
    assert found["HU_CLIPPED"][1].startswith("3 values")


def test_a_file_without_permission_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path = save(tmp_path / "scan.nii.gz", body_hu())
    monkeypatch.setattr(nibabel, "load", forbidden)
    assert code_of(path) == "UNREADABLE"


def test_a_series_named_for_a_nifti_file_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "scan.nii", body_hu())
    assert code_of(path, series="1.2.3") == "SERIES_UNKNOWN"


def test_a_dicom_folder_may_be_named_like_a_nifti_file(tmp_path: Path) -> None:
    write_series(tmp_path / "patient.nii")
    assert kcalc.read_volume(tmp_path / "patient.nii").shape == (5, 16, 16)


def test_a_file_without_orientation_says_so(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(body_hu().T, None)
    nibabel.save(image, tmp_path / "scan.nii")
    volume = kcalc.read_volume(tmp_path / "scan.nii")
    assert volume.findings[0].code == "ORIENTATION_UNKNOWN"


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_mask_goes_out_and_comes_back(
    tmp_path: Path, reverse: bool, suffix: str
) -> None:
    path = write_nifti(tmp_path / f"mask{suffix}", labels(), grid(reverse))
    back = read_mask(path, grid(reverse))
    assert back.dtype == np.uint8
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, labels())
    image = nibabel.load(path)
    index = np.array([2, 1, 0, 1])
    x, y, z = grid(reverse).index_to_mm((0, 1, 2))
    for affine in (image.get_sform(), image.get_qform()):
        np.testing.assert_allclose((affine @ index)[:3], [-x, -y, z], atol=1e-4)
    assert list(tmp_path.iterdir()) == [path]


def test_equal_masks_are_equal_bytes(tmp_path: Path) -> None:
    one = write_nifti(tmp_path / "one.nii.gz", labels(), grid())
    two = write_nifti(tmp_path / "two.nii.gz", labels() > 3, grid())
    again = write_nifti(tmp_path / "again.nii.gz", labels(), grid())
    assert one.read_bytes() == again.read_bytes()
    assert one.read_bytes() != two.read_bytes()


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAI", "SRA", "PIR", "IAL"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_mask_turned_by_a_viewer_is_turned_back(
    tmp_path: Path, orientation: str, reverse: bool
) -> None:
    path = write_nifti(tmp_path / "mask.nii.gz", labels(), grid(reverse))
    image = nibabel.load(path)
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(image.affine),
        nibabel.orientations.axcodes2ornt(orientation),
    )
    turned = image.as_reoriented(turn)
    values = np.asarray(turned.dataobj).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, turned.affine), path)
    np.testing.assert_array_equal(read_mask(path, grid(reverse)), labels())


def test_c15_a_mask_on_another_grid_is_refused(tmp_path: Path) -> None:
    others = [
        Geometry.axial((3, 4, 5), (3.0, 0.5, 0.8), (-12.5, 30.25, -117.0)),
        Geometry.axial((3, 4, 5), (3.0, 0.5, 0.7), (-12.5, 30.25, -116.0)),
        Geometry.axial((3, 4, 5), (1.0, 0.5, 0.7), (-12.5, 30.25, -117.0)),
    ]
    for other in others:
        path = write_nifti(tmp_path / "mask.nii.gz", labels(), other)
        with pytest.raises(InputError, match=r"MASK_GRID.*\(3, 4, 5\)"):
            read_mask(path, grid())
    smaller = Geometry((3, 4, 4), grid().affine_lps)
    path = write_nifti(tmp_path / "mask.nii.gz", labels()[..., :4], smaller)
    with pytest.raises(InputError, match="MASK_GRID"):
        read_mask(path, grid())


@pytest.mark.parametrize(
    ("value", "received"),
    [
        (0.999, "fractions between 0.0 and 6.0"),
        (-1.0, "values from -1.0 to 6.0"),
        (256.0, "values from 0.0 to 256.0"),
        (np.nan, "NaN or infinite"),
        (np.inf, "NaN or infinite"),
    ],
)
def test_c15_values_that_are_no_labels_are_refused(
    tmp_path: Path, value: float, received: str
) -> None:
    array = labels().astype(np.float32)
    array[1, 1, 1] = value
    path = write_nifti(tmp_path / "mask.nii.gz", array, grid())
    with pytest.raises(InputError, match=f"MASK_VALUES.*{received}"):
        read_mask(path, grid())


def test_write_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must end in"):
        write_nifti(tmp_path / "mask.img", labels(), grid())
    with pytest.raises(ValueError, match=r"Received: \(4, 5\)"):
        write_nifti(tmp_path / "mask.nii", labels()[0], grid())
    with pytest.raises(ValueError, match="dtype=int64"):
        write_nifti(tmp_path / "mask.nii", labels().astype(np.int64), grid())
    with pytest.raises(ResourceError, match="WRITE_FAILED"):
        write_nifti(tmp_path / "absent" / "mask.nii", labels(), grid())


def test_a_failed_write_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_nifti(tmp_path / "mask.nii", labels(), grid())
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResourceError, match="WRITE_FAILED"):
        write_nifti(path, 1 - labels().clip(0, 1), grid())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_mask_of_a_dicom_scan_lies_on_it(tmp_path: Path) -> None:
    def flipped(ds: Any, index: int) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]

    write_series(tmp_path / "dicom", edit=flipped)
    volume = kcalc.read_volume(tmp_path / "dicom")
    mask = (volume.array > 130).astype(np.uint8)
    path = write_nifti(tmp_path / "mask.nii.gz", mask, volume.geometry)
    np.testing.assert_array_equal(read_mask(path, volume.geometry), mask)
    point = nibabel.affines.apply_affine(nibabel.load(path).affine, (8, 8, 4))
    assert point.tolist() == [10.0 - 8 * 0.5, 20.0 + 8 * 0.5, 100.0]


@pytest.mark.data
def test_the_qrm_scan_survives_the_way_through_nifti(
    test_data: Path, tmp_path: Path
) -> None:
    volume = kcalc.read_volume(test_data / "qrm-phantom" / "dicom")
    path = write_nifti(tmp_path / "scan.nii", volume.array, volume.geometry)
    back = kcalc.read_volume(path)
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(
        back.geometry.affine_lps, volume.geometry.affine_lps, atol=1e-4
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pixdim", [1, 0.5, 0.0, 3, 1, 1, 1, 1]),
        ("pixdim", [1, -0.5, 0.5, 3, 1, 1, 1, 1]),
        ("pixdim", [1, 0.5, 0.5, float("nan"), 1, 1, 1, 1]),
        ("qform_code", 99),
        ("sform_code", -1),
    ],
)
def test_c14_a_header_that_nibabel_would_repair_in_silence_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], field: str, value: Any
) -> None:
    image = nibabel.Nifti1Image(body_hu().T, RAS)
    image.set_sform(None, code=0)
    path = tmp_path / "scan.nii"
    nibabel.save(image, path)
    content = bytearray(path.read_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
    header[field] = value
    content[:348] = header.binaryblock
    path.write_bytes(content)
    with pytest.raises(GeometryError, match="NIFTI_AFFINE"):
        kcalc.read_volume(path)
    assert capfd.readouterr().err == ""
