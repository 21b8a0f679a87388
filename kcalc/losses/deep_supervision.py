"""The objective of a network with several outputs: one loss, a label for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras


class DeepSupervision:
    """One loss on every output of a network, the auxiliary ones with a weight.

    ``L_total = L_main + a * sum_k L_k``; ``a`` is a variable that a recipe's
    ``schedules`` can lower (:class:`kcalc.training.Recipe`). Give it to ``fit`` as a
    recipe's loss, or to Keras as
    ``model.compile(optimizer, loss=d.losses, loss_weights=d.loss_weights)`` with labels
    ``d.targets(label)``.

    Args:
        loss: Loss of every output, one object: its variables are shared.
        windows: For each output the part of the label that it is compared with, one
            slice an axis between batch and channel, such as
            :func:`kcalc.models.output_windows` gives; one of them is ``main``.
        auxiliary_weight: Weight of each output but ``main`` to begin with, at least 0.

    Raises:
        ValueError: ``windows`` has no ``main``, or the weight is negative.

    Example:
        >>> whole, middle = slice(0, 4), slice(1, 3)
        >>> objective = DeepSupervision(
        ...     keras.losses.BinaryCrossentropy(),
        ...     {"main": (middle, middle), "aux": (whole, whole)},
        ... )
        >>> targets = objective.targets(keras.ops.zeros((1, 4, 4, 1)))
        >>> tuple(targets["main"].shape), tuple(targets["aux"].shape)
        ((1, 2, 2, 1), (1, 4, 4, 1))

    References:
        Lee et al., Deeply-Supervised Nets, 2015, arXiv 1409.5185. Bortsova et al. 2017,
        doi 10.1007/978-3-319-66179-7_41, section 2.2.
    """

    def __init__(
        self,
        loss: keras.losses.Loss,
        windows: Mapping[str, tuple[slice, ...]],
        auxiliary_weight: float = 1.0,
    ) -> None:
        if "main" not in windows:
            raise ValueError(
                "One output must be 'main', the one that is used. "
                f"Received: windows of {tuple(windows)}."
            )
        if not auxiliary_weight >= 0:
            raise ValueError(
                "auxiliary_weight must be at least 0. "
                f"Received: auxiliary_weight={auxiliary_weight}."
            )
        self.loss = loss
        self.windows = dict(windows)
        self.auxiliary_weight = keras.Variable(
            float(auxiliary_weight),
            trainable=False,
            dtype="float32",
            name="auxiliary_weight",
        )

    @property
    def losses(self) -> dict[str, keras.losses.Loss]:
        """The loss of each output."""
        return dict.fromkeys(self.windows, self.loss)

    @property
    def loss_weights(self) -> dict[str, Any]:
        """The weight of each output: 1 for ``main``, the variable for the others."""
        return {
            name: 1.0 if name == "main" else self.auxiliary_weight
            for name in self.windows
        }

    def targets(self, label: Any) -> dict[str, Any]:
        """Return the label of each output.

        Args:
            label: (batch, ..., channel), as large as the network's input.
        """
        return {name: label[:, *window] for name, window in self.windows.items()}
