"""Max pool, batch norm and GELU as one operation, which reads and writes memory a third as often as three."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cifarlab.kernels import batch_norm
from cifarlab.kernels.batch_norm import (
    LANES,
    Statistics,
    call,
    num_pixels,
    sizes,
    statistics,
    sums_of,
    weights_like,
    zero_sums,
)


def pool_norm_gelu(x: Tensor, norm: nn.Module, *, pool: bool, sums: Tensor | None = None) -> Tensor:
    """GELU(norm(x)) for x (N, C, H, W), pooled 2×2 before that or not.

    sums: without a pool, those of x per channel and of its squares, float64 (2, C), where known. norm: a batch norm
    whose scale stays 1, or the identity where one was folded. By the kernels where they can; else, and for gradients in
    evaluation mode, by torch's own operations, with the same result up to rounding.
    """
    if _fits(x, pool=pool) and batch_norm.trains(norm):
        output: Tensor = PoolNormGelu.apply(x, norm.bias, norm, pool, sums)
        return output
    has_gradient = x.requires_grad and torch.is_grad_enabled()
    if not _fits(x, pool=pool) or has_gradient or (isinstance(norm, nn.BatchNorm2d) and norm.training):
        return F.gelu(norm(F.max_pool2d(x, 2) if pool else x))
    return gelu_of_affine(x, _running_affine(norm, x.shape[1]), pool=pool)


def norm_add_gelu(x: Tensor, norm: nn.Module, added: Tensor, *, sums: Tensor | None = None) -> Tensor:
    """GELU(norm(x) + added) for x and added (N, C, H, W): the end of a shortcut.

    sums, and when the kernels do it: as above.
    """
    alike = batch_norm.fits(x) and added.dtype == x.dtype and added.shape == x.shape
    has_gradient = torch.is_grad_enabled() and (x.requires_grad or added.requires_grad)
    if alike and batch_norm.trains(norm):
        output: Tensor = NormAddGelu.apply(x, _in_order(added), norm.bias, norm, sums)
        return output
    if not alike or has_gradient or (isinstance(norm, nn.BatchNorm2d) and norm.training):
        return F.gelu(norm(x) + added)
    return gelu_of_affine(x, _running_affine(norm, x.shape[1]), added=_in_order(added))


def gelu(x: Tensor) -> Tensor:
    """GELU alone, by the kernel where no gradient is asked for."""
    if x.requires_grad or not batch_norm.known(x) or x.numel() % LANES:
        return F.gelu(x)
    output = torch.empty_like(x)
    call("gelu_of_affine", x, 0, x.numel() // LANES, LANES, _identity(LANES), output)
    return output


class PoolNormGelu(torch.autograd.Function):
    """The operation in training: it takes the statistics of the batch and notes them in the norm's running ones."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, norm: nn.BatchNorm2d, pool: bool, sums: Tensor | None) -> Tensor:
        """x (N, C, H, W), bias (C), sums float64 (2, C)."""
        pooled, places = (pooled_like(x), places_like(x)) if pool else (x, x.new_empty(0, dtype=torch.uint8))
        if pool:
            sums = zero_sums(x.shape[1])
            pool_and_sums(x, pooled, places, sums)
        elif sums is None:
            sums = sums_of(x)
        of_batch = statistics(norm, sums, num_pixels(pooled))
        ctx.save_for_backward(pooled, places, *of_batch)
        ctx.pool = pool
        return gelu_of_affine(pooled, of_batch.affine)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """The gradients for x and bias."""
        pooled, places, *of_batch = ctx.saved_tensors
        inner, sums = gelu_gradient(gradient, pooled, Statistics(*of_batch))
        how = Statistics(*of_batch), sums
        for_x, weights = (
            pool_gradient(inner, pooled, places, *how) if ctx.pool else batch_norm.norm_gradient(inner, pooled, *how)
        )
        return for_x, weights[1], None, None, None


