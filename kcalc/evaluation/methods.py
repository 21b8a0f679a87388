"""Two methods compared: rows of the same images by each enter, tests leave."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kcalc.evaluation.checks import defined
from kcalc.evaluation.images import ImageAgreement, one_row_a_case
from kcalc.evaluation.significance import paired_t_test


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
        **{name: _test(one, other, value) for name, value in _VALUES.items()},
    }


def values_by_case(rows: Iterable[ImageAgreement]) -> dict[str, dict[str, float]]:
    """Return the values by case that methods are tested on, for a table's row.

    Args:
        rows: One an image.

    Returns:
        ``dice`` and ``absolute_volume_error_mm3``, each by the case's name: what
        :func:`kcalc.training.ablation.write_row` takes as ``cases``.

    Raises:
        ValueError: There is no row, or a case stands twice.
    """
    kept = one_row_a_case(rows)
    return {
        name: {row.case: value(row) for row in kept} for name, value in _VALUES.items()
    }


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


def _test(
    one: Mapping[str, Sequence[ImageAgreement]],
    other: Mapping[str, Sequence[ImageAgreement]],
    value: Callable[[ImageAgreement], float],
) -> dict[str, Any] | None:
    first, second = (
        [statistics.fmean(map(value, rows)) for rows in method.values()]
        for method in (one, other)
    )
    test = defined(lambda: paired_t_test(first, second))
    return None if test is None else test.to_dict()


def _dice(row: ImageAgreement) -> float:
    return row.dice


def _absolute_volume_error_mm3(row: ImageAgreement) -> float:
    return abs(row.volume_result_mm3 - row.volume_reference_mm3)


_VALUES: Mapping[str, Callable[[ImageAgreement], float]] = {
    "dice": _dice,
    "absolute_volume_error_mm3": _absolute_volume_error_mm3,
}
