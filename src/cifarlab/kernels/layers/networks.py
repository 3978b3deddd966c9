"""Layers that call the kernels for the CPU, put in the place of plain ones; weights and their names stay."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.kernels import pixels, stem, whiten, winograd
from cifarlab.kernels.batch_norm import trains, zero_sums
from cifarlab.kernels.layers import convolutions, resnet
from cifarlab.kernels.layers.blocks import Layer, layers
from cifarlab.kernels.layers.convolutions import conv3x3, conv3x3_beside, conv3x3_pool_norm_gelu, out_size
from cifarlab.kernels.layers.small_maps import is_bf16, is_plain
from cifarlab.kernels.norm_relu import norm_relu
from cifarlab.kernels.pool_norm_gelu import gelu, norm_add_gelu, pool_norm_gelu
from cifarlab.models.pooled_conv import PooledConv2d
from cifarlab.models.resnet import BasicBlock, Bottleneck, ResNet
from cifarlab.models.speednet import Group, ResidualGroup, SpeedNet


class KernelSpeedNet(SpeedNet):
    """Speednet whose first layer and GELU are one operation, and with the last pool that torch is quickest at."""

    def whitened(self, images: Tensor) -> Tensor:
        """As SpeedNet."""
        dtype = torch.bfloat16 if is_bf16(images) else images.dtype
        if whiten.fits(images, self.whiten.weight, dtype):
            return whiten.whiten(images, self.whiten.weight, dtype)
        return gelu(self.whiten(images))

    def largest(self, x: Tensor) -> Tensor:
        """As SpeedNet, but that of equal values a single one gets the gradient."""
        if not x.requires_grad:
            return super().largest(x)
        return (F.adaptive_max_pool2d(x, 1) if x.shape[2] * x.shape[3] > 1 else x).flatten(1)


class KernelGroup(Group):
    """A group of speednet whose pool, norm and GELU are one operation."""

    def forward(self, x: Tensor) -> Tensor:
        """As Group."""
        x, sums = convolved(self.conv2, first_half(self, x), self.norm2)
        return pool_norm_gelu(x, self.norm2, pool=False, sums=sums)


class KernelResidualGroup(ResidualGroup):
    """The same with the third convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """As ResidualGroup."""
        x = first_half(self, x)
        change, x, sums = convolved_beside(self.conv2, x, self.norm2)
        change, sums = convolved(self.conv3, pool_norm_gelu(change, self.norm2, pool=False, sums=sums), self.norm3)
        return norm_add_gelu(change, self.norm3, x, sums=sums)


class KernelResNet(ResNet):
    """A ResNet whose first norm and ReLU are one operation, or with basic blocks all in front of the last layer."""

    def features(self, images: Tensor) -> Tensor:
        """As ResNet."""
        blocks = [block for layer in (self.layer1, self.layer2, self.layer3, self.layer4) for block in layer]
        trained = [layers(block) for block in blocks if isinstance(block, BasicBlock) and _trains_by_kernels(block)]
        # of a single image a map may be a single pixel, which has no variance
        if len(trained) < len(blocks) or len(images) < 2 or not _takes(images):
            return super().features(images)
        first = Layer(self.conv1, self.bn1)
        if isinstance(self.maxpool, nn.Identity) and _learns(first) and stem.fits(images, self.conv1):
            return resnet.features(images, first, trained)
        return resnet.features(self.maxpool(self.first_maps(images)), None, trained)

    def first_maps(self, images: Tensor) -> Tensor:
        """As ResNet."""
        return norm_relu(self.conv1(images), self.bn1)


class KernelBasicBlock(BasicBlock):
    """A block whose norms, shortcut and ReLUs are two operations."""

    def forward(self, x: Tensor) -> Tensor:
        """As BasicBlock."""
        change = conv_norm_relu(self.conv1, x, self.bn1)
        return conv_norm_relu(self.conv2, change, self.bn2, self.downsample(x))


class KernelBottleneck(Bottleneck):
    """A block whose norms, shortcut and ReLUs are three operations."""

    def forward(self, x: Tensor) -> Tensor:
        """As Bottleneck."""
        change = norm_relu(self.conv1(x), self.bn1)
        change = conv_norm_relu(self.conv2, change, self.bn2)
        return norm_relu(self.conv3(change), self.bn3, self.downsample(x))


def conv_norm_relu(conv: nn.Conv2d, x: Tensor, norm: nn.BatchNorm2d, added: Tensor | None = None) -> Tensor:
    """ReLU(norm(conv(x)) + added)."""
    output, sums = convolved(conv, x, norm)
    return norm_relu(output, norm, added, sums=sums)


def convolved(conv: nn.Conv2d, x: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor | None]:
    """conv(x) and, where it has a kernel, which adds them up, the sums that the norm behind it needs in training."""
    if not (type(conv) is KernelConv2d and _takes(x) and trains(norm)):
        return conv(x), None
    sums, stride = zero_sums(conv.out_channels), conv.stride[0]
    return conv3x3(x.bfloat16(), conv.weight, stride, out_size(x, stride), sums=sums), sums


