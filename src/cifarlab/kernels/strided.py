"""3×3 convolutions with stride 2 and padding 1 in bf16 with fewer products, and their gradients for the images.

Patches of 4×4 outputs need 81 products in the place of 144, with an error of 5e-3 of the result's norm; winograd.h says
how.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cifarlab.kernels import library
from cifarlab.kernels.winograd import COLUMNS

FEWEST_CHANNELS = 16
"""That the transformations take at once."""
PATCH = 4
"""Outputs per side."""
FILTERS = 36
"""Numbers that 3×3 taps become."""


def fits(channels: int, channels_out: int, size: Sequence[int]) -> bool:
    """Whether the kernel is there (on CPUs with bf16 but without AMX), takes these channels, and saves products.

    size: that of the output.
    """
    enough = channels >= FEWEST_CHANNELS and channels % 2 == 0 and channels_out % COLUMNS == 0
    products, plain = (-(-size[0] // PATCH) * -(-size[1] // PATCH) * 81, size[0] * size[1] * 9)
    return enough and products < plain and library.has("halving")


def convolve(images: Tensor, weight: Tensor) -> Tensor:
    """Map bf16 images (N, C, H, W) by weight (channels_out, C, 3, 3), float32, to half their sides, rounded up."""
    size = (-(-images.shape[2] // 2), -(-images.shape[3] // 2))
    return _call("halving", images, weight, len(weight), size)


def images_gradient(weight: Tensor, gradient: Tensor, size: tuple[int, int]) -> Tensor:
    """What the images, of this size, gain from the gradient of the result."""
    return _call("doubling", gradient, weight, weight.shape[1], size)


def _call(name: str, maps: Tensor, weight: Tensor, channels_out: int, size: tuple[int, int]) -> Tensor:
    num, channels, height, width = maps.shape
    filters = torch.empty(channels_out // COLUMNS, FILTERS, channels, COLUMNS, dtype=maps.dtype)
    taps = weight.detach().contiguous(memory_format=torch.channels_last)
    library.call(f"{name}_filters", taps, channels, channels_out, filters)
    result = torch.empty((num, channels_out, *size), dtype=maps.dtype, memory_format=torch.channels_last)
    sizes = num, height, width, channels, *size, channels_out
    library.call(name, maps, filters, torch.zeros(channels_out), *sizes, result)
    return result
