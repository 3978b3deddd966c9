"""Batch norm, a shortcut to add, and ReLU as one operation, as residual networks have them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cifarlab.kernels import batch_norm
from cifarlab.kernels.batch_norm import LANES, Statistics, call, num_pixels, sizes, weights_like, zero_sums


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
        output = NormRelu.apply(x, norm.weight, norm.bias, norm, sums)
    return output


class NormRelu(torch.autograd.Function):
    """The norm in training, and ReLU: it notes the batch's statistics in the norm's running ones."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, sums: Tensor | None) -> Tensor:
        """x (N, C, H, W), weight and bias (C), sums float64 (2, C)."""
        of_batch = batch_norm.statistics(norm, batch_norm.sums_of(x) if sums is None else sums, num_pixels(x))
        ctx.save_for_backward(x, *of_batch)
        return rectified(x, of_batch.affine)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """The gradients for x, weight and bias."""
        x, *saved = ctx.saved_tensors
        of_batch = Statistics(*saved)
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        sums = gradient_sums(gradient, x, of_batch, relu=True)
        result, weights = torch.empty_like(x), weights_like(sums)
        call("affine_gradient", gradient, x, num_pixels(x), x.shape[1], sums, *of_batch, weights, result)
        return result, weights[0], weights[1], None, None


class NormAddRelu(torch.autograd.Function):
    """The same with something to add in between."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, added: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, sums: Tensor | None
    ) -> Tensor:
        """x and added (N, C, H, W), weight and bias (C), sums float64 (2, C)."""
        of_batch = batch_norm.statistics(norm, batch_norm.sums_of(x) if sums is None else sums, num_pixels(x))
        output = rectified(x, of_batch.affine, added)
        ctx.save_for_backward(x, output, *of_batch)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None, None]:
        """The gradients for x, added, weight and bias."""
        x, output, *of_batch = ctx.saved_tensors
        gradient, sums = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last), zero_sums(x.shape[1])
        inner = added_gradient(gradient, x, output, sums)
        result, weights = batch_norm.norm_gradient(inner, x, Statistics(*of_batch), sums)
        return result, inner, weights[0], weights[1], None, None


def rectified(
    x: Tensor,
    affine: Tensor,
    added: Tensor | None = None,
    *,
    of_added: Tensor | None = None,
    relu_added: bool = False,
    passed: Tensor | None = None,
) -> Tensor:
    """ReLU(scale · x + shift + added) by scale and shift, float32 (2, C).

    of_added: those of what is added, which with relu_added passes through ReLU as well.
    passed: int16 (N, H, W, C / 16), which gets one bit for each number, whether it is above 0.
    """
    output = torch.empty_like(x)
    call("rectified", x, added, num_pixels(x), x.shape[1], affine, of_added, int(relu_added), output, passed)
    return output


def passed_like(x: Tensor) -> Tensor:
    """Empty, for the bits of x."""
    num, height, width, channels = sizes(x)
    return torch.empty(num, height, width, channels // LANES, dtype=torch.int16)


def gradient_sums(gradient: Tensor, x: Tensor, of_batch: Statistics, *, relu: bool) -> Tensor:
    """The sums that the norm's gradient needs, of the gradient in front of ReLU or, without `relu`, of all of it."""
    num, height, width, channels = sizes(x)
    sums = zero_sums(channels)
    call("gradient_sums", gradient, x, of_batch.affine, int(relu), num, height * width, channels, sums)
    return sums


def added_gradient(gradient: Tensor, x: Tensor, output: Tensor, sums: Tensor) -> Tensor:
    """The gradient in front of ReLU where something was added; to `sums` are added those that the norm's needs."""
    return _added_gradient("added_gradient", gradient, x, output, sums)


def means_gradient(gradient: Tensor, x: Tensor, output: Tensor, sums: Tensor) -> Tensor:
    """The same from the gradient of the means over each image's pixels, (N, C)."""
    return _added_gradient("means_gradient", gradient, x, output, sums)


def _added_gradient(name: str, gradient: Tensor, x: Tensor, output: Tensor, sums: Tensor) -> Tensor:
    num, height, width, channels = sizes(x)
    inner = torch.empty_like(x)
    call(name, gradient, x, output, num, height * width, channels, inner, sums)
    return inner
