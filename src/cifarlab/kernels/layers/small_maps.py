"""3×3 convolutions over small maps as matrix products, for CPUs that are quick at bf16.

The convolution kernels for the CPU divide their work by the pixels of the map; where a map has few pixels and many
channels, as in the last stage of a ResNet at 32 px, they reach a tenth of the machine's matrix rate. Writing each
pixel's neighbourhood into a row (im2col; Chellapilla et al., 2006) turns the forward pass and both gradients into large
matrix products, which are fast whatever the shape of the map. benchmarks/small_maps.py shows which of them wins where.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from cifarlab.models.pooled_conv import PooledConv2d

MAX_PIXELS = 16
"""Of the output map: up to 4×4 the products won in every case measured, from 8×8 on in none."""


class SmallMapConv2d(nn.Conv2d):
    """A 3×3 convolution that becomes matrix products under CPU autocast to bf16, where the map is small enough."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, ceil(H / stride), ceil(W / stride))."""
        stride = self.stride[0]
        size = (-(-input.shape[2] // stride), -(-input.shape[3] // stride))
        return _products(self, input, size) if _is_small(input, size) else super().forward(input)


class SmallMapPooledConv2d(PooledConv2d):
    """The same for the convolution in front of a pool."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, H', W'), with H' and W' the sides rounded down to even numbers."""
        size = (input.shape[2] // 2 * 2, input.shape[3] // 2 * 2)
        return _products(self, input, size) if _is_small(input, size) else super().forward(input)


def _is_small(input: Tensor, size: tuple[int, int]) -> bool:
    return size[0] * size[1] <= MAX_PIXELS and is_bf16(input)


def is_bf16(input: Tensor) -> bool:
    """Whether a layer that is given this computes in bf16 on the CPU."""
    autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16
    return autocast and input.device.type == "cpu"


def _products(conv: nn.Conv2d, input: Tensor, size: tuple[int, int]) -> Tensor:
    output: Tensor = Products.apply(input.bfloat16(), conv.weight.bfloat16(), conv.stride[0], size)
    return output


SMALL_MAP: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: SmallMapConv2d,
    PooledConv2d: SmallMapPooledConv2d,
}
"""What takes the place of which class; subclasses of theirs stay what they are."""


class Products(torch.autograd.Function):
    """The convolution and its gradients as products of neighbourhoods (N·H·W, 9·C) and filters (9·C, channels_out)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
        """images (N, C, H, W) and weight (channels_out, C, 3, 3), both bf16; size: (H', W') of the output."""
        rows = neighbourhoods(images.permute(0, 2, 3, 1), stride, size)
        ctx.save_for_backward(rows, weight)
        ctx.stride, ctx.images_shape = stride, images.shape
        num, height, width, channels = rows.shape
        output = rows.reshape(-1, channels) @ weight.permute(2, 3, 1, 0).reshape(channels, -1)
        return output.view(num, height, width, -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        """The gradients for images and weight."""
        rows, weight = ctx.saved_tensors
        channels_out, channels = weight.shape[:2]
        flat = gradient.permute(0, 2, 3, 1).reshape(-1, channels_out)
        for_weight = (flat.t() @ rows.reshape(len(flat), -1)).view(channels_out, 3, 3, channels).permute(0, 3, 1, 2)
        for_images = images_gradient(gradient, weight, ctx) if ctx.needs_input_grad[0] else None
        return for_images, for_weight, None, None


def images_gradient(gradient: Tensor, weight: Tensor, ctx: Any) -> Tensor:
    """At stride 1 a convolution of the gradient with the filters turned round; else the library's own kernel."""
    if ctx.stride == 1:
        rows = neighbourhoods(gradient.permute(0, 2, 3, 1), 1, tuple(ctx.images_shape[2:]))
        turned = weight.flip(2, 3).permute(2, 3, 0, 1).reshape(rows.shape[-1], -1)
        return (rows.reshape(-1, rows.shape[-1]) @ turned).view(*rows.shape[:3], -1).permute(0, 3, 1, 2)
    strided: Tensor = conv2d_input(ctx.images_shape, weight, gradient, ctx.stride, padding=1)  # type: ignore[no-untyped-call]
    return strided


def neighbourhoods(images: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """The 3×3 pixels around every `stride`-th one of (N, H, W, C), zero outside: (N, *size, 9·C), row by row."""
    num, height, width, channels = images.shape
    below, right = (stride * (new - 1) + 2 - old for new, old in zip(size, (height, width), strict=True))
    padded = F.pad(images, (0, 0, 1, right, 1, below))
    per_image, per_row, per_pixel, _ = padded.stride()
    shape = (num, *size, 3, 3 * channels)
    strides = (per_image, per_row * stride, per_pixel * stride, per_row, 1)
    return padded.as_strided(shape, strides).reshape(num, *size, 9 * channels)


def use_matrix_products(model: nn.Module) -> None:
    """Let the convolutions of a network that can be products of matrices be such; weights and their names stay."""
    for module in model.modules():
        if type(module) in SMALL_MAP and is_plain(module):
            module.__class__ = SMALL_MAP[type(module)]


def is_plain(conv: nn.Module) -> bool:
    """Whether a convolution is 3×3 with padding 1, stride 1 or 2, without bias and groups."""
    assert isinstance(conv, nn.Conv2d)
    plain = conv.groups == 1 and conv.bias is None and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    return plain and conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.stride in ((1, 1), (2, 2))
