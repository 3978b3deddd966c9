"""A recipe from several seeds: a study that is stopped anywhere goes on as a study."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from cifarlab.cli import main
from cifarlab.errors import CheckpointError, DivergedError, InterruptedRunError, OtherMachineError, UsageError
from cifarlab.inference.model_file import load_model
from cifarlab.recipe.override import override
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import to_toml
from cifarlab.runs.folder import Run
from cifarlab.studies.seeds import resume_seeds, train_seeds
from cifarlab.training.status import is_complete
from cifarlab.training.step import Outcome, Step
from cifarlab.training.train import resume


@pytest.fixture
def short(tiny: Recipe) -> Recipe:
    return tiny.set("training.epochs=0.6", "validation.size=30", "training.checkpoint_minutes=1e-9")


def weights(group: Run) -> list[dict[str, torch.Tensor]]:
    return [load_model(run.model_file)[0] for run in group.seeds]


def same(first: Run, second: Run) -> bool:
    return all(
        ours.keys() == theirs.keys() and all(ours[name].equal(theirs[name]) for name in ours)
        for ours, theirs in zip(weights(first), weights(second), strict=True)
    )


def stop_in(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send SIGINT during the second step of one seed, once."""
    make = Step.__call__

    def step(self: Step, number: int, batch: object, size: int) -> object:
        if self.recipe.training.seed == seed and number == 1:
            monkeypatch.setattr(Step, "__call__", make)
            os.kill(os.getpid(), signal.SIGINT)
        return make(self, number, batch, size)  # type: ignore[arg-type]

    monkeypatch.setattr(Step, "__call__", step)


def test_n60_the_seeds_keep_the_name_of_their_recipe(short: Recipe, tmp_path: Path) -> None:
    group = train_seeds(short, 2, out=tmp_path)
    assert [run.name for run in group.seeds] == ["seed-0", "seed-1"]
    for run, seed in zip(group.seeds, (0, 1), strict=True):
        assert run.recipe == override(short, "training.seed", str(seed))
        assert load_model(run.model_file)[1].recipe == short.name
    assert group.group["status"] == "complete" and group.group["seeds"] == [0, 1]
    assert group.group["val_accuracy"]["n"] == 2


