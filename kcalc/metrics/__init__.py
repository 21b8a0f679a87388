"""Metrics: labels and predictions in, one number of all batches out."""

from kcalc.metrics.cohen_kappa import CohenKappa

__all__ = ["CohenKappa"]
