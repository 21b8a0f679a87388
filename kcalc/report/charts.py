"""Charts of an evaluation: its figures enter, PNG pictures leave, whole or absent."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kcalc.files import whole_or_absent

DOTS_PER_INCH = 150
_BLUE, _RED, _GREY = "#0b5c8e", "#c0392b", "#5b6b7b"


@contextmanager
def png_picture(
    path: str | os.PathLike[str], width_inch: float, height_inch: float
) -> Iterator[Any]:
    """Give a matplotlib figure and write it as PNG when the block ends well.

    Args:
        path: File ending in ``.png``; its folder must exist.
        width_inch: Width of the figure.
        height_inch: Height of the figure.

    Raises:
        ResourceError: The file cannot be written (``WRITE_FAILED``).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inch, height_inch), layout="constrained")
    yield figure
    with whole_or_absent(path, suffix=".png") as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, metadata={"Software": None})


def histogram_picture(
    path: str | os.PathLike[str],
    histogram: Mapping[str, Any],
    *,
    quantity: str = "volume, mm³",
) -> Path:
    """Draw the 2-D histogram of equally filled bins: perfect agreement is the diagonal.

    Args:
        path: File ending in ``.png``.
        histogram: What :meth:`kcalc.evaluation.EqualBins.to_dict` gave.
        quantity: What is counted, with its unit.

    References:
        Bortsova G et al. 2017, figure 2, left.
    """
    counts = np.array(histogram["counts"])
    with png_picture(path, 5.6, 4.8) as figure:
        axes = figure.subplots()
        image = axes.imshow(counts.T, origin="lower", cmap="Blues", vmin=0)
        places = np.arange(len(counts) + 1) - 0.5
        for axis, edges in (
            (axes.xaxis, histogram["reference_edges"]),
            (axes.yaxis, histogram["result_edges"]),
        ):
            axis.set_ticks(places, [f"{edge:.3g}" for edge in edges], fontsize=7)
        axes.tick_params(axis="x", rotation=45)
        axes.set_xlabel(f"reference: {quantity}")
        axes.set_ylabel(f"result: {quantity}")
        axes.set_title("Bins of equally many images", fontsize=10)
        figure.colorbar(image, label="images", shrink=0.85)
    return Path(path)


def bland_altman_picture(
    path: str | os.PathLike[str],
    reference: npt.ArrayLike,
    result: npt.ArrayLike,
    limits: Mapping[str, Any],
    *,
    quantity: str = "volume, mm³",
) -> Path:
    """Draw differences against means with bias, limits of agreement and intervals.

    Args:
        path: File ending in ``.png``.
        reference: Value of each case by the reference.
        result: Value of the same cases by the result.
        limits: What :meth:`kcalc.evaluation.BlandAltman.to_dict` gave of them.
        quantity: What is compared, with its unit.
    """
    first, second = (np.asarray(x, dtype=np.float64) for x in (reference, result))
    with png_picture(path, 6.2, 4.4) as figure:
        axes = figure.subplots()
        axes.plot((first + second) / 2, second - first, "o", ms=4, alpha=0.6, c=_BLUE)
        for name, style in (("bias", "-"), ("low", "--"), ("high", "--")):
            axes.axhspan(*limits[f"{name}_interval"], color=_RED, alpha=0.1, lw=0)
            axes.axhline(limits[name], color=_RED, ls=style, lw=1)
            axes.annotate(
                f"{limits[name]:+.1f}",
                (1.01, limits[name]),
                xycoords=("axes fraction", "data"),
                color=_RED,
                fontsize=8,
                va="center",
            )
        axes.set_xlabel(f"mean of both: {quantity}")
        axes.set_ylabel("result minus reference")
        axes.set_title(
            f"Bias and 95 % limits of agreement, {limits['pairs']} cases", fontsize=10
        )
    return Path(path)


