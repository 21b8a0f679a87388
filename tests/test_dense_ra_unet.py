"""Tests of kcalc.models.dense_ra_unet."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from two_replicas import numbers_from

from kcalc.losses import BootstrapIoU
from kcalc.models import dense_ra_unet
from kcalc.testing import check_model

# keras.applications.DenseNet121(include_top=False), three channels: Huang et al. 2017.
PUBLISHED_TRUNK_PARAMETERS = 7_037_504
# Six more input channels into 64 kernels of 7 x 7.
SIX_MORE_CHANNELS = 6 * 7 * 7 * 64

LAYER_NAMES = """
slices stem_conv stem_bn stem_relu
dense1 dense1_out_bn dense1_out_relu transition1_conv transition1_pool
dense2 dense2_out_bn dense2_out_relu transition2_conv transition2_pool
dense3 dense3_out_bn dense3_out_relu transition3_conv transition3_pool
dense4 dense4_out_bn dense4_out_relu
skip1_extra_dense
skip1_residual_atrous skip2_residual_atrous skip3_residual_atrous
decoder3_up_deconv decoder3_up_bn decoder3_up_relu decoder3_join
decoder3_a_conv decoder3_a_bn decoder3_a_relu
decoder3_b_conv decoder3_b_bn decoder3_b_relu decoder3_scse
decoder2_up_deconv decoder2_up_bn decoder2_up_relu decoder2_join
decoder2_a_conv decoder2_a_bn decoder2_a_relu
decoder2_b_conv decoder2_b_bn decoder2_b_relu decoder2_scse
decoder1_up_deconv decoder1_up_bn decoder1_up_relu decoder1_join
decoder1_a_conv decoder1_a_bn decoder1_a_relu
decoder1_b_conv decoder1_b_bn decoder1_b_relu decoder1_scse
head_logits head_enlarge probabilities
""".split()


def _small(input_shape: Any = (32, 32, 9), **kwargs: Any) -> keras.Model:
    arguments = {"width": 0.125, "blocks": (1, 1, 1, 1), **kwargs}
    return dense_ra_unet(input_shape, **arguments)


def _is_trunk(layer: keras.layers.Layer) -> bool:
    return bool(layer.name.startswith(("stem", "dense", "transition")))


def _num_convolutions(layer: keras.layers.Layer) -> int:
    parts = layer._flatten_layers()
    return sum(isinstance(part, keras.layers.Conv2D) for part in parts)


@pytest.fixture(scope="module")
def full_size() -> keras.Model:
    return dense_ra_unet()


@pytest.mark.slow
def test_dense_ra_unet_keeps_the_model_contract() -> None:
    check_model(_small, (2, 32, 48, 9), (2, 32, 48, 1))


def test_eager_predict_and_traced_outputs_agree() -> None:
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    model = _small((None, None, 9))
    inputs = np.random.default_rng(0).random((2, 32, 48, 9), dtype="float32")
    eager = np.asarray(model(inputs))
    fixed = tf.function(
        lambda x: model(x, training=False),
        input_signature=[tf.TensorSpec((2, 32, 48, 9), tf.float32)],
    )
    free = tf.function(
        lambda x: model(x, training=False),
        input_signature=[tf.TensorSpec((None, None, None, 9), tf.float32)],
    )
    assert eager.shape == (2, 32, 48, 1)
    assert eager.std() > 0.01
    np.testing.assert_allclose(model.predict(inputs, verbose=0), eager, atol=2e-6)
    np.testing.assert_allclose(fixed(inputs).numpy(), eager, atol=2e-6)
    np.testing.assert_allclose(free(inputs).numpy(), eager, atol=2e-6)


def test_trunk_has_the_published_parameters_of_densenet_121(
    full_size: keras.Model,
) -> None:
    trunk = sum(layer.count_params() for layer in full_size.layers if _is_trunk(layer))
    assert trunk == PUBLISHED_TRUNK_PARAMETERS + SIX_MORE_CHANNELS


def test_trunk_has_the_120_convolutions_of_densenet_121(full_size: keras.Model) -> None:
    # 1 stem, 3 transitions, 2 * (6 + 12 + 24 + 16); the 121st layer is the classifier.
    trunk = [layer for layer in full_size.layers if _is_trunk(layer)]
    assert sum(map(_num_convolutions, trunk)) == 120
    dense = [_num_convolutions(full_size.get_layer(f"dense{i}")) for i in (1, 2, 3, 4)]
    assert dense == [12, 24, 48, 32]


def test_taps_have_the_published_channels_at_strides_2_to_16(
    full_size: keras.Model,
) -> None:
    shapes = [full_size.get_layer(f"dense{i}").output.shape for i in (1, 2, 3, 4)]
    assert shapes == [
        (None, 256, 256, 256),
        (None, 128, 128, 512),
        (None, 64, 64, 1024),
        (None, 32, 32, 1024),
    ]


def test_layer_names_are_the_public_ones(full_size: keras.Model) -> None:
    assert sorted(layer.name for layer in full_size.layers) == sorted(LAYER_NAMES)


def test_parameters_at_full_and_at_shipped_width(full_size: keras.Model) -> None:
    assert full_size.count_params() == 23_749_220
    assert dense_ra_unet(width=0.25).count_params() == 1_525_916


@pytest.mark.parametrize(
    ("switch", "without"),
    [
        ("residual_atrous", [f"skip{i}_residual_atrous" for i in (1, 2, 3)]),
        ("extra_dense", ["skip1_extra_dense"]),
        ("scse", [f"decoder{i}_scse" for i in (1, 2, 3)]),
    ],
)
def test_a_switch_removes_exactly_its_layers(switch: str, without: list[str]) -> None:
    complete = _small()
    reduced = _small(**{switch: False})
    names = {layer.name for layer in complete.layers}
    assert {layer.name for layer in reduced.layers} == names - set(without)
    removed = sum(complete.get_layer(name).count_params() for name in without)
    assert removed > 0
    assert complete.count_params() - reduced.count_params() == removed


def test_all_switches_off_leave_a_dense_u_net_of_plain_skips() -> None:
    model = _small(residual_atrous=False, extra_dense=False, scse=False)
    assert not [layer.name for layer in model.layers if layer.name.startswith("skip")]
    joined = model.get_layer("decoder1_join").input[1]
    assert joined is model.get_layer("dense1_out_relu").output


def test_extra_dense_block_comes_before_the_first_residual_atrous_unit() -> None:
    model = _small()
    unit, block = model.get_layer("skip1_residual_atrous"), "skip1_extra_dense"
    assert unit.input is model.get_layer(block).output


def test_dilations_reach_every_unit() -> None:
    model = _small(dilations=(1, 3))
    for number in (1, 2, 3):
        unit = model.get_layer(f"skip{number}_residual_atrous")
        assert [conv.dilation_rate for conv in unit.branch_convs] == [(1, 1), (3, 3)]


@pytest.mark.parametrize(
    ("width", "stem", "growth"), [(1.0, 64, 32), (0.25, 16, 8), (0.01, 4, 4)]
)
def test_width_scales_channels_in_fours(width: float, stem: int, growth: int) -> None:
    model = _small(width=width)
    assert model.get_layer("stem_conv").filters == stem
    assert model.get_layer("dense1").growth_rate == growth


def test_initial_kernels_are_gaussian_with_he_deviation(full_size: keras.Model) -> None:
    kernel = np.asarray(full_size.get_layer("stem_conv").kernel)
    deviation = np.sqrt(2 / (7 * 7 * 9))
    assert kernel.std() == pytest.approx(deviation, rel=0.03)
    # A truncated normal ends at 2.3 deviations; of 28 224 Gaussian draws some pass 3.
    assert np.abs(kernel).max() > 3 * deviation


def test_a_stated_deviation_is_that_of_every_kernel() -> None:
    model = _small(width=0.5, initial_std=0.01)
    kernels = [w for w in model.weights if w.path.endswith("kernel") and w.ndim == 4]
    values = np.concatenate([np.asarray(kernel).ravel() for kernel in kernels])
    assert values.std() == pytest.approx(0.01, rel=0.01)
    assert np.abs(values).max() > 0.03
    assert values.mean() == pytest.approx(0, abs=1e-4)


def test_a_small_deviation_starts_near_one_half_and_a_scaled_one_does_not() -> None:
    inputs = np.random.default_rng(0).random((1, 64, 64, 9), dtype="float32")
    spread = {}
    for std in (None, 0.01):
        keras.utils.set_random_seed(0)
        model = _small((64, 64, 9), width=0.5, initial_std=std)
        start = np.asarray(model(inputs, training=True))
        spread[std] = np.abs(start - 0.5).max()
    assert spread[0.01] < 0.05 < 0.1 < spread[None]


def test_the_shipped_recipe_starts_as_it_did() -> None:
    # Its builder names no initialiser, so the default is part of its contract.
    config = _small().get_layer("stem_conv").kernel_initializer.get_config()
    expected = {
        "scale": 2.0,
        "mode": "fan_in",
        "distribution": "untruncated_normal",
    }
    assert config.items() >= expected.items()


@pytest.mark.parametrize("std", [0.0, -0.01, float("nan"), float("inf")])
def test_a_deviation_that_is_none_is_refused(std: float) -> None:
    with pytest.raises(ValueError, match="initial_std must be None or above 0"):
        _small(initial_std=std)


def test_an_initializer_and_a_deviation_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="with another kernel_initializer"):
        _small(initial_std=0.01, kernel_initializer="he_normal")


def test_another_initializer_reaches_every_kernel() -> None:
    model = _small(kernel_initializer=keras.initializers.Constant(0.5))
    kernels = [w for w in model.weights if w.path.endswith("kernel")]
    assert len(kernels) > 30
    assert all((np.asarray(kernel) == 0.5).all() for kernel in kernels)


def test_equal_branches_do_not_start_as_copies() -> None:
    unit = _small().get_layer("skip3_residual_atrous")
    first, second, third = (np.asarray(conv.kernel) for conv in unit.branch_convs)
    assert np.abs(first - second).max() > 0.01
    assert np.abs(second - third).max() > 0.01


@pytest.mark.parametrize(
    "shape", [(40, 32, 9), (32, 500, 9), (0, 32, 9), (32, 32), (32, 32, None)]
)
def test_sizes_that_are_no_multiple_of_16_are_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match="multiples of 16 or None"):
        dense_ra_unet(shape)


def test_width_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"width must be above 0\. Received: width=0"):
        dense_ra_unet(width=0)


@pytest.mark.parametrize("blocks", [(1, 1, 1), (1, 1, 1, 0)])
def test_other_than_four_blocks_are_refused(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="blocks must be four numbers of layers"):
        dense_ra_unet(blocks=blocks)


@pytest.mark.slow
def test_network_and_loss_learn_small_bright_lesions_by_place() -> None:
    # Squares of equal brightness: the target in the upper half only, so that neither
    # a threshold nor a constant solves it; a third of the slices have no target.
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    inputs = rng.normal(0.3, 0.05, (48, 32, 32, 9)).astype("float32")
    truth = np.zeros((48, 32, 32, 1), "float32")
    for index in range(48):
        inputs[index, :4] -= 0.3
        y, x = rng.integers(6, 12), rng.integers(2, 26)
        if index % 3:
            inputs[index, y : y + 4, x : x + 4, 3:6] += 0.6
            truth[index, y : y + 4, x : x + 4] = 1
        y, x = rng.integers(18, 26), rng.integers(2, 26)
        inputs[index, y : y + 4, x : x + 4, 3:6] += 0.6
    model = _small(width=0.25)
    model.compile(keras.optimizers.Adam(3e-3), BootstrapIoU())
    model.fit(inputs[:40], truth[:40], batch_size=8, epochs=60, verbose=0)
    found = model.predict(inputs[40:], verbose=0) >= 0.5
    hits = float((found * truth[40:]).sum())
    f1 = 2 * hits / (found.sum() + truth[40:].sum())
    assert f1 > 0.7


TWO_REPLICAS = """
    from kcalc.losses import BootstrapIoU
    from kcalc.models import dense_ra_unet

    rng = np.random.default_rng(0)
    inputs = rng.random((4, 32, 32, 9), dtype="float32")
    truth = (inputs[..., 4:5] > 0.9).astype("float32")
    losses, weights = [], []
    for strategy in strategies:
        keras.utils.set_random_seed(1)
        with strategy.scope():
            model = dense_ra_unet((32, 32, 9), width=0.125, blocks=(1, 1, 1, 1))
            model.compile(keras.optimizers.SGD(0.01), BootstrapIoU())
        before = model.get_weights()
        run = model.fit(inputs, truth, batch_size=4, verbose=0, shuffle=False)
        losses.append(run.history["loss"])
        weights.append(model.get_weights())
    moved = max(np.abs(a - b).max() for a, b in zip(before, weights[0]))
    apart = max(np.abs(a - b).max() for a, b in zip(*weights))
    print(moved, apart, losses[0][0], losses[1][0])
"""


@pytest.mark.slow
def test_two_replicas_train_as_one_device_does() -> None:
    moved, apart, loss_of_one, loss_of_two = numbers_from(TWO_REPLICAS)
    # With ordinary batch normalisation: apart by 6e-3, losses by 9e-4.
    assert moved > 1e-3
    assert apart < 1e-4
    assert loss_of_one == pytest.approx(loss_of_two, rel=1e-5)
