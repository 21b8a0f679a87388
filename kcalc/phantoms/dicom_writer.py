"""A volume or phantom goes in, a CT series of one DICOM file per slice comes out."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kcalc._version import __version__
from kcalc.errors import ResourceError
from kcalc.hounsfield import CT_MIN_HU
from kcalc.volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from kcalc.phantoms.case import Phantom

CT_RESCALE_INTERCEPT = -1024.0
"""Intercept of most CT scanners: stored 0 is -1024 HU."""
SERIES_DATE = "20200101"
SERIES_TIME = "120000"
_SHORT_STRING = 16
_LONG_STRING = 64


@dataclass(frozen=True)
class _Coding:
    """How HU become stored integers."""

    slope: float
    intercept: float
    signed: bool
    bits_stored: int
    padding: int | None

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype("<i2" if self.signed else "<u2")


def write_dicom_series(
    source: Volume | Phantom,
    directory: str | os.PathLike[str],
    *,
    series_description: str = "kcalc phantom",
    series_number: int = 1,
    name: str | None = None,
    seed: int | None = None,
    rescale_slope: float = 1.0,
    rescale_intercept: float = CT_RESCALE_INTERCEPT,
    padding_hu: int | None = None,
    implicit_vr: bool = False,
    prefix: str = "IM",
) -> list[Path]:
    """Write a CT series, one CT Image Storage file per slice, and return the paths.

    Stored values are ``round((HU - intercept) / slope)``: exact for int16 volumes
    with slope 1, else off by at most half a slope. They are unsigned with 12 bits
    where the range permits, else unsigned or, below zero, signed with 16 bits.
    Every byte depends on the arguments alone: dates are fixed and UIDs are hashes.
    Study and frame of reference depend on name and seed, so that two
    reconstructions of one phantom share them; the series UID depends on all.

    The files are written to a temporary folder and appear under their names only
    when all of them are whole.

    Args:
        source: A volume in HU, or a phantom, whose name and seed are then used.
        directory: Folder to write to; made if absent. Files of other names in it
            stay.
        series_description: At most 64 characters.
        series_number: Number of the series in the study.
        name: Goes into PatientID, which is ``PHANTOM-<name>-<seed>``; default the
            phantom's own, or ``volume``. ASCII letters, digits, ``_`` and ``-``.
        seed: Goes into PatientID and all UIDs; default the phantom's own, or 0.
        rescale_slope: RescaleSlope, not 0.
        rescale_intercept: RescaleIntercept in HU.
        padding_hu: Value in HU of voxels outside the reconstruction circle, written
            as PixelPaddingValue. Default: the lowest value, if it is below the
            -1024 HU that tissue or air can have; otherwise the tag is not written.
        implicit_vr: Write Implicit instead of Explicit VR Little Endian.
        prefix: Start of every file name; ``<prefix>0001.dcm`` is slice 0.

    Returns:
        The files' paths, in the order of the volume's slices.

    Raises:
        ValueError: The volume is not in HU, rows and columns are not perpendicular,
            a value does not fit 16 bits, or an argument breaks these rules.
        ResourceError: A file of such a name is there already (``OUTPUT_EXISTS``).

    Example:
        >>> import tempfile
        >>> from kcalc.geometry import Geometry
        >>> geometry = Geometry.axial((2, 4, 4), (3.0, 0.5, 0.5))
        >>> volume = Volume(np.zeros((2, 4, 4), np.int16), geometry)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in write_dicom_series(volume, folder)]
        ['IM0001.dcm', 'IM0002.dcm']
    """
    if isinstance(source, Volume):
        volume, own_name, own_seed = source, "volume", 0
    else:
        volume, own_name, own_seed = source.volume, source.name, source.seed
    name = own_name if name is None else name
    seed = own_seed if seed is None else seed
    _check(volume, name, series_description, prefix)
    stored, coding = _encode(volume.array, rescale_slope, rescale_intercept, padding_hu)

    dataset = _series_dataset(volume, coding, f"PHANTOM-{name}-{seed}")
    dataset.SeriesDescription = series_description
    dataset.SeriesNumber = series_number
    study = ("kcalc", name, str(seed))
    digest = hashlib.sha256(stored.tobytes())
    digest.update(volume.geometry.affine_lps.tobytes())
    digest.update(repr((coding, volume.acquisition)).encode())
    series = (*study, digest.hexdigest(), series_description, str(series_number))
    dataset.StudyInstanceUID = _uid("study", *study)
    dataset.FrameOfReferenceUID = _uid("frame of reference", *study)
    dataset.SeriesInstanceUID = _uid("series", *series)
    return _write(
        dataset, stored, volume, directory, prefix=prefix, implicit_vr=implicit_vr
    )


def _check(volume: Volume, name: str, description: str, prefix: str) -> None:
    if volume.unit != "HU":
        raise ValueError(
            "volume must be in HU to become a CT series. "
            f"Received: unit={volume.unit!r}"
        )
    step_row, step_column = volume.geometry.affine_lps[:3, 1:3].T
    cosine = step_row @ step_column / np.prod(volume.spacing_mm[1:])
    if abs(cosine) > 1e-4:
        raise ValueError(
            "rows and columns of the volume must be perpendicular, as DICOM demands. "
            f"Received: cosine {cosine:.3g} between them"
        )
    for argument, text in (("name", name), ("prefix", prefix)):
        allowed = text.replace("-", "").replace("_", "")
        if not (allowed.isascii() and allowed.isalnum()):
            raise ValueError(
                f"{argument} must be of ASCII letters, digits, '_' and '-'. "
                f"Received: {argument}={text!r}"
            )
    kernel = volume.acquisition.convolution_kernel or ""
    lengths = {
        "name": (len(name), 40),
        "series_description": (len(description), _LONG_STRING),
        "convolution_kernel": (len(kernel), _SHORT_STRING),
    }
    for argument, (length, longest) in lengths.items():
        if length > longest:
            raise ValueError(
                f"{argument} must have at most {longest} characters. Received: {length}"
            )


def _encode(
    array_hu: npt.NDArray[Any],
    slope: float,
    intercept: float,
    padding_hu: int | None,
) -> tuple[npt.NDArray[Any], _Coding]:
    """Return the stored integers and how they were made."""
    if not (np.isfinite([slope, intercept]).all() and slope != 0):
        raise ValueError(
            "rescale_slope must be finite and not 0, rescale_intercept finite. "
            f"Received: rescale_slope={slope}, rescale_intercept={intercept}"
        )
    lowest_hu = float(array_hu.min())
    if padding_hu is None and lowest_hu < CT_MIN_HU and lowest_hu.is_integer():
        padding_hu = int(lowest_hu)
    ends = [(float(v) - intercept) / slope for v in (lowest_hu, array_hu.max())]
    low, high = round(min(ends)), round(max(ends))
    padding = None if padding_hu is None else round((padding_hu - intercept) / slope)
    if padding is not None:
        low, high = min(low, padding), max(high, padding)
    signed = low < 0
    limits = np.iinfo(np.int16 if signed else np.uint16)
    if low < limits.min or high > limits.max:
        raise ValueError(
            "stored values must fit 16 bits. Received: "
            f"{low} to {high} with rescale_slope={slope}, rescale_intercept={intercept}"
        )
    bits_stored = 12 if not signed and high < 4096 else 16
    coding = _Coding(slope, intercept, signed, bits_stored, padding)
    if slope == 1.0 and float(intercept).is_integer() and array_hu.dtype == np.int16:
        return (array_hu.astype(np.int32) - int(intercept)).astype(coding.dtype), coding
    values = (array_hu.astype(np.float64) - intercept) / slope
    return np.rint(values).astype(coding.dtype), coding


def _series_dataset(volume: Volume, coding: _Coding, patient_id: str) -> Dataset:
    """Return what all slices share but the UIDs and the description."""
    from pydicom import uid
    from pydicom.dataset import Dataset

    facts = volume.acquisition
    affine = volume.geometry.affine_lps
    _, row_mm, column_mm = volume.spacing_mm
    along_row, along_column = affine[:3, 2] / column_mm, affine[:3, 1] / row_mm
    # Slices may be oblique to the normal (a tilted gantry): the distance that
    # SpacingBetweenSlices means is the one along the normal.
    step_mm = abs(float(np.cross(along_row, along_column) @ affine[:3, 0]))

    dataset = Dataset()
    dataset.SOPClassUID = uid.CTImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    for date in ("Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{date}Date", SERIES_DATE)
        setattr(dataset, f"{date}Time", SERIES_TIME)
    dataset.AccessionNumber = ""
    dataset.Modality = "CT"
    dataset.Manufacturer = "kcalc phantom"
    dataset.ManufacturerModelName = "kcalc.phantoms"
    dataset.SoftwareVersions = f"kcalc {__version__}"
    dataset.ReferringPhysicianName = ""
    dataset.PatientName = "Phantom^Kcalc"
    dataset.PatientID = patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = ""
    dataset.QualityControlImage = "YES"
    dataset.BodyPartExamined = facts.body_part or "CHEST"
    dataset.PatientPosition = "HFS"
    dataset.StudyID = "1"
    dataset.AcquisitionNumber = 1
    dataset.PositionReferenceIndicator = ""
    if facts.contrast_agent:
        dataset.ContrastBolusAgent = facts.contrast_agent
    dataset.KVP = _decimal(facts.tube_voltage_kvp)
    if facts.ecg_gated is not None:
        technique = "PROSPECTIVE" if facts.ecg_gated else "NONE"
        dataset.CardiacSynchronizationTechnique = technique
    if facts.convolution_kernel:
        dataset.ConvolutionKernel = facts.convolution_kernel
    dataset.SliceThickness = _decimal(facts.slice_thickness_mm)
    dataset.SpacingBetweenSlices = _decimal(step_mm)
    dataset.PixelSpacing = [_decimal(row_mm), _decimal(column_mm)]
    dataset.ImageOrientationPatient = [
        _decimal(v) for v in (*along_row.tolist(), *along_column.tolist())
    ]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = volume.shape[1:]
    dataset.BitsAllocated = 16
    dataset.BitsStored = coding.bits_stored
    dataset.HighBit = coding.bits_stored - 1
    dataset.PixelRepresentation = int(coding.signed)
    if coding.padding is not None:
        dataset.add_new("PixelPaddingValue", _us_or_ss(coding), coding.padding)
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.RescaleIntercept = _decimal(coding.intercept)
    dataset.RescaleSlope = _decimal(coding.slope)
    dataset.RescaleType = "HU"
    dataset.WindowCenter, dataset.WindowWidth = "50", "350"
    return dataset


def _write(
    dataset: Dataset,
    stored: npt.NDArray[Any],
    volume: Volume,
    directory: str | os.PathLike[str],
    *,
    prefix: str,
    implicit_vr: bool,
) -> list[Path]:
    """Write one file per slice and return the paths."""
    from pydicom import uid
    from pydicom.dataset import FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.CTImageStorage
    meta.TransferSyntaxUID = (
        uid.ImplicitVRLittleEndian if implicit_vr else uid.ExplicitVRLittleEndian
    )
    dataset.file_meta = meta
    along_row, along_column = np.reshape(
        np.asarray(dataset.ImageOrientationPatient, dtype=np.float64), (2, 3)
    )
    normal = np.cross(along_row, along_column)
    names = [f"{prefix}{number + 1:04d}.dcm" for number in range(len(stored))]
    with _all_or_none(Path(directory), names) as scratch:
        for number, name in enumerate(names):
            corner_mm = volume.geometry.index_to_mm((number, 0, 0))
            dataset.SOPInstanceUID = _uid(
                "instance", str(dataset.SeriesInstanceUID), str(number)
            )
            meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.InstanceNumber = number + 1
            dataset.ImagePositionPatient = [_decimal(v) for v in corner_mm.tolist()]
            dataset.SliceLocation = _decimal(float(corner_mm @ normal))
            pixels = stored[number].tobytes()
            dataset.add_new("PixelData", "OW", pixels + b"\0" * (len(pixels) % 2))
            dataset.save_as(scratch / name, enforce_file_format=True)
    return [Path(directory) / name for name in names]


@contextlib.contextmanager
def _all_or_none(directory: Path, names: list[str]) -> Iterator[Path]:
    """Yield a scratch folder; move the named files out of it when the body is done."""
    taken = [name for name in names if (directory / name).exists()]
    if taken:
        raise ResourceError(
            "OUTPUT_EXISTS",
            f"a series is never written over: {len(taken)} of its files exist.",
            path=directory / taken[0],
            hint="Choose an empty folder or another prefix.",
        )
    made = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".kcalc-", dir=directory))
    try:
        yield scratch
        for name in names:
            os.replace(scratch / name, directory / name)
    except BaseException:
        for name in names:
            (directory / name).unlink(missing_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                directory.rmdir()
        raise
    scratch.rmdir()


def _decimal(value: float | None) -> Any:
    """Return a DICOM decimal string of at most 16 characters, empty for None."""
    from pydicom.valuerep import DSfloat

    return "" if value is None else DSfloat(value + 0.0, auto_format=True)


def _us_or_ss(coding: _Coding) -> str:
    return "SS" if coding.signed else "US"


def _uid(*entropy: str) -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["\n".join(entropy)]))
