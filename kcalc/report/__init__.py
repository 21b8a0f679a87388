"""Reports: a scored scan enters; JSON, CSV and HTML leave, whole or not at all."""

from kcalc.report.folder import (
    result_folder,
    write_record,
    write_text,
)
from kcalc.report.html import render_html
from kcalc.report.pictures import Picture, lesion_pictures
from kcalc.report.record import score_record
from kcalc.report.table import lesions_csv

__all__ = [
    "Picture",
    "lesion_pictures",
    "lesions_csv",
    "render_html",
    "result_folder",
    "score_record",
    "write_record",
    "write_text",
]
