import keras
import numpy as np
import pytest
import tensorflow as tf

from kcalc.layers import batch_normalization
from kcalc.training.fused_normalization import fused_normalization


def network(shape):
    keras.utils.set_random_seed(0)
    convolution = keras.layers.Conv3D if len(shape) == 5 else keras.layers.Conv2D
    inputs = keras.Input(shape[1:])
    x = convolution(3, 3)(inputs)
    x = batch_normalization(name="bn")(x)
    return keras.Model(inputs, keras.layers.ReLU()(x))


def trained(model, image, fused):
    """Two steps; return loss, gradients and what the network says afterwards."""
    optimizer = keras.optimizers.SGD(0.05)

    @tf.function
    def step(image):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(image, training=True) - 0.3))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(
            zip(gradients, model.trainable_variables, strict=True)
        )
        return loss, gradients

    if fused:
        with fused_normalization(model):
            step(image)
            loss, gradients = step(image)
    else:
        step(image)
        loss, gradients = step(image)
    return [loss.numpy(), *(g.numpy() for g in gradients), model(image).numpy()]


@pytest.mark.parametrize("shape", [(2, 9, 7, 2), (2, 5, 8, 9, 1)])
def test_the_fused_kernel_gives_the_numbers_of_keras(shape):
    image = tf.random.stateless_normal(shape, [1, 2], mean=3.0)
    model = network(shape)
    twin = network(shape)
    expected = trained(model, image, fused=False)
    found = trained(twin, image, fused=True)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=2e-4, atol=2e-5)
    moving = [
        model.get_layer("bn").moving_variance,
        twin.get_layer("bn").moving_variance,
    ]
    np.testing.assert_allclose(*(m.numpy() for m in moving), rtol=1e-5)


def test_the_network_is_as_before_afterwards_and_in_inference():
    model = network((1, 6, 6, 2))
    image = tf.random.stateless_normal((1, 6, 6, 2), [3, 4])
    before = model(image).numpy()
    with fused_normalization(model):
        np.testing.assert_array_equal(model(image, training=False), before)
        assert "call" in vars(model.get_layer("bn"))
    assert "call" not in vars(model.get_layer("bn"))


def test_a_mixed_policy_keeps_the_type_of_its_maps():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = network((1, 6, 6, 2))
    finally:
        keras.config.set_dtype_policy("float32")
    with fused_normalization(model):
        output = model(tf.ones((1, 6, 6, 2)), training=True)
    assert output.dtype == tf.bfloat16
    assert np.isfinite(tf.cast(output, tf.float32)).all()
