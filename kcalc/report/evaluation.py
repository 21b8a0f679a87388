"""An evaluation on paper: its figures enter, a text and charts leave in a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kcalc.files import whole_or_absent, writable_folder
from kcalc.report.charts import (
    bland_altman_picture,
    confusion_picture,
    histogram_picture,
    missed_picture,
    vessel_picture,
)
from kcalc.report.folder import write_text

CHARTS = (
    "volume_histogram.png",
    "volume_bland_altman.png",
    "missed_lesions.png",
    "agatston_bland_altman.png",
    "risk_classes.png",
    "risk_orcascore.png",
    "vessels.png",
)


def write_agreement(
    folder: str | os.PathLike[str], figures: Mapping[str, Any]
) -> list[Path]:
    """Write the tables and charts of an evaluation.

    Args:
        folder: Made where absent; files of the same names are replaced.
        figures: What :func:`kcalc.evaluation.agreement_figures` gave, or
            :func:`kcalc.evaluation.figures` of coronary calcium.

    Returns:
        ``evaluation.md``, and the charts (:data:`CHARTS`) that the figures have a value
        for, the last four of scores alone.

    Raises:
        ResourceError: The folder cannot be written.
    """
    # Loads the case store, which a report of one scan does not need.
    from kcalc.evaluation import agreement_text, patient_text

    place = writable_folder(folder)
    for name in CHARTS:
        (place / name).unlink(missing_ok=True)
    scored: Mapping[str, Any] | None = figures.get("agreement")
    image = figures if scored is None else scored["image"]
    text = agreement_text(image) if scored is None else patient_text(scored)
    with whole_or_absent(place / "evaluation.md") as temporary:
        write_text(temporary, f"{text}\n")
    rows: Sequence[Mapping[str, Any]] = figures["rows"]
    _image_charts(place, image, rows)
    if scored is not None:
        _score_charts(place, scored, rows)
    return [
        place / name for name in ("evaluation.md", *CHARTS) if (place / name).exists()
    ]


def _image_charts(
    place: Path, image: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> None:
    volume = image["volume"]
    if volume["histogram"]:
        histogram_picture(place / "volume_histogram.png", volume["histogram"])
    if volume["bland_altman"]:
        bland_altman_picture(
            place / "volume_bland_altman.png",
            [row["voxels_reference"] * row["voxel_mm3"] for row in rows],
            [row["voxels_result"] * row["voxel_mm3"] for row in rows],
            volume["bland_altman"],
        )
    missed_picture(place / "missed_lesions.png", image["missed"])


def _score_charts(
    place: Path, scored: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> None:
    confusion_picture(place / "risk_classes.png", scored["risk"])
    confusion_picture(
        place / "risk_orcascore.png", scored["risk_orcascore"], title="orCaScore"
    )
    if scored["agatston"]["bland_altman"]:
        bland_altman_picture(
            place / "agatston_bland_altman.png",
            [row["agatston_reference"] for row in rows],
            [row["agatston_result"] for row in rows],
            scored["agatston"]["bland_altman"],
            quantity="Agatston score",
        )
    if scored["vessels"]:
        vessel_picture(place / "vessels.png", scored["vessels"])
