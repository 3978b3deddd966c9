"""3×3 convolutions in bf16 by kernels of our own: with fewer products, and a faster gradient for the filters."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cifarlab.kernels import pool_norm_gelu as kernels
from cifarlab.kernels import strided, weight_gradient, winograd
from cifarlab.kernels.batch_norm import LANES, Statistics, num_pixels, statistics, sums_of, zero_sums
from cifarlab.kernels.norm_relu import rectified
from cifarlab.kernels.winograd import Gate

Size = tuple[int, int]


def fits(conv: nn.Module) -> bool:
    """Whether there are kernels for a 3×3 convolution; at stride 2 its filters' gradient is enough."""
    halves = isinstance(conv, nn.Conv2d) and conv.stride == (2, 2)
    return weight_gradient.fits(conv) and (halves or winograd.fits(conv, torch.bfloat16))


def out_size(images: Tensor, stride: int) -> Size:
    """The sides of what a 3×3 convolution with padding 1 makes of (N, C, H, W)."""
    return -(-images.shape[2] // stride), -(-images.shape[3] // stride)


def conv3x3(images: Tensor, weight: Tensor, stride: int, size: Size, *, sums: Tensor | None = None) -> Tensor:
    """Map bf16 images (N, C, H, W) to (N, channels_out, *size) with padding 1; weight (channels_out, C, 3, 3), float32.

    size: that of the output; at stride 1 it may be smaller, where the last rows and columns are not wanted. The filters
    are rounded to bf16 for the products; their gradient is float32. sums: float64 (2, channels_out), to which those of
    the output and of its squares are added.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    output: Tensor = Conv3x3.apply(images, weight, stride, size, sums)
    return output


def conv3x3_beside(images: Tensor, weight: Tensor, *, sums: Tensor) -> tuple[Tensor, Tensor]:
    """The same at stride 1, and the images for a shortcut: the gradients of both are added up on the way."""
    images = images.contiguous(memory_format=torch.channels_last)
    output, shortcut = Conv3x3Beside.apply(images, weight, sums)
    return output, shortcut


def conv3x3_pool_norm_gelu(images: Tensor, weight: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """In training: the same at stride 1, pooled 2×2, normed by the batch, through GELU; half the sides."""
    images = images.contiguous(memory_format=torch.channels_last)
    output: Tensor = Conv3x3PoolNormGelu.apply(images, weight, norm.bias, norm)
    return output


class Conv3x3(torch.autograd.Function):
    """The convolution and its gradients."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int, size: Size, sums: Tensor | None) -> Tensor:
        """As conv3x3."""
        ctx.save_for_backward(images, weight)
        ctx.stride = stride
        return convolve(images, weight, stride, size, sums=sums)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None, None]:
        """The gradients for images and weight."""
        images, weight = ctx.saved_tensors
        gradient = in_order(gradient)
        for_images = images_gradient(images, weight, gradient, ctx.stride) if ctx.needs_input_grad[0] else None
        return for_images, weight_gradient.weight_gradient(images, gradient, ctx.stride), None, None, None


