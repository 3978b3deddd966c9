"""Test-time augmentation: wrappers around a function from images to logits that average over several views.

Logits are averaged, not probabilities. The accuracy is reported beside the plain one, never instead of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
LogitsOf = Callable[[Pixels], NDArray[np.float32]]

HALF = np.float32(0.5)  # of the logits' dtype, so that their average has it too


def mirror(logits_of: LogitsOf) -> LogitsOf:
    """Average the logits of each image and its left-right mirror image."""

    def averaged(pixels: Pixels) -> NDArray[np.float32]:
        # Contiguous, because torch takes no array with negative strides.
        mirrored = np.ascontiguousarray(pixels[..., ::-1])
        return HALF * (logits_of(pixels) + logits_of(mirrored))

    return averaged


def mirror_and_shifts(logits_of: LogitsOf) -> LogitsOf:
    """Average six views: the image, its shifts by one pixel to the upper left and the lower right, and their mirrors.

    The six views and their weights are those of Jordan (2024), https://arxiv.org/abs/2404.00498, section 3.5.
    """
    mirrored = mirror(logits_of)

    def averaged(pixels: Pixels) -> NDArray[np.float32]:
        # Weights 1/4 for each of the unshifted pair, 1/8 for each of the four shifted views.
        shifted = HALF * (mirrored(shift(pixels, -1)) + mirrored(shift(pixels, 1)))
        return HALF * (mirrored(pixels) + shifted)

    return averaged


def shift(pixels: Pixels, distance: int) -> Pixels:
    """Move images `distance` pixels down and to the right (negative: up and left), reflecting at the edge."""
    # The edge that a shift uncovers shows the image reflected, as in training with crop_fill = "reflect".
    around = abs(distance)
    padded = np.pad(pixels, ((0, 0), (0, 0), (around, around), (around, around)), mode="reflect")
    height, width = pixels.shape[2:]
    start = around - distance
    return np.ascontiguousarray(padded[:, :, start : start + height, start : start + width])


WRAPPERS: dict[str, Callable[[LogitsOf], LogitsOf]] = {"mirror": mirror, "mirror+shifts": mirror_and_shifts}
"""The wrappers by the names that recipes use; "none" has no wrapper."""
