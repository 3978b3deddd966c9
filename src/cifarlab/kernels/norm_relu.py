"""Batch norm, a shortcut to add, and ReLU as one operation, as residual networks have them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cifarlab.kernels import batch_norm
from cifarlab.kernels.batch_norm import Statistics, call, num_pixels, sizes, zero_sums


def norm_relu(x: Tensor, norm: nn.Module, added: Tensor | None = None, *, sums: Tensor | None = None) -> Tensor:
    """ReLU(norm(x) + added) for x and added (N, C, H, W); sums: those of x per channel and of its squares, where known.

    By the kernels in training, where they can; else by torch's own operations, with the same result up to rounding.
    """
    alike = added is None or (added.dtype == x.dtype and added.shape == x.shape)
    if not batch_norm.trains(norm) or not alike or not batch_norm.fits(x):
        return F.relu(norm(x) if added is None else norm(x) + added, inplace=True)
    if added is not None:
        added = added.contiguous(memory_format=torch.channels_last)
        output: Tensor = NormAddRelu.apply(x, added, norm.weight, norm.bias, norm, sums)
    else:
        output = AffineNorm.apply(x, norm.weight, norm.bias, norm, sums, True)
    return output


def normed(x: Tensor, norm: nn.Module) -> Tensor:
    """norm(x), by the kernels where they can."""
    if not batch_norm.trains(norm) or not batch_norm.fits(x):
        result: Tensor = norm(x)
        return result
    output: Tensor = AffineNorm.apply(x, norm.weight, norm.bias, norm, None, False)
    return output


class AffineNorm(torch.autograd.Function):
    """The norm in training, with or without ReLU: it notes the batch's statistics in the norm's running ones."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, sums: Tensor | None, relu: bool
    ) -> Tensor:
        """x (N, C, H, W), weight and bias (C), sums float64 (2, C)."""
        of_batch = batch_norm.statistics(norm, batch_norm.sums_of(x) if sums is None else sums, num_pixels(x))
        output = torch.empty_like(x)
        call("affine", x, 0, num_pixels(x), x.shape[1], of_batch.scale, of_batch.shift, int(relu), output)
        ctx.save_for_backward(x, *of_batch)
        ctx.relu = relu
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        """The gradients for x, weight and bias."""
        x, *saved = ctx.saved_tensors
        of_batch = Statistics(*saved)
        num, height, width, channels = sizes(x)
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        inner, sums = (gradient, x, of_batch.scale, of_batch.shift, int(ctx.relu)), zero_sums(channels)
        call("gradient_sums", *inner, num, height * width, channels, sums)
        found, result = batch_norm.gradient(of_batch, sums, num_pixels(x)), torch.empty_like(x)
        call("affine_gradient", *inner, num_pixels(x), channels, *found.linear, result)
        return result, found.weight, found.bias, None, None, None


class NormAddRelu(torch.autograd.Function):
    """The same with something to add in front of ReLU."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, added: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, sums: Tensor | None
    ) -> Tensor:
        """x and added (N, C, H, W), weight and bias (C), sums float64 (2, C)."""
        of_batch = batch_norm.statistics(norm, batch_norm.sums_of(x) if sums is None else sums, num_pixels(x))
        output = torch.empty_like(x)
        call("affine", x, added, num_pixels(x), x.shape[1], of_batch.scale, of_batch.shift, 1, output)
        ctx.save_for_backward(x, output, *of_batch)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None, None]:
        """The gradients for x, added, weight and bias."""
        x, output, *of_batch = ctx.saved_tensors
        num, height, width, channels = sizes(x)
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        inner, sums = torch.empty_like(x), zero_sums(channels)
        call("added_gradient", gradient, x, output, num, height * width, channels, inner, sums)
        found = batch_norm.gradient(Statistics(*of_batch), sums, num_pixels(x))
        return batch_norm.norm_gradient(inner, x, found.linear), inner, found.weight, found.bias, None, None
