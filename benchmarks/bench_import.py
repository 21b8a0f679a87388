"""Start-up time of kcalc: median of fresh processes, wall and CPU.

    python benchmarks/bench_import.py

Times ``import kcalc`` and ``kcalc --help``, with an empty Python beside them for scale.
CPU time is of all threads, user and system. The first process of each, which may read
from a cold disk, is not counted.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "empty Python": ("-c", "pass"),
    "import kcalc": ("-c", "import kcalc"),
    "kcalc --help": ("-m", "kcalc.cli", "--help"),
}


def run_once(arguments: tuple[str, ...]) -> tuple[float, float]:
    """Return wall and CPU seconds of one fresh Python process."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, cwd=os.getcwd()
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"python {' '.join(arguments)} failed: {process.returncode}")
    return wall, usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print one line a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10, help="processes (default 10)")
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    print(f"{'seconds, median of ' + str(arguments.rounds):24s} {'wall':>8} {'CPU':>8}")
    for name, command in COMMANDS.items():
        run_once(command)
        walls, cpus = zip(
            *(run_once(command) for _ in range(arguments.rounds)), strict=True
        )
        wall, cpu = statistics.median(walls), statistics.median(cpus)
        print(f"{name:24s} {wall:8.3f} {cpu:8.3f}")


if __name__ == "__main__":
    main()
