"""What a user should know about a data set before believing a number that was measured on it."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import printable, some
from cifarlab.images.images import Images
from cifarlab.images.source import Understanding, left_out_lines

MIN_TRAIN = 10
"""A class with fewer training images is called small: a tenth of them, held out for validation, is less than one."""
MIN_VAL = 100
"""With fewer validation images the chosen epoch is mostly chance: 100 images give an accuracy to within ±10 points."""
IMBALANCE = 3
"""Largest class divided by smallest from which on a warning is due: with two classes, always predicting the larger
one would be right for 75 %."""
SHARED = 0.1
"""Share of a class's distinct images that are in another class too; from here on the two may be one class."""
MIN_SHARED = 3
"""Number of shared images; fewer are probably labelling mistakes."""
REPEATED = 0.05
"""Share of the val or test images that are copies of others; from here on intervals are noticeably too narrow."""

_WORDS = {"train": "training", "val": "validation", "test": "test"}

_NAMED = 5
"""Number of images or classes that a warning names."""

Kind = Literal[
    "one class",
    "two labels",
    "look-alike classes",
    "copies across splits",
    "copies within a split",
    "class without images",
    "small class",
    "imbalance",
    "small validation",
    "unreadable",
    "decoding",
    "flat channel",
    "left out",
]


@dataclass(frozen=True)
class QualityWarning:
    """One questionable thing about a data set, in one to three sentences, with names and counts to go with them."""

    kind: Kind
    text: str
    names: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return {"kind": self.kind, "text": self.text, "names": list(self.names), "counts": dict(self.counts)}


@dataclass(frozen=True)
class Duplicates:
    """Images that are equal in every pixel.

    within: split -> number of images that repeat an earlier one. across: (split, other split) -> int64 (K, 2): one row
    for each image of the other split that is also in the first, its index in the first and its index in the other.
    differently_labelled: (split, other split) -> number of pairs in `across` whose labels differ.
    """

    within: dict[str, int]
    across: dict[tuple[str, str], NDArray[np.int64]]
    differently_labelled: dict[tuple[str, str], int]


def find_duplicates(images: Mapping[str, Images]) -> Duplicates:
    """Compare all images of all splits by their hashes."""
    # dictionaries of hashes take O(N); comparing all pairs of CIFAR-10 would take 1.8 billion comparisons
    hashes = {split: each.hashes.tolist() for split, each in images.items()}
    # reversed, so that of equal images the first one stays in the dictionary
    first = {split: {key: i for i, key in reversed(list(enumerate(keys)))} for split, keys in hashes.items()}
    across, differing = {}, {}
    for a, b in itertools.combinations(images, 2):
        pairs = [(first[a][key], index) for index, key in enumerate(hashes[b]) if key in first[a]]
        found = np.array(pairs, np.int64).reshape(-1, 2)
        across[a, b] = found
        differing[a, b] = int((images[a].labels[found[:, 0]] != images[b].labels[found[:, 1]]).sum())
    within = {split: len(keys) - len(first[split]) for split, keys in hashes.items()}
    return Duplicates(within, across, differing)


def inspect(images: Mapping[str, Images], *, held_out: bool = False, weighted: bool = False) -> list[QualityWarning]:
    """Return warnings about the splits of a data set; without test while that split must not be opened.

    held_out: val was taken out of train, so classes are counted over both. weighted: the recipe already weights the
    classes. The most important warnings come first.
    """
    found = [*_labels(images), *_copies(images)]
    if (train := images.get("train")) is not None:
        counts = train.counts + (images["val"].counts if held_out else 0)
        present = [name for name, count in zip(train.class_names, counts, strict=True) if count]
        if len(present) == 1:
            text = f"All training images are of one class, {printable(present[0])}: there is nothing to tell apart."
            found.insert(0, QualityWarning("one class", text, tuple(present), {"images": int(counts.sum())}))
        found += _sizes(train.class_names, counts, weighted)
    return [*found, *_too_few(images), *_decoding(images)]


def left_out(understanding: Understanding) -> list[QualityWarning]:
    """Warn of parts of a data set that are not used, although they may have been meant to be."""
    lines = left_out_lines(understanding.left_out, worth_a_warning=True)
    counts = {reason: len(names) for reason, names in understanding.left_out.items()}
    return [QualityWarning("left out", f"Left out: {'; '.join(lines)}.", counts=counts)] if lines else []