class NormAddGelu(torch.autograd.Function):
    """The same without a pool and with something to add in front of GELU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, added: Tensor, bias: Tensor, norm: nn.BatchNorm2d, sums: Tensor | None) -> Tensor:
        """x and added (N, C, H, W), bias (C), sums float64 (2, C)."""
        of_batch = statistics(norm, sums_of(x) if sums is None else sums, num_pixels(x))
        ctx.save_for_backward(x, added, *of_batch)
        return gelu_of_affine(x, of_batch.affine, added=added)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """The gradients for x, added and bias."""
        x, added, *of_batch = ctx.saved_tensors
        inner, sums = gelu_gradient(gradient, x, Statistics(*of_batch), added=added)
        for_x, weights = batch_norm.norm_gradient(inner, x, Statistics(*of_batch), sums)
        return for_x, inner, weights[1], None, None


def pool_and_sums(x: Tensor, pooled: Tensor, places: Tensor, sums: Tensor) -> None:
    """Fill `pooled` and where in its window each value was found, and add to the channels' sums and sums of squares."""
    call("pool_and_sums", x, *sizes(x), pooled, places, sums)


def gelu_gradient(
    gradient: Tensor, pooled: Tensor, of_batch: Statistics, *, added: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Back through GELU: the inner gradient g, and the sums that the norm's gradient needs."""
    inner, sums = torch.empty_like(pooled), zero_sums(pooled.shape[1])
    gradient = _in_order(gradient.to(pooled.dtype))
    num, height, width, channels = sizes(pooled)
    maps = gradient, pooled, added
    call("gelu_gradient_and_sums", *maps, num, height * width, channels, of_batch.affine, inner, sums)
    return inner, sums


def pool_gradient(
    inner: Tensor, pooled: Tensor, places: Tensor, of_batch: Statistics, sums: Tensor
) -> tuple[Tensor, Tensor]:
    """Back through the norm and the pool: zero wherever the pool did not find its value; and as norm_gradient."""
    num, height, width, channels = sizes(pooled)
    shape = (num, channels, 2 * height, 2 * width)
    result = torch.empty(shape, dtype=pooled.dtype, memory_format=torch.channels_last)
    weights = weights_like(sums)
    call("norm_and_pool_gradient", inner, pooled, places, *sizes(result), sums, *of_batch, weights, result)
    return result, weights


def gelu_of_affine(x: Tensor, affine: Tensor, *, pool: bool = False, added: Tensor | None = None) -> Tensor:
    """GELU(scale · x + shift), of x pooled before, or with something added; affine: scale and shift, float32 (2, C)."""
    output = pooled_like(x) if pool else torch.empty_like(x)
    num, height, width, channels = sizes(x)
    if pool:
        call("pool_and_gelu_of_affine", x, num, height, width, channels, affine, output)
    else:
        call("gelu_of_affine", x, added, num * height * width, channels, affine, output)
    return output


def pooled_like(x: Tensor, channels: int = 0) -> Tensor:
    """An empty map of half the sides, with as many channels or others."""
    shape = (len(x), channels or x.shape[1], x.shape[2] // 2, x.shape[3] // 2)
    return torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)


def places_like(x: Tensor, channels: int = 0) -> Tensor:
    """Empty, for the places (0 to 3) of its values."""
    shape = (len(x), channels or x.shape[1], x.shape[2] // 2, x.shape[3] // 2)
    return torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)


def _in_order(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _fits(x: Tensor, *, pool: bool) -> bool:
    even = x.shape[2] % 2 == x.shape[3] % 2 == 0
    return batch_norm.fits(x) and (not pool or (even and num_pixels(x) > 4))


def _running_affine(norm: nn.Module, channels: int) -> Tensor:
    """The scale and shift of a norm in evaluation mode."""
    if not isinstance(norm, nn.BatchNorm2d):
        return _identity(channels)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    return torch.stack([scale, norm.bias - norm.running_mean * scale]).float()


def _identity(channels: int) -> Tensor:
    return torch.stack([torch.ones(channels), torch.zeros(channels)])
