"""The gradient for the filters of a 3×3 convolution in bf16.

Of the three products of a convolution, torch does two at nearly the CPU's full rate, and this one at a half to three
quarters of it, at a tenth where maps are small (benchmarks/kernels.py). Where patches of 2×2 fill the map, F(3×3, 2×2)
of A. Lavin and S. Gray, arXiv 1509.09308, 2015, needs fewer products.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cifarlab.kernels import library

KERNEL = "weight_gradient"


def fits(conv: nn.Module) -> bool:
    """Whether the kernel is there (on CPUs with bf16 but without AMX), and takes this 3×3 convolution's channels."""
    is_conv = isinstance(conv, nn.Conv2d) and conv.in_channels % 8 == 0 and conv.out_channels % 32 == 0
    return is_conv and library.has(KERNEL)


def weight_gradient(images: Tensor, gradient: Tensor, stride: int) -> Tensor:
    """What the filters (channels_out, C, 3, 3) gain, from bf16 (N, C, H, W) and (N, channels_out, H', W'), in float32.

    Where fewer products are quicker, with an error of 4e-3 of the result's norm instead of 1e-6.
    """
    num, channels, height, width = images.shape
    channels_out, *size = gradient.shape[1:]
    result = torch.empty(channels_out, channels, 3, 3, memory_format=torch.channels_last)
    if stride == 1 and _is_quicker_by_patches(channels, channels_out, size):
        name = "winograd_weight_gradient"
        library.call(name, images, gradient, num, height, width, channels, *size, channels_out, result)
    else:
        library.call(KERNEL, images, gradient, num, height, width, channels, *size, channels_out, stride, result)
    return result


def _is_quicker_by_patches(channels: int, channels_out: int, size: Sequence[int]) -> bool:
    """Patches of 2×2 have to fill the map, and channels to be worth their transformation (benchmarks/kernels.py)."""
    fills = min(size) >= 6 and not any(side % 2 for side in size)
    return fills and channels % 16 == 0 and channels * channels_out >= 64 * 256
