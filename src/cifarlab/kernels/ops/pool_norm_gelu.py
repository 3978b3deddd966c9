"""Max pool, batch norm and GELU as one operation, which reads and writes memory a third as often as three.

Values pass through memory once forward and twice backward. Forward and backward take 0.41 to 0.59 of torch's time
(the table in docs/speed.md).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cifarlab.kernels.ops import batch_norm
from cifarlab.kernels.ops.batch_norm import (
    Statistics,
    batch_statistics,
    call,
    channel_sums,
    empty_gradients,
    nhwc_shape,
    num_pixels,
    zero_sums,
)


def pool_norm_gelu(x: Tensor, norm: nn.Module, *, pool: bool, sums: Tensor | None = None) -> Tensor:
    """Return GELU(norm(x)) for x (N, C, H, W), with a 2×2 max pool before the norm if `pool`.

    norm: a batch norm whose scale stays 1, or the identity that folding leaves. sums: of x and x² per channel, float64
    (2, C), if the convolution before has added them up; without a pool only. Runs on the kernels where they support x;
    otherwise, and for gradients in evaluation mode, on torch's own operations, with the same result up to rounding.
    """
    if _supports(x, pool=pool) and batch_norm.is_training(norm):
        output: Tensor = PoolNormGelu.apply(x, norm.bias, norm, pool, sums)
        return output
    needs_gradient = x.requires_grad and torch.is_grad_enabled()
    # A norm that trains here is one that the kernels do not take, such as one with a cumulative average.
    if not _supports(x, pool=pool) or needs_gradient or (isinstance(norm, nn.BatchNorm2d) and norm.training):
        return F.gelu(norm(F.max_pool2d(x, 2) if pool else x))
    # Predicting: the running statistics are constants, so norm and GELU are one function of each value.
    return affine_gelu(x, _running_affine(norm, x.shape[1]), pool=pool)


def norm_add_gelu(x: Tensor, norm: nn.Module, shortcut: Tensor, *, sums: Tensor | None = None) -> Tensor:
    """Return GELU(norm(x) + shortcut) for x and shortcut (N, C, H, W), the end of a residual group.

    norm, sums, and when it runs on the kernels: see `pool_norm_gelu`.
    """
    # The kernel reads both maps at the same addresses, so nothing may be broadcast or converted.
    alike = batch_norm.supports(x) and shortcut.dtype == x.dtype and shortcut.shape == x.shape
    needs_gradient = torch.is_grad_enabled() and (x.requires_grad or shortcut.requires_grad)
    if alike and batch_norm.is_training(norm):
        output: Tensor = NormAddGelu.apply(x, _channels_last(shortcut), norm.bias, norm, sums)
        return output
    if not alike or needs_gradient or (isinstance(norm, nn.BatchNorm2d) and norm.training):
        return F.gelu(norm(x) + shortcut)
    return affine_gelu(x, _running_affine(norm, x.shape[1]), shortcut=_channels_last(shortcut))


class PoolNormGelu(torch.autograd.Function):
    """Pool, batch norm in training mode and GELU; forward also updates the norm's running statistics."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, norm: nn.BatchNorm2d, pool: bool, sums: Tensor | None) -> Tensor:
        """x: (N, C, H, W); bias: (C), the norm's own, passed for autograd to see; sums: float64 (2, C)."""
        # Without a pool x itself stands for `pooled`, and the indices are empty.
        pooled, indices = (empty_pooled(x), empty_indices(x)) if pool else (x, x.new_empty(0, dtype=torch.uint8))
        if pool:
            sums = zero_sums(x.shape[1])
            # The sums of the pooled values cost nothing while the pool has them in registers.
            call("pool_and_sums", x, *nhwc_shape(x), pooled, indices, sums)
        elif sums is None:
            sums = channel_sums(x)
        stats = batch_statistics(norm, sums, num_pixels(pooled))
        ctx.save_for_backward(pooled, indices, *stats)  # a quarter of x, and one byte per pooled value
        ctx.pool = pool
        return affine_gelu(pooled, stats.affine)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """Return the gradients for x and bias."""
        pooled, indices, *saved = ctx.saved_tensors
        stats = Statistics(*saved)
        gradient, sums = gelu_gradient(gradient, pooled, stats)
        # The sums of all pixels have to be known before dx of the first one: hence two passes.
        x_gradient, parameter_gradients = (
            pool_gradient(gradient, pooled, indices, stats, sums)
            if ctx.pool
            else batch_norm.norm_gradient(gradient, pooled, stats, sums)
        )
        return x_gradient, parameter_gradients[1], None, None, None  # the scale, row 0, is not learned


