"""The learning curve as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kcalc.files import whole_or_absent


def write_curve(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Draw losses, validation F1, precision and recall over the epochs as a PNG.

    Args:
        path: File to replace.
        history: Rows of the log, at least one.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, names, title in (
        (left, ("loss", "val_loss"), "Loss"),
        (right, ("val_f1", "val_precision", "val_recall"), "Validation, pooled voxels"),
    ):
        for name in names:
            axes.plot(epochs, [row[name] for row in history], marker=".", label=name)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    right.set_ylim(0.0, 1.0)
    with whole_or_absent(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)
