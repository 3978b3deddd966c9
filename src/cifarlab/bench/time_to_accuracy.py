"""Measure how long a recipe trains until it reaches a target accuracy, over several seeds."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from cifarlab.bench.timing import Timing, machine_of
from cifarlab.errors import RecipeError, UsageError
from cifarlab.evaluation.statistics import Interval, mean_and_sd, p_above, wilson
from cifarlab.evaluation.stored import read_evaluation
from cifarlab.files import write_atomic
from cifarlab.judge import judge
from cifarlab.language import tr
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.paths import TIME_TO_ACCURACY
from cifarlab.studies.seeds import require_all_seeds, train_seeds

Split = Literal["val", "test"]


@dataclass(frozen=True)
class Trained:
    """The result of one seed; an accuracy is None if its split was not evaluated, or not with augmentation (tta).

    seconds: of the training loop with its validations, without reading data, building the network and the final
    evaluation. seconds_to_target: until the end of the first epoch whose validation reached the target, or None.
    """

    run: str
    seed: int
    seconds: float
    seconds_to_target: float | None  # of the plain accuracy, since validations are without augmentation
    val_accuracy: float | None
    val_tta_accuracy: float | None
    test_accuracy: float | None
    test_tta_accuracy: float | None


@dataclass(frozen=True)
class TimeToAccuracy:
    """What the seeds of one recipe reached, and in what time."""

    run: Run
    target: float
    split: Split
    tta: str | None
    """The test-time augmentation that counts, or None when the plain accuracy does."""
    seeds: tuple[Trained, ...]
    num_images: int
    """Images that the accuracy was measured on."""
    total_seconds: float
    """Time of everything, from reading the data to evaluating the last seed."""
    machine: dict[str, Any]

    @property
    def accuracies(self) -> list[float]:
        """The accuracies that count, one per seed."""
        name = f"{self.split}_{'tta_' if self.tta else ''}accuracy"
        return [getattr(each, name) for each in self.seeds]

    @property
    def mean(self) -> float:
        """Mean over the seeds of the accuracy that counts."""
        return fmean(self.accuracies)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation (n - 1) of the accuracy; None for one seed."""
        return mean_and_sd(self.accuracies)[1] if len(self.seeds) > 1 else None

    @property
    def p_value(self) -> float | None:
        """One-sided p-value of the claim that the mean over all seeds is above the target; None for one seed."""
        return p_above(self.accuracies, self.target) if len(self.seeds) > 1 else None

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the accuracy of a single seed; None for several, whose doubt is their deviation."""
        # Wilson's interval covers the choice of test images alone; how much seeds differ has to be measured.
        return None if len(self.seeds) > 1 else wilson(round(self.mean * self.num_images), self.num_images)

    @property
    def reached(self) -> bool:
        """Whether the mean accuracy is at least the target."""
        return self.mean >= self.target

    @property
    def seconds(self) -> Timing:
        """Seconds of training, one value per seed, without a warm-up: nobody who trains has one either."""
        return Timing(tuple(each.seconds for each in self.seeds), "s")

    @property
    def seconds_to_target(self) -> Timing | None:
        """Seconds of the seeds whose validation reached the target; None when none did."""
        found = tuple(each.seconds_to_target for each in self.seeds if each.seconds_to_target is not None)
        return Timing(found, "s") if found else None

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        soonest = self.seconds_to_target
        return {
            "run": str(self.run.path),
            "target": self.target,
            "split": self.split,
            "tta": self.tta,
            "accuracy": {
                "mean": self.mean,
                "sd": self.sd,
                "interval": None if self.interval is None else list(self.interval),
                "n": len(self.seeds),
                "values": self.accuracies,
            },
            "reached": self.reached,
            "p_value": self.p_value,
            "seconds": self.seconds.to_dict(),
            "seconds_to_target": soonest.to_dict() if soonest else None,
            "total_seconds": self.total_seconds,
            "seeds": [asdict(each) for each in self.seeds],
            "machine": self.machine,
        }


def time_to_accuracy(
    recipe: Recipe,
    target: float,
    *,
    num_seeds: int = 3,
    split: Split = "val",
    tta_counts: bool = False,
    out: str | Path = "runs",
    data_dir: Path | None = None,
) -> TimeToAccuracy:
    """Train a recipe from several seeds and measure whether their mean accuracy on `split` reaches `target`, and when.

    With tta_counts the accuracy with the recipe's test-time augmentation counts, else the plain one. The test split is
    opened once per seed where the recipe says so. Leaves the runs in a group's folder with time-to-accuracy.json.
    Raises UsageError for a target that is not a fraction and RecipeError for a recipe without the accuracy that counts,
    both before anything is trained, and the errors of training: DivergedError as soon as one seed diverges.
    """
    check_target(target)
    _check_recipe(recipe, split, tta_counts)
    start = time.perf_counter()
    group = train_seeds(recipe, num_seeds, out=out, data_dir=data_dir)
    require_all_seeds(group)  # a mean over the seeds that did not diverge would be too good
    for run in group.seeds if recipe.validation.size else ():
        judge(run, "val", tta=recipe.evaluation.tta, data_dir=data_dir)  # training ends with the test split alone
    total_seconds = time.perf_counter() - start
    trained = tuple(trained_from(run, target) for run in group.seeds)
    tta = recipe.evaluation.tta if tta_counts else None
    first = group.seeds[0]  # seeds share their data, so every one was evaluated on as many images
    evaluation = read_evaluation(first, split)
    num_images = evaluation.num_images if evaluation else 0
    found = TimeToAccuracy(group, target, split, tta, trained, num_images, total_seconds, machine_of(first.facts))
    write_atomic(group.path / TIME_TO_ACCURACY, json.dumps(found.to_dict(), indent=2, allow_nan=False) + "\n")
    return found


def check_target(target: float) -> None:
    """Raise UsageError for a target that is not a fraction above 0 and at most 1."""
    if not 0 < target <= 1:  # 0 is reached by an untrained network
        message = (
            tr("The target is a fraction above 0 and at most 1, not {n:g}. Did you mean {share:g}?")
            if 1 < target <= 100
            else tr("The target is a fraction above 0 and at most 1, not {n:g}. 0.9 stands for 90 %.")
        )
        raise UsageError(message.format(n=target, share=target / 100))


def trained_from(run: Run, target: float) -> Trained:
    """Read one seed's result from its folder."""
    facts = run.facts
    val, test = read_evaluation(run, "val"), read_evaluation(run, "test")
    return Trained(
        run=run.name,
        seed=facts.seed or 0,
        seconds=facts.elapsed_seconds or 0.0,
        seconds_to_target=seconds_to(target, run.metrics),
        val_accuracy=val.accuracy if val else None,
        val_tta_accuracy=val.tta_accuracy if val else None,
        test_accuracy=test.accuracy if test else None,
        test_tta_accuracy=test.tta_accuracy if test else None,
    )


