"""A run that is killed or stopped loses nothing: processes, signals, random moments."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from fork_training import Trainer
from test_training import write_store

from kcalc.training.checkpoint import BEST_WEIGHTS, LAST, read_state


@pytest.fixture
def trainer(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Trainer]:
    """Trains ``(epochs, steps)`` of the fixture's parameter."""
    write_store(tmp_path / "cases.h5")
    trainer = Trainer(tmp_path, *getattr(request, "param", (2, 3)))
    yield trainer
    trainer.close()


def arrays(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def same_run(one: Path, two: Path) -> None:
    """Compare weights, optimiser, log and best metric bit by bit."""
    for name in (LAST, BEST_WEIGHTS):
        left, right = arrays(one / name), arrays(two / name)
        assert left.keys() == right.keys()
        for key in left:
            np.testing.assert_array_equal(left[key], right[key], err_msg=key)
    for name in ("log.csv", "log.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert read_state(one / LAST) == read_state(two / LAST)
    records = [json.loads((run / "run.json").read_text()) for run in (one, two)]
    assert all(record["finished"] for record in records)
    assert records[0]["best"] == records[1]["best"]
    leftover = [file.name for file in two.iterdir() if ".part" in file.name]
    assert leftover == [name for name in leftover if name.startswith(".")]


def finish(trainer: Trainer, run: str) -> None:
    trainer.start(run)
    assert trainer.wait() == 0, trainer.errors()[-3000:]


def test_a_kill_inside_a_save_and_one_at_any_time_change_nothing(
    trainer: Trainer, tmp_path: Path
) -> None:
    began = time.monotonic()
    finish(trainer, "whole")
    seconds = time.monotonic() - began
    # Writes, flushes and renames, in order: of run.json 3; of a checkpoint 4, the
    # first of them half of its bytes; after an epoch best weights and logs follow.
    for number in (3 + 2 * 4 + 1, 3 + 4 + 4):
        trainer.start("killed", die_in=number)
        assert trainer.wait() == -signal.SIGKILL, trainer.errors()[-3000:]
    child = trainer.start("killed")
    time.sleep(0.6 * seconds)
    assert trainer.kill(child) in (-signal.SIGKILL, 0)
    finish(trainer, "killed")
    same_run(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("trainer", [(4, 6)], indirect=True)
def test_thirty_kills_at_random_moments_change_nothing(
    trainer: Trainer, tmp_path: Path
) -> None:
    began = time.monotonic()
    finish(trainer, "whole")
    seconds = time.monotonic() - began
    rng = random.Random(20171)
    out, positions = tmp_path / "killed", set()
    in_saves = by_the_clock = 0
    while in_saves + by_the_clock < 30:
        if rng.random() < 0.5:
            trainer.start("killed", die_in=rng.randint(1, 60))
            code = trainer.wait()
            in_saves += code == -signal.SIGKILL
        else:
            child = trainer.start("killed")
            time.sleep(rng.uniform(0.2, 0.8) * seconds)
            code = trainer.kill(child)
            by_the_clock += code == -signal.SIGKILL
        assert code in (-signal.SIGKILL, 0), trainer.errors()[-3000:]
        if (out / LAST).exists():
            state = read_state(out / LAST)
            positions.add((state["epoch"], state["step"]))
        if code == 0:  # done: begin again, other moments are left
            same_run(tmp_path / "whole", out)
            for file in out.iterdir():
                file.unlink()
    finish(trainer, "killed")
    same_run(tmp_path / "whole", out)
    assert min(in_saves, by_the_clock) >= 5
    assert sum(step > 0 for _, step in positions) >= 5, "few kills within an epoch"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, 143, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_run_saved_and_with_the_command_that_resumes(
    number: int, code: int, trainer: Trainer, tmp_path: Path
) -> None:
    child = trainer.start("asked")
    deadline = time.monotonic() + 120
    while not (tmp_path / "asked" / LAST).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child, number)
    assert trainer.wait() == code, trainer.errors()[-3000:]
    state = read_state(tmp_path / "asked" / LAST)
    assert state["epoch"] < 2
    position = f"saved in epoch {state['epoch'] + 1} after step {state['step']}."
    assert f"STOPPED: The run was asked to stop and is {position}" in trainer.errors()
    command = trainer.errors().split("Resume with: ")[1].splitlines()[0]
    assert command.endswith(
        f"train --out {tmp_path}/asked --seed 4 --resume --deterministic"
    )
    finish(trainer, "asked")
    assert read_state(tmp_path / "asked" / LAST)["epoch"] == 2


def test_a_full_disk_ends_with_exit_code_7_and_the_run_goes_on_once_there_is_room(
    trainer: Trainer, tmp_path: Path
) -> None:
    trainer.start("full", die_in=3 + 4 + 3)
    assert trainer.wait() == -signal.SIGKILL
    before = (tmp_path / "full" / LAST).read_bytes()
    trainer.start("full", limit=len(before) // 2)
    assert trainer.wait() == 7, trainer.errors()[-3000:]
    assert "WRITE_FAILED: The file could not be written" in trainer.errors()
    assert (tmp_path / "full" / LAST).read_bytes() == before
    finish(trainer, "full")
