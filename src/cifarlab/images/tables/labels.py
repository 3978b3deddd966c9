"""Read labels as tables hold them, matched by name: text, indices into a list of names, or plain numbers.

Every file may have its own list in its own order, so a label means the class of that name, never of that number, until
all parts of a data set agree on one order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import count, printable, some
from cifarlab.errors import DataError
from cifarlab.images.folders.listing import class_order, refuse_look_alikes
from cifarlab.images.source import NO_LABELS, NO_ROWS
from cifarlab.language import tr

MAX_CLASSES = 100_000
"""A column with more different values than this holds something else: file names, say, or regression targets."""


@dataclass(frozen=True)
class Labels:
    """The labels of some rows.

    origin: the file, for messages. codes: int64 (N,), indices into `names`; −1 where there is no label. listed: whether
    names is the list of all classes, in the order that the file declares, rather than of those that occur. numbered:
    whether the names are only the numbers that occur.
    """

    origin: str
    codes: NDArray[np.int64]
    names: tuple[str, ...]
    listed: bool = False
    numbered: bool = False

    def __len__(self) -> int:
        return len(self.codes)

    def at(self, rows: NDArray[np.bool_]) -> Labels:
        """Return the labels of these rows; rows: bool (N,)."""
        return Labels(self.origin, self.codes[rows], self.names, self.listed, self.numbered)


def none(origin: str, num_rows: int) -> Labels:
    """Make labels for rows that have none."""
    return Labels(origin, np.full(num_rows, -1, np.int64), (), numbered=True)


def numbers(origin: str, values: NDArray[np.int64]) -> Labels:
    """Make labels of plain numbers, one class for each number that occurs; −1 means that there is no label."""
    # −1 is what Hugging Face's data sets have in test splits whose labels are kept secret; other negative numbers are
    # mistakes.
    if (values < -1).any():
        row = np.flatnonzero(values < -1)[0]
        message = tr("{origin}: row {row} has the label {label}; labels count from 0.")
        raise DataError(message.format(origin=origin, row=row, label=values[row]))
    found = np.unique(values[values >= 0])
    _check_number(origin, len(found))
    # Numbers may have gaps (1, 2, 7), so codes are positions among those found: searchsorted of a sorted, unique array.
    codes = np.where(values < 0, -1, np.searchsorted(found, values)).astype(np.int64)
    return Labels(origin, codes, tuple(map(str, found.tolist())), numbered=True)


def listed(origin: str, values: NDArray[np.int64], names: Sequence[str]) -> Labels:
    """Make labels of indices into a list of class names; −1 means that there is no label."""
    shown = tuple(map(printable, names))
    # Two names that differ only in what is not printable become one here, and would merge their classes.
    if len(set(shown)) < len(shown):
        twice = next(name for name in shown if shown.count(name) > 1)
        raise DataError(tr("{origin}: the class {name!r} comes twice in its list of names.", origin=origin, name=twice))
    wrong = np.flatnonzero((values < -1) | (values >= len(shown)))
    if len(wrong):
        raise DataError(
            tr(
                "{origin}: row {row} has the label {label}; there are {n} classes, 0 to {last}.",
                origin=origin,
                row=wrong[0],
                label=values[wrong[0]],
                n=len(shown),
                last=len(shown) - 1,
            )
        )
    return Labels(origin, values, shown, listed=True)


def texts(origin: str, values: Sequence[str | None]) -> Labels:
    """Make labels of names; None and "" mean that there is no label."""
    # Stripped: "cat " in one row of a table and "cat" in the next are one class to whoever wrote them.
    shown = [printable(value.strip()) if value else "" for value in values]
    names = class_order(set(shown) - {""})
    _check_number(origin, len(names))
    code = {"": -1} | {name: number for number, name in enumerate(names)}
    return Labels(origin, np.array([code[value] for value in shown], np.int64), names)


def usable_splits(parts: Mapping[str, Sequence[Labels]]) -> tuple[dict[str, Sequence[Labels]], dict[str, list[str]]]:
    """Return the splits that can be used, and the reasons for leaving out others: no rows, or labels kept secret.

    Raises DataError for splits in which only some rows have labels, for a train without any, and when nothing is left.
    """
    usable, left_out = dict[str, Sequence[Labels]](), dict[str, list[str]]()
    for split, each in parts.items():
        missing = sum(int((labels.codes < 0).sum()) for labels in each)
        # All or none: labels that are missing here and there are a mistake, not a secret.
        if 0 < missing < sum(map(len, each)):
            labels = next(labels for labels in each if (labels.codes < 0).any())
            row = np.flatnonzero(labels.codes < 0)[0]
            message = tr("{origin}: row {row} has no label (it is empty or -1), and {n:,} of {split} in all.")
            raise DataError(message.format(origin=labels.origin, row=row, n=missing, split=split))
        if missing or not any(map(len, each)):
            left_out.setdefault(NO_LABELS if missing else NO_ROWS, []).append(split)
        else:
            usable[split] = each
    if not usable or ("train" in parts and "train" not in usable):
        split, reason = next((split, reason) for reason, splits in left_out.items() for split in splits)
        message = (
            tr("{files}: no row has a label.") if reason == NO_ROWS else tr("{files}: none of the rows has a label.")
        )
        raise DataError(message.format(files=some([labels.origin for labels in parts[split]], 3)))
    return usable, left_out


def match(
    path: Path, parts: Mapping[str, Sequence[Labels]], given: Sequence[str] = ()
) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """Return the class names of a data set, and the labels of each split as indices into them, int64 (N,).

    parts: the labels of each split, in one or several files, none missing. given: names for the numbers 0, 1, ..., if
    the labels are only numbers. Raises DataError for lists of names that differ, and for classes that train lacks.
    """
    every = [labels for each in parts.values() for labels in each if len(labels)]  # empty files have no say
    # In this order: what the user says, what a file declares, what occurs.
    if given:
        class_names = _given_names(path, every, given)
    elif any(labels.listed for labels in every):
        class_names = _listed_names(every)
    else:
        class_names = _found_names(path, parts)
    refuse_look_alikes(path, class_names)
    # Given names stand for the numbers that the labels have for names.
    keys = map(str, range(len(class_names))) if given else class_names
    rank = {key: number for number, key in enumerate(keys)}
    codes = {}
    for split, each in parts.items():
        # One look-up per class and one gather, instead of a look-up per image.
        places = [np.array([rank[name] for name in labels.names], np.int64) for labels in each]
        codes[split] = np.concatenate([place[labels.codes] for place, labels in zip(places, each, strict=True)])
    return class_names, codes


def class_counts(class_names: Sequence[str], codes: Mapping[str, NDArray[np.int64]]) -> dict[str, dict[str, int]]:
    """Count the images of each class in each split, classes without any included."""
    return {
        split: dict(zip(class_names, np.bincount(each, minlength=len(class_names)).tolist(), strict=True))
        for split, each in codes.items()
    }


def _given_names(path: Path, every: Sequence[Labels], names: Sequence[str]) -> tuple[str, ...]:
    # Names from the user never override those of a file: the two could be in different orders.
    if own := next((labels for labels in every if not labels.numbered), None):
        raise DataError(
            tr(
                "{origin} names its classes itself: {names}.\n"
                "data.class_names (--class-names) is for data whose labels are numbers alone.",
                origin=own.origin,
                names=some(own.names),
            )
        )
    largest = max(int(name) for labels in every for name in labels.names)
    if largest >= len(names):
        raise DataError(
            tr(
                "data.class_names has {n} names, but {path} has the label {largest}: "
                "it needs {want}, for the labels 0 to {largest}.",
                n=len(names),
                path=path,
                largest=largest,
                want=largest + 1,
            )
        )
    return tuple(map(printable, names))


def _listed_names(every: Sequence[Labels]) -> tuple[str, ...]:
    """Return the first list of names, if all files agree with it apart from the order."""
    first = next(labels for labels in every if labels.listed)
    for other in every:
        if other.numbered:
            raise DataError(
                tr(
                    "{first} lists the names of its classes, {other} has numbers alone: what they mean is unknown.",
                    first=first.origin,
                    other=other.origin,
                )
            )
        # A file without a list may lack a class by chance; a list is complete.
        differ = set(other.names) != set(first.names) if other.listed else not set(other.names) <= set(first.names)
        if differ:
            raise DataError(
                tr(
                    "{first} and {other} have different classes.\n{first}: {names}.\n{other}: {others}.",
                    first=first.origin,
                    other=other.origin,
                    names=some(first.names, 20),
                    others=some(other.names, 20),
                )
            )
    return first.names


def _found_names(path: Path, parts: Mapping[str, Sequence[Labels]]) -> tuple[str, ...]:
    """Return the names that occur in train, or in any split if there is no train."""
    used = {split: {name for labels in each for name in labels.names} for split, each in parts.items()}
    learnt = used.get("train", set().union(*used.values()))
    # A class that was never learnt would be wrong in every image: better an error than an accuracy that hides it.
    if foreign := class_order(set().union(*used.values()) - learnt):
        raise DataError(
            tr(
                "{path} has {classes} without an image in train: {names}.\n"
                "Train has: {learnt}. Add images of them to train, or remove them.",
                path=path,
                classes=count(len(foreign), "class", "classes"),
                names=some(foreign),
                learnt=some(class_order(learnt)),
            )
        )
    return class_order(learnt)


def _check_number(origin: str, num_names: int) -> None:
    if num_names > MAX_CLASSES:
        raise DataError(tr("{origin}: {n:,} different labels are not those of classes.", origin=origin, n=num_names))
