"""The basic blocks of a ResNet in training, forward and backward, where each kernel prepares the next one.

A convolution adds up what the norm behind it needs. A gradient for the output of a norm with ReLU passes through the
ReLU while it is written, and is added up for the norm at the same time. So the maps between the layers of a block are
read and written as rarely as possible.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cifarlab.kernels.ops import batch_norm
from cifarlab.kernels.ops.batch_norm import Statistics, batch_statistics, channel_sums, num_pixels, zero_sums
from cifarlab.kernels.ops.conv3x3 import Gate, convolve, images_gradient, out_size, weight_gradient
from cifarlab.kernels.ops.norm_relu import affine_relu, empty_mask, gradient_sums
from cifarlab.models.resnet import BasicBlock


class ConvNorm(NamedTuple):
    """A convolution and the batch norm behind it."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """What is learned: the filters, and the norm's scale and shift."""
        return self.conv.weight, self.norm.weight, self.norm.bias


class SavedConvNorm(NamedTuple):
    """What backward needs of a convolution and the norm behind it.

    images: the input (N, C, H, W); affine: if set, the scale and shift of a norm with ReLU that belongs in front of
    the convolution, and was applied while it loaded `images`. x: the output, which is the norm's input.
    """

    images: Tensor
    affine: Tensor | None
    weight: Tensor
    x: Tensor
    stats: Statistics


class SavedBlock(NamedTuple):
    """What backward needs of a block; last: the ReLU at its end. shortcut: the 1×1 projection, if the block has one."""

    first: SavedConvNorm
    second: SavedConvNorm
    last: Gate
    shortcut: SavedConvNorm | None
    output: Tensor
    stride: int


def conv_norms(block: BasicBlock) -> list[ConvNorm]:
    """The two 3×3 convolutions of a block and, if it has one, the 1×1 convolution of its shortcut, with their norms."""
    # The order in which backward_block returns the gradients, and in which Features passes the weights.
    found = [ConvNorm(block.conv1, block.bn1), ConvNorm(block.conv2, block.bn2)]
    if isinstance(block.downsample, nn.Sequential):
        conv, norm = block.downsample
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        found.append(ConvNorm(conv, norm))
    return found


def forward_block(block: list[ConvNorm], x: Tensor) -> SavedBlock:
    """Run a block on x (N, C, H, W)."""
    first = forward_conv3x3(x, None, block[0])
    # bn1 and ReLU are never written out: the second convolution applies them to first.x while it loads.
    second = forward_conv3x3(first.x, first.stats.affine, block[1])
    # Where the shape changes (stride 2, more channels) the shortcut is a 1×1 convolution with a norm.
    projection = forward_conv1x1(x, block[2]) if len(block) > 2 else None
    shortcut, shortcut_affine = (x, None) if projection is None else (projection.x, projection.stats.affine)
    mask = empty_mask(second.x)  # one bit per value instead of the whole output, for the way back
    output = affine_relu(second.x, second.stats.affine, shortcut, shortcut_affine=shortcut_affine, mask=mask)
    return SavedBlock(first, second, Gate(second.x, mask), projection, output, block[0].conv.stride[0])


def forward_conv3x3(images: Tensor, affine: Tensor | None, layer: ConvNorm) -> SavedConvNorm:
    """Run a 3×3 convolution and take the statistics of the norm behind it, which is not applied."""
    conv, norm = layer
    sums, stride = zero_sums(conv.out_channels), conv.stride[0]
    x = convolve(images, conv.weight, stride, out_size(images, stride), affine=affine, sums=sums)
    return SavedConvNorm(images, affine, conv.weight, x, batch_statistics(norm, sums, num_pixels(x)))


