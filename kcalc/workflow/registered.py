"""A head CT on the network's grid beside its own: registered once, scored on both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.geometry import Geometry
from kcalc.registration import (
    NetworkScan,
    Reference,
    read_reference,
    to_network_grid,
)
from kcalc.report import registration_pictures
from kcalc.report.record import without_coronary
from kcalc.scoring import ScoringRule, calcium_score
from kcalc.volume import Finding, Volume
from kcalc.workflow.grid import calcium_of
from kcalc.workflow.masks import FoundMask
from kcalc.workflow.network import Progress
from kcalc.workflow.options import ScoreOptions


@dataclass(frozen=True, eq=False)
class Registered:
    """A registered scan and what it was registered to."""

    scan: NetworkScan
    reference: Reference


@dataclass(frozen=True, eq=False)
class NetworkScore:
    """What was scored on the network's grid; empty where no head was registered.

    Args:
        placed: The registered scan.
        calcium: (z, y, x) uint8 there: the mask above the threshold.
        record: The entry ``network_grid`` of ``score.json``.
    """

    placed: Registered | None = None
    calcium: npt.NDArray[np.uint8] | None = None
    record: dict[str, Any] | None = None

    @property
    def scan(self) -> NetworkScan | None:
        """The scan on the network's grid."""
        return None if self.placed is None else self.placed.scan

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What there is to say of the registration."""
        return () if self.placed is None else self.placed.scan.findings

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions that made it."""
        return () if self.placed is None else ("SimpleITK",)

    def write_mask(self, path: Path) -> None:
        """Write the calcium as NIfTI in the patient's place, where there is any."""
        from kcalc.io.nifti import write_nifti

        if self.placed is not None and self.calcium is not None:
            write_nifti(path, self.calcium, self.placed.scan.volume.geometry)

    def pictures(self) -> list[str]:
        """Draw the scan against the reference; nothing where there is none."""
        if self.placed is None or self.calcium is None:
            return []
        return registration_pictures(
            self.placed.scan, self.calcium, self.placed.reference
        )


def registered(
    volume: Volume, options: ScoreOptions, grid: Geometry, report: Progress
) -> Registered | None:
    """Return a scan on the network's grid, None where that was not asked for.

    Args:
        volume: The scan as it was read, corrected.
        options: The choices.
        grid: The grid in the standard pose.
        report: Called as the work goes on.

    Raises:
        UsageError: ``PACKAGE``: SimpleITK is not installed.
        InputError: Scan or reference is refused.
    """
    if not options.register:
        return None
    report("Registering the head", 0, 0)
    reference = read_reference(options.reference_path)
    scan = to_network_grid(volume, reference=reference, grid=grid)
    return Registered(scan, reference)


def score_on_network_grid(
    placed: Registered | None,
    mask: npt.NDArray[np.uint8] | None,
    found: FoundMask,
    scored: Volume,
    rule: ScoringRule,
    facts: Mapping[str, Any],
) -> NetworkScore:
    """Score calcium on the network's grid, as the paper does.

    Args:
        placed: The registered scan, None where that was not asked for.
        mask: (z, y, x) what a network found on that grid; None takes what was found on
            the scan's grid.
        found: That.
        scored: The volume that it lies on.
        rule: The rule.
        facts: Further arguments of :func:`kcalc.calcium_score`.
    """
    if placed is None:
        return NetworkScore()
    if mask is None:
        mask = placed.scan.label_of(found.mask, scored.geometry)
    vessels = None if found.vessels is None else mask
    volume, facts = placed.scan.volume, {**facts, "vessels": vessels}
    score = calcium_score(volume.array, mask, volume.spacing_mm, rule=rule, **facts)
    calcium = calcium_of(volume.array, mask, score.rule)
    values = score.to_dict()
    totals = values["per_vessel"]
    record = {
        "shape_zyx": list(volume.shape),
        "spacing_mm": [round(n, 6) for n in volume.spacing_mm],
        "volume_mm3": values["volume_mm3"],
        "num_lesions": values["num_lesions"],
        "calcium_voxels": int(np.count_nonzero(calcium)),
        "per_vessel": None
        if totals is None
        else {
            name: {key: total[key] for key in ("volume_mm3", "num_lesions")}
            for name, total in without_coronary(totals).items()
        },
        "share_inside": round(placed.scan.share_inside, 4),
        "registration": placed.scan.fit.to_dict(),
    }
    return NetworkScore(placed, calcium, record)
