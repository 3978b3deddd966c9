"""Labels as tables hold them, matched by name: text, numbers into a list of names, or numbers alone.

Every file may have a list of its own, in an order of its own, so a label means the class of its name and never its
number, until all parts of a data set agree on one order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import printable, some
from cifarlab.errors import DataError
from cifarlab.images.folders.listing import class_order, refuse_look_alikes
from cifarlab.images.source import NO_LABELS, NO_ROWS

MAX_CLASSES = 100_000
"""More names than that are not those of classes: the column holds something else."""


@dataclass(frozen=True)
class Labels:
    """The labels of some rows: codes, int64 (N,), into `names`; −1 where there is none.

    origin: the file, for messages. listed: whether names is the list of all classes in their order, which the file
    declares; else it holds those that occur. numbered: whether the names are the numbers that occur.
    """

    origin: str
    codes: NDArray[np.int64]
    names: tuple[str, ...]
    listed: bool = False
    numbered: bool = False

    def __len__(self) -> int:
        return len(self.codes)

    def at(self, rows: NDArray[np.bool_]) -> Labels:
        """The labels of these rows."""
        return Labels(self.origin, self.codes[rows], self.names, self.listed, self.numbered)


def none(origin: str, num_rows: int) -> Labels:
    """No labels at all for some rows."""
    return Labels(origin, np.full(num_rows, -1, np.int64), (), numbered=True)


def numbers(origin: str, values: NDArray[np.int64]) -> Labels:
    """Labels that are numbers alone, one class for each number that occurs; −1 means that there is none."""
    if (values < -1).any():
        row = np.flatnonzero(values < -1)[0]
        raise DataError(f"{origin}: row {row} has the label {values[row]}; labels count from 0.")
    found = np.unique(values[values >= 0])
    _check_number(origin, len(found))
    codes = np.where(values < 0, -1, np.searchsorted(found, values)).astype(np.int64)
    return Labels(origin, codes, tuple(map(str, found.tolist())), numbered=True)


def listed(origin: str, values: NDArray[np.int64], names: Sequence[str]) -> Labels:
    """Labels that are numbers into a list of class names; −1 means that there is none."""
    shown = tuple(map(printable, names))
    if len(set(shown)) < len(shown):
        twice = next(name for name in shown if shown.count(name) > 1)
        raise DataError(f"{origin}: the class {twice!r} comes twice in its list of names.")
    wrong = np.flatnonzero((values < -1) | (values >= len(shown)))
    if len(wrong):
        raise DataError(
            f"{origin}: row {wrong[0]} has the label {values[wrong[0]]}; "
            f"there are {len(shown)} classes, 0 to {len(shown) - 1}."
        )
    return Labels(origin, values, shown, listed=True)


def texts(origin: str, values: Sequence[str | None]) -> Labels:
    """Labels that are names; None and "" mean that there is none."""
    shown = [printable(value.strip()) if value else "" for value in values]
    names = class_order(set(shown) - {""})
    _check_number(origin, len(names))
    code = {"": -1} | {name: number for number, name in enumerate(names)}
    return Labels(origin, np.array([code[value] for value in shown], np.int64), names)


def with_labels(
    parts: Mapping[str, Sequence[Labels]],
) -> tuple[dict[str, Sequence[Labels]], dict[str, list[str]]]:
    """The splits that can be used, and why the others are left out: no rows, or labels that are kept secret.

    Raises DataError for splits of which some rows have labels, for a train without any, and where nothing is left.
    """
    usable, left_out = dict[str, Sequence[Labels]](), dict[str, list[str]]()
    for split, each in parts.items():
        missing = sum(int((labels.codes < 0).sum()) for labels in each)
        if 0 < missing < sum(map(len, each)):
            labels = next(labels for labels in each if (labels.codes < 0).any())
            row = np.flatnonzero(labels.codes < 0)[0]
            raise DataError(
                f"{labels.origin}: row {row} has no label (it is empty or -1), and {missing:,} of {split} in all."
            )
        if missing or not any(map(len, each)):
            left_out.setdefault(NO_LABELS if missing else NO_ROWS, []).append(split)
        else:
            usable[split] = each
    if not usable or ("train" in parts and "train" not in usable):
        split, reason = next((split, reason) for reason, splits in left_out.items() for split in splits)
        origins = some([labels.origin for labels in parts[split]], 3)
        raise DataError(f"{origins}: {'no row' if reason == NO_ROWS else 'none of the rows'} has a label.")
    return usable, left_out


def match(
    path: Path, parts: Mapping[str, Sequence[Labels]], given: Sequence[str] = ()
) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """The classes of a data set, and the labels of each split as indices into them.

    parts: the labels of each split, in one or several files, all of them there. given: names for the numbers 0, 1, ...
    of data that holds nothing else. Raises DataError for lists of names that differ, and for classes that train lacks.
    """
    every = [labels for each in parts.values() for labels in each if len(labels)]
    if given:
        class_names = _given(path, every, given)
    elif any(labels.listed for labels in every):
        class_names = _listed(every)
    else:
        class_names = _found(path, parts)
    refuse_look_alikes(path, class_names)
    rank = {name: number for number, name in enumerate(class_names)}
    return class_names, {
        split: np.concatenate([_renumbered(labels, rank, bool(given)) for labels in each])
        for split, each in parts.items()
    }


def count(class_names: Sequence[str], codes: Mapping[str, NDArray[np.int64]]) -> dict[str, dict[str, int]]:
    """How many images each class has in each split."""
    return {
        split: dict(zip(class_names, np.bincount(each, minlength=len(class_names)).tolist(), strict=True))
        for split, each in codes.items()
    }


def _renumbered(labels: Labels, rank: Mapping[str, int], by_number: bool) -> NDArray[np.int64]:
    places = [int(name) if by_number else rank[name] for name in labels.names]
    return np.array(places, np.int64)[labels.codes]


def _given(path: Path, every: Sequence[Labels], names: Sequence[str]) -> tuple[str, ...]:
    if own := next((labels for labels in every if not labels.numbered), None):
        raise DataError(
            f"{own.origin} names its classes itself: {some(own.names)}.\n"
            "data.class_names (--class-names) is for data whose labels are numbers alone."
        )
    largest = max(int(name) for labels in every for name in labels.names)
    if largest >= len(names):
        raise DataError(
            f"data.class_names has {len(names)} names, but {path} has the label {largest}: "
            f"it needs {largest + 1}, for the labels 0 to {largest}."
        )
    return tuple(map(printable, names))


def _listed(every: Sequence[Labels]) -> tuple[str, ...]:
    """The first list of names, when all files agree with it but for the order."""
    first = next(labels for labels in every if labels.listed)
    for other in every:
        if other.numbered:
            raise DataError(
                f"{first.origin} lists the names of its classes, {other.origin} has numbers alone: "
                "what they mean is unknown."
            )
        differ = set(other.names) != set(first.names) if other.listed else not set(other.names) <= set(first.names)
        if differ:
            raise DataError(
                f"{first.origin} and {other.origin} have different classes.\n"
                f"{first.origin}: {some(first.names, 20)}.\n{other.origin}: {some(other.names, 20)}."
            )
    return first.names


def _found(path: Path, parts: Mapping[str, Sequence[Labels]]) -> tuple[str, ...]:
    """The names that occur in train, or anywhere where there is no train."""
    used = {split: {name for labels in each for name in labels.names} for split, each in parts.items()}
    learnt = used.get("train", set().union(*used.values()))
    if foreign := class_order(set().union(*used.values()) - learnt):
        raise DataError(
            f"{path} has {len(foreign)} classes without an image in train: {some(foreign)}.\n"
            f"Train has: {some(class_order(learnt))}. Add images of them to train, or remove them."
        )
    return class_order(learnt)


def _check_number(origin: str, num_names: int) -> None:
    if num_names > MAX_CLASSES:
        raise DataError(f"{origin}: {num_names:,} different labels are not those of classes.")
