"""Test-time augmentation: wrappers around a function from images to logits that average over several views.

Logits, not probabilities, are averaged. The accuracy stands beside the plain one, never in its place.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
LogitsOf = Callable[[Pixels], NDArray[np.float32]]

HALF = np.float32(0.5)


def mirror(logits_of: LogitsOf) -> LogitsOf:
    """Average the logits of each image and its left-right mirror image."""

    def averaged(pixels: Pixels) -> NDArray[np.float32]:
        mirrored = np.ascontiguousarray(pixels[..., ::-1])
        return HALF * (logits_of(pixels) + logits_of(mirrored))

    return averaged


def mirror_and_shifts(logits_of: LogitsOf) -> LogitsOf:
    """Mirror the image and two shifts of it, by one pixel to the upper left and to the lower right.

    The unshifted pair has half of the weight. The edge that a shift uncovers shows the image reflected.
    The six views and their weights are those of Jordan (2024), https://arxiv.org/abs/2404.00498.
    """
    mirrored = mirror(logits_of)

    def averaged(pixels: Pixels) -> NDArray[np.float32]:
        shifted = HALF * (mirrored(shift(pixels, -1)) + mirrored(shift(pixels, 1)))
        return HALF * (mirrored(pixels) + shifted)

    return averaged


def shift(pixels: Pixels, distance: int) -> Pixels:
    """Move images `distance` pixels down and to the right (negative: up and left), reflecting at the edge."""
    around = abs(distance)
    padded = np.pad(pixels, ((0, 0), (0, 0), (around, around), (around, around)), mode="reflect")
    height, width = pixels.shape[2:]
    start = around - distance
    return np.ascontiguousarray(padded[:, :, start : start + height, start : start + width])


WRAPPERS: dict[str, Callable[[LogitsOf], LogitsOf]] = {"mirror": mirror, "mirror+shifts": mirror_and_shifts}
"""By the name that recipes use; "none" has no wrapper."""
