"""A DICOM SEG of the calcium: a mask on the scan's own frames enters, a file leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kcalc._version import __version__
from kcalc.anatomy import CORONARY_VESSELS, NOT_CORONARY, UNDETERMINED_LABEL
from kcalc.io.label_names import CORONARY_ARTERY_CODE
from kcalc.report import dicom_file
from kcalc.volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.sr.coding import Code

_SERIES_NUMBER = 9001
_STRUCTURES = (*CORONARY_VESSELS, *NOT_CORONARY)


@dataclass(frozen=True)
class Segment:
    """One segment of a SEG.

    Args:
        number: From 1.
        label: Its value in the mask; None for every voxel that is not 0.
        name: Vessel or other structure, or ``"calcium"`` where none is told.
        site_code: SCT code of where it lies; None in a phantom.
    """

    number: int
    label: int | None
    name: str
    site_code: str | None

    def tracking_uid(self, volume: Volume) -> str:
        """Return the UID by which SEG and SR name the calcium of this vessel."""
        return dicom_file.derived_uid(
            "tracking", str(volume.acquisition.series_uid), self.name
        )


def segments_of(mask: npt.NDArray[Any], *, by_vessel: bool) -> tuple[Segment, ...]:
    """Return the segments of a mask, one for each vessel that it marks.

    Args:
        mask: (z, y, x), 0 outside calcium.
        by_vessel: Whether its values are vessel numbers of ``kcalc.anatomy``; else
            all calcium is one segment.
    """
    if not mask.any():
        return ()
    if not by_vessel:
        return (Segment(1, None, "calcium", CORONARY_ARTERY_CODE),)
    known = {part.label: (part.name, part.sct_code) for part in _STRUCTURES}
    known[UNDETERMINED_LABEL] = ("undetermined", CORONARY_ARTERY_CODE)
    labels = np.flatnonzero(np.bincount(mask.ravel(), minlength=1)[1:]) + 1
    return tuple(
        Segment(number, int(label), *known.get(int(label), ("insert", None)))
        for number, label in enumerate(labels, start=1)
    )


def dicom_seg(
    volume: Volume,
    mask: npt.NDArray[Any],
    segments: Sequence[Segment],
    *,
    model: Mapping[str, Any] | None,
    identity: Mapping[str, str] | None = None,
) -> Dataset:
    """Return a mask as a binary DICOM segmentation of the scan's own frames.

    One segment alone comes with a frame for every slice, empty ones too, so that
    readers which only stack frames get the scan's grid. With several segments no such
    reader could be right, and empty frames are left out.

    Args:
        volume: A scan that :func:`kcalc.report.dicom_file.check_dicom_source` accepts.
        mask: (z, y, x) on its grid.
        segments: What :func:`segments_of` gave for it; at least one.
        model: Name and version of the network; None for a given mask.
        identity: Identifiers to keep, or None.
    """
    from highdicom.content import PixelMeasuresSequence
    from highdicom.seg import Segmentation

    labels = np.zeros(mask.shape, np.uint8)
    for segment in segments:
        chosen = mask != 0 if segment.label is None else mask == segment.label
        labels[chosen] = segment.number
    sources = dicom_file.source_datasets(volume)
    dataset = Segmentation(
        source_images=sources,
        pixel_array=labels,
        segmentation_type="BINARY",
        segment_descriptions=[_description(s, volume, model) for s in segments],
        series_instance_uid=dicom_file.derived_uid("series to be"),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=dicom_file.derived_uid("instance to be"),
        instance_number=1,
        pixel_measures=PixelMeasuresSequence(
            pixel_spacing=[float(value) for value in sources[0].PixelSpacing],
            slice_thickness=float(sources[0].SliceThickness),
            spacing_between_slices=round(volume.spacing_mm[0], 9),
        ),
        omit_empty_frames=len(segments) > 1,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        content_label="CALCIUM",
        content_description="Calcium found by kcalc; research use only",
        series_description="kcalc calcium (research use only)",
        **dicom_file.equipment(),
    )
    _order_as_scan(dataset, labels, sources)
    dicom_file.point_at_frames(dataset, volume)
    dicom_file.complete(dataset, identity)
    return dataset


def code(value: str, meaning: str, scheme: str = "SCT") -> Code:
    """Return a coded concept."""
    from pydicom.sr.coding import Code

    return Code(value, scheme, meaning)


def site(segment: Segment) -> Code | None:
    """Return the coded place of a segment's calcium, None in a phantom."""
    if segment.site_code is None:
        return None
    return code(segment.site_code, _SITE_NAMES[segment.site_code])


_SITE_NAMES = {
    CORONARY_ARTERY_CODE: "Coronary artery",
    "3227004": "Left main coronary artery",
    "59438005": "Anterior descending branch of left coronary artery",
    "57396003": "Circumflex coronary artery",
    "13647002": "Right coronary artery",
    "15825003": "Aorta",
    "34202007": "Aortic valve",
    "65197004": "Mitral annulus",
}


def finding(segment: Segment) -> tuple[Code, Code]:
    """Return category and type of what a segment shows."""
    if segment.site_code is None:
        return (
            code("105590001", "Substance"),
            code("256579008", "Calcium hydroxyapatite"),
        )
    return (
        code("49755003", "Morphologically Abnormal Structure"),
        code("18115005", "Pathologic calcification, calcified structure"),
    )


def _order_as_scan(
    dataset: Dataset, labels: npt.NDArray[np.uint8], sources: Sequence[Dataset]
) -> None:
    """Let the frames of each segment run as the slices do; highdicom turns them."""
    from pydicom.pixels import pack_bits

    slices = {str(source.SOPInstanceUID): k for k, source in enumerate(sources)}
    rows = []
    for group in dataset.PerFrameFunctionalGroupsSequence:
        reference = group.DerivationImageSequence[0].SourceImageSequence[0]
        number, _ = group.FrameContentSequence[0].DimensionIndexValues
        rows.append((number, slices[reference.ReferencedSOPInstanceUID], group))
    rows.sort(key=lambda row: row[:2])
    used = sorted({index for _, index, _ in rows})
    for number, index, group in rows:
        place = used.index(index) + 1
        group.FrameContentSequence[0].DimensionIndexValues = [number, place]
    dataset.PerFrameFunctionalGroupsSequence = [group for _, _, group in rows]
    frames = [labels[index] == number for number, index, _ in rows]
    dataset.PixelData = pack_bits(np.stack(frames).astype(np.uint8))


def _description(
    segment: Segment, volume: Volume, model: Mapping[str, Any] | None
) -> Any:
    """Return how a segment describes itself."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    place = site(segment)
    category, kind = finding(segment)
    if model is None:
        algorithm = AlgorithmIdentificationSequence(
            name="kcalc threshold in a given mask",
            family=code("123109", "Manual Processing", "DCM"),
            version=__version__,
        )
    else:
        algorithm = AlgorithmIdentificationSequence(
            name=f"kcalc {model['name']}"[:64],
            family=code("123110", "Artificial Intelligence", "DCM"),
            version=f"{__version__}, model {model['version']}",
        )
    return SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.name,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type="SEMIAUTOMATIC" if model is None else "AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=segment.tracking_uid(volume),
        tracking_id=segment.name,
        anatomic_regions=None if place is None else [place],
        display_color=CIELabColor(60.0, 70.0, 50.0),
    )
