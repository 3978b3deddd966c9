"""3×3 convolutions with stride 2 and padding 1 in bf16 with fewer products, and their gradients for the images.

Patches of 4×4 outputs need 81 products in the place of 144, with an error of 5e-3 of the result's norm; winograd.h says
how.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from cifarlab.kernels import library
from cifarlab.kernels.winograd import COLUMNS, DOUBLING, HALVING, Gate, convolve_by, num_patches

FEWEST_CHANNELS = 16
"""That the transformations take at once."""


def fits(channels: int, channels_out: int, size: Sequence[int]) -> bool:
    """Whether the kernel is there (on CPUs with bf16 but without AMX), takes these channels, and saves products.

    size: that of the output.
    """
    enough = channels >= FEWEST_CHANNELS and channels % 2 == 0 and channels_out % COLUMNS == 0
    return enough and 81 * num_patches(size, HALVING) < 9 * math.prod(size) and library.has("winograd_bf16")


def convolve(images: Tensor, weight: Tensor, *, sums: Tensor | None = None) -> Tensor:
    """Map bf16 images (N, C, H, W) by weight (channels_out, C, 3, 3), float32, to half their sides, rounded up.

    sums: float64 (2, channels_out), to which the sums of the result and of its squares are added.
    """
    size = (-(-images.shape[2] // 2), -(-images.shape[3] // 2))
    return convolve_by(images, weight, size, side=HALVING, sums=sums)


def images_gradient(
    weight: Tensor,
    gradient: Tensor,
    size: Sequence[int],
    *,
    added: Tensor | None = None,
    gate: Gate | None = None,
    sums: Tensor | None = None,
) -> Tensor:
    """What the images, of this size, gain from the gradient of the result; added, gate, sums: as convolve_by."""
    return convolve_by(gradient, weight, size, side=DOUBLING, turned=True, added=added, gate=gate, sums=sums)
