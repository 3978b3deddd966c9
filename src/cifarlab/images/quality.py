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

from cifarlab.console import printable
from cifarlab.images.images import Images
from cifarlab.images.sentences import SENTENCES
from cifarlab.images.source import Understanding, left_out_lines
from cifarlab.language import in_english

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
    """One questionable thing about a data set, with the facts that its sentence says, as JSON types.

    names, counts: what scripts want to know of it.
    """

    kind: Kind
    facts: Mapping[str, Any]
    names: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """One to three sentences, in the language that is spoken."""
        return SENTENCES[self.kind](**self.facts)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON, with the text in English; `cifarlab.images.sentences.said` says it anew."""
        with in_english():
            text = self.text
        return {
            "kind": self.kind,
            "text": text,
            "names": list(self.names),
            "counts": dict(self.counts),
            "facts": dict(self.facts),
        }


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
            name = present[0]
            found.insert(0, QualityWarning("one class", {"name": name}, (name,), {"images": int(counts.sum())}))
        found += _sizes(train.class_names, counts, weighted)
    return [*found, *_too_few(images), *_decoding(images)]


def left_out(understanding: Understanding) -> list[QualityWarning]:
    """Warn of parts of a data set that are not used, although they may have been meant to be."""
    reasons = {
        reason: [len(names), [*map(printable, names[:_NAMED])]]
        for reason, names in understanding.left_out.items()
        if left_out_lines({reason: names}, worth_a_warning=True)
    }
    counts = {reason: len(names) for reason, names in understanding.left_out.items()}
    return [QualityWarning("left out", {"reasons": reasons}, counts=counts)] if reasons else []


def _labels(images: Mapping[str, Images]) -> Iterator[QualityWarning]:
    """Warn of images that have several labels, and of classes that share many images."""
    groups = _under_several_labels(images)
    if not groups:
        return
    class_names = next(iter(images.values())).class_names

    def label(split: str, index: int) -> str:
        return class_names[int(images[split].labels[index])]

    named = [group[:2] for group in groups[:_NAMED]]
    yield QualityWarning(
        "two labels",
        {
            "num": len(groups),
            "images": [[[_place(images, *place), label(*place)] for place in group] for group in named],
        },
        tuple(
            " = ".join(f"{_name(images, *place)} ({printable(label(*place))})" for place in group) for group in named
        ),
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
            names = (class_names[pair[0]], class_names[pair[1]])
            num = sizes[smaller]
            yield QualityWarning(
                "look-alike classes",
                {"names": list(names), "smaller": class_names[smaller], "shared": number, "num": num},
                names,
                {"shared": number, "different_images": num},
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
        number, differing, of = len(pairs), duplicates.differently_labelled[a, b], len(images[b])
        named = pairs[:_NAMED].tolist()
        yield QualityWarning(
            "copies across splits",
            {
                "num": number,
                "differing": differing,
                "of": of,
                "splits": [b, a],
                "images": [[_place(images, b, second), _place(images, a, first)] for first, second in named],
            },
            tuple(f"{_name(images, b, second)} = {_name(images, a, first)}" for first, second in named),
            {"images": number, "differently_labelled": differing, "of": of},
        )
    for split, number in duplicates.within.items():
        # an interval assumes independent images; a copy in train is merely trained on twice
        of = len(images[split])
        if split != "train" and number >= REPEATED * of:
            facts = {"num": number, "of": of, "split": split}
            yield QualityWarning("copies within a split", facts, (), {"images": number, "of": of})


def _sizes(class_names: Sequence[str], counts: NDArray[np.int64], weighted: bool) -> Iterator[QualityWarning]:
    """Warn of classes with few training images, and of classes of very different sizes."""
    # classes without any image have a warning of their own
    present = [(int(count), name) for name, count in zip(class_names, counts, strict=True) if count]
    small = sorted((each for each in present if each[0] < MIN_TRAIN), key=lambda each: each[0])
    if small:
        named = [[name, count] for count, name in small[:_NAMED]]
        yield QualityWarning(
            "small class",
            {"num": len(small), "of": len(class_names), "fewest": MIN_TRAIN, "classes": named},
            tuple(name for _, name in small[:_NAMED]),
            {"classes": len(small)},
        )
    # the default, for a train split without images, gives no warning
    (most, largest), (fewest, smallest) = max(present, default=(0, "")), min(present, default=(0, ""))
    if most >= IMBALANCE * fewest > 0:
        yield QualityWarning(
            "imbalance",
            {
                "largest": [largest, most],
                "smallest": [smallest, fewest],
                "share": most / int(counts.sum()),
                "weighted": weighted,
            },
            (largest, smallest),
            {"largest": most, "smallest": fewest},
        )


def _too_few(images: Mapping[str, Images]) -> Iterator[QualityWarning]:
    """Warn of classes that have no image in a split, and of too few validation images to choose an epoch by."""
    for split, each in images.items():
        # these classes have no accuracy in this split
        empty = [name for name, count in zip(each.class_names, each.counts, strict=True) if count == 0]
        if empty:
            yield QualityWarning(
                "class without images",
                {"num": len(empty), "of": each.num_classes, "split": split, "names": empty[:_NAMED]},
                tuple(empty[:_NAMED]),
                {"classes": len(empty)},
            )
    val = images.get("val")
    if val is not None and 0 < len(val) < MIN_VAL:
        # the 95 % interval of a share near one half, 1.96 * 0.5 / sqrt(n) to either side
        margin = min(100.0, 100 / math.sqrt(len(val)))
        yield QualityWarning("small validation", {"num": len(val), "margin": margin}, (), {"images": len(val)})


def _decoding(images: Mapping[str, Images]) -> Iterator[QualityWarning]:
    """Warn of images that cannot be read, of what decoding lost in the others, and of channels without information."""
    for split, each in images.items():
        if each.skipped:
            num = len(each.skipped)
            facts = {"num": num, "split": split, "reasons": list(each.skipped[:3])}
            yield QualityWarning("unreadable", facts, each.skipped[:_NAMED], {"images": num})
    first = next(iter(images.values()))  # the other splits would give the same warnings
    yield from (QualityWarning("decoding", {"text": text}) for text in first.warnings)
    if flat := first.flat_channels():
        yield QualityWarning("flat channel", {"values": flat}, tuple(flat), flat)


def _place(images: Mapping[str, Images], split: str, index: int) -> str | list[str | int]:
    names = images[split].names
    return [split, index] if names is None else printable(names[index])


def _name(images: Mapping[str, Images], split: str, index: int) -> str:
    names = images[split].names
    return f"{split} row {index}" if names is None else printable(names[index])
