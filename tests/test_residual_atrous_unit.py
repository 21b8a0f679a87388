"""Tests of kcalc.layers.ResidualAtrousUnit."""

from __future__ import annotations

import numpy as np
import pytest

from kcalc.layers import ResidualAtrousUnit
from kcalc.testing import check_layer


def test_residual_atrous_unit_keeps_the_layer_contract() -> None:
    check_layer(
        lambda **kwargs: ResidualAtrousUnit(**kwargs),
        input_shape=(2, 18, 20, 8),
        expected_output_shape=(2, 18, 20, 8),
    )


def test_impulse_response_shows_dilations_two_four_and_eight() -> None:
    unit = ResidualAtrousUnit(branch_filters=1, kernel_initializer="ones")
    impulse = np.zeros((1, 19, 19, 1), "float32")
    impulse[0, 9, 9, 0] = 1.0
    response = np.asarray(unit(impulse))[0, :, :, 0]
    # Every branch answers 1 at the centre and at the eight places d away; all three
    # are summed, and the centre has the input itself on top: 3 + 1.
    expected = np.zeros((19, 19))
    for distance in (2, 4, 8):
        rows = [9 - distance, 9, 9 + distance]
        expected[np.ix_(rows, rows)] = 1.0
    expected[9, 9] = 4.0
    np.testing.assert_allclose(response, expected, atol=1e-4)


def test_with_zero_kernels_only_the_rectified_input_is_left() -> None:
    unit = ResidualAtrousUnit(kernel_initializer="zeros")
    inputs = np.array([[[[-1.0, 2.0]], [[3.0, -4.0]]]], "float32")
    np.testing.assert_array_equal(
        np.asarray(unit(inputs)), [[[[0.0, 2.0]], [[3.0, 0.0]]]]
    )


@pytest.mark.parametrize(
    ("channels", "filters"), [(8, 4), (128, 64), (132, 33), (1024, 256)]
)
def test_branches_have_half_the_channels_up_to_128_and_a_quarter_above(
    channels: int, filters: int
) -> None:
    unit = ResidualAtrousUnit()
    unit.build((None, None, None, channels))
    assert [conv.filters for conv in unit.branch_convs] == [filters] * 3


def test_weight_count_is_the_hand_worked_one() -> None:
    # 8 channels, branches of 4: 3 * (9*8*4 + 4*4) + 12*8 + 4*8 = 912 + 96 + 32.
    unit = ResidualAtrousUnit()
    unit.build((None, None, None, 8))
    assert unit.count_params() == 1040


def test_equal_dilations_are_allowed() -> None:
    unit = ResidualAtrousUnit((1, 1), branch_filters=2)
    assert unit(np.zeros((1, 4, 4, 3), "float32")).shape == (1, 4, 4, 3)


@pytest.mark.parametrize("dilations", [(), (0,), (2, -1)])
def test_dilations_below_one_or_none_are_refused(dilations: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"The paper uses \(2, 4, 8\)"):
        ResidualAtrousUnit(dilations)


def test_branches_without_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="Received: branch_filters=0"):
        ResidualAtrousUnit(branch_filters=0)


def test_unknown_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a known number of channels"):
        ResidualAtrousUnit().build((None, 8, 8, None))
