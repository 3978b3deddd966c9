"""3×3 convolutions over small maps as matrix products, for CPUs that are fast in bf16.

oneDNN's convolutions divide their work by the pixels of the map. Where a map has few pixels and many channels, as in
the last stage of a ResNet at 32 px, they reach a tenth of the machine's matrix rate. Writing each pixel's 3×3
neighbourhood into a row (im2col; Chellapilla et al., 2006) turns the forward pass and both gradients into large matrix
products, which are fast whatever the shape of the map. benchmarks/small_maps.py shows which of them wins where.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from cifarlab.models.pooled_conv import PooledConv2d

# Largest output map, in pixels: up to 4×4 the products won in every case measured, from 8×8 on in none.
MAX_PIXELS = 16


class SmallMapConv2d(nn.Conv2d):
    """A 3×3 convolution that becomes matrix products under CPU autocast to bf16, where the map is small enough."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, ceil(H / stride), ceil(W / stride))."""
        stride = self.stride[0]
        size = (-(-input.shape[2] // stride), -(-input.shape[3] // stride))
        return _matrix_product(self, input, size) if _is_small(input, size) else super().forward(input)


class SmallMapPooledConv2d(PooledConv2d):
    """A SmallMapConv2d before a 2×2 pool."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, H', W'), with H' and W' the sides rounded down to even numbers."""
        size = (input.shape[2] // 2 * 2, input.shape[3] // 2 * 2)
        return _matrix_product(self, input, size) if _is_small(input, size) else super().forward(input)


def _is_small(input: Tensor, size: tuple[int, int]) -> bool:
    return size[0] * size[1] <= MAX_PIXELS and is_bf16(input)


def is_bf16(input: Tensor) -> bool:
    """Whether a layer with this input is to compute in bf16 on the CPU."""
    # The dtype of the input does not say so: under autocast a float32 input becomes bf16 inside the layer.
    autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16
    return autocast and input.device.type == "cpu"


def _matrix_product(conv: nn.Conv2d, input: Tensor, size: tuple[int, int]) -> Tensor:
    output: Tensor = Im2colConv.apply(input.bfloat16(), conv.weight.bfloat16(), conv.stride[0], size)
    return output


SMALL_MAP: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: SmallMapConv2d,
    PooledConv2d: SmallMapPooledConv2d,
}
"""Which class replaces which; subclasses of theirs stay what they are."""


class Im2colConv(torch.autograd.Function):
    """The convolution and its gradients, as products of windows (N·H'·W', 9·C) and filters (9·C, channels_out)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
        """images: (N, C, H, W), weight: (channels_out, C, 3, 3), both bf16; size: (H', W') of the output."""
        rows = im2col(images.permute(0, 2, 3, 1), stride, size)
        ctx.save_for_backward(rows, weight)  # nine times the images, which is little because the map is small
        ctx.stride, ctx.images_shape = stride, images.shape
        num, height, width, channels = rows.shape
        # Filters in the order of a row: 3 × 3 pixels, each with its channels.
        output = rows.reshape(-1, channels) @ weight.permute(2, 3, 1, 0).reshape(channels, -1)
        return output.view(num, height, width, -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        """Return the gradients for images and weight."""
        rows, weight = ctx.saved_tensors
        channels_out, channels = weight.shape[:2]
        flat = gradient.permute(0, 2, 3, 1).reshape(-1, channels_out)
        # (channels_out, N·H'·W') times (N·H'·W', 9·C): the sum over all pixels is one product.
        for_weight = (flat.t() @ rows.reshape(len(flat), -1)).view(channels_out, 3, 3, channels).permute(0, 3, 1, 2)
        for_images = images_gradient(gradient, weight, ctx) if ctx.needs_input_grad[0] else None
        return for_images, for_weight, None, None


def images_gradient(gradient: Tensor, weight: Tensor, ctx: Any) -> Tensor:
    """Return the gradient for the images: at stride 1 a convolution with the filters rotated by 180°, else torch's."""
    if ctx.stride == 1:
        # Outputs that a PooledConv2d left out are beyond the gradient's edge, where im2col finds zeros.
        rows = im2col(gradient.permute(0, 2, 3, 1), 1, tuple(ctx.images_shape[2:]))
        flipped = weight.flip(2, 3).permute(2, 3, 0, 1).reshape(rows.shape[-1], -1)
        return (rows.reshape(-1, rows.shape[-1]) @ flipped).view(*rows.shape[:3], -1).permute(0, 3, 1, 2)
    # At stride 2 the same would need zeros between the gradient's pixels, three quarters of all products.
    strided: Tensor = conv2d_input(ctx.images_shape, weight, gradient, ctx.stride, padding=1)  # type: ignore[no-untyped-call]
    return strided


def im2col(images: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Return the 3×3 pixels around every `stride`-th one of (N, H, W, C), zero beyond the edge: (N, *size, 9·C)."""
    num, height, width, channels = images.shape
    # One row of zeros above and to the left, and as many below and to the right as the last window reaches.
    below, right = (stride * (new - 1) + 2 - old for new, old in zip(size, (height, width), strict=True))
    padded = F.pad(images, (0, 0, 1, right, 1, below))
    # In NHWC the three pixels of a window's row are contiguous, 3·C values; the reshape at the end is the only copy.
    per_image, per_row, per_pixel, _ = padded.stride()
    shape = (num, *size, 3, 3 * channels)
    strides = (per_image, per_row * stride, per_pixel * stride, per_row, 1)
    return padded.as_strided(shape, strides).reshape(num, *size, 9 * channels)


def use_matrix_products(model: nn.Module) -> None:
    """Let the convolutions of a network that can be matrix products be computed as such; weights keep their names."""
    for module in model.modules():
        if type(module) in SMALL_MAP and is_plain(module):
            module.__class__ = SMALL_MAP[type(module)]


def is_plain(conv: nn.Module) -> bool:
    """Whether a convolution is 3×3 with padding 1 and stride 1 or 2, without bias, groups or dilation."""
    assert isinstance(conv, nn.Conv2d)
    plain = conv.groups == 1 and conv.bias is None and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    return plain and conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.stride in ((1, 1), (2, 2))
