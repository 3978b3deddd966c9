"""Where images, frames and words stand in a grid."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from cifarlab.drawing.grid import (
    FRAME,
    GAP,
    INK,
    MARGIN,
    PAPER,
    RIGHT,
    WIDE_GAP,
    WRONG,
    class_grid,
    description,
    render_grid,
    to_png,
)
from cifarlab.images.images import Images

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(60, 200, (5, 3, 8, 6), dtype=np.uint8)  # no ink and no paper among them


def drawn(*args, **options) -> np.ndarray:
    return np.array(render_grid(*args, **options))


def enlarged(image: np.ndarray, scale: int) -> np.ndarray:
    return image.transpose(1, 2, 0).repeat(scale, axis=0).repeat(scale, axis=1)


def test_bare_images_are_enlarged_with_hard_edges_and_nothing_else_is_drawn():
    array = drawn(PIXELS, (), 3, scale=4)
    assert array.shape == (2 * MARGIN + 2 * 32 + GAP, 2 * MARGIN + 3 * 24 + 2 * GAP, 3)
    for index, image in enumerate(PIXELS):
        top, left = MARGIN + index // 3 * (32 + GAP), MARGIN + index % 3 * (24 + GAP)
        assert np.array_equal(array[top : top + 32, left : left + 24], enlarged(image, 4))
        array[top : top + 32, left : left + 24] = PAPER
    assert (array == 255).all()


def test_few_images_need_no_empty_columns():
    assert drawn(PIXELS[:2], (), 10, scale=1).shape[1] == 2 * MARGIN + 2 * 6 + GAP


def test_right_and_wrong_differ_in_colour_and_in_shape():
    array = drawn(PIXELS[:2], (), 2, scale=8, marks=[True, False])
    second = MARGIN + 48 + WIDE_GAP
    assert tuple(array[MARGIN + 5, MARGIN - FRAME]) == RIGHT and tuple(array[MARGIN + 5, second - 1]) == WRONG
    assert np.array_equal(array[MARGIN : MARGIN + 64, MARGIN : MARGIN + 48], enlarged(PIXELS[0], 8))
    crossed = array[MARGIN : MARGIN + 64, second : second + 48] != enlarged(PIXELS[1], 8)
    assert crossed.any() and not crossed[:, :36].any() and not crossed[16:].any()


def test_captions_stand_below_their_image():
    bare = drawn(PIXELS, (), 5, scale=8, marks=None)
    captioned = drawn(PIXELS, ["", "", "word", "", ""], 5, scale=8)
    ink = np.argwhere((captioned < 120).all(axis=2))
    left = MARGIN + 2 * (48 + WIDE_GAP)
    below = ink[ink[:, 0] >= MARGIN + 64]
    assert len(below) and below[:, 1].min() >= left - WIDE_GAP / 2 and below[:, 1].max() < left + 48 + WIDE_GAP / 2
    assert captioned.shape[0] > bare.shape[0]


def test_two_lines_need_more_room_than_one_and_long_words_are_cut():
    one, two = (drawn(PIXELS, [text] * 5, 5, scale=8) for text in ("a", "a\nb"))
    assert two.shape[0] > one.shape[0]
    long = drawn(PIXELS, ["w" * 500] + [""] * 4, 5, scale=8)
    assert long.shape == one.shape
    assert (long[MARGIN + 64 :, MARGIN + 48 + WIDE_GAP :] == 255).all()  # it stays below its own image


def test_row_labels_stand_at_the_left_of_their_row():
    array = drawn(PIXELS[:4], (), 2, scale=8, row_labels=["", "cat"])
    width = array.shape[1] - (2 * MARGIN + 2 * 48 + GAP)
    label = array[:, : MARGIN + width - GAP]
    rows = np.argwhere((label < 200).all(axis=2))[:, 0]
    assert rows.min() >= MARGIN + 64 + GAP and rows.max() < MARGIN + 2 * 64 + GAP
    assert label.min() == INK[0]


@pytest.mark.parametrize(
    "options",
    [
        {"pixels": PIXELS[:0]},
        {"scale": 0},
        {"captions": ["a"]},
        {"marks": [True]},
        {"row_labels": ["a"]},
    ],
)
def test_what_does_not_fit_is_refused(options):
    usual = {"pixels": PIXELS, "captions": (), "columns": 3, "scale": 2}
    with pytest.raises(ValueError, match=r"laid out|one per"):
        render_grid(**(usual | options))


def test_examples_of_every_class():
    labels = np.array([0] * 30 + [2] * 2, np.int64)
    pixels = np.repeat(np.arange(60, 92, dtype=np.uint8), 3 * 32 * 32).reshape(-1, 3, 32, 32)
    array = np.asarray(class_grid(Images(pixels, labels, ("many", "none", "few")), per_class=4))
    left = array.shape[1] - MARGIN - 4 * 96 - 3 * GAP
    values = array[[MARGIN + 5, MARGIN + 96 + GAP + 5]][:, [left + 5 + k * (96 + GAP) for k in range(4)], 0]
    assert values.tolist() == [[60, 70, 79, 89], [90, 91, 255, 255]]
    assert array.shape[0] == 2 * MARGIN + 2 * 96 + GAP


def test_a_data_set_without_images_has_no_examples():
    with pytest.raises(ValueError, match="0 images"):
        class_grid(Images(np.empty((0, 3, 4, 4), np.uint8), np.empty(0, np.int64), ("a",)))


# What a grid says about itself


def reopened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content), formats=["PNG"])


def test_a_grid_in_a_file_says_what_is_in_it():
    captions = ["a\nb", "", "<c>", "d", "e"]
    grid = render_grid(PIXELS, captions, 3, scale=2, marks=[True] * 4 + [False], row_labels=["x", "y"])
    found = description(reopened(to_png(grid)))
    assert (found.columns, found.captions, found.row_labels) == (3, captions, ["x", "y"])
    assert found.marks == [True] * 4 + [False]
    for image, box in zip(PIXELS[:4], found.boxes, strict=False):  # the last one has a cross in it
        assert np.array_equal(np.array(grid.crop(box)), enlarged(image, 2))


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": 0},
        {"boxes": []},
        {"boxes": [[0, 0, 9999, 8]] * 5},
        {"boxes": [[5, 0, 4, 8]] * 5},
        {"boxes": [[0, 0, 4, 8]] * 2000},
        {"captions": ["a"]},
        {"marks": [True]},
        {"row_labels": ["x"]},
        {"columns": "many"},
    ],
)
def test_a_description_that_does_not_fit_is_not_believed(changes):
    grid = render_grid(PIXELS, (), 3, scale=2)
    ((keyword, text),) = grid.info.items()
    assert description(grid) is not None
    grid.info[keyword] = json.dumps({**json.loads(text), **changes})
    assert description(reopened(to_png(grid))) is None


def test_a_picture_that_is_no_grid_has_no_description():
    assert description(reopened(to_png(Image.new("RGB", (4, 4))))) is None
