"""Evaluation: masks of a network and of a reader enter, tables of agreement leave.

:func:`compare_image` makes a row of an image, :func:`agreement_figures` the figures of
a test set of rows, :func:`compare_methods` tests two methods against each other. For
coronary calcium :func:`compare_split` makes rows with scores, of which :func:`figures`
tells risk classes too.
"""

from kcalc.evaluation.agreement import (
    BlandAltman,
    IntraclassCorrelation,
    bland_altman,
    icc,
)
from kcalc.evaluation.bone import BoneDistance
from kcalc.evaluation.checks import UndefinedStatisticError
from kcalc.evaluation.comparison import CaseComparison, compare_masks, compare_split
from kcalc.evaluation.confusion import class_confusion, class_figures, cohen_kappa
from kcalc.evaluation.detection import (
    LesionOverlap,
    detection_figures,
    missed_lesions,
)
from kcalc.evaluation.histogram import EqualBins, equal_bins
from kcalc.evaluation.image_figures import (
    agreement_figures,
    agreement_text,
    number_agreement,
)
from kcalc.evaluation.images import ImageAgreement, VesselOverlap, compare_image
from kcalc.evaluation.markdown import markdown_table
from kcalc.evaluation.methods import compare_methods, values_by_case
from kcalc.evaluation.overlap import (
    ImageOverlap,
    dice,
    dice_figures,
    pooled_dice,
    volume_groups,
)
from kcalc.evaluation.patients import patient_figures, patient_text
from kcalc.evaluation.raters import compare_label_folders, compare_stores
from kcalc.evaluation.resampling import bootstrap_interval, sums_by_patient
from kcalc.evaluation.significance import TTest, paired_t_test, welch_t_test
from kcalc.evaluation.tables import (
    by_kind,
    case_table,
    figures,
    summary,
)

__all__ = [
    "BlandAltman",
    "BoneDistance",
    "CaseComparison",
    "EqualBins",
    "ImageAgreement",
    "ImageOverlap",
    "IntraclassCorrelation",
    "LesionOverlap",
    "TTest",
    "UndefinedStatisticError",
    "VesselOverlap",
    "agreement_figures",
    "agreement_text",
    "bland_altman",
    "bootstrap_interval",
    "by_kind",
    "case_table",
    "class_confusion",
    "class_figures",
    "cohen_kappa",
    "compare_image",
    "compare_label_folders",
    "compare_masks",
    "compare_methods",
    "compare_split",
    "compare_stores",
    "detection_figures",
    "dice",
    "dice_figures",
    "equal_bins",
    "figures",
    "icc",
    "markdown_table",
    "missed_lesions",
    "number_agreement",
    "paired_t_test",
    "patient_figures",
    "patient_text",
    "pooled_dice",
    "summary",
    "sums_by_patient",
    "values_by_case",
    "volume_groups",
    "welch_t_test",
]
