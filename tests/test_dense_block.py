"""Tests of kcalc.layers.DenseBlock and of the batch normalisation it uses."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kcalc.layers import DenseBlock, batch_normalization
from kcalc.testing import check_layer


def test_dense_block_keeps_the_layer_contract() -> None:
    check_layer(
        lambda **kwargs: DenseBlock(2, growth_rate=4, **kwargs),
        input_shape=(2, 8, 10, 6),
        expected_output_shape=(2, 8, 10, 14),
    )


def test_input_comes_first_in_the_output_unchanged() -> None:
    inputs = np.random.default_rng(0).normal(size=(1, 4, 4, 3)).astype("float32")
    outputs = np.asarray(DenseBlock(2, growth_rate=5)(inputs))
    np.testing.assert_array_equal(outputs[..., :3], inputs)


def test_weight_count_is_the_hand_worked_one() -> None:
    # Input 6, growth 4, bottleneck 16.
    # Layer 1: BN 4*6, 1x1 6*16, BN 4*16, 3x3 9*16*4 = 24 + 96 + 64 + 576 = 760.
    # Layer 2: BN 4*10, 1x1 10*16, BN 64, 576 = 40 + 160 + 64 + 576 = 840.
    block = DenseBlock(2, growth_rate=4)
    block.build((None, None, None, 6))
    assert block.count_params() == 1600


def test_one_layer_block_computes_norm_relu_convolution_twice() -> None:
    block = DenseBlock(1, growth_rate=1, bottleneck=2, kernel_initializer="ones")
    inputs = np.full((1, 3, 3, 1), 2.0, "float32")
    inputs[0, 0, 0, 0] = -5.0
    outputs = np.asarray(block(inputs))
    # 1x1: relu(2) = 2 in both channels, relu(-5) = 0; the 3x3 sums both channels of
    # nine pixels, one of which is 0: 8 * 2 * 2 = 32 (but for the two epsilons).
    assert outputs[0, 1, 1, 1] == pytest.approx(32.0, rel=1e-4)
    # The corner opposite sees four pixels of 2: 4 * 2 * 2.
    assert outputs[0, 2, 2, 1] == pytest.approx(16.0, rel=1e-4)


def test_kernels_of_equal_shape_start_differently() -> None:
    block = DenseBlock(2, growth_rate=4)
    block.build((None, None, None, 6))
    first, second = (np.asarray(conv.kernel) for conv in block.grow_convs)
    assert first.shape == second.shape
    assert np.abs(first - second).max() > 0.01


def test_no_layers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 1\. Received: num_layers=0"):
        DenseBlock(0)


def test_unknown_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a known number of channels"):
        DenseBlock(1).build((None, 8, 8, None))


def test_batch_normalization_shares_moments_and_has_the_published_epsilon() -> None:
    layer = batch_normalization(name="norm")
    assert layer.epsilon == 1.001e-5
    assert layer.synchronized == (keras.backend.backend() == "tensorflow")
