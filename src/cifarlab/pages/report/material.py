"""Everything that can be read from a run folder, whatever state it is in, and which files are damaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from cifarlab.errors import CheckpointError, CifarlabError
from cifarlab.evaluation import details, examples
from cifarlab.evaluation.details import Detail
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.evaluation.examples import Examples
from cifarlab.evaluation.predictions import Predictions
from cifarlab.evaluation.stored import does_not_fit, read_evaluation, read_predictions
from cifarlab.images.archives.official import CIFAR10_NAMES
from cifarlab.language import tr, translatable
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe, recipe_names
from cifarlab.runs.folder import Run
from cifarlab.runs.manifest import COMPLETE, Manifest
from cifarlab.runs.metrics import Row

KNOWN_DATA = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "sample": translatable("a sample of CIFAR-10")}
"""The data sets that recipes know by a name."""

T = TypeVar("T")
Otherwise = TypeVar("Otherwise")


@dataclass(frozen=True)
class Result:
    """One evaluated split: its numbers, the prediction for every image, some of the images, and details of a few."""

    evaluation: Evaluation
    predictions: Predictions | None
    examples: Examples | None
    details: Mapping[int, Detail] = field(default_factory=dict)
    """By the image's index; empty where the network has not looked closer, as in older runs."""

    def name_of(self, index: int) -> str:
        """The file name of an image, or an empty text where images have none."""
        names = None if self.predictions is None else self.predictions.names
        return "" if names is None else names[index]


@dataclass(frozen=True)
class Material:
    """What was read; None stands for a file that is missing or damaged, and `damages` says which and how."""

    run: Run
    recipe: Recipe | None
    facts: Manifest
    rows: list[Row]
    openings: list[dict[str, str]]
    """Entries of the ledger about the run's own test split."""
    result: Result | None
    """The test split's, or else the validation split's."""
    damages: tuple[str, ...]

    @property
    def data_name(self) -> str:
        """The name of the data set, as people call it: that of the file or folder, where it is one's own."""
        if self.recipe is None:
            return ""
        source = self.recipe.data.source
        return tr(KNOWN_DATA[source]) if source in KNOWN_DATA else (Path(source).name or source)

    @property
    def not_comparable(self) -> str:
        """Why this run cannot be compared with the accuracy that the recipe's source reports; empty where it can."""
        if self.recipe is not None and self.recipe.data.source == "sample":
            return tr("the sample is a small part of those images")
        # None is neither: nobody has published anything about such images, so there is nothing to compare with
        found = [self.facts.data.original]
        if self.result is not None:  # test images may come in another format than those of training
            found.append(self.result.evaluation.original)
            if self._is_shipped and len(self.result.evaluation.class_names) != len(CIFAR10_NAMES):  # CIFAR-100
                return tr("the source reports on CIFAR-10")
        if False in found:
            return tr("these are not the published pixels")
        return tr("these are other images") if None in found else ""

    @property
    def _is_shipped(self) -> bool:
        """Whether the reference is that of a recipe that comes with the package; all of these are on CIFAR-10."""
        recipe = self.recipe
        if recipe is None or recipe.name not in recipe_names():
            return False
        return recipe.reference == load_recipe(recipe.name).reference


class Reader:
    """Reads on after a damaged file, and collects the reasons."""

    def __init__(self) -> None:
        self.damages: list[str] = []

    def read(self, read: Callable[[], T], otherwise: Otherwise) -> T | Otherwise:
        """Return what `read` returns, or `otherwise` when it meets a damaged file."""
        try:
            return read()
        except CifarlabError as error:  # a report on half a run is worth more than none, as long as it says so
            self.damages.append(" ".join(str(error).split()))
            return otherwise


def collect(run: Run) -> Material:
    """Read everything that a report shows; a damaged file costs only what it holds."""
    reader = Reader()
    recipe = reader.read(lambda: run.recipe, None)
    facts = reader.read(lambda: run.facts, Manifest())
    rows = reader.read(partial(_epochs, run), [])
    # entries with a source are about other images, which --data named: they say nothing about this run's test split
    openings = [entry for entry in reader.read(lambda: run.test_openings, []) if "source" not in entry]
    if openings and not run.evaluation_file("test").exists() and facts.status == COMPLETE:
        file = run.evaluation_file("test")
        reader.damages.append(tr("{path} is missing, although the test split was opened.", path=file))
    result = None
    # test, else val: the split that says most about new images, and a report shows only one
    for name in ("test", "val"):
        evaluation = reader.read(partial(read_evaluation, run, name), None)
        if evaluation is not None:
            predicted = reader.read(partial(read_predictions, run, name, evaluation), None)
            shown = reader.read(partial(_examples, run, name, evaluation), None)
            closer = reader.read(partial(_details, run, name, evaluation), {})
            result = Result(evaluation, predicted, shown, closer)
            break
    return Material(run, recipe, facts, rows, openings, result, tuple(reader.damages))


def _epochs(run: Run) -> list[Row]:
    """The rows of metrics.csv; raises CheckpointError where one has no epoch."""
    rows: list[Row] = list(run.metrics)
    # the epoch is the x-axis of every curve, so a row without one cannot be drawn
    if any(row["epoch"] is None or not 0 <= row["epoch"] < 1e9 for row in rows):
        raise CheckpointError(tr("{path} has a row without an epoch.", path=run.metrics_file))
    return rows


def _examples(run: Run, name: str, evaluation: Evaluation) -> Examples:
    """The stored pictures; raises CheckpointError where they belong to another evaluation or cannot be decoded."""
    path = run.examples_file(name)
    found = examples.read(path)
    num_classes = len(evaluation.class_names)
    if max(found.labels.max(), found.predictions.max()) >= num_classes or found.indices.max() >= evaluation.num_images:
        raise does_not_fit(path, run.evaluation_file(name))
    found.pixels(np.arange(len(found)))  # so that a damaged PNG is a damage listed here, not an error on the way
    return found


def _details(run: Run, name: str, evaluation: Evaluation) -> Mapping[int, Detail]:
    """The stored details; raises CheckpointError where they belong to another evaluation or cannot be read."""
    path = run.details_file(name)
    if not path.exists():
        return {}  # an older run, or one whose training has just ended: the network has not looked closer yet
    found = details.read(path)
    labels = [near.label for each in found.values() for near in each.neighbours]
    if max(labels, default=0) >= len(evaluation.class_names) or max(found, default=0) >= evaluation.num_images:
        raise does_not_fit(path, run.evaluation_file(name))
    return found
