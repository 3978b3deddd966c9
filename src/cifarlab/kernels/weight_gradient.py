"""The gradient for the filters of a 3×3 convolution in bf16.

Of the three products of a convolution, torch does two at nearly the CPU's full rate, and this one at a half to three
quarters of it, at a tenth where maps are small (benchmarks/kernels.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cifarlab.kernels import library

KERNEL = "weight_gradient"


def fits(conv: nn.Module) -> bool:
    """Whether the kernel is there (on CPUs with bf16 but without AMX), and takes this 3×3 convolution's channels."""
    is_conv = isinstance(conv, nn.Conv2d) and conv.in_channels % 8 == 0 and conv.out_channels % 32 == 0
    return is_conv and library.has(KERNEL)


def weight_gradient(images: Tensor, gradient: Tensor, stride: int) -> Tensor:
    """What the filters (channels_out, C, 3, 3) gain, from bf16 (N, C, H, W) and (N, channels_out, H', W')."""
    num, channels, height, width = images.shape
    channels_out, *size = gradient.shape[1:]
    result = torch.empty(channels_out, channels, 3, 3, memory_format=torch.channels_last)
    library.call(KERNEL, images, gradient, num, height, width, channels, *size, channels_out, stride, result)
    return result
