"""Types of arguments, with the words of their refusal; options of every command."""

from __future__ import annotations

import argparse
import math


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Add ``--debug``."""
    parser.add_argument(
        "--debug", action="store_true", help="show the traceback of an error"
    )


def path(text: str) -> str:
    """Refuse an empty path, which would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def count(text: str) -> int:
    """Take a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"must be a whole number of at least 0, not {text!r}"
        )
    return int(text)


def rule_name(text: str) -> str:
    """Take the name of a scoring rule, or all."""
    from kcalc.scoring import RULES

    if text != "all" and text not in RULES:
        raise argparse.ArgumentTypeError(
            f"no rule is named {text!r}; there are {', '.join(RULES)}, and all"
        )
    return text


def labels(text: str) -> str:
    """Take a scheme of labels."""
    from kcalc.io.label_names import label_scheme

    try:
        label_scheme(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def fractions(text: str) -> tuple[float, float, float]:
    """Take the shares of training, validation and test."""
    from kcalc.data.splits import split_patients

    try:
        train, validation, test = (float(part) for part in text.split(","))
        split_patients((), fractions=(train, validation, test))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be three shares that sum to 1, such as 0.7,0.1,0.2, not {text!r}"
        ) from None
    return train, validation, test


def positive(text: str) -> float:
    """Take a positive number."""
    value = _finite(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
    return value


def not_negative(text: str) -> float:
    """Take a number of at least 0."""
    value = _finite(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(
            f"must be a number of at least 0, not {text!r}"
        )
    return value


def calibration(text: str) -> float | str:
    """Take a mass calibration in mg/mL per HU, or the word population."""
    from kcalc.scoring.mass import check_calibration

    if text == "population":
        return text
    value = positive(text)
    try:
        check_calibration(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return value


def _finite(text: str) -> float:
    """Return a finite number, and NaN, which no bound lets pass, for anything else."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
