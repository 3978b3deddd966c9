"""What the fused operations share: the sums that batch norm needs, and what follows from them.

With the mean and variance of x per channel over the batch, r = 1 / sqrt(variance + eps) and x̂ = r · (x - mean), the
norm is weight · x̂ + bias, and its gradient (S. Ioffe and C. Szegedy, arXiv 1502.03167, 2015)

    dx = weight · r · (g - E[g] - x̂ · E[g · x̂])

is linear in g and x: three numbers per channel give it in one pass over memory.
"""

from __future__ import annotations

from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor, nn

from cifarlab.kernels import library
from cifarlab.kernels.library import SUFFIX

LANES = 16
"""Channels that the kernels take at once."""


class Statistics(NamedTuple):
    """Of a batch: mean and r, float64 (2, C), and the scale and shift that make the norm of x, float32 (2, C)."""

    moments: Tensor
    affine: Tensor


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
    if not isinstance(norm, nn.BatchNorm2d) or not norm.training or norm.momentum is None:
        return False
    return all(
        values is not None and values.dtype == torch.float32 for values in (norm.running_mean, norm.weight, norm.bias)
    )


def call(name: str, first: Tensor, *others: Tensor | int | None) -> None:
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


def statistics(norm: nn.BatchNorm2d, sums: Tensor, num: int) -> Statistics:
    """Of `num` values per channel. Moves the running statistics towards those of the batch, as batch norm does."""
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    assert norm.num_batches_tracked is not None
    of_batch = Statistics(torch.empty_like(sums), torch.empty(sums.shape))
    running = float(norm.momentum), norm.eps, norm.running_mean, norm.running_var
    library.call("batch_statistics", sums, num, sums.shape[1], norm.weight, norm.bias, *running, *of_batch)
    norm.num_batches_tracked.add_(1)
    return of_batch


def norm_gradient(
    inner: Tensor, x: Tensor, of_batch: Statistics, sums: Tensor, *, in_place: bool = False
) -> tuple[Tensor, Tensor]:
    """dx from g, x and the sums of g and of g · x; and what the norm's weight and bias gain, float32 (2, C).

    in_place: dx replaces g, which saves memory that would have to be fetched.
    """
    result, weights = inner if in_place else torch.empty_like(x), weights_like(sums)
    call("norm_gradient", inner, x, num_pixels(x), x.shape[1], sums, *of_batch, weights, result)
    return result, weights


def weights_like(sums: Tensor) -> Tensor:
    """Empty, for what the norm's weight and bias gain."""
    return torch.empty(sums.shape)
