from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cifarlab.explanation.deletion import Deletion, deleted, deletion
from cifarlab.explanation.heat_map import HeatMap

SIZE = 8
WHITE = np.full((3, SIZE, SIZE), 255, np.uint8)
BLACK = np.zeros(3, np.uint8)


def heat_map(values: NDArray[np.floating]) -> HeatMap:
    return HeatMap("test", "", np.asarray(values, np.float32))


def share_of(weights: NDArray[np.float64]):
    """A score that adds up the weights of the pixels that are still white."""
    return lambda pixels: ((pixels[:, 0] / 255.0) * weights).sum(axis=(1, 2)).astype(np.float32)


def test_pixels_go_in_the_order_of_the_map_an_eighth_at_a_time() -> None:
    importance = np.random.default_rng(0).permutation(64).reshape(SIZE, SIZE)
    images = deleted(WHITE, heat_map(importance), BLACK, np.random.default_rng(0))
    assert images.shape == (7, 3, SIZE, SIZE) and images.dtype == np.uint8
    for step, image in enumerate(images, start=1):
        assert np.array_equal(image == 0, np.broadcast_to(importance >= 64 - 8 * step, image.shape))


def test_the_curve_of_an_additive_score_is_what_the_deleted_pixels_leave() -> None:
    weights = np.arange(64.0).reshape(SIZE, SIZE) / np.arange(64).sum()
    found = deletion(share_of(weights), WHITE, heat_map(weights), BLACK)
    expected = [weights.ravel()[: 64 - 8 * step].sum() for step in range(9)]
    np.testing.assert_allclose(found.curve, expected, atol=1e-6)
    assert found.area == pytest.approx(np.trapezoid(expected, dx=1 / 8), abs=1e-6)
    assert found.num_beaten == 19 and found.p_value == 1 / 20


def test_the_opposite_of_the_best_map_beats_no_random_one() -> None:
    weights = np.arange(64.0).reshape(SIZE, SIZE) / np.arange(64).sum()
    found = deletion(share_of(weights), WHITE, heat_map(-weights), BLACK)
    assert found.num_beaten == 0 and found.p_value == 1
    assert found.area > found.random_area


def test_where_every_pixel_counts_alike_every_map_scores_one_half() -> None:
    weights = np.full((SIZE, SIZE), 1 / 64)
    found = deletion(share_of(weights), WHITE, heat_map(np.eye(SIZE)), BLACK)
    np.testing.assert_allclose([found.area, found.random_area], 0.5, atol=1e-6)
    np.testing.assert_allclose(found.random_curve, np.linspace(1, 0, 9), atol=1e-6)
    assert found.num_beaten <= 19


def test_a_map_that_knows_nothing_beats_half_of_the_random_ones() -> None:
    """Over many such maps p is uniform over 1/20, ..., 1: the mean number of beaten maps is 9.5, sd 5.8."""
    random = np.random.default_rng(1)
    weights = random.exponential(size=(SIZE, SIZE))
    score = share_of(weights / weights.sum())
    beaten = [
        deletion(score, WHITE, heat_map(random.random((4, 4))), BLACK, seed=seed).num_beaten for seed in range(200)
    ]
    assert abs(np.mean(beaten) - 9.5) < 4 * 5.8 / np.sqrt(200)
    assert np.mean(np.array(beaten) == 19) < 0.12


def test_the_same_seed_gives_the_same_random_maps() -> None:
    score = share_of(np.random.default_rng(2).random((SIZE, SIZE)))
    first, again, other = (deletion(score, WHITE, heat_map(np.eye(4)), BLACK, seed=seed) for seed in (0, 0, 1))
    assert first == again and first.random_curves != other.random_curves


def test_s39_a_constant_map_is_finite_and_no_better_than_chance() -> None:
    score = share_of(np.random.default_rng(3).random((SIZE, SIZE)))
    found = [deletion(score, WHITE, heat_map(np.zeros((4, 4))), BLACK, seed=seed) for seed in range(20)]
    assert all(np.isfinite(each.area) for each in found)
    assert 3 < np.mean([each.num_beaten for each in found]) < 16


def test_s39_an_image_of_the_deleting_colour_stays_as_it_is() -> None:
    black = np.zeros_like(WHITE)
    found = deletion(lambda pixels: np.full(len(pixels), 0.25, np.float32), black, heat_map(np.eye(4)), BLACK)
    assert found.area == found.random_area == 0.25 and found.num_beaten == 0


def test_s39_one_pixel_is_deleted_at_once() -> None:
    found = deletion(share_of(np.ones((1, 1))), WHITE[:, :1, :1], heat_map(np.ones((1, 1))), BLACK)
    assert found.curve == (1, 0, 0, 0, 0, 0, 0, 0, 0)


def test_numbers_of_a_curve_by_hand() -> None:
    """Trapezia of width 1/2: (1 + 0.5) / 4 + (0.5 + 0) / 4 = 0.5; a tie counts against the map."""
    found = Deletion((1.0, 0.5, 0.0), ((1.0, 1.0, 0.0), (1.0, 0.0, 0.0), (1.0, 0.5, 0.0)))
    assert found.area == 0.5 and found.random_area == 0.5
    assert found.random_curve == (1.0, 0.5, 0.0)
    assert found.num_beaten == 1 and found.p_value == 0.75
