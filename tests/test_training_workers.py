"""Two processes on this machine train as one: TF_CONFIG, files, signals, resuming."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_training import write_store
from test_training_kills import arrays

from kcalc.training.checkpoint import BEST_WEIGHTS, LAST, read_state

_RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import test_training as t
from functools import partial
from pathlib import Path
from kcalc.training.command_line import fit_options, run_recipe

def train(recipe, options):
    t.fit(recipe, store=Path(sys.argv[2]), out=options.out, checkpoint_minutes=0.0,
          **fit_options(options))

recipe = t.make_recipe(
    training=t.TrainingConfig(epochs=2, steps_per_epoch=3, batch_size=4),
    build_model=partial(t.build_model, dropout=0.0),
    build_optimizer=partial(t.momentum_sgd, t.OptimizerConfig(0.05, ema_momentum=0.5)),
)
raise SystemExit(run_recipe(
    "Test.", {"train": train}, full=recipe, small=recipe, argv=sys.argv[3:]))
"""


def start(folder: Path, out: str, workers: int) -> list[subprocess.Popen[str]]:
    sockets = [socket.socket() for _ in range(workers)]
    for each in sockets:
        each.bind(("localhost", 0))
    hosts = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    processes = []
    for index in range(workers):
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": hosts}, "task": task}
        variables = {"TF_CONFIG": json.dumps(config)} if workers > 1 else {}
        with open(folder / f"{out}-{index}.txt", "a", encoding="utf-8") as log:
            processes.append(
                subprocess.Popen(
                    [
                        *(sys.executable, "-c", _RUN, str(Path(__file__).parent)),
                        *(str(folder / "cases.h5"), "train", "--resume"),
                        *("--out", str(folder / out)),
                    ],
                    stderr=log,
                    text=True,
                    cwd=Path(__file__).parents[1],
                    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **variables},
                )
            )
    return processes


def codes(processes: list[subprocess.Popen[str]]) -> list[int]:
    try:
        return [process.wait(900) for process in processes]
    finally:
        for process in processes:
            process.kill()


def errors(folder: Path, out: str) -> str:
    return "\n".join(
        path.read_text("utf-8", errors="replace")[-3000:]
        for path in sorted(folder.glob(f"{out}-*.txt"))
    )


@pytest.mark.slow
def test_two_workers_train_the_weights_of_one_also_after_a_signal_to_one(
    tmp_path: Path,
) -> None:
    write_store(tmp_path / "cases.h5")
    assert codes(start(tmp_path, "one", 1)) == [0], errors(tmp_path, "one")
    stopped = start(tmp_path, "two", 2)
    deadline = time.monotonic() + 600
    while not (tmp_path / "two" / LAST).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    stopped[1].send_signal(signal.SIGTERM)
    assert codes(stopped) == [143, 143], errors(tmp_path, "two")
    state = read_state(tmp_path / "two" / LAST)
    assert (state["epoch"], state["step"]) < (2, 0)
    assert codes(start(tmp_path, "two", 2)) == [0, 0], errors(tmp_path, "two")
    state = read_state(tmp_path / "two" / LAST)
    assert (state["epoch"], state["step"]) == (2, 0)
    for name in (LAST, BEST_WEIGHTS):
        one, two = (arrays(tmp_path / run / name) for run in ("one", "two"))
        assert one.keys() == two.keys()
        for key in one:
            np.testing.assert_allclose(one[key], two[key], atol=1e-5, err_msg=key)
    names = sorted(path.name for path in (tmp_path / "two").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "one").iterdir())
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert record["finished"] is True and len(record["devices"]) == 1
