"""Names of classes that a reader would take for the same."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarlab.images.words import composed, look_alikes, natural_order, split_of, split_rule


@pytest.mark.parametrize(
    "pair",
    [
        ("Cat", "cat"),
        ("cat", "cat "),
        ("hot dog", "hot  dog"),
        ("caf\u00e9", "cafe\u0301"),
        ("cat", "cat\u200b"),
        ("cat", "cat."),
        ("\uff21", "a"),
        ("STRASSE", "stra\u00dfe"),
        ("1", "1.0"),
        ("1", "01"),
        ("-2.5", "-2.50"),
    ],
)
def test_n08_names_that_look_alike(pair):
    assert look_alikes(["dog", *pair, *pair]) == [tuple(sorted(pair))]


@pytest.mark.parametrize(
    "pair", [("cat", "cot"), ("1", "10"), ("1", "-1"), ("1.5", "15"), ("hot_dog", "hotdog"), ("c", "c++")]
)
def test_n08_names_that_differ(pair):
    assert look_alikes(pair) == []


@given(st.text())
def test_n08_every_form_of_a_name_looks_like_it(name):
    forms = {name, f" {name}", *(unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC", "NFKD"))}
    assert look_alikes(forms) == [tuple(sorted(forms))]


USUAL = {
    "train": "train Train TRAIN training Training training_set trainset train_data TrainData seg_train train-images"
    " train2017 1_train",
    "val": "val Val valid Validation validation_set dev eval valSplit val_images",
    "test": "test testing Testing test_set testset test-data seg_test images_test test1",
}


def test_n20_paths_in_the_order_of_numbers():
    names = ["1.png", "02.png", "2.png", "10.png", "a 9/x", "A 10/x", "b", "b1" + 5000 * "0", "b.png", "c/1"]
    assert sorted(sorted(names), key=natural_order) == names


@given(st.lists(st.text(), unique=True))
def test_n20_all_names_have_an_order(names):
    assert sorted(names, key=natural_order) == sorted(sorted(names), key=natural_order)


@pytest.mark.parametrize(("name", "split"), [(name, split) for split, names in USUAL.items() for name in names.split()])
def test_n01_usual_names_of_splits(name, split):
    assert split_of(name) == split_of(f" {name} ") == split


@pytest.mark.parametrize(
    "name", ["", "cat", "data", "set", "trainer", "train_station", "train_val", "trainval", "seg_pred", "contest", "t"]
)
def test_n01_names_that_are_not_splits(name):
    assert split_of(name) is None


def test_n01_names_that_a_user_gives():
    rule = split_rule({"train": "learn", "val": ""})
    assert [rule(name) for name in ("learn", "LEARN", "train", "val", "test")] == ["train", "train", None, None, "test"]


def test_a_name_is_written_in_one_form() -> None:
    assert composed(unicodedata.normalize("NFD", "Käfer/é.png")) == "Käfer/é.png"
    assert composed("k\udcf6ter") == "k\udcf6ter", "bytes that are not UTF-8 stay"
