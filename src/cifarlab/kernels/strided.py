"""3×3 convolutions with stride 2 and padding 1 in bf16 with fewer multiplications, and their gradients for the images.

Along each axis every second value meets the two outer taps, as in a convolution of two taps with stride 1, and those
between meet the middle tap. Four outputs then take 5 + 4 multiplications, so a patch of 4×4 outputs takes 81 instead of
144, at an error of 5e-3 of the result's norm (docs/speed.md; the transforms are in winograd.h).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from cifarlab.kernels import library
from cifarlab.kernels.winograd import COLUMNS, DOUBLING, HALVING, Gate, convolve_fused, num_patches

FEWEST_CHANNELS = 16  # the transforms process 16 at once, one register


def supports(channels: int, channels_out: int, size: Sequence[int]) -> bool:
    """Whether the kernel exists (on CPUs with bf16 but without AMX), takes these channels, and saves multiplications.

    size: of the output.
    """
    # Channels come in pairs, as the bf16 instruction multiplies them; channels_out in the columns of the kernel.
    enough = channels >= FEWEST_CHANNELS and channels % 2 == 0 and channels_out % COLUMNS == 0
    # Patches reach beyond the edge of a small map: with 1×1 outputs one takes 81 multiplications for 9 that count.
    return enough and 81 * num_patches(size, HALVING) < 9 * math.prod(size) and library.has("winograd_bf16")


def convolve(images: Tensor, weight: Tensor, *, sums: Tensor | None = None) -> Tensor:
    """Map bf16 (N, C, H, W) with weight (channels_out, C, 3, 3), float32, to (N, channels_out, ceil(H / 2), ...).

    sums: float64 (2, channels_out), to which the sums of the result and of its squares are added.
    """
    size = (-(-images.shape[2] // 2), -(-images.shape[3] // 2))
    return convolve_fused(images, weight, size, side=HALVING, sums=sums)


def images_gradient(
    weight: Tensor,
    gradient: Tensor,
    size: Sequence[int],
    *,
    added: Tensor | None = None,
    gate: Gate | None = None,
    sums: Tensor | None = None,
) -> Tensor:
    """Return the gradient for images of this size; added, gate and sums are those of `winograd.convolve_fused`."""
    # Along each axis four values of the gradient become eight pixels.
    return convolve_fused(gradient, weight, size, side=DOUBLING, flipped=True, added=added, gate=gate, sums=sums)
