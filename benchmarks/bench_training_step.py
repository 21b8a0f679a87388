"""CPU time of a training step: Keras' batch normalisation against the fused kernel.

    python benchmarks/bench_training_step.py

One thread, random input, plain gradient descent; the two take turns. Prints the median
CPU seconds of a step each and the median ratio.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import keras
import tensorflow as tf

from kcalc.models import dense_ra_unet, residual_dropout_fcn
from kcalc.training.fused_normalization import fused_normalization

ROUNDS = 5
CASES = {
    "residual_dropout_fcn 8/16/32, 66x130x130": (
        partial(residual_dropout_fcn, (66, 130, 130, 1), channels=(8, 16, 32)),
        (1, 66, 130, 130, 1),
    ),
    "residual_dropout_fcn 4/8/16, 66x130x130": (
        partial(residual_dropout_fcn, (66, 130, 130, 1), channels=(4, 8, 16)),
        (1, 66, 130, 130, 1),
    ),
    "dense_ra_unet 0.25, 4 x 256x256x9": (
        partial(dense_ra_unet, (256, 256, 9), width=0.25, blocks=(4, 6, 8, 6)),
        (4, 256, 256, 9),
    ),
}


def step_of(build: Callable[[], keras.Model], fused: bool) -> Callable[..., tf.Tensor]:
    """Return a traced step of a new network."""
    keras.utils.set_random_seed(0)
    model = build()
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(image: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(model(image, training=True))
            loss = tf.add_n([tf.reduce_mean(tf.square(x)) for x in outputs])
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(
            zip(gradients, model.trainable_variables, strict=True)
        )
        return loss

    def traced(image: tf.Tensor) -> tf.Tensor:
        with fused_normalization(model) if fused else nullcontext():
            return step(image)

    return traced


def main() -> None:
    """Print a line for every network."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for name, (build, shape) in CASES.items():
        image = tf.random.stateless_normal(shape, [1, 2])
        steps = [step_of(build, fused) for fused in (False, True)]
        for step in steps:
            step(image)
        seconds: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for step, spent in zip(steps, seconds, strict=True):
                began = time.process_time()
                float(step(image))
                spent.append(time.process_time() - began)
        ratio = statistics.median(b / a for a, b in zip(*seconds, strict=True))
        keras_s, fused_s = (statistics.median(spent) for spent in seconds)
        print(f"{name}: {keras_s:.3f} s, fused {fused_s:.3f} s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
