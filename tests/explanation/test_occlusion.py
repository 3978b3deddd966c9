from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cifarlab.explanation.occlusion import occlusion

SIZE = 8
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)
WEIGHTS = RANDOM.normal(size=(3, SIZE, SIZE))
FILL = np.array([10, 200, 30], np.uint8)


def linear(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (pixels * WEIGHTS).sum(axis=(1, 2, 3)).astype(np.float32)


def shares() -> NDArray[np.float64]:
    """What each pixel adds to the linear score, compared with the covering colour: (SIZE, SIZE)."""
    return (WEIGHTS * (PIXELS.astype(float) - FILL[:, None, None])).sum(axis=0)


def test_one_pixel_at_a_time_gives_each_pixels_share_of_a_linear_score() -> None:
    found = occlusion(linear, PIXELS, FILL, cells=SIZE, patch=(1, 1))
    np.testing.assert_allclose(found.values, shares(), atol=1e-2)


def test_a_patch_as_wide_as_a_cell_adds_up_the_shares_in_it() -> None:
    found = occlusion(linear, PIXELS, FILL, cells=4, patch=(2, 2))
    np.testing.assert_allclose(found.values, shares().reshape(4, 2, 4, 2).sum(axis=(1, 3)), atol=1e-2)


def test_a_wider_patch_lies_around_the_cells_centre_and_is_cut_off_at_the_border() -> None:
    """Cells of 2 px have their centres at 1, 3, 5, 7; a patch of 4 px covers -1..3, 1..5, 3..7 and 5..9."""
    found = occlusion(linear, PIXELS, FILL, cells=4, patch=(4, 4))
    spans = [slice(0, 3), slice(1, 5), slice(3, 7), slice(5, 8)]
    expected = [[shares()[row, column].sum() for column in spans] for row in spans]
    np.testing.assert_allclose(found.values, expected, atol=1e-2)


def test_by_default_a_quarter_of_the_side_is_covered() -> None:
    score = lambda pixels: (pixels == 0).all(axis=1).sum(axis=(1, 2)).astype(np.float32)  # noqa: E731
    white = np.full((3, 32, 32), 255, np.uint8)
    found = occlusion(score, white, np.zeros(3, np.uint8))
    assert found.size == (16, 16)
    assert (found.values[4:12, 4:12] == -64).all()  # 8 × 8 pixels became black


def test_an_image_of_the_covering_colour_says_nothing() -> None:
    plain = np.broadcast_to(FILL[:, None, None], PIXELS.shape).copy()
    found = occlusion(linear, plain, FILL)
    assert found.is_empty and not found.values.any()


@pytest.mark.parametrize("side", [1, 2, 3, 7])
def test_s39_tiny_images_are_covered_pixel_by_pixel(side: int) -> None:
    pixels = PIXELS[:, :side, :side]
    found = occlusion(lambda many: many.astype(np.float32).sum(axis=(1, 2, 3)), pixels, FILL)
    assert found.size == (side, side)
    expected = (pixels.astype(float) - FILL[:, None, None]).sum(axis=0)
    np.testing.assert_allclose(found.values, expected)


def test_the_image_itself_is_not_changed() -> None:
    before = PIXELS.copy()
    occlusion(linear, PIXELS, FILL)
    assert np.array_equal(PIXELS, before)
