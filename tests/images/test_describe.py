"""The description of a data set."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cifarlab.images.describe import describe, to_text
from cifarlab.images.images import Images
from cifarlab.images.quality import inspect

CLASSES = ("cat", "dog", "bird")


def make(values: list[int], labels: list[int], classes: tuple[str, ...] = CLASSES, **options) -> Images:
    """Plain images, one value each."""
    pixels = np.repeat(np.array(values, np.uint8), 3 * 4 * 5).reshape(-1, 3, 4, 5)
    return Images(pixels, np.array(labels, np.int64), classes, **options)


TRAIN = make([1, 2, 3, 2, 2, 9], [0, 1, 0, 1, 0, 1])
TEST = make([5, 2, 9, 9], [0, 1, 1, 0])


def test_the_description_can_be_json_and_counts_right():
    card = describe({"train": TRAIN, "test": TEST})
    assert json.loads(json.dumps(card)) == card
    train = card["splits"]["train"]
    assert train["counts"] == {"cat": 3, "dog": 3, "bird": 0} and train["image_size"] == [4, 5]
    assert train["fingerprint"] == TRAIN.fingerprint
    assert train["mean"] == pytest.approx([np.mean([1, 2, 3, 2, 2, 9]) / 255] * 3)
    assert train["std"] == pytest.approx([np.std([1, 2, 3, 2, 2, 9]) / 255] * 3)
    assert card["warnings"] == [warning.to_dict() for warning in inspect({"train": TRAIN, "test": TEST})]
    assert "copies across splits" in {warning["kind"] for warning in card["warnings"]}


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


def test_n24_pixels_that_nobody_has_published_are_not_mentioned():
    assert "pixels" not in to_text("pets", describe({"train": TRAIN, "test": TEST}))
    known = {split: make([1, 2], [0, 1], original=False) for split in ("train", "test")}
    assert to_text("pets", describe(known)).count("re-encoded") == 1


def test_n24_of_many_classes_the_largest_and_the_smallest_are_shown():
    def lines(num_classes: int) -> list[str]:
        names = tuple(f"class{number:04}" for number in range(num_classes))
        labels = np.repeat(np.arange(num_classes), np.arange(num_classes) % 7 + 1).tolist()
        return to_text("pets", describe({"train": make([0] * len(labels), labels, names)})).splitlines()

    shown = [line.split() for line in lines(1000) if line.startswith("class0")]
    assert [count for _, count in shown] == ["7"] * 20 + ["1"] * 20 and shown[0] == ["class0006", "7"]
    assert "the 20 largest and the 20 smallest of 1,000 classes" in lines(1000)
    assert sum(line.startswith("class0") for line in lines(40)) == 40
