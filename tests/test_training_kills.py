"""A run that is killed or stopped loses nothing: processes, signals, random moments."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_training import write_store

from kcalc.training.checkpoint import LAST, read_state

_RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import test_training as t
from dataclasses import replace
from pathlib import Path
here = Path(sys.argv[2])
training = t.TrainingConfig(epochs=4, steps_per_epoch=6, batch_size=2)
print("ready", flush=True)
t.fit(
    t.make_recipe(training=training), store=here / "cases.h5", out=here / sys.argv[3],
    seed=4, resume=True, deterministic=True, checkpoint_minutes=0.0,
)
"""


def start(folder: Path, run: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _RUN, str(Path(__file__).parent), str(folder), run],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )


def arrays(path: Path) -> dict[str, np.ndarray]:
    import h5py

    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


def same_run(one: Path, two: Path) -> None:
    """Compare weights, optimiser, log and best metric bit by bit."""
    for name in (LAST, "best.weights.h5"):
        left, right = arrays(one / name), arrays(two / name)
        assert left.keys() == right.keys()
        for key in left:
            np.testing.assert_array_equal(left[key], right[key], err_msg=key)
    assert (one / "log.csv").read_bytes() == (two / "log.csv").read_bytes()
    assert (one / "log.jsonl").read_bytes() == (two / "log.jsonl").read_bytes()
    assert read_state(one / LAST) == read_state(two / LAST)


@pytest.mark.slow
def test_thirty_kills_at_random_moments_change_nothing(tmp_path: Path):
    write_store(tmp_path / "cases.h5")
    began = time.monotonic()
    process = start(tmp_path, "whole")
    assert process.wait(300) == 0, process.communicate()[1][-3000:]
    seconds = time.monotonic() - began
    rng = random.Random(20171)
    kills, positions = 0, set()
    out = tmp_path / "killed"
    while kills < 30:
        process = start(tmp_path, "killed")
        assert process.stdout is not None
        process.stdout.readline()  # Python and TensorFlow are loaded
        time.sleep(rng.uniform(0.0, 0.5 * seconds))
        if process.poll() is None:
            process.kill()
            kills += 1
        elif process.returncode:
            raise AssertionError(process.communicate()[1][-3000:])
        process.wait()
        if (out / LAST).exists():
            state = read_state(out / LAST)
            positions.add((state["epoch"], state["step"]))
            if state["epoch"] == 4:  # done: begin again, other moments are left
                same_run(tmp_path / "whole", out)
                for file in out.iterdir():
                    file.unlink()
    process = start(tmp_path, "killed")
    assert process.wait(300) == 0, process.communicate()[1][-3000:]
    same_run(tmp_path / "whole", out)
    record = json.loads((out / "run.json").read_text())
    assert record["finished"] is True
    assert any(step for _, step in positions), "no kill fell within an epoch"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_signal_ends_the_run_saved_and_the_rest_follows(
    number: int, code: int, tmp_path: Path
):
    write_store(tmp_path / "cases.h5")
    process = start(tmp_path, "asked")
    deadline = time.monotonic() + 120
    while not (tmp_path / "asked" / LAST).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    process.wait(60)
    error = process.communicate()[1]
    assert "StoppedError" in error
    assert "saved in epoch" in error
    state = read_state(tmp_path / "asked" / LAST)
    assert state["epoch"] < 4
    process = start(tmp_path, "asked")
    assert process.wait(300) == 0
    assert read_state(tmp_path / "asked" / LAST)["epoch"] == 4
