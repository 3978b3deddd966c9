"""A recipe from several seeds: a study that is stopped anywhere goes on as a study."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from cifarlab.checkpoint import load_model
from cifarlab.errors import CheckpointError, InterruptedRunError, UsageError
from cifarlab.recipe import Recipe
from cifarlab.recipe_file import override, override_all
from cifarlab.runs import Run
from cifarlab.training.seeds import resume_seeds, train_seeds
from cifarlab.training.step import Step
from cifarlab.training.train import is_complete, resume


@pytest.fixture
def short(tiny: Recipe) -> Recipe:
    return override_all(tiny, ["training.epochs=0.6", "validation.size=30", "training.checkpoint_minutes=1e-9"])


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
