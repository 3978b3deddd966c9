from __future__ import annotations

import numpy as np

from cifarlab.images.stratified import draw, first_of_equals, largest_remainder


def test_the_first_of_equals_stands_for_all() -> None:
    assert first_of_equals("abcab").tolist() == [0, 1, 2, 0, 1]
    assert first_of_equals([]).tolist() == []


def test_largest_remainder_against_a_published_example() -> None:
    # 100,000 votes for 10 seats: the example with the Hare quota in Wikipedia, "Quota method".
    votes = np.array([47_000, 16_000, 15_800, 12_000, 6_100, 3_100])
    assert largest_remainder(votes, 10).tolist() == [5, 2, 1, 1, 1, 0]


def test_equal_remainders_favour_the_lower_class() -> None:
    assert largest_remainder(np.array([3, 3, 3]), 4).tolist() == [2, 1, 1]
    assert largest_remainder(np.array([0, 0]), 0).tolist() == [0, 0]


def test_n16_a_copy_under_another_label_comes_along_and_counts_there() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    equals = np.array([0, 1, 2, 0, 4, 5])  # the first of class 0 is also the first of class 1
    chosen = draw(labels, np.array([0, 1, 2, 3, 4, 5]), np.array([1, 1]), equals)
    assert np.flatnonzero(chosen).tolist() == [0, 3]


def test_only_what_is_in_the_order_is_chosen() -> None:
    labels = np.zeros(6, np.int64)
    chosen = draw(labels, np.array([5, 3]), np.array([4]), np.arange(6))
    assert np.flatnonzero(chosen).tolist() == [3, 5]
