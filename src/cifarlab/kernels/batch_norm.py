"""What the fused operations share: the sums that batch norm needs, and what follows from them.

With the mean and variance of x per channel over the batch, r = 1 / sqrt(variance + eps) and x̂ = r · (x - mean), the
norm is weight · x̂ + bias, and its gradient (S. Ioffe and C. Szegedy, arXiv 1502.03167, 2015)

    dx = weight · r · (g - E[g] - x̂ · E[g · x̂])

is linear in g and x: three numbers per channel give it in one pass over memory.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn

from cifarlab.kernels import library
from cifarlab.kernels.library import SUFFIX

LANES = 16
"""Channels that the kernels take at once."""


def fits(x: Tensor) -> bool:
    """Whether the kernels are there and take maps (N, C, H, W) like this one."""
    num, channels, height, width = x.shape
    return known(x) and channels % LANES == 0 and num * height * width > 1


def known(x: Tensor) -> bool:
    """Whether the kernels are there, for values of this type in this order."""
    plain = x.device.type == "cpu" and x.dtype in SUFFIX and x.is_contiguous(memory_format=torch.channels_last)
    return plain and library.has("sums_float")


def trains(norm: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Whether this is a batch norm in training mode with running statistics that move at a fixed rate."""
    batch_norm = isinstance(norm, nn.BatchNorm2d) and norm.training and norm.bias is not None
    return batch_norm and norm.running_mean is not None and norm.momentum is not None


def call(name: str, first: Tensor, *others: Tensor | int) -> None:
    """The kernel of this name for the type of the first tensor."""
    library.call(f"{name}_{SUFFIX[first.dtype]}", first, *others)


def sizes(x: Tensor) -> tuple[int, int, int, int]:
    """(N, H, W, C), as it lies in memory."""
    num, channels, height, width = x.shape
    return num, height, width, channels


def num_pixels(x: Tensor) -> int:
    """Of all images together."""
    return x.numel() // x.shape[1]


def zero_sums(channels: int) -> Tensor:
    """For sums and sums of squares, float64 (2, C)."""
    return torch.zeros(2, channels, dtype=torch.float64)


def sums_of(x: Tensor) -> Tensor:
    """The sums of the values of each channel and of their squares, float64 (2, C)."""
    num, height, width, channels = sizes(x)
    sums = zero_sums(channels)
    call("sums", x, num, height * width, channels, sums)
    return sums


@torch.no_grad()
def statistics(norm: nn.BatchNorm2d, sums: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Mean and r (C each, float64) of `num` values per channel.

    Moves the running statistics towards those of the batch, as batch norm does.
    """
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    assert norm.num_batches_tracked is not None
    mean = sums[0] / num
    variance = (sums[1] / num - mean.square()).clamp(min=0)
    norm.running_mean.lerp_(mean.float(), norm.momentum)
    norm.running_var.lerp_((variance * num / (num - 1)).float(), norm.momentum)
    norm.num_batches_tracked.add_(1)
    return mean, (variance + norm.eps).rsqrt()


def linear_gradient(
    mean: Tensor, r: Tensor, sums: Tensor, num: int, weight: Tensor | float = 1.0
) -> tuple[Tensor, ...]:
    """What dx is made of: of g, of x, and a constant (C each, float32); sums: of g and of g · x."""
    of_gradient = weight * r
    of_x = -of_gradient * r.square() * (sums[1] - sums[0] * mean) / num
    constant = -of_gradient * sums[0] / num - of_x * mean
    return of_gradient.float(), of_x.float(), constant.float()


def norm_gradient(inner: Tensor, x: Tensor, linear: tuple[Tensor, ...]) -> Tensor:
    """dx from g and x, and the three numbers per channel of `linear_gradient`."""
    result = torch.empty_like(x)
    call("norm_gradient", inner, x, num_pixels(x), x.shape[1], *linear, result)
    return result
