"""A DICOM SR of the score: a TID 1500 measurement report in coded concepts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kcalc._version import NOTICE, __version__
from kcalc.anatomy import NOT_CORONARY
from kcalc.io.label_names import CORONARY_ARTERY_CODE
from kcalc.report import dicom_file
from kcalc.report.dicom_seg import (
    Segment,
    code,
    finding,
    site,
)
from kcalc.scoring import CalciumScore
from kcalc.scoring.lesions import UNASSIGNED, VesselScore
from kcalc.volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SERIES_NUMBER = 9002
_SCHEME = "99KCALC"
_OTHER_NAMES = {structure.name for structure in NOT_CORONARY}
_TOTAL = Segment(0, None, "total", CORONARY_ARTERY_CODE)


def dicom_sr(
    volume: Volume,
    score: CalciumScore,
    record: Mapping[str, Any],
    segments: Sequence[Segment],
    seg: Dataset | None,
    *,
    identity: Mapping[str, str] | None = None,
) -> Dataset:
    """Return a score as a DICOM structured report (Comprehensive SR, TID 1500).

    One measurement group holds the total of the coronary arteries with the rule, its
    threshold, the tube voltage and the spacing; a further one each vessel or other
    structure. Groups refer to their segment where there is one. Warnings stand beside
    the total as comments.

    Args:
        volume: A scan that :func:`kcalc.report.dicom_file.check_dicom_source` accepts.
        score: Its score.
        record: What ``score.json`` holds: model and findings are taken from it.
        segments: Those of the segmentation; () for a scan without calcium.
        seg: The segmentation, None for a scan without calcium.
        identity: Identifiers to keep, or None.
    """
    from highdicom import sr

    algorithm = _algorithm(score, record["model"])
    one = segments[0] if len(segments) == 1 and segments[0].label is None else None
    facts = _facts(score, volume)
    groups = [_group(_TOTAL, one, _coronary(score), volume, seg, algorithm, facts)]
    _comment(groups[0], record)
    for segment, totals in _by_segment(score, segments):
        groups.append(_group(segment, segment, totals, volume, seg, algorithm))
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=dicom_file.derived_uid("device", __version__),
        name=dicom_file.DEVICE,
        manufacturer_name=dicom_file.DEVICE,
        model_name=f"{dicom_file.DEVICE} {__version__}",
    )
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(
                observer_type=code("121007", "Device", "DCM"),
                observer_identifying_attributes=device,
            )
        ),
        procedure_reported=code("426005005", "Cardiac CT for calcium scoring"),
        imaging_measurements=groups,
    )
    dataset = sr.ComprehensiveSR(
        evidence=[
            *dicom_file.source_datasets(volume),
            *([] if seg is None else [seg]),
        ],
        content=report[0],
        series_instance_uid=dicom_file.derived_uid("series to be"),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=dicom_file.derived_uid("instance to be"),
        instance_number=1,
        is_complete=True,
        series_description="kcalc calcium score (research use only)",
        coding_schemes=[_coding_scheme()],
        **dicom_file.equipment(),
    )
    dicom_file.point_at_frames(dataset, volume)
    dicom_file.complete(dataset, identity)
    return dataset


def _group(
    what: Segment,
    segment: Segment | None,
    totals: CalciumScore | VesselScore,
    volume: Volume,
    seg: Dataset | None,
    algorithm: Any,
    facts: tuple[list[Any], list[Any]] | None = None,
) -> Any:
    """Return a measurement group, of a segment's volume (TID 1411) or of the scan."""
    from highdicom import sr

    place = site(segment or what)
    category, kind = finding(segment or what)
    further, evaluations = facts or ([], [])
    common = {
        "tracking_identifier": sr.TrackingIdentifier(
            uid=(segment or what).tracking_uid(volume), identifier=what.name
        ),
        "finding_category": category,
        "finding_type": kind,
        "finding_sites": None if place is None else [sr.FindingSite(place)],
        "algorithm_id": algorithm,
        "measurements": [*_scores(totals, what.name), *further],
        "qualitative_evaluations": evaluations,
    }
    if segment is None or seg is None:
        return sr.MeasurementsAndQualitativeEvaluations(**common)
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=seg.SOPClassUID,
            sop_instance_uid=seg.SOPInstanceUID,
            segment_number=segment.number,
            source_series=sr.SourceSeriesForSegmentation(
                str(volume.acquisition.series_uid)
            ),
        ),
        **common,
    )


def _coronary(score: CalciumScore) -> CalciumScore | VesselScore:
    """Return the totals without the lesions of other structures, such as the aorta."""
    totals = score.per_vessel or {}
    if not _OTHER_NAMES.intersection(totals):
        return score
    kept = [total for name, total in totals.items() if name not in _OTHER_NAMES]
    masses = [total.mass_mg for total in kept if total.mass_mg is not None]
    return VesselScore(
        agatston=score.coronary_agatston,
        volume_mm3=math.fsum(total.volume_mm3 for total in kept),
        mass_mg=None if score.mass_mg is None else math.fsum(masses),
        num_lesions=sum(total.num_lesions for total in kept),
    )


