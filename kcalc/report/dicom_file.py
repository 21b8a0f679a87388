"""What a DICOM SEG and SR of one scan share: source frames, identity, dates, UIDs."""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kcalc._version import __version__
from kcalc.errors import InputError
from kcalc.io.grid_corrections import TILT_LIMIT_DEG
from kcalc.slices import REGULAR_LIMIT_FRACTION, REGULAR_LIMIT_MM
from kcalc.volume import SourceFrame, Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NO_DATE, NO_TIME = "19000101", "000000"
"""ContentDate and ContentTime where the study's are removed: DICOM wants some."""
DEVICE = "kcalc"
"""Manufacturer and model of the writing software."""

_EMPTY_KEYWORDS = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate"),
    *("StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_NAMESPACE = uuid.UUID("9d1f7c46-6f0d-5f0e-8b53-3f6f6c1d7a01")


def check_dicom_source(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Refuse a volume to whose slices no DICOM object can refer.

    Args:
        volume: The scan.
        path: The input, for messages.

    Raises:
        InputError: ``DICOM_SOURCE`` for slices that are no DICOM frames (NIfTI,
            another grid than the stored one), ``DICOM_REFERENCE`` for a UID that is
            missing or none.
    """
    if not volume.frames or not _frames_lie_on(volume):
        raise InputError(
            "DICOM_SOURCE",
            "DICOM SEG and SR refer to the stored DICOM frames, one a slice; this "
            "volume is from a file without frames or lies on another grid.",
            path=path,
            hint="Give the DICOM series itself, without a correction of its grid, or "
            "leave out --dicom.",
        )
    facts = volume.acquisition
    uids: dict[str, set[str | None]] = {
        "StudyInstanceUID": {facts.study_uid},
        "SeriesInstanceUID": {facts.series_uid},
        "FrameOfReferenceUID": {facts.frame_of_reference_uid},
        "SOPInstanceUID": {*(frame.sop_instance_uid for frame in volume.frames)},
    }
    for keyword, values in uids.items():
        if not all(v and len(v) <= 64 and _UID.fullmatch(v) for v in values):
            raise InputError(
                "DICOM_REFERENCE",
                f"DICOM SEG and SR refer to the scan by {keyword}, which must be one "
                "valid UID; this scan's is missing, differs or is no UID.",
                path=path,
                hint="Fetch the series again from its archive, or leave out --dicom.",
            )


def source_datasets(volume: Volume) -> list[Dataset]:
    """Return a data set for each slice with what a reference needs, and no more.

    Built from checked facts alone, so that nothing of the source can slip through;
    the identifiers of patient and study are empty until :func:`complete`. A frame of
    a multi-frame object stands as a slice of its own, under a UID that
    :func:`point_at_frames` turns into a reference to the frame.

    Args:
        volume: A scan that :func:`check_dicom_source` accepts.
    """
    from pydicom.dataset import Dataset
    from pydicom.valuerep import DSfloat

    def decimals(values: Sequence[float]) -> list[DSfloat]:
        # Errors of the affine below 1e-9 mm are not shown as if the source had them.
        rounded = [round(float(value), 9) + 0.0 for value in values]
        return [DSfloat(value, auto_format=True) for value in rounded]

    affine, facts = volume.geometry.affine_lps, volume.acquisition
    row, column = (affine[:3, axis] for axis in (2, 1))
    cosines = [*(row / np.linalg.norm(row)), *(column / np.linalg.norm(column))]
    common = Dataset()
    common.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _EMPTY_KEYWORDS:
        setattr(common, keyword, "")
    common.StudyInstanceUID = facts.study_uid
    common.SeriesInstanceUID = facts.series_uid
    common.FrameOfReferenceUID = facts.frame_of_reference_uid
    common.PositionReferenceIndicator = ""
    common.Modality = "CT"
    common.Rows, common.Columns = volume.shape[1:]
    common.ImageOrientationPatient = decimals(cosines)
    common.PixelSpacing = decimals(volume.spacing_mm[1:])
    common.SliceThickness = decimals([_thickness_mm(volume)])[0]
    lossy = any(f.code == "LOSSY" for f in volume.findings)
    common.LossyImageCompression = "01" if lossy else "00"
    datasets = []
    for number, frame in enumerate(volume.frames):
        dataset = Dataset()
        dataset.update(common)
        whole = frame.frame_number is None
        dataset.SOPClassUID = frame.sop_class_uid if whole else _CT_IMAGE
        dataset.SOPInstanceUID = (
            frame.sop_instance_uid if whole else _stand_in(volume, number)
        )
        dataset.ImagePositionPatient = decimals(frame.position_xyz_mm)
        datasets.append(dataset)
    return datasets


def point_at_frames(dataset: Dataset, volume: Volume) -> None:
    """Turn references to stand-ins into those to frames of multi-frame objects.

    Args:
        dataset: An object made from :func:`source_datasets`; changed.
        volume: The scan.
    """
    frames = {
        _stand_in(volume, number): frame
        for number, frame in enumerate(volume.frames)
        if frame.frame_number is not None
    }
    if not frames:
        return
    for group in dataset.get("PerFrameFunctionalGroupsSequence", ()):
        for derivation in group.get("DerivationImageSequence", ()):
            for item in derivation.SourceImageSequence:
                if item.ReferencedSOPInstanceUID in frames:
                    frame = frames[item.ReferencedSOPInstanceUID]
                    _refer(item, frame)
                    item.ReferencedFrameNumber = frame.frame_number
    for holder, keyword in _instance_lists(dataset):
        kept: dict[str, Any] = {}
        for item in getattr(holder, keyword):
            if item.ReferencedSOPInstanceUID in frames:
                _refer(item, frames[item.ReferencedSOPInstanceUID])
            kept.setdefault(item.ReferencedSOPInstanceUID, item)
        setattr(holder, keyword, list(kept.values()))


def complete(dataset: Dataset, identity: Mapping[str, str] | None) -> None:
    """Give an object its dates, its note on identity and UIDs made from its content.

    The dates are the study's, never those of the run, and the UIDs are hashes, so
    that the same input gives the same bytes: filed twice it is one object.

    Args:
        dataset: What highdicom made; changed.
        identity: What :func:`kcalc.io.dicom_identity.read_identity` returned; None
            leaves the identifiers of patient and study empty, and says so.
    """
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        if keyword in dataset:
            del dataset[keyword]
    for item in dataset.get("ContributingEquipmentSequence", ()):
        item.pop("ContributionDateTime", None)
    kept = identity or {}
    for keyword, value in kept.items():
        setattr(dataset, keyword, value)
    scrubbed = kept.get("PatientIdentityRemoved") == "YES"
    if scrubbed and "DeidentificationMethod" not in kept:
        dataset.DeidentificationMethod = "as in the source"
    dataset.ContentDate = kept.get("StudyDate") or NO_DATE
    dataset.ContentTime = kept.get("StudyTime") or NO_TIME
    if identity is None:
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = [
            "kcalc: no attribute of patient, study or equipment",
            "kcalc: UIDs retained, dates removed",
        ]
        dataset.DeidentificationMethodCodeSequence = [
            _code("113100", "Basic Application Confidentiality Profile"),
            _code("113110", "Retain UIDs Option"),
        ]
        dataset.LongitudinalTemporalInformationModified = "REMOVED"
    dimension = derived_uid("dimension", str(dataset.SeriesInstanceUID))
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(keyword, ()):
            item.DimensionOrganizationUID = dimension
    for keyword in ("SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, keyword, "0.0")
    buffer = io.BytesIO()
    dataset.file_meta.MediaStorageSOPInstanceUID = "0.0"
    dataset.save_as(buffer, enforce_file_format=True)
    content = hashlib.sha256(buffer.getvalue()).hexdigest()
    dataset.SeriesInstanceUID = derived_uid("series", content)
    dataset.SOPInstanceUID = derived_uid("instance", content)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def derived_uid(*entropy: str) -> str:
    """Return a UID of the form 2.25 that depends on the texts alone.

    Example:
        >>> derived_uid("series", "a") == derived_uid("series", "a")
        True
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(10).join(entropy)).int}"


