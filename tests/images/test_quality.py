"""What is questionable about a data set, and images that occur twice."""

from __future__ import annotations

import numpy as np
import pytest

from cifarlab.images.images import Images
from cifarlab.images.quality import find_duplicates, inspect

CLASSES = ("cat", "dog", "bird")


def make(values: list[int], labels: list[int], classes: tuple[str, ...] = CLASSES, **options) -> Images:
    """Plain images, one value each."""
    pixels = np.zeros((len(values), 3, 4, 5), np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 2, 3, 4] = np.array(values) % 256, np.array(values) // 256
    pixels[:, 1:, 1, 1] = 1
    return Images(pixels, np.array(labels, np.int64), classes, **options)


def plenty(start: int = 0, counts: tuple[int, ...] = (40, 40, 40), **options) -> Images:
    """So many different images of each class that there is nothing to say."""
    labels = np.repeat(np.arange(3), counts).tolist()
    return make(list(range(start, start + len(labels))), labels, **options)


def texts(kind: str, **splits: Images) -> list[str]:
    return [warning.text for warning in inspect(splits) if warning.kind == kind]


TRAIN = make([1, 2, 3, 2, 2, 9], [0, 1, 0, 1, 0, 1])
TEST = make([5, 2, 9, 9], [0, 1, 1, 0])


def test_d23_duplicates_are_counted() -> None:
    found = find_duplicates({"train": TRAIN, "test": TEST})
    assert found.within == {"train": 2, "test": 1}
    assert found.across["train", "test"].tolist() == [[1, 1], [5, 2], [5, 3]]
    assert found.differently_labelled == {("train", "test"): 1}


def test_no_duplicates() -> None:
    found = find_duplicates({"train": make([1, 2], [0, 1]), "val": make([3], [0]), "test": make([4], [0])})
    assert found.within == {"train": 0, "val": 0, "test": 0}
    assert [len(pairs) for pairs in found.across.values()] == [0, 0, 0]


def test_images_that_differ_in_one_level_are_no_duplicates() -> None:
    almost = TRAIN.pixels.copy()
    almost[:, 2, 3, 4] += 1
    other = Images(almost, TRAIN.labels, CLASSES)
    assert len(find_duplicates({"train": TRAIN, "test": other}).across["train", "test"]) == 0


def test_a_sound_data_set_has_no_warning() -> None:
    assert inspect({"train": plenty(), "val": plenty(200), "test": plenty(400)}) == []


def test_n14_channels_with_one_value_throughout_are_named() -> None:
    train, test = plenty(), plenty(400)
    train.pixels[:, 1:], train.pixels[:, 2], test.pixels[:, 1:] = 0, 7, 0
    [found] = [each for each in inspect({"train": train, "test": test}) if each.kind == "flat channel"]
    assert found.text == (
        "In every pixel the green channel is 0 and the blue channel is 7: nothing can be learnt from it."
    )
    assert found.to_dict()["counts"] == {"green": 0, "blue": 7}


def test_n16_copies_across_splits_are_named_in_pairs() -> None:
    train = plenty(names=tuple(f"train/{number}.png" for number in range(120)))
    test = make([900, 7, 8], [0, 0, 1], names=("test/x.png", "test/y.png", "test/z.png"))
    [found] = [each for each in inspect({"train": train, "test": test}) if each.kind == "copies across splits"]
    assert found.names == ("test/y.png = train/7.png", "test/z.png = train/8.png")
    assert found.text == (
        "2 of 3 test images are also in train, 1 of them with another label: "
        "test/y.png = train/7.png, test/z.png = train/8.png."
    )
    assert found.to_dict()["counts"] == {"images": 2, "differently_labelled": 1, "of": 3}


def test_n16_images_of_a_table_are_named_by_their_rows_and_the_rest_is_counted() -> None:
    [text] = texts("copies across splits", train=plenty(), val=plenty(60, names=tuple(f"v{n}" for n in range(120))))
    assert text.startswith("60 of 120 validation images are also in train, ") and text.endswith(" and 55 more.")
    assert "v0 = train row 60, v1 = train row 61" in text


def test_n16_one_image_under_two_labels_is_told_within_a_split_and_across() -> None:
    names = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    train = make([1, 2, 1, 3], [0, 0, 1, 1], names=names)
    assert texts("two labels", train=train) == ["1 image has more than one label: cat/1.png (cat) = dog/1.png (dog)."]
    [text] = texts("two labels", train=train, test=make([2, 3, 3], [1, 1, 0]))
    assert text.startswith("3 images have more than one label") and "cat/2.png (cat) = test row 0 (dog)" in text
    assert "dog/2.png (dog) = test row 2 (cat)" in text


