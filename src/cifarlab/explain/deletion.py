"""Whether a map means anything: without what it calls important, the answer must go faster than by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifarlab.explain.heat_map import HeatMap
from cifarlab.explain.occlusion import Score

STEPS = 8
"""Parts in which the image is deleted."""
RANDOM_MAPS = 19
"""To beat all of 19 random maps has a chance of 1 in 20 for a map that knows nothing."""


@dataclass(frozen=True)
class Deletion:
    """The score while an image is deleted in steps, most important pixels first, and the same for random maps.

    curve: the score after 0, 1/8, ..., all of the pixels; random_curves: one such curve per random map.
    """

    curve: tuple[float, ...]
    random_curves: tuple[tuple[float, ...], ...]

    @property
    def area(self) -> float:
        """The mean height of the curve: the lower, the more of the evidence the map has found."""
        return _area(self.curve)

    @property
    def random_area(self) -> float:
        """The mean of the areas of the random maps."""
        return float(np.mean([_area(curve) for curve in self.random_curves]))

    @property
    def num_beaten(self) -> int:
        """How many random maps need longer to destroy the answer."""
        return sum(_area(curve) > self.area for curve in self.random_curves)

    @property
    def p_value(self) -> float:
        """The chance that a map that knows nothing does as well: (1 + maps not beaten) / (1 + maps)."""
        return (1 + len(self.random_curves) - self.num_beaten) / (1 + len(self.random_curves))

    @property
    def random_curve(self) -> tuple[float, ...]:
        """The mean of the random curves."""
        return tuple(float(value) for value in np.mean(self.random_curves, axis=0))


def deletion(
    score: Score,
    pixels: NDArray[np.uint8],
    heat_map: HeatMap,
    fill: NDArray[np.uint8],
    *,
    num_random: int = RANDOM_MAPS,
    seed: int = 0,
) -> Deletion:
    """Replace the pixels of uint8 (3, H, W) by the colour `fill`, in the order of a map and of random ones.

    A random map has the same values and resolution at shuffled places, since fine noise would destroy an image faster
    than any map does. Pixels of equal importance go in random order. Source of the curve: Petsiuk et al., RISE,
    BMVC 2018; of the test by shuffling: Phipson and Smyth, Permutation P-values Should Never Be Zero, 2010.
    """
    random = np.random.default_rng(seed)
    maps = [heat_map, *(heat_map.shuffled(random) for _ in range(num_random))]
    between = np.concatenate([deleted(pixels, each, fill, random) for each in maps])
    whole, empty = score(np.stack([pixels, np.broadcast_to(fill[:, None, None], pixels.shape)]))
    scores = score(between).reshape(len(maps), STEPS - 1)
    curves = [(float(whole), *map(float, row), float(empty)) for row in scores]
    return Deletion(curves[0], tuple(curves[1:]))


def deleted(
    pixels: NDArray[np.uint8], heat_map: HeatMap, fill: NDArray[np.uint8], random: np.random.Generator
) -> NDArray[np.uint8]:
    """The image without its most important 1/8, 2/8, ..., 7/8 of pixels, uint8 (7, 3, H, W)."""
    height, width = pixels.shape[1:]
    importance = heat_map.resized(height, width).ravel()
    order = np.lexsort((random.random(importance.size), -importance))
    rank = np.empty(importance.size, np.int64)
    rank[order] = np.arange(importance.size)
    limits = np.arange(1, STEPS) / STEPS * importance.size
    gone = rank.reshape(1, 1, height, width) < limits[:, None, None, None]
    return np.where(gone, fill[None, :, None, None], pixels[None])


def _area(curve: tuple[float, ...]) -> float:
    """Under the curve over 0..1, by trapezia of equal width."""
    return (sum(curve[1:-1]) + (curve[0] + curve[-1]) / 2) / (len(curve) - 1)
