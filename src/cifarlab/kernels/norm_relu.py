"""Batch norm, a shortcut to add, and ReLU as one operation, as residual networks have them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cifarlab.kernels import batch_norm
from cifarlab.kernels.batch_norm import call, num_pixels, sizes


def norm_relu(x: Tensor, norm: nn.Module, added: Tensor | None = None) -> Tensor:
    """ReLU(norm(x) + added) for x and added (N, C, H, W).

    By the kernels in training, where they can; else by torch's own operations, with the same result up to rounding.
    """
    alike = added is None or (added.dtype == x.dtype and added.shape == x.shape)
    if not batch_norm.trains(norm) or not alike or not batch_norm.fits(x):
        return F.relu(norm(x) if added is None else norm(x) + added, inplace=True)
    if added is not None:
        added = added.contiguous(memory_format=torch.channels_last)
    output: Tensor = NormRelu.apply(x, added, norm.weight, norm.bias, norm)
    return output


class NormRelu(torch.autograd.Function):
    """The operation in training: it takes the statistics of the batch and notes them in the norm's running ones."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, added: Tensor | None, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d
    ) -> Tensor:
        """x and added (N, C, H, W), weight and bias (C)."""
        of_batch = batch_norm.statistics(norm, batch_norm.sums_of(x), num_pixels(x))
        output = torch.empty_like(x)
        maps = x, 0 if added is None else added
        call("relu_of_affine", *maps, num_pixels(x), x.shape[1], of_batch.scale, of_batch.shift, output)
        ctx.save_for_backward(x, output, of_batch.mean, of_batch.r)
        ctx.norm, ctx.has_added = norm, added is not None
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor, None]:
        """The gradients for x, added, weight and bias."""
        x, output, mean, r = ctx.saved_tensors
        num, height, width, channels = sizes(x)
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        inner, sums = torch.empty_like(x), batch_norm.zero_sums(channels)
        call("relu_gradient_and_sums", gradient, x, output, num, height * width, channels, inner, sums)
        found = batch_norm.gradient(ctx.norm, mean, r, sums, num_pixels(x))
        result = batch_norm.norm_gradient(inner, x, found.linear)
        return result, inner if ctx.has_added else None, found.weight, found.bias, None
