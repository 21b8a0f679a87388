"""What is said on standard output and standard error, also where they are closed."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kcalc.errors import ResourceError

_START_UP_LINE = re.compile(
    rb"[IWE]0000 |WARNING: All log messages before absl|To enable the following instr"
)
_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_WITHOUT_LINES = 2.0


def tell(text: str) -> None:
    """Write to standard error; where that is closed, the exit code must do."""
    with suppress(OSError):
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()


def print_result(text: str, directory: Path | None = None) -> None:
    """Write to standard output whatever its encoding is; none where it is closed.

    Args:
        text: What to write.
        directory: Where the same stands, None where it stands nowhere else.

    Raises:
        ResourceError: ``STDOUT``, the text did not get out, as on a full disk or into
            a pipe that nobody reads.
    """
    if sys.stdout is None:
        return
    encoding = sys.stdout.encoding or "utf-8"
    safe = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        sys.stdout.write(f"{safe}\n")
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail again when Python ends.
        sys.stdout = None
        raise ResourceError(
            "STDOUT",
            ("" if directory is None else "The results are written, but ")
            + "standard output took no text "
            f"({error.strerror or type(error).__name__}).",
            path=directory,
            hint="Is the disk full, or the pipe closed?"
            if directory is None
            else "The same figures stand in the folder.",
        ) from error


@contextmanager
def without_start_up_lines() -> Iterator[None]:
    """Hold standard error while TensorFlow starts, and let its own notices go.

    TensorFlow 2.21 writes four lines on CPU features and missing GPUs, which no
    setting stops and which would bury what kcalc says. Everything else that is written
    meanwhile comes out at the end. Does nothing once TensorFlow is loaded, or where
    standard error is closed.
    """
    try:
        shown = None if "tensorflow" in sys.modules else os.dup(2)
    except OSError:
        shown = None
    if shown is None:
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(shown, 2)
            os.close(shown)
            held.seek(0)
            kept = [line for line in held if not _START_UP_LINE.match(line)]
            os.write(2, b"".join(kept))


@contextmanager
def progress_on_stderr() -> Iterator[Progress]:
    """Give the callback of a job's progress, and end its line at the end."""
    progress = Progress()
    try:
        yield progress
    finally:
        progress.close()


class Progress:
    """Progress on standard error: one line rewritten on a terminal, else plain lines.

    Work of under two seconds prints no plain lines, so that a refusal stands alone.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._began = time.monotonic()
        self._stage = ""
        self._last = 0.0
        self._open = False

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Tell what is being done; 0 steps to do where their number is unknown."""
        now = time.monotonic()
        if not self._terminal and now - self._began < _SECONDS_WITHOUT_LINES:
            return
        new = stage != self._stage
        if not new and done < total and now - self._last < self._pause():
            return
        text = stage if total <= 0 else f"{stage}: {done} of {total}"
        if self._terminal:
            start = "\n" if new and self._open else "\r"
            tell(f"{start}\x1b[K{text}")
            self._open = True
        else:
            tell(f"{text}\n")
        self._stage, self._last = stage, now

    def _pause(self) -> float:
        return 0.1 if self._terminal else _SECONDS_BETWEEN_LINES

    def close(self) -> None:
        """End the line on a terminal."""
        if self._open:
            tell("\n")
            self._open = False
