from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from cifarlab.evaluation.tta import VIEWS, mirror, mirror_and_shifts, shift
from cifarlab.recipe.schema import EvaluationSpec


def linear_logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A linear function of every pixel, so that the average of logits is the logits of the average image."""
    weights = np.random.default_rng(0).normal(size=(pixels[0].size, 4))
    return (pixels.reshape(len(pixels), -1) @ weights).astype(np.float32)


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (5, 3, 6, 8), dtype=np.uint8)


def test_mirror_averages_two_views(pixels: NDArray[np.uint8]) -> None:
    wanted = (linear_logits(pixels) + linear_logits(np.flip(pixels, 3))) / 2
    np.testing.assert_allclose(mirror(linear_logits, pixels, linear_logits(pixels)), wanted, rtol=1e-5, atol=1e-3)


def test_mirror_does_not_see_left_and_right(pixels: NDArray[np.uint8]) -> None:
    mirrored = np.flip(pixels, 3)
    found = [mirror(linear_logits, each, linear_logits(each)) for each in (pixels, mirrored)]
    assert np.array_equal(*found)


def test_mirror_and_shifts_averages_six_views(pixels: NDArray[np.uint8]) -> None:
    padded = np.pad(pixels, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    shifted = [padded[:, :, :6, :8], padded[:, :, 2:, 2:]]
    views = [pixels, np.flip(pixels, 3), *shifted, *(np.flip(view, 3) for view in shifted)]
    weights = [1 / 4, 1 / 4, 1 / 8, 1 / 8, 1 / 8, 1 / 8]
    wanted = sum(w * linear_logits(v).astype(np.float64) for w, v in zip(weights, views, strict=True))
    np.testing.assert_allclose(
        mirror_and_shifts(linear_logits, pixels, linear_logits(pixels)), wanted, rtol=1e-4, atol=1e-2
    )


def test_shift_moves_and_reflects() -> None:
    image = np.arange(9, dtype=np.uint8).reshape(1, 1, 3, 3)
    assert shift(image, 1)[0, 0].tolist() == [[4, 3, 4], [1, 0, 1], [4, 3, 4]]
    assert shift(image, -1)[0, 0].tolist() == [[4, 5, 4], [7, 8, 7], [4, 5, 4]]


@pytest.mark.parametrize("name", VIEWS)
def test_views_of_a_constant_function_change_nothing(name: str, pixels: NDArray[np.uint8]) -> None:
    def constant(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((len(images), 3), 0.3, np.float32)

    found = VIEWS[name](constant, pixels, constant(pixels))
    assert found.dtype == np.float32 and np.array_equal(found, constant(pixels))


@pytest.mark.parametrize(("name", "num_views"), [("mirror", 2), ("mirror+shifts", 6)])
def test_no_view_is_computed_twice(name: str, num_views: int, pixels: NDArray[np.uint8]) -> None:
    seen = []

    def counted(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(images.tobytes())
        return linear_logits(images)

    VIEWS[name](counted, pixels, linear_logits(pixels))
    assert len({*seen, pixels.tobytes()}) == num_views == len(seen) + 1


def test_recipes_name_exactly_these() -> None:
    annotation = EvaluationSpec.model_fields["tta"].annotation
    assert set(get_args(annotation)) == {"none", *VIEWS}
