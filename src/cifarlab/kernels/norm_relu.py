"""Batch norm, a shortcut to add, and ReLU as one operation, as residual networks have them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cifarlab.kernels import batch_norm
from cifarlab.kernels.batch_norm import call, num_pixels, sizes


def norm_relu(x: Tensor, norm: nn.Module, added: Tensor | None = None, *, sums: Tensor | None = None) -> Tensor:
    """ReLU(norm(x) + added) for x and added (N, C, H, W); sums: those of x per channel and of its squares, where known.

    By the kernels in training, where they can; else by torch's own operations, with the same result up to rounding.
    """
    alike = added is None or (added.dtype == x.dtype and added.shape == x.shape)
    if not batch_norm.trains(norm) or not alike or not batch_norm.fits(x):
        return F.relu(norm(x) if added is None else norm(x) + added, inplace=True)
    if added is not None:
        added = added.contiguous(memory_format=torch.channels_last)
    output: Tensor = NormRelu.apply(x, added, norm.weight, norm.bias, norm, sums)
    return output


class NormRelu(torch.autograd.Function):
    """The operation in training: it takes the statistics of the batch and notes them in the norm's running ones."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        added: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        norm: nn.BatchNorm2d,
        sums: Tensor | None,
    ) -> Tensor:
        """x and added (N, C, H, W), weight and bias (C), sums float64 (2, C)."""
        of_batch = batch_norm.statistics(norm, batch_norm.sums_of(x) if sums is None else sums, num_pixels(x))
        output = torch.empty_like(x)
        maps = x, 0 if added is None else added
        call("relu_of_affine", *maps, num_pixels(x), x.shape[1], of_batch.scale, of_batch.shift, output)
        ctx.save_for_backward(x, None if added is None else output, *of_batch)
        ctx.norm = norm
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor, None, None]:
        """The gradients for x, added, weight and bias."""
        x, output, mean, r, scale, shift = ctx.saved_tensors
        num, height, width, channels = sizes(x)
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        inner, sums = torch.empty_like(x), batch_norm.zero_sums(channels)
        maps = gradient, x, 0 if output is None else output
        call("relu_gradient_and_sums", *maps, scale, shift, num, height * width, channels, inner, sums)
        found = batch_norm.gradient(ctx.norm, mean, r, sums, num_pixels(x))
        result = batch_norm.norm_gradient(inner, x, found.linear)
        return result, None if output is None else inner, found.weight, found.bias, None, None
