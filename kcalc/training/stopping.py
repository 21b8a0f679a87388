"""SIGTERM and Ctrl-C as a request: the step is finished and saved, the run ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from kcalc.errors import KcalcError

_EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
if hasattr(signal, "SIGUSR1"):  # what SLURM can send ahead of SIGTERM
    _EXIT_CODES[signal.SIGUSR1] = 143


class StoppedError(KcalcError):
    """A run that was asked to stop, and saved where it was.

    Args:
        exit_code: 143 for SIGTERM and SIGUSR1, 130 for SIGINT.
        epoch: Epoch, from 1, in which it stopped.
        step: Steps made in that epoch.
    """

    def __init__(self, exit_code: int, epoch: int, step: int) -> None:
        super().__init__(
            "STOPPED",
            f"The run was asked to stop and is saved in epoch {epoch} after step "
            f"{step}.",
            hint="It goes on from there with --resume (resume=True).",
        )
        self.exit_code = exit_code


class StopRequest:
    """Whether a signal asked to stop, and with which exit code the run then ends."""

    def __init__(self) -> None:
        self.came = False
        self.exit_code = _EXIT_CODES[signal.SIGTERM]


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Take SIGTERM, SIGUSR1 and SIGINT as requests while the block runs.

    A second signal acts at once, as it would have without. Outside the main thread
    signals stay as they are.
    """
    request = StopRequest()
    former: dict[int, Any] = {}

    def note(signal_number: int, frame: FrameType | None) -> None:
        request.came = True
        request.exit_code = _EXIT_CODES[signal.Signals(signal_number)]
        signal.signal(signal_number, former[signal_number])

    try:
        for number in _EXIT_CODES:
            former[number] = signal.signal(number, note)
    except ValueError:  # not the main thread
        yield request
        return
    try:
        yield request
    finally:
        for handled, handler in former.items():
            signal.signal(handled, handler)
