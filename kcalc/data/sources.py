"""Phantoms rendered in processes: a stream of cases for :meth:`CaseStore.write`."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np

from kcalc.data.case import Case
from kcalc.data.store import CaseStore

log = logging.getLogger(__name__)
_KINDS = ("wide", "cardiac", "qrm", "head", "ventricle")
_PATIENT = "phantom-"
"""How the key of a phantom's patient begins; that of a scan's is a hash."""


@dataclass(frozen=True)
class PhantomOrder:
    """One phantom to render.

    Args:
        kind: ``"wide"`` or ``"cardiac"`` chest, ``"qrm"`` with a random insert (the
            product's own layout is never trained on), ``"head"``, labelled 10 and 11
            where an intracranial carotid is calcified, or ``"ventricle"``, cardiac MR
            in arbitrary units, labelled 1 in the cavity and 2 in the myocardium.
        seed: Seed of the phantom; also its number, and that of its patient.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        overrides: Further arguments of :func:`kcalc.phantoms.chest`, ``qrm``, ``head``
            or ``ventricle``, such as ``preset`` or ``phase``.

    Raises:
        ValueError: The kind is none of these.
    """

    kind: str
    seed: int
    split: str
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(
                f"kind must be one of {_KINDS}. Received: kind={self.kind!r}"
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


def is_simulated(store: CaseStore) -> bool:
    """Return whether every case of a store is a phantom of :func:`phantom_cases`."""
    return all(record.patient.startswith(_PATIENT) for record in store.records)


def render_case(order: PhantomOrder) -> Case:
    """Render one phantom; the same order gives the same bytes."""
    from kcalc.phantoms import Phantom, VentriclePhantom, chest, head, qrm, ventricle

    phantom: Phantom | VentriclePhantom
    if order.kind == "qrm":
        phantom = qrm("random", order.seed, **order.overrides)
    elif order.kind == "head":
        phantom = head(seed=order.seed, **order.overrides)
    elif order.kind == "ventricle":
        phantom = ventricle(order.seed, **order.overrides)
    else:
        preset = cast(Literal["wide", "cardiac"], order.kind)
        phantom = chest(preset, order.seed, **order.overrides)
    return Case(
        name=f"{phantom.name}-{order.seed:07d}",
        image=phantom.volume.array,
        label=phantom.label,
        spacing_mm=phantom.volume.spacing_mm,
        patient=f"{_PATIENT}{order.seed:07d}",
        split=order.split,
        tube_voltage_kvp=phantom.volume.acquisition.tube_voltage_kvp,
        unit=phantom.volume.unit,
    )