class Conv3x3Beside(torch.autograd.Function):
    """The convolution beside a shortcut, and their gradients."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """As conv3x3_beside."""
        ctx.save_for_backward(images, weight)
        return convolve(images, weight, 1, out_size(images, 1), sums=sums), images.view_as(images)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, of_shortcut: Tensor) -> tuple[Tensor, Tensor, None]:
        """The gradients for images and weight."""
        images, weight = ctx.saved_tensors
        gradient = in_order(gradient)
        for_images = images_gradient(images, weight, gradient, 1, added=in_order(of_shortcut))
        return for_images, weight_gradient.weight_gradient(images, gradient, 1), None


class Conv3x3PoolNormGelu(torch.autograd.Function):
    """The convolution and what follows it; its own output is never written to memory."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        """As conv3x3_pool_norm_gelu."""
        channels_out = len(weight)
        pooled, places = kernels.pooled_like(images, channels_out), kernels.places_like(images, channels_out)
        sums = zero_sums(channels_out)
        side = winograd.patch_side((2 * pooled.shape[2], 2 * pooled.shape[3]), images.dtype)
        filters = winograd.transformed(weight, images.dtype, side=side)
        winograd.convolve_and_pool(images, filters, side, pooled, places, sums)
        of_batch = statistics(norm, sums, num_pixels(pooled))
        ctx.save_for_backward(images, weight, pooled, places, *of_batch)
        return kernels.gelu_of_affine(pooled, of_batch.affine)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        """The gradients for images, weight and bias."""
        images, weight, pooled, places, *of_batch = ctx.saved_tensors
        inner, sums = kernels.gelu_gradient(gradient, pooled, Statistics(*of_batch))
        gradient, weights = kernels.pool_gradient(inner, pooled, places, Statistics(*of_batch), sums)
        for_images = images_gradient(images, weight, gradient, 1) if ctx.needs_input_grad[0] else None
        return for_images, weight_gradient.weight_gradient(images, gradient, 1), weights[1], None


def convolve(
    images: Tensor, weight: Tensor, stride: int, size: Size, *, affine: Tensor | None = None, sums: Tensor | None
) -> Tensor:
    """As conv3x3, without its gradients; affine: as winograd.convolve_by."""
    if stride == 2 and strided.fits(images.shape[1], len(weight), size):
        return strided.convolve(images, weight, sums=sums)
    if stride == 1 and size[0] * size[1] >= winograd.SMALLEST_PIXELS:
        side = winograd.patch_side(size, images.dtype)
        return winograd.convolve_by(images, weight, size, side=side, affine=affine, sums=sums)
    images = images if affine is None else rectified(images, affine)
    output = F.conv2d(images, weight.bfloat16(), stride=stride, padding=1)
    if sums is not None:
        sums += sums_of(output.contiguous(memory_format=torch.channels_last))
    return output


def images_gradient(
    images: Tensor,
    weight: Tensor,
    gradient: Tensor,
    stride: int,
    *,
    added: Tensor | None = None,
    gate: Gate | None = None,
    sums: Tensor | None = None,
) -> Tensor:
    """At stride 1 a convolution with the filters turned round; added: to every `stride`-th pixel.

    gate, sums: as winograd.convolve_by.
    """
    channels, height, width = images.shape[1:]
    if stride == 2 and strided.fits(len(weight), channels, gradient.shape[2:]):
        return strided.images_gradient(weight, gradient, (height, width), added=added, gate=gate, sums=sums)
    if stride == 1 and height * width >= winograd.SMALLEST_PIXELS and channels % 32 == 0:
        size, side = (height, width), winograd.patch_side((height, width), images.dtype)
        return winograd.convolve_by(gradient, weight, size, side=side, turned=True, added=added, gate=gate, sums=sums)
    if stride == 1:  # outputs that were left out gain nothing
        gradient = F.pad(gradient, (0, width - gradient.shape[3], 0, height - gradient.shape[2]))
    found: Tensor = torch.ops.aten.convolution_backward(
        gradient, images, weight.bfloat16(), None, [stride] * 2, [1, 1], [1, 1], False, [0, 0], 1, [True, False, False]
    )[0]
    if added is not None:
        found[:, :, ::stride, ::stride] += added
    return found if gate is None else _through(gate, found, sums)


def _through(gate: Gate, gradient: Tensor, sums: Tensor | None) -> Tensor:
    """As winograd.convolve_by does it."""
    if gate.passed is None:
        assert gate.affine is not None
        gradient = in_order(gradient * (rectified(gate.x, gate.affine) > 0))
    else:
        bits = gate.passed[..., None] >> torch.arange(LANES, dtype=torch.int16) & 1
        gradient = in_order(gradient * bits.flatten(3).permute(0, 3, 1, 2))
    if sums is not None:
        sums += torch.stack([gradient.double(), gradient.double() * gate.x]).sum((1, 3, 4))
    return gradient


def in_order(gradient: Tensor) -> Tensor:
    """As the kernels take it."""
    return gradient.bfloat16().contiguous(memory_format=torch.channels_last)