def test_n16_classes_that_share_a_tenth_of_their_images_may_be_one() -> None:
    values, labels = [*range(60), *range(57, 87)], [0] * 60 + [1] * 30
    assert texts("look-alike classes", train=make(values, labels)) == [
        "The classes cat and dog share 3 of the 30 distinct images of dog: they may be one class under two names."
    ]
    assert texts("look-alike classes", train=make([*values, 90, 91], [*labels, 1, 1])) == []  # less than a tenth
    few = make([1, 2, 1, 2], [0, 0, 1, 1])
    assert texts("look-alike classes", train=few) == [] and texts("two labels", train=few)  # a slip or two


def test_copies_of_test_images_make_the_interval_too_narrow() -> None:
    repeated = make([1, 2, 2, 2], [0, 1, 1, 1])
    assert texts("copies within a split", train=repeated, test=plenty()) == []
    assert texts("copies within a split", test=repeated) == [
        "2 of 4 test images are copies of others: the interval of an accuracy on them is too narrow."
    ]


def test_n17_small_classes_are_named_smallest_first() -> None:
    [text] = texts("small class", train=plenty(counts=(10, 9, 1)))
    assert text == "2 of 3 classes have fewer than 10 training images, too few to learn from: bird (1), dog (9)."
    many = make(list(range(8)), list(range(8)), tuple("abcdefgh"))
    assert texts("small class", train=many)[0].endswith("a (1), b (1), c (1), d (1), e (1) and 3 more.")


@pytest.mark.parametrize(("counts", "is_told"), [((30, 10, 12), True), ((29, 10, 12), False), ((30, 10, 0), True)])
def test_n17_imbalance_is_told_from_three_to_one(counts: tuple[int, int, int], is_told: bool) -> None:
    assert bool(texts("imbalance", train=plenty(counts=counts))) is is_told


def test_n17_imbalance_says_what_always_giving_one_answer_is_worth() -> None:
    train = plenty(counts=(190, 10, 0))
    [text] = texts("imbalance", train=train)
    assert text.startswith("cat has 190 training images, dog 10: always predicting cat would be right for 95.0 %.")
    assert "training.class_weights = balanced" in text
    [found] = [each for each in inspect({"train": train}, weighted=True) if each.kind == "imbalance"]
    assert "class_weights" not in found.text and "balanced accuracy" in found.text


def test_n17_what_is_held_out_counts_as_training_images_and_is_looked_at_by_itself() -> None:
    splits = {"train": plenty(counts=(9, 9, 9)), "val": plenty(300, counts=(1, 1, 0))}
    kinds = {each.kind: each.text for each in inspect(splits, held_out=True)}
    assert "bird (9)" in kinds["small class"] and "cat" not in kinds["small class"]
    assert kinds["class without images"] == "1 of 3 classes has no validation image: bird."
    assert "3 of 3 classes have fewer" in texts("small class", **splits)[0]


@pytest.mark.parametrize(("number", "margin"), [(1, "±100 points"), (4, "±50 points"), (99, "±10 points")])
def test_n17_few_validation_images_are_told_with_what_they_are_worth(number: int, margin: str) -> None:
    val = plenty(500).subset(np.arange(number))
    [text] = texts("small validation", train=plenty(), val=val)
    assert margin in text and "mostly chance" in text
    assert texts("small validation", val=plenty(500).subset(np.arange(100))) == []


def test_n17_one_class_and_classes_without_images() -> None:
    only = make([1, 2], [1, 1])
    assert texts("one class", train=only) == [
        "All training images are of one class, dog: there is nothing to tell apart."
    ]
    assert texts("class without images", train=only, test=plenty()) == [
        "2 of 3 classes have no training image: cat, bird."
    ]
    assert texts("class without images", test=only) == ["2 of 3 classes have no test image: cat, bird."]


def test_d18_images_that_cannot_be_read() -> None:
    broken = plenty(skipped=("a.png: empty", "b.png: empty"))
    assert texts("unreadable", test=broken) == ["2 test images cannot be read: a.png: empty, b.png: empty."]


def test_what_decoding_lost_is_said_once() -> None:
    dark = plenty(warnings=("They are dark.",))
    assert texts("decoding", train=dark, test=plenty(500, warnings=("They are dark, too.",))) == ["They are dark."]


def test_names_from_files_are_shown_and_obeyed_nowhere() -> None:
    classes = ("ca\x1b[2Jt", "dog", "bird")
    train = make([1, 2], [0, 1], classes, names=("a\nb.png", "c.png"))
    found = inspect({"train": train, "test": make([1, 1], [1, 1], classes)})
    assert not any("\x1b" in each.text or "\n" in each.text for each in found)
