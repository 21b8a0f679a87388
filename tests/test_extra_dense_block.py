"""Tests of kcalc.layers.ExtraDenseBlock."""

from __future__ import annotations

import numpy as np
import pytest

from kcalc.layers import ExtraDenseBlock
from kcalc.testing import check_layer


def test_extra_dense_block_keeps_the_layer_contract() -> None:
    check_layer(
        lambda **kwargs: ExtraDenseBlock(2, growth_rate=4, **kwargs),
        input_shape=(2, 8, 10, 6),
        expected_output_shape=(2, 8, 10, 6),
    )


def test_weight_count_is_the_hand_worked_one() -> None:
    # The dense block of 6 channels, growth 4, two layers has 1600 (test_dense_block);
    # the 1x1 convolution back has 14 * 6 + 6 = 90.
    block = ExtraDenseBlock(2, growth_rate=4)
    block.build((None, None, None, 6))
    assert block.count_params() == 1690


def test_default_is_four_layers_of_growth_32() -> None:
    block = ExtraDenseBlock()
    block.build((None, None, None, 256))
    assert block.project.kernel.shape == (1, 1, 256 + 4 * 32, 256)


def test_output_is_the_projection_of_input_and_new_maps() -> None:
    block = ExtraDenseBlock(1, growth_rate=1, kernel_initializer="zeros")
    block.build((None, None, None, 1))
    # New maps are 0; the projection doubles the input and adds 3.
    block.project.set_weights([np.array([[[[2.0], [9.0]]]]), np.array([3.0])])
    outputs = np.asarray(block(np.full((1, 2, 2, 1), 5.0, "float32")))
    np.testing.assert_allclose(outputs, np.full((1, 2, 2, 1), 13.0))


def test_no_layers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 1\. Received: num_layers=0"):
        ExtraDenseBlock(0)
