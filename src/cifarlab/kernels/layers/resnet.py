"""A ResNet of basic blocks in training as one operation in bf16, from its images or first maps to its features.

As one operation for autograd, gradients pass from block to block together with their sums. Python and torch between the
kernels then took 24.5 ms of a step (128 images of resnet18) instead of 29.9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from cifarlab.kernels import stem
from cifarlab.kernels.batch_norm import batch_statistics, num_pixels, zero_sums
from cifarlab.kernels.layers.blocks import ConvNorm, SavedBlock, SavedConvNorm, backward_block, forward_block, relu_gate
from cifarlab.kernels.norm_relu import affine_relu, means_gradient
from cifarlab.kernels.winograd import Gate


def features(x: Tensor, first: ConvNorm | None, blocks: Sequence[list[ConvNorm]]) -> Tensor:
    """Map images (N, 3, H, W), float32, through all layers to the means of the last maps, (N, channels_out), bf16.

    Everything is in training, every 3×3 convolution has a kernel, and the images need no gradient. Without a first
    layer, x is the input of the first block, for which a gradient is computed.
    """
    # The stem's kernel reads float32 images and rounds them itself.
    x = (x if first else x.bfloat16()).contiguous(memory_format=torch.channels_last)
    layers = [layer for block in blocks for layer in block]
    # The weights are arguments as well, since autograd sees only what is passed to apply().
    weights = [weight for layer in ([first] if first else []) + layers for weight in layer.weights()]
    means: Tensor = Features.apply(x, first, blocks, *weights)
    return means


class Features(torch.autograd.Function):
    """All layers forward, one after the other, and backward."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, first: ConvNorm | None, blocks: Sequence[list[ConvNorm]], *weights: Tensor
    ) -> Tensor:
        """x, first, blocks: as in `features`; weights: of all layers in order, for which backward returns gradients."""
        ctx.stem, ctx.blocks, affine = None, [], None
        if first:
            # The first norm and ReLU are not applied here: the first block does it while it loads these maps.
            ctx.stem = forward_stem(first, x)
            x, affine = ctx.stem.x, ctx.stem.stats.affine
            if len(blocks[0]) > 2:  # the 1×1 kernel of a projection cannot apply the norm while it loads
                x, affine = affine_relu(x, affine), None
        for block in blocks:
            # Kept on ctx instead of through save_for_backward, so that backward can drop them one by one.
            ctx.blocks.append(forward_block(block, x, affine))
            x, affine = ctx.blocks[-1].output, None
        # In bf16 like the maps; means_gradient is its backward, without a map of repeated values in between.
        return F.avg_pool2d(x, x.shape[2:]).flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients for x, if there was no first layer, and for the weights."""
        if not ctx.blocks:
            raise RuntimeError("The gradients of this network were asked for twice; they are kept for one time.")
        weights: list[Tensor] = []
        last: SavedBlock = ctx.blocks[-1]
        sums = zero_sums(last.output.shape[1])
        # Also passes the last ReLU and adds up what the last norm needs.
        gradient = means_gradient(gradient.bfloat16().contiguous(), last.second.x, last.output, sums)
        while ctx.blocks:  # popped, so that the memory of a finished block is free for the next one
            block: SavedBlock = ctx.blocks.pop()
            before: Gate | None = ctx.blocks[-1].last if ctx.blocks else ctx.stem and relu_gate(ctx.stem)
            gradient, block_weights, sums = backward_block(block, gradient, sums, before)
            weights = block_weights + weights
        if ctx.stem is None:  # x was the first block's input: its ReLU, if any, is autograd's to pass
            return gradient, None, None, *weights
        saved: SavedConvNorm = ctx.stem
        filters, norm = stem.gradients(saved.images, gradient, saved.x, saved.stats, sums)
        # One result per argument of forward: x (images), first, blocks, then the weights.
        return None, None, None, filters, norm[0], norm[1], *weights


def forward_stem(layer: ConvNorm, images: Tensor) -> SavedConvNorm:
    """Run the first convolution on float32 images and take the statistics of its norm, which is not applied."""
    sums = zero_sums(layer.conv.out_channels)
    x = stem.convolve(images, layer.conv.weight, sums=sums)
    return SavedConvNorm(images, None, layer.conv.weight, x, batch_statistics(layer.norm, sums, num_pixels(x)))
