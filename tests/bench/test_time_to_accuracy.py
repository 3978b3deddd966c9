"""What counts, and when it was reached, on run folders that no training made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluations import evaluation_of

from cifarlab.bench import time_to_accuracy as module
from cifarlab.bench.time_to_accuracy import check_target, seconds_to, time_to_accuracy, trained_from
from cifarlab.errors import RecipeError, UsageError
from cifarlab.evaluation.statistics import p_above, wilson
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import recipe_from
from cifarlab.runs.folder import COLUMNS, Run


def recipe(**sections: dict[str, Any]) -> Recipe:
    return recipe_from({"name": "r", "model": {"name": "simple-cnn"}, **sections})


def row(epoch: int, seconds: float, accuracy: float | None) -> dict[str, float | None]:
    return {**dict.fromkeys(COLUMNS, 0.0), "epoch": epoch, "elapsed_seconds": seconds, "val/accuracy": accuracy}


def finished(folder: Path, seed: int, seconds: float, val: list[float | None], test: float) -> Run:
    """A run with an epoch every ten seconds."""
    run = Run.create(folder, f"seed-{seed}")
    run.write_recipe(recipe())
    run.write_metrics([row(number, 10.0 * number, accuracy) for number, accuracy in enumerate(val, 1)])
    run.update_manifest(
        seed=seed,
        elapsed_seconds=seconds,
        cifarlab="0",
        runtime={"device": "cpu"},
        machine={"system": "s", "cores": 1},
        versions={"python": "3", "torch": "2"},
    )
    best = max(value or 0 for value in val)
    mirrored = {"tta": "mirror", "tta_accuracy": 0.99, "tta_interval": [0.9, 1.0]}
    run.write_evaluation("val", {**evaluation_of(round(100 * best), 100, "val").to_dict(), **mirrored})
    run.write_evaluation("test", evaluation_of(round(400 * test), 400).to_dict())
    return run


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, list[float | None], float]]:
    """Stands in for training: seconds, validation accuracies and test accuracy of each seed."""
    results: list[tuple[float, list[float | None], float]] = []

    def train_seeds(chosen: Recipe, num_seeds: int, *, out: Path, data_dir: Path | None) -> Run:
        group = Run.create(Path(out), "group")
        group.write_recipe(chosen)
        runs = [finished(group.path, seed, *result) for seed, result in enumerate(results[:num_seeds])]
        (group.path / "seeds.json").write_text(json.dumps({"runs": [run.name for run in runs]}))
        return group

    monkeypatch.setattr(module, "train_seeds", train_seeds)
    monkeypatch.setattr(module, "judge", lambda run, split, **_: None)
    return results


def test_the_first_epoch_at_the_target_counts_and_one_without_validation_does_not() -> None:
    rows = [row(1, 5.0, None), row(2, 10.0, 0.7), row(3, 15.0, 0.9), row(4, 20.0, 0.8), row(5, 25.0, 0.95)]
    assert seconds_to(0.9, rows) == 15.0
    assert seconds_to(0.7, rows) == 10.0
    assert seconds_to(0.96, rows) is None
    assert seconds_to(0.5, []) is None


def test_a_seed_is_read_from_its_folder(tmp_path: Path) -> None:
    found = trained_from(finished(tmp_path, 3, 31.5, [0.5, 0.8], 0.75), 0.8)
    assert (found.run, found.seed, found.seconds, found.seconds_to_target) == ("seed-3", 3, 31.5, 20.0)
    assert (found.val_accuracy, found.val_tta_accuracy) == (0.8, 0.99)
    assert (found.test_accuracy, found.test_tta_accuracy) == (0.75, None)


def test_mean_deviation_and_times_over_seeds(
    tmp_path: Path, trained: list[tuple[float, list[float | None], float]]
) -> None:
    trained += [(30.0, [0.5, 0.9], 0.85), (50.0, [0.7, 0.8], 0.75), (31.0, [0.9, 0.88], 0.8)]
    found = time_to_accuracy(recipe(), 0.9, out=tmp_path)
    assert found.accuracies == [0.9, 0.8, 0.9]
    assert found.mean == pytest.approx(13 / 15) and found.sd == pytest.approx(0.1 / 3**0.5) and not found.reached
    assert (found.seconds.median, found.seconds.min, found.seconds.max) == (31.0, 30.0, 50.0)
    soonest = found.seconds_to_target
    assert soonest is not None and soonest.values == (20.0, 10.0)
    stored = json.loads((found.run.path / "time-to-accuracy.json").read_text())
    assert stored == json.loads(json.dumps(found.to_dict()))
    assert stored["accuracy"]["n"] == 3 and stored["accuracy"]["interval"] is None
    assert stored["p_value"] == pytest.approx(p_above([0.9, 0.8, 0.9], 0.9))
    assert stored["reached"] is False and stored["machine"]["torch"] == "2"


def test_the_split_and_the_augmentation_that_count(
    tmp_path: Path, trained: list[tuple[float, list[float | None], float]]
) -> None:
    trained += [(30.0, [0.5], 0.85)]
    on_test = time_to_accuracy(recipe(), 0.85, num_seeds=1, split="test", out=tmp_path)
    assert on_test.accuracies == [0.85] and on_test.reached and on_test.sd is None
    assert on_test.p_value is None
    assert on_test.seconds_to_target is None
    assert on_test.interval == wilson(340, 400)  # n39: one seed has the interval of its images
    assert on_test.to_dict()["accuracy"]["interval"] == list(wilson(340, 400))
    mirrored = recipe(evaluation={"tta": "mirror"})
    with_tta = time_to_accuracy(mirrored, 0.9, num_seeds=1, tta_counts=True, out=tmp_path)
    assert with_tta.accuracies == [0.99] and with_tta.tta == "mirror" and with_tta.reached


@pytest.mark.parametrize(
    ("target", "text"),
    [(94, "Did you mean 0.94?"), (1.5, "Did you mean 0.015?"), (0, "0.9 stands for 90 %"), (-0.1, "fraction")],
)
def test_a_target_that_is_no_fraction(target: float, text: str) -> None:
    with pytest.raises(UsageError, match=text.replace("?", r"\?")):
        check_target(target)


def test_a_target_that_is_not_a_number() -> None:
    with pytest.raises(UsageError):
        check_target(float("nan"))


@pytest.mark.parametrize(
    ("sections", "options", "text"),
    [
        ({"validation": {"size": 0}}, {}, "--split test"),
        ({"evaluation": {"test": False}}, {"split": "test"}, "evaluation.test=true"),
        ({}, {"tta_counts": True}, "evaluation.tta=mirror"),
    ],
)
def test_a_recipe_that_cannot_show_what_counts_is_refused_before_training(
    sections: dict[str, Any], options: dict[str, Any], text: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=text):
        time_to_accuracy(recipe(**sections), 0.9, out=tmp_path, **options)
    assert not list(tmp_path.iterdir())
