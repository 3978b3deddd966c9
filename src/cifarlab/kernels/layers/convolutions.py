"""3×3 convolutions on our own kernels as operations that autograd knows, alone and with what surrounds them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cifarlab.kernels.ops import pool_norm_gelu as fused
from cifarlab.kernels.ops.batch_norm import Statistics, batch_statistics, num_pixels, zero_sums
from cifarlab.kernels.ops.conv3x3 import (
    Size,
    convolve,
    convolve_and_pool,
    images_gradient,
    out_size,
    weight_gradient,
)


def conv3x3(images: Tensor, weight: Tensor, stride: int, size: Size, *, sums: Tensor | None = None) -> Tensor:
    """Map (N, C, H, W), bf16 or float32, to (N, channels_out, *size) with padding 1.

    weight: float32 (channels_out, C, 3, 3), rounded to the images' dtype for the products; its gradient is float32.

    size: of the output; at stride 1 it may be smaller, which leaves out the last rows and columns. sums: float64
    (2, channels_out), to which the sums of the output and of its squares are added.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    output: Tensor = Conv3x3.apply(images, weight, stride, size, sums)
    return output


def conv3x3_with_shortcut(images: Tensor, weight: Tensor, *, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Return the convolution at stride 1, and the images for a shortcut around it.

    Handing out the images here means that backward receives the shortcut's gradient as well, and the kernel adds it
    before it writes its own: additions took 4.2 ms of a step of resnet18, and now 0.2.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    output, shortcut = Conv3x3WithShortcut.apply(images, weight, sums)
    return output, shortcut


def conv3x3_pool_norm_gelu(images: Tensor, weight: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Return GELU(norm(max_pool(conv(images)))) in training: stride 1, a 2×2 pool, so half the sides, rounded down."""
    images = images.contiguous(memory_format=torch.channels_last)
    output: Tensor = Conv3x3PoolNormGelu.apply(images, weight, norm.bias, norm)
    return output


class Conv3x3(torch.autograd.Function):
    """The operation behind `conv3x3`."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int, size: Size, sums: Tensor | None) -> Tensor:
        """Return the convolution; the arguments are those of `conv3x3`."""
        ctx.save_for_backward(images, weight)  # the float32 weight: filters are transformed anew for the way back
        ctx.stride = stride
        return convolve(images, weight, stride, size, sums=sums)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None, None]:
        """Return the gradients for images and weight."""
        images, weight = ctx.saved_tensors
        gradient = _like(gradient, images)
        # The first layer's images need none, which saves one of three products.
        for_images = images_gradient(images, weight, gradient, ctx.stride) if ctx.needs_input_grad[0] else None
        return for_images, weight_gradient(images, gradient, ctx.stride), None, None, None


class Conv3x3WithShortcut(torch.autograd.Function):
    """The operation behind `conv3x3_with_shortcut`."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Return the convolution and the images; the arguments are those of `conv3x3_with_shortcut`."""
        ctx.save_for_backward(images, weight)
        # A view, to which autograd attaches this operation: the shortcut's gradient then arrives in backward.
        return convolve(images, weight, 1, out_size(images, 1), sums=sums), images.view_as(images)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, shortcut_gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return the gradients for images, of both paths together, and weight."""
        images, weight = ctx.saved_tensors
        gradient = _like(gradient, images)
        for_images = images_gradient(images, weight, gradient, 1, added=_like(shortcut_gradient, images))
        return for_images, weight_gradient(images, gradient, 1), None


class Conv3x3PoolNormGelu(torch.autograd.Function):
    """The operation behind `conv3x3_pool_norm_gelu`; the convolution's own output is never written to memory."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        """images: (N, C, H, W); weight: (channels_out, C, 3, 3); bias: (channels_out), the norm's own."""
        channels_out = len(weight)
        pooled, indices = fused.empty_pooled(images, channels_out), fused.empty_indices(images, channels_out)
        sums = zero_sums(channels_out)
        convolve_and_pool(images, weight, pooled, indices, sums)
        # Of the output a quarter is kept, pooled, with one byte for each value.
        stats = batch_statistics(norm, sums, num_pixels(pooled))
        ctx.save_for_backward(images, weight, pooled, indices, *stats)
        return fused.affine_gelu(pooled, stats.affine)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        """Return the gradients for images, weight and bias."""
        images, weight, pooled, indices, *saved = ctx.saved_tensors
        stats = Statistics(*saved)
        gradient, sums = fused.gelu_gradient(gradient, pooled, stats)
        # Back through the pool: from (N, channels_out, H / 2, W / 2) to the convolution's own size.
        gradient, norm = fused.pool_gradient(gradient, pooled, indices, stats, sums)
        for_images = images_gradient(images, weight, gradient, 1) if ctx.needs_input_grad[0] else None
        return for_images, weight_gradient(images, gradient, 1), norm[1], None


def _like(gradient: Tensor, images: Tensor) -> Tensor:
    """The gradient in the dtype and memory order that the kernels take; autograd may deliver it in any."""
    return gradient.to(images.dtype).contiguous(memory_format=torch.channels_last)
