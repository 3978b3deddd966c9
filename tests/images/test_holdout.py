from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifarlab.errors import DataError, UsageError
from cifarlab.images.holdout import hold_out, largest_remainder, load_train_and_val
from cifarlab.images.images import Images
from cifarlab.images.source import Source, Understanding
from cifarlab.recipe import ValidationSpec

quick = settings(max_examples=150, derandomize=True, deadline=None, database=None)


@quick
@given(st.lists(st.integers(0, 6), min_size=2, max_size=200), st.data(), st.integers(0, 2**31))
def test_val_and_train_are_an_exact_stratified_partition(labels: list[int], data, seed: int) -> None:
    array = np.array(labels, np.int64)
    size = data.draw(st.integers(0, len(labels) - 1))
    train, val = hold_out(array, size, seed)
    assert len(val) == size
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(len(labels)))
    assert (np.diff(train) > 0).all() and (np.diff(val) > 0).all()
    for label in range(7):
        share = Fraction(labels.count(label) * size, len(labels))
        assert abs(np.count_nonzero(array[val] == label) - share) < 1


def test_cifar_proportions() -> None:
    labels = np.repeat(np.arange(10), 5000)
    for size in (5000, 0.1):
        _, val = hold_out(labels, size, seed=0)
        assert np.bincount(labels[val]).tolist() == [500] * 10


def test_largest_remainder_against_a_published_example() -> None:
    # 100,000 votes for 10 seats: the example with the Hare quota in Wikipedia, "Quota method".
    votes = np.array([47_000, 16_000, 15_800, 12_000, 6_100, 3_100])
    assert largest_remainder(votes, 10).tolist() == [5, 2, 1, 1, 1, 0]


def test_equal_remainders_favour_the_lower_class() -> None:
    assert largest_remainder(np.array([3, 3, 3]), 4).tolist() == [2, 1, 1]
    assert largest_remainder(np.array([0, 0]), 0).tolist() == [0, 0]


def test_seed_alone_decides() -> None:
    labels = np.random.default_rng(0).integers(0, 10, 500)
    first, again, other = (hold_out(labels, 50, seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_choice_is_uniform() -> None:
    labels = np.zeros(20, np.int64)
    times = np.zeros(20)
    for seed in range(400):
        times[hold_out(labels, 5, seed)[1]] += 1
    # 100 expected each; the variance of a binomial with n = 400, p = 1/4 is 75.
    assert np.abs(times - 100).max() < 5 * 75**0.5


def test_a_class_without_images_has_none_in_val() -> None:
    labels = np.array([0] * 10 + [2] * 10)
    _, val = hold_out(labels, 4, 0)
    assert np.bincount(labels[val], minlength=3).tolist() == [2, 0, 2]


@pytest.mark.parametrize("size", [10, 11, -1, 0.99, 0.01, -0.5])
def test_sizes_that_leave_nothing(size: float) -> None:
    with pytest.raises(UsageError, match=r"validation\.size"):
        hold_out(np.zeros(10, np.int64), size, 0)


def images(num: int, names: tuple[str, ...] = ("a", "b"), value: int = 0) -> Images:
    return Images(np.full((num, 3, 2, 2), value, np.uint8), np.arange(num) % 2, names)


@pytest.fixture
def source(monkeypatch):
    """Replace the sources: a function that sets what they hold and returns the list of splits read."""
    asked: list[str] = []

    def hold(**held: Images) -> list[str]:
        def load(split: str) -> Images:
            asked.append(split)
            return held[split]

        found = Source(Path("x"), Understanding("folder", "", tuple(held)), load)
        return found, asked

    return hold


def test_val_is_held_out_of_train_and_test_is_never_read(source) -> None:
    found, asked = source(train=images(20), test=images(5))
    train, val = load_train_and_val(found, ValidationSpec(size=0.2))
    assert (len(train), len(val), asked) == (16, 4, ["train"])


def test_the_sources_own_val_wins(source) -> None:
    found, _ = source(train=images(20), val=images(6, value=9), test=images(5))
    train, val = load_train_and_val(found, ValidationSpec(size=0.2))
    assert len(train) == 20 and (val.pixels == 9).all()


def test_size_zero_trains_on_everything(source) -> None:
    found, asked = source(train=images(20), val=images(6))
    train, val = load_train_and_val(found, ValidationSpec(size=0))
    assert (len(train), val, asked) == (20, None, ["train"])


def test_train_and_val_with_different_classes(source) -> None:
    found, _ = source(train=images(20), val=images(6, ("a", "c")))
    with pytest.raises(DataError, match="different classes: b, c"):
        load_train_and_val(found, ValidationSpec())