def _scores(totals: CalciumScore | VesselScore, name: str) -> list[Any]:
    """Return score, volume and mass as measurements with their method."""
    rows = (
        (
            code("112058", "Calcium score", "DCM")
            if name in _OTHER_NAMES
            else code("450360000", "Coronary artery calcium score"),
            totals.agatston,
            code("1", "no units", "UCUM"),
            code("112055", "Agatston scoring method", "DCM"),
        ),
        (
            code("122660", "Calcium Volume", "DCM"),
            totals.volume_mm3,
            code("mm3", "cubic millimeter", "UCUM"),
            code("112056", "Volume scoring method", "DCM"),
        ),
        (
            code("122661", "Calcium Mass", "DCM"),
            totals.mass_mg,
            code("mg", "milligram", "UCUM"),
            code("112057", "Mass scoring method", "DCM"),
        ),
    )
    return [
        _measurement(name, value, unit, method)
        for name, value, unit, method in rows
        if value is not None
    ]


def _facts(score: CalciumScore, volume: Volume) -> tuple[list[Any], list[Any]]:
    """Return threshold, tube voltage and spacing, and the coded rule."""
    from highdicom.sr import QualitativeEvaluation

    millimetre = code("mm", "millimeter", "UCUM")
    z, y, x = volume.spacing_mm
    rows = (
        (
            code("122657", "Agatston Score Threshold", "DCM"),
            score.rule.threshold_hu,
            code("[hnsf'U]", "Hounsfield unit", "UCUM"),
        ),
        (
            code("113733", "KVP", "DCM"),
            score.tube_voltage_kvp,
            code("kV", "kilovolt", "UCUM"),
        ),
        (code("112226", "Spacing between slices", "DCM"), z, millimetre),
        (code("111066", "Vertical Pixel Spacing", "DCM"), y, millimetre),
        (code("111026", "Horizontal Pixel Spacing", "DCM"), x, millimetre),
        (
            code("112225", "Slice Thickness", "DCM"),
            volume.acquisition.slice_thickness_mm,
            millimetre,
        ),
    )
    measurements = [
        _measurement(name, value, unit)
        for name, value, unit in rows
        if value is not None
    ]
    rule = QualitativeEvaluation(
        code("RULE", "Calcium scoring rule", _SCHEME),
        code(score.rule.name, score.rule.name[:64], _SCHEME),
    )
    return measurements, [rule]


def _measurement(name: Any, value: float, unit: Any, method: Any = None) -> Any:
    from highdicom.sr import Measurement

    return Measurement(name=name, value=float(value), unit=unit, method=method)


def _by_segment(
    score: CalciumScore, segments: Sequence[Segment]
) -> list[tuple[Segment, VesselScore]]:
    """Return each vessel's segment with its totals.

    Lesions in no vessel have totals in common; a segment gets them if it is the only
    one of that kind.
    """
    totals = score.per_vessel or {}
    found = [(part, totals[part.name]) for part in segments if part.name in totals]
    others = [part for part in segments if part.name not in totals]
    if len(others) == 1 and UNASSIGNED in totals:
        found.append((others[0], totals[UNASSIGNED]))
    return found


def _algorithm(score: CalciumScore, model: Mapping[str, Any] | None) -> Any:
    """Return the algorithm with its version, the rule in words and the network."""
    from highdicom.sr import AlgorithmIdentification

    mask = (
        "mask: given"
        if model is None
        else f"mask: network {model['name']}, version {model['version']}"
    )
    rule = f"rule {score.rule.name}: {score.rule.describe()}"
    return AlgorithmIdentification(
        name=dicom_file.DEVICE,
        version=__version__,
        manufacturer=dicom_file.DEVICE,
        parameters=[rule, mask],
    )


def _comment(group: Any, record: Mapping[str, Any]) -> None:
    """Add the notice and the warnings to a measurement group as comments."""
    from highdicom.sr import RelationshipTypeValues, TextContentItem

    warnings = [
        f"{found['code']}: {found['message']}"
        for found in record["findings"]
        if found["kind"] == "warning"
    ]
    for text in (NOTICE, *warnings):
        item = TextContentItem(
            name=code("121106", "Comment", "DCM"),
            value=text,
            relationship_type=RelationshipTypeValues.CONTAINS,
        )
        group[0].ContentSequence.append(item)


def _coding_scheme() -> Any:
    """Return who defines the codes of kcalc's own."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return CodingSchemeIdentificationItem(
        designator=_SCHEME, name="kcalc scoring rules", version=__version__
    )
