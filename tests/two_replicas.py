"""Runs a script with two logical CPUs in a process of its own, before TensorFlow is."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

_TWO_CPUS = """
import numpy as np, keras, tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
logical = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [logical, logical])
strategies = [
    tf.distribute.get_strategy(),
    tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
]
assert [s.num_replicas_in_sync for s in strategies] == [1, 2]
"""


def numbers_from(script: str, timeout_s: float = 400) -> list[float]:
    """Return the numbers of the script's last line.

    The script finds ``strategies``, one of one device and one of two, ``np``,
    ``keras`` and ``tf``.
    """
    root = Path(__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", _TWO_CPUS + textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return [float(number) for number in run.stdout.splitlines()[-1].split()]
