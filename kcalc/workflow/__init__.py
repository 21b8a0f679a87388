"""Whole jobs: a path enters, a folder of results leaves, all of it or nothing."""

from kcalc.workflow.doctor import Check, Examination, examine
from kcalc.workflow.options import ScoreOptions
from kcalc.workflow.phantom import PhantomResult, render_phantom
from kcalc.workflow.scan import ScanResult, score_scan

__all__ = [
    "Check",
    "Examination",
    "PhantomResult",
    "ScanResult",
    "ScoreOptions",
    "examine",
    "render_phantom",
    "score_scan",
]
