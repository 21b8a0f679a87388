"""Data plans: which samples a network sees, of slices or of volumes.

A recipe holds one; ``fit`` calls its methods and knows nothing of either kind. Sample i
of a plan depends on (seed, i) alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from kcalc.data.augment import Augmentation
from kcalc.data.boxes import BoxSampler
from kcalc.data.patches import (
    CropSampler,
    PatchSampling,
    Shares,
    check_shares,
    sample_rng,
)
from kcalc.data.store import CaseStore
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.preparation import InputSpec

if TYPE_CHECKING:
    import tensorflow as tf

_SMOKE_SAMPLES = 4


@dataclass(frozen=True)
class SliceData:
    """Stacks of slices, of which the middle one is labelled, for a 2.5-D network.

    Args:
        sampling: How training crops are drawn.
        augmentation: Random changes of training crops.
        threshold_hu: Labels below it are cut, in HU.
        validation_slices: Whole slices in the fixed validation set.
        validation_size: Their rows and columns in pixels.
        validation_batch: Slices a validation step.

    Raises:
        ValueError: A number is not above 0, or slices are to be tilted.
    """

    sampling: PatchSampling = field(default_factory=PatchSampling)
    augmentation: Augmentation = field(default_factory=Augmentation)
    threshold_hu: float = AGATSTON_THRESHOLD_HU
    validation_slices: int = 64
    validation_size: int = 512
    validation_batch: int = 2

    def __post_init__(self) -> None:
        _check_positive(
            validation_slices=self.validation_slices,
            validation_size=self.validation_size,
            validation_batch=self.validation_batch,
        )
        if self.augmentation.tilt_deg:
            raise ValueError(
                "Slices can be turned in their plane alone. "
                f"Received: tilt_deg={self.augmentation.tilt_deg}"
            )

    def training(
        self,
        store: CaseStore,
        *,
        input_spec: InputSpec,
        batch_size: int,
        seed: int,
        start: int,
        stop: int,
        deterministic: bool = True,
    ) -> tf.data.Dataset:
        """Return training batches; see :func:`kcalc.data.pipeline.training_dataset`."""
        from kcalc.data.pipeline import training_dataset

        return training_dataset(
            store,
            input_spec=input_spec,
            sampling=self.sampling,
            augmentation=self.augmentation,
            batch_size=batch_size,
            seed=seed,
            start=start,
            stop=stop,
            threshold_hu=self.threshold_hu,
            deterministic=deterministic,
        )

    def validation(
        self,
        store: CaseStore,
        *,
        input_spec: InputSpec,
        seed: int,
        split: str = "validation",
    ) -> tf.data.Dataset:
        """Return validation; see :func:`kcalc.data.pipeline.validation_dataset`."""
        from kcalc.data.pipeline import validation_dataset

        return validation_dataset(
            store,
            input_spec=input_spec,
            num_slices=self.validation_slices,
            size=self.validation_size,
            batch_size=self.validation_batch,
            seed=seed,
            split=split,
            threshold_hu=self.threshold_hu,
        )

    def cases(
        self,
        store: CaseStore,
        *,
        input_spec: InputSpec,
        seed: int,
        start: int,
        stop: int,
    ) -> list[str]:
        """Return the case of each training sample from ``start`` to ``stop``."""
        sampler = CropSampler(store, store.split("train"), self.sampling)
        return [sampler.draw(sample_rng(seed, i)).case for i in range(start, stop)]

    def smoke(self) -> SliceData:
        """Return the plan cut to four validation slices."""
        return replace(self, validation_slices=_SMOKE_SAMPLES)


@dataclass(frozen=True)
class VolumeData:
    """Boxes of volumes with a label for every voxel, for a 3-D network.

    Args:
        patch_zyx: Size of a sample in voxels; a network of valid convolutions labels
            the part within ``InputSpec.halo_zyx``.
        p_positive: Share of samples whose labelled part holds a random labelled voxel.
        p_hard_negative: Share of those that hold a random voxel >= 130 HU without a
            label.
        p_imitator: Share of those that hold a voxel of a component >= 130 HU that is as
            large as calcium and has no label; the remaining samples lie anywhere.
        augmentation: Random changes of training samples. A turn or deformation can move
            the drawn voxel out of the labelled part.
        threshold_hu: Only voxels above it can be calcium, in HU.
        supervise_above_threshold: Whether voxels at or below the threshold are left out
            of training (label 255); otherwise their label is 0.
        validation_patches: Samples in the fixed validation set.
        validation_batch: Samples a validation step.

    Raises:
        ValueError: A number is not above 0, or the shares are no shares.

    References:
        Bortsova et al. 2017, doi 10.1007/978-3-319-66179-7_41, sections 2.2 and 3. The
        shares are kcalc's; the paper draws patches in a way it does not state.
    """

    patch_zyx: tuple[int, int, int]
    p_positive: float = 0.0
    p_hard_negative: float = 0.0
    p_imitator: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    threshold_hu: float = AGATSTON_THRESHOLD_HU
    supervise_above_threshold: bool = True
    validation_patches: int = 32
    validation_batch: int = 1

    def __post_init__(self) -> None:
        if len(self.patch_zyx) != 3 or min(self.patch_zyx) < 1:
            raise ValueError(
                "patch_zyx must be three sizes above 0. "
                f"Received: patch_zyx={self.patch_zyx}"
            )
        check_shares(self.shares)
        _check_positive(
            validation_patches=self.validation_patches,
            validation_batch=self.validation_batch,
        )

    @property
    def shares(self) -> Shares:
        """Shares of samples that hold calcium, a hard negative, an imitator."""
        return (self.p_positive, self.p_hard_negative, self.p_imitator)

    def training(
        self,
        store: CaseStore,
        *,
        input_spec: InputSpec,
        batch_size: int,
        seed: int,
        start: int,
        stop: int,
        deterministic: bool = True,
    ) -> tf.data.Dataset:
        """Return batches; see :func:`kcalc.data.volume_pipeline.training_boxes`."""
        from kcalc.data.volume_pipeline import training_boxes

        return training_boxes(
            store,
            self,
            input_spec=input_spec,
            batch_size=batch_size,
            seed=seed,
            start=start,
            stop=stop,
            deterministic=deterministic,
        )

    def validation(
        self,
        store: CaseStore,
        *,
        input_spec: InputSpec,
        seed: int,
        split: str = "validation",
    ) -> tf.data.Dataset:
        """Return batches; see :func:`kcalc.data.volume_pipeline.validation_boxes`."""
        from kcalc.data.volume_pipeline import validation_boxes

        return validation_boxes(
            store, self, input_spec=input_spec, seed=seed, split=split
        )

    def cases(
        self,
        store: CaseStore,
        *,
        input_spec: InputSpec,
        seed: int,
        start: int,
        stop: int,
    ) -> list[str]:
        """Return the case of each training sample from ``start`` to ``stop``."""
        sampler = BoxSampler(store, "train", self.patch_zyx, input_spec, self.shares)
        return [sampler.draw(sample_rng(seed, i)).case for i in range(start, stop)]

    def smoke(self) -> VolumeData:
        """Return the plan cut to four validation samples."""
        return replace(self, validation_patches=_SMOKE_SAMPLES)


DataPlan: TypeAlias = SliceData | VolumeData


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be above 0. Received: {name}={value}")
