from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cifarlab.drawing.grid import GAP, MARGIN
from cifarlab.explanation.deletion import Deletion
from cifarlab.explanation.heat_map import HeatMap
from cifarlab.explanation.image import Evidence
from cifarlab.explanation.render import (
    SIDE,
    enlarged,
    feature_figure,
    filter_figure,
    overlay,
    png_of_pixels,
    shaded,
    verdict,
)

GREY = np.full((3, 32, 32), 100, np.uint8)


def heat_map(values: list[list[float]]) -> HeatMap:
    return HeatMap("Grad-CAM", "layer", np.array(values, np.float32))


def test_enlarging_keeps_hard_edges_and_shrinking_takes_means() -> None:
    checks = np.indices((32, 32)).sum(axis=0) % 2 * np.uint8(200)
    large = enlarged(np.stack([checks] * 3).astype(np.uint8))
    assert large.shape == (3, SIDE, SIDE) and set(np.unique(large)) == {0, 200}
    assert np.array_equal(large[:, ::4, ::4], np.stack([checks] * 3))
    fine = np.indices((256, 256)).sum(axis=0) % 2 * np.uint8(200)
    assert set(np.unique(enlarged(np.stack([fine] * 3).astype(np.uint8)))) == {100}


def test_a_heat_map_is_black_where_nothing_speaks_for_the_class_and_brightest_at_its_maximum() -> None:
    """Of the image's grey of 100, 40 percent stay; inferno begins with (0, 0, 4) and ends with (252, 255, 164.5)."""
    found = overlay(GREY, heat_map([[0, 8], [-8, 4]]))
    assert found[:, 0, 0].tolist() == [40, 40, 42]
    assert found[:, -1, 0].tolist() == [40, 40, 42]
    assert found[:, 0, -1].tolist() == [191, 193, 139]
    assert found[:, 0, -1].sum() > found[:, -1, -1].sum() > found[:, 0, 0].sum()


@pytest.mark.parametrize("values", [[[0, 0]], [[-3, -1]]])
def test_s39_an_empty_map_leaves_the_image_dark(values: list[list[float]]) -> None:
    assert np.unique(overlay(GREY, heat_map(values))).tolist() == [40, 42]


def test_a_feature_map_goes_from_the_darkest_to_the_brightest_colour() -> None:
    """Viridis begins with (68, 1, 84) and ends with (253, 231, 36)."""
    found = shaded(np.array([[-1, 5]], np.float32))
    assert found[:, 0, 0].tolist() == [68, 1, 84] and found[:, 0, -1].tolist() == [253, 231, 36]


def test_s39_a_silent_channel_is_dark() -> None:
    assert (shaded(np.full((4, 4), 7, np.float32)) == np.array([68, 1, 84])[:, None, None]).all()


def test_feature_maps_fill_a_row_per_eight_channels_and_begin_a_new_one_for_each_layer() -> None:
    layers = {"a": np.random.default_rng(0).random((12, 4, 4)), "b$<i>": np.zeros((2, 3, 3))}
    one = feature_figure([(GREY, {name: maps.astype(np.float32) for name, maps in layers.items()})], 10)
    two = feature_figure([(GREY, {"a": np.zeros((8, 4, 4), np.float32)})], 8)
    assert one.height > 3 * SIDE and two.height < 2 * SIDE
    assert one.width > 9 * SIDE


def test_filters_are_grey_where_their_weights_are_zero() -> None:
    filters = np.zeros((2, 3, 1, 1), np.float32)
    filters[1, :, 0, 0] = [0.5, -0.25, 0]
    found = np.asarray(filter_figure(filters))
    middle = MARGIN + 24
    assert found[middle, middle].tolist() == [128, 128, 128]
    assert found[middle, middle + 48 + GAP].tolist() == [255, 64, 128]


def test_a_png_holds_the_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    with Image.open(io.BytesIO(png_of_pixels(pixels)), formats=["PNG"]) as image:
        assert np.array_equal(np.asarray(image).transpose(2, 0, 1), pixels)


@pytest.mark.parametrize(
    ("area", "values", "words"),
    [
        (0.1, [[0, 1]], "beats all 19 random maps (p = 0.05): what it marks matters"),
        (0.6, [[0, 1]], "beats 0 of 19 random maps (p = 1.00): not told apart from chance"),
        (0.1, [[0, 0]], "empty: nothing in it speaks for cat"),
    ],
)
def test_the_verdict_says_whether_the_map_means_anything(area: float, values: list[list[float]], words: str) -> None:
    found = Deletion((area, area), ((0.5, 0.5),) * 19)
    assert verdict(Evidence(heat_map(values), found), "cat") == words
