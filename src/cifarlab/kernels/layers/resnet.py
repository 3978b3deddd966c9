"""A ResNet of basic blocks in training as one operation, from the maps of its first layer to its features.

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

from cifarlab.kernels.layers.blocks import ConvNorm, SavedBlock, backward_block, forward_block
from cifarlab.kernels.ops.batch_norm import zero_sums
from cifarlab.kernels.ops.norm_relu import means_gradient


def features(x: Tensor, blocks: Sequence[list[ConvNorm]]) -> Tensor:
    """Map the input of the first block, (N, C, H, W), to the means of the last maps, (N, channels_out).

    Everything is in training, and every 3×3 convolution has a kernel.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    # The weights are arguments as well, since autograd sees only what is passed to apply().
    weights = [weight for block in blocks for layer in block for weight in layer.weights()]
    means: Tensor = Features.apply(x, blocks, *weights)
    return means


class Features(torch.autograd.Function):
    """All blocks forward, one after the other, and backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, blocks: Sequence[list[ConvNorm]], *weights: Tensor) -> Tensor:
        """x, blocks: as in `features`; weights: of all layers in order, for which backward returns gradients."""
        ctx.blocks = []
        for block in blocks:
            # Kept on ctx instead of through save_for_backward, so that backward can drop them one by one.
            ctx.blocks.append(forward_block(block, x))
            x = ctx.blocks[-1].output
        # In the dtype of the maps; means_gradient is its backward, without a map of repeated values in between.
        return F.avg_pool2d(x, x.shape[2:]).flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients for x and for the weights."""
        if not ctx.blocks:
            raise RuntimeError("The gradients of this network were asked for twice; they are kept for one time.")
        weights: list[Tensor] = []
        last: SavedBlock = ctx.blocks[-1]
        sums = zero_sums(last.output.shape[1])
        # Also passes the last ReLU and adds up what the last norm needs.
        gradient = means_gradient(gradient.to(last.output.dtype).contiguous(), last.second.x, last.output, sums)
        while ctx.blocks:  # popped, so that the memory of a finished block is free for the next one
            block: SavedBlock = ctx.blocks.pop()
            # The first block's input has a ReLU that is autograd's to pass.
            before = ctx.blocks[-1].last if ctx.blocks else None
            gradient, block_weights, sums = backward_block(block, gradient, sums, before)
            weights = block_weights + weights
        # One result per argument of forward: x, blocks, then the weights.
        return gradient, None, *weights
