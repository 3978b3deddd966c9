"""The loop's decisions: what a row says, when there is validation, a checkpoint, an end."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from cifarlab.evaluation import metrics
from cifarlab.images.images import Images
from cifarlab.images.sample import load_sample
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Run
from cifarlab.training import loop
from cifarlab.training.loop import Clock, Setup, close_epoch, fit, keep_best, set_frozen, take_step, train_epoch
from cifarlab.training.schedules import lr_factor
from cifarlab.training.signals import Signals
from cifarlab.training.state import State
from cifarlab.training.step import Outcome, Step
from cifarlab.training.stopping import Best
from cifarlab.training.train import make_card, make_step, prepare

Start = Callable[..., tuple[Setup, State]]
TIMED = ("elapsed_seconds", "images_per_second")


@cache
def some(num: int) -> Images:
    sample = load_sample("train")
    return sample.subset(np.linspace(0, len(sample) - 1, num).astype(np.int64))


@pytest.fixture
def start(tiny: Recipe, tmp_path: Path) -> Start:
    """A training that is ready to begin: 40 images in batches of 16, 16 and 8; 20 for validation."""

    def begin(*changes: str, val: bool = True) -> tuple[Setup, State]:
        recipe = tiny.set("training.batch_size=16", "runtime.kernels=off", *changes)
        run, images = Run(tmp_path), some(40)
        run.write_recipe(recipe)
        runtime, card = choose_runtime(recipe.runtime), make_card(recipe, images)
        return prepare(recipe, run, runtime, card, *make_step(recipe, runtime, card, images), some(20) if val else None)

    return begin


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Outcome, int]]:
    """Each step's outcome with the number of its images."""
    found: list[tuple[Outcome, int]] = []
    make = Step.__call__

    def step(self, number, batch, size):
        outcome = make(self, number, batch, size)
        found.append((outcome, len(batch.labels)))
        return outcome

    monkeypatch.setattr(Step, "__call__", step)
    return found


def finish_epoch(setup: Setup, state: State, clock: Clock | None = None) -> None:
    clock = clock or Clock(0.0)
    train_epoch(setup, state, clock, Signals(), lambda *_, what="": None)
    close_epoch(setup, state, clock)


def test_a_row_is_the_mean_over_the_images_of_its_epoch(start: Start, outcomes: list[tuple[Outcome, int]]) -> None:
    setup, state = start("schedule.name=linear", "training.epochs=2")
    for epoch in (1, 2):
        outcomes.clear()
        finish_epoch(setup, state)
        row = state.rows[-1]
        sizes = [size for _, size in outcomes]
        assert sizes == [16, 16, 8]
        loss = sum(outcome.loss.item() * size for outcome, size in outcomes) / 40
        assert row["train/loss"] == pytest.approx(loss, rel=1e-6)
        assert row["train/accuracy"] == sum(outcome.correct.item() for outcome, _ in outcomes) / 40
        assert (row["epoch"], row["step"]) == (epoch, 3 * epoch)
        factor = lr_factor(setup.recipe.schedule, 3 * epoch - 1, 3, 6)  # of the last step that was made
        assert row["lr"] == pytest.approx(setup.recipe.optimizer.lr * factor)
    assert state.ending == "all epochs done"


def test_the_rate_of_a_row_is_that_of_the_recipe_whatever_a_group_makes_of_it(start: Start) -> None:
    network = ["model.name=speednet", "model.width=0.125", "optimizer.name=muon", "optimizer.bias_lr_factor=64"]
    setup, state = start(*network, "training.epochs=1")
    finish_epoch(setup, state)
    assert state.rows[-1]["lr"] == pytest.approx(setup.recipe.optimizer.lr)


def test_validation_is_every_so_many_epochs_and_at_the_end(start: Start) -> None:
    setup, state = start("validation.every=2", "training.epochs=5")
    while not state.ending:
        finish_epoch(setup, state)
    assert [row["val/accuracy"] is not None for row in state.rows] == [False, True, False, True, True]


def test_validation_is_of_the_evaluated_network(start: Start) -> None:
    setup, state = start("averaging.name=ema", "averaging.start=1 steps", "training.epochs=1")
    finish_epoch(setup, state)
    assert state.average is not None
    assert setup.val is not None
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (setup.card.mean, setup.card.std))
    with torch.no_grad():
        logits = state.average.model((torch.from_numpy(setup.val.pixels) / 255 - mean) / std).numpy()
    assert state.rows[-1]["val/loss"] == pytest.approx(metrics.cross_entropy(logits, setup.val.labels), rel=1e-4)


