"""Test-time augmentation: the logits of an image averaged over several views.

Logits are averaged, not probabilities. The accuracy is reported beside the plain one, never instead of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]
LogitsOf = Callable[[Pixels], Logits]

HALF = np.float32(0.5)  # of the logits' dtype, so that their average has it too


def mirror(logits_of: LogitsOf, pixels: Pixels, plain: Logits) -> Logits:
    """Average the logits of each image, which are `plain`, and of its left-right mirror image."""
    # Contiguous, because torch takes no array with negative strides.
    mirrored = np.ascontiguousarray(pixels[..., ::-1])
    return HALF * (plain + logits_of(mirrored))


def mirror_and_shifts(logits_of: LogitsOf, pixels: Pixels, plain: Logits) -> Logits:
    """Average six views: the image, its shifts by one pixel to the upper left and the lower right, and their mirrors.

    plain: the logits of the image itself. The six views and their weights are those of Jordan (2024),
    https://arxiv.org/abs/2404.00498, section 3.5.
    """

    def shifted(distance: int) -> Logits:
        moved = shift(pixels, distance)
        return mirror(logits_of, moved, logits_of(moved))

    # Weights 1/4 for each of the unshifted pair, 1/8 for each of the four shifted views.
    return HALF * (mirror(logits_of, pixels, plain) + HALF * (shifted(-1) + shifted(1)))


def shift(pixels: Pixels, distance: int) -> Pixels:
    """Move images `distance` pixels down and to the right (negative: up and left), reflecting at the edge."""
    # The edge that a shift uncovers shows the image reflected, as in training with crop_fill = "reflect".
    around = abs(distance)
    padded = np.pad(pixels, ((0, 0), (0, 0), (around, around), (around, around)), mode="reflect")
    height, width = pixels.shape[2:]
    start = around - distance
    return np.ascontiguousarray(padded[:, :, start : start + height, start : start + width])


VIEWS: dict[str, Callable[[LogitsOf, Pixels, Logits], Logits]] = {"mirror": mirror, "mirror+shifts": mirror_and_shifts}
"""The averages by the names that recipes use; "none" has none."""
