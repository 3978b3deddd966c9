"""Trainings that no longer give finite numbers: noticed wherever it shows, ended with what was kept, never judged."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from cifarlab.cli import main
from cifarlab.errors import CheckpointError, DivergedError, UsageError
from cifarlab.inference.classifier import Classifier
from cifarlab.inference.model_file import load_model
from cifarlab.judge import judge
from cifarlab.language import speak
from cifarlab.pages.report.write import write_report
from cifarlab.recipe.schema import Recipe, StoppingSpec
from cifarlab.recipe.toml import to_toml
from cifarlab.runs.folder import Run
from cifarlab.studies.compare.entry import read_entry
from cifarlab.training.divergence import is_finite
from cifarlab.training.step import Step
from cifarlab.training.stopping import Best, Stopping
from cifarlab.training.train import resume, train


@pytest.fixture
def after_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[nn.Module], object]], None]:
    """Do something to the network when a step has been made."""

    def arm(number: int, spoil: Callable[[nn.Module], object]) -> None:
        make = Step.__call__

        def step(self, count, batch, size):
            outcome = make(self, count, batch, size)
            if count == number:
                spoil(self.model)
            return outcome

        monkeypatch.setattr(Step, "__call__", step)

    return arm


@torch.no_grad()
def overflow(model: nn.Module) -> None:
    """As a step does that is far too long."""
    next(model.parameters()).fill_(torch.inf)


@torch.no_grad()
def enlarge(model: nn.Module) -> None:
    """Weights that are still numbers, and give an output that is none."""
    for parameter in model.parameters():
        parameter.fill_(3e38)


def diverge(recipe: Recipe, out: Path) -> tuple[Run, str]:
    """Train, and see nothing but the error; returns the run and the message."""
    with warnings.catch_warnings(), pytest.raises(DivergedError) as caught:
        warnings.simplefilter("error")
        train(recipe, out=out)
    assert caught.value.exit_code == 6
    assert len(str(caught.value).splitlines()) == 3
    run = Run.open(out / "simple-cnn")
    assert run.manifest["status"] == "diverged"
    assert not run.model_file.exists()
    return run, str(caught.value)


def test_t09_n36_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_evidence(tiny, tmp_path, monkeypatch):
    make = Step.loss

    def loss(self, logits, targets):
        value = make(self, logits, targets)
        return value * float("nan") if count.pop(0) == 0 else value

    count = [7, 6, 5, 4, 3, 2, 1, 0]
    monkeypatch.setattr(Step, "loss", loss)
    run, message = diverge(tiny.set("training.checkpoint_minutes=1e-9"), tmp_path)
    assert "The loss became nan at step 7." in message
    assert "optimizer.lr below 0.001" in message
    facts = json.loads((run.path / "diverged.json").read_text())
    assert facts["step"] == 7
    assert len(set(facts["indices"])) == 540
    state = json.loads((run.checkpoints / "last" / "state.json").read_text())
    assert state["step"] == 7  # made before the loss was seen
    assert len(state["rows"]) == 1


@pytest.mark.parametrize("spoil", [overflow, enlarge])
@pytest.mark.parametrize("averaging", ["none", "ema"])
def test_n36_the_last_epoch_leaves_the_best_classifier_before_it(tiny, tmp_path, after_step, spoil, averaging):
    after_step(9, spoil)
    run, message = diverge(tiny.set(f"averaging.name={averaging}"), tmp_path)
    kept = run.checkpoints / "best.safetensors"
    assert "no longer finite after step 9" in message
    assert f"Kept: {kept}, the classifier of epoch 1" in message
    assert all(value.isfinite().all() for value in load_model(kept)[0].values())
    assert Classifier.load(kept).probabilities(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).shape == (1, 10)
    assert [row["epoch"] for row in run.metrics] == [1]


@pytest.mark.parametrize("spoil", [overflow, enlarge])
def test_n36_the_last_step_is_looked_at_without_validation_too(tiny, tmp_path, after_step, spoil):
    after_step(11, spoil)  # of 12: nothing is held out
    _, message = diverge(tiny.set("validation.size=0"), tmp_path)
    assert "no longer finite after step 11" in message
    assert "no classifier was kept" in message


def test_n36_a_state_that_is_not_finite_is_never_saved(tiny, tmp_path, after_step):
    after_step(2, overflow)
    run, message = diverge(tiny.set("training.checkpoint_minutes=1e-9"), tmp_path)
    assert "The weights are no longer finite after step 2." in message
    assert json.loads((run.checkpoints / "last" / "state.json").read_text())["step"] == 2


def test_n36_statistics_of_a_norm_count_among_the_weights():
    model = nn.BatchNorm1d(2)
    assert is_finite(model)
    model.running_var[1] = torch.inf
    assert not is_finite(model)


def test_n36_the_first_step_is_not_blamed_on_the_learning_rate(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Step, "loss", lambda self, logits, targets: logits.sum() * float("inf"))
    _, message = diverge(tiny, tmp_path)
    assert "at step 0" in message
    assert "optimizer.lr" not in message


def test_n60_nothing_is_promised_that_is_not_there(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Step, "loss", lambda self, logits, targets: logits.sum() * float("nan"))
    run, message = diverge(tiny, tmp_path)
    assert "no classifier was kept" in message
    assert "checkpoints" not in message
    assert not run.checkpoints.exists()


def test_n36_a_resumed_run_says_the_same(tiny, tmp_path, after_step):
    after_step(7, overflow)
    run, message = diverge(tiny.set("training.checkpoint_minutes=1e-9"), tmp_path)
    with pytest.raises(DivergedError) as caught:
        resume(run.path)
    assert str(caught.value) == message


def test_n36_people_are_told_in_their_language_and_the_run_folder_in_english(tiny, tmp_path, after_step):
    after_step(9, overflow)
    speak("zh")
    run, message = diverge(tiny, tmp_path)
    first, second, third = message.splitlines()
    assert first == "第 9 步之后，权重中出现了无穷大或 NaN。"
    assert second.startswith("已保留第 1 轮的分类器：") and second.endswith(f"有关记录在 {run.divergence_file} 中。")
    assert "把 optimizer.lr 设得低于 0.001、" in third
    assert run.manifest["divergence"] == "The weights are no longer finite after step 9."
    assert json.loads(run.divergence_file.read_text())["what"] == "The weights are no longer finite after step 9"


def test_n36_what_is_asked_of_a_diverged_run_names_what_was_kept(tiny, tmp_path, after_step):
    after_step(9, overflow)
    run, _ = diverge(tiny, tmp_path)
    reason = "The weights are no longer finite after step 9."
    assert run.divergence == reason
    with pytest.raises(CheckpointError) as caught:
        judge(run, "val")
    assert str(caught.value).splitlines() == [
        f"{run.path} left no classifier, for its training diverged. {reason}",
        f"The best one before that is {run.checkpoints / 'best.safetensors'}.",
    ]
    with pytest.raises(UsageError, match="diverged while it was trained"):
        read_entry(run, "a", "val")
    assert "The training diverged" in write_report(run).read_text("utf-8")


def test_n36_the_command_ends_with_6_and_three_lines(tiny, tmp_path, after_step, capsys):
    after_step(9, enlarge)
    file = tmp_path / "recipe.toml"
    file.write_text(to_toml(tiny))
    assert main.run(["--quiet", "train", str(file), "--out", str(tmp_path)]) == 6
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 3
    assert "bug in cifarlab" not in said.err


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_n36_what_is_not_finite_is_never_the_best(loss):
    good, bad = Best(0.1, 2.0, 1, 5), Best(1.0, loss, 2, 10)
    assert not bad.beats(None)
    assert not bad.beats(good)
    assert good.beats(None)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_n36_a_first_loss_that_is_not_finite_does_not_block_early_stopping(loss):
    stopping = Stopping(StoppingSpec(patience=2))
    for value in (loss, 1.0, 0.9, 0.8):
        stopping.update(value, 0.5)
        assert not stopping.is_over
    for value in (0.9, loss):
        stopping.update(value, 0.5)
    assert stopping.best == -0.8
    assert stopping.is_over