def equipment() -> dict[str, Any]:
    """Return the arguments that name kcalc as the maker of an object."""
    return {
        "manufacturer": DEVICE,
        "manufacturer_model_name": DEVICE,
        "software_versions": __version__,
        "device_serial_number": __version__,
    }


def _thickness_mm(volume: Volume) -> float:
    """Return the slice thickness in mm, the spacing where it is unknown."""
    return volume.acquisition.slice_thickness_mm or volume.spacing_mm[0]


def _frames_lie_on(volume: Volume) -> bool:
    """Return whether the frames lie where the grid has its slices, as reading allows.

    A guard: whoever moves a volume to another grid has to drop its frames.
    """
    corners = np.array([frame.position_xyz_mm for frame in volume.frames])
    affine = volume.geometry.affine_lps
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    normal /= np.linalg.norm(normal)
    steps = np.arange(len(corners))[:, None] * affine[:3, 0]
    off = corners - (affine[:3, 3] + steps)
    along = off @ normal
    across = np.linalg.norm(off - along[:, None] * normal, axis=1)
    spacing = volume.spacing_mm[0]
    limit_mm = max(REGULAR_LIMIT_MM, REGULAR_LIMIT_FRACTION * spacing)
    length_mm = spacing * len(corners)
    tilt_mm = math.tan(math.radians(TILT_LIMIT_DEG)) * length_mm
    return bool(np.abs(along).max() <= limit_mm and across.max() <= limit_mm + tilt_mm)


def _stand_in(volume: Volume, number: int) -> str:
    """Return the UID that stands for a frame until references are made to it."""
    return derived_uid("frame", str(volume.acquisition.series_uid), str(number))


def _refer(item: Dataset, frame: SourceFrame) -> None:
    """Let a reference point at the object that holds a frame."""
    item.ReferencedSOPClassUID = frame.sop_class_uid
    item.ReferencedSOPInstanceUID = frame.sop_instance_uid


def _instance_lists(dataset: Dataset) -> list[tuple[Any, str]]:
    """Return the lists of whole instances in a SEG or SR, as holder and keyword."""
    lists: list[tuple[Any, str]] = []
    if "SourceImageSequence" in dataset:
        lists.append((dataset, "SourceImageSequence"))
    for series in dataset.get("ReferencedSeriesSequence", ()):
        lists.append((series, "ReferencedInstanceSequence"))
    for study in dataset.get("CurrentRequestedProcedureEvidenceSequence", ()):
        for series in study.ReferencedSeriesSequence:
            lists.append((series, "ReferencedSOPSequence"))
    return lists


def _code(value: str, meaning: str) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        value,
        "DCM",
        meaning,
    )
    return item
