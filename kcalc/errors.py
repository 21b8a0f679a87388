"""Errors of kcalc: a reason code, the file it is about, the way out, the exit code.

Every refusal of data is a :class:`KcalcError`. The codes and exit codes are those
of the fault catalogue; a message carries no patient data, only a path, DICOM
keywords and numbers.
"""

from __future__ import annotations

import os

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_INPUT = 3
EXIT_SOME_FAILED = 4
EXIT_UNFIT = 5
EXIT_MODEL = 6
EXIT_RESOURCE = 7


def printable(text: str) -> str:
    r"""Return text of one line that changes no terminal (fault C10).

    Line ends, escape sequences and bytes of a file name that are no text come out as
    Python escapes.

    Example:
        >>> print(printable("scan\x1b[2J\nname"))
        scan\x1b[2J\nname
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


class KcalcError(Exception):
    """A refusal with a reason code, the path it is about and the way out.

    Args:
        code: Reason code in capitals, for instance ``GEOM_GAP``.
        rule: What kcalc requires and what it received instead, with units.
        path: File or folder the refusal is about, or None.
        hint: The way out: what the caller can do now.
    """

    exit_code = 1

    def __init__(
        self,
        code: str,
        rule: str,
        *,
        path: str | os.PathLike[str] | None = None,
        hint: str = "",
    ) -> None:
        self.code = code
        self.rule = rule
        self.path = None if path is None else os.fspath(path)
        self.hint = hint
        where = "" if self.path is None else f" File: {self.path}."
        way_out = f" {hint}" if hint else ""
        super().__init__(printable(f"{code}: {rule}{where}{way_out}"))


class UsageError(KcalcError, ValueError):
    """Options that exclude or need each other."""

    exit_code = EXIT_USAGE


class InputError(KcalcError, ValueError):
    """Input that is refused: missing, broken, of the wrong kind, or inconsistent."""

    exit_code = EXIT_INPUT


class GeometryError(InputError):
    """Slice positions, orientation or pixel spacing that cannot be trusted."""


class IntensityError(InputError):
    """Voxel values that cannot be trusted to be Hounsfield units."""


class UnfitError(InputError):
    """A readable scan that is unfit to score, such as one of unknown tube voltage."""

    exit_code = EXIT_UNFIT


class ModelError(KcalcError):
    """A model file that is missing, damaged or made for another task."""

    exit_code = EXIT_MODEL


class ResourceError(KcalcError):
    """Too little memory, disk or permission to finish the work."""

    exit_code = EXIT_RESOURCE
