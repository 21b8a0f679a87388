"""Where a run goes on: its state from the checkpoint, or why it cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kcalc.errors import InputError
from kcalc.training.checkpoint import read_state


def begin_or_resume(
    checkpoint: Path, identity: Mapping[str, Any], resume: bool
) -> dict[str, Any]:
    """Return the state to go on from, or a fresh one.

    Args:
        checkpoint: The run's last checkpoint, which may be absent.
        identity: What decides the run's result, as plain values.
        resume: Whether to go on.

    Raises:
        InputError: There is a checkpoint and ``resume`` is False (``RUN_EXISTS``), or
            it is of another identity (``RUN_DIFFERS``).
        ModelError: The checkpoint is damaged (``CHECKPOINT``).
    """
    if not checkpoint.exists():
        return {
            "epoch": 0,
            "step": 0,
            "loss_sum": 0.0,
            "history": [],
            "best": None,
            "identity": dict(identity),
        }
    if not resume:
        raise InputError(
            "RUN_EXISTS",
            "The folder of a new run must not hold another run's checkpoint.",
            path=checkpoint,
            hint="Pass --resume to go on, or another --out.",
        )
    state = read_state(checkpoint)
    differing = _differences(state["identity"], dict(identity))
    if differing:
        raise InputError(
            "RUN_DIFFERS",
            "A run resumes only with its own recipe, store and seed. Different: "
            f"{'; '.join(differing)}.",
            path=checkpoint,
            hint="Restore them, or begin anew with another --out.",
        )
    return state


def _differences(saved: Any, now: Any, where: str = "") -> Sequence[str]:
    """Return where two plain values differ, as ``key: saved -> now``."""
    if isinstance(saved, dict) and isinstance(now, dict):
        found: list[str] = []
        for key in sorted(saved.keys() | now.keys()):
            inner = f"{where}.{key}" if where else str(key)
            found += _differences(saved.get(key), now.get(key), inner)
        return found
    return [] if saved == now else [f"{where}: {saved!r} -> {now!r}"]
