"""Occlusion maps: how much the probability falls when a part of the image is covered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cifarlab.explanation.heat_map import HeatMap
from cifarlab.language import translatable

OCCLUSION = translatable("occlusion")
CELLS = 16
"""Places per side at which the image is covered: 256 images to score, and cells of 2 px in an image of 32 px."""
PATCH_SHARE = 4
"""The patch has a quarter of the image's side, wider than a cell, so that patches overlap."""

Score = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From images, uint8 (N, 3, H, W), to the probability of the class that is explained, float32 (N,)."""


def occlusion(
    score: Score,
    pixels: NDArray[np.uint8],
    fill: NDArray[np.uint8],
    *,
    cells: int = CELLS,
    patch: tuple[int, int] | None = None,
) -> HeatMap:
    """Measure how much the score of an image, uint8 (3, H, W), falls when a patch at each of cells × cells places is
    covered by the colour `fill`, uint8 (3,).

    patch: its height and width in pixels, by default a quarter of the image's. The map is negative where covering
    raises the score. Source: Zeiler and Fergus, Visualizing and Understanding Convolutional
    Networks, ECCV 2014, section 4.2.
    """
    height, width = pixels.shape[1:]
    patch_height, patch_width = patch or (max(1, height // PATCH_SHARE), max(1, width // PATCH_SHARE))
    rows, columns = _spans(height, cells, patch_height), _spans(width, cells, patch_width)
    # All covered images at once, (cells², 3, H, W); the classifier divides them into batches.
    covered = np.repeat(pixels[None], len(rows) * len(columns), axis=0)
    for index, (row, column) in enumerate((row, column) for row in rows for column in columns):
        covered[index, :, row, column] = fill[:, None, None]
    fall = score(pixels[None])[0] - score(covered)
    return HeatMap(OCCLUSION, "", fall.reshape(len(rows), len(columns)).astype(np.float32))


def _spans(side: int, cells: int, patch: int) -> list[slice]:
    """The part of a side that is covered at each place: `patch` pixels around its centre, cut off at the border."""
    cells = min(cells, side)  # a tiny image is covered pixel by pixel
    # The slack rounds halves up: Python rounds them to even numbers, which would space the patches unevenly.
    starts = [round((cell + 0.5) * side / cells - patch / 2 + 1e-9) for cell in range(cells)]
    return [slice(max(0, start), min(side, start + patch)) for start in starts]
