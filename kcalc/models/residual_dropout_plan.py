"""The intracranial network's two tables, and where its outputs lie in the input.

"Receptive field 85x85x37" can be read as what a voxel's gradient reaches or as what
valid convolutions take off an input, and no network of this form meets both readings:
:func:`kcalc.models.residual_dropout_fcn` tells which table keeps which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Sizes = tuple[int, int, int]
Crop = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
Window = tuple[slice, slice, slice]

TOTAL_STRIDE_ZYX: Sizes = (2, 4, 4)
SMALLEST_ZYX: Sizes = (38, 86, 86)
"""Smallest input; every larger one is larger by multiples of the total stride."""

STRIDES: tuple[Sizes, Sizes] = ((1, 2, 2), (2, 2, 2))
"""Strides (z, y, x) of the two steps down, and factors of the two steps up."""
BLOCK_KERNELS: tuple[Sizes, Sizes, Sizes] = ((1, 3, 3), (3, 3, 3), (3, 3, 3))
"""Kernels of the blocks at full size, after one and after two steps down."""
FUSE_KERNEL: Sizes = (3, 3, 3)


@dataclass(frozen=True)
class Plan:
    """One table of layers; all sizes are (z, y, x).

    Args:
        stem: First kernel.
        encoder: Numbers of the blocks at full size, after one and two steps down.
        decoder: Numbers of the blocks after one and two steps up.
        down: Kernels of the two strided convolutions.
        up: Kernel of the convolution after each enlargement.
        skip_crops: What the skip at full size and the one after one step down lose,
            before and after, to fit the enlarged maps.
    """

    stem: Sizes
    encoder: tuple[tuple[int, ...], ...]
    decoder: tuple[tuple[int, ...], ...]
    down: tuple[Sizes, Sizes]
    up: Sizes
    skip_crops: tuple[Crop, Crop]


PLANS = {
    "literal": Plan(
        stem=(3, 3, 3),
        encoder=((1, 2), (3,), (4, 5)),
        decoder=((6,), (7, 8)),
        down=((1, 3, 3), (3, 3, 3)),
        up=(3, 3, 3),
        skip_crops=(((15, 17), (29, 33), (29, 33)), ((9, 11), (9, 10), (9, 10))),
    ),
    "aligned": Plan(
        stem=(1, 7, 7),
        encoder=((1,), (2, 3), (4, 5)),
        decoder=((6, 7), (8,)),
        down=((1, 2, 2), (2, 2, 2)),
        up=(1, 1, 1),
        skip_crops=(((17, 17), (34, 34), (34, 34)), ((8, 8), (8, 8), (8, 8))),
    ),
}


def plan_of(variant: str) -> Plan:
    """Return the table of a variant.

    Raises:
        ValueError: There is no such variant.
    """
    if variant not in PLANS:
        raise ValueError(
            f"variant must be one of {tuple(PLANS)}. Received: variant={variant!r}."
        )
    return PLANS[variant]


def check_size(size_zyx: Sequence[int | None], what: str) -> None:
    """Refuse sizes at which the network's parts do not fit together.

    Args:
        size_zyx: Sizes of the input; None is not checked.
        what: Name of the argument, for the message.

    Raises:
        ValueError: A size is too small, or off the total stride.
    """
    fits = len(size_zyx) == 3 and all(
        n is None or (n >= least and (n - least) % stride == 0)
        for n, least, stride in zip(
            size_zyx, SMALLEST_ZYX, TOTAL_STRIDE_ZYX, strict=False
        )
    )
    if not fits:
        raise ValueError(
            f"The input must be at least {SMALLEST_ZYX} (z, y, x) and larger than that "
            f"by multiples of the total stride {TOTAL_STRIDE_ZYX}. Received: "
            f"{what}={tuple(size_zyx)}. Pad the volume and crop the result; the "
            "paper's patch is (98, 178, 178)."
        )


def output_windows(
    size_zyx: Sizes = (98, 178, 178), variant: str = "literal"
) -> dict[str, Window]:
    """Return which part of an input each output of the network labels.

    Voxel ``i`` of the output ``name`` belongs to voxel ``window.start + i`` of the
    input: train it on ``label[:, *windows[name]]``. Labels are cut and never
    downsampled, so that a lesion of one voxel is not lost. In the aligned variant every
    voxel lies within half a voxel of the centre of what it sees. In the literal one the
    windows follow the skip connections, the finest path (half a voxel early where that
    is a fraction); the centre of the whole receptive field is up to 3 voxels further.

    Args:
        size_zyx: Size of the input.
        variant: As of :func:`kcalc.models.residual_dropout_fcn`.

    Returns:
        Slices (z, y, x) for ``main`` and ``aux_2`` to ``aux_7``.

    Raises:
        ValueError: There is no such variant, or its parts do not fit at this size.

    Example:
        >>> output_windows()["main"]
        (slice(17, 79, None), slice(39, 135, None), slice(39, 135, None))
    """
    plan = plan_of(variant)
    check_size(size_zyx, "size_zyx")
    walks = [_walk_axis(plan, axis, n) for axis, n in enumerate(size_zyx)]
    names = {f"aux_{block}": block for block in range(2, 8)} | {"main": 8}
    z, y, x = ({name: walk[block] for name, block in names.items()} for walk in walks)
    return {name: (z[name], y[name], x[name]) for name in names}


@dataclass
class _Track:
    """Voxels of a map along one axis: centre of the first and step, in input voxels."""

    size: int
    first: float = 0.0
    step: int = 1
    windows: dict[int, slice] = field(default_factory=dict)

    def convolve(self, kernel: int, stride: int = 1) -> None:
        self.first += self.step * (kernel - 1) / 2
        self.size = (self.size - kernel) // stride + 1
        self.step *= stride

    def block(self, number: int, kernel: int) -> None:
        self.convolve(kernel)
        self.convolve(kernel)
        start = int(self.first - (self.step - 1) / 2)
        self.windows[number] = slice(start, start + self.size * self.step)


def _walk_axis(plan: Plan, axis: int, size: int) -> dict[int, slice]:
    """Return the part of the input that each block's output covers along one axis."""
    track = _Track(size)
    skips = []
    track.convolve(plan.stem[axis])
    for level, numbers in enumerate(plan.encoder):
        if level:
            track.convolve(plan.down[level - 1][axis], STRIDES[level - 1][axis])
        for number in numbers:
            track.block(number, BLOCK_KERNELS[level][axis])
        skips.append((track.first, track.step))
    for level, numbers in zip((1, 0), plan.decoder, strict=True):
        factor = STRIDES[level][axis]
        track.size = track.size * factor - plan.up[axis] + 1
        first, track.step = skips[level]
        track.first = first + track.step * plan.skip_crops[level][axis][0]
        track.convolve(FUSE_KERNEL[axis])
        for number in numbers:
            track.block(number, BLOCK_KERNELS[level][axis])
    return track.windows
