"""CPU time of rendering one phantom of each kind.

    python benchmarks/bench_phantoms.py

TensorFlow is not loaded. Threads of linear algebra count in the CPU time.
"""

from __future__ import annotations

import time

from kcalc.phantoms import chest, head, qrm


def main() -> None:
    """Render and print."""
    for name, render in (
        ("chest 48x512x512", lambda: chest("wide", 1, shape_zyx=(48, 512, 512))),
        ("head 100x240x240", lambda: head("study", 1)),
        ("QRM insert", lambda: qrm("random", 1)),
    ):
        began = time.process_time()
        shape = render().volume.shape
        seconds = time.process_time() - began
        print(f"{name}: {seconds:.1f} CPU s, {shape}")


if __name__ == "__main__":
    main()