def _labels(images: Mapping[str, Images]) -> Iterator[QualityWarning]:
    """Warn of images that have several labels, and of classes that share many images."""
    groups = _under_several_labels(images)
    if not groups:
        return
    class_names = next(iter(images.values())).class_names
    names = [
        " = ".join(
            f"{_name(images, split, index)} ({printable(class_names[images[split].labels[index]])})"
            for split, index in group[:2]
        )
        for group in groups
    ]
    what = f"{_count(len(groups), 'image')} {_agree(len(groups), 'has', 'have')}"
    yield QualityWarning(
        "two labels",
        f"{what} more than one label: {some(names, _NAMED)}.",
        tuple(names[:_NAMED]),
        {"different_images": len(groups), "images": sum(map(len, groups))},
    )
    shared: Counter[tuple[int, int]] = Counter()
    for group in groups:
        labels = sorted({int(images[split].labels[index]) for split, index in group})
        shared.update(itertools.combinations(labels, 2))
    for pair, number in shared.most_common():
        # distinct images: a thousand copies of one image count once
        sizes = {
            label: len(set().union(*(set(each.hashes[each.labels == label].tolist()) for each in images.values())))
            for label in pair
        }
        smaller = min(pair, key=lambda label: sizes[label])
        if number >= max(MIN_SHARED, SHARED * sizes[smaller]):
            a, b = (printable(class_names[label]) for label in pair)
            yield QualityWarning(
                "look-alike classes",
                f"The classes {a} and {b} share {number:,} of the {sizes[smaller]:,} distinct images of "
                f"{printable(class_names[smaller])}: they may be one class under two names.",
                (class_names[pair[0]], class_names[pair[1]]),
                {"shared": number, "different_images": sizes[smaller]},
            )


def _under_several_labels(images: Mapping[str, Images]) -> list[list[tuple[str, int]]]:
    """The places (split, index) of each image with several labels: first one place for each label, then the rest."""
    # one array for all splits, so that copies are found across them
    hashes = np.concatenate([each.hashes for each in images.values()])
    labels = np.concatenate([each.labels for each in images.values()])
    _, group_of = np.unique(hashes, return_inverse=True)
    # an image has several labels if the lowest differs from the highest
    lowest, highest = np.full(len(hashes), len(hashes)), np.full(len(hashes), -1)
    np.minimum.at(lowest, group_of, labels)
    np.maximum.at(highest, group_of, labels)
    members: dict[int, list[int]] = defaultdict(list)
    for number in np.flatnonzero((lowest < highest)[group_of]).tolist():
        members[int(group_of[number])].append(number)
    if not members:  # the usual case, which does not need the list of all places
        return []
    places = [(split, index) for split, each in images.items() for index in range(len(each))]
    groups = []
    for numbers in members.values():
        firsts = {int(labels[number]): number for number in reversed(numbers)}.values()
        groups.append([places[number] for number in dict.fromkeys([*sorted(firsts), *numbers])])
    return groups


def _copies(images: Mapping[str, Images]) -> Iterator[QualityWarning]:
    """Warn of images that are in two splits, where a test measures memory, and of copies within val or test."""
    duplicates = find_duplicates(images)
    for (a, b), pairs in duplicates.across.items():
        if not len(pairs):
            continue
        names = [f"{_name(images, b, second)} = {_name(images, a, first)}" for first, second in pairs[:_NAMED].tolist()]
        number, differing = len(pairs), duplicates.differently_labelled[a, b]
        more = f" and {number - len(names):,} more" if number > len(names) else ""
        yield QualityWarning(
            "copies across splits",
            f"{number:,} of {_count(len(images[b]), f'{_WORDS[b]} image')} {_agree(number, 'is', 'are')} also in {a}"
            + (f", {differing:,} of them with another label" if differing else "")
            + f": {', '.join(names)}{more}.",
            tuple(names),
            {"images": number, "differently_labelled": differing, "of": len(images[b])},
        )
    for split, number in duplicates.within.items():
        # an interval assumes independent images; a copy in train is merely trained on twice
        if split != "train" and number >= REPEATED * len(images[split]):
            of_all = _count(len(images[split]), f"{_WORDS[split]} image")
            what = f"{number:,} of {of_all} {_agree(number, 'is a copy of another', 'are copies of others')}"
            yield QualityWarning(
                "copies within a split",
                f"{what}: the interval of an accuracy on them is too narrow.",
                (),
                {"images": number, "of": len(images[split])},
            )


