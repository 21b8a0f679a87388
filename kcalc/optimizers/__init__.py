"""Optimisers that Keras lacks."""

from kcalc.optimizers.scheduled_momentum_sgd import ScheduledMomentumSGD

__all__ = ["ScheduledMomentumSGD"]
