"""SGD whose momentum follows a schedule of the step, as its learning rate can."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kcalc")
class ScheduledMomentumSGD(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Gradient descent with a momentum that may change with the step.

    ``v = momentum(step) * v - learning_rate(step) * gradient; w = w + v``: Keras's
    ``SGD`` takes a number alone for the momentum. Both schedules are computed from the
    optimiser's own step counter, which every checkpoint holds, so a resumed run
    continues them exactly.

    Args:
        learning_rate: A number, or a Keras schedule of the step.
        momentum: A number from 0 to below 1, or a Keras schedule of the step
            (:meth:`kcalc.training.StepChange.of_steps` makes one).
        nesterov: Whether the gradient's part is applied once more at the new place.
        **kwargs: ``weight_decay``, ``global_clipnorm``, ``use_ema`` and the others of
            every Keras optimiser.

    Raises:
        ValueError: A ``momentum`` that is a number is outside [0, 1).

    Example:
        >>> steps = keras.optimizers.schedules.PiecewiseConstantDecay([9], [0.9, 0.99])
        >>> optimizer = ScheduledMomentumSGD(0.1, steps)
        >>> optimizer.iterations.assign(10) is None, float(optimizer.current_momentum)
        (False, 0.9900000095367432)

    References:
        Bortsova et al. 2017, doi 10.1007/978-3-319-66179-7_41, section 3: momentum 0.9,
        from epoch 11 on 0.99.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: Any = 0.9,
        nesterov: bool = False,
        name: str = "scheduled_momentum_sgd",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        if not callable(momentum) and not 0 <= momentum < 1:
            raise ValueError(
                "momentum must be at least 0 and below 1, or a schedule of the step. "
                f"Received: momentum={momentum}."
            )
        self.momentum = momentum
        self.nesterov = nesterov

    @property
    def current_momentum(self) -> Any:
        """The momentum of the step that comes next, as a tensor."""
        if callable(self.momentum):
            return self.momentum(self.iterations)
        return ops.convert_to_tensor(self.momentum, "float32")

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        velocity = self.velocities[self._get_variable_index(variable)]
        momentum = ops.cast(self.current_momentum, variable.dtype)
        step = ops.cast(gradient, variable.dtype) * ops.cast(
            learning_rate, variable.dtype
        )
        self.assign(velocity, momentum * velocity - step)
        self.assign_add(
            variable, momentum * velocity - step if self.nesterov else velocity
        )

    def get_config(self) -> dict[str, Any]:
        momentum = self.momentum
        return {
            **super().get_config(),
            "momentum": keras.saving.serialize_keras_object(momentum)
            if callable(momentum)
            else momentum,
            "nesterov": self.nesterov,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> ScheduledMomentumSGD:
        config = dict(config)
        if isinstance(config["momentum"], dict):
            config["momentum"] = keras.saving.deserialize_keras_object(
                config["momentum"], custom_objects=custom_objects
            )
        optimizer: ScheduledMomentumSGD = super().from_config(config, custom_objects)
        return optimizer
