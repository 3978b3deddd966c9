"""The description of a data set, and images that occur twice."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cifarlab.images.describe import describe, find_duplicates, to_text
from cifarlab.images.images import Images

CLASSES = ("cat", "dog", "bird")


def make(values: list[int], labels: list[int], **options) -> Images:
    """Plain images, one value each."""
    pixels = np.repeat(np.array(values, np.uint8), 3 * 4 * 5).reshape(-1, 3, 4, 5)
    return Images(pixels, np.array(labels, np.int64), CLASSES, **options)


TRAIN = make([1, 2, 3, 2, 2, 9], [0, 1, 0, 1, 0, 1])
TEST = make([5, 2, 9, 9], [0, 1, 1, 0])


def test_d23_duplicates_are_counted():
    found = find_duplicates({"train": TRAIN, "test": TEST})
    assert found.within == {"train": 2, "test": 1}
    assert found.across["train", "test"].tolist() == [[1, 1], [5, 2], [5, 3]]
    assert found.differently_labelled == {("train", "test"): 1}


def test_no_duplicates():
    found = find_duplicates({"train": make([1, 2], [0, 1]), "val": make([3], [0]), "test": make([4], [0])})
    assert found.within == {"train": 0, "val": 0, "test": 0}
    assert [len(pairs) for pairs in found.across.values()] == [0, 0, 0]


def test_images_that_differ_in_one_level_are_no_duplicates():
    almost = TRAIN.pixels.copy()
    almost[:, 2, 3, 4] += 1
    other = Images(almost, TRAIN.labels, CLASSES)
    assert len(find_duplicates({"train": TRAIN, "test": other}).across["train", "test"]) == 0


def test_the_description_can_be_json_and_counts_right():
    card = describe({"train": TRAIN, "test": TEST})
    assert json.loads(json.dumps(card)) == card
    train = card["splits"]["train"]
    assert train["counts"] == {"cat": 3, "dog": 3, "bird": 0} and train["image_size"] == [4, 5]
    assert train["fingerprint"] == TRAIN.fingerprint
    assert train["mean"] == pytest.approx([np.mean([1, 2, 3, 2, 2, 9]) / 255] * 3)
    assert train["std"] == pytest.approx([np.std([1, 2, 3, 2, 2, 9]) / 255] * 3)


def test_d23_and_d16_and_d18_warnings():
    broken = make([5, 2], [0, 1], skipped=("a.png: empty", "b.png: empty"))
    warnings = describe({"train": TRAIN, "test": broken})["warnings"]
    assert warnings == [
        "1 of 2 test images are also in train.",
        "1 classes have no train image: bird.",
        "1 classes have no test image: bird.",
        "2 test images cannot be read: a.png: empty, b.png: empty.",
    ]
    assert "1 of them with another label" in describe({"train": TRAIN, "test": TEST})["warnings"][0]
    whole = Images(TRAIN.pixels[:3], np.arange(3), CLASSES)
    assert describe({"train": whole})["warnings"] == []


def test_the_text_has_every_number():
    card = describe({"train": TRAIN, "test": make([7] * 1234, [0] * 1234, original=True, note="from here")})
    lines = to_text("pets", card).splitlines()
    assert lines[0] == "pets: 3 classes"
    assert [line.split() for line in lines if line.startswith(("cat", "bird"))] == [
        ["cat", "3", "1,234"],
        ["bird", "0", "0"],
    ]
    assert any(line.split()[:3] == ["test", "1,234", "5x4"] for line in lines)
    assert "test pixels: the published ones" in lines and "test images: from here" in lines
    assert "duplicates within: train 2, test 1,233" in lines and "duplicates across: train/test 0" in lines
