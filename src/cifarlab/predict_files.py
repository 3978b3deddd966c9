"""Name what many picture files show; those that cannot be read are listed, the others still answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifarlab.classifier import Classifier, Prediction
from cifarlab.console import progress
from cifarlab.errors import DataError, UsageError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"}
"""What is looked for in folders; a file that is given by name may be called anything, its bytes decide."""


@dataclass(frozen=True)
class Answers:
    """Predictions in the order of the files, and "file: reason" of those that could not be read."""

    predictions: list[Prediction]
    failures: list[str]


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Files as given; for each folder the pictures anywhere below it, sorted; links to folders are not followed.

    Raises UsageError for a folder without pictures.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(file for file in path.rglob("*") if _is_picture(file))
        if not inside:
            raise UsageError(f"There are no pictures in {path}.\nLooked for {', '.join(sorted(SUFFIXES))}.")
        found += inside
    return found


def predict_files(classifier: Classifier, files: Sequence[Path], *, top: int) -> Answers:
    """Predict every file that can be read, `top` classes each."""
    answers = Answers([], [])
    with progress("Predicting", len(files), "images") as advance:
        for start in range(0, len(files), classifier.batch_size):
            block = files[start : start + classifier.batch_size]
            _predict_block(classifier, block, top, answers)
            advance(len(block))
    return answers


def _predict_block(classifier: Classifier, files: Sequence[Path], top: int, answers: Answers) -> None:
    names, pixels = [], []
    for file in files:
        try:
            pixels.append(classifier.decode(file))
            names.append(str(file))
        except DataError as error:
            answers.failures.append(str(error))
    if pixels:
        answers.predictions.extend(classifier.label(names, np.stack(pixels), top))


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
