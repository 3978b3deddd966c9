"""Evaluations are believed only when they agree with themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifarlab.errors import CheckpointError
from cifarlab.evaluation.evaluate import Evaluation, evaluate
from cifarlab.evaluation.stored import read_evaluation
from cifarlab.images.images import Images
from cifarlab.runs.folder import Run


@pytest.fixture
def evaluation() -> Evaluation:
    random = np.random.default_rng(0)
    images = Images(np.zeros((20, 3, 4, 4), np.uint8), random.integers(0, 3, 20), ("a", "b", "c"))
    logits = random.normal(size=(20, 3)).astype(np.float32)
    return evaluate(lambda pixels: logits, images, split="test")[0]


@pytest.fixture
def run(tmp_path: Path, evaluation: Evaluation) -> Run:
    run = Run.create(tmp_path, "r")
    run.write_evaluation("test", evaluation.to_dict())
    return run


def test_what_was_written_is_read(run: Run, evaluation: Evaluation) -> None:
    assert read_evaluation(run, "test") == evaluation
    assert read_evaluation(run, "val") is None


def more_images(values: dict[str, Any]) -> None:
    values["num_images"] += 1


def fewer_classes(values: dict[str, Any]) -> None:
    values["class_names"].pop()


def short_row(values: dict[str, Any]) -> None:
    values["confusion_matrix"][1].pop()


def negative_count(values: dict[str, Any]) -> None:
    values["confusion_matrix"][0][0] -= 40
    values["confusion_matrix"][0][1] += 40


def better_accuracy(values: dict[str, Any]) -> None:
    values["accuracy"] = 0.99


def unknown_pair(values: dict[str, Any]) -> None:
    values["most_confused"][0]["prediction"] = "nobody"


def no_number(values: dict[str, Any]) -> None:
    values["loss"] = "low"


@pytest.mark.parametrize(
    "edit", [more_images, fewer_classes, short_row, negative_count, better_accuracy, unknown_pair, no_number]
)
def test_an_edited_evaluation_is_named_and_refused(run: Run, evaluation: Evaluation, edit: Any) -> None:
    values = json.loads(json.dumps(evaluation.to_dict()))
    edit(values)
    run.write_evaluation("test", values)
    with pytest.raises(CheckpointError, match=r"evaluation-test\.json") as caught:
        read_evaluation(run, "test")
    assert len(str(caught.value).splitlines()) == 1
