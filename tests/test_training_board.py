"""TensorBoard files of a run, and the pictures in them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from test_epoch_schedules import scheduled_recipe
from test_training import write_store

from kcalc.errors import ResourceError, UsageError
from kcalc.training import TrainingConfig, fit
from kcalc.training.board import Board, overlay, require_tensorboard


def events(folder: Path) -> dict[str, list[int]]:
    """Return the steps of every figure and picture that a folder's files hold."""
    found: dict[str, list[int]] = {}
    for file in sorted(folder.glob("events.out.*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    return found


def test_a_run_writes_every_epochs_figures_and_overlays(tmp_path: Path) -> None:
    from dataclasses import replace

    recipe = replace(
        scheduled_recipe(), training=TrainingConfig(epochs=2, steps_per_epoch=1)
    )
    store = write_store(tmp_path / "cases.h5")
    fit(recipe, store=store, out=tmp_path / "run", tensorboard=True)
    found = events(tmp_path / "run" / "tensorboard")
    columns = (tmp_path / "run" / "log.csv").read_text().splitlines()[0].split(",")
    assert set(columns[1:]) <= set(found)
    assert found["val_f1"] == [1, 2] and found["positive_weight"] == [1, 2]
    pictures = [name for name in found if name.startswith("validation/")]
    assert pictures == ["validation/1", "validation/2", "validation/3"]


def test_the_overlay_is_red_for_truth_green_for_the_result_yellow_for_both() -> None:
    image = np.zeros((1, 4, 3), np.float32)
    image[..., 1] = 0.5  # the middle slice of three
    truth = np.array([[True, True, False, False]])
    result = np.array([[True, False, True, False]])
    assert overlay(image, truth, result).tolist() == [
        [[191, 191, 64], [191, 64, 64], [64, 191, 64], [128, 128, 128]]
    ]


def test_of_a_box_the_slice_with_most_truth_is_shown() -> None:
    image = np.linspace(0, 1, 3, dtype=np.float32).reshape(3, 1, 1, 1)
    image = np.tile(image, (1, 2, 2, 1))
    nothing = np.zeros((3, 2, 2), bool)
    truth, result = nothing.copy(), nothing.copy()
    assert overlay(image, nothing, nothing)[0, 0, 0] == 128
    result[2, 0, 0] = True
    assert overlay(image, nothing, result)[1, 1, 0] == 255
    truth[0, 0, 0] = True
    assert overlay(image, truth, result)[1, 1, 0] == 0


def test_without_the_package_it_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'pip install "kcalc\[tensorboard\]"'):
        require_tensorboard()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    samples = tf.data.Dataset.from_tensors(([0], [0], [0]))
    board = Board(tmp_path / "file" / "tensorboard", samples, None, 0.5)  # type: ignore[arg-type]
    with pytest.raises(ResourceError, match=r"WRITE_FAILED.*without tensorboard"):
        board.write(None, {"epoch": 1})  # type: ignore[arg-type]
