"""What preparing a data set found: every case, every problem, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kcalc._version import NOTICE, __version__
from kcalc.data.splits import SPLITS
from kcalc.errors import InputError, KcalcError


@dataclass(frozen=True)
class Problem:
    """Why a case was not taken.

    Args:
        case: Name of the case.
        place: Where in the data set it lies.
        error: The refusal.
    """

    case: str
    place: Path
    error: KcalcError

    def to_dict(self) -> dict[str, str]:
        """Return it as plain values, without the place, which could name a patient."""
        return {
            "case": self.case,
            "code": self.error.code,
            "rule": self.error.rule,
            "hint": self.error.hint,
        }


@dataclass(frozen=True)
class CaseReport:
    """What is told of a case that was read.

    Args:
        name: Its name in the store.
        place: Where in the data set it lies.
        facts: What was measured: shape, spacing, labels, findings.
        patient: Hash of its patient, "" before splits are made.
        split: Its split, "" before.
    """

    name: str
    place: Path
    facts: Mapping[str, Any]
    patient: str = ""
    split: str = ""

    @classmethod
    def from_facts(cls, name: str, place: Path, facts: Mapping[str, Any]) -> CaseReport:
        """Return the report of a case that was read, now or earlier."""
        told = {key: facts[key] for key in facts if key != "identity"}
        return cls(name, place, told)

    def in_split(self, patient: str, split: str) -> CaseReport:
        """Return the report with patient and split."""
        return replace(self, patient=patient, split=split)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, without the place."""
        return {
            "case": self.name,
            "patient": self.patient,
            "split": self.split,
            **self.facts,
        }


@dataclass(frozen=True)
class PreparationReport:
    """All that preparing a data set found.

    Args:
        layout: Layout of the data set.
        cases: Cases that were read and have no problem.
        problems: Problems, one at most a case.
        warnings: What concerns the data set rather than a case.
        written: Whether a store was written; else the problems forbade it.
    """

    layout: str
    cases: tuple[CaseReport, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    written: bool

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values ready for JSON; no path, no identity."""
        return {
            "kcalc": __version__,
            "layout": self.layout,
            "written": self.written,
            "num_cases": len(self.cases),
            "num_problems": len(self.problems),
            "splits": self._splits(),
            "warnings": list(self.warnings),
            "problems": [problem.to_dict() for problem in self.problems],
            "cases": [case.to_dict() for case in self.cases],
            "notice": NOTICE,
        }

    def text(self) -> str:
        """Return it in lines: the problems with their places, and the totals."""
        lines = [
            f"{problem.case}  {problem.error.code}  {problem.place}: "
            f"{problem.error.rule} {problem.error.hint}"
            for problem in self.problems
        ]
        lines += [f"warning: {warning}" for warning in self.warnings]
        counted: Counter[tuple[str, str]] = Counter()
        for case in self.cases:
            found = {(f["kind"], f["code"]) for f in case.facts["findings"]}
            counted.update(found)
        lines += [
            f"{kind} {code} in {count} of {len(self.cases)} cases"
            for (kind, code), count in sorted(counted.items())
        ]
        splits = ", ".join(f"{name} {count}" for name, count in self._splits().items())
        lines.append(
            f"Layout {self.layout}: {len(self.cases)} cases without a problem "
            f"({splits}), {len(self.problems)} with one."
        )
        return "\n".join(lines)

    def _splits(self) -> dict[str, int]:
        return {name: sum(c.split == name for c in self.cases) for name in SPLITS}


class CasesRefusedError(InputError):
    """Some cases of a data set have problems; all of them are in ``report``.

    Args:
        report: Everything that was found.
        root: The data set.
    """

    def __init__(self, report: PreparationReport, root: Path) -> None:
        self.report = report
        total = len(report.cases) + len(report.problems)
        super().__init__(
            "DATA_REFUSED",
            f"every case must be whole; {len(report.problems)} of {total} have a "
            "problem, and no store was written.",
            path=root,
            hint="Mend them and run again, or leave them out with --leave-out "
            "(leave_out=True).",
        )
