from __future__ import annotations

import numpy as np
import pytest

from cifarlab.explanation.heat_map import HeatMap


def heat_map(*rows: list[float]) -> HeatMap:
    return HeatMap("test", "", np.array(rows, np.float32))


def test_enlarging_is_linear_between_the_centres_of_cells() -> None:
    """Cells [0, 2) and [2, 4) have their centres at 1 and 3; pixel centres lie at 0.5, 1.5, 2.5, 3.5."""
    assert heat_map([0, 4]).resized(1, 4).tolist() == [[0, 1, 3, 4]]
    np.testing.assert_allclose(heat_map([0], [4]).resized(4, 2), [[0, 0], [1, 1], [3, 3], [4, 4]])


def test_a_map_of_one_cell_is_the_same_everywhere() -> None:
    np.testing.assert_allclose(heat_map([7]).resized(5, 3), np.full((5, 3), 7), rtol=1e-6)


def test_shuffling_keeps_values_and_size() -> None:
    found = heat_map([1, 2, 3], [4, 5, 6])
    shuffled = found.shuffled(np.random.default_rng(0))
    assert shuffled.size == (2, 3)
    assert sorted(shuffled.values.ravel()) == [1, 2, 3, 4, 5, 6]
    assert not np.array_equal(shuffled.values, found.values)


@pytest.mark.parametrize(("values", "empty"), [([0, 0], True), ([5, 5], True), ([-2, -1], True), ([0, 1], False)])
def test_a_map_that_prefers_no_place_or_has_no_evidence_is_empty(values: list[float], empty: bool) -> None:
    assert heat_map(values).is_empty is empty
