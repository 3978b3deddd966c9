"""Max pool, batch norm and GELU as one operation, which reads and writes memory a third as often as three.

With the pooled values x, their mean and variance per channel over the batch, and scale = 1 / sqrt(variance + eps):

    forward    y = GELU(z),  z = scale · x + shift,  shift = bias - mean · scale
    backward   g = dy · GELU'(z),  dx = scale · (g - E[g] - x̂ · E[g · x̂]),  x̂ = scale · (x - mean)

(S. Ioffe and C. Szegedy, arXiv 1502.03167, 2015). dx is linear in g and x, so one pass with three numbers per channel
gives it, written to where the pool found its maximum.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cifarlab.kernels import library

LANES = 16
"""Channels that the kernels take at once."""
SUFFIX = {torch.float32: "float", torch.bfloat16: "bf16"}


def pool_norm_gelu(x: Tensor, norm: nn.Module, *, pool: bool) -> Tensor:
    """GELU(norm(x)) for x (N, C, H, W), pooled 2×2 before that or not.

    norm: a batch norm whose scale stays 1, or the identity where one was folded. By the kernels where they can; else,
    and for gradients in evaluation mode, by torch's own operations, with the same result up to rounding.
    """
    training = isinstance(norm, nn.BatchNorm2d) and norm.training
    if not _fits(x, pool=pool) or (x.requires_grad and torch.is_grad_enabled() and not training):
        return F.gelu(norm(F.max_pool2d(x, 2) if pool else x))
    if training:
        output: Tensor = PoolNormGelu.apply(x, norm.bias, norm, pool)
        return output
    return gelu_of_affine(x, *_running_affine(norm, x.shape[1]), pool=pool)


def gelu(x: Tensor) -> Tensor:
    """GELU alone, by the kernel where no gradient is asked for."""
    plain = x.device.type == "cpu" and x.dtype in SUFFIX and x.is_contiguous(memory_format=torch.channels_last)
    if x.requires_grad or not plain or x.numel() % LANES or not library.has("sums_float"):
        return F.gelu(x)
    output = torch.empty_like(x)
    _call("gelu_of_affine", x, x.numel() // LANES, LANES, torch.ones(LANES), torch.zeros(LANES), output)
    return output


class PoolNormGelu(torch.autograd.Function):
    """The operation in training: it takes the statistics of the batch and notes them in the norm's running ones."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, norm: nn.BatchNorm2d, pool: bool) -> Tensor:
        """x (N, C, H, W), bias (C)."""
        pooled, places = (pooled_like(x), places_like(x)) if pool else (x, x.new_empty(0, dtype=torch.uint8))
        sums = zero_sums(x.shape[1])
        if pool:
            pool_and_sums(x, pooled, places, sums)
        else:
            num, height, width, channels = _sizes(x)
            _call("sums", x, num, height * width, channels, sums)
        constants = affine_of_batch(norm, sums, pooled)
        ctx.save_for_backward(pooled, places, *constants)
        ctx.pool = pool
        return gelu_of_affine(pooled, *constants[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """The gradients for x and bias."""
        pooled, places, *constants = ctx.saved_tensors
        inner, for_bias, linear = gelu_gradient(gradient, pooled, *constants)
        if ctx.pool:
            return pool_gradient(inner, pooled, places, linear), for_bias, None, None
        result = torch.empty_like(pooled)
        num, height, width, channels = _sizes(pooled)
        _call("norm_gradient", inner, pooled, num * height * width, channels, *linear, result)
        return result, for_bias, None, None


def pool_and_sums(x: Tensor, pooled: Tensor, places: Tensor, sums: Tensor) -> None:
    """Fill `pooled` and where in its window each value was found, and add to the channels' sums and sums of squares."""
    _call("pool_and_sums", x, *_sizes(x), pooled, places, sums)


def affine_of_batch(norm: nn.BatchNorm2d, sums: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, scale and shift (C each, float64), so that scale · x + shift is the norm of this batch.

    Moves the running statistics towards those of the batch, as batch norm does.
    """
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    assert norm.num_batches_tracked is not None
    num = pooled.numel() // pooled.shape[1]
    mean = sums[0] / num
    variance = (sums[1] / num - mean.square()).clamp(min=0)
    with torch.no_grad():
        norm.running_mean.lerp_(mean.float(), norm.momentum)
        norm.running_var.lerp_((variance * num / (num - 1)).float(), norm.momentum)
        norm.num_batches_tracked.add_(1)
    scale = (variance + norm.eps).rsqrt()
    return mean, scale, norm.bias.detach().double() - mean * scale


def gelu_gradient(
    gradient: Tensor, pooled: Tensor, mean: Tensor, scale: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Back through GELU: the inner gradient g, that for the bias, and the numbers that make dx of g, x and 1."""
    inner, sums = torch.empty_like(pooled), zero_sums(len(mean))
    gradient = gradient.to(pooled.dtype).contiguous(memory_format=torch.channels_last)
    num, height, width, channels = _sizes(pooled)
    constants = scale.float(), shift.float()
    _call("gelu_gradient_and_sums", gradient, pooled, num, height * width, channels, *constants, inner, sums)
    pixels = num * height * width
    of_x = -(scale**3) * (sums[1] - sums[0] * mean) / pixels
    constant = -scale * sums[0] / pixels - of_x * mean
    return inner, sums[0].float(), (scale.float(), of_x.float(), constant.float())


def pool_gradient(inner: Tensor, pooled: Tensor, places: Tensor, linear: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Back through the norm and the pool: zero wherever the pool did not find its value."""
    num, height, width, channels = _sizes(pooled)
    shape = (num, channels, 2 * height, 2 * width)
    result = torch.empty(shape, dtype=pooled.dtype, memory_format=torch.channels_last)
    _call("norm_and_pool_gradient", inner, pooled, places, *_sizes(result), *linear, result)
    return result


def gelu_of_affine(x: Tensor, scale: Tensor, shift: Tensor, *, pool: bool = False) -> Tensor:
    """GELU(scale · x + shift), pooled before or not."""
    output = pooled_like(x) if pool else torch.empty_like(x)
    num, height, width, channels = _sizes(x)
    constants = scale.float(), shift.float()
    if pool:
        _call("pool_and_gelu_of_affine", x, num, height, width, channels, *constants, output)
    else:
        _call("gelu_of_affine", x, num * height * width, channels, *constants, output)
    return output


def pooled_like(x: Tensor, channels: int = 0) -> Tensor:
    """An empty map of half the sides, with as many channels or others."""
    shape = (len(x), channels or x.shape[1], x.shape[2] // 2, x.shape[3] // 2)
    return torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)


def places_like(x: Tensor, channels: int = 0) -> Tensor:
    """Empty, for the places (0 to 3) of its values."""
    shape = (len(x), channels or x.shape[1], x.shape[2] // 2, x.shape[3] // 2)
    return torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)


def zero_sums(channels: int) -> Tensor:
    """For sums and sums of squares."""
    return torch.zeros(2, channels, dtype=torch.float64)


def _fits(x: Tensor, *, pool: bool) -> bool:
    num, channels, height, width = x.shape
    known = x.device.type == "cpu" and x.dtype in SUFFIX and x.is_contiguous(memory_format=torch.channels_last)
    whole = channels % LANES == 0 and not (pool and (height % 2 or width % 2))
    return known and whole and num * height * width > 4 and library.has("sums_float")


def _running_affine(norm: nn.Module, channels: int) -> tuple[Tensor, Tensor]:
    """The scale and shift of a norm in evaluation mode."""
    if not isinstance(norm, nn.BatchNorm2d):
        return torch.ones(channels), torch.zeros(channels)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    return scale, norm.bias.double() - norm.running_mean * scale


def _call(name: str, first: Tensor, *others: Tensor | int) -> None:
    """The kernel of this name for the type of the first tensor."""
    library.call(f"{name}_{SUFFIX[first.dtype]}", first, *others)


def _sizes(x: Tensor) -> tuple[int, int, int, int]:
    """(N, H, W, C), as it lies in memory."""
    num, channels, height, width = x.shape
    return num, height, width, channels
