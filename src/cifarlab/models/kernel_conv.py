"""3×3 convolutions in bf16 whose gradient for the filters comes from a kernel of our own."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cifarlab.kernels import pool_norm_gelu as kernels
from cifarlab.kernels.weight_gradient import weight_gradient
from cifarlab.models.small_maps import neighbourhoods, product

SMALLEST_PIXELS = 4
"""Of the output map: up to 2×2 a product of matrices is quicker than torch's convolution, from 3×3 on slower."""
PART_BYTES = 6_000_000
"""Of a convolution's output, which the pool is to find in the CPU's caches."""

Size = tuple[int, int]


def conv3x3(images: Tensor, weight: Tensor, stride: int, size: Size) -> Tensor:
    """Map bf16 images (N, C, H, W) to (N, channels_out, *size) with padding 1; weight (channels_out, C, 3, 3), float32.

    size: that of the output, or smaller, where the last rows and columns are not wanted. The filters are rounded to
    bf16 for the products; their gradient is float32.
    """
    output: Tensor = Conv3x3.apply(images.contiguous(memory_format=torch.channels_last), weight, stride, size)
    return output


def conv3x3_pool_norm_gelu(images: Tensor, weight: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """In training: the same at stride 1, pooled 2×2, normed by the batch, and GELU: (N, channels_out, H // 2, W // 2).

    Some images at a time, so that the pool finds the convolution's output in the caches.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    output: Tensor = Conv3x3PoolNormGelu.apply(images, weight, norm.bias, norm)
    return output


class Conv3x3(torch.autograd.Function):
    """The convolution and its gradients."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int, size: Size) -> Tensor:
        """As conv3x3."""
        filters = weight.bfloat16()
        ctx.save_for_backward(images, filters)
        ctx.stride = stride
        return _convolution(images, filters, stride, size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        """The gradients for images and weight."""
        images, filters = ctx.saved_tensors
        gradient = gradient.bfloat16().contiguous(memory_format=torch.channels_last)
        for_images = _images_gradient(images, filters, gradient, ctx.stride) if ctx.needs_input_grad[0] else None
        return for_images, weight_gradient(images, gradient, ctx.stride), None, None


class Conv3x3PoolNormGelu(torch.autograd.Function):
    """The convolution and what follows it."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        """As conv3x3_pool_norm_gelu."""
        filters, channels_out = weight.bfloat16(), len(weight)
        size = (images.shape[2] // 2 * 2, images.shape[3] // 2 * 2)
        pooled, places = kernels.pooled_like(images, channels_out), kernels.places_like(images, channels_out)
        sums = kernels.zero_sums(channels_out)
        at_once = max(1, PART_BYTES // (2 * channels_out * size[0] * size[1]))
        for first in range(0, len(images), at_once):
            some = slice(first, first + at_once)
            output = _convolution(images[some], filters, 1, size)
            kernels.pool_and_sums(output, pooled[some], places[some], sums)
        constants = kernels.affine_of_batch(norm, sums, pooled)
        ctx.save_for_backward(images, filters, pooled, places, *constants)
        return kernels.gelu_of_affine(pooled, *constants[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        """The gradients for images, weight and bias."""
        images, filters, pooled, places, *constants = ctx.saved_tensors
        inner, for_bias, linear = kernels.gelu_gradient(gradient, pooled, *constants)
        gradient = kernels.pool_gradient(inner, pooled, places, linear)
        for_images = _images_gradient(images, filters, gradient, 1) if ctx.needs_input_grad[0] else None
        return for_images, weight_gradient(images, gradient, 1), for_bias, None


def _convolution(images: Tensor, filters: Tensor, stride: int, size: Size) -> Tensor:
    if size[0] * size[1] <= SMALLEST_PIXELS:
        return product(neighbourhoods(images.permute(0, 2, 3, 1), stride, size), filters)
    below, right = _margins(images, stride, size)
    if (below, right) == (1, 1):
        return F.conv2d(images, filters, stride=stride, padding=1)
    return F.conv2d(F.pad(images, (1, right, 1, below)), filters, stride=stride)


def _images_gradient(images: Tensor, filters: Tensor, gradient: Tensor, stride: int) -> Tensor:
    """What images gain, padded as they were for the convolution."""
    num, channels, height, width = images.shape
    below, right = _margins(images, stride, (gradient.shape[2], gradient.shape[3]))
    edge = int((below, right) != (1, 1))
    shape = (num, channels, height + edge * (1 + below), width + edge * (1 + right))
    like = torch.empty(shape, dtype=images.dtype, memory_format=torch.channels_last)  # only its shape is looked at
    padding, strides = [1 - edge] * 2, [stride] * 2
    found: Tensor = torch.ops.aten.convolution_backward(
        gradient, like, filters, None, strides, padding, [1, 1], False, [0, 0], 1, [True, False, False]
    )[0]
    return found[:, :, edge : edge + height, edge : edge + width]


def _margins(images: Tensor, stride: int, size: Size) -> Size:
    """Zeros below and to the right that the output's size asks for; at stride 2 one too many does no harm."""
    sides = images.shape[2:]
    if all(new == -(-old // stride) for new, old in zip(size, sides, strict=True)):
        return 1, 1
    below, right = (stride * (new - 1) + 2 - old for new, old in zip(size, sides, strict=True))
    return below, right
