"""The deletion test of a heat map: without the pixels it marks, the probability must fall faster than by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifarlab.explanation.heat_map import HeatMap
from cifarlab.explanation.occlusion import Score

STEPS = 8
"""The number of equal parts in which the image is deleted."""
RANDOM_MAPS = 19
"""A map that knows nothing beats all of 19 random maps with a probability of 1 in 20."""


@dataclass(frozen=True)
class Deletion:
    """The score while an image is deleted in steps, most important pixels first, and the same for random maps.

    curve: the score after 0, 1/8, ..., all of the pixels; random_curves: one such curve per random map.
    """

    curve: tuple[float, ...]
    random_curves: tuple[tuple[float, ...], ...]

    @property
    def area(self) -> float:
        """The area under the curve, in 0..1: the lower, the more of the evidence the map has found."""
        return _area(self.curve)

    @property
    def random_area(self) -> float:
        """The mean area of the random maps."""
        return float(np.mean([_area(curve) for curve in self.random_curves]))

    @property
    def num_beaten(self) -> int:
        """How many random maps have a larger area, so that the probability falls later."""
        # Strictly larger: a tie counts against the map.
        return sum(_area(curve) > self.area for curve in self.random_curves)

    @property
    def p_value(self) -> float:
        """The probability that a map that knows nothing does as well: (1 + maps not beaten) / (1 + maps)."""
        # The map itself counts as one of the permutations (Phipson and Smyth, 2010), so p is never 0.
        return (1 + len(self.random_curves) - self.num_beaten) / (1 + len(self.random_curves))

    @property
    def random_curve(self) -> tuple[float, ...]:
        """The mean of the random curves, step by step."""
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
    """Replace the pixels of uint8 (3, H, W) by the colour `fill`, uint8 (3,), in the order of a map and of random ones.

    A random map has the same values and resolution at shuffled places, since fine noise would destroy an image faster
    than any map does. Pixels of equal importance go in random order. The curve is that of Petsiuk et al., RISE, BMVC
    2018; the permutation test that of Phipson and Smyth, Permutation P-values Should Never Be Zero, 2010.
    """
    random = np.random.default_rng(seed)  # the same random maps for the same image, so that pages can be compared
    maps = [heat_map, *(heat_map.shuffled(random) for _ in range(num_random))]
    # One batch for all maps and steps, (maps · 7, 3, H, W): single images would leave the device idle.
    between = np.concatenate([deleted(pixels, each, fill, random) for each in maps])
    # All maps begin with the whole image and end with none of it: these two are scored once.
    whole, empty = score(np.stack([pixels, np.broadcast_to(fill[:, None, None], pixels.shape)]))
    scores = score(between).reshape(len(maps), STEPS - 1)
    curves = [(float(whole), *map(float, row), float(empty)) for row in scores]
    return Deletion(curves[0], tuple(curves[1:]))


def deleted(
    pixels: NDArray[np.uint8], heat_map: HeatMap, fill: NDArray[np.uint8], random: np.random.Generator
) -> NDArray[np.uint8]:
    """Delete the most important 1/8, 2/8, ..., 7/8 of an image's pixels: uint8 (7, 3, H, W)."""
    height, width = pixels.shape[1:]
    importance = heat_map.resized(height, width).ravel()
    # The last key sorts first; the random one breaks ties, which a sort by place would break from the top left.
    order = np.lexsort((random.random(importance.size), -importance))
    rank = np.empty(importance.size, np.int64)
    rank[order] = np.arange(importance.size)  # the inverse permutation: each pixel's place in the order
    limits = np.arange(1, STEPS) / STEPS * importance.size
    # (7, 1, 1, 1) against (1, 1, H, W) gives one mask per step.
    gone = rank.reshape(1, 1, height, width) < limits[:, None, None, None]
    return np.where(gone, fill[None, :, None, None], pixels[None])


def _area(curve: tuple[float, ...]) -> float:
    """The area under a curve over 0..1, by the trapezoidal rule."""
    return (sum(curve[1:-1]) + (curve[0] + curve[-1]) / 2) / (len(curve) - 1)
