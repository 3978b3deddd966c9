"""A ResNet's basic blocks in training, forwards and back in bf16, where each kernel leaves what the next one needs.

A convolution adds up what the norm behind it needs. The gradient for what a norm and ReLU have made passes through ReLU
while it is written, and is added up for the norm on the way.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from cifarlab.kernels import batch_norm, pixels
from cifarlab.kernels.batch_norm import Statistics, num_pixels, statistics, zero_sums
from cifarlab.kernels.layers.convolutions import convolve, images_gradient, out_size
from cifarlab.kernels.norm_relu import gradient_sums, passed_like, rectified
from cifarlab.kernels.weight_gradient import weight_gradient
from cifarlab.kernels.winograd import Gate
from cifarlab.models.resnet import BasicBlock


class Layer(NamedTuple):
    """A convolution and the norm behind it."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """What learns."""
        return self.conv.weight, self.norm.weight, self.norm.bias


class Normed(NamedTuple):
    """What a convolution has made of some images, its filters, and the statistics of the norm behind it.

    affine: the scale and shift of a norm that the images are in front of, with ReLU behind it.
    """

    images: Tensor
    affine: Tensor | None
    weight: Tensor
    x: Tensor
    of_batch: Statistics


class Passed(NamedTuple):
    """What a block has made on the way forward, and the gate in front of its output on the way back."""

    first: Normed
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


def pass_forward(block: list[Layer], x: Tensor, affine: Tensor | None = None) -> Passed:
    """What a block makes of x (N, C, H, W), bf16; affine: of a norm that x is in front of, without a projection."""
    first = conv_normed(x, affine, block[0])
    second = conv_normed(first.x, first.of_batch.affine, block[1])
    shortcut = pixels_normed(x, block[2]) if len(block) > 2 else None
    added, of_added = (x, affine) if shortcut is None else (shortcut.x, shortcut.of_batch.affine)
    passed, of_second = passed_like(second.x), second.of_batch.affine
    output = rectified(second.x, of_second, added, of_added=of_added, relu_added=affine is not None, passed=passed)
    return Passed(first, second, Gate(second.x, passed), shortcut, output, block[0].conv.stride[0])


def conv_normed(images: Tensor, affine: Tensor | None, layer: Layer) -> Normed:
    """A 3×3 convolution."""
    conv, norm = layer
    sums, stride = zero_sums(conv.out_channels), conv.stride[0]
    x = convolve(images, conv.weight, stride, out_size(images, stride), affine=affine, sums=sums)
    return Normed(images, affine, conv.weight, x, statistics(norm, sums, num_pixels(x)))


def pixels_normed(images: Tensor, layer: Layer) -> Normed:
    """A 1×1 convolution."""
    conv, norm = layer
    sums = zero_sums(conv.out_channels)
    x = pixels.convolve(images, conv.weight, conv.stride[0], sums=sums)
    return Normed(images, None, conv.weight, x, statistics(norm, sums, num_pixels(x)))


def gate_of(normed: Normed) -> Gate:
    """That the gradient meets behind the norm and ReLU."""
    return Gate(normed.x, None, normed.of_batch.affine)


def pass_back(
    block: Passed, gradient: Tensor, sums: Tensor, before: Gate | None
) -> tuple[Tensor, list[Tensor], Tensor]:
    """The gradients for the block's images, behind the gate `before` it, and for its parameters; the former's sums.

    gradient: in front of the sum with the shortcut; sums: of it for the second norm.
    """
    first, second = block.first, block.second
    of_second, *for_second = norm_gradient(second, gradient, sums)
    sums_first = zero_sums(len(first.weight))
    of_middle = images_gradient(first.x, second.weight, of_second, 1, gate=gate_of(first), sums=sums_first)
    for_conv2 = weight_gradient(second.images, of_second, 1, affine=second.affine)
    of_first, *for_first = norm_gradient(first, of_middle, sums_first, in_place=True)
    for_conv1 = weight_gradient(first.images, of_first, block.stride, affine=first.affine)
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