@pytest.mark.parametrize("num_steps", [2, 3])
def test_fetching_less_often_gives_the_same_rows(start: Start, monkeypatch: pytest.MonkeyPatch, num_steps: int) -> None:
    """Five steps, whose losses are fetched two or three at a time, and the rest at the end of the epoch."""
    rows = []
    for every in (1, num_steps):
        setup, state = start("training.batch_size=8", "training.epochs=1")
        monkeypatch.setitem(loop.FETCH_EVERY, "cpu", every)
        clock, fetched = Clock(0.0), []
        while state.step < 5:
            take_step(setup, state, clock)
            fetched.append(state.totals.num_images // 8)
        assert fetched == [number - number % every for number in (1, 2, 3, 4, 5)]
        close_epoch(setup, state, clock)
        rows.append({key: value for key, value in state.rows[-1].items() if key not in TIMED})
    assert rows[0] == rows[1]


def test_on_other_devices_fifty_losses_are_fetched_together(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, state = start("training.batch_size=2", "training.epochs=3", val=False)
    monkeypatch.delitem(loop.FETCH_EVERY, "cpu")
    clock = Clock(0.0)
    for _ in range(49):
        take_step(setup, state, clock)
    assert (len(clock.pending), state.totals.num_images) == (49, 0)
    take_step(setup, state, clock)
    assert (len(clock.pending), state.totals.num_images) == (0, 100)


class Time:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """Each step takes 30 seconds, and nothing else any."""
    clock = Time()
    monkeypatch.setattr(loop, "time", clock)
    monkeypatch.setattr(loop, "Clock", lambda before: Clock(before, clock.now, clock.now, clock.now))
    make = Step.__call__

    def step(self, number, batch, size):
        clock.now += 30
        return make(self, number, batch, size)

    monkeypatch.setattr(Step, "__call__", step)
    return clock


def test_time_is_that_of_all_processes_and_speed_that_of_the_epoch(start: Start, time: Time) -> None:
    setup, state = start()
    clock = loop.Clock(200.0)
    finish_epoch(setup, state, clock)
    time.now += 7
    finish_epoch(setup, state, clock)
    assert [row["elapsed_seconds"] for row in state.rows] == [290, 387]
    assert [row["images_per_second"] for row in state.rows] == [0.4, 0.4]  # 40 in 90 s: without the pause between


def test_training_ends_when_more_than_the_time_is_over(start: Start, time: Time) -> None:
    setup, state = start("training.max_minutes=2", "training.epochs=9")
    clock = loop.Clock(0.0)
    while not state.ending:
        finish_epoch(setup, state, clock)
    assert state.ending == "time limit"
    assert state.step == 5  # at 120 seconds the limit is reached, not passed
    assert state.rows[-1]["val/accuracy"] is not None


def test_checkpoints_are_as_far_apart_as_the_recipe_says(
    start: Start, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, state = start("training.batch_size=8", "training.checkpoint_minutes=1", "training.epochs=2")
    saved = []
    save = loop.save_checkpoint

    def noted(setup: Setup, state: State, clock: Clock) -> None:
        saved.append(state.step)
        save(setup, state, clock)

    monkeypatch.setattr(loop, "save_checkpoint", noted)
    fit(setup, state, Signals())
    # more than a minute after the last one: every third step; and at the end of an epoch, which is worth one alone
    assert saved == [3, 5, 8, 10]


def test_a_short_epoch_is_not_worth_a_checkpoint_but_the_end_is(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, state = start("training.epochs=3")
    saved = []
    monkeypatch.setattr(loop, "save_checkpoint", lambda setup, state, clock: saved.append(state.step))
    fit(setup, state, Signals())
    assert saved == [9]


def test_the_best_weights_are_a_copy_that_only_a_better_validation_replaces(start: Start) -> None:
    _, state = start()
    first = {name: value.clone() for name, value in state.model.state_dict().items()}
    keep_best(state, Best(0.5, 1.0, 1, 3))
    with torch.no_grad():
        for parameter in state.model.parameters():
            parameter.add_(1)
    keep_best(state, Best(0.5, 1.0, 2, 6))
    assert state.best == Best(0.5, 1.0, 1, 3)
    assert all(torch.equal(state.best_weights[name], value) for name, value in first.items())


def test_the_backbone_is_freed_in_the_epoch_that_the_recipe_names(start: Start) -> None:
    setup, state = start("model.freeze=backbone", "model.unfreeze_epoch=2")
    for epoch, frozen in enumerate([True, True, False, False]):
        set_frozen(setup.recipe, state.model, epoch)
        learning = {name for name, parameter in state.model.named_parameters() if parameter.requires_grad}
        assert (learning == {"fc.weight", "fc.bias"}) == frozen
        assert state.model.training
    setup, state = start("model.freeze=backbone")
    set_frozen(setup.recipe, state.model, 99)
    assert not next(state.model.parameters()).requires_grad
