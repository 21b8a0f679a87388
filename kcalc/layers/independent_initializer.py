"""One initialiser given to many kernels, without giving them equal numbers."""

from __future__ import annotations

import zlib
from typing import Any

import keras


def independent_initializer(initializer: Any, name: str) -> Any:
    """Return an initialiser of the same distribution whose draws are its own.

    A Keras initialiser object gives equal numbers to every kernel of equal shape, so
    that a layer that hands one object to its parts would start the branches of a
    residual atrous unit as copies of each other. Without a seed the result draws anew
    (``keras.utils.set_random_seed`` makes it repeatable); with a seed its seed depends
    on ``name``.

    Args:
        initializer: An initialiser, its name, or a function.
        name: Name of the part that the kernel belongs to.

    Returns:
        A new initialiser; functions, and initialisers whose seed is a
        ``SeedGenerator`` and so moves on by itself, are returned as they are.

    Example:
        >>> one = keras.initializers.RandomNormal(seed=1)
        >>> independent_initializer(one, "a").seed, one.seed
        (3904355908, 1)
    """
    initializer = keras.initializers.get(initializer)
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    config = initializer.get_config()
    seed = config.get("seed")
    if isinstance(seed, int):
        config["seed"] = seed + zlib.crc32(name.encode())
    elif seed is not None:
        return initializer
    return type(initializer).from_config(config)
