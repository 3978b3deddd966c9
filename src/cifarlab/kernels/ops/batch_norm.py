"""The batch norm arithmetic that the fused operations share: sums per channel, and what follows from them.

With mean and variance of x per channel over the batch, r = 1 / sqrt(variance + eps) and x̂ = r · (x - mean), the output
is weight · x̂ + bias, and the gradient for x (S. Ioffe and C. Szegedy, arXiv 1502.03167, 2015, section 3) is

    dx = weight · r · (g - E[g] - x̂ · E[g · x̂])

which is linear in g and x: three coefficients per channel are enough to compute it in one pass over memory.
"""

from __future__ import annotations

from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor, nn

from cifarlab.kernels import build

# What channels are a multiple of: the float32 values of one AVX-512 register. The same on every CPU, so that a network
# that runs on the kernels does so everywhere.
CHANNELS = 16

SUFFIX = {torch.float32: "float", torch.bfloat16: "bf16"}
"""How the names of kernels end, by the dtype of the values they process."""


class Statistics(NamedTuple):
    """Batch statistics per channel.

    moments: float64 (2, C), the mean and r, which the backward pass needs.
    affine: float32 (2, C), the scale and shift with which norm(x) = scale · x + shift.
    """

    moments: Tensor
    affine: Tensor


def lanes() -> int:
    """Channels that the kernels of this CPU process at once, and the bits of one number of a mask."""
    return build.number("lanes")


def supports(x: Tensor) -> bool:
    """Whether the kernels are loaded and can process maps (N, C, H, W) such as x."""
    num, channels, height, width = x.shape
    # One value per channel has no variance; torch raises a ValueError for it, and so it is left to torch.
    return supports_layout(x) and channels % CHANNELS == 0 and num * height * width > 1


def supports_layout(x: Tensor) -> bool:
    """Whether the kernels are loaded, for values of this dtype on this device in channels-last order."""
    plain = x.device.type == "cpu" and x.dtype in SUFFIX and x.is_contiguous(memory_format=torch.channels_last)
    return plain and build.is_loaded()


def is_training(norm: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Whether a module is a batch norm in training mode whose running statistics move with a fixed momentum."""
    # momentum=None asks for a cumulative average over all batches, which the kernels do not have.
    if not isinstance(norm, nn.BatchNorm2d) or not norm.training or norm.momentum is None:
        return False
    # Under autocast norms keep float32 weights and statistics, which is what the kernels read.
    return all(
        values is not None and values.dtype == torch.float32 for values in (norm.running_mean, norm.weight, norm.bias)
    )


def call(name: str, first: Tensor, *others: Tensor | int | None) -> None:
    """Call the variant of a kernel for the dtype of the first tensor."""
    build.call(f"{name}_{SUFFIX[first.dtype]}", first, *others)


def nhwc_shape(x: Tensor) -> tuple[int, int, int, int]:
    """The shape of x (N, C, H, W) in the order in which channels-last maps are stored, (N, H, W, C)."""
    num, channels, height, width = x.shape
    return num, height, width, channels


def num_pixels(x: Tensor) -> int:
    """N · H · W: the values per channel over the whole batch."""
    return x.numel() // x.shape[1]


def zero_sums(channels: int) -> Tensor:
    """Zeros, float64 (2, C), to which kernels add the sums of x and of x² (backward: of g and of g · x)."""
    # float64, because E[x²] - E[x]² cancels: the kernels add up a few values in float32, from a base near all of them,
    # and put these sums together in float64.
    return torch.zeros(2, channels, dtype=torch.float64)


def channel_sums(x: Tensor) -> Tensor:
    """The sums of x (N, C, H, W) and of x² per channel, float64 (2, C)."""
    num, height, width, channels = nhwc_shape(x)
    sums = zero_sums(channels)
    call("sums", x, num, height * width, channels, sums)
    return sums


def batch_statistics(norm: nn.BatchNorm2d, sums: Tensor, num: int) -> Statistics:
    """Turn the sums of `num` values per channel into statistics, and update the running ones as batch norm does."""
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    assert norm.num_batches_tracked is not None
    stats = Statistics(torch.empty_like(sums), torch.empty(sums.shape, dtype=torch.float32))  # filled by the kernel
    running = float(norm.momentum), norm.eps, norm.running_mean, norm.running_var
    # One call for what were about twenty small torch operations: 8.3 -> 4.7 ms of Python in a step of resnet18.
    build.call("batch_statistics", sums, num, sums.shape[1], norm.weight, norm.bias, *running, *stats)
    norm.num_batches_tracked.add_(1)  # unused with a fixed momentum, but part of the state dict
    return stats


def norm_gradient(
    gradient: Tensor, x: Tensor, stats: Statistics, sums: Tensor, *, in_place: bool = False
) -> tuple[Tensor, Tensor]:
    """Return dx (N, C, H, W) and the gradients for the norm's weight and bias, float32 (2, C).

    gradient: g, with respect to the norm's output; sums: of g and g · x, float64 (2, C).
    in_place: overwrite g with dx, which spares fetching another map from memory.
    """
    result, parameter_gradients = gradient if in_place else torch.empty_like(x), empty_gradients(sums)
    call("norm_gradient", gradient, x, num_pixels(x), x.shape[1], sums, *stats, parameter_gradients, result)
    return result, parameter_gradients


def empty_gradients(sums: Tensor) -> Tensor:
    """An uninitialised float32 (2, C), into which kernels write the gradients for a norm's weight and bias."""
    return torch.empty(sums.shape, dtype=torch.float32)
