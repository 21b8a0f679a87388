"""Classes by two readers: class names enter, confusion, accuracy and kappa leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kcalc.evaluation.checks import FloatArray, UndefinedStatisticError, defined
from kcalc.evaluation.resampling import bootstrap_interval, sums_by_patient

Weights = Literal["linear", "quadratic"]


def class_confusion(
    reference: Sequence[str], result: Sequence[str], classes: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Return how many cases of each class of the reference got each class.

    Args:
        reference: Class of each case by the reference.
        result: Class of the same cases by the result.
        classes: All classes in their order.

    Returns:
        Counts (classes, classes): row of the reference, column of the result.

    Raises:
        ValueError: The lengths differ, or a class is none of ``classes``.

    Example:
        >>> class_confusion(["0", "1-10"], ["0", "0"], ["0", "1-10"]).tolist()
        [[1, 0], [1, 0]]
    """
    place = {name: index for index, name in enumerate(classes)}
    unknown = sorted({*reference, *result} - place.keys())
    if len(reference) != len(result) or unknown:
        raise ValueError(
            f"Both readers must class the same cases by {list(classes)}. Received: "
            f"{len(reference)} and {len(result)} cases, other classes {unknown[:3]}"
        )
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for one, other in zip(reference, result, strict=True):
        counts[place[one], place[other]] += 1
    return counts


def cohen_kappa(confusion: npt.ArrayLike, weights: Weights | None = None) -> float:
    """Return Cohen's kappa of a confusion, weighted where classes are ordered.

    kappa = 1 - sum(d O) / sum(d E), with the observed shares O, the shares E expected
    of independent readers with the same margins, and the disagreement d: 1 off the
    diagonal, |i - j| (``"linear"``) or (i - j)^2 (``"quadratic"``).

    Args:
        confusion: Counts or weights (classes, classes), see :func:`class_confusion`.
        weights: Weighting of disagreements; None counts each alike.

    Raises:
        ValueError: The confusion is not square, or has negative counts.
        UndefinedStatisticError: There is no case, or both readers gave one same class
            to all cases: 0 / 0.

    Example:
        >>> round(cohen_kappa([[20, 5], [10, 15]]), 3)
        0.4

    References:
        Cohen J, Educ Psychol Meas 1960, doi 10.1177/001316446002000104; weighted:
        Psychol Bull 1968, doi 10.1037/h0026256.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or (counts < 0).any():
        raise ValueError(
            "A confusion must be a square table of counts of at least 0. "
            f"Received: shape {counts.shape}"
        )
    value = float(_kappas(counts[np.newaxis], disagreement(len(counts), weights))[0])
    if not np.isfinite(value):
        raise UndefinedStatisticError(
            "Kappa needs cases of at least two classes. Received: "
            f"{counts.sum():g} cases of at most one"
        )
    return value


def disagreement(num_classes: int, weights: Weights | None) -> FloatArray:
    """Return the weight of each disagreement, (classes, classes), 0 on the diagonal.

    Raises:
        ValueError: The weighting is none of these.
    """
    if weights not in (None, "linear", "quadratic"):
        raise ValueError(
            f"weights must be None, 'linear' or 'quadratic'. Received: {weights!r}"
        )
    places = np.arange(num_classes, dtype=np.float64)
    distance = np.abs(places[:, np.newaxis] - places)
    if weights == "quadratic":
        return np.asarray(distance**2)
    return distance if weights == "linear" else (distance > 0).astype(np.float64)


def class_figures(
    reference: Sequence[str],
    result: Sequence[str],
    classes: Sequence[str],
    patients: Sequence[str],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the agreement of two readers on ordered classes, such as risk classes.

    Args:
        reference: Class of each case by the reference.
        result: Class of the same cases by the result.
        classes: All classes in their order.
        patients: Patient of each case; intervals are over patients.
        seed: Seed of the bootstrap.

    Returns:
        ``classes``, ``counts`` (row of the reference, column of the result),
        ``accuracy``, ``within_one_class`` (share at most one class off) and
        ``kappa_linear``, with 95 % bootstrap intervals ``accuracy_interval`` and
        ``kappa_linear_interval``; None where one has no value.

    Raises:
        ValueError: There is no case, or :func:`class_confusion` refuses.
    """
    counts = class_confusion(reference, result, classes)
    if not counts.sum() or len(patients) != len(reference):
        raise ValueError(
            "class_figures needs at least one case, each with its patient. Received: "
            f"{len(reference)} cases and {len(patients)} patients"
        )
    num_classes = len(classes)
    cells = np.zeros((len(reference), num_classes**2))
    order = {name: index for index, name in enumerate(classes)}
    for case, (one, other) in enumerate(zip(reference, result, strict=True)):
        cells[case, order[one] * num_classes + order[other]] = 1
    totals = sums_by_patient(patients, cells)
    weights = disagreement(num_classes, "linear")

    def kappas(sums: FloatArray) -> FloatArray:
        return _kappas(sums.reshape(-1, num_classes, num_classes), weights)

    def accuracies(sums: FloatArray) -> FloatArray:
        tables = sums.reshape(-1, num_classes, num_classes)
        return np.asarray(np.trace(tables, axis1=1, axis2=2) / tables.sum((1, 2)))

    return {
        "classes": list(classes),
        "counts": counts.tolist(),
        "accuracy": float(np.trace(counts) / counts.sum()),
        "accuracy_interval": bootstrap_interval(totals, accuracies, seed=seed),
        "within_one_class": float(counts[weights <= 1].sum() / counts.sum()),
        "kappa_linear": defined(lambda: cohen_kappa(counts, "linear")),
        "kappa_linear_interval": bootstrap_interval(totals, kappas, seed=seed),
    }


def _kappas(tables: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the kappas of tables (tables, classes, classes), NaN for 0 / 0."""
    total = tables.sum(axis=(1, 2))
    expected = np.einsum("ti,tj,ij->t", tables.sum(axis=2), tables.sum(axis=1), weights)
    observed = np.einsum("tij,ij->t", tables, weights)
    with np.errstate(invalid="ignore"):
        return np.asarray(1 - observed * total / np.where(expected, expected, np.nan))