def confusion_picture(
    path: str | os.PathLike[str], risk: Mapping[str, Any], *, title: str = "Risk class"
) -> Path:
    """Draw a class confusion with its counts, accuracy and kappa.

    Args:
        path: File ending in ``.png``.
        risk: What :func:`kcalc.evaluation.class_figures` gave.
        title: What the classes are of.
    """
    counts, names = np.array(risk["counts"]), risk["classes"]
    kappa = risk["kappa_linear"]
    with png_picture(path, 4.8, 4.6) as figure:
        axes = figure.subplots()
        axes.imshow(counts, cmap="Blues", vmin=0, vmax=max(1, counts.max()))
        for (row, column), count in np.ndenumerate(counts):
            dark = 2 * count > counts.max()
            axes.text(
                column,
                row,
                str(count),
                ha="center",
                va="center",
                color="white" if dark else "black",
            )
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("result")
        axes.set_ylabel("reference")
        shown = "–" if kappa is None else f"{kappa:.2f}"
        axes.set_title(
            f"{title}: accuracy {100 * risk['accuracy']:.0f} %, linear kappa {shown}",
            fontsize=10,
        )
    return Path(path)


def missed_picture(path: str | os.PathLike[str], missed: Mapping[str, Any]) -> Path:
    """Draw found and missed lesions by volume, peak and distance to bone.

    Args:
        path: File ending in ``.png``.
        missed: What :func:`kcalc.evaluation.missed_lesions` gave.
    """
    panels = (
        ("by_volume_mm3", "volume, mm³"),
        ("by_peak_hu", "peak, HU"),
        ("by_bone_mm", "distance to bone, mm"),
    )
    with png_picture(path, 9.6, 3.4) as figure:
        for axes, (name, quantity) in zip(
            figure.subplots(1, 3, sharey=True), panels, strict=True
        ):
            table: Sequence[Mapping[str, Any]] = missed[name]
            places = np.arange(len(table))
            lost = np.array([row["missed"] for row in table])
            found = np.array([row["lesions"] for row in table]) - lost
            axes.bar(places, found, color=_GREY, label="found")
            axes.bar(places, lost, bottom=found, color=_RED, label="missed")
            for place, row in enumerate(table):
                if row["lesions"]:
                    share = f"{100 * row['missed_share']:.0f} %"
                    axes.text(
                        place,
                        row["lesions"],
                        share,
                        ha="center",
                        va="bottom",
                        fontsize=8,
                    )
            axes.set_xticks(places, [_class_name(row) for row in table], fontsize=8)
            axes.set_xlabel(quantity)
            axes.margins(y=0.15)
        figure.axes[0].set_ylabel("lesions of the reference")
        figure.axes[0].legend(fontsize=8, frameon=False)
    return Path(path)


def vessel_picture(path: str | os.PathLike[str], vessels: Mapping[str, Any]) -> Path:
    """Draw the Agatston totals of label and result by vessel.

    Args:
        path: File ending in ``.png``.
        vessels: ``vessels`` of :func:`kcalc.evaluation.patient_figures`.
    """
    places = np.arange(len(vessels))
    labels = [one["agatston_reference"] for one in vessels.values()]
    results = [one["agatston_result"] for one in vessels.values()]
    with png_picture(path, 6.0, 3.6) as figure:
        axes = figure.subplots()
        axes.bar(places - 0.2, labels, 0.4, color=_GREY, label="label")
        if None not in results:
            axes.bar(places + 0.2, results, 0.4, color=_BLUE, label="result")
        axes.set_xticks(places, list(vessels))
        axes.set_ylabel("Agatston score, all cases")
        axes.legend(fontsize=8, frameon=False)
    return Path(path)


def _class_name(row: Mapping[str, Any]) -> str:
    if row["to"] is None:
        return f"≥ {row['from']:g}"
    return f"< {row['to']:g}" if not row["from"] else f"{row['from']:g}–{row['to']:g}"
