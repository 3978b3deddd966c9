"""Everything that a run folder can still tell, and what about it cannot be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from cifarlab.errors import CheckpointError, CifarlabError
from cifarlab.evaluation import examples
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.evaluation.examples import Examples
from cifarlab.evaluation.predictions import Predictions
from cifarlab.evaluation.stored import read_evaluation, read_predictions
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Row, Run
from cifarlab.runs.manifest import COMPLETE, Manifest

T = TypeVar("T")
Otherwise = TypeVar("Otherwise")


@dataclass(frozen=True)
class Result:
    """One judged split: its numbers, what was said about every image, and some of the images."""

    evaluation: Evaluation
    predictions: Predictions | None
    examples: Examples | None


@dataclass(frozen=True)
class Material:
    """What was read. None is what is not there or is damaged; `damages` says which file and how."""

    run: Run
    recipe: Recipe | None
    facts: Manifest
    rows: list[Row]
    openings: list[dict[str, str]]
    """Of the run's own test split."""
    result: Result | None
    """Of test, else of val."""
    damages: tuple[str, ...]

    @property
    def not_comparable(self) -> str:
        """Why the accuracy that the recipe's source reports says nothing about this run; empty where it does."""
        if self.recipe is not None and self.recipe.data.source == "sample":
            return "the sample is a small part of those images"
        return {True: "", False: "these are not the published pixels", None: "these are other images"}[
            self.facts.data.original
        ]


class Reader:
    """Reads on where a file is damaged, and keeps the reasons."""

    def __init__(self) -> None:
        self.damages: list[str] = []

    def read(self, read: Callable[[], T], otherwise: Otherwise) -> T | Otherwise:
        """What `read` gives, or `otherwise` when it meets a damaged file."""
        try:
            return read()
        except CifarlabError as error:
            self.damages.append(" ".join(str(error).split()))
            return otherwise


def collect(run: Run) -> Material:
    """Read a run folder, whatever state it is in."""
    reader = Reader()
    recipe = reader.read(lambda: run.recipe, None)
    facts = reader.read(lambda: run.facts, Manifest())
    rows = reader.read(partial(_epochs, run), [])
    openings = [entry for entry in reader.read(lambda: run.test_openings, []) if "source" not in entry]
    if openings and not run.evaluation_file("test").exists() and facts.status == COMPLETE:
        reader.damages.append(f"{run.evaluation_file('test')} is missing, although the test split was opened.")
    return Material(run, recipe, facts, rows, openings, _result(run, reader), tuple(reader.damages))


def _epochs(run: Run) -> list[Row]:
    rows: list[Row] = list(run.metrics)
    if any(row["epoch"] is None or not 0 <= row["epoch"] < 1e9 for row in rows):
        raise CheckpointError(f"{run.metrics_file} has a row without an epoch.")
    return rows


def _result(run: Run, reader: Reader) -> Result | None:
    for name in ("test", "val"):
        evaluation = reader.read(partial(read_evaluation, run, name), None)
        if evaluation is not None:
            said = reader.read(partial(read_predictions, run, name, evaluation), None)
            return Result(evaluation, said, reader.read(partial(_examples, run, name, evaluation), None))
    return None


def _examples(run: Run, name: str, evaluation: Evaluation) -> Examples:
    path = run.examples_file(name)
    found = examples.read(path)
    num_classes = len(evaluation.class_names)
    if max(found.labels.max(), found.predictions.max()) >= num_classes or found.indices.max() >= evaluation.num_images:
        raise CheckpointError(f"{path} does not fit {run.evaluation_file(name).name}.")
    found.pixels(np.arange(len(found)))
    return found
