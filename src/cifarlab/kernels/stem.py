"""A ResNet's first layer, a 3×3 convolution of three channels, and what the filters gain through the norm behind it.

The images of a batch gain nothing, so what the norm's gradient would write for the convolution is never in memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cifarlab.kernels import library
from cifarlab.kernels.batch_norm import Statistics, sizes, weights_like
from cifarlab.kernels.winograd import COLUMNS

CHANNELS = 3


def fits(images: Tensor, conv: nn.Conv2d) -> bool:
    """Whether the kernels are there, for float32 images (N, 3, H, W) that need no gradient."""
    shape = conv.in_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation
    known = shape == (CHANNELS, (3, 3), (1, 1), (1, 1), (1, 1)) and conv.out_channels % COLUMNS == 0
    known = known and conv.groups == 1 and conv.bias is None
    plain = images.device.type == "cpu" and images.dtype == torch.float32 and not images.requires_grad
    return known and plain and library.has("stem")


def convolve(images: Tensor, weight: Tensor, *, sums: Tensor) -> Tensor:
    """Map (N, 3, H, W) by weight (channels_out, 3, 3, 3), float32, to (N, channels_out, H, W) in bf16.

    To sums, float64 (2, channels_out), those of the result and of its squares are added.
    """
    num, height, width, _ = sizes(images)
    shape = num, len(weight), height, width
    result = torch.empty(shape, dtype=torch.bfloat16, memory_format=torch.channels_last)
    filters = weight.detach().permute(2, 3, 1, 0).contiguous()
    library.call("stem", images, filters, num, height, width, len(weight), result, sums)
    return result


def gradients(images: Tensor, gradient: Tensor, x: Tensor, of_batch: Statistics, sums: Tensor) -> tuple[Tensor, Tensor]:
    """What the filters gain, and the norm's weight and bias, float32 (2, C).

    From the gradient behind the norm, what the norm was given, and the sums of the gradient and of its products with x.
    """
    num, height, width, channels_out = sizes(x)
    result, weights = torch.zeros(3, 3, CHANNELS, channels_out, dtype=torch.float64), weights_like(sums)
    library.call(
        "stem_gradient", images, gradient, x, num, height, width, channels_out, sums, *of_batch, weights, result
    )
    return result.permute(3, 2, 0, 1).to(torch.float32, memory_format=torch.channels_last), weights
