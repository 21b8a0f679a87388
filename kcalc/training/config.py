"""What a training run is: frozen dataclasses, built in a recipe's Python file.

A recipe holds functions, not names, so that the type checker sees them; ``run.json``
records every value. A changed hyperparameter is a new recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from kcalc.data.plans import DataPlan
from kcalc.preparation import InputSpec
from kcalc.training.epoch_schedules import EpochSchedule

if TYPE_CHECKING:
    import keras

    from kcalc.losses import DeepSupervision

_PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
_BEST_BY = ("val_f1", "val_loss")


@dataclass(frozen=True)
class OptimizerConfig:
    """Numbers of the optimiser and its schedule; the recipe's function uses them.

    Args:
        learning_rate: Peak learning rate.
        momentum: Momentum of SGD, or Adam's first-moment decay.
        decay_rate: Factor per ``decay_steps`` of an exponential schedule, or None.
        decay_steps: Steps between two decays.
        warmup_steps: Steps of linear warm-up before a cosine schedule.
        weight_decay: Decoupled weight decay, or None.
        clip_norm: Largest global gradient norm, or None.
        ema_momentum: Momentum of the moving average of weights that is validated and
            kept; None for no average.
    """

    learning_rate: float
    momentum: float = 0.9
    decay_rate: float | None = None
    decay_steps: int = 1
    warmup_steps: int = 0
    weight_decay: float | None = None
    clip_norm: float | None = None
    ema_momentum: float | None = None

    def __post_init__(self) -> None:
        _check_positive(learning_rate=self.learning_rate, decay_steps=self.decay_steps)
        for name in ("momentum", "ema_momentum"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(
                    f"{name} must be at least 0 and below 1. Received: {name}={value}"
                )


@dataclass(frozen=True)
class TrainingConfig:
    """How long and in what portions.

    Args:
        epochs: Epochs; each ends with validation and a checkpoint.
        steps_per_epoch: Optimiser steps an epoch.
        batch_size: Samples a step over all replicas together.
        micro_batches: Parts in which a replica computes its share of a batch, one
            after the other: the gradients add up, the memory does not.
        precision: Keras dtype policy of the layers: ``"float32"``,
            ``"mixed_bfloat16"``, or ``"mixed_float16"`` (GPU; the loss is scaled).
        xla: Compile the network with XLA (one GPU); measure whether it helps.
        best_by: Which epoch is the best: ``"val_f1"``, the highest, or ``"val_loss"``,
            the lowest.
        measure_training: Whether ``train_f1`` and ``train_loss``, over samples chosen
            from the training split as validation chooses its own, are in the log too.
        patience: Epochs without a better one after which the run ends; None for never.
    """

    epochs: int
    steps_per_epoch: int
    batch_size: int = 1
    micro_batches: int = 1
    precision: str = "float32"
    xla: bool = False
    best_by: str = "val_f1"
    measure_training: bool = False
    patience: int | None = None

    def __post_init__(self) -> None:
        _check_positive(
            epochs=self.epochs,
            steps_per_epoch=self.steps_per_epoch,
            batch_size=self.batch_size,
            micro_batches=self.micro_batches,
            patience=1 if self.patience is None else self.patience,
        )
        for name, allowed in (("precision", _PRECISIONS), ("best_by", _BEST_BY)):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(
                    f"{name} must be one of {allowed}. Received: {name}={value!r}"
                )

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's result, but the data and the seed.

    Args:
        name: Name of the run, as in ``run.json``.
        input_spec: How HU become the network's input.
        data: Which samples: :class:`kcalc.data.SliceData` or ``VolumeData``.
        optimizer: Numbers of the optimiser.
        training: How long.
        build_model: Returns a new network; called inside the strategy's scope, as are
            the next two.
        build_loss: Returns the loss: one value a sample; or, for a network with
            several outputs, a :class:`kcalc.losses.DeepSupervision`.
        build_optimizer: Returns the optimiser.
        threshold: Probability from which a pixel counts as calcium in validation.
        schedules: For variables of the loss by name, such as ``positive_weight`` and
            ``auxiliary_weight``, their values epoch by epoch.
    """

    name: str
    input_spec: InputSpec
    data: DataPlan
    optimizer: OptimizerConfig
    training: TrainingConfig
    build_model: Callable[[], keras.Model]
    build_loss: Callable[[], keras.losses.Loss | DeepSupervision]
    build_optimizer: Callable[[], keras.optimizers.Optimizer]
    threshold: float = 0.5
    schedules: Mapping[str, EpochSchedule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(
                "threshold must lie between 0 and 1. "
                f"Received: threshold={self.threshold}"
            )


def smoke_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe cut to two steps and four validation samples."""
    return replace(
        recipe,
        name=f"{recipe.name}-smoke",
        data=recipe.data.smoke(),
        training=replace(recipe.training, epochs=1, steps_per_epoch=2),
    )


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain values for JSON.

    A function becomes its full name, a ``functools.partial`` that and its arguments.
    """
    return {item.name: _plain(getattr(recipe, item.name)) for item in fields(recipe)}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, partial):
        return {
            "function": _plain(value.func),
            "arguments": _plain([*value.args]),
            "keywords": _plain(value.keywords),
        }
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    return value


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0. Received: {name}={value}")
