"""The entries of a comparison: runs, or groups of seeds of one recipe, read from their folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import CheckpointError, UsageError
from cifarlab.evaluation.calibration import probabilities
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.evaluation.predictions import Predictions
from cifarlab.evaluation.statistics import Interval, mean_and_sd, wilson
from cifarlab.evaluation.stored import read_evaluation, read_predictions
from cifarlab.images.retold import retold
from cifarlab.language import listed, tr
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.manifest import Manifest
from cifarlab.runs.paths import SEEDS

NEEDED = ("cifarlab", "num_parameters", "elapsed_seconds", "data", "runtime", "versions")
"""Facts without which a run cannot be compared; an older or damaged manifest may lack them."""


@dataclass(frozen=True)
class Measure:
    """A number of one run, perhaps with its 95 % interval; or a mean over seeds with its standard deviation."""

    value: float
    interval: Interval | None = None
    sd: float | None = None
    num_seeds: int = 1


@dataclass(frozen=True, eq=False)
class Member:
    """One run, evaluated on one split."""

    run: Run
    recipe: Recipe
    facts: Manifest
    rows: Sequence[dict[str, float | None]]
    evaluation: Evaluation
    predictions: Predictions

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Which images it classifies correctly, (N,)."""
        return np.asarray(self.predictions.predictions == self.predictions.labels)

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """The probability of the correct class, (N,)."""
        # calibrated by the run's own temperature, or the less confident network would seem to know less
        shares = probabilities(self.predictions.logits, self.evaluation.temperature)
        return np.asarray(shares[np.arange(len(shares)), self.predictions.labels])

    @property
    def kept_row(self) -> dict[str, float | None]:
        """The row of metrics.csv of the epoch whose weights were kept; empty without one."""
        # nothing was validated where best_epoch is unset: then the last weights were kept
        kept = [row for row in self.rows if row["epoch"] == self.facts.best_epoch] or self.rows[-1:]
        return kept[0] if kept else {}


@dataclass(frozen=True, eq=False)
class Entry:
    """A run or, when it has more than one member, a group of seeds."""

    label: str
    path: Path
    recipe: Recipe
    members: tuple[Member, ...]
    num_diverged: int = 0
    """Seeds that are not members because their training diverged."""

    @property
    def is_group(self) -> bool:
        """Whether there are several seeds, whose spread shows the luck of a training."""
        return len(self.members) > 1

    @cached_property
    def correct(self) -> NDArray[np.float64]:
        """The share of seeds that classify each image correctly, (N,)."""
        return np.asarray(np.mean([member.correct for member in self.members], axis=0))

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """The mean probability of the correct class, (N,)."""
        return np.asarray(np.mean([member.confidence for member in self.members], axis=0))

    @property
    def accuracies(self) -> list[float]:
        """The accuracy of each seed on the evaluated split."""
        return [member.evaluation.accuracy for member in self.members]

    @property
    def accuracy(self) -> Measure:
        """The accuracy on the evaluated split."""
        # a group has the spread over seeds, a single run the interval that its number of images allows
        if self.is_group:
            return _mean_over_seeds(self.accuracies)
        only = self.members[0].evaluation
        return Measure(only.accuracy, only.accuracy_interval)

    @property
    def train_accuracy(self) -> Measure | None:
        """The accuracy in training, on augmented images, in the epoch whose weights were kept."""
        return self._share(
            lambda member: member.kept_row.get("train/accuracy"),
            lambda member: round(member.kept_row.get("train/images") or 0),
        )

    @property
    def val_accuracy(self) -> Measure | None:
        """The best validation accuracy, a little too high since it is the best of several."""
        return self._share(lambda member: member.facts.best_val_accuracy, lambda member: member.facts.data.num_val)

    def measure(self, number: Callable[[Member], float | None]) -> Measure | None:
        """A number of the run, or its mean over seeds; None where a run does not have it."""
        values = [value for member in self.members if (value := number(member)) is not None]
        if len(values) < len(self.members):
            return None  # a mean over some of the seeds would not be that of the others
        return _mean_over_seeds(values) if self.is_group else Measure(values[0])

    def _share(self, share: Callable[[Member], float | None], num_images: Callable[[Member], int]) -> Measure | None:
        """Measure a share of some images: with Wilson's interval for a single run."""
        found = self.measure(share)
        if found is None or self.is_group:
            return found
        total = num_images(self.members[0])  # 0 in runs that did not count their training images yet
        return Measure(found.value, wilson(round(found.value * total), total)) if total else found


def read_entries(paths: Sequence[Run | str | Path], split: str) -> list[Entry]:
    """Read runs and groups of seeds, each labelled by the shortest end of its path that no other one has.

    Raises UsageError for a folder that is not a run, is given twice or was not evaluated on `split`, and
    CheckpointError for a file that cannot be read.
    """
    runs = [Run.open(path) for path in paths]
    return [read_entry(run, label, split) for run, label in zip(runs, _labels(runs), strict=True)]


def read_entry(run: Run, label: str, split: str) -> Entry:
    """Read a run folder, or the folder of a group with all its seeds."""
    members = tuple(_read_member(each, split) for each in run.seeds or [run])
    num_diverged = len(run.group.get("diverged", {})) if run.study == SEEDS else 0
    return Entry(label, run.path, run.recipe, members, num_diverged)


def _read_member(run: Run, split: str) -> Member:
    facts = run.facts
    if run.divergence:
        raise UsageError(
            tr(
                "{run} diverged while it was trained, so there is no result. {divergence}",
                run=run.path,
                divergence=retold(run.divergence),
            )
        )
    if facts.num_steps is None:  # written when the last epoch is done
        raise UsageError(
            tr(
                "{run} has not finished training.\nFinish it with: {command}",
                run=run.path,
                command=f"cifarlab train --resume {run.as_argument}",
            )
        )
    if missing := [name for name in NEEDED if name not in facts.model_fields_set]:
        raise CheckpointError(
            tr("{file} cannot be used: it does not say {names}.", file=run.manifest_file, names=listed(missing))
        )
    evaluation = read_evaluation(run, split)
    if evaluation is None:
        raise UsageError(
            tr(
                "{run} was not evaluated on the {split} split.\n"
                "Evaluate it with: {command}, or compare on another --split.",
                run=run.path,
                split=tr(split),
                command=f"cifarlab evaluate {run.as_argument} --split {split}",
            )
        )
    return Member(run, run.recipe, facts, run.metrics, evaluation, read_predictions(run, split, evaluation))


def _labels(runs: Sequence[Run]) -> list[str]:
    paths = [run.path.resolve() for run in runs]  # "." and a link to it are the same run
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise UsageError(tr("{run} is given twice; a run cannot be compared with itself.", run=runs[number].path))
    # "a/resnet18" and "b/resnet18", but only "resnet18" where no other run has that name
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in paths]


def _mean_over_seeds(values: Sequence[float]) -> Measure:
    mean, sd = mean_and_sd(values)
    return Measure(mean, sd=sd, num_seeds=len(values))