def seconds_to(target: float, rows: Sequence[dict[str, float | None]]) -> float | None:
    """Find when the validation accuracy first reached the target, from the rows of metrics.csv; None if never."""
    # An epoch without validation has None.
    return next((row["elapsed_seconds"] for row in rows if (row["val/accuracy"] or 0) >= target), None)


def _check_recipe(recipe: Recipe, split: Split, tta_counts: bool) -> None:
    # Before hours of training, which would end without the number that was asked for.
    if split == "val" and recipe.validation.size == 0:
        raise RecipeError(
            tr(
                "{recipe} holds out no validation images (validation.size = 0), so val has no accuracy.\n"
                "Add --split test, or --set validation.size=0.1.",
                recipe=recipe.name,
            )
        )
    if split == "test" and not recipe.evaluation.test:
        raise RecipeError(
            tr(
                "{recipe} leaves the test split sealed (evaluation.test = false), so it cannot count.\n"
                "Add --split val, or --set evaluation.test=true.",
                recipe=recipe.name,
            )
        )
    if tta_counts and recipe.evaluation.tta == "none":
        raise RecipeError(
            tr(
                "{recipe} has no test-time augmentation that could count (evaluation.tta = none).\n"
                "Leave --tta-counts out, or add --set evaluation.tta=mirror.",
                recipe=recipe.name,
            )
        )