def convolved_beside(conv: nn.Conv2d, x: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor, Tensor | None]:
    """The same at stride 1, and x for a shortcut, whose gradient the kernel adds."""
    if not (type(conv) is KernelConv2d and _takes(x) and trains(norm) and x.requires_grad):
        output, found = convolved(conv, x, norm)
        return output, x, found
    sums = zero_sums(conv.out_channels)
    return *conv3x3_beside(x.bfloat16(), conv.weight, sums=sums), sums


class KernelConv2d(nn.Conv2d):
    """A 3×3 convolution with our gradient for its filters, where CPU autocast asks for bf16."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, ceil(H / stride), ceil(W / stride))."""
        if not _takes(input):
            return super().forward(input)
        stride = self.stride[0]
        return conv3x3(input.bfloat16(), self.weight, stride, out_size(input, stride))


class KernelPooledConv2d(PooledConv2d):
    """The same for the convolution in front of a pool."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, H', W'), with H' and W' the sides rounded down to even numbers."""
        if not _takes(input):
            return super().forward(input)
        size = (input.shape[2] // 2 * 2, input.shape[3] // 2 * 2)
        return conv3x3(input.bfloat16(), self.weight, 1, size)


def first_half(group: Group, x: Tensor) -> Tensor:
    """A group's first convolution, pool, norm and GELU: as one operation, where the convolution has a kernel."""
    if type(group.conv1) is KernelPooledConv2d and group.training and _takes(x) and min(x.shape[2:]) > 1:
        return conv3x3_pool_norm_gelu(x.bfloat16(), group.conv1.weight, group.norm1)
    return pool_norm_gelu(group.conv1(x), group.norm1, pool=True)


class AnsweringConv2d(nn.Conv2d):
    """A 3×3 convolution in float32 with fewer products, for filters that stay as they are: transformed beforehand."""

    transformed: Tensor
    shift: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, H, W)."""
        size = (input.shape[2], input.shape[3])
        if not _answers(input, size):
            return super().forward(input)
        return winograd.convolve(input, self.transformed, size, bias=self.shift)


class AnsweringPooledConv2d(PooledConv2d):
    """The same for the convolution in front of a pool."""

    transformed: Tensor
    shift: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, H', W'), with H' and W' the sides rounded down to even numbers."""
        size = (input.shape[2] // 2 * 2, input.shape[3] // 2 * 2)
        if not _answers(input, size):
            return super().forward(input)
        return winograd.convolve(input, self.transformed, size, bias=self.shift)


WHOLE: dict[type[nn.Module], type[nn.Module]] = {
    SpeedNet: KernelSpeedNet,
    Group: KernelGroup,
    ResidualGroup: KernelResidualGroup,
}
TRAINING: dict[type[nn.Module], type[nn.Module]] = {
    **WHOLE,
    ResNet: KernelResNet,
    BasicBlock: KernelBasicBlock,
    Bottleneck: KernelBottleneck,
}
CONVOLUTIONS: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: KernelConv2d, PooledConv2d: KernelPooledConv2d}
ANSWERING: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: AnsweringConv2d, PooledConv2d: AnsweringPooledConv2d}


def use_kernels(model: nn.Module) -> None:
    """Let a network that trains on the CPU use what kernels there are; weights and their names stay."""
    for module in model.modules():
        module.__class__ = TRAINING.get(type(module), type(module))
        if type(module) in CONVOLUTIONS and is_plain(module) and convolutions.fits(module):
            module.__class__ = CONVOLUTIONS[type(module)]


def use_answering_kernels(model: nn.Module) -> None:
    """Let a network whose weights no longer change, and that answers in float32, use what kernels there are."""
    for module in model.modules():
        module.__class__ = WHOLE.get(type(module), type(module))
        if type(module) in ANSWERING and winograd.fits(module, torch.float32):
            _prepare(module)


def _prepare(conv: nn.Module) -> None:
    answering = ANSWERING[type(conv)]
    assert isinstance(conv, nn.Conv2d)
    shift = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
    conv.register_buffer("transformed", winograd.transformed(conv.weight, torch.float32), persistent=False)
    conv.register_buffer("shift", shift, persistent=False)
    module: nn.Module = conv
    module.__class__ = answering


def _answers(input: Tensor, size: tuple[int, int]) -> bool:
    plain = input.device.type == "cpu" and input.dtype == torch.float32 and not input.requires_grad
    in_order = input.is_contiguous(memory_format=torch.channels_last)
    return plain and in_order and size[0] * size[1] >= winograd.SMALLEST_PIXELS


def _trains_by_kernels(block: BasicBlock) -> bool:
    """Whether all of its weights and running statistics learn, and its convolutions have kernels."""
    first, second, *shortcut = layers(block)
    by_kernels = type(first.conv) is KernelConv2d and type(second.conv) is KernelConv2d
    return (
        by_kernels and all(pixels.fits(conv) for conv, _ in shortcut) and all(map(_learns, (first, second, *shortcut)))
    )


def _learns(layer: Layer) -> bool:
    return trains(layer.norm) and all(weight.requires_grad for weight in layer.weights())


def _takes(input: Tensor) -> bool:
    return is_bf16(input) and len(input) > 0
