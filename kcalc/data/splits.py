"""Splits by patient: deterministic, by a seeded hash, never one patient in two."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from kcalc.errors import InputError

SPLITS = ("train", "validation", "test")


def split_patients(
    patients: Iterable[str],
    *,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int = 0,
) -> dict[str, str]:
    """Assign every patient to training, validation or test.

    Patients are put in the order of SHA-256 of seed and key, whatever the order they
    come in, and cut at the fractions. With three patients or more, every split whose
    fraction is above zero gets at least one.

    Args:
        patients: Patient keys; repeated keys count once.
        fractions: Share of train, validation and test, each >= 0, sum 1.
        seed: Another seed gives another order.

    Returns:
        Patient key to ``"train"``, ``"validation"`` or ``"test"``.

    Raises:
        ValueError: The fractions are not shares of one.

    Example:
        >>> sorted(split_patients(["a", "b", "c"]).values())
        ['test', 'train', 'validation']
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1.0) > 1e-9:
        raise ValueError(
            f"fractions must be >= 0 and sum to 1. Received: fractions={fractions}"
        )
    ordered = sorted(
        set(patients),
        key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest(),
    )
    counts = [round(share * len(ordered)) for share in fractions]
    wanted = [index for index, share in enumerate(fractions) if share > 0]
    if len(ordered) >= len(wanted):
        for index in wanted:
            counts[index] = max(counts[index], 1)
    largest = max(range(3), key=lambda index: fractions[index])
    counts[largest] += len(ordered) - sum(counts)
    names = [
        name for name, count in zip(SPLITS, counts, strict=True) for _ in [0] * count
    ]
    return dict(zip(ordered, names, strict=True))


def assign_splits(
    patients: Iterable[str],
    given: Mapping[str, str],
    *,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int = 0,
) -> dict[str, str]:
    """Assign every patient to a split, where a data set has given some already.

    A split that the data set gives gets no further patients; the fractions of the
    others are scaled up to one.

    Args:
        patients: Patient keys.
        given: Split of the patients that have one.
        fractions: As for :func:`split_patients`.
        seed: As for :func:`split_patients`.

    Raises:
        ValueError: The fractions are not shares of one, or leave no split to assign.

    Example:
        >>> assign_splits(["a", "b", "c"], {"a": "test"}, fractions=(0.8, 0.0, 0.2))
        {'a': 'test', 'b': 'train', 'c': 'train'}
    """
    split_patients((), fractions=fractions)
    everyone = set(patients)
    taken = {given[patient] for patient in everyone if patient in given}
    shares = [
        0.0 if name in taken else share
        for name, share in zip(SPLITS, fractions, strict=True)
    ]
    rest = everyone - set(given)
    found = {patient: given[patient] for patient in everyone if patient in given}
    if rest and not sum(shares):
        raise ValueError(
            "fractions must leave a share for the patients without a split. "
            f"Received: fractions={fractions}, with {sorted(taken)} given"
        )
    if rest:
        train, validation, test = (share / sum(shares) for share in shares)
        found |= split_patients(rest, fractions=(train, validation, test), seed=seed)
    return dict(sorted(found.items()))


def check_no_leak(patients_and_splits: Iterable[tuple[str, str]]) -> None:
    """Refuse a patient who is in two splits.

    Args:
        patients_and_splits: Patient key and split of every case.

    Raises:
        InputError: ``LEAK``; the message names the splits, not the patient.
    """
    seen: dict[str, str] = {}
    for patient, split in patients_and_splits:
        if seen.setdefault(patient, split) != split:
            raise InputError(
                "LEAK",
                "All cases of one patient must be in one split. Received: a patient "
                f"in both {seen[patient]!r} and {split!r}.",
                hint="Split by patient with kcalc.data.split_patients.",
            )
