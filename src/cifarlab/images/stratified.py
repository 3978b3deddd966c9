"""Draw a part of labelled images: every class by its share, copies of one image together, and never all of a class.

Copies are common: 3.3 % of CIFAR-10's test images have a near-duplicate in train (Barz and Denzler, 2020). Exact
ones, which a comparison of pixels or bytes finds, would let a network predict from memory.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def first_of_equals(keys: Iterable[Hashable]) -> Ints:
    """For each key the index of the first one that equals it, (N,)."""
    first: dict[Hashable, int] = {}
    return np.array([first.setdefault(key, index) for index, key in enumerate(keys)], np.int64)


def largest_remainder(counts: Ints, total: int) -> Ints:
    """Distribute `total` in proportion to `counts`, (classes,), in whole numbers (Hamilton's method)."""
    # Whole numbers throughout: a quotient in floating point can round a tie to either side, and differently elsewhere.
    scaled = counts.astype(np.int64) * total
    whole, remainders = np.divmod(scaled, max(int(counts.sum()), 1))
    # stable: of equal remainders the first class's counts, on every machine
    extra = np.argsort(-remainders, kind="stable")[: total - int(whole.sum())]
    whole[extra] += 1
    return whole


def draw(labels: Ints, order: Ints, quotas: Ints, equals: Ints) -> NDArray[np.bool_]:
    """Choose quotas[c] images of every class c, the first in `order` that fit, as a mask (N,).

    labels: (N,). order: the indices of the images that may be chosen. equals: (N,), for each image the index of the
    first one that equals it; such copies are chosen together or not at all, which may exceed a quota. At least one
    image of every class is left, which may miss a quota.
    """
    copies: dict[int, list[int]] = defaultdict(list)  # only of images that have any: most have none
    for index in order[np.bincount(equals)[equals[order]] > 1].tolist():
        copies[int(equals[index])].append(index)
    label_of, left = labels.tolist(), np.bincount(labels, minlength=len(quotas)).tolist()
    chosen = np.zeros(len(labels), bool)

    def can_be_spared(group: list[int]) -> bool:
        return all(left[label] > number for label, number in Counter(label_of[index] for index in group).items())

    def choose(group: list[int]) -> None:
        for index in group:
            chosen[index] = True
            left[label_of[index]] -= 1

    for label, quota in enumerate(quotas.tolist()):
        candidates = order[labels[order] == label]
        wanted = quota - int(chosen[candidates].sum())  # copies under two labels may have come with another class
        groups = [copies.get(first, [first]) for first in dict.fromkeys(equals[candidates].tolist())]
        for group in groups:
            if wanted <= 0:
                break
            number = sum(label_of[index] == label for index in group)  # a copy may have another label
            if not chosen[group[0]] and number <= wanted and can_be_spared(group):
                choose(group)
                wanted -= number
        if wanted > 0:  # only groups are left that are larger than what is wanted
            spare = [group for group in groups if not chosen[group[0]] and can_be_spared(group)]
            if spare:
                choose(min(spare, key=len))
    return chosen
