"""Predict the classes of many picture files; files that cannot be read are listed, and the others still predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import count, ends, progress, some
from cifarlab.drawing.notebook import cell
from cifarlab.drawing.page import table, warning
from cifarlab.drawing.wording import percent
from cifarlab.errors import DataError, UsageError
from cifarlab.images.folders.scan import CIRCLE, scan
from cifarlab.images.retold import retold
from cifarlab.images.source import left_out_lines
from cifarlab.images.words import SUFFIXES, UNREAD, natural_order
from cifarlab.inference.classifier import Classifier, Prediction
from cifarlab.language import listed, tr


@dataclass(frozen=True)
class PictureFiles:
    """Picture files, a "file: reason" for each that cannot be read, and one line per reason for what is left out."""

    files: list[Path]
    failures: list[str]
    left_out: list[str]


@dataclass(frozen=True)
class FilePredictions:
    """Predictions in the order of the files, and a "file: reason" for each that could not be read."""

    predictions: list[Prediction]
    failures: list[str]

    def _repr_html_(self) -> str:
        first, last = ends(self.predictions)
        rows = [[each.name, each.label, percent(each.probability)] for each in (*first, *last)]
        warnings = [warning(tr("Not read: {files}", files=some(self.failures)))] if self.failures else []
        numbers = table([tr("file"), tr("class"), tr("probability")], rows)
        return cell(tr("Predictions"), count(len(self.predictions), "image"), *warnings, numbers)


def find_images(paths: Sequence[Path], *, follow_links: bool = False) -> PictureFiles:
    """List the given files, whatever they are called, and for each given folder the pictures below it.

    Names in a folder are in natural order ("2.png" before "10.png"), and what is not a picture is left out, as in
    training. Raises UsageError for a folder without pictures.
    """
    found = PictureFiles([], [], [])
    for path in paths:
        if not _is_folder(path):
            found.files.append(path)
            continue
        tree = scan(path, follow_links=follow_links)
        names = sorted((name for folder in tree.top.walk() for name in folder.names()), key=natural_order)
        unread = [
            (name, reason) for reason, names in tree.left_out.items() if reason in UNREAD.values() for name in names
        ]
        # A link that leads in a circle hides nothing: its pictures were found on the way.
        failures = [f"{path / name}: {retold(reason)}" for name, reason in (*unread, *tree.refused) if reason != CIRCLE]
        if not names and not failures:
            suffixes = listed(sorted(SUFFIXES))
            raise UsageError(
                tr("There are no pictures in {path}.\nLooked for {suffixes}.", path=path, suffixes=suffixes)
            )
        found.files.extend(path / name for name in names)
        found.failures.extend(failures)
        found.left_out.extend(left_out_lines(tree.left_out, worth_a_warning=False))
    return found


def predict_files(classifier: Classifier, files: Sequence[Path], *, top: int) -> FilePredictions:
    """Predict every file that can be read, `top` classes each."""
    found = FilePredictions([], [])
    with progress(tr("Predicting"), len(files), tr("images")) as advance:
        for block in _read_ahead(classifier, files):
            found.failures.extend(block.failures)
            if block.names:  # all files of a block may be unreadable
                found.predictions.extend(classifier.label(block.names, np.stack(block.pixels), top))
            advance(len(block.names) + len(block.failures))
    return found


@dataclass(frozen=True)
class _Block:
    """Some files after reading: names and pixels of the pictures, and a "file: reason" for each of the others."""

    names: list[str] = field(default_factory=list)
    pixels: list[NDArray[np.uint8]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def _read_ahead(classifier: Classifier, files: Sequence[Path]) -> Iterator[_Block]:
    """Read files in blocks; while one is predicted, a thread reads the next, and only that, to bound the memory."""
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


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that no file system can hold; reading it will say so
        return False
