"""What every layer, loss and model of kcalc must keep: one call checks it all.

A broken rule raises AssertionError with the rule and what was found instead. The
checks use Keras alone; the export is checked on its TensorFlow backend only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Rounding of float32 in another order of summation, and of bfloat16's 8 bits through
# a few layers, relative to the largest output.
FLOAT32_TOLERANCE = 2e-5
BFLOAT16_TOLERANCE = 0.1


def check_layer(
    make_layer: Callable[..., keras.layers.Layer],
    input_shape: tuple[int, ...],
    expected_output_shape: tuple[int, ...],
    *,
    seed: int = 0,
) -> keras.layers.Layer:
    """Check the contract of a layer and return the layer that was built for it.

    Checked: the output's shape, computed and real, also for unknown and for odd sizes;
    arguments unchanged by building; a config that makes the same layer and survives
    ``.keras``; equal output eagerly, from ``predict`` and with unknown sizes; a finite
    gradient that reaches every trainable weight; mixed precision.

    Args:
        make_layer: Called with ``dtype`` alone, returns a new layer.
        input_shape: (batch, y, x, channels), or with z; at least 2 in the batch.
        expected_output_shape: Output for that input.
        seed: Of weights and input.

    Returns:
        The float32 layer, built.

    Raises:
        AssertionError: The layer breaks a rule.
    """
    keras.utils.set_random_seed(seed)
    inputs = _random(input_shape, seed)
    layer = make_layer(dtype="float32")
    config_before = layer.get_config()
    model = _functional(layer, input_shape[1:])
    reference = _numpy(model(inputs))

    _require(
        tuple(reference.shape) == tuple(expected_output_shape),
        f"The output must have shape {expected_output_shape}. Found: {reference.shape}",
    )
    computed = tuple(layer.compute_output_shape(input_shape))
    _require(
        computed == tuple(expected_output_shape),
        f"compute_output_shape must give {expected_output_shape}. Found: {computed}",
    )
    _require(
        bool(np.isfinite(reference).all()), "The output of finite input must be finite."
    )
    _require_equal_config(layer.get_config(), config_before, "Building a layer")
    rebuilt = type(layer).from_config(layer.get_config())
    _require_equal_config(rebuilt.get_config(), config_before, "from_config")

    _require_close(model.predict(inputs, verbose=0), reference, "predict")
    unknown = (*(None for _ in input_shape[1:-1]), input_shape[-1])
    free = _functional(type(layer).from_config(config_before), unknown)
    free.set_weights(model.get_weights())
    _require_close(free.predict(inputs, verbose=0), reference, "Unknown sizes")
    odd_shape = (input_shape[0], *(n - 1 for n in input_shape[1:-1]), input_shape[-1])
    odd = _numpy(free(_random(odd_shape, seed)))
    _require(
        tuple(odd.shape) == tuple(layer.compute_output_shape(odd_shape)),
        f"Input {odd_shape} must give what compute_output_shape says. "
        f"Found: {odd.shape}",
    )
    _require_close(_numpy(_saved_and_loaded(model)(inputs)), reference, ".keras")
    _require_mixed_precision(
        _functional(make_layer(dtype="mixed_bfloat16"), input_shape[1:]),
        model,
        inputs,
        output_dtype="bfloat16",
    )
    _require_training_reaches_all_weights(model, inputs, seed)
    return layer


def check_loss(
    loss: keras.losses.Loss,
    y_true: Any,
    y_pred: Any,
) -> Array:
    """Check the contract of a loss and return its values, one a sample.

    Checked: one float32 value a sample, independent of the other samples; the mean
    from the base class; the same loss from its config and from serialisation; bfloat16
    predictions reduced in float32; finite values at predictions of exactly 0 and 1
    with empty, full and mixed truth; a finite gradient there.

    Args:
        loss: The loss, with the default reduction.
        y_true: Labels, (batch, y, x, 1), at least two samples.
        y_pred: Probabilities of the same shape.

    Returns:
        Values, (batch,).

    Raises:
        AssertionError: The loss breaks a rule.
    """
    y_true, y_pred = np.asarray(y_true, "float32"), np.asarray(y_pred, "float32")
    values = _numpy(loss.call(y_true, y_pred))
    _require(
        values.shape == (len(y_true),) and values.dtype == np.float32,
        f"call must give one float32 value a sample, shape ({len(y_true)},). "
        f"Found: {values.dtype} {values.shape}",
    )
    alone = [
        float(_numpy(loss.call(y_true[i : i + 1], y_pred[i : i + 1]))[0])
        for i in range(len(y_true))
    ]
    _require_close(np.array(alone), values, "A sample by itself")
    _require_close(
        _numpy(loss(y_true, y_pred)), np.mean(values), "The reduced loss (mean)"
    )
    config = loss.get_config()
    _require_equal_config(
        type(loss).from_config(config).get_config(), config, "from_config"
    )
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    _require_close(_numpy(again.call(y_true, y_pred)), values, "Serialisation")
    rounded = keras.ops.cast(y_pred, "bfloat16")
    _require_close(
        _numpy(loss.call(y_true, rounded)),
        _numpy(loss.call(y_true, keras.ops.cast(rounded, "float32"))),
        "bfloat16 predictions, reduced in float32,",
    )
    for truth in (np.zeros_like(y_true), np.ones_like(y_true), y_true):
        for prediction in (np.zeros_like(y_pred), np.ones_like(y_pred), truth):
            edge = _numpy(loss.call(truth, prediction))
            _require(
                bool(np.isfinite(edge).all()),
                f"The loss must be finite at the edges. Found: {edge} at mean truth "
                f"{truth.mean():.3g} and mean prediction {prediction.mean():.3g}",
            )
            # A saturated sigmoid puts the prediction at 0 or 1 within a model.
            _require_finite_training(loss, truth, 200.0 * (prediction - 0.5))
    return values


def check_model(
    make_model: Callable[[Any], keras.Model],
    input_shape: tuple[int, ...],
    expected_output_shape: tuple[int, ...] | Mapping[str, tuple[int, ...]],
    *,
    seed: int = 0,
) -> keras.Model:
    """Check the contract of a segmentation model and return the model.

    Checked: the output's shape; probabilities in [0, 1], float32; equal output
    eagerly, from ``predict``, with unknown sizes, after ``.keras`` and
    ``.weights.h5``, and from a SavedModel exported with fixed and with free sizes;
    mixed precision; a finite gradient that reaches every trainable weight.

    Args:
        make_model: Called with the shape of one input, returns a new model.
        input_shape: Shape with the batch, at least 2.
        expected_output_shape: Output for that input; by name for several outputs.
        seed: Of weights and input.

    Returns:
        The model, with the weights it was checked with.

    Raises:
        AssertionError: The model breaks a rule.
    """
    keras.utils.set_random_seed(seed)
    inputs = _random(input_shape, seed)
    model = make_model(input_shape[1:])
    _move_statistics(model, seed)
    outputs = model(inputs, training=False)
    shapes = keras.tree.map_structure(lambda output: tuple(output.shape), outputs)
    expected: Any = expected_output_shape
    expected = expected if isinstance(expected, Mapping) else tuple(expected)
    _require(
        shapes == expected,
        f"The output must have shape {expected}. Found: {shapes}",
    )
    reference = _flat(outputs)
    _require_probabilities(reference)
    _require(
        float(reference.max() - reference.min()) > 1e-4,
        "The output must depend on the input, or no comparison below means anything. "
        f"Found: all within {reference.min():.6g} and {reference.max():.6g}",
    )
    _require_close(_flat(model.predict(inputs, verbose=0)), reference, "predict")
    unknown = (*(None for _ in input_shape[1:-1]), input_shape[-1])
    free = make_model(unknown)
    free.set_weights(model.get_weights())
    _require_close(_flat(free.predict(inputs, verbose=0)), reference, "Unknown sizes")
    _require_close(_flat(_saved_and_loaded(model)(inputs)), reference, ".keras")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.weights.h5"
        model.save_weights(path)
        other = make_model(input_shape[1:])
        other.load_weights(path)
        _require_close(_flat(other(inputs)), reference, ".weights.h5")
    if keras.backend.backend() == "tensorflow":
        for tested, shape in ((model, input_shape), (free, (None, *unknown))):
            exported = _exported(tested, shape, inputs)
            _require_close(exported, reference, f"SavedModel of input {shape}")
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        mixed = make_model(input_shape[1:])
    finally:
        keras.config.set_dtype_policy(policy)
    _require_mixed_precision(mixed, model, inputs, output_dtype="float32")
    other.set_weights(model.get_weights())
    _require_training_reaches_all_weights(other, inputs, seed)
    return model


def _random(shape: Sequence[int], seed: int) -> Array:
    return np.random.default_rng(seed).random(shape, dtype="float32")


def _numpy(tensor: Any) -> Array:
    array = keras.ops.convert_to_numpy(tensor)
    return np.asarray(array)


def _flat(outputs: Any) -> Array:
    """Return one output as it is, several as one array in order of name."""
    if isinstance(outputs, Mapping):
        parts = [_numpy(outputs[name]).ravel() for name in sorted(outputs)]
        return np.concatenate(parts)
    return _numpy(outputs)


def _functional(layer: keras.layers.Layer, shape: tuple[Any, ...]) -> keras.Model:
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


def _saved_and_loaded(model: keras.Model) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return keras.models.load_model(path, compile=False)


def _exported(model: keras.Model, shape: tuple[Any, ...], inputs: Array) -> Array:
    signature = [keras.InputSpec(shape=shape, dtype="float32")]
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, input_signature=signature, verbose=False)
        served = keras.layers.TFSMLayer(folder, call_endpoint="serve")
        return _flat(served(inputs))


def _move_statistics(model: keras.Model, seed: int) -> None:
    """Take moving averages off their start, where normalisation does nothing."""
    rng = np.random.default_rng(seed)
    for weight in model.non_trainable_weights:
        if "float" in keras.backend.standardize_dtype(weight.dtype):
            weight.assign_add(0.2 * rng.random(weight.shape, dtype="float32"))


def _require_mixed_precision(
    mixed: keras.Model, model: keras.Model, inputs: Array, *, output_dtype: str
) -> None:
    mixed.set_weights(model.get_weights())
    outputs = mixed(inputs)
    for output in keras.tree.flatten(outputs):
        found = keras.backend.standardize_dtype(output.dtype)
        _require(
            found == output_dtype,
            f"Under mixed_bfloat16 the output must be {output_dtype}. Found: {found}",
        )
    kinds = sorted({keras.backend.standardize_dtype(w.dtype) for w in mixed.weights})
    _require(
        set(kinds) <= {"float32"},
        f"Under mixed precision all weights must be float32. Found: {kinds}",
    )
    outputs = keras.tree.map_structure(
        lambda output: keras.ops.cast(output, "float32"), outputs
    )
    _require_close(
        _flat(outputs),
        _flat(model(inputs)),
        "mixed_bfloat16",
        tolerance=BFLOAT16_TOLERANCE,
    )


def _require_training_reaches_all_weights(
    model: keras.Model, inputs: Array, seed: int
) -> None:
    if not model.trainable_weights:
        return
    before = [_numpy(w) for w in model.trainable_weights]
    # A random target, so that no symmetry makes a gradient vanish.
    target = keras.tree.map_structure(
        lambda output: _random(output.shape, seed + 1), model(inputs)
    )
    model.compile(keras.optimizers.SGD(1.0), "mean_squared_error")
    model.train_on_batch(inputs, target)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        new = _numpy(weight)
        _require(
            bool(np.isfinite(new).all()),
            f"A training step must leave finite weights. Found: {weight.path}",
        )
        _require(
            bool((new != old).any()),
            f"A gradient must reach every trainable weight. Found none: {weight.path}",
        )


def _require_finite_training(
    loss: keras.losses.Loss, truth: Array, logits: Array
) -> None:
    inputs = keras.Input(logits.shape[1:])
    scale = keras.layers.Dense(1, kernel_initializer="ones", activation="sigmoid")
    model = keras.Model(inputs, scale(inputs))
    model.compile(keras.optimizers.SGD(1e-3), loss)
    model.train_on_batch(logits, truth)
    found = [float(_numpy(w).ravel()[0]) for w in model.trainable_weights]
    _require(
        bool(np.isfinite(found).all()),
        f"The gradient must be finite at the edges. Found weights: {found}",
    )


def _require_probabilities(outputs: Array) -> None:
    _require(
        outputs.dtype == np.float32 and 0 <= outputs.min() and outputs.max() <= 1,
        "The output must be float32 probabilities in [0, 1]. "
        f"Found: {outputs.dtype} in [{outputs.min()}, {outputs.max()}]",
    )


def _require_equal_config(found: Any, expected: Any, what: str) -> None:
    found, expected = _plain(found), _plain(expected)
    changed = sorted(
        key
        for key in {*found, *expected}
        if found.get(key, "absent") != expected.get(key, "absent")
    )
    _require(
        not changed,
        f"{what} must leave the config as it was. Changed: "
        + ", ".join(f"{k} {expected.get(k)!r} -> {found.get(k)!r}" for k in changed),
    )


def _plain(value: Any) -> Any:
    """Return the value as JSON would: tuples become lists."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _require_close(
    found: Any, expected: Any, what: str, *, tolerance: float = FLOAT32_TOLERANCE
) -> None:
    found, expected = np.asarray(found, "float64"), np.asarray(expected, "float64")
    _require(
        found.shape == expected.shape,
        f"{what} must give shape {expected.shape}. Found: {found.shape}",
    )
    error = float(np.abs(found - expected).max(initial=0.0))
    limit = tolerance * max(1.0, float(np.abs(expected).max(initial=0.0)))
    _require(
        error <= limit,
        f"{what} must give the eager float32 result within {limit:.3g}. "
        f"Found: {error:.3g}",
    )


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise AssertionError(rule)
