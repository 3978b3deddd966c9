"""The pictures of a data set with their classes and splits, before any of them is decoded."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from cifarlab.console import count, some
from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.words import SUFFIXES, composed, look_alikes
from cifarlab.language import listed, tr
from cifarlab.recipe.section import SPLITS

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)  # slots: a data set may have millions of these
class ImageFile:
    """A picture on disk: its path, its name relative to the data set, its class, and what `stat` says."""

    path: str
    name: str
    class_name: str
    size_bytes: int
    modified_ns: int
    mode_bits: int

    @classmethod
    def at(cls, path: str, name: str, class_name: str, status: os.stat_result | None) -> ImageFile:
        """Describe one file; without a status it is known to be missing."""
        name = composed(name)  # the same on every system, since splits are drawn by it
        if status is None:  # a list may name it all the same; the error comes, with its name, when it is read
            return cls(path, name, class_name, 0, 0, stat.S_IFREG)
        return cls(path, name, class_name, status.st_size, status.st_mtime_ns, status.st_mode)


@dataclass(frozen=True)
class Listing:
    """A data set before decoding: its classes, and its pictures by split, sorted by class and name.

    own_split: whether cifarlab drew the splits.
    """

    source: Path
    class_names: tuple[str, ...]
    splits: dict[str, list[ImageFile]]
    own_split: bool = False


def sorted_by_split(
    source: Path,
    files: Iterable[ImageFile],
    split_of: Mapping[str, str],
    is_drawn: bool,
    class_names: Sequence[str] = (),
) -> Listing:
    """Order pictures by class and name; the classes are `class_names`, or else those of train.

    Raises DataError where there is no picture, and for classes that only another split has; AmbiguousDataError for
    classes whose names look alike.
    """
    by_split: dict[str, list[ImageFile]] = {split: [] for split in SPLITS}
    for file in files:
        by_split[split_of[file.name]].append(file)
    splits = {split: members for split, members in by_split.items() if members}
    if not splits:
        raise DataError(
            tr(
                "No pictures in {folder}. Looked for {suffixes} in train/<class>/ and test/<class>/, or in <class>/.",
                folder=source,
                suffixes=listed(sorted(SUFFIXES)),
            )
        )
    used = {split: {file.class_name for file in members} for split, members in splits.items()}
    # a folder with a test split alone can still be evaluated: then its own classes count
    learnt = used.get("train", set().union(*used.values()))
    class_names = tuple(class_names) or class_order(learnt)
    # before the next check, which would only say that train lacks "cat" where it has "Cat"
    refuse_look_alikes(source, set(class_names).union(*used.values()))
    if foreign := class_order(set().union(*used.values()) - learnt):
        raise DataError(
            tr(
                "{source} has {classes} without a picture in train: {names}.\n"
                "Train has: {learnt}. Add pictures of them to train, or remove them.",
                source=source,
                classes=count(len(foreign), "class", "classes"),
                names=some(foreign),
                learnt=some(class_order(learnt)),
            )
        )
    rank = {name: number for number, name in enumerate(class_names)}
    for members in splits.values():
        # never the order of the file system: batches are drawn by index, and the fingerprint covers the order
        members.sort(key=lambda file: (rank[file.class_name], file.name))
    return Listing(source, class_names, splits, is_drawn)


def refuse_look_alikes(source: Path, class_names: Iterable[str]) -> None:
    """Raise AmbiguousDataError where a class may be written in two ways."""
    if groups := look_alikes(class_names):
        raise look_alike_error(source, groups)


def look_alike_error(source: Path, groups: Iterable[Iterable[str]]) -> AmbiguousDataError:
    """The error for a class that may be written in two ways; groups: names that look alike."""
    # ascii() shows the difference between an accent that is a part of its letter and one that follows it
    shown = [tr(" and ").join(map(ascii, group)) for group in groups]
    return AmbiguousDataError(
        tr(
            "{source} has classes whose names look alike: {names}.\n"
            "Give one class one name, or classes that differ names that do, too.",
            source=source,
            names=some(shown),
        )
    )


def counts(listing: Listing) -> dict[str, dict[str, int]]:
    """Pictures by split and class, for each class of the data set."""
    found = {split: Counter(file.class_name for file in files) for split, files in listing.splits.items()}
    # a Counter gives 0 for a class that the split lacks: classes keep their numbers in every split
    return {split: {name: number[name] for name in listing.class_names} for split, number in found.items()}


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sort class names: by value when all are numbers, so that 10 follows 9, else by character."""
    unique = set(names)
    if all(_NUMBER.fullmatch(name) for name in unique):
        # Decimal, because int refuses text of more than 4,300 digits and float calls long numbers equal
        return tuple(sorted(unique, key=lambda name: (Decimal(name), name)))
    return tuple(sorted(unique))
