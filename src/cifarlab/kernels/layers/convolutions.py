"""3×3 convolutions in bf16 on our own kernels: fewer multiplications, and a faster gradient for the filters."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cifarlab.kernels import pool_norm_gelu as kernels
from cifarlab.kernels import strided, weight_gradient, winograd
from cifarlab.kernels.batch_norm import LANES, Statistics, batch_statistics, channel_sums, num_pixels, zero_sums
from cifarlab.kernels.norm_relu import affine_relu
from cifarlab.kernels.winograd import Gate

Size = tuple[int, int]


def supports(conv: nn.Module) -> bool:
    """Whether there are kernels for a 3×3 convolution; at stride 2 that for the filters' gradient is enough."""
    # Forward and for the images torch's kernels take over at stride 2 where strided.py saves nothing.
    halves = isinstance(conv, nn.Conv2d) and conv.stride == (2, 2)
    return weight_gradient.supports(conv) and (halves or winograd.supports(conv, torch.bfloat16))


def out_size(images: Tensor, stride: int) -> Size:
    """The output size of a 3×3 convolution with padding 1 on (N, C, H, W): each side divided, rounded up."""
    return -(-images.shape[2] // stride), -(-images.shape[3] // stride)


def conv3x3(images: Tensor, weight: Tensor, stride: int, size: Size, *, sums: Tensor | None = None) -> Tensor:
    """Map bf16 (N, C, H, W) to (N, channels_out, *size) with padding 1; weight: (channels_out, C, 3, 3), float32.

    size: of the output; at stride 1 it may be smaller, which leaves out the last rows and columns. The filters are
    rounded to bf16 for the products; their gradient is float32. sums: float64 (2, channels_out), to which the sums of
    the output and of its squares are added.
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
        gradient = bf16_channels_last(gradient)
        # The first layer's images need none, which saves one of three products.
        for_images = images_gradient(images, weight, gradient, ctx.stride) if ctx.needs_input_grad[0] else None
        return for_images, weight_gradient.weight_gradient(images, gradient, ctx.stride), None, None, None


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
        gradient = bf16_channels_last(gradient)
        for_images = images_gradient(images, weight, gradient, 1, added=bf16_channels_last(shortcut_gradient))
        return for_images, weight_gradient.weight_gradient(images, gradient, 1), None


class Conv3x3PoolNormGelu(torch.autograd.Function):
    """The operation behind `conv3x3_pool_norm_gelu`; the convolution's own output is never written to memory."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        """images: (N, C, H, W); weight: (channels_out, C, 3, 3); bias: (channels_out), the norm's own."""
        channels_out = len(weight)
        pooled, indices = kernels.empty_pooled(images, channels_out), kernels.empty_indices(images, channels_out)
        sums = zero_sums(channels_out)
        # The size that the pool looks at: an odd last row and column are left out.
        side = winograd.patch_side((2 * pooled.shape[2], 2 * pooled.shape[3]), images.dtype)
        filters = winograd.transform_filters(weight, images.dtype, side=side)
        winograd.convolve_and_pool(images, filters, side, pooled, indices, sums)
        # Of the output a quarter is kept, pooled, with one byte for each value.
        stats = batch_statistics(norm, sums, num_pixels(pooled))
        ctx.save_for_backward(images, weight, pooled, indices, *stats)
        return kernels.affine_gelu(pooled, stats.affine)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        """Return the gradients for images, weight and bias."""
        images, weight, pooled, indices, *saved = ctx.saved_tensors
        stats = Statistics(*saved)
        gradient, sums = kernels.gelu_gradient(gradient, pooled, stats)
        # Back through the pool: from (N, channels_out, H / 2, W / 2) to the convolution's own size.
        gradient, norm = kernels.pool_gradient(gradient, pooled, indices, stats, sums)
        for_images = images_gradient(images, weight, gradient, 1) if ctx.needs_input_grad[0] else None
        return for_images, weight_gradient.weight_gradient(images, gradient, 1), norm[1], None


def convolve(
    images: Tensor, weight: Tensor, stride: int, size: Size, *, affine: Tensor | None = None, sums: Tensor | None
) -> Tensor:
    """Compute what `conv3x3` returns, outside autograd; affine: as in `winograd.convolve_fused`."""
    if stride == 2 and strided.supports(images.shape[1], len(weight), size):  # fewer multiplications, if any are saved
        return strided.convolve(images, weight, sums=sums)
    if stride == 1 and size[0] * size[1] >= winograd.SMALLEST_PIXELS:  # `affine` is set at stride 1 only
        side = winograd.patch_side(size, images.dtype)
        return winograd.convolve_fused(images, weight, size, side=side, affine=affine, sums=sums)
    # torch's own convolution for the rest, such as maps of a single pixel, and what is fused above one by one.
    images = images if affine is None else affine_relu(images, affine)
    output = F.conv2d(images, weight.bfloat16(), stride=stride, padding=1)
    if sums is not None:
        sums += channel_sums(output.contiguous(memory_format=torch.channels_last))
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
    """Return the gradient for the images: at stride 1 a convolution of `gradient` with the filters rotated by 180°.

    added: a gradient to add to every `stride`-th pixel; gate, sums: as in `winograd.convolve_fused`.
    """
    channels, height, width = images.shape[1:]
    if stride == 2 and strided.supports(len(weight), channels, gradient.shape[2:]):
        return strided.images_gradient(weight, gradient, (height, width), added=added, gate=gate, sums=sums)
    # Backwards the images' channels are the outputs, so they have to fill the kernel's 32 columns.
    if stride == 1 and height * width >= winograd.SMALLEST_PIXELS and channels % 32 == 0:
        size, side = (height, width), winograd.patch_side((height, width), images.dtype)
        return winograd.convolve_fused(
            gradient, weight, size, side=side, flipped=True, added=added, gate=gate, sums=sums
        )
    if stride == 1:  # outputs that were left out have gradient zero
        gradient = F.pad(gradient, (0, width - gradient.shape[3], 0, height - gradient.shape[2]))
    # The mask at the end asks for the images' gradient only; that for the filters has a kernel of its own.
    found: Tensor = torch.ops.aten.convolution_backward(
        gradient, images, weight.bfloat16(), None, [stride] * 2, [1, 1], [1, 1], False, [0, 0], 1, [True, False, False]
    )[0]
    if added is not None:
        found[:, :, ::stride, ::stride] += added
    return found if gate is None else _apply_gate(gate, found, sums)


def _apply_gate(gate: Gate, gradient: Tensor, sums: Tensor | None) -> Tensor:
    """Pass a gradient through a gate and add it up, as `winograd.convolve_fused` does, with torch's operations."""
    if gate.mask is None:
        assert gate.affine is not None
        # No mask was written: the ReLU is worked out again from the norm's input.
        gradient = bf16_channels_last(gradient * (affine_relu(gate.x, gate.affine) > 0))
    else:
        # Unpack 16 channels from each int16: (N, H, W, C / 16) -> (N, H, W, C / 16, 16) -> (N, C, H, W).
        bits = gate.mask[..., None] >> torch.arange(LANES, dtype=torch.int16) & 1
        gradient = bf16_channels_last(gradient * bits.flatten(3).permute(0, 3, 1, 2))
    if sums is not None:
        # Over N, H and W: float64 (2, C), of the gradient and of its products with the norm's input.
        sums += torch.stack([gradient.double(), gradient.double() * gate.x]).sum((1, 3, 4))
    return gradient


def bf16_channels_last(gradient: Tensor) -> Tensor:
    """The gradient in the dtype and memory order that the kernels take; autograd may deliver it in any."""
    return gradient.bfloat16().contiguous(memory_format=torch.channels_last)
