"""Values that depend on the epoch alone, so that a resumed run continues them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import keras


class EpochSchedule(Protocol):
    """Any value of the epoch, such as :class:`StepChange` or :class:`LinearChange`."""

    def at(self, epoch: int) -> float:
        """Return the value in an epoch, counted from 0."""


@dataclass(frozen=True)
class StepChange:
    """A value that changes once, after a number of epochs.

    Args:
        before: Value in the first ``after_epochs`` epochs.
        after: Value from then on.
        after_epochs: Number of epochs with the first value; at least 0.

    Raises:
        ValueError: ``after_epochs`` is negative.

    Example:
        >>> weight = StepChange(1000.0, 1.0, after_epochs=5)
        >>> weight.at(4), weight.at(5)
        (1000.0, 1.0)
    """

    before: float
    after: float
    after_epochs: int

    def __post_init__(self) -> None:
        if self.after_epochs < 0:
            raise ValueError(
                "after_epochs must be at least 0. "
                f"Received: after_epochs={self.after_epochs}"
            )

    def at(self, epoch: int) -> float:
        """Return the value in an epoch, counted from 0."""
        return self.before if epoch < self.after_epochs else self.after

    def of_steps(
        self, steps_per_epoch: int
    ) -> keras.optimizers.schedules.LearningRateSchedule:
        """Return the same as a schedule of the optimiser's step."""
        import keras

        last_step_before = self.after_epochs * steps_per_epoch - 1
        return keras.optimizers.schedules.PiecewiseConstantDecay(
            [last_step_before], [self.before, self.after]
        )


@dataclass(frozen=True)
class LinearChange:
    """A value that goes straight from one to another, epoch by epoch, and stays.

    Args:
        first: Value in the first epoch.
        last: Value from epoch ``epochs`` (counted from 0) on.
        epochs: Epochs that it takes; above 0.

    Raises:
        ValueError: ``epochs`` is not above 0.

    Example:
        >>> weight = LinearChange(1.0, 0.0, epochs=50)
        >>> weight.at(0), weight.at(25), weight.at(60)
        (1.0, 0.5, 0.0)
    """

    first: float
    last: float
    epochs: int

    def __post_init__(self) -> None:
        if not self.epochs > 0:
            raise ValueError(f"epochs must be above 0. Received: epochs={self.epochs}")

    def at(self, epoch: int) -> float:
        """Return the value in an epoch, counted from 0."""
        return self.first + (self.last - self.first) * min(epoch / self.epochs, 1.0)