class NormAddGelu(torch.autograd.Function):
    """Batch norm in training mode, the sum with a shortcut, and GELU."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, shortcut: Tensor, bias: Tensor, norm: nn.BatchNorm2d, sums: Tensor | None
    ) -> Tensor:
        """x, shortcut: (N, C, H, W); bias: (C); sums: float64 (2, C)."""
        stats = batch_statistics(norm, channel_sums(x) if sums is None else sums, num_pixels(x))
        # Unlike ReLU's, GELU's gradient needs the value before it, so the shortcut is kept instead of the output.
        ctx.save_for_backward(x, shortcut, *stats)
        return affine_gelu(x, stats.affine, shortcut=shortcut)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Return the gradients for x, shortcut and bias."""
        x, shortcut, *saved = ctx.saved_tensors
        stats = Statistics(*saved)
        gradient, sums = gelu_gradient(gradient, x, stats, shortcut=shortcut)  # before GELU: also the shortcut's
        x_gradient, parameter_gradients = batch_norm.norm_gradient(gradient, x, stats, sums)
        return x_gradient, gradient, parameter_gradients[1], None, None


def gelu_gradient(
    gradient: Tensor, x: Tensor, stats: Statistics, *, shortcut: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Go back through GELU: return g, the gradient for its input, and the sums of g and g · x, float64 (2, C).

    x: the norm's input; shortcut: what was added to the norm's output.
    """
    result, sums = torch.empty_like(x), zero_sums(x.shape[1])
    gradient = _channels_last(gradient.to(x.dtype))  # autograd may deliver it in any order
    num, height, width, channels = nhwc_shape(x)
    maps = gradient, x, shortcut  # all (N, C, H, W), stored as (N, H, W, C)
    call("gelu_gradient_and_sums", *maps, num, height * width, channels, stats.affine, result, sums)
    return result, sums


def pool_gradient(
    gradient: Tensor, pooled: Tensor, indices: Tensor, stats: Statistics, sums: Tensor
) -> tuple[Tensor, Tensor]:
    """Go back through norm and pool, and return what `batch_norm.norm_gradient` returns, with twice the sides.

    Each window's gradient goes to the pixel that held its maximum; the others get zero.
    """
    num, height, width, channels = nhwc_shape(pooled)
    shape = (num, channels, 2 * height, 2 * width)
    # Uninitialised, since the kernel writes the zeros of the other three pixels as well.
    result = torch.empty(shape, dtype=pooled.dtype, memory_format=torch.channels_last)
    parameter_gradients = empty_gradients(sums)
    sizes = nhwc_shape(result)
    call("norm_and_pool_gradient", gradient, pooled, indices, *sizes, sums, *stats, parameter_gradients, result)
    return result, parameter_gradients


def affine_gelu(x: Tensor, affine: Tensor, *, pool: bool = False, shortcut: Tensor | None = None) -> Tensor:
    """Return GELU(scale · x + shift), of x pooled 2×2 first or with a shortcut added; affine: float32 (2, C)."""
    output = empty_pooled(x) if pool else torch.empty_like(x)
    num, height, width, channels = nhwc_shape(x)
    if pool:  # when predicting only: in training the pool comes first, for the statistics
        call("pool_and_gelu_of_affine", x, num, height, width, channels, affine, output)
    else:
        call("gelu_of_affine", x, shortcut, num * height * width, channels, affine, output)
    return output


def empty_pooled(x: Tensor, channels: int = 0) -> Tensor:
    """An uninitialised map of half the sides, with x's number of channels or another."""
    shape = (len(x), channels or x.shape[1], x.shape[2] // 2, x.shape[3] // 2)
    return torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)


def empty_indices(x: Tensor, channels: int = 0) -> Tensor:
    """Uninitialised pool indices, uint8: which of a window's four pixels, 0 to 3, holds the maximum."""
    shape = (len(x), channels or x.shape[1], x.shape[2] // 2, x.shape[3] // 2)
    return torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _supports(x: Tensor, *, pool: bool) -> bool:
    even = x.shape[2] % 2 == x.shape[3] % 2 == 0
    return batch_norm.supports(x) and (not pool or (even and num_pixels(x) > 4))  # more than one value after pooling


def _running_affine(norm: nn.Module, channels: int) -> Tensor:
    """The scale and shift of a norm in evaluation mode, float32 (2, C)."""
    if not isinstance(norm, nn.BatchNorm2d):  # the identity where a norm was folded into its convolution
        return _identity_affine(channels)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()  # float64, so that the result is rounded once
    # norm.weight is left out: it stays 1 in speednet's norms.
    return torch.stack([scale, norm.bias - norm.running_mean * scale]).float()


def _identity_affine(channels: int) -> Tensor:
    return torch.stack([torch.ones(channels), torch.zeros(channels)]).float()
