"""The version of kcalc, read by setup.cfg without importing anything else."""

__version__ = "0.1.0"

NOTICE = "Research use only. Not a medical device; not for diagnosis."
"""Stands in ``--version``, in every report and in every JSON (faults.md 3.5)."""
