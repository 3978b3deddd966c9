"""Two entries against each other: the difference of their accuracies, its interval and its p-value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cifarlab.evaluation.statistics import (
    Interval,
    corrected_confidence,
    holm,
    mcnemar,
    paired_interval,
    smallest_difference,
    welch,
)
from cifarlab.studies.compare.entry import Entry, Member

LEVEL = 0.05
"""A p-value up to this counts as a difference: the usual 5 %."""


@dataclass(frozen=True)
class ClassDifference:
    """The accuracy of the first on the images of one class, minus that of the second."""

    class_name: str
    first: float
    second: float
    difference: float
    p_value: float | None
    """Corrected by Holm for the number of classes; None for a run and a group, which cannot be tested."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The first entry minus the second, on the same images; the defaults are those of a pair that is not tested."""

    first: str
    second: str
    difference: float
    method: str = "none"
    """McNemar for two runs, Welch for two groups of seeds, none for a run and a group."""
    interval: Interval | None = None
    """As wide as the correction of the p-value demands: it excludes 0 exactly where a difference may be claimed."""
    p_value: float | None = None
    adjusted_p_value: float | None = None
    """Corrected by Holm for the number of pairs."""
    only_first: int | None = None
    """The number of images that only the first classifies correctly; None for groups, whose seeds disagree."""
    only_second: int | None = None
    smallest_difference: float | None = None
    """The difference that a test on these images would show in four of five cases."""
    per_class: tuple[ClassDifference, ...]
    first_wins: tuple[int, ...]
    """Indices of images that the first classifies correctly and the second does not, the most striking ones first."""
    second_wins: tuple[int, ...]

    @property
    def is_different(self) -> bool:
        """Whether a difference may be claimed."""
        return self.adjusted_p_value is not None and self.adjusted_p_value <= LEVEL


def test_pairs(entries: Sequence[Entry]) -> tuple[Pair, ...]:
    """Compare every entry with every other, on images that require_same_data has found to be the same."""
    both = list(combinations(entries, 2))
    found = [_test_pair(first, second) for first, second in both]
    # Ten runs make 45 pairs, of which two would differ at p = 0.05 by luck alone. Holm's correction keeps the chance of
    # one false claim among all of them below 0.05, without assuming that the pairs are independent (they share runs).
    adjusted = iter(holm([pair.p_value for pair in found if pair.p_value is not None]))
    return tuple(
        pair if pair.p_value is None else _corrected(pair, *entries, pair.p_value, next(adjusted))
        for pair, entries in zip(found, both, strict=True)
    )


def _test_pair(first: Entry, second: Entry) -> Pair:
    untested = _untested(first, second)
    if first.is_group and second.is_group:
        # Welch's t-test over the accuracies of the seeds: it generalises to further trainings of the two recipes, as
        # the seeds' spread shows the luck of a training. The variances of the two groups may differ.
        p_values = [
            welch(_accuracies(first, members), _accuracies(second, members)).p_value for _, members in _classes(first)
        ]
        found = welch(first.accuracies, second.accuracies)
        per_class = _class_differences(first, second, p_values)
        return replace(untested, method="Welch", p_value=found.p_value, per_class=per_class)
    if first.is_group or second.is_group:
        return untested  # one training says nothing about the spread of its recipe
    # McNemar's test over the images, for two single trainings: both have seen the same images, and only those on which
    # they disagree tell them apart. It knows nothing of the luck of a training, so it speaks of these two alone.
    mine, theirs = first.members[0], second.members[0]
    only_first, only_second = _discordant(mine, theirs, slice(None))
    num_images = len(mine.correct)
    p_values = [mcnemar(*_discordant(mine, theirs, members)) for _, members in _classes(first)]
    return replace(
        untested,
        method="McNemar",
        p_value=mcnemar(only_first, only_second),
        only_first=only_first,
        only_second=only_second,
        smallest_difference=smallest_difference((only_first + only_second) / num_images, num_images),
        per_class=_class_differences(first, second, p_values),
    )


def _corrected(pair: Pair, first: Entry, second: Entry, p_value: float, adjusted: float) -> Pair:
    # widened as much as Holm has raised the p-value, or an interval without 0 could stand beside "not different"
    confidence = corrected_confidence(p_value, adjusted, LEVEL)
    if pair.only_first is None or pair.only_second is None:
        interval = welch(first.accuracies, second.accuracies, confidence).interval
    else:
        interval = paired_interval(pair.only_first, pair.only_second, len(first.correct), confidence)
    return replace(pair, adjusted_p_value=adjusted, interval=interval)


def _untested(first: Entry, second: Entry) -> Pair:
    return Pair(
        first=first.label,
        second=second.label,
        difference=first.accuracy.value - second.accuracy.value,
        per_class=_class_differences(first, second, None),
        first_wins=_wins(first, second),
        second_wins=_wins(second, first),
    )


def _classes(entry: Entry) -> list[tuple[str, NDArray[np.int64]]]:
    """The classes that have images, each with the indices of its images."""
    member = entry.members[0]
    places = [np.flatnonzero(member.predictions.labels == label) for label in range(len(member.evaluation.class_names))]
    return [(name, each) for name, each in zip(member.evaluation.class_names, places, strict=True) if len(each)]


def _class_differences(first: Entry, second: Entry, p_values: list[float] | None) -> tuple[ClassDifference, ...]:
    classes = _classes(first)
    # a family of tests of its own: they answer which classes differ, once it is known that the runs do
    adjusted = [None] * len(classes) if p_values is None else holm(p_values)
    rows = []
    for (name, members), p_value in zip(classes, adjusted, strict=True):
        mine, theirs = float(first.correct[members].mean()), float(second.correct[members].mean())
        rows.append(ClassDifference(name, mine, theirs, mine - theirs, p_value))
    return tuple(rows)


def _accuracies(entry: Entry, members: NDArray[np.int64]) -> list[float]:
    """The accuracy of every seed on some images."""
    return [float(member.correct[members].mean()) for member in entry.members]


def _discordant(first: Member, second: Member, members: NDArray[np.int64] | slice) -> tuple[int, int]:
    """The numbers of images, among some, that only the first and only the second classifies correctly."""
    mine, theirs = first.correct[members], second.correct[members]
    return int((mine & ~theirs).sum()), int((theirs & ~mine).sum())


def _wins(winner: Entry, loser: Entry) -> tuple[int, ...]:
    """Indices of images that the winner classifies correctly more often, the most striking ones first."""
    margin = winner.correct - loser.correct  # share of seeds; 0 or 1 between single runs
    # by the margin and, where that is equal, by how much more probable the winner found the correct class
    order = np.lexsort((loser.confidence - winner.confidence, -margin))
    return tuple(int(index) for index in order if margin[index] > 0)
