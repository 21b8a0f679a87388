"""Checks for people who write layers, losses and models, kcalc's own included."""

from kcalc.testing.contracts import check_layer, check_loss, check_model

__all__ = ["check_layer", "check_loss", "check_model"]
