"""A ResNet's basic blocks in training, forwards and back in bf16, where each kernel leaves what the next one needs.

A convolution adds up what the norm behind it needs. The gradient for what a norm and ReLU have made passes through ReLU
while it is written, and is added up for the norm on the way.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from cifarlab.kernels import batch_norm, pixels
from cifarlab.kernels.batch_norm import Statistics, num_pixels, statistics, zero_sums
from cifarlab.kernels.norm_relu import affine, gradient_sums, passed_like
from cifarlab.kernels.weight_gradient import weight_gradient
from cifarlab.kernels.winograd import Gate
from cifarlab.models.kernel_conv import convolve, images_gradient, out_size
from cifarlab.models.resnet import BasicBlock


class Layer(NamedTuple):
    """A convolution and the norm behind it."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """What learns."""
        return self.conv.weight, self.norm.weight, self.norm.bias


class Normed(NamedTuple):
    """What a convolution has made of some images, its filters, and the statistics of the norm behind it."""

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


def layers(block: BasicBlock) -> list[Layer]:
    """The two 3×3 convolutions of a block and, where it has one, the 1×1 convolution of its shortcut."""
    found = [Layer(block.conv1, block.bn1), Layer(block.conv2, block.bn2)]
    if isinstance(block.downsample, nn.Sequential):
        conv, norm = block.downsample
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        found.append(Layer(conv, norm))
    return found


def pass_forward(block: list[Layer], x: Tensor) -> Passed:
    """What a block makes of x (N, C, H, W), bf16."""
    first = conv_normed(x, *block[0])
    x_middle, middle = relu(first)
    second = conv_normed(x_middle, *block[1])
    shortcut = pixels_normed(x, *block[2]) if len(block) > 2 else None
    output, last = relu(second, x if shortcut is None else shortcut)
    return Passed(first, middle, second, last, shortcut, output, block[0].conv.stride[0])


def conv_normed(images: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Normed:
    """A 3×3 convolution."""
    sums, stride = zero_sums(conv.out_channels), conv.stride[0]
    x = convolve(images, conv.weight, stride, out_size(images, stride), sums=sums)
    return Normed(images, conv.weight, x, statistics(norm, sums, num_pixels(x)))


def relu(normed: Normed, added: Tensor | Normed | None = None) -> tuple[Tensor, Gate]:
    """Of the norm and what is added to it; and the gate for the gradient."""
    gate = Gate(normed.x, passed_like(normed.x))
    other, of_other = (added.x, added.of_batch) if isinstance(added, Normed) else (added, None)
    return affine(normed.x, normed.of_batch, other, of_added=of_other, passed=gate.passed), gate


def pixels_normed(images: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Normed:
    """A 1×1 convolution."""
    sums = zero_sums(conv.out_channels)
    x = pixels.convolve(images, conv.weight, conv.stride[0], sums=sums)
    return Normed(images, conv.weight, x, statistics(norm, sums, num_pixels(x)))


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
    of_first, *for_first = norm_gradient(first, of_middle, sums_first, in_place=True)
    for_conv1 = weight_gradient(first.images, of_first, block.stride)
    of_shortcut, *for_shortcut = (
        (gradient,) if block.shortcut is None else pixels_gradient(block.shortcut, gradient, block.stride)
    )
    sums_before = zero_sums(first.images.shape[1])
    of_images = images_gradient(
        first.images, first.weight, of_first, block.stride, added=of_shortcut, gate=before, sums=sums_before
    )
    return of_images, [for_conv1, *for_first, for_conv2, *for_second, *for_shortcut], sums_before


def norm_gradient(
    normed: Normed, gradient: Tensor, sums: Tensor, *, in_place: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """For what the norm was given, its weight and its bias, from the gradient behind it and the sums of that."""
    found, weights = batch_norm.norm_gradient(gradient, normed.x, normed.of_batch, sums, in_place=in_place)
    return found, weights[0], weights[1]


def pixels_gradient(normed: Normed, gradient: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For the pixels that a 1×1 convolution has taken, as a map, its filters, and its norm's weight and bias."""
    sums = gradient_sums(gradient, normed.x, normed.of_batch, relu=False)
    of_x, for_scale, for_shift = norm_gradient(normed, gradient, sums, in_place=True)
    for_filters = pixels.weight_gradient(normed.images, of_x, stride)
    return pixels.images_gradient(normed.weight, of_x), for_filters, for_scale, for_shift
