"""The gradient for the filters of a 3×3 convolution in bf16.

Of the three products of a convolution (forward, for the images, for the filters) torch computes two at nearly the CPU's
full rate, and this one at half to three quarters of it, at a tenth where maps are small (benchmarks/kernels.py). Where
patches fit the map, the transposed transform of winograd.py takes fewer multiplications.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn

from cifarlab.kernels import library, strided
from cifarlab.kernels.norm_relu import affine_relu
from cifarlab.kernels.winograd import HALVING, num_products, patch_side

KERNEL = "weight_gradient"
FEWEST_CHANNELS = 16  # with fewer, transforming the images costs more than the multiplications it saves


def supports(conv: nn.Module) -> bool:
    """Whether the kernel exists (on CPUs with bf16 but without AMX) and takes this 3×3 convolution's channels."""
    # The sums of a tile of channels by 32 channels_out stay in registers, so both numbers have to come out even.
    is_conv = isinstance(conv, nn.Conv2d) and conv.in_channels % 8 == 0 and conv.out_channels % 32 == 0
    return is_conv and library.has(KERNEL)


def weight_gradient(images: Tensor, gradient: Tensor, stride: int, *, affine: Tensor | None = None) -> Tensor:
    """Return the gradient for filters (channels_out, C, 3, 3), float32 and channels-last.

    images: bf16 (N, C, H, W); gradient: bf16 (N, channels_out, H', W'). affine: scale and shift, float32 (2, C), of a
    norm with ReLU that is applied to the images first, at stride 1. The direct kernel is exact to 1e-6 of the result's
    norm; where patches are faster they are used instead, at an error of up to 1.1e-2 (4×4 outputs).
    """
    num, channels, height, width = images.shape
    channels_out, size = gradient.shape[1], (gradient.shape[2], gradient.shape[3])
    result = torch.empty(channels_out, channels, 3, 3, memory_format=torch.channels_last)
    sizes = num, height, width, channels, *size, channels_out
    side = patch_side(size, images.dtype)
    if stride == 1 and channels >= FEWEST_CHANNELS and _patches_are_faster(size, side):
        library.call("winograd_weight_gradient", images, affine, gradient, side, *sizes, result)
    elif stride == 2 and strided.supports(channels, channels_out, size):
        # Patches of 4×4 outputs, as forward; there is no norm to apply in front of a convolution with stride 2.
        library.call("winograd_weight_gradient", images, None, gradient, HALVING, *sizes, result)
    else:
        # Only the patch kernel applies norm and ReLU while it loads; here the map is written out.
        images = images if affine is None else affine_relu(images, affine)
        library.call(KERNEL, images, gradient, *sizes, stride, 3, result)
    return result


@cache
def _patches_are_faster(size: tuple[int, int], side: int) -> bool:
    """Whether patches take less than two thirds of the direct kernel's multiplications; those of 2×2 never do."""
    # The direct kernel leaves out neighbours beyond the edge: 3 · length - 2 per axis instead of 3 · length.
    # Two thirds, because transforming images and gradients has to be paid for as well.
    return 3 * num_products(size, side) < 2 * math.prod(3 * length - 2 for length in size)
