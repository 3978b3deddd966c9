"""3×3 convolutions with stride 2 and padding 1 in bf16, and their gradients for the images.

Those of torch up to the order of the sums, faster (benchmarks/kernels.py).
"""

from __future__ import annotations

import torch
from torch import Tensor

from cifarlab.kernels import library
from cifarlab.kernels.winograd import transformed

FEWEST_CHANNELS = 16
"""That the filters' transformation takes at once."""


def fits(channels: int, channels_out: int) -> bool:
    """Whether the kernel is there (on CPUs with bf16 but without AMX), and maps so many channels to so many."""
    return library.has("strided") and channels >= FEWEST_CHANNELS and channels % 2 == 0 and channels_out % 32 == 0


def convolve(images: Tensor, weight: Tensor) -> Tensor:
    """Map bf16 images (N, C, H, W) by weight (channels_out, C, 3, 3), float32, to half their sides, rounded up."""
    num, channels, height, width = images.shape
    shape = (num, len(weight), -(-height // 2), -(-width // 2))
    result = torch.empty(shape, dtype=images.dtype, memory_format=torch.channels_last)
    filters = transformed(weight, images.dtype, side=1)
    library.call("strided", images, filters, num, height, width, channels, len(weight), result)
    return result


def images_gradient(images: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
    """What the images gain from the gradient of the result."""
    result = torch.empty_like(images)
    num, channels, height, width = images.shape
    filters = transformed(weight, images.dtype, side=1, turned=True)
    library.call("strided_gradient", gradient, filters, num, height, width, channels, len(weight), result)
    return result
