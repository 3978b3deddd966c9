from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.tables import labels
from cifarlab.images.tables.labels import Labels, match, usable_splits

DATA = Path("data")


def numbers(*values: int) -> Labels:
    return labels.numbers("n.parquet", np.array(values, np.int64))


def listed(names: str, *values: int, origin: str = "l.parquet") -> Labels:
    return labels.listed(origin, np.array(values, np.int64), names.split())


def texts(*values: str | None) -> Labels:
    return labels.texts("t.parquet", values)


def matched(**parts: list[Labels]) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    names, codes = match(DATA, parts)
    return names, {split: each.tolist() for split, each in codes.items()}


def test_n03_a_list_in_another_order_is_matched_by_name() -> None:
    assert matched(train=[listed("zebra ant moose", 0, 1, 2)], test=[listed("ant moose zebra", 0, 1, 2)]) == (
        ("zebra", "ant", "moose"),
        {"train": [0, 1, 2], "test": [1, 2, 0]},
    )
    assert matched(train=[listed("a b", 0, 1), listed("b a", 0, 1)])[1] == {"train": [0, 1, 1, 0]}


def test_n03_text_and_numbers_into_a_list_meet_by_name() -> None:
    assert matched(train=[listed("dog cat", 0, 1)], test=[texts("cat", "dog", "cat")]) == (
        ("dog", "cat"),
        {"train": [0, 1], "test": [1, 0, 1]},
    )
    assert matched(train=[texts("b", "a")], val=[texts("a")]) == (("a", "b"), {"train": [1, 0], "val": [0]})


def test_n03_lists_that_differ_are_shown() -> None:
    with pytest.raises(DataError, match="different classes") as caught:
        matched(train=[listed("a b", 0, origin="1.parquet")], test=[listed("a c", 0, origin="2.parquet")])
    assert "1.parquet: a, b." in str(caught.value) and "2.parquet: a, c." in str(caught.value)
    with pytest.raises(DataError, match="different classes"):
        matched(train=[listed("a b", 0)], test=[texts("c")])


def test_n03_numbers_beside_a_list_mean_nothing() -> None:
    with pytest.raises(DataError, match="numbers alone"):
        matched(train=[listed("a b", 0, 1)], test=[numbers(0, 1)])


def test_numbers_alone_are_classes_called_after_them() -> None:
    names = (("0", "2", "10"), {"train": [1, 0, 2], "test": [2]})
    assert matched(train=[numbers(2, 0, 10)], test=[numbers(10)]) == names
    with pytest.raises(DataError, match=r"1 class without an image in train: 3.\nTrain has: 0, 1"):
        matched(train=[numbers(0, 1)], test=[numbers(0, 3)])


def test_a_class_of_a_list_may_have_no_image() -> None:
    assert matched(train=[listed("a b c", 0, 2)])[0] == ("a", "b", "c")


def test_names_are_shown_characters() -> None:
    assert matched(train=[listed("a\ud800 b", 0, 1)])[0] == ("a\\ud800", "b")
    assert matched(train=[texts(" a\x1b[31m ", "b")])[0] == ("a\\x1b[31m", "b")


def test_n08_names_that_look_alike() -> None:
    with pytest.raises(AmbiguousDataError, match="'Cat' and 'cat'"):
        matched(train=[texts("cat", "Cat", "dog")])
    with pytest.raises(AmbiguousDataError, match="'Cat' and 'cat'"):
        match(DATA, {"train": [labels.listed("l", np.array([0, 1]), ["cat", "Cat"])]})


def test_a_list_with_a_name_twice() -> None:
    with pytest.raises(DataError, match="class 'a' comes twice"):
        listed("a b a", 0)


@pytest.mark.parametrize("value", [2, -2])
def test_d14_a_number_beyond_the_list(value: int) -> None:
    with pytest.raises(DataError, match=rf"row 1 has the label {value}; there are 2 classes, 0 to 1\."):
        listed("a b", 0, value)


def test_negative_numbers_are_not_classes() -> None:
    with pytest.raises(DataError, match=r"row 2 has the label -2; labels count from 0"):
        numbers(1, 0, -2)
    assert numbers(5, -1, 2).codes.tolist() == [1, -1, 0], "-1 is how a missing label is written"


def test_columns_that_are_not_labels() -> None:
    with pytest.raises(DataError, match="100,001 different labels"):
        labels.numbers("n.parquet", np.arange(100_001))


def test_n18_splits_without_labels_are_left_out() -> None:
    parts = {
        "train": [listed("a b", 0, 1)],
        "val": [numbers()],
        "test": [listed("a b", -1, -1), texts(None, "", " ")],
    }
    usable, left_out = usable_splits(parts)
    assert usable == {"train": parts["train"]}
    assert left_out == {"empty": ["val"], "without labels": ["test"]}


def test_n18_labels_that_are_missing_in_part() -> None:
    for each in ([texts("a", None)], [listed("a", 0), listed("a", -1)], [numbers(0, -1)]):
        with pytest.raises(DataError, match=r"row [01] has no label \(it is empty or -1\), and 1 of test in all"):
            usable_splits({"train": [listed("a", 0)], "test": each})


@pytest.mark.parametrize(("train", "message"), [(numbers(), "no row has a label"), (numbers(-1), "none of the rows")])
def test_n18_train_needs_labels(train: Labels, message: str) -> None:
    with pytest.raises(DataError, match=message):
        usable_splits({"train": [train], "test": [numbers(0)]})


def test_class_names_name_numbers() -> None:
    names, codes = match(DATA, {"test": [numbers(3, 1)]}, ("a", "b", "c", "d"))
    assert names == ("a", "b", "c", "d") and codes["test"].tolist() == [3, 1]
    with pytest.raises(DataError, match="has 3 names, but data has the label 3: it needs 4"):
        match(DATA, {"test": [numbers(3, 1)]}, ("a", "b", "c"))
    with pytest.raises(DataError, match="names its classes itself: cat"):
        match(DATA, {"test": [texts("cat")]}, ("a", "b"))
