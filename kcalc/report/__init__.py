"""Reports: a scored scan enters; JSON, CSV, HTML, SEG and SR leave, or nothing."""

from kcalc.report.dicom_file import check_dicom_source
from kcalc.report.dicom_seg import dicom_seg, segments_of
from kcalc.report.dicom_sr import dicom_sr
from kcalc.report.evaluation import write_agreement
from kcalc.report.folder import (
    result_folder,
    write_record,
    write_text,
)
from kcalc.report.html import render_html
from kcalc.report.overlay import overlay_picture
from kcalc.report.pictures import Picture, lesion_pictures
from kcalc.report.record import score_record
from kcalc.report.registration import registration_pictures
from kcalc.report.summary import summary_lines
from kcalc.report.table import lesions_csv

__all__ = [
    "Picture",
    "check_dicom_source",
    "dicom_seg",
    "dicom_sr",
    "lesion_pictures",
    "lesions_csv",
    "overlay_picture",
    "registration_pictures",
    "render_html",
    "result_folder",
    "score_record",
    "segments_of",
    "summary_lines",
    "write_agreement",
    "write_record",
    "write_text",
]
