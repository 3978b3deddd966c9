"""A ResNet's basic blocks in training as one operation in bf16, so that each kernel leaves what the next one needs.

A convolution adds up what the norm behind it needs. The gradient for what a norm and ReLU have made passes through ReLU
while it is written, and is added up for the norm on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cifarlab.kernels import batch_norm
from cifarlab.kernels.batch_norm import Statistics, num_pixels, statistics, sums_of, zero_sums
from cifarlab.kernels.norm_relu import added_gradient, affine, gradient_sums, passed_like
from cifarlab.kernels.weight_gradient import weight_gradient
from cifarlab.kernels.winograd import Gate
from cifarlab.models.kernel_conv import convolve, images_gradient, in_order, out_size
from cifarlab.models.resnet import BasicBlock


class Normed(NamedTuple):
    """What a convolution has made of some pixels or images, its filters, and the statistics of the norm behind it."""

    images: Tensor
    weight: Tensor
    x: Tensor
    of_batch: Statistics


class Passed(NamedTuple):
    """What a block has made on the way forward, and the gates in front of its middle and its output on the way back."""

    first: Normed
    middle: Gate
    second: Normed
    last: Gate
    shortcut: Normed | None
    output: Tensor
    stride: int


def basic_blocks(x: Tensor, blocks: Sequence[BasicBlock]) -> Tensor:
    """Map (N, C, H, W) through blocks in training, whose 3×3 convolutions all have kernels; bf16."""
    x = x.bfloat16().contiguous(memory_format=torch.channels_last)
    output: Tensor = BasicBlocks.apply(x, blocks, *(weight for block in blocks for weight in parameters(block)))
    return output


def parameters(block: BasicBlock) -> Iterator[Tensor]:
    """The filters, the norm's weight and its bias, for each convolution of a block."""
    for conv, norm in layers(block):
        yield from (conv.weight, norm.weight, norm.bias)


def layers(block: BasicBlock) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """The two convolutions of a block and, where it has one, that of its shortcut, each with its norm."""
    pairs = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
    if isinstance(block.downsample, nn.Sequential):
        conv, norm = block.downsample
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        pairs.append((conv, norm))
    return pairs


class BasicBlocks(torch.autograd.Function):
    """Blocks one after the other, and back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, blocks: Sequence[BasicBlock], *weights: Tensor) -> Tensor:
        """As basic_blocks; weights: the parameters of all blocks, which gain the gradients."""
        ctx.passed = []
        for block in blocks:
            ctx.passed.append(pass_forward(block, x))
            x = ctx.passed[-1].output
        return x.view_as(x)  # which knows this function; what is kept must not, or neither would ever be freed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients for x and weights."""
        if not ctx.passed:
            raise RuntimeError("The gradients of these blocks were asked for twice; they are kept for one time.")
        for_weights: list[Tensor] = []
        last: Passed = ctx.passed[-1]
        sums = zero_sums(last.output.shape[1])
        gradient = added_gradient(in_order(gradient), last.second.x, last.output, sums)
        while ctx.passed:  # memory of a block that is done is free for the next
            block: Passed = ctx.passed.pop()
            before: Gate | None = ctx.passed[-1].last if ctx.passed else None
            gradient, of_block, sums = pass_back(block, gradient, sums, before)
            for_weights = of_block + for_weights
        return gradient, None, *for_weights


def pass_forward(block: BasicBlock, x: Tensor) -> Passed:
    """What a block makes of x (N, C, H, W)."""
    (conv1, norm1), (conv2, norm2), *shortcut = layers(block)
    stride = conv1.stride[0]
    first = conv_normed(x, conv1, norm1)
    x_middle, middle = relu(first)
    second = conv_normed(x_middle, conv2, norm2)
    projected = pixels_normed(x, *shortcut[0]) if shortcut else None
    output, last = relu(second, x if projected is None else affine(projected.x, projected.of_batch, relu=False))
    return Passed(first, middle, second, last, projected, output, stride)


def conv_normed(images: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Normed:
    """A 3×3 convolution."""
    sums, stride = zero_sums(conv.out_channels), conv.stride[0]
    x = convolve(images, conv.weight, stride, out_size(images, stride), sums=sums)
    return Normed(images, conv.weight, x, statistics(norm, sums, num_pixels(x)))


def relu(normed: Normed, added: Tensor | None = None) -> tuple[Tensor, Gate]:
    """Of the norm and what is added to it; and the gate for the gradient."""
    gate = Gate(normed.x, passed_like(normed.x))
    return affine(normed.x, normed.of_batch, added, relu=True, passed=gate.passed), gate


def pixels_normed(images: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Normed:
    """A 1×1 convolution, as the product of every `stride`-th pixel (N·H·W, C) and filters (channels_out, C) in bf16."""
    stride = conv.stride[0]
    pixels, filters = images.permute(0, 2, 3, 1)[:, ::stride, ::stride], conv.weight.flatten(1).bfloat16()
    rows = pixels.reshape(-1, pixels.shape[3])
    x = (rows @ filters.t()).view(*pixels.shape[:3], -1).permute(0, 3, 1, 2)
    return Normed(rows, filters, x, statistics(norm, sums_of(x), num_pixels(x)))


def pass_back(
    block: Passed, gradient: Tensor, sums: Tensor, before: Gate | None
) -> tuple[Tensor, list[Tensor], Tensor]:
    """The gradients for the block's images, behind the gate `before` it, and for its parameters; the former's sums.

    gradient: in front of the sum with the shortcut; sums: of it for the second norm.
    """
    first, second = block.first, block.second
    of_second, *for_second = norm_gradient(second, gradient, sums)
    sums_first = zero_sums(len(first.weight))
    of_middle = images_gradient(second.images, second.weight, of_second, 1, gate=block.middle, sums=sums_first)
    for_conv2 = weight_gradient(second.images, of_second, 1)
    of_first, *for_first = norm_gradient(first, of_middle, sums_first)
    for_conv1 = weight_gradient(first.images, of_first, block.stride)
    of_shortcut, *for_shortcut = (gradient,) if block.shortcut is None else pixels_gradient(block.shortcut, gradient)
    sums_before = zero_sums(first.images.shape[1])
    of_images = images_gradient(
        first.images, first.weight, of_first, block.stride, added=of_shortcut, gate=before, sums=sums_before
    )
    return of_images, [for_conv1, *for_first, for_conv2, *for_second, *for_shortcut], sums_before


def norm_gradient(normed: Normed, gradient: Tensor, sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For what the norm was given, its weight and its bias, from the gradient behind it and the sums of that."""
    found = batch_norm.gradient(normed.of_batch, sums, num_pixels(normed.x))
    return batch_norm.norm_gradient(gradient, normed.x, found.linear), found.weight, found.bias


def pixels_gradient(normed: Normed, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For the pixels of a 1×1 convolution, as a map, its filters, and its norm's weight and bias."""
    sums = gradient_sums(gradient, normed.x, normed.of_batch, relu=False)
    of_x, for_scale, for_shift = norm_gradient(normed, gradient, sums)
    rows = of_x.permute(0, 2, 3, 1).reshape(len(normed.images), -1)
    for_filters = (rows.t() @ normed.images).float()[:, :, None, None]
    num, _, height, width = of_x.shape
    of_pixels = (rows @ normed.weight).view(num, height, width, -1).permute(0, 3, 1, 2)
    return of_pixels, for_filters, for_scale, for_shift
