"""What a run writes: log lines, log files, curve, checkpoint, best weights."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from kcalc.errors import KcalcError
from kcalc.files import whole_or_absent
from kcalc.training.board import Board
from kcalc.training.checkpoint import (
    BEST_WEIGHTS,
    LAST,
    save_checkpoint,
    save_weights,
)
from kcalc.training.config import TrainingConfig
from kcalc.training.curve import write_curve
from kcalc.training.run_record import write_csv
from kcalc.training.validation import averaged_weights

log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 60.0


class Keeper:
    """Keeps a run's state on the disk, each file whole or absent.

    Args:
        out: Folder of the run.
        model: Compiled model.
        validate: Returns the validation figures of the model.
        state: ``identity``, ``history``, ``best``, ``epoch``, ``step``, ``loss_sum``
            of the run so far; kept up to date.
        training: Epochs, steps, and which figure decides on the best epoch.
        checkpoint_seconds: Time between two checkpoints within an epoch.
        writes: False for a worker that leaves the files to the chief.
        board: Gets every epoch's row and the model, or None.
    """

    def __init__(
        self,
        out: Path,
        model: keras.Model,
        validate: Callable[[keras.Model], dict[str, float]],
        state: dict[str, Any],
        training: TrainingConfig,
        *,
        checkpoint_seconds: float,
        writes: bool = True,
        board: Board | None = None,
    ) -> None:
        self._out = out
        self._model = model
        self._validate = validate
        self._training = training
        self._checkpoint_seconds = checkpoint_seconds
        self._writes = writes
        self._board = board
        self._began = self._last_line = self._last_save = time.monotonic()
        self.state = state
        self._first = self._done()
        self._bar = self._new_bar()

    def catch_up(self) -> None:
        """Write what a kill right after the last checkpoint may have left unwritten."""
        if self.state["history"] and not self.state["step"]:
            self._write_results()

    def after_step(self, loss: float) -> None:
        """Count a step; log a line a minute; save when it is time."""
        state = self.state
        state["step"] += 1
        state["loss_sum"] += loss
        if self._bar is not None:
            self._bar.update(state["step"], [("loss", loss)])
        now = time.monotonic()
        if now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            log.info(
                "epoch %d/%d, step %d/%d: loss %.4f, %s left",
                state["epoch"] + 1,
                self._training.epochs,
                state["step"],
                self._training.steps_per_epoch,
                state["loss_sum"] / state["step"],
                self._time_left(),
            )
        if now - self._last_save >= self._checkpoint_seconds:
            self.save()

    def after_epoch(self, scheduled: Mapping[str, float]) -> None:
        """Validate the averaged weights where there are any, then save everything.

        Args:
            scheduled: Values of the epoch that the log shall have too.

        Raises:
            KcalcError: A validation figure is not finite (``TRAIN_NONFINITE``).
        """
        state = self.state
        with averaged_weights(self._model):
            figures = self._validate(self._model)
            row = {
                "epoch": state["epoch"] + 1,
                "loss": state["loss_sum"] / state["step"],
                "learning_rate": float(
                    keras.ops.convert_to_numpy(self._model.optimizer.learning_rate)
                ),
                **figures,
                **scheduled,
            }
            if not all(math.isfinite(value) for value in figures.values()):
                raise KcalcError(
                    "TRAIN_NONFINITE",
                    "Validation figures must stay finite. Received in epoch "
                    f"{row['epoch']}: {figures}.",
                    hint="The last checkpoint is finite; lower the learning rate.",
                )
            if self._board is not None:
                self._board.write(self._model, row)
        state["history"].append(row)
        if is_better(row, state["best"], self._training.best_by):
            state["best"] = row
        state |= {"epoch": state["epoch"] + 1, "step": 0, "loss_sum": 0.0}
        self.save()
        self._bar = self._new_bar()
        self._last_line = time.monotonic()
        log.info(
            "epoch %d/%d: loss %.4f, val_loss %.4f, val_f1 %.4f (best: epoch %d, %s "
            "%.4f), %s left",
            row["epoch"],
            self._training.epochs,
            row["loss"],
            row["val_loss"],
            row["val_f1"],
            state["best"]["epoch"],
            self._training.best_by,
            state["best"][self._training.best_by],
            self._time_left(),
        )

    def save(self) -> None:
        """Write the checkpoint, then what follows from it."""
        if self._writes:
            save_checkpoint(self._out / LAST, self._model, self.state)
            self.catch_up()
        self._last_save = time.monotonic()

    def _write_results(self) -> None:
        """Write logs and curve, and the weights if the last epoch is the best one."""
        if not self._writes:
            return
        history = self.state["history"]
        if self.state["best"]["epoch"] == self.state["epoch"]:
            with averaged_weights(self._model):
                save_weights(self._out / BEST_WEIGHTS, self._model)
        write_csv(self._out / "log.csv", history)
        with whole_or_absent(self._out / "log.jsonl") as temporary:
            lines = "".join(json.dumps(row) + "\n" for row in history)
            temporary.write_text(lines, encoding="utf-8")
        write_curve(self._out / "curve.png", history)

    def _new_bar(self) -> keras.utils.Progbar | None:
        """Return an epoch's progress bar, on a terminal alone."""
        if not (self._writes and sys.stdout.isatty()):
            return None
        return keras.utils.Progbar(self._training.steps_per_epoch)

    def _done(self) -> float:
        return float(
            self.state["epoch"] + self.state["step"] / self._training.steps_per_epoch
        )

    def _time_left(self) -> str:
        """Return the time left at this run's pace, as hours and minutes."""
        spent, done = time.monotonic() - self._began, self._done()
        left = self._training.epochs - done
        seconds = spent / max(done - self._first, 1e-9) * left
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def is_better(
    row: Mapping[str, float], best: Mapping[str, float] | None, by: str
) -> bool:
    """Return whether an epoch beats the best one before: a lower loss, a higher F1."""
    if best is None:
        return True
    return row[by] < best[by] if by == "val_loss" else row[by] > best[by]
