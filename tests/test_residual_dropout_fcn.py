"""Tests of kcalc.models.residual_dropout_fcn."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from two_replicas import numbers_from

from kcalc.layers import ResidualDropoutBlock
from kcalc.models import output_windows, residual_dropout_fcn
from kcalc.testing import check_model

PATCH = (98, 178, 178)
SMALLEST = (38, 86, 86)
VARIANTS = ("literal", "aligned")

LAYER_NAMES = """
patch stem_conv block1 block2 block3 block4 block5 block6 block7 block8
down1_bn down1_relu down1_conv down2_bn down2_relu down2_conv
up2_bn up2_relu up2_enlarge up2_conv up2_crop up2_join fuse2_bn fuse2_relu fuse2_conv
up1_bn up1_relu up1_enlarge up1_conv up1_crop up1_join fuse1_bn fuse1_relu fuse1_conv
main_logits main_logits_bn main_sigmoid main
""".split()
AUXILIARY_NAMES = [
    f"aux_{number}{part}"
    for number in range(2, 8)
    for part in ("_bn", "_relu", "_logits", "_logits_bn", "_sigmoid", "")
]

# Output (z, y, x) of every convolution's layer for a patch of 98 x 178 x 178: the two
# tables in full (a block stands for its two convolutions).
SIZES = {
    "literal": {
        "stem_conv": (96, 176, 176),
        "block1": (96, 172, 172),
        "block2": (96, 168, 168),
        "down1_conv": (96, 83, 83),
        "block3": (92, 79, 79),
        "down2_conv": (45, 39, 39),
        "block4": (41, 35, 35),
        "block5": (37, 31, 31),
        "up2_enlarge": (74, 62, 62),
        "up2_conv": (72, 60, 60),
        "fuse2_conv": (70, 58, 58),
        "block6": (66, 54, 54),
        "up1_enlarge": (66, 108, 108),
        "up1_conv": (64, 106, 106),
        "fuse1_conv": (62, 104, 104),
        "block7": (62, 100, 100),
        "block8": (62, 96, 96),
        "main_logits": (62, 96, 96),
    },
    "aligned": {
        "stem_conv": (98, 172, 172),
        "block1": (98, 168, 168),
        "down1_conv": (98, 84, 84),
        "block2": (94, 80, 80),
        "block3": (90, 76, 76),
        "down2_conv": (45, 38, 38),
        "block4": (41, 34, 34),
        "block5": (37, 30, 30),
        "up2_enlarge": (74, 60, 60),
        "up2_conv": (74, 60, 60),
        "fuse2_conv": (72, 58, 58),
        "block6": (68, 54, 54),
        "block7": (64, 50, 50),
        "up1_enlarge": (64, 100, 100),
        "up1_conv": (64, 100, 100),
        "fuse1_conv": (62, 98, 98),
        "block8": (62, 94, 94),
        "main_logits": (62, 94, 94),
    },
}
# Start and size (z, y, x) in the patch of what each output labels.
WINDOWS = {
    "literal": {
        "aux_2": ((1, 5, 5), (96, 168, 168)),
        "aux_3": ((3, 9, 9), (92, 158, 158)),
        "aux_4": ((7, 18, 18), (82, 140, 140)),
        "aux_5": ((11, 26, 26), (74, 124, 124)),
        "aux_6": ((15, 33, 33), (66, 108, 108)),
        "aux_7": ((17, 37, 37), (62, 100, 100)),
        "main": ((17, 39, 39), (62, 96, 96)),
    },
    "aligned": {
        "aux_2": ((2, 9, 9), (94, 160, 160)),
        "aux_3": ((4, 13, 13), (90, 152, 152)),
        "aux_4": ((8, 21, 21), (82, 136, 136)),
        "aux_5": ((12, 29, 29), (74, 120, 120)),
        "aux_6": ((15, 35, 35), (68, 108, 108)),
        "aux_7": ((17, 39, 39), (64, 100, 100)),
        "main": ((18, 42, 42), (62, 94, 94)),
    },
}


def _small(input_shape: Any = (*SMALLEST, 1), **kwargs: Any) -> keras.Model:
    return residual_dropout_fcn(input_shape, **{"channels": (2, 2, 2), **kwargs})


def _convolutions(model: keras.Model) -> list[keras.layers.Conv3D]:
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Conv3D)
    ]


@pytest.fixture(scope="module", params=VARIANTS)
def full_size(request: pytest.FixtureRequest) -> tuple[str, keras.Model]:
    return request.param, residual_dropout_fcn(variant=request.param)


# The two tables.


def test_both_variants_have_24_convolutions_and_six_of_heads(
    full_size: tuple[str, keras.Model],
) -> None:
    variant, model = full_size
    names = [layer.name for layer in _convolutions(model)]
    heads = [name for name in names if name.startswith("aux_")]
    assert (len(names), len(heads)) == (30, 6)
    plain = residual_dropout_fcn(variant=variant, deep_supervision=False)
    assert len(_convolutions(plain)) == 24


def test_every_layer_has_the_tables_size(full_size: tuple[str, keras.Model]) -> None:
    variant, model = full_size
    sizes = {name: model.get_layer(name).output.shape[1:4] for name in SIZES[variant]}
    assert sizes == SIZES[variant]


def test_levels_have_16_32_and_64_channels(
    full_size: tuple[str, keras.Model],
) -> None:
    variant, model = full_size
    level0, level1 = ((1, 2, 7, 8), (3, 6))
    if variant == "aligned":
        level0, level1 = ((1, 8), (2, 3, 6, 7))
    expected = dict.fromkeys(level0, 16) | dict.fromkeys(level1, 32) | {4: 64, 5: 64}
    found = {n: model.get_layer(f"block{n}").output.shape[-1] for n in range(1, 9)}
    assert found == expected
    for name, channels in (("down1", 32), ("down2", 64), ("up2", 32), ("fuse1", 16)):
        assert model.get_layer(f"{name}_conv").filters == channels


def test_kernels_and_strides_are_the_tables(
    full_size: tuple[str, keras.Model],
) -> None:
    variant, model = full_size
    stem, down1, down2, up = {
        "literal": ((3, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3)),
        "aligned": ((1, 7, 7), (1, 2, 2), (2, 2, 2), (1, 1, 1)),
    }[variant]
    kernels = {
        "stem": stem,
        "down1": down1,
        "down2": down2,
        "up1": up,
        "up2": up,
        "fuse1": (3, 3, 3),
        "fuse2": (3, 3, 3),
    }
    for name, kernel in kernels.items():
        assert model.get_layer(f"{name}_conv").kernel_size == kernel, name
    assert model.get_layer("down1_conv").strides == (1, 2, 2)
    assert model.get_layer("down2_conv").strides == (2, 2, 2)
    planar = (1, 2, 7, 8) if variant == "literal" else (1, 8)
    for number in range(1, 9):
        kernel = (1, 3, 3) if number in planar else (3, 3, 3)
        assert model.get_layer(f"block{number}").kernel_size == kernel


def test_layer_names_are_the_public_ones(full_size: tuple[str, keras.Model]) -> None:
    names = {layer.name for layer in full_size[1].layers}
    assert names == {*LAYER_NAMES, *AUXILIARY_NAMES}


def test_parameters_are_these() -> None:
    assert residual_dropout_fcn().count_params() == 774_140
    assert residual_dropout_fcn(variant="aligned").count_params() == 768_252
    assert residual_dropout_fcn(channels=(4, 8, 16)).count_params() == 49_268


def test_outputs_are_main_and_six_auxiliary_ones_on_the_inputs_voxels(
    full_size: tuple[str, keras.Model],
) -> None:
    variant, model = full_size
    assert sorted(model.output_names) == sorted(WINDOWS[variant])
    shapes = {name: tensor.shape[1:4] for name, tensor in model.output.items()}
    assert shapes == {name: size for name, (_, size) in WINDOWS[variant].items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_windows_of_the_patch_are_the_digests(variant: str) -> None:
    windows = output_windows(PATCH, variant)
    found = {
        name: (
            tuple(part.start for part in window),
            tuple(part.stop - part.start for part in window),
        )
        for name, window in windows.items()
    }
    assert found == WINDOWS[variant]


def test_windows_grow_with_the_input_and_keep_their_start() -> None:
    z, y, x = output_windows((100, 190, 182))["main"]
    assert (z, y, x) == (slice(17, 81), slice(39, 147), slice(39, 139))


def test_every_crop_of_the_aligned_variant_is_symmetric() -> None:
    model = residual_dropout_fcn(variant="aligned")
    crops = [model.get_layer(f"up{level}_crop").cropping for level in (1, 2)]
    assert crops == [((17, 17), (34, 34), (34, 34)), ((8, 8), (8, 8), (8, 8))]


# The receptive field, by gradient.


def _reached(
    variant: str, size: tuple[int, int, int], voxels: list[tuple[int, int, int]]
) -> list[np.ndarray]:
    """Return for each output voxel where its gradient at the input is not zero.

    All weights are positive, so that no two paths cancel, and a kernel's sum is 1.
    """
    model = residual_dropout_fcn(
        (*size, 1), variant, channels=(1, 1, 1), deep_supervision=False
    )
    for weight in model.weights:
        if weight.path.endswith("kernel"):
            weight.assign(np.full(weight.shape, 1 / np.prod(weight.shape[:-1])))
    # Before the sigmoid, whose derivative a large logit would round to nothing.
    logits = keras.Model(model.input, model.get_layer("main_logits").output)

    @tf.function
    def gradient(chosen: tf.Tensor) -> tf.Tensor:
        inputs = tf.ones((tf.shape(chosen)[0], *size, 1))
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = tf.reduce_sum(logits(inputs, training=False) * chosen)
        return tape.gradient(value, inputs)

    found: list[np.ndarray] = []
    for start in range(0, len(voxels), 8):
        part = voxels[start : start + 8]
        chosen = np.zeros((len(part), *logits.output.shape[1:]), "float32")
        for index, voxel in enumerate(part):
            chosen[(index, *voxel, 0)] = 1.0
        found += list(gradient(tf.constant(chosen)).numpy()[..., 0] != 0)
    return found


def _box(reached: np.ndarray) -> list[tuple[int, int]]:
    """Return start and length along every axis; the reached voxels fill the box."""
    places = np.argwhere(reached)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    assert reached.sum() == np.prod(high - low)
    return [(int(a), int(b - a)) for a, b in zip(low, high, strict=True)]


PHASES = list(itertools.product(range(2), range(4), range(4)))


def _corners(size: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    z, y, x = ((0, n - 1) for n in size)
    return list(itertools.product(z, y, x))


def test_literal_gradient_reaches_37_85_85_from_every_phase_and_corner() -> None:
    size, output = (40, 90, 90), (4, 8, 8)
    voxels = [*PHASES, *_corners(output)]
    for voxel, reached in zip(voxels, _reached("literal", size, voxels), strict=True):
        # Phases of one grid cell see the same voxels; the next cell starts later.
        z, y, x = (n // s * s for n, s in zip(voxel, (2, 4, 4), strict=True))
        assert _box(reached) == [(z, 37), (y, 85), (x, 85)], voxel


def test_aligned_gradient_reaches_38_and_86_or_90_from_every_phase_and_corner() -> None:
    size, output = (42, 94, 94), (6, 10, 10)
    voxels = [*PHASES, *_corners(output)]
    for voxel, reached in zip(voxels, _reached("aligned", size, voxels), strict=True):
        for axis, (start, length) in enumerate(_box(reached)):
            allowed = (38,) if axis == 0 else (86, 90)
            assert length in allowed, (voxel, axis)
            # Centred on the voxel that it labels, within half a voxel.
            label = voxel[axis] + output_windows(size, "aligned")["main"][axis].start
            assert abs(start + (length - 1) / 2 - label) == 0.5, (voxel, axis)


@pytest.mark.parametrize(
    ("variant", "lost"), [("literal", (36, 82, 82)), ("aligned", (36, 84, 84))]
)
def test_the_context_is_what_valid_convolutions_take(
    variant: str, lost: tuple[int, int, int]
) -> None:
    for size in (PATCH, SMALLEST, (60, 102, 98)):
        window = output_windows(size, variant)["main"]
        sizes = tuple(part.stop - part.start for part in window)
        assert sizes == tuple(n - k for n, k in zip(size, lost, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_whole_patch_has_the_same_receptive_field_at_its_far_corner(
    variant: str,
) -> None:
    voxel = tuple(n - 1 for n in SIZES[variant]["main_logits"])
    (reached,) = _reached(variant, PATCH, [voxel])
    expected = {
        "literal": [(60, 37), (92, 85), (92, 85)],
        "aligned": [(60, 38), (92, 86), (92, 86)],
    }
    assert _box(reached) == expected[variant]


# The model contract, and TensorFlow's silent wrong answers.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "output"), [("literal", (2, 4, 4)), ("aligned", (2, 2, 2))]
)
def test_residual_dropout_fcn_keeps_the_model_contract(
    variant: str, output: tuple[int, int, int]
) -> None:
    expected = {
        name: (2, *(part.stop - part.start for part in window), 1)
        for name, window in output_windows(SMALLEST, variant).items()
    }
    assert expected["main"] == (2, *output, 1)
    check_model(
        lambda shape: _small(shape, variant=variant, dropout_rates=(0.0,) * 5),
        (2, *SMALLEST, 1),
        expected,
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_eager_predict_and_traced_outputs_agree(variant: str) -> None:
    keras.utils.set_random_seed(0)
    model = _small((None, None, None, 1), variant=variant)
    inputs = np.random.default_rng(0).normal(size=(1, *SMALLEST, 1)).astype("float32")
    eager = model(inputs)
    specs = [
        tf.TensorSpec((1, *SMALLEST, 1), tf.float32),
        tf.TensorSpec((None, None, None, None, 1), tf.float32),
    ]
    traced = [
        tf.function(lambda x: model(x, training=False), input_signature=[spec])(inputs)
        for spec in specs
    ]
    for outputs in (*traced, model.predict(inputs, verbose=0)):
        for name, expected in eager.items():
            assert np.asarray(expected).std() > 1e-3
            np.testing.assert_allclose(
                np.asarray(outputs[name]), np.asarray(expected), atol=2e-6
            )


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_in_a_graph_equal_the_eager_ones(variant: str) -> None:
    # The gradient of a crop is a zero padding, which a graph may fuse wrongly.
    keras.utils.set_random_seed(0)
    model = _small(variant=variant, dropout_position=None)
    inputs = np.random.default_rng(0).random((1, *SMALLEST, 1), dtype="float32")

    def gradients(x: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            outputs = model(x, training=True)
            value = sum(tf.reduce_mean(output**2) for output in outputs.values())
        return tape.gradient(value, model.trainable_variables)

    signature = [tf.TensorSpec(inputs.shape, tf.float32)]
    traced = tf.function(gradients, input_signature=signature)(tf.constant(inputs))
    for one, other in zip(gradients(tf.constant(inputs)), traced, strict=True):
        scale = float(np.abs(one).max())
        assert scale > 0
        np.testing.assert_allclose(
            np.asarray(other), np.asarray(one), atol=1e-4 * scale
        )


@pytest.mark.parametrize("variant", VARIANTS)
def test_tiles_on_the_total_stride_equal_the_whole_volume(variant: str) -> None:
    keras.utils.set_random_seed(0)
    model = _small(
        (None, None, None, 1),
        variant=variant,
        deep_supervision=False,
        channels=(3, 4, 6),
    )
    inputs = np.random.default_rng(0).normal(size=(1, 42, 98, 94, 1))
    whole = np.asarray(model(inputs)["main"])[0]
    tile = np.asarray(model(inputs[:, 2:, 8:, 4:])["main"])[0]
    np.testing.assert_allclose(tile, whole[2:, 8:, 4:], atol=1e-6)
    # Off the stride the same voxels have other values: the deep paths take part.
    off = np.asarray(model(inputs[:, :, 2:-2])["main"])[0]
    assert np.abs(off - whole[:, 2 : 2 + off.shape[1]]).max() > 1e-3


# The switches.


def _blocks(model: keras.Model) -> list[ResidualDropoutBlock]:
    return [model.get_layer(f"block{number}") for number in range(1, 9)]


def test_dropout_is_in_blocks_4_to_8_with_the_papers_rates() -> None:
    blocks = _blocks(_small())
    assert [block.dropout_rate for block in blocks] == [
        0,
        0,
        0,
        0.3,
        0.3,
        0.4,
        0.4,
        0.5,
    ]
    positions = [block.dropout_position for block in blocks]
    assert positions == [None] * 3 + ["before_addition"] * 5


@pytest.mark.parametrize("position", ["before_first", "before_second", None])
def test_the_dropout_position_reaches_the_blocks(position: str | None) -> None:
    blocks = _blocks(_small(dropout_position=position))
    assert [block.dropout_position for block in blocks[3:]] == [position] * 5


def test_other_ways_to_drop_reach_the_blocks_that_drop() -> None:
    spatial = _blocks(_small(spatial_dropout=True))
    assert all(block.spatial_dropout for block in spatial[3:])
    depth = _blocks(_small(stochastic_depth=True))
    assert [block.stochastic_depth for block in depth] == [False] * 3 + [True] * 5


def test_the_plain_network_has_the_same_weights_and_no_skips() -> None:
    plain = _small(residual=False, dropout_position="before_second")
    assert not any(block.residual for block in _blocks(plain))
    assert plain.count_params() == _small().count_params()


def test_without_deep_supervision_only_the_heads_are_gone() -> None:
    model = _small(deep_supervision=False)
    assert list(model.output) == ["main"]
    assert {layer.name for layer in model.layers} == set(LAYER_NAMES)


def test_another_initializer_reaches_every_kernel() -> None:
    model = _small(kernel_initializer=keras.initializers.Constant(0.5))
    kernels = [w for w in model.weights if w.path.endswith("kernel")]
    assert len(kernels) == 30
    assert all((np.asarray(kernel) == 0.5).all() for kernel in kernels)


def test_equal_blocks_do_not_start_as_copies() -> None:
    model = _small(kernel_initializer=keras.initializers.HeNormal(seed=1))
    one, other = (
        np.asarray(model.get_layer(f"block{n}").first_conv.kernel) for n in (7, 8)
    )
    assert np.abs(one - other).max() > 0.01


def test_several_channels_enter() -> None:
    assert _small((*SMALLEST, 3)).input_shape == (None, *SMALLEST, 3)


# Refusals.


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"variant": "exact"}, r"one of \('literal', 'aligned'\).*'exact'"),
        ({"residual": False}, "dropout cannot precede the batch normalisation"),
        ({"dropout_position": "end"}, "Received: dropout_position='end'"),
        ({"stochastic_depth": True, "spatial_dropout": True}, "choose one"),
        (
            {"dropout_rates": (0.3, 0.4)},
            r"five shares, of blocks 4 to 8.*\(0\.3, 0\.4\)",
        ),
        ({"dropout_rates": (0.3, 0.3, 0.4, 0.4, 1.0)}, "five shares"),
        ({"channels": (16, 32)}, r"channels must be three.*\(16, 32\)"),
        ({"channels": (0, 32, 64)}, "each at least 1"),
        ({"input_shape": (98, 178, 178)}, "known number of channels"),
        ({"input_shape": (98, 178, 178, None)}, "known number of channels"),
        ({"input_shape": (98, 180, 178, 1)}, r"total stride \(2, 4, 4\).*98, 180, 178"),
        ({"input_shape": (97, 178, 178, 1)}, r"total stride \(2, 4, 4\)"),
        ({"input_shape": (36, 86, 86, 1)}, r"at least \(38, 86, 86\)"),
        ({"input_shape": (38, 82, 86, 1)}, r"at least \(38, 86, 86\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        residual_dropout_fcn(**arguments)


def test_windows_of_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"size_zyx=\(98, 178, 179\)"):
        output_windows((98, 178, 179))
    with pytest.raises(ValueError, match=r"size_zyx=\(98, 178\)"):
        output_windows((98, 178))
    with pytest.raises(ValueError, match="variant must be one of"):
        output_windows(PATCH, "R4")


@pytest.mark.parametrize("variant", VARIANTS)
def test_free_sizes_off_the_total_stride_fail_and_give_no_numbers(variant: str) -> None:
    model = _small((None, None, None, 1), variant=variant)
    for size in ((39, 86, 86), (38, 87, 86), (38, 88, 86), (38, 86, 89)):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            model(np.zeros((1, *size, 1), "float32"))


# Training.

TWO_REPLICAS = """
    from kcalc.layers import ResidualDropoutBlock, norm_relu
    from kcalc.losses import DeepSupervision, MaskedBinaryCrossentropy
    from kcalc.optimizers import ScheduledMomentumSGD

    def build():
        inputs = keras.Input((6, 9, 9, 1))
        x = keras.layers.Conv3D(3, (1, 2, 2))(inputs)
        x = ResidualDropoutBlock((1, 3, 3), name="block")(x)
        head = keras.layers.Conv3D(1, 1, activation="sigmoid", name="aux_2")
        aux = head(norm_relu(x, "aux_2"))
        x = ResidualDropoutBlock((3, 1, 1), name="next")(x)
        main = keras.layers.Conv3D(1, 1, activation="sigmoid", name="main")(x)
        return keras.Model(inputs, {"main": main, "aux_2": aux})

    windows = {
        "main": (slice(2, 4), slice(2, 6), slice(2, 6)),
        "aux_2": (slice(0, 6), slice(2, 6), slice(2, 6)),
    }
    rng = np.random.default_rng(0)
    inputs = rng.random((2, 6, 9, 9, 1), dtype="float32")
    label = np.where(inputs > 0.5, inputs > 0.8, 255).astype("uint8")
    momentum = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.5, 0.9])
    losses, weights = [], []
    for strategy in strategies:
        keras.utils.set_random_seed(1)
        with strategy.scope():
            model = build()
            objective = DeepSupervision(MaskedBinaryCrossentropy(10.0), windows, 0.5)
            model.compile(
                ScheduledMomentumSGD(0.02, momentum),
                loss=objective.losses,
                loss_weights=objective.loss_weights,
            )
        before = model.get_weights()
        objective.auxiliary_weight.assign(0.25)
        run = model.fit(
            inputs, objective.targets(label), batch_size=2, epochs=3, verbose=0,
            shuffle=False,
        )
        losses.append(run.history["loss"])
        weights.append(model.get_weights())
    moved = max(np.abs(a - b).max() for a, b in zip(before, weights[0]))
    apart = max(np.abs(a - b).max() for a, b in zip(*weights))
    print(moved, apart, losses[0][-1], losses[1][-1])
"""


@pytest.mark.slow
def test_blocks_objective_and_optimiser_train_alike_on_two_replicas() -> None:
    moved, apart, loss_of_one, loss_of_two = numbers_from(TWO_REPLICAS)
    assert moved > 1e-3
    assert apart < 1e-5
    assert loss_of_one == pytest.approx(loss_of_two, rel=1e-5)
