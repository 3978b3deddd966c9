"""Train and test for pictures that come without: drawn once, stratified by class, and kept.

Pictures added later are dealt out among themselves, so that none that was in train ever moves to test.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from cifarlab.console import log, printable, some
from cifarlab.errors import DataError, MachineError
from cifarlab.files import write_atomic
from cifarlab.images.folders import columns
from cifarlab.images.folders.listing import ImageFile
from cifarlab.images.folders.text_table import read_table, shown
from cifarlab.images.words import SPLIT_NAMES, split_of

FILE_NAME = "splits.csv"
"""Columns image and split. In the cache folder it is ours; in the data set's folder the user's, and wins."""

_COLUMNS = ("image", "split")

TEST_FRACTION = 0.2
SEED = 0
"""Fixed: everybody who loads the same pictures gets the same test split."""


def assign(files: Iterable[ImageFile], own_file: Path | None, kept_file: Path | None) -> dict[str, str]:
    """Name the split of each picture: as the user's file says, else as kept, else drawn and kept.

    Without a place to keep it the split is only drawn. Raises DataError for a user's file that does not fit.
    """
    classes = {file.name: file.class_name for file in files}
    if own_file is not None and own_file.is_file():
        return _as_written(own_file, classes)
    kept = _read(kept_file) if kept_file is not None and kept_file.is_file() else {}
    splits = draw(classes, kept)
    if kept_file is not None and splits.keys() - kept.keys():
        _keep(kept_file, kept | splits)
    return splits


def draw(classes: Mapping[str, str], kept: Mapping[str, str]) -> dict[str, str]:
    """Give each picture (name -> class) a split, leaving those in `kept` where they are.

    In every class TEST_FRACTION of the pictures are for testing, at least one where there are two: the ones
    with the smallest hash of seed and name.
    """
    by_class: dict[str, list[str]] = defaultdict(list)
    for name, class_name in classes.items():
        by_class[class_name].append(name)
    splits = {name: kept[name] for name in classes if name in kept}
    for names in by_class.values():
        new = sorted((name for name in names if name not in kept), key=_rank)
        wanted = max(round(TEST_FRACTION * len(names)), int(len(names) > 1))
        there = sum(kept.get(name) == "test" for name in names)
        num_test = max(wanted - there, 0)
        splits.update({name: "test" if place < num_test else "train" for place, name in enumerate(new)})
    return splits


def _rank(name: str) -> bytes:
    return hashlib.sha256(f"{SEED}/{name}".encode("utf-8", "surrogateescape")).digest()


def _as_written(path: Path, classes: Mapping[str, str]) -> dict[str, str]:
    table = read_table(path, columns.fits(needed=_COLUMNS))
    places = columns.find(table, needed=_COLUMNS)
    splits, problems = dict[str, str](), list[str]()
    for line, name, word in zip(table.lines, *(table.column(places[each]) for each in _COLUMNS), strict=True):
        known = name if name in classes else os.path.normpath(name.replace("\\", "/"))
        split = split_of(word)
        if split is None or known in splits:
            problem = f"has the split '{shown(word)}'" if split is None else "names a picture again"
            problems.append(f"line {line} ({shown(name)}) {problem}")
        splits[known] = split or ""
    if problems:
        raise DataError(
            f"{path} cannot be used: {some(problems)}.\nCorrect these rows; a split is one of {', '.join(SPLIT_NAMES)}."
        )
    absent, extra = sorted(classes.keys() - splits.keys()), sorted(splits.keys() - classes.keys())
    if absent or extra:
        parts = [f"{len(absent)} pictures are not in it: {some([*map(printable, absent)], 3)}"] if absent else []
        parts += [f"{len(extra)} lines name no picture: {some([*map(printable, extra)], 3)}"] if extra else []
        raise DataError(
            f"{path} does not fit its folder: {'; '.join(parts)}.\n"
            "Complete it, or delete it to have the pictures split by us."
        )
    return splits


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file, strict=True))
        splits = {row["image"]: _split(row["split"]) for row in rows}
    except (OSError, csv.Error, KeyError, ValueError) as error:
        raise DataError(
            f"{path} cannot be used: {error!r}.\nIt needs the columns image and split; "
            f"a split is one of {', '.join(SPLIT_NAMES)}."
        ) from error
    if len(splits) < len(rows):
        raise DataError(f"{path} names {len(rows) - len(splits)} pictures more than once.\nName each of them once.")
    return splits


def _split(text: str) -> str:
    split = split_of(text)
    if split is None:
        raise ValueError(f"{text!r} is not a split")
    return split


def _keep(path: Path, splits: Mapping[str, str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "split"))
    writer.writerows(sorted(splits.items()))
    try:
        write_atomic(path, text.getvalue().encode("utf-8", "surrogateescape"))
    except (MachineError, OSError) as error:
        log.warning(
            "Cannot keep the split into train and test (%s). It stays the same as long as the pictures do.",
            str(error).splitlines()[0],
        )
