"""A ResNet of basic blocks in training as one operation in bf16, from its images or first maps to its features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from cifarlab.kernels import stem
from cifarlab.kernels.batch_norm import num_pixels, statistics, zero_sums
from cifarlab.kernels.layers.blocks import Layer, Normed, Passed, gate_of, pass_back, pass_forward
from cifarlab.kernels.norm_relu import means_gradient, rectified
from cifarlab.kernels.winograd import Gate


def features(x: Tensor, first: Layer | None, blocks: Sequence[list[Layer]]) -> Tensor:
    """Map images (N, 3, H, W), float32, through all layers to the means of the last maps, (N, channels_out), bf16.

    Everything learns, all 3×3 convolutions have kernels, and the images gain nothing. Without a first layer x are the
    blocks' maps, which do.
    """
    x = (x if first else x.bfloat16()).contiguous(memory_format=torch.channels_last)
    layers = [layer for block in blocks for layer in block]
    weights = [weight for layer in ([first] if first else []) + layers for weight in layer.weights()]
    means: Tensor = Features.apply(x, first, blocks, *weights)
    return means


class Features(torch.autograd.Function):
    """The layers one after the other, and back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, first: Layer | None, blocks: Sequence[list[Layer]], *weights: Tensor) -> Tensor:
        """As features; weights: of all layers, which gain the gradients."""
        ctx.stem, ctx.passed, affine = None, [], None
        if first:
            ctx.stem = pass_stem(first, x)
            x, affine = ctx.stem.x, ctx.stem.of_batch.affine
            if len(blocks[0]) > 2:  # whose shortcut takes pixels as they are
                x, affine = rectified(x, affine), None
        for block in blocks:
            ctx.passed.append(pass_forward(block, x, affine))
            x, affine = ctx.passed[-1].output, None
        return F.avg_pool2d(x, x.shape[2:]).flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients for x, where there was no first layer, and weights."""
        if not ctx.passed:
            raise RuntimeError("The gradients of this network were asked for twice; they are kept for one time.")
        for_weights: list[Tensor] = []
        last: Passed = ctx.passed[-1]
        sums = zero_sums(last.output.shape[1])
        gradient = means_gradient(gradient.bfloat16().contiguous(), last.second.x, last.output, sums)
        while ctx.passed:  # memory of a block that is done is free for the next
            block: Passed = ctx.passed.pop()
            before: Gate | None = ctx.passed[-1].last if ctx.passed else ctx.stem and gate_of(ctx.stem)
            gradient, of_block, sums = pass_back(block, gradient, sums, before)
            for_weights = of_block + for_weights
        if ctx.stem is None:
            return gradient, None, None, *for_weights
        return None, None, None, *stem_gradients(ctx.stem, gradient, sums), *for_weights


def pass_stem(layer: Layer, images: Tensor) -> Normed:
    """What the blocks are given, but for the norm and ReLU."""
    sums = zero_sums(layer.conv.out_channels)
    x = stem.convolve(images, layer.conv.weight, sums=sums)
    return Normed(images, None, layer.conv.weight, x, statistics(layer.norm, sums, num_pixels(x)))


def stem_gradients(normed: Normed, gradient: Tensor, sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For the filters, the norm's weight and its bias, from the gradient behind the norm and the sums of that."""
    filters, weights = stem.gradients(normed.images, gradient, normed.x, normed.of_batch, sums)
    return filters, weights[0], weights[1]
