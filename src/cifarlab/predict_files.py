"""Name what many picture files show; those that cannot be read are listed, the others still answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
        for block in _read_ahead(classifier, files):
            answers.failures.extend(block.failures)
            if block.names:
                answers.predictions.extend(classifier.label(block.names, np.stack(block.pixels), top))
            advance(len(block.names) + len(block.failures))
    return answers


@dataclass(frozen=True)
class _Block:
    """Some files, read: names and pixels of the pictures, and "file: reason" of the others."""

    names: list[str] = field(default_factory=list)
    pixels: list[NDArray[np.uint8]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def _read_ahead(classifier: Classifier, files: Sequence[Path]) -> Iterator[_Block]:
    """Read in blocks; a thread reads the next one while its receiver works, and no more, to bound the memory."""
    size = classifier.batch_size
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = reader.submit(_read, classifier, files[:size])
        for start in range(size, len(files) + size, size):
            block = coming.result()
            coming = reader.submit(_read, classifier, files[start : start + size])
            yield block


def _read(classifier: Classifier, files: Sequence[Path]) -> _Block:
    block = _Block()
    for file in files:
        try:
            block.pixels.append(classifier.decode(file))
            block.names.append(str(file))
        except DataError as error:
            block.failures.append(str(error))
    return block


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
