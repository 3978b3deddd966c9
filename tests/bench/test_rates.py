"""What a round consists of, with rounds that are said to take two seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cifarlab.bench import loader as loader_module
from cifarlab.bench import predict as predict_module
from cifarlab.bench import throughput as throughput_module
from cifarlab.bench.loader import loading
from cifarlab.bench.predict import SINGLE_WARMUP, prediction
from cifarlab.bench.throughput import throughput
from cifarlab.bench.timing import Timing
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import recipe_from
from cifarlab.training.step import Step


def two_seconds(action: Callable[[], object], *, rounds: int, warmup: int, **_: Any) -> Timing:
    """Do everything, and say that each round took two seconds."""
    for _ in range(rounds + warmup):
        action()
    return Timing((2.0,) * rounds, "s", warmup)


@pytest.fixture(autouse=True)
def _slow(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (throughput_module, loader_module, predict_module):
        monkeypatch.setattr(module, "measure", two_seconds)


def recipe(**sections: dict[str, Any]) -> Recipe:
    values = {
        "name": "r",
        "model": {"name": "simple-cnn-bn"},
        "data": {"source": "sample"},
        "runtime": {"device": "cpu", "precision": "fp32", "threads": 1},
    }
    return recipe_from(values | sections)


def test_training_and_forward_count_the_images_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[torch.Size] = []
    inputs = Step.inputs

    def record(self: Step, *arguments: Any) -> Any:
        images, targets = inputs(self, *arguments)
        steps.append(images.shape)
        return images, targets

    monkeypatch.setattr(Step, "inputs", record)
    chosen = recipe(training={"batch_size": 12}, augmentation={"crop_padding": 4, "mixup": 0.2}, data={"image_size": 8})
    found = throughput(chosen, steps=3, rounds=2, warmup=1)
    assert steps == [torch.Size([12, 3, 8, 8])] * 3 * (2 + 1)
    expected = Timing((18.0, 18.0), "images/s", 1)
    assert found.timings == {"training": expected, "forward": expected}
    assert found.settings["batch_size"] == 12 and found.settings["image_size"] == 8
    assert found.machine["device"] == "cpu" and found.machine["precision"] == "fp32"


def test_noise_leaves_the_weights_finite_however_large_the_recipes_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []
    call = Step.__call__

    def record(self: Step, *arguments: Any) -> Any:
        outcome = call(self, *arguments)
        losses.append(float(outcome.loss))
        return outcome

    monkeypatch.setattr(Step, "__call__", record)
    throughput(recipe(training={"batch_size": 8}, optimizer={"lr": 1e6}), steps=20, rounds=1, warmup=0)
    assert max(losses) < 10


def test_the_loader_gives_full_batches_through_every_epoch() -> None:
    found = loading(recipe(training={"batch_size": 1000}), steps=5, rounds=2, warmup=1)
    assert found.settings["batch_size"] == 1000 and found.settings["num_images"] == 2700
    expected = Timing((2500.0, 2500.0), "images/s", 1)
    assert found.timings == {"batches": expected, "inputs": expected}


def test_the_loader_mixes_and_augments_as_the_recipe_says(monkeypatch: pytest.MonkeyPatch) -> None:
    epochs: list[int] = []
    mixed: list[bool] = []
    inputs = Step.inputs

    def record(self: Step, step: int, batch: Any) -> Any:
        images, targets = inputs(self, step, batch)
        epochs.append(batch.pass_number)
        mixed.append(targets.second is not targets.first)
        return images, targets

    monkeypatch.setattr(Step, "inputs", record)
    loading(recipe(training={"batch_size": 1000}, augmentation={"mixup": 0.2}), steps=4, rounds=1, warmup=0)
    assert epochs == [0, 0, 1, 1] and all(mixed)


def test_predictions_are_counted_in_images_and_single_ones_in_milliseconds(tmp_path: Path) -> None:
    found = prediction("simple-cnn", num_images=10, num_single=3, image_size=16, rounds=2, warmup=1, device="cpu")
    assert found.timings == {
        "load": Timing((2000.0, 2000.0), "ms", 1),
        "predict": Timing((5.0, 5.0), "images/s", 1),
        "logits": Timing((5.0, 5.0), "images/s", 1),
        "single": Timing((2000.0,) * 3, "ms", SINGLE_WARMUP),
    }
    assert found.settings["image_size"] == 16 and found.settings["model"] == "simple-cnn"
