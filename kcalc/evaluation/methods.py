"""Methods compared: rows of the same images by several methods enter, tables leave."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kcalc.evaluation.checks import defined
from kcalc.evaluation.images import ImageAgreement, one_row_a_case
from kcalc.evaluation.markdown import NO_VALUE, markdown_table, p_value, percent
from kcalc.evaluation.overlap import dice_figures
from kcalc.evaluation.significance import TTest, paired_t_test

Runs = Sequence[Sequence[ImageAgreement]]
"""Rows of each run of a method, such as one a seed."""


def compare_methods(
    first: Iterable[ImageAgreement], second: Iterable[ImageAgreement]
) -> dict[str, Any]:
    """Return paired t-tests of the first method minus the second on the same images.

    Several rows of one image, as of several seeds, are averaged first: repeats of an
    image are not independent, so the test counts images.

    Args:
        first: Rows of one method.
        second: Rows of the other; the same cases with the same references.

    Returns:
        ``images``; ``dice`` and ``absolute_volume_error_mm3``, each a test as
        :meth:`TTest.to_dict <kcalc.evaluation.TTest.to_dict>`, or None where the test
        has no value (fewer than two images, or all differ by the same amount).

    Raises:
        ValueError: The cases differ, or the references of one case.
    """
    one, other = _by_case(first), _by_case(second)
    if one.keys() != other.keys() or not one:
        differing = sorted(one.keys() ^ other.keys())
        raise ValueError(
            "Methods are compared on the same images. Received: "
            f"{len(one)} and {len(other)} images, {len(differing)} of them in one "
            f"method alone{': ' + ', '.join(differing[:3]) if differing else ''}"
        )
    for case, rows in one.items():
        _same_reference([*rows, *other[case]])
    return {
        "images": len(one),
        "dice": _plain(defined(lambda: _dice_test(one, other))),
        "absolute_volume_error_mm3": _plain(defined(lambda: _error_test(one, other))),
    }


def method_table(
    methods: Mapping[str, Runs], *, against: str | None = None
) -> list[dict[str, Any]]:
    """Return a row a method, as tables 1 and 2 of Bortsova 2017.

    Args:
        methods: Runs of each method by its name, in the table's order; each run has
            one row an image.
        against: Method that each other one is tested against; None tests each against
            the one before it.

    Returns:
        Rows with ``method``, ``runs``, ``images``; ``pooled_dice``, ``mean_dice`` and
        ``by_quarter``, means over runs, with ``pooled_dice_runs_sd`` and
        ``mean_dice_runs_sd``, their SD over runs (None of one run); ``sd_dice``, the
        mean over runs of the SD over images; ``difference`` of mean Dice from the
        method ``against`` and its ``p`` (None in that method's own row, and where the
        test has no value).

    Raises:
        ValueError: ``against`` is no method, a run has a case twice, or the images of
            two methods that are compared differ.
    """
    if against is not None and against not in methods:
        raise ValueError(
            f"against must be one of {', '.join(methods)}. Received: {against!r}"
        )
    table = []
    before: str | None = None
    for name, runs in methods.items():
        other, before = against or before, name
        if not runs:
            raise ValueError(
                f"A method needs at least one run. Received: none of {name}"
            )
        figures = [dice_figures(one_row_a_case(run)) for run in runs]
        test = None
        if other is not None and other != name:
            test = compare_methods(_joined(runs), _joined(methods[other]))["dice"]
        pooled = [one["pooled"] for one in figures]
        means = [one["mean"] for one in figures]
        quarters = [one["by_quarter"] for one in figures]
        deviations = [one["sd"] for one in figures]
        table.append(
            {
                "method": name,
                "runs": len(runs),
                "images": figures[0]["images"],
                "pooled_dice": statistics.fmean(pooled),
                "pooled_dice_runs_sd": _sd(pooled),
                "mean_dice": statistics.fmean(means),
                "mean_dice_runs_sd": _sd(means),
                "sd_dice": None if None in deviations else statistics.fmean(deviations),
                "by_quarter": None
                if None in quarters
                else [
                    statistics.fmean(part["mean_dice"] for part in parts)
                    for parts in zip(*quarters, strict=True)
                ],
                "against": None if other == name else other,
                "difference": test and test["difference"],
                "p": test and test["p"],
            }
        )
    return table


def method_text(table: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows of :func:`method_table` in Markdown, Dice in percent."""
    return markdown_table(
        [
            {
                "method": row["method"],
                "pooled Dice": _with_sd(row["pooled_dice"], row["pooled_dice_runs_sd"]),
                "mean Dice": _with_sd(row["mean_dice"], row["mean_dice_runs_sd"]),
                "SD over images": percent(row["sd_dice"]),
                **{
                    f"quarter {place}": percent(value)
                    for place, value in enumerate(row["by_quarter"] or [None] * 4, 1)
                },
                "against": row["against"] or NO_VALUE,
                "difference": percent(row["difference"]),
                "p": p_value(row["p"]),
            }
            for row in table
        ]
    )


def _with_sd(value: float, sd: float | None) -> str:
    return percent(value) if sd is None else f"{percent(value)} ± {percent(sd)}"


def _joined(runs: Runs) -> list[ImageAgreement]:
    return [row for run in runs for row in run]


def _by_case(rows: Iterable[ImageAgreement]) -> dict[str, list[ImageAgreement]]:
    groups: dict[str, list[ImageAgreement]] = {}
    for row in rows:
        groups.setdefault(row.case, []).append(row)
    return dict(sorted(groups.items()))


def _same_reference(rows: Sequence[ImageAgreement]) -> None:
    references = {(row.voxels_reference, row.voxel_mm3) for row in rows}
    if len(references) > 1:
        raise ValueError(
            "Methods are compared against one reference. Received: "
            f"{len(references)} references of the case {rows[0].case}"
        )


def _dice_test(
    one: Mapping[str, Sequence[ImageAgreement]],
    other: Mapping[str, Sequence[ImageAgreement]],
) -> TTest:
    return paired_t_test(
        *(
            [statistics.fmean(row.dice for row in rows) for rows in method.values()]
            for method in (one, other)
        )
    )


def _error_test(
    one: Mapping[str, Sequence[ImageAgreement]],
    other: Mapping[str, Sequence[ImageAgreement]],
) -> TTest:
    return paired_t_test(
        *(
            [
                statistics.fmean(
                    abs(row.volume_result_mm3 - row.volume_reference_mm3)
                    for row in rows
                )
                for rows in method.values()
            ]
            for method in (one, other)
        )
    )


def _plain(test: TTest | None) -> dict[str, Any] | None:
    return None if test is None else test.to_dict()


def _sd(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None