def _sizes(class_names: Sequence[str], counts: NDArray[np.int64], weighted: bool) -> Iterator[QualityWarning]:
    """Warn of classes with few training images, and of classes of very different sizes."""
    # classes without any image have a warning of their own
    present = [(int(count), name) for name, count in zip(class_names, counts, strict=True) if count]
    small = sorted((each for each in present if each[0] < MIN_TRAIN), key=lambda each: each[0])
    if small:
        named = [f"{printable(name)} ({count})" for count, name in small]
        what = f"{len(small):,} of {_count(len(class_names), 'class')} {_agree(len(small), 'has', 'have')}"
        yield QualityWarning(
            "small class",
            f"{what} fewer than {MIN_TRAIN} training images, too few to learn from: {some(named, _NAMED)}.",
            tuple(name for _, name in small[:_NAMED]),
            {"classes": len(small)},
        )
    # the default, for a train split without images, gives no warning
    (most, largest), (fewest, smallest) = max(present, default=(0, "")), min(present, default=(0, ""))
    if most >= IMBALANCE * fewest > 0:
        share = most / int(counts.sum())
        advice = "" if weighted else " and consider training.class_weights = balanced"
        yield QualityWarning(
            "imbalance",
            f"{printable(largest)} has {_count(most, 'training image')}, {printable(smallest)} {fewest:,}: always "
            f"predicting {printable(largest)} would be right for {100 * share:.1f} %. Read the balanced accuracy "
            f"beside the accuracy{advice}.",
            (largest, smallest),
            {"largest": most, "smallest": fewest},
        )


def _too_few(images: Mapping[str, Images]) -> Iterator[QualityWarning]:
    """Warn of classes that have no image in a split, and of too few validation images to choose an epoch by."""
    for split, each in images.items():
        # these classes have no accuracy in this split
        empty = [name for name, count in zip(each.class_names, each.counts, strict=True) if count == 0]
        if empty:
            what = f"{len(empty):,} of {_count(each.num_classes, 'class')} {_agree(len(empty), 'has', 'have')}"
            yield QualityWarning(
                "class without images",
                f"{what} no {_WORDS[split]} image: {some([*map(printable, empty)], _NAMED)}.",
                tuple(empty[:_NAMED]),
                {"classes": len(empty)},
            )
    val = images.get("val")
    if val is not None and 0 < len(val) < MIN_VAL:
        yield QualityWarning(
            "small validation",
            # the 95 % interval of a share near one half, 1.96 * 0.5 / sqrt(n) to either side
            f"The epoch is chosen by {_count(len(val), 'validation image')}, on which an accuracy is known to about "
            f"±{min(100.0, 100 / math.sqrt(len(val))):.0f} points: which epoch is best is mostly chance.",
            (),
            {"images": len(val)},
        )


def _decoding(images: Mapping[str, Images]) -> Iterator[QualityWarning]:
    """Warn of images that cannot be read, of what decoding lost in the others, and of channels without information."""
    for split, each in images.items():
        if each.skipped:
            yield QualityWarning(
                "unreadable",
                f"{_count(len(each.skipped), f'{_WORDS[split]} image')} cannot be read: {some(each.skipped, 3)}.",
                each.skipped[:_NAMED],
                {"images": len(each.skipped)},
            )
    first = next(iter(images.values()))  # the other splits would give the same warnings
    yield from (QualityWarning("decoding", text) for text in first.warnings)
    if flat := first.flat_channels():
        channels = " and ".join(f"the {name} channel is {value}" for name, value in flat.items())
        text = f"In every pixel {channels}: nothing can be learnt from it."
        yield QualityWarning("flat channel", text, tuple(flat), flat)


def _name(images: Mapping[str, Images], split: str, index: int) -> str:
    names = images[split].names
    return f"{split} row {index}" if names is None else printable(names[index])


def _count(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"  # classes, images
    return f"{number:,} {noun if number == 1 else plural}"


def _agree(number: int, singular: str, plural: str) -> str:
    return singular if number == 1 else plural
