from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from cifarlab.errors import CheckpointError
from cifarlab.evaluation.evaluate import evaluate
from cifarlab.images.images import Images
from cifarlab.recipe.schema import RuntimeSpec
from cifarlab.recipe.toml import recipe_from
from cifarlab.runs.folder import COLUMNS, Run
from cifarlab.training import trackers
from cifarlab.training.trackers import Tracker, add_figures


def row(epoch: int, loss: float) -> dict[str, Any]:
    return {**dict.fromkeys(COLUMNS, 1.0), "epoch": epoch, "step": 10 * epoch, "train/loss": loss, "val/loss": None}


def events(run: Run) -> EventAccumulator:
    return EventAccumulator(str(run.path), size_guidance={"images": 0, "histograms": 0}).Reload()


def losses(run: Run) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(run).Scalars("train/loss")]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path, "r")


def test_scalars_have_the_names_of_metrics_csv(run: Run) -> None:
    tracker = Tracker(run, [], RuntimeSpec())
    tracker.write([row(1, 2.0)])
    tracker.close()
    assert set(events(run).Tags()["scalars"]) == set(COLUMNS) - {"epoch", "step", "train/images", "val/loss"}


@pytest.mark.parametrize("num_kept", [0, 1, 2, 3])
def test_a_resumed_run_loses_no_row_and_shows_none_twice(run: Run, num_kept: int) -> None:
    """Three epochs were tracked, the checkpoint knows `num_kept` of them, and the run goes on from there."""
    before = Tracker(run, [], RuntimeSpec())
    rows = [row(epoch, 1.0) for epoch in (1, 2, 3)]
    for number in (1, 2, 3):
        before.write(rows[:number])
    before.close()
    (file,) = run.path.glob("events.*")
    file.rename(run.path / "events.out.tfevents.1.host")  # of an earlier second, as TensorBoard orders files by name
    after = Tracker(run, rows[:num_kept], RuntimeSpec())
    for number in range(num_kept + 1, 5):
        after.write([row(epoch, 2.0) for epoch in range(1, number + 1)])
    after.close()
    assert losses(run) == [(10 * epoch, 1.0 if epoch <= num_kept else 2.0) for epoch in (1, 2, 3, 4)]


def test_the_recipe_stands_beside_final_metrics(run: Run) -> None:
    recipe = recipe_from({"name": "r", "model": {"name": "simple-cnn"}, "optimizer": {"lr": 0.25}})
    run.update_manifest(best_val_accuracy=0.75)
    images = Images(np.zeros((4, 3, 8, 8), np.uint8), np.array([0, 1, 0, 1]), ("cat", "dog"))
    logits = np.array([[1, 0], [1, 0], [0, 2], [0, 2]], np.float32)
    test, _ = evaluate(lambda pixels: logits, images, split="test")
    run.write_evaluation("test", test.to_dict())
    tracker = Tracker(run, [], recipe.runtime)
    tracker.write([row(1, 2.0)])
    tracker.write_results(recipe, 10)
    tracker.close()
    found = events(run)
    measured = {f"test/{name}": getattr(test, name) for name in ("accuracy", "loss", "calibration_error")}
    wanted = {"best/val/accuracy": 0.75, **measured}
    assert {name: found.Scalars(name)[0].value for name in wanted} == pytest.approx(wanted, rel=1e-6)
    assert losses(run) == [(10, 2.0)]  # still there: the results are no new start
    settings = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"optimizer.lr" in settings and b"simple-cnn" in settings


def test_histograms_show_every_layer(run: Run) -> None:
    tracker = Tracker(run, [], RuntimeSpec())
    tracker.write_histograms(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)), 7)
    tracker.close()
    found = events(run)
    assert set(found.Tags()["histograms"]) == {"0/weight", "0/bias", "2/weight", "2/bias"}
    assert found.Histograms("0/weight")[0].histogram_value.num == 6


def test_figures_are_shown_as_they_lie_there(run: Run) -> None:
    run.figures.mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(picture).save(run.figures / "confusion_matrix.png")
    add_figures(run)
    found = events(run)
    assert found.Tags()["images"] == ["confusion_matrix"]
    assert (found.Images("confusion_matrix")[0].width, found.Images("confusion_matrix")[0].height) == (7, 5)


def test_a_damaged_figure_is_named(run: Run) -> None:
    run.figures.mkdir()
    (run.figures / "predictions.png").write_bytes(b"no picture")
    with pytest.raises(CheckpointError, match=r"predictions\.png"):
        add_figures(run)


def test_without_tensorboard_nothing_is_written_but_the_table(run: Run) -> None:
    recipe = recipe_from({"name": "r", "model": {"name": "simple-cnn"}})
    tracker = Tracker(run, [], RuntimeSpec(tensorboard=False))
    tracker.write([row(1, 2.0)])
    tracker.write_histograms(nn.Linear(1, 1), 1)
    tracker.write_results(recipe, 10)
    tracker.close()
    assert [path.name for path in run.path.iterdir()] == ["metrics.csv"]


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("part", ["__init__", "add_scalar", "flush", "close"])
def test_n65_a_full_disk_costs_tensorboards_file_and_one_warning(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    monkeypatch.setattr(trackers.SummaryWriter, part, full)
    tracker = Tracker(run, [], RuntimeSpec())
    for number in (1, 2):
        tracker.write([row(epoch, 2.0) for epoch in range(1, number + 1)])
    tracker.write_histograms(nn.Linear(2, 2), 3)
    tracker.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"TensorBoard's events in {run.path} cannot be written: No space left on device. Going on without."
    ]
    assert len(run.metrics) == 2


def test_n65_figures_that_tensorboard_cannot_show_are_no_failure(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run.figures.mkdir()
    Image.new("RGB", (4, 4)).save(run.figures / "predictions.png")
    monkeypatch.setattr(trackers.SummaryWriter, "add_image", full)
    add_figures(run)
    assert "cannot be written" in caplog.text
