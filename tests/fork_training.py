"""Trains in processes that can be killed: TensorFlow is loaded once, each run forks.

As a program, ``python fork_training.py FOLDER EPOCHS STEPS``, it reads orders from its
input, one JSON a line, and answers with the run's process and then its exit status.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any


class Trainer:
    """Runs of one recipe in a folder with ``cases.h5``, each in a process of its own.

    Args:
        folder: Of the store and of the runs.
        epochs: Epochs of every run.
        steps: Steps an epoch; there is a checkpoint after every step.
    """

    def __init__(self, folder: Path, epochs: int, steps: int) -> None:
        self._log = folder / "stderr.txt"
        with open(self._log, "w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(folder), str(epochs), str(steps)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
            )

    def start(self, run: str, **order: Any) -> int:
        """Begin or resume a run; return its process id.

        ``die_in``: number of the write, flush or rename in which it kills itself.
        ``limit``: largest file in bytes that it may write, as on a full disk.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps({"run": run, **order}) + "\n")
        stdin.flush()
        return int(stdout.readline())

    def wait(self) -> int:
        """Return the run's exit code, or minus the signal that ended it."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def kill(self, child: int) -> int:
        """Kill a run, unless it has ended; return as :meth:`wait` does."""
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        return self.wait()

    def errors(self) -> str:
        """Return what all runs wrote to standard error."""
        return self._log.read_text("utf-8", errors="replace")

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


def _die_in(number: int) -> None:
    """Kill this process within the n-th write, flush or rename of a file."""
    calls = 0
    fsync, replace, write_bytes = os.fsync, os.replace, Path.write_bytes

    def counted() -> bool:
        nonlocal calls
        calls += 1
        return calls == number

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def dying_fsync(descriptor: int) -> None:
        if counted():
            die()
        fsync(descriptor)

    def dying_replace(old: Any, new: Any) -> None:
        last = counted()
        replace(old, new)
        if last:
            die()

    def dying_write_bytes(path: Path, data: bytes) -> int:
        if counted():
            write_bytes(path, data[: len(data) // 2])
            die()
        return write_bytes(path, data)

    os.fsync, os.replace = dying_fsync, dying_replace
    Path.write_bytes = dying_write_bytes  # type: ignore[method-assign, assignment]


def _train(folder: Path, epochs: int, steps: int, order: dict[str, Any]) -> int:
    import test_training as t

    from kcalc.training.command_line import fit_options, run_recipe

    def train(recipe: t.Recipe, options: Any) -> None:
        t.fit(
            recipe,
            store=folder / "cases.h5",
            out=options.out,
            checkpoint_minutes=0.0,
            **fit_options(options),
        )

    if "die_in" in order:
        _die_in(order["die_in"])
    if "limit" in order:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (order["limit"], order["limit"]))
    recipe = t.make_recipe(training=t.TrainingConfig(epochs, steps, batch_size=2))
    arguments = ["train", "--out", str(folder / order["run"]), "--seed", "4"]
    arguments += ["--resume", "--deterministic"]
    return run_recipe(
        "Test.", {"train": train}, full=recipe, small=recipe, argv=arguments
    )


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main() -> None:
    folder, epochs, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    import test_training  # noqa: F401  (before the fork)

    import kcalc.training.loop  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(_train(folder, epochs, steps, json.loads(line)))
        _answer(child)
        status = os.waitpid(child, 0)[1]
        _answer(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
