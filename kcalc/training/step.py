"""One optimiser step over all replicas: losses, gradients, and what stops a run."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kcalc.errors import KcalcError
from kcalc.training.objective import Objective, adds_samples, sample_values


class TrainStep:
    """The traced step of a compiled model under a strategy.

    A sample's loss is a ratio of its own; the step's loss is the mean over the global
    batch (the sum, for a loss whose ``reduction`` is ``"sum"``), so that any number of
    replicas gives the same gradient. Nothing is applied where a loss or a gradient is
    not finite.

    Args:
        model: Compiled model: its optimiser is used.
        objective: The recipe's loss, see :func:`kcalc.training.objective`.
        strategy: The strategy in whose scope the model was built.
        micro_batches: Parts that a replica's share of a batch is computed in, one
            after the other, to save memory. Batch normalisation sees a part at a time.
        xla: Compile the network with XLA; batches must have a fixed shape.
    """

    def __init__(
        self,
        model: keras.Model,
        objective: Objective,
        strategy: tf.distribute.Strategy,
        micro_batches: int = 1,
        xla: bool = False,
    ) -> None:
        self.model = model
        self.objective = objective
        self.strategy = strategy
        self._micro_batches = micro_batches
        self._parts = strategy.num_replicas_in_sync * micro_batches
        self._part = (
            tf.function(self._loss_and_gradients, autograph=False, jit_compile=True)
            if xla
            else self._loss_and_gradients
        )
        self._step = tf.function(self._everywhere, autograph=False, jit_compile=False)

    def __call__(self, batch: Any, stop: bool = False) -> tuple[float, bool]:
        """Make one step.

        Args:
            batch: (image, label) of the global batch, shared among the replicas.
            stop: Whether this process was asked to stop.

        Returns:
            The loss of the global batch, and whether any process was asked to stop.

        Raises:
            KcalcError: ``TRAIN_NONFINITE``.
        """
        try:
            loss, stops = self._step(batch, tf.constant(float(stop)))
        except tf.errors.InvalidArgumentError as error:
            if _NOT_FINITE not in error.message:
                raise
            raise KcalcError(
                "TRAIN_NONFINITE", "Loss and gradients must stay finite."
            ) from error
        return float(loss), float(stops) > 0

    def _everywhere(self, batch: Any, stop: Any) -> Any:
        return tuple(
            self.strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
            for value in self.strategy.run(self._replica, args=(batch, stop))
        )

    def _replica(self, batch: Any, stop: Any) -> tuple[Any, Any]:
        variables = self.model.trainable_variables
        size = tf.shape(tf.nest.flatten(batch)[0])[0] // self._micro_batches
        total: Any = tf.constant(0.0)
        gradients: list[Any] = []
        for part in range(self._micro_batches):
            # A part waits for the one before, so that one is in memory at a time.
            with tf.control_dependencies(gradients):
                image, label = (
                    tf.identity(tensor[part * size : (part + 1) * size])
                    for tensor in batch
                )
            value, more = self._part(image, label)
            total += value
            gradients = (
                [old + new for old, new in zip(gradients, more, strict=True)]
                if part
                else more
            )
        with tf.control_dependencies([self._assert_finite(total, gradients)]):
            gradients = [tf.identity(gradient) for gradient in gradients]
        self.model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return total, tf.identity(stop)

    def _loss_and_gradients(self, image: Any, label: Any) -> tuple[Any, list[Any]]:
        """Return a part's share of the global loss, and its gradients."""
        optimizer = self.model.optimizer
        with tf.GradientTape() as tape:
            outputs = self.model(image, training=True)
            values = sample_values(self.objective, label, outputs)
            if adds_samples(self.objective):
                value = tf.reduce_sum(values)
            else:
                value = tf.reduce_mean(values) / self._parts
            # Of the weights alone (L2): one share a part, since shares are summed.
            value += tf.add_n([0.0, *self.model.losses]) / self._parts
            scaled = optimizer.scale_loss(value)
        gradients = tape.gradient(
            scaled,
            self.model.trainable_variables,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return value, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def _assert_finite(self, loss: Any, gradients: list[Any]) -> Any:
        """Return an operation that fails on every replica if one is not finite."""
        finite = tf.reduce_all(
            [tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients]
        )
        optimizer = self.model.optimizer
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # It skips a step whose scaled gradients overflow, and halves the scale.
            scale = tf.convert_to_tensor(optimizer.dynamic_scale)
            finite = tf.logical_or(finite, scale > 1.0)
        finite = tf.logical_and(finite, tf.math.is_finite(loss))
        broken = 1.0 - tf.cast(finite, tf.float32)
        replica = tf.distribute.get_replica_context()
        if self.strategy.num_replicas_in_sync > 1:
            broken = replica.all_reduce(tf.distribute.ReduceOp.SUM, broken)
        return tf.debugging.Assert(tf.equal(broken, 0.0), [_NOT_FINITE])


_NOT_FINITE = "the loss or a gradient is not finite"
