"""Batch norm, the sum with a shortcut, and ReLU as one operation, as residual networks have them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cifarlab.kernels.ops import batch_norm
from cifarlab.kernels.ops.batch_norm import Statistics, call, empty_gradients, lanes, nhwc_shape, num_pixels, zero_sums


def norm_relu(x: Tensor, norm: nn.Module, shortcut: Tensor | None = None, *, sums: Tensor | None = None) -> Tensor:
    """Return ReLU(norm(x) + shortcut) for x and shortcut (N, C, H, W).

    sums: of x and x² per channel, float64 (2, C), if the convolution before has added them up. Runs on the kernels in
    training where they support x; otherwise on torch's own operations, with the same result up to rounding.
    """
    # The kernel reads both maps at the same addresses, so nothing may be broadcast or converted.
    alike = shortcut is None or (shortcut.dtype == x.dtype and shortcut.shape == x.shape)
    if not batch_norm.is_training(norm) or not alike or not batch_norm.supports(x):
        # In place: the norm's output, or the sum, is a temporary that nothing else holds.
        return F.relu(norm(x) if shortcut is None else norm(x) + shortcut, inplace=True)
    if shortcut is not None:
        shortcut = shortcut.contiguous(memory_format=torch.channels_last)
        output: Tensor = NormAddRelu.apply(x, shortcut, norm.weight, norm.bias, norm, sums)
    else:
        output = NormRelu.apply(x, norm.weight, norm.bias, norm, sums)
    return output


class NormRelu(torch.autograd.Function):
    """Batch norm in training mode and ReLU; forward also updates the norm's running statistics."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, sums: Tensor | None) -> Tensor:
        """x: (N, C, H, W); weight, bias: (C), the norm's own, passed for autograd to see; sums: float64 (2, C)."""
        sums = batch_norm.channel_sums(x) if sums is None else sums
        stats = batch_norm.batch_statistics(norm, sums, num_pixels(x))
        ctx.save_for_backward(x, *stats)  # not the output: its sign follows from x and the scale and shift
        return affine_relu(x, stats.affine)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Return the gradients for x, weight and bias."""
        x, *saved = ctx.saved_tensors
        stats = Statistics(*saved)
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        # Two passes: dx needs the sums over all pixels, so the gradient before ReLU is worked out twice, never stored.
        sums = gradient_sums(gradient, x, stats, relu=True)  # float64 (2, C)
        result, parameter_gradients = torch.empty_like(x), empty_gradients(sums)
        sizes = num_pixels(x), x.shape[1]
        call("affine_gradient", gradient, x, *sizes, sums, *stats, parameter_gradients, result)
        # One result per argument of forward: the module and the sums have no gradient.
        return result, parameter_gradients[0], parameter_gradients[1], None, None


class NormAddRelu(torch.autograd.Function):
    """Batch norm in training mode, the sum with a shortcut, and ReLU."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, shortcut: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, sums: Tensor | None
    ) -> Tensor:
        """x, shortcut: (N, C, H, W); weight, bias: (C); sums: float64 (2, C)."""
        sums = batch_norm.channel_sums(x) if sums is None else sums
        stats = batch_norm.batch_statistics(norm, sums, num_pixels(x))
        output = affine_relu(x, stats.affine, shortcut)
        ctx.save_for_backward(x, output, *stats)  # the output instead of the shortcut: the next layer keeps it anyway
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None, None]:
        """Return the gradients for x, shortcut, weight and bias."""
        x, output, *saved = ctx.saved_tensors
        gradient, sums = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last), zero_sums(x.shape[1])
        summed = sum_gradient(gradient, x, output, sums)  # before ReLU; the shortcut's gradient, and the norm's
        # Not in place: `summed` is handed out as the shortcut's gradient.
        result, parameter_gradients = batch_norm.norm_gradient(summed, x, Statistics(*saved), sums)
        return result, summed, parameter_gradients[0], parameter_gradients[1], None, None


def affine_relu(
    x: Tensor,
    affine: Tensor,
    shortcut: Tensor | None = None,
    *,
    shortcut_affine: Tensor | None = None,
    shortcut_relu: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    """Return ReLU(scale · x + shift + shortcut); affine: scale and shift, float32 (2, C).

    shortcut_affine: a scale and shift for the shortcut, which with shortcut_relu passes through a ReLU of its own.
    mask: as `empty_mask` makes it, to which one bit per value of the output is written: whether it is above 0.
    """
    output = torch.empty_like(x)
    call("rectified", x, shortcut, num_pixels(x), x.shape[1], affine, shortcut_affine, int(shortcut_relu), output, mask)
    return output


def empty_mask(x: Tensor) -> Tensor:
    """An uninitialised mask, one bit per value of x, lowest first: a number for each register, (N, H, W, C / lanes)."""
    num, height, width, channels = nhwc_shape(x)
    dtype = torch.int16 if lanes() == 16 else torch.uint8  # what comparing a register gives
    return torch.empty(num, height, width, channels // lanes(), dtype=dtype)


def gradient_sums(gradient: Tensor, x: Tensor, stats: Statistics, *, relu: bool) -> Tensor:
    """Return the sums of g and g · x, float64 (2, C), that the norm's gradient needs.

    relu: g is the gradient before the ReLU behind the norm, so values where it is closed do not count.
    """
    num, height, width, channels = nhwc_shape(x)
    sums = zero_sums(channels)
    # The affine tells where the ReLU is open; x itself is also needed for the second sum.
    call("gradient_sums", gradient, x, stats.affine, int(relu), num, height * width, channels, sums)
    return sums


def sum_gradient(gradient: Tensor, x: Tensor, output: Tensor, sums: Tensor) -> Tensor:
    """Return g, the gradient before the ReLU of a sum, and add those of g and g · x to `sums`."""
    return _sum_gradient("added_gradient", gradient, x, output, sums)


def means_gradient(gradient: Tensor, x: Tensor, output: Tensor, sums: Tensor) -> Tensor:
    """Like `sum_gradient`, from the gradient of each image's means over the pixels, (N, C), after the last block."""
    return _sum_gradient("means_gradient", gradient, x, output, sums)


def _sum_gradient(kernel: str, gradient: Tensor, x: Tensor, output: Tensor, sums: Tensor) -> Tensor:
    num, height, width, channels = nhwc_shape(x)
    result = torch.empty_like(x)
    call(kernel, gradient, x, output, num, height * width, channels, result, sums)
    return result
