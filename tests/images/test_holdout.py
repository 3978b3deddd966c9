from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifarlab.errors import DataError, UsageError
from cifarlab.images.holdout import hold_out, load_train_and_val
from cifarlab.images.images import Images
from cifarlab.images.source import Source, Understanding
from cifarlab.images.stratified import first_of_equals, largest_remainder
from cifarlab.recipe.schema import ValidationSpec

quick = settings(max_examples=150, derandomize=True, deadline=None, database=None)


@quick
@given(st.lists(st.integers(0, 6), min_size=2, max_size=200), st.data(), st.integers(0, 2**31))
def test_val_and_train_are_an_exact_stratified_partition(labels: list[int], data, seed: int) -> None:
    array = np.array(labels, np.int64)
    size = data.draw(st.integers(0, len(labels) - len(set(labels))))
    train, val = hold_out(array, size, seed)
    assert len(val) == size
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(len(labels)))
    assert (np.diff(train) > 0).all() and (np.diff(val) > 0).all()
    counts = np.bincount(array)
    if (largest_remainder(counts, size) >= counts).any():  # of a class that would lose all, others give its share
        return
    for label, count in enumerate(counts):
        share = Fraction(int(count) * size, len(labels))
        assert abs(np.count_nonzero(array[val] == label) - share) < 1
        order = np.random.default_rng([seed, label]).permutation(count)
        chosen = np.flatnonzero(array == label)[order[: np.count_nonzero(array[val] == label)]]
        assert np.array_equal(np.sort(chosen), val[array[val] == label])


@quick
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=8, max_size=120), st.data())
def test_n16_copies_stay_on_one_side_and_n17_every_class_keeps_an_image(images: list[tuple[int, int]], data) -> None:
    labels, contents = (np.array(column, np.int64) for column in zip(*images, strict=True))
    size = data.draw(st.integers(1, len(images) // 2))
    try:
        train, val = hold_out(labels, size, 0, first_of_equals(contents.tolist()))
    except UsageError:  # not as many can be spared, or an image has two labels and its copies cannot
        kinds = {label: Counter(contents[labels == label].tolist()) for label in set(labels.tolist())}
        spare = sum(kind.total() - min(kind.values()) for kind in kinds.values())
        assert spare < size or sum(map(len, kinds.values())) > len(set(contents.tolist()))
        return
    assert not set(contents[train].tolist()) & set(contents[val].tolist())
    assert set(labels[train].tolist()) == set(labels.tolist()) and len(val) > 0


def test_n16_copies_fill_a_class_s_share_as_well_as_they_can() -> None:
    def numbers(groups: list[int], size: int) -> list[int]:
        equals = np.repeat(np.cumsum([0, *groups[:-1]]), groups)
        labels = np.arange(len(equals)) * 2 // len(equals)
        _, val = hold_out(labels, size, 0, equals)
        return np.bincount(labels[val], minlength=2).tolist()

    assert numbers([1] * 40, 4) == [2, 2]
    assert numbers([3] * 20, 6) == [3, 3]
    assert numbers([3] * 20, 4) == [3, 3]  # the nearest, and never none
    assert numbers([17, 1, 1, 1, 17, 1, 1, 1], 4) == [2, 2]


def test_n17_the_only_image_of_a_class_is_never_held_out() -> None:
    labels = np.array([0, 1, 2, 3, 3, 3, 3, 3, 3, 3])
    for seed in range(20):
        _, val = hold_out(labels, 6, seed)
        assert labels[val].tolist() == [3] * 6
    with pytest.raises(UsageError, match=r"at most 6 can be held out.*\n.*validation\.size = 0"):
        hold_out(labels, 7, 0)
    with pytest.raises(UsageError, match="at most 0 can be held out"):
        hold_out(np.arange(12), 0.1, 0)
    with pytest.raises(UsageError, match="at most 0 can be held out"):  # each class has copies of one image only
        hold_out(np.array([0, 0, 1, 1]), 1, 0, np.array([0, 0, 2, 2]))


def test_cifar_proportions() -> None:
    labels = np.repeat(np.arange(10), 5000)
    for size in (5000, 0.1):
        _, val = hold_out(labels, size, seed=0)
        assert np.bincount(labels[val]).tolist() == [500] * 10


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


@pytest.mark.parametrize(
    ("size", "num_images", "num_val"), [(0.1, 25, 3), (0.1, 35, 4), (0.29, 100, 29), (0.07, 50, 4)]
)
def test_n38_a_fraction_is_met_as_it_was_typed_and_a_half_rounds_up(size: float, num_images: int, num_val: int) -> None:
    assert len(hold_out(np.zeros(num_images, np.int64), size, 0)[1]) == num_val


@pytest.mark.parametrize("size", [10, 11, -1, 0.99, 0.01, -0.5])
def test_sizes_that_leave_nothing(size: float) -> None:
    with pytest.raises(UsageError, match=r"validation\.size"):
        hold_out(np.zeros(10, np.int64), size, 0)


def images(num: int, names: tuple[str, ...] = ("a", "b"), value: int = 0) -> Images:
    pixels = np.full((num, 3, 2, 2), value, np.uint8)
    pixels[:, 2, 1, 1] = np.arange(num)
    return Images(pixels, np.arange(num) % 2, names)


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
    assert len(train) == 20 and (val.pixels[:, 0] == 9).all()


def test_size_zero_trains_on_everything(source) -> None:
    found, asked = source(train=images(20), val=images(6))
    train, val = load_train_and_val(found, ValidationSpec(size=0))
    assert (len(train), val, asked) == (20, None, ["train"])


def test_train_and_val_with_different_classes(source) -> None:
    found, _ = source(train=images(20), val=images(6, ("a", "c")))
    with pytest.raises(DataError, match="different classes: b, c"):
        load_train_and_val(found, ValidationSpec())


def test_n16_copies_are_held_out_together(source) -> None:
    every = images(30)
    every.pixels[:20:2] = every.pixels[1:20:2]
    found, _ = source(train=every)
    train, val = load_train_and_val(found, ValidationSpec(size=0.2))
    assert not set(train.hashes) & set(val.hashes)
    assert np.array_equal(val.hashes, Images(val.pixels, val.labels, ("a", "b")).hashes)


@pytest.mark.parametrize(("names", "labels"), [(("cat",), [0, 0, 0]), (("cat", "dog"), [0, 0, 0])])
def test_n17_one_class_is_nothing_to_tell_apart(source, names: tuple[str, ...], labels: list[int]) -> None:
    found, _ = source(train=Images(np.zeros((3, 3, 2, 2), np.uint8), np.array(labels), names))
    with pytest.raises(DataError, match="all of one class, cat: there is nothing to tell apart"):
        load_train_and_val(found, ValidationSpec(size=0))


def test_n14_one_image_again_and_again_is_nothing_to_learn(source) -> None:
    black = images(6)
    black.pixels[:] = 0
    found, _ = source(train=black)
    with pytest.raises(DataError, match=r"The 6 training images of .* are equal in every pixel: nothing"):
        load_train_and_val(found, ValidationSpec(size=0))
