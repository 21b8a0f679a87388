"""Small good files of every format, for the fuzzer to damage.

Each writer fills a folder and returns the file to damage and what reads it.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pydicom
from dicom_factory import body_hu, write_series
from label_files import (
    coca_roi,
    rtstruct,
    save,
    seg,
    square,
    write_coca,
    write_mhd,
)
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from test_dicom_enhanced import write_enhanced

import kcalc
from kcalc.geometry import Geometry
from kcalc.io.labels import read_labels
from kcalc.io.nifti import read_mask, write_nifti

Written = tuple[Path, Callable[[], object]]

GEOMETRY = Geometry.axial((3, 12, 12), (3.0, 0.5, 0.5))


def small_hu(num_slices: int = 3) -> np.ndarray:
    """Return the smallest body that is accepted."""
    return body_hu(num_slices, 12)


def series(folder: Path, edit: Callable[[FileDataset, int], None]) -> Written:
    """Write two slices; the first is to be damaged."""
    paths = write_series(folder, small_hu(2), edit=edit)
    return paths[0], lambda: kcalc.read_volume(folder)


def in_syntax(uid: str) -> Callable[[FileDataset, int], None]:
    """Return an edit that stores the pixels in a transfer syntax."""

    def edit(ds: FileDataset, index: int) -> None:
        if uid in (JPEGLSLossless, JPEG2000Lossless, RLELossless):
            if uid == JPEG2000Lossless:  # its encoder takes no picture below 32
                ds.Rows = ds.Columns = 32
                values = np.full((32, 32), 1064 + index, "<u2")
                values[0] = 24
                ds.PixelData = values.tobytes()
            ds.compress(uid, generate_instance_uid=False)
        else:
            ds.file_meta.TransferSyntaxUID = uid

    return edit


def explicit(folder: Path) -> Written:
    return series(folder, in_syntax(ExplicitVRLittleEndian))


def implicit(folder: Path) -> Written:
    return series(folder, in_syntax(ImplicitVRLittleEndian))


def big_endian(folder: Path) -> Written:
    path, read = explicit(folder)
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    ds.PixelData = np.frombuffer(ds.PixelData, "<u2").byteswap().tobytes()
    pydicom.dcmwrite(
        path, ds, implicit_vr=False, little_endian=False, force_encoding=True
    )
    return path, read


def deflated(folder: Path) -> Written:
    return series(folder, in_syntax(DeflatedExplicitVRLittleEndian))


def run_length(folder: Path) -> Written:
    return series(folder, in_syntax(RLELossless))


def jpeg_ls(folder: Path) -> Written:
    return series(folder, in_syntax(JPEGLSLossless))


def jpeg_2000(folder: Path) -> Written:
    return series(folder, in_syntax(JPEG2000Lossless))


def no_preamble(folder: Path) -> Written:
    path, read = explicit(folder)
    ds = pydicom.dcmread(path)
    content = path.read_bytes()
    start = content.find(b"\x08\x00", 132 + 12 + int(ds.file_meta[0x00020000].value))
    path.write_bytes(content[start:])
    return path, read


def signed_with_padding(folder: Path) -> Written:
    def edit(ds: FileDataset, index: int) -> None:
        values = small_hu(2)[index].copy()
        values[0] = -2000
        ds.PixelRepresentation = 1
        ds.RescaleIntercept = 0
        ds.add_new("PixelPaddingValue", "SS", -2000)
        ds.PixelData = values.astype("<i2").tobytes()

    return series(folder, edit)


def fractional_slope(folder: Path) -> Written:
    def edit(ds: FileDataset, index: int) -> None:
        ds.RescaleSlope = "1.5" if index else "0.5"
        ds.RescaleIntercept = "-1024.25"

    return series(folder, edit)


def twelve_bits_with_overlay(folder: Path) -> Written:
    def edit(ds: FileDataset, index: int) -> None:
        ds.BitsStored, ds.HighBit = 12, 11
        values = np.frombuffer(ds.PixelData, "<u2") | 0x1000
        ds.PixelData = values.astype("<u2").tobytes()

    return series(folder, edit)


def monochrome1(folder: Path) -> Written:
    def edit(ds: FileDataset, index: int) -> None:
        ds.PhotometricInterpretation = "MONOCHROME1"

    return series(folder, edit)


def with_contrast(folder: Path) -> Written:
    def edit(ds: FileDataset, index: int) -> None:
        ds.ContrastBolusAgent = "Oral"
        ds.ContrastBolusRoute = "ORAL"

    return series(folder, edit)


def nested(folder: Path) -> Written:
    def edit(ds: FileDataset, index: int) -> None:
        inner = Dataset()
        inner.CodeMeaning = "deep"
        for _ in range(12):
            outer = Dataset()
            outer.ProcedureCodeSequence = Sequence([inner])
            inner = outer
        inner["ProcedureCodeSequence"].is_undefined_length = True
        ds.ProcedureCodeSequence = inner.ProcedureCodeSequence

    return series(folder, edit)


def private_tags(folder: Path) -> Written:
    def edit(ds: FileDataset, index: int) -> None:
        block = ds.private_block(0x0019, "KCALC FUZZ", create=True)
        block.add_new(1, "UN", bytes(range(40)))
        block.add_new(2, "LO", "ÄÖ\n<script>")
        ds.SpecificCharacterSet = "ISO_IR 192"

    return series(folder, edit)


def tilted(folder: Path) -> Written:
    def edit(ds: FileDataset, index: int) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, 0, 0.96592583, 0.25881905]

    path, _ = series(folder, edit)
    return path, lambda: kcalc.read_volume(folder, untilt=True, resample=True)


def localizer_beside(folder: Path) -> Written:
    paths = write_series(folder, small_hu(3))
    ds = pydicom.dcmread(paths[2])
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    ds.SeriesInstanceUID = "1.2.3.9"
    ds.save_as(paths[2])
    return paths[2], lambda: kcalc.read_volume(folder)


def enhanced(folder: Path) -> Written:
    path = write_enhanced(folder / "e.dcm", small_hu())
    return path, lambda: kcalc.read_volume(path)


def enhanced_run_length(folder: Path) -> Written:
    path = write_enhanced(folder / "e.dcm", small_hu(), syntax=RLELossless)
    return path, lambda: kcalc.read_volume(path)


def enhanced_deflated(folder: Path) -> Written:
    path = write_enhanced(
        folder / "e.dcm", small_hu(), syntax=DeflatedExplicitVRLittleEndian
    )
    return path, lambda: kcalc.read_volume(path)


def plain(folder: Path) -> Written:
    path = write_nifti(folder / "scan.nii", small_hu(), GEOMETRY)
    return path, lambda: kcalc.read_volume(path)


def plain_float(folder: Path) -> Written:
    values = small_hu().astype(np.float32) + np.float32(0.25)
    path = write_nifti(folder / "scan.nii", values, GEOMETRY)
    return path, lambda: kcalc.read_volume(path, untilt=True, resample=True)


def compressed(folder: Path) -> Written:
    path = write_nifti(folder / "scan.nii.gz", small_hu(), GEOMETRY)
    return path, lambda: kcalc.read_volume(path)


def stored_gzip(folder: Path) -> Written:
    path = write_nifti(folder / "scan.nii", small_hu(), GEOMETRY)
    content = gzip.compress(path.read_bytes(), compresslevel=0, mtime=0)
    path = folder / "scan.nii.gz"
    path.write_bytes(content)
    return path, lambda: kcalc.read_volume(path)


def nifti_mask(folder: Path) -> Written:
    labels = (small_hu() > 130).astype(np.uint8)
    path = write_nifti(folder / "mask.nii", labels, GEOMETRY)
    return path, lambda: read_mask(path, GEOMETRY)


def scan_mha(folder: Path) -> Written:
    path = write_mhd(folder / "scan.mha", small_hu())
    return path, lambda: kcalc.read_volume(path)


def scan_mhd(folder: Path) -> Written:
    path = write_mhd(folder / "scan.mhd", small_hu())
    return path, lambda: kcalc.read_volume(path, untilt=True, resample=True)


def compressed_mha(folder: Path) -> Written:
    path = write_mhd(folder / "scan.mha", small_hu(), compressed=True)
    return path, lambda: kcalc.read_volume(path)


def labelled_scan(folder: Path) -> tuple[kcalc.Volume, np.ndarray]:
    """Return a scan with calcium in two slices, and its labels."""
    array = small_hu()
    array[0, 4:7, 4:7], array[2, 7:9, 7:9] = 400, 300
    labels = np.where(array >= 300, 2, 0).astype(np.uint8)
    labels[:, 8, 8] = 0
    write_series(folder / "scan", array)
    return kcalc.read_volume(folder / "scan"), labels


def labels_by(
    folder: Path, write: Callable[[kcalc.Volume, np.ndarray], Path]
) -> Written:
    """Write labels of a scan, to be damaged and read onto it."""
    volume, labels = labelled_scan(folder)
    path = write(volume, labels)
    return path, lambda: read_labels(path, volume)


def two_rois(volume: kcalc.Volume) -> list[dict[str, object]]:
    grid = volume.geometry
    return [
        coca_roi(square(3, 3, 4.0), geometry=grid, z=0),
        coca_roi(square(6, 6), "Right Coronary Artery", geometry=grid, z=2),
    ]


def plist_mm(folder: Path) -> Written:
    def write(volume: kcalc.Volume, labels: np.ndarray) -> Path:
        first, second = two_rois(volume)
        return write_coca(folder / "a.xml", {2: [first], 0: [second]})

    return labels_by(folder, write)


def plist_pixels(folder: Path) -> Written:
    def write(volume: kcalc.Volume, labels: np.ndarray) -> Path:
        return write_coca(folder / "a.xml", {2: [coca_roi(square(3, 3))]})

    return labels_by(folder, write)


def table(folder: Path) -> Written:
    def write(volume: kcalc.Volume, labels: np.ndarray) -> Path:
        corners = volume.geometry.index_to_mm([(0, *p) for p in square(3, 3, 4.0)])
        lines = [f"0,LAD,{x},{y},{z}" for x, y, z in corners]
        path = folder / "a.csv"
        path.write_text("\n".join(["outline,name,x_mm,y_mm,z_mm", *lines]))
        return path

    return labels_by(folder, write)


def label_mha(folder: Path) -> Written:
    return labels_by(folder, lambda volume, labels: write_mhd(folder / "a.mha", labels))


def label_nifti(folder: Path) -> Written:
    return labels_by(
        folder,
        lambda volume, labels: write_nifti(folder / "a.nii", labels, volume.geometry),
    )


def dicom_seg(folder: Path) -> Written:
    return labels_by(
        folder,
        lambda volume, labels: save(
            seg(volume.geometry, {"LAD": labels > 0}), folder / "a.dcm"
        ),
    )


def dicom_rtstruct(folder: Path) -> Written:
    regions = {"LAD": [(0, square(3, 3, 4.0))], "RCA": [(2, square(4, 4, 4.0))]}
    return labels_by(
        folder,
        lambda volume, labels: save(
            rtstruct(volume.geometry, regions), folder / "a.dcm"
        ),
    )


WRITERS: Mapping[str, tuple[Callable[[Path], Written], ...]] = {
    "dicom": (
        *(explicit, implicit, big_endian, deflated, run_length, jpeg_ls, jpeg_2000),
        *(no_preamble, signed_with_padding, fractional_slope, monochrome1),
        *(twelve_bits_with_overlay, with_contrast, nested, private_tags, tilted),
        *(localizer_beside, enhanced, enhanced_run_length, enhanced_deflated),
    ),
    "nifti": (plain, plain_float, compressed, stored_gzip, nifti_mask, label_nifti),
    "metaimage": (scan_mha, scan_mhd, compressed_mha, label_mha),
    "plist": (plist_mm, plist_pixels),
    "labels": (dicom_seg, dicom_rtstruct, table),
}
"""Format -> writers; the twenty of DICOM are those of fault C18."""
