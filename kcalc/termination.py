"""SIGTERM as an exception, so that partial results are removed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class TerminatedError(BaseException):
    """SIGTERM came; no ``Exception``, so that nothing takes it for its own trouble."""


@contextmanager
def termination_as_exception() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that no partial result stays.

    Does nothing outside the main thread.

    Raises:
        TerminatedError: SIGTERM came while the block ran.
    """

    def stop(signal_number: int, frame: FrameType | None) -> NoReturn:
        raise TerminatedError

    try:
        former = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
