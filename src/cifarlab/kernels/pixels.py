"""1×1 convolutions in bf16, as matrix products of every `stride`-th pixel with the filters, and their gradients.

torch copies the pixels that a stride leaves; these read them where they lie and add up what the norm behind needs:
0.9 ms forward for 64 -> 128 channels with stride 2 and 128 images, where copy, product and sums took 1.5.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cifarlab.kernels import library
from cifarlab.kernels.batch_norm import nhwc_shape
from cifarlab.kernels.winograd import COLUMNS


def supports(conv: nn.Module) -> bool:
    """Whether the kernels exist (on CPUs with bf16 but without AMX), and take this one and both of its gradients."""
    if not isinstance(conv, nn.Conv2d) or conv.bias is not None or conv.stride[0] != conv.stride[1]:
        return False
    plain = conv.groups == 1 and conv.kernel_size == (1, 1) and conv.padding == (0, 0)
    # in_channels too: the gradient for the images is the same product with the two exchanged.
    return plain and conv.in_channels % COLUMNS == conv.out_channels % COLUMNS == 0 and library.has("pixels")


def convolve(images: Tensor, weight: Tensor, stride: int, *, sums: Tensor | None = None) -> Tensor:
    """Map (N, C, H, W) with weight (channels_out, C, 1, 1), float32, to (N, channels_out, ceil(H / stride), ...).

    sums: float64 (2, channels_out), to which the sums of the result and of its squares are added.
    """
    # (channels_out, C) to (C, channels_out), since the kernel reads 32 channels_out of a channel at a time.
    return _multiply(images, weight.detach().flatten(1).t().contiguous(), stride, sums)


def images_gradient(weight: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient for the pixels that were read, (N, C, H', W'): of the output's size, not of the images'."""
    # The pixels in between have gradient 0; the caller adds these to a map of the images' size (`added`).
    return _multiply(gradient, weight.detach().flatten(1), 1, None)


def weight_gradient(images: Tensor, gradient: Tensor, stride: int) -> Tensor:
    """Return the gradient for the filters, float32 (channels_out, C, 1, 1)."""
    num, height, width, channels = nhwc_shape(images)
    _, *size, channels_out = nhwc_shape(gradient)
    result = torch.empty(channels_out, channels, 1, 1, memory_format=torch.channels_last)
    shape = num, height, width, channels, *size, channels_out
    # The kernel of weight_gradient.py with filters of side 1, the last argument.
    library.call("weight_gradient", images, gradient, *shape, stride, 1, result)
    return result


def _multiply(images: Tensor, filters: Tensor, stride: int, sums: Tensor | None) -> Tensor:
    """Multiply every `stride`-th pixel of every `stride`-th row with filters (C, channels_out)."""
    num, height, width, channels = nhwc_shape(images)
    shape = num, filters.shape[1], -(-height // stride), -(-width // stride)  # rounded up
    result = torch.empty(shape, dtype=torch.bfloat16, memory_format=torch.channels_last)
    library.call("pixels", images, filters, num, height, width, channels, shape[1], stride, result, sums)
    return result
