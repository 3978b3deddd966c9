"""1×1 convolutions in bf16, as the products of every `stride`-th pixel and filters, and their gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cifarlab.kernels import library
from cifarlab.kernels.batch_norm import sizes
from cifarlab.kernels.winograd import COLUMNS


def fits(conv: nn.Module) -> bool:
    """Whether the kernels are there (on CPUs with bf16 but without AMX), and take this one and its gradients."""
    if not isinstance(conv, nn.Conv2d) or conv.bias is not None or conv.stride[0] != conv.stride[1]:
        return False
    plain = conv.groups == 1 and conv.kernel_size == (1, 1) and conv.padding == (0, 0)
    return plain and conv.in_channels % COLUMNS == conv.out_channels % COLUMNS == 0 and library.has("pixels")


def convolve(images: Tensor, weight: Tensor, stride: int, *, sums: Tensor | None = None) -> Tensor:
    """Map (N, C, H, W) by weight (channels_out, C, 1, 1), float32, to (N, channels_out, ceil(H / stride), ...).

    To sums, float64 (2, channels_out), those of the result and of its squares are added.
    """
    return _products(images, weight.detach().flatten(1).t().contiguous(), stride, sums)


def images_gradient(weight: Tensor, gradient: Tensor) -> Tensor:
    """What the pixels gain that were taken: (N, C, H', W'), from the gradient of the result, whose sides it has."""
    return _products(gradient, weight.detach().flatten(1), 1, None)


def weight_gradient(images: Tensor, gradient: Tensor, stride: int) -> Tensor:
    """What the filters gain, float32 (channels_out, C, 1, 1)."""
    num, height, width, channels = sizes(images)
    _, *size, channels_out = sizes(gradient)
    result = torch.empty(channels_out, channels, 1, 1, memory_format=torch.channels_last)
    shape = num, height, width, channels, *size, channels_out
    library.call("weight_gradient", images, gradient, *shape, stride, 1, result)
    return result


def _products(images: Tensor, filters: Tensor, stride: int, sums: Tensor | None) -> Tensor:
    """filters: (C, channels_out)."""
    num, height, width, channels = sizes(images)
    shape = num, filters.shape[1], -(-height // stride), -(-width // stride)
    result = torch.empty(shape, dtype=torch.bfloat16, memory_format=torch.channels_last)
    library.call("pixels", images, filters, num, height, width, channels, shape[1], stride, result, sums)
    return result
