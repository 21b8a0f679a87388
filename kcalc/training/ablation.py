"""Tables of a paper made row by row: each row x seed is a file of its own in JSON.

A recipe's ``tables --row NAME --seed N`` trains and tests one row and ends with
:func:`write_row`; ``tables`` alone takes :func:`read_rows` to a table
(:mod:`kcalc.training.ablation_table`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kcalc.errors import InputError
from kcalc.files import writable_folder
from kcalc.training.run_record import git_state, versions, write_json


@dataclass(frozen=True)
class AblationRow:
    """One row of a paper's table: a network or an objective, over several seeds.

    Args:
        name: Word for the command line and for file names, such as ``"rau"``: letters,
            digits, ``_`` and ``-``.
        title: What the table prints.
        group: Table that the row belongs to; rows may be printed group by group.
        changes: What distinguishes the row, for instance keyword arguments of the
            network's builder. Written into the row's file.

    Raises:
        ValueError: The name is no such word.
    """

    name: str
    title: str
    group: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name.replace("_", "").replace("-", "").isalnum():
            raise ValueError(
                f"name must be letters, digits, _ and -. Received: name={self.name!r}"
            )


@dataclass(frozen=True)
class RowResult:
    """What one row x seed gave, as its file says.

    Args:
        row: Name of the row.
        seed: Seed of weights and samples.
        figures: Numbers over all cases, nested by kind if need be; None where one is
            not defined.
        cases: By name of a figure, its value for each case by the case's name: what
            paired tests compare.
        settings: What decides the figures beside seed and row, such as
            ``recipe_to_dict(recipe)``.
        changes: The row's changes when it was made.
        cpu_seconds: CPU time of all threads of the process that finished the row; one
            that was killed before is not in it.
        git: Commit of kcalc and whether its checkout differed from it.
        versions: Of Python and packages.
    """

    row: str
    seed: int
    figures: Mapping[str, Any]
    cases: Mapping[str, Mapping[str, float]]
    settings: Mapping[str, Any]
    changes: Mapping[str, Any]
    cpu_seconds: float
    git: Mapping[str, Any]
    versions: Mapping[str, str]

    def figure(self, path: str) -> float | None:
        """Return a figure by its path, such as ``"by_kind.chest-wide.pixel_f1"``.

        None where it, or the group of figures that it is of, has no value.

        Raises:
            InputError: ``ROW_INVALID``: the row has no such figure.
        """
        value: Any = self.figures
        for part in path.split("."):
            if value is None:
                return None
            if not isinstance(value, Mapping) or part not in value:
                raise InputError(
                    "ROW_INVALID",
                    f"Every row must have the table's figures. Row {self.row!r}, seed "
                    f"{self.seed}, has no {path!r}.",
                    hint="Remove its file and run the row again.",
                )
            value = value[part]
        return None if value is None else float(value)


def row_file(folder: Path, row: AblationRow, seed: int) -> Path:
    """Return where a row x seed is written, ``folder/<row>-<seed>.json``."""
    return folder / f"{row.name}-{seed}.json"


def write_row(
    folder: Path,
    row: AblationRow,
    seed: int,
    figures: Mapping[str, Any],
    *,
    cases: Mapping[str, Mapping[str, float]] | None = None,
    settings: Mapping[str, Any],
    cpu_seconds: float,
) -> Path:
    """Write what a row x seed gave, with git commit and versions; whole or not at all.

    Args:
        folder: Of the table's rows; made if absent.
        row: The row.
        seed: Its seed.
        figures: See :class:`RowResult`, as the next three.
        cases: See there.
        settings: See there; plain values for JSON.
        cpu_seconds: See there.

    Returns:
        The file.

    Raises:
        ValueError: A number is NaN or infinite.
        ResourceError: The file cannot be written.
    """
    result = RowResult(
        row=row.name,
        seed=seed,
        figures=figures,
        cases=cases or {},
        settings=settings,
        changes=row.changes,
        cpu_seconds=round(cpu_seconds, 1),
        git=git_state(),
        versions=versions(),
    )
    path = row_file(writable_folder(folder), row, seed)
    write_json(path, asdict(result))
    return path


def is_written(
    folder: Path, row: AblationRow, seed: int, settings: Mapping[str, Any]
) -> bool:
    """Return whether a row x seed is done, so that a command run again ends at once.

    Raises:
        InputError: ``RUN_DIFFERS``: it was made with other settings or changes.
            ``ROW_INVALID``: its file is damaged.
    """
    path = row_file(folder, row, seed)
    if not path.exists():
        return False
    result = _read(path, row)
    now, changes = json.loads(json.dumps([settings, row.changes]))
    if result.changes != changes or not _agree(result.settings, now):
        raise InputError(
            "RUN_DIFFERS",
            "A row that is there must have been made with the settings of today.",
            path=path,
            hint="Remove the file to make the row anew.",
        )
    return True


def read_rows(folder: Path, rows: Sequence[AblationRow]) -> list[RowResult]:
    """Return the results that are there, in the order of the rows, then of the seeds.

    Args:
        folder: Of the table's rows; may be absent.
        rows: Which to read; other files are left alone.

    Raises:
        InputError: ``ROW_INVALID``: a file is damaged or of another row.
            ``RUN_DIFFERS``: seeds of one row were made with different settings.
    """
    results = []
    for row in rows:
        found = []
        for path in folder.glob(f"{row.name}-*.json"):
            if path.stem.removeprefix(f"{row.name}-").isdecimal():
                found.append(_read(path, row))
        found.sort(key=lambda result: result.seed)
        for other in found[1:]:
            first = found[0]
            alike = _agree(other.settings, first.settings)
            if other.changes != first.changes or not alike:
                raise InputError(
                    "RUN_DIFFERS",
                    "The seeds of one row must have been made with equal settings. "
                    f"Row {row.name!r}: seeds {first.seed} and {other.seed} differ.",
                    path=folder,
                    hint="Remove the older file and run its seed again.",
                )
        results += found
    return results


def _agree(one: Any, other: Any) -> bool:
    """Return whether settings are alike in all that both name.

    A field that one of them lacks came into kcalc later, with what was before as its
    default.
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(_agree(one[name], other[name]) for name in one.keys() & other.keys())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_agree, one, other))
    return bool(one == other)


def _read(path: Path, row: AblationRow) -> RowResult:
    try:
        result = RowResult(**json.loads(path.read_text("utf-8")))
        own = row_file(path.parent, row, result.seed) == path and result.row == row.name
        reason = "" if own else "another row or seed"
    except (OSError, ValueError, TypeError) as error:
        reason = type(error).__name__
    if reason:
        raise InputError(
            "ROW_INVALID",
            f"A row's file must be whole and its own. Received: {reason}.",
            path=path,
            hint="Restore the file from git, or remove it and run the row again.",
        )
    return result
