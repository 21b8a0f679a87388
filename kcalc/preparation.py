"""InputSpec: the only description of what a network's input must look like.

The tf.data pipeline, ``kcalc.predict`` and the exported graph read the same spec;
it is stored in the manifest beside every saved model, and beside it, for a network of
valid convolutions, how its output lies in its input (:class:`ValidGeometry`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kcalc.errors import IntensityError

NOT_SUPERVISED = 255
"""Label of a voxel that takes no part in training."""

NEAREST_BELOW = 0.499
"""Added before rounding down to the nearest slice: a half, less a thousandth, by which
a graph's float32 spacing cannot change the slice."""

SPACING_TOLERANCE = 0.03
"""Share by which a scan's spacing may differ from the one a network needs: what the
positions of slices may be off by (design.md, A11)."""

Sizes = tuple[int, int, int]


@dataclass(frozen=True)
class InputSpec:
    """How the values of a scan become a network's input.

    Args:
        window_hu: Lower and upper edge of the intensity window in HU; values are
            clipped to it and scaled to [0, 1]. None with ``volume_percentiles``.
        stack: Slices per input: 9 for a 2.5-D network (channels, middle slice
            labelled), 1 for a 2-D or 3-D one. Odd.
        spacing_mm: Voxel spacing (z, y, x) the network needs, or None for the scan's
            own.
        halo_zyx: Voxels of context lost at each side (valid convolutions) or needed
            for seamless tiles.
        stride_zyx: Total stride, on which tile starts must lie.
        multiple_zyx: Sizes must be multiples of this; kcalc pads and crops back.
        context: ``"local"`` if an output depends on its halo only, ``"slice"`` if
            it depends on the whole slice (global pooling), so that slices may not
            be cut into tiles.
        stack_step_mm: Distance of the slices of a stack in mm, of which the scan's
            nearest are taken (:func:`stack_indices`); None, the default, takes
            neighbours, however far apart they are. Nine slices 1 to 5 mm apart span
            9 to 45 mm.
        volume_percentiles: Percentiles of a volume's own values that take the place of
            the window's edges, for scans in arbitrary units such as MR; None, the
            default, with ``window_hu``. Avetisian 2017 does not state how it scaled
            its MR; percentiles are kcalc's choice, (0.5, 99.5) the usual ones.

    Raises:
        ValueError: An argument breaks these rules.
    """

    window_hu: tuple[float, float] | None
    stack: int = 1
    spacing_mm: tuple[float, float, float] | None = None
    halo_zyx: tuple[int, int, int] = (0, 0, 0)
    stride_zyx: tuple[int, int, int] = (1, 1, 1)
    multiple_zyx: tuple[int, int, int] = (1, 1, 1)
    context: Literal["local", "slice"] = "local"
    stack_step_mm: float | None = None
    volume_percentiles: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if (self.window_hu is None) == (self.volume_percentiles is None):
            raise ValueError(
                "An input needs window_hu or volume_percentiles, and not both. "
                f"Received: window_hu={self.window_hu}, "
                f"volume_percentiles={self.volume_percentiles}"
            )
        if self.volume_percentiles is not None:
            low, high = self.volume_percentiles
            if not 0 <= low < high <= 100:
                raise ValueError(
                    "volume_percentiles must be (lower, upper) in [0, 100]. "
                    f"Received: volume_percentiles={self.volume_percentiles}"
                )
        elif self.window_hu is None or not self.window_hu[0] < self.window_hu[1]:
            raise ValueError(
                "window_hu must be (lower, upper) in HU. "
                f"Received: window_hu={self.window_hu}"
            )
        if self.stack < 1 or self.stack % 2 == 0:
            raise ValueError(
                f"stack must be an odd number of slices. Received: stack={self.stack}"
            )
        if self.stack_step_mm is not None and not (
            self.stack > 1 and 0 < self.stack_step_mm < math.inf
        ):
            raise ValueError(
                "stack_step_mm must be None, or a distance above 0 mm in a stack of "
                "several slices. Received: "
                f"stack_step_mm={self.stack_step_mm}, stack={self.stack}"
            )
        if self.context not in ("local", "slice"):
            raise ValueError(
                f"context must be 'local' or 'slice'. Received: {self.context!r}"
            )
        if min(self.stride_zyx) < 1 or min(self.multiple_zyx) < 1:
            raise ValueError(
                "stride_zyx and multiple_zyx must be at least 1. Received: "
                f"stride_zyx={self.stride_zyx}, multiple_zyx={self.multiple_zyx}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> InputSpec:
        """Return the spec that :meth:`to_dict` described."""
        return cls(**_with_tuples(values))

    def takes_spacing(self, spacing_mm: Sequence[float]) -> bool:
        """Return whether a scan's spacing (z, y, x) is what the network needs.

        Example:
            >>> spec = InputSpec((-1000, 1500), spacing_mm=(1.0, 0.49, 0.49))
            >>> spec.takes_spacing((1.0, 0.488, 0.488)), spec.takes_spacing((3, 1, 1))
            (True, False)
        """
        return self.spacing_mm is None or all(
            abs(has - needs) <= SPACING_TOLERANCE * needs
            for has, needs in zip(spacing_mm, self.spacing_mm, strict=True)
        )


def volume_window(
    array: npt.NDArray[Any], input_spec: InputSpec
) -> tuple[float, float]:
    """Return the edges that a whole volume's values are clipped to.

    Args:
        array: All of the volume; percentiles of a part would be others.
        input_spec: Its window, or its percentiles of the volume.

    Raises:
        IntensityError: ``EMPTY``: the two percentiles are one value.

    Example:
        >>> spec = InputSpec(None, volume_percentiles=(0, 50))
        >>> volume_window(np.arange(101), spec)
        (0.0, 50.0)
    """
    if input_spec.volume_percentiles is None:
        return _window_hu(input_spec)
    low, high = (float(v) for v in np.percentile(array, input_spec.volume_percentiles))
    if not low < high:
        raise IntensityError(
            "EMPTY",
            f"A volume must show something; its percentiles "
            f"{input_spec.volume_percentiles} are both {low:g}.",
            hint="Choose another series, or wider percentiles.",
        )
    return low, high


def _window_hu(input_spec: InputSpec) -> tuple[float, float]:
    if input_spec.window_hu is None:
        raise ValueError(
            "Input scaled by percentiles of its volume needs the volume's window "
            "(volume_window); networks on HU, stacks of slices and exported graphs "
            f"take window_hu. Received: {input_spec}"
        )
    low_hu, high_hu = input_spec.window_hu
    return float(low_hu), float(high_hu)


def windowed(hu: Any, input_spec: InputSpec, window: Any = None) -> Any:
    """Clip a tensor to a window and scale it to [0, 1].

    The one place where training, inference and export do so.

    Args:
        hu: float32 tensor in HU, or the volume's own unit, any shape.
        input_spec: Its window is used.
        window: The two edges that :func:`volume_window` gave for the volume, numbers
            or a tensor (2,); None for the spec's ``window_hu``.

    Returns:
        float32 tensor of the same shape.

    Raises:
        ValueError: There is neither a window nor a ``window_hu``.

    Example:
        >>> hu = np.array([-500, 300, 900], np.float32)
        >>> windowed(hu, InputSpec((-200, 800))).numpy().tolist()
        [0.0, 0.5, 1.0]
    """
    from keras import ops

    low, high = _window_hu(input_spec) if window is None else (window[0], window[1])
    return (ops.clip(hu, low, high) - low) / (high - low)


def stack_indices(
    num_slices: int, input_spec: InputSpec, slice_spacing_mm: float
) -> npt.NDArray[np.int64]:
    """Return which slices make the stack round each slice; the border repeats.

    With ``stack_step_mm`` the slices nearest to its multiples, of two equally near
    ones (to a thousandth of their distance) the one nearer to the middle; slices
    thicker than the step come more than once.
    :func:`kcalc.export.signatures.stack_mask_function` does the same in a graph.

    Args:
        num_slices: Number of slices of the volume.
        input_spec: Its stack and step are used.
        slice_spacing_mm: Distance of the volume's slices in mm.

    Returns:
        (num_slices, stack) slice indices, caudal first.

    Example:
        >>> spec = InputSpec((-200, 800), stack=3)
        >>> stack_indices(3, spec, 3.0).tolist()
        [[0, 0, 1], [0, 1, 2], [1, 2, 2]]
        >>> spec = InputSpec((-200, 800), stack=3, stack_step_mm=3.0)
        >>> stack_indices(6, spec, 1.5)[2].tolist()
        [0, 2, 4]
    """
    steps = np.arange(input_spec.stack) - input_spec.stack // 2
    if input_spec.stack_step_mm is not None:
        apart = np.abs(steps) * (input_spec.stack_step_mm / slice_spacing_mm)
        nearest = np.minimum(np.floor(apart + NEAREST_BELOW), num_slices)
        steps = (np.sign(steps) * nearest).astype(np.int64)
    centres = np.arange(num_slices)[:, None]
    return np.asarray(np.clip(centres + steps, 0, num_slices - 1))


@dataclass(frozen=True)
class ValidGeometry:
    """How the output of a network of valid convolutions lies in its input.

    All are (z, y, x) in voxels. Output voxel 0 of an input is the input's voxel
    ``before_zyx``.

    Args:
        before_zyx: What the network takes off at the low end.
        after_zyx: What it takes off at the high end.
        stride_zyx: Total stride: inputs that begin on multiples of it give the same
            values for the same voxels.
        smallest_zyx: Smallest input; larger ones are larger by multiples of the stride.

    Raises:
        ValueError: A number is negative, a stride is below 1, or the smallest input
            gives no output.
    """

    before_zyx: Sizes
    after_zyx: Sizes
    stride_zyx: Sizes
    smallest_zyx: Sizes

    def __post_init__(self) -> None:
        if (
            min(*self.before_zyx, *self.after_zyx) < 0
            or min(self.stride_zyx) < 1
            or min(self.smallest_output_zyx) < 1
        ):
            raise ValueError(
                "A network of valid convolutions takes off at least 0 voxels, has "
                "strides of at least 1 and gives at least one voxel of its smallest "
                f"input. Received: {self}"
            )

    @property
    def lost_zyx(self) -> Sizes:
        """By how much an output is smaller than its input."""
        z, y, x = (a + b for a, b in zip(self.before_zyx, self.after_zyx, strict=True))
        return (z, y, x)

    @property
    def smallest_output_zyx(self) -> Sizes:
        """Size of the smallest output."""
        z, y, x = (
            n - lost for n, lost in zip(self.smallest_zyx, self.lost_zyx, strict=True)
        )
        return (z, y, x)

    def output_at_least(self, size_zyx: Sizes) -> Sizes:
        """Return the smallest possible output of at least a size."""
        z, y, x = (
            least + max(0, -(-(n - least) // stride)) * stride
            for n, least, stride in zip(
                size_zyx, self.smallest_output_zyx, self.stride_zyx, strict=True
            )
        )
        return (z, y, x)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ValidGeometry:
        """Return the geometry that ``dataclasses.asdict`` described."""
        return cls(**_with_tuples(values))


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with tuples where it has lists."""
    return {
        name: tuple(value) if isinstance(value, list | tuple) else value
        for name, value in values.items()
    }
