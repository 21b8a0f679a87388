"""Where cases come from: phantoms rendered in processes, or folders of labelled scans.

What leaves is a stream of cases in LPS order for :meth:`CaseStore.write`.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from kcalc.data.splits import split_patients
from kcalc.data.store import Case
from kcalc.errors import InputError
from kcalc.hounsfield import AGATSTON_THRESHOLD_HU
from kcalc.io import read_volume
from kcalc.io.nifti import read_mask
from kcalc.orientation import lps_spacing_mm, lps_view

log = logging.getLogger(__name__)

IMAGE_FILE = "image.nii.gz"
IMAGE_FOLDER = "image"
LABEL_FILE = "label.nii.gz"


@dataclass(frozen=True)
class PhantomOrder:
    """One phantom to render.

    Args:
        kind: ``"wide"`` or ``"cardiac"`` chest, or ``"qrm"`` with a random insert; the
            product's own layout is never trained on.
        seed: Seed of the phantom; also its number, and that of its patient.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        overrides: Further arguments of :func:`kcalc.phantoms.chest` or ``qrm``.

    Raises:
        ValueError: The kind is none of these.
    """

    kind: str
    seed: int
    split: str
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in ("wide", "cardiac", "qrm"):
            raise ValueError(
                f"kind must be 'wide', 'cardiac' or 'qrm'. Received: kind={self.kind!r}"
            )


def phantom_cases(
    orders: Sequence[PhantomOrder], *, num_workers: int = 2
) -> Iterator[Case]:
    """Render phantoms in processes and yield them one by one, in their order.

    Args:
        orders: What to render.
        num_workers: Processes; each holds one phantom in memory.

    Yields:
        Cases named after kind and seed.
    """
    with multiprocessing.get_context("spawn").Pool(num_workers) as pool:
        for done, case in enumerate(pool.imap(render_case, orders), start=1):
            log.info(
                "%d/%d %s %s: %d labelled voxels",
                done,
                len(orders),
                case.name,
                case.image.shape,
                np.count_nonzero(case.label),
            )
            yield case


def render_case(order: PhantomOrder) -> Case:
    """Render one phantom; the same order gives the same bytes."""
    from kcalc.phantoms import chest, qrm

    if order.kind == "qrm":
        phantom = qrm("random", order.seed, **order.overrides)
    else:
        preset = cast(Literal["wide", "cardiac"], order.kind)
        phantom = chest(preset, order.seed, **order.overrides)
    return Case(
        name=f"{phantom.name}-{order.seed:07d}",
        image=phantom.volume.array,
        label=phantom.label,
        spacing_mm=phantom.volume.spacing_mm,
        patient=f"phantom-{order.seed:07d}",
        split=order.split,
        tube_voltage_kvp=phantom.volume.acquisition.tube_voltage_kvp,
    )


def folder_cases(data: str | os.PathLike[str], *, seed: int = 0) -> Iterator[Case]:
    """Read one folder a case and yield it, named by number to keep no identity.

    ``DATA/<patient>__<scan>/`` (or ``DATA/<patient>/``) holds ``image.nii.gz`` in HU,
    or a DICOM folder ``image/``, and ``label.nii.gz`` on the same grid: above 0 where
    calcified. Labels below 130 HU are cut. All scans of a patient go to one split;
    patients are split 70/10/20.

    Args:
        data: Folder of the cases' folders.
        seed: Seed of the split.

    Yields:
        Cases in LPS order, whose patient is a hash of the folder's name.

    Raises:
        InputError: ``DATA_EMPTY`` where there is no folder, or what
            :func:`kcalc.read_volume` and ``read_mask`` refuse.
    """
    root = Path(data)
    folders = sorted(path for path in root.glob("*/") if path.is_dir())
    if not folders:
        raise InputError(
            "DATA_EMPTY",
            "The data must be one folder a case. Received: no folder.",
            path=root,
            hint=f"Each holds {IMAGE_FILE} (or {IMAGE_FOLDER}/ with DICOM files) and "
            f"{LABEL_FILE}.",
        )
    patients = [_key(folder.name.split("__")[0]) for folder in folders]
    splits = split_patients(patients, seed=seed)
    for number, (folder, patient) in enumerate(
        zip(folders, patients, strict=True), start=1
    ):
        yield _read_case(folder, f"case-{number:04d}", patient, splits[patient])
        log.info("%d/%d read", number, len(folders))


def _read_case(folder: Path, name: str, patient: str, split: str) -> Case:
    nifti = folder / IMAGE_FILE
    volume = (
        read_volume(nifti, unit="HU")
        if nifti.exists()
        else read_volume(folder / IMAGE_FOLDER)
    )
    label = read_mask(folder / LABEL_FILE, volume.geometry)
    label = label * (volume.array >= AGATSTON_THRESHOLD_HU)
    image = np.rint(volume.array).clip(-32768, 32767).astype(np.int16)
    return Case(
        name=name,
        image=lps_view(image, volume.geometry),
        label=lps_view(label, volume.geometry).astype(np.uint8),
        spacing_mm=lps_spacing_mm(volume.geometry),
        patient=patient,
        split=split,
        tube_voltage_kvp=volume.acquisition.tube_voltage_kvp,
    )


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]
