"""The gradient for the filters of a 3×3 convolution in bf16.

Of the three products of a convolution, torch does two at nearly the CPU's full rate, and this one at a half to three
quarters of it, at a tenth where maps are small (benchmarks/kernels.py). Where patches fit the map, the transpose of
winograd.py needs fewer products.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn

from cifarlab.kernels import library, strided
from cifarlab.kernels.norm_relu import rectified
from cifarlab.kernels.winograd import HALVING, num_products, patch_side

KERNEL = "weight_gradient"
FEWEST_CHANNELS = 16
"""That are worth their transformation."""


def fits(conv: nn.Module) -> bool:
    """Whether the kernel is there (on CPUs with bf16 but without AMX), and takes this 3×3 convolution's channels."""
    is_conv = isinstance(conv, nn.Conv2d) and conv.in_channels % 8 == 0 and conv.out_channels % 32 == 0
    return is_conv and library.has(KERNEL)


def weight_gradient(images: Tensor, gradient: Tensor, stride: int, *, affine: Tensor | None = None) -> Tensor:
    """What the filters (channels_out, C, 3, 3) gain, from bf16 (N, C, H, W) and (N, channels_out, H', W'), in float32.

    affine: scale and shift, float32 (2, C), of a norm that the images are in front of, and ReLU behind it; stride 1.
    Where fewer products are quicker, with an error of up to 1.1e-2 of the result's norm instead of 1e-6.
    """
    num, channels, height, width = images.shape
    channels_out, size = gradient.shape[1], (gradient.shape[2], gradient.shape[3])
    result = torch.empty(channels_out, channels, 3, 3, memory_format=torch.channels_last)
    sizes = num, height, width, channels, *size, channels_out
    side = patch_side(size, images.dtype)
    if stride == 1 and channels >= FEWEST_CHANNELS and _is_quicker_by_patches(size, side):
        library.call("winograd_weight_gradient", images, affine, gradient, side, *sizes, result)
    elif stride == 2 and strided.fits(channels, channels_out, size):
        library.call("winograd_weight_gradient", images, None, gradient, HALVING, *sizes, result)
    else:
        images = images if affine is None else rectified(images, affine)
        library.call(KERNEL, images, gradient, *sizes, stride, 3, result)
    return result


@cache
def _is_quicker_by_patches(size: tuple[int, int], side: int) -> bool:
    """Whether patches need less than two thirds of the products with neighbours inside; those of 2×2 never do."""
    return 3 * num_products(size, side) < 2 * math.prod(3 * length - 2 for length in size)