def test_n50_a_group_that_was_interrupted_goes_on_as_a_group(
    short: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train_seeds(short, 3, out=tmp_path / "straight")
    stop_in(1, monkeypatch)
    with pytest.raises(InterruptedRunError) as stop:
        train_seeds(short, 3, out=tmp_path)
    group = Run.open(tmp_path / "simple-cnn-seeds")
    assert stop.value.exit_code == 130
    assert str(stop.value).splitlines() == [
        "Seed 1: Stopped at step 2 of 4; the state is saved.",
        "Complete: seed-0.",
        f"Continue with this seed and those after it: cifarlab train --resume {group.path}",
    ]
    assert [run.name for run in group.seeds] == ["seed-0"] and group.group["status"] == "training"
    done: list[str] = []
    resume_seeds(group.path, then=lambda run: done.append(run.name))
    assert done == ["seed-1", "seed-2", group.name]  # the finished seed is left as it is
    assert {path.name for path in group.path.iterdir() if path.is_dir()} == {"seed-0", "seed-1", "seed-2"}
    assert same(group, straight)
    assert group.group["val_accuracy"] == straight.group["val_accuracy"]


def test_a_group_on_another_machine_is_refused_like_a_run(
    short: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_in(0, monkeypatch)
    with pytest.raises(InterruptedRunError):
        train_seeds(short, 2, out=tmp_path)
    group = Run.open(tmp_path / "simple-cnn-seeds")
    seed = Run(group.path / "seed-0")
    seed.update_manifest(versions={**seed.manifest["versions"], "torch": "1.0"})
    with pytest.raises(OtherMachineError, match=r"\n  torch: recorded 1.0, found .*\n.*--allow-different-machine"):
        resume_seeds(group.path)
    resume_seeds(group.path, allow_different_machine=True)
    assert [len(run.facts.resumed) for run in group.seeds] == [1, 0]


@pytest.mark.parametrize("content", [[], [".lock", ".tmp-1-recipe.toml"]])
def test_n50_a_seed_killed_before_its_recipe_was_written_is_trained(
    short: Recipe, tmp_path: Path, content: list[str]
) -> None:
    group = train_seeds(short, 2, out=tmp_path)
    seed = group.path / "seed-1"
    for path in sorted(seed.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    for name in content:
        (seed / name).touch()
    group.write_study("seeds.json", {**group.group, "status": "training", "runs": ["seed-0"]})
    resume_seeds(group.path)
    assert [run.name for run in group.seeds] == ["seed-0", "seed-1"] and all(map(is_complete, group.seeds))


def diverge_in(seeds: set[int], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the loss of these seeds be no number from the second step on; returns the seeds that are trained."""
    make, trained = Step.__call__, []

    def step(self: Step, number: int, batch: object, size: int) -> Outcome:
        seed = self.recipe.training.seed
        trained.append(seed)
        outcome = make(self, number, batch, size)  # type: ignore[arg-type]
        return outcome._replace(loss=outcome.loss * torch.nan) if seed in seeds and number == 1 else outcome

    monkeypatch.setattr(Step, "__call__", step)
    return trained


def test_n36_a_seed_that_diverges_does_not_stop_the_others(
    short: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    diverge_in({1}, monkeypatch)
    file = tmp_path / "recipe.toml"
    file.write_text(to_toml(short))
    assert main.run(["train", str(file), "--seeds", "3", "--out", str(tmp_path), "--no-report"]) == 8
    said = capsys.readouterr()
    assert "Finished, but 1 of 3 seeds diverged. seed-1: The loss became nan at step 1." in said.err
    assert "n = 2" in said.out
    group = Run.open(tmp_path / "simple-cnn-seeds")
    assert group.group["status"] == "complete"
    assert group.group["diverged"] == {"seed-1": "The loss became nan at step 1."}
    assert [run.name for run in group.seeds] == ["seed-0", "seed-2"]
    assert group.group["val_accuracy"]["n"] == 2


def test_n36_a_group_of_which_one_seed_is_left_has_no_deviation(
    short: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    diverge_in({0}, monkeypatch)
    file = tmp_path / "recipe.toml"
    file.write_text(to_toml(short))
    assert main.run(["train", str(file), "--seeds", "2", "--out", str(tmp_path)]) == 8
    assert "(n = 1)" in capsys.readouterr().out
    page = (tmp_path / "simple-cnn-seeds" / "report.html").read_text()
    assert "seed-0 diverged and does not count: The loss became nan at step 1." in page


def test_n36_a_group_of_which_no_seed_is_left_has_diverged(
    short: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverge_in({0, 1}, monkeypatch)
    with pytest.raises(DivergedError, match="2 of 2 seeds diverged"):
        train_seeds(short, 2, out=tmp_path)


def test_n36_a_seed_that_has_diverged_is_not_trained_again(
    short: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = diverge_in({0}, monkeypatch)
    group = train_seeds(short, 2, out=tmp_path)
    before = group.group
    group.write_study("seeds.json", {**before, "status": "training", "runs": [], "diverged": {}})
    trained.clear()
    resume_seeds(group.path)
    assert group.group == before
    assert trained == []


def test_n50_a_complete_group_is_left_as_it_is(short: Recipe, tmp_path: Path) -> None:
    group = train_seeds(short, 2, out=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in group.path.rglob("*") if path.is_file()}
    resume_seeds(group.path)
    assert before == {path: path.stat().st_mtime_ns for path in group.path.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("study", "text"),
    [
        (
            "seeds.json",
            "it holds several seeds.\nGive the folder of one of its runs: a.",
        ),
        ("ablation.json", "it holds an ablation."),
        ("lr-find.json", "it holds a learning-rate test."),
    ],
)
def test_n50_no_plain_run_is_trained_inside_a_study(short: Recipe, tmp_path: Path, study: str, text: str) -> None:
    with Run.new(tmp_path, "study", short, study=study, plan={}) as folder:
        (folder.path / "a").mkdir()
        Run(folder.path / "a").write_recipe(short)
    with pytest.raises(UsageError, match=text.replace(".", r"\.")):
        resume(folder.path)
    assert not (folder.path / "manifest.json").exists()


@pytest.mark.parametrize("values", [{}, {"seeds": []}, {"seeds": "01"}, {"seeds": [0, "1"]}])
def test_n50_a_group_that_does_not_say_what_was_planned_is_refused(
    short: Recipe, tmp_path: Path, values: dict[str, object]
) -> None:
    with Run.new(tmp_path, "g", short, study="seeds.json", plan={"runs": []}) as group:
        (group.path / "seed-0").mkdir()
        Run(group.path / "seed-0").write_recipe(short)
    (group.path / "seeds.json").write_text(json.dumps({"runs": ["seed-0"], **values}))
    with pytest.raises(CheckpointError, match="does not say which seeds"):
        resume_seeds(group.path)


def test_n62_a_group_of_which_nothing_was_trained_leaves_no_folder(short: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        train_seeds(override(short, "validation.size", "100000"), 2, out=tmp_path)
    assert not list(tmp_path.iterdir())