def forward_conv1x1(images: Tensor, layer: ConvNorm) -> SavedConvNorm:
    """Run a 1×1 convolution and take the statistics of the norm behind it, which is not applied."""
    conv, norm = layer
    step = conv.stride[0]
    # As a product of the pixels that are read: torch's convolution takes 9.2 ms for what takes 5.8 (all of resnet18).
    pixels = images[:, :, ::step, ::step].contiguous(memory_format=torch.channels_last)
    x = _multiply(pixels, conv.weight.detach().flatten(1).to(images.dtype).t())
    statistics = batch_statistics(norm, channel_sums(x), num_pixels(x))
    return SavedConvNorm(pixels, None, conv.weight, x, statistics)


def relu_gate(saved: SavedConvNorm) -> Gate:
    """The ReLU behind a norm that was applied while loading: there is no mask, so its sign is worked out again."""
    return Gate(saved.x, None, saved.stats.affine)


def backward_block(
    block: SavedBlock, gradient: Tensor, sums: Tensor, before: Gate | None
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Return the gradient for the block's input, those for its weights in the order of `conv_norms`, and sums.

    gradient: with respect to the sum of the second norm and the shortcut; sums: of it, as the second norm needs them.
    before: the ReLU that made the block's input, through which the first result has passed; the sums returned are
    those of the first result, for the norm before that ReLU.
    """
    first, second = block.first, block.second
    x_gradient, *second_norm = norm_backward(second, gradient, sums)  # `gradient` is kept: the shortcut gets it too
    first_sums = zero_sums(len(first.weight))
    # From here on back through conv2, whose input was relu(bn1(first.x)); the result is added up for bn1 on the way.
    middle = images_gradient(first.x, second.weight, x_gradient, 1, gate=relu_gate(first), sums=first_sums)
    # The filters' gradient recomputes that input from first.x while it loads, so it was never kept.
    conv2 = weight_gradient(second.images, x_gradient, 1, affine=second.affine)
    # In place: nothing else needs `middle`.
    x_gradient, *first_norm = norm_backward(first, middle, first_sums, in_place=True)
    conv1 = weight_gradient(first.images, x_gradient, block.stride, affine=first.affine)
    shortcut, *projection = (gradient,) if block.shortcut is None else backward_conv1x1(block.shortcut, gradient)
    # The last product adds the shortcut's gradient and passes the ReLU before it writes anything.
    sums_before = zero_sums(first.images.shape[1])
    input_gradient = images_gradient(
        first.images, first.weight, x_gradient, block.stride, added=shortcut, gate=before, sums=sums_before
    )
    return input_gradient, [conv1, *first_norm, conv2, *second_norm, *projection], sums_before


def norm_backward(
    saved: SavedConvNorm, gradient: Tensor, sums: Tensor, *, in_place: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients for the norm's input, scale and shift, from that for its output and the sums of that."""
    found, weights = batch_norm.norm_gradient(gradient, saved.x, saved.stats, sums, in_place=in_place)
    return found, weights[0], weights[1]


def backward_conv1x1(saved: SavedConvNorm, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients for the pixels that a projection has read, a map of the output's size, and its weights."""
    # There is no ReLU between the projection's norm and the sum, so `gradient` is that of the norm's output.
    sums = gradient_sums(gradient, saved.x, saved.stats, relu=False)
    # in_place: the shortcut is the last to use the block's gradient.
    x_gradient, scale, shift = norm_backward(saved, gradient, sums, in_place=True)
    filters = _rows(x_gradient).t() @ _rows(saved.images)
    weight = saved.weight.detach().flatten(1)
    images = _multiply(x_gradient, weight.to(x_gradient.dtype))
    return images, filters.float().view_as(saved.weight), scale, shift


def _multiply(maps: Tensor, matrix: Tensor) -> Tensor:
    """Multiply every pixel of channels-last maps (N, C, H, W) by a matrix (C, channels_out)."""
    num, _, height, width = maps.shape
    return (_rows(maps) @ matrix).view(num, height, width, -1).permute(0, 3, 1, 2)


def _rows(maps: Tensor) -> Tensor:
    """The pixels of channels-last maps (N, C, H, W) as rows, (N · H · W, C)."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)
