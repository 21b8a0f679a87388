"""Optimisers with schedules that depend on the step alone, so that they resume."""

from __future__ import annotations

import keras

from kcalc.optimizers import ScheduledMomentumSGD
from kcalc.training.config import OptimizerConfig
from kcalc.training.epoch_schedules import StepChange


def momentum_sgd(config: OptimizerConfig) -> keras.optimizers.Optimizer:
    """Return SGD with momentum and a learning rate that decays in steps.

    The rate is ``learning_rate * decay_rate ** floor(step / decay_steps)``, or constant
    without a decay rate.
    """
    rate: float | keras.optimizers.schedules.LearningRateSchedule
    rate = config.learning_rate
    if config.decay_rate is not None:
        rate = keras.optimizers.schedules.ExponentialDecay(
            config.learning_rate,
            config.decay_steps,
            config.decay_rate,
            staircase=True,
        )
    return keras.optimizers.SGD(
        rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm,
        **_average(config),
    )


def cosine_adam(
    config: OptimizerConfig, total_steps: int
) -> keras.optimizers.Optimizer:
    """Return Adam with linear warm-up and a cosine to a hundredth of the peak rate.

    Args:
        config: Numbers of the optimiser; decay rate and steps are not used.
        total_steps: Steps of the whole run, warm-up included.
    """
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if config.warmup_steps else config.learning_rate,
        max(total_steps - config.warmup_steps, 1),
        alpha=0.01,
        warmup_target=config.learning_rate if config.warmup_steps else None,
        warmup_steps=config.warmup_steps,
    )
    return keras.optimizers.Adam(
        rate,
        beta_1=config.momentum,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm,
        **_average(config),
    )


def _average(config: OptimizerConfig) -> dict[str, object]:
    if config.ema_momentum is None:
        return {}
    return {"use_ema": True, "ema_momentum": config.ema_momentum}


def stepped_sgd(
    learning_rate: StepChange, momentum: StepChange, steps_per_epoch: int
) -> ScheduledMomentumSGD:
    """Return SGD whose learning rate and momentum change after a number of epochs.

    Args:
        learning_rate: The paper's is ``StepChange(0.1, 0.01, 10)`` (Bortsova 2017).
        momentum: The paper's is ``StepChange(0.9, 0.99, 10)``.
        steps_per_epoch: Optimiser steps an epoch of the same recipe.
    """
    return ScheduledMomentumSGD(
        learning_rate.of_steps(steps_per_epoch), momentum.of_steps(steps_per_epoch)
    )
