"""Layers that call the CPU kernels, and that replace plain ones in a network; weights and their names stay.

A layer is replaced by setting its __class__ to a subclass with another forward. So nothing is copied, optimizers and
checkpoints see the same parameters, and a forward that the kernels cannot take falls back to the plain class.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from cifarlab.kernels import tiers
from cifarlab.kernels.layers import resnet
from cifarlab.kernels.layers.blocks import ConvNorm, conv_norms
from cifarlab.kernels.layers.convolutions import conv3x3, conv3x3_pool_norm_gelu, conv3x3_with_shortcut
from cifarlab.kernels.ops import conv3x3 as ops
from cifarlab.kernels.ops.batch_norm import is_training, zero_sums
from cifarlab.kernels.ops.conv3x3 import out_size
from cifarlab.kernels.ops.norm_relu import norm_relu
from cifarlab.kernels.ops.pool_norm_gelu import norm_add_gelu, pool_norm_gelu
from cifarlab.models.pooled_conv import PooledConv2d
from cifarlab.models.resnet import BasicBlock, Bottleneck, ResNet
from cifarlab.models.speednet import Group, ResidualGroup


class KernelGroup(Group):
    """A group of SpeedNet with pool, norm and GELU as one operation."""

    def forward(self, x: Tensor) -> Tensor:
        """See Group."""
        x, sums = conv_with_sums(self.conv2, first_layer(self, x), self.norm2)
        return pool_norm_gelu(x, self.norm2, pool=False, sums=sums)


class KernelResidualGroup(ResidualGroup):
    """A residual group of SpeedNet with pool, norm, shortcut and GELU as one operation."""

    def forward(self, x: Tensor) -> Tensor:
        """See ResidualGroup."""
        x = first_layer(self, x)
        # x comes back from the convolution, so that the gradients of both paths meet in its kernel.
        change, x, sums = conv_with_shortcut(self.conv2, x, self.norm2)
        change, sums = conv_with_sums(self.conv3, pool_norm_gelu(change, self.norm2, pool=False, sums=sums), self.norm3)
        return norm_add_gelu(change, self.norm3, x, sums=sums)


class KernelResNet(ResNet):
    """A ResNet with its first norm and ReLU as one operation; if made of basic blocks, with all of them as one."""

    def features(self, images: Tensor) -> Tensor:
        """See ResNet."""
        blocks = [block for layer in (self.layer1, self.layer2, self.layer3, self.layer4) for block in layer]
        ready = [conv_norms(block) for block in blocks if isinstance(block, BasicBlock) and _trains_on_kernels(block)]
        # The maps of a single image may have a single pixel, whose batch has no variance: torch says so in its error.
        if len(ready) < len(blocks) or len(images) < 2 or (dtype := training_dtype(images)) is None:
            return super().features(images)
        return resnet.features(self.maxpool(self.first_maps(images)).to(dtype), ready)

    def first_maps(self, images: Tensor) -> Tensor:
        """See ResNet."""
        return norm_relu(self.conv1(images), self.bn1)


class KernelBasicBlock(BasicBlock):
    """A block on its own, with each norm, the shortcut and ReLU as one operation: where `KernelResNet` falls back."""

    def forward(self, x: Tensor) -> Tensor:
        """See BasicBlock."""
        change = conv_norm_relu(self.conv1, x, self.bn1)
        return conv_norm_relu(self.conv2, change, self.bn2, self.downsample(x))


class KernelBottleneck(Bottleneck):
    """A bottleneck with each norm, the shortcut and ReLU as one operation."""

    def forward(self, x: Tensor) -> Tensor:
        """See Bottleneck."""
        # 1×1 convolutions are matrix products already, with no multiplications to save; they stay torch's.
        change = norm_relu(self.conv1(x), self.bn1)
        change = conv_norm_relu(self.conv2, change, self.bn2)
        return norm_relu(self.conv3(change), self.bn3, self.downsample(x))


def conv_norm_relu(conv: nn.Conv2d, x: Tensor, norm: nn.BatchNorm2d, shortcut: Tensor | None = None) -> Tensor:
    """Return ReLU(norm(conv(x)) + shortcut)."""
    output, sums = conv_with_sums(conv, x, norm)
    return norm_relu(output, norm, shortcut, sums=sums)


def conv_with_sums(conv: nn.Conv2d, x: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Return conv(x) and the sums that the norm behind it needs in training, if a kernel has added them up."""
    dtype = training_dtype(x) if type(conv) is KernelConv2d and is_training(norm) else None
    if dtype is None:
        return conv(x), None  # the norm then makes a pass of its own for its sums
    sums, stride = zero_sums(conv.out_channels), conv.stride[0]
    return conv3x3(x.to(dtype), conv.weight, stride, out_size(x, stride), sums=sums), sums


def conv_with_shortcut(conv: nn.Conv2d, x: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return conv(x) at stride 1, x for a shortcut whose gradient the kernel adds, and the sums for the norm."""
    # Without a gradient for x there is nothing to add up.
    on_kernels = type(conv) is KernelConv2d and is_training(norm) and x.requires_grad
    if not on_kernels or (dtype := training_dtype(x)) is None:
        output, found = conv_with_sums(conv, x, norm)
        return output, x, found
    sums = zero_sums(conv.out_channels)
    return *conv3x3_with_shortcut(x.to(dtype), conv.weight, sums=sums), sums


class KernelConv2d(nn.Conv2d):
    """A 3×3 convolution on our kernels."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, ceil(H / stride), ceil(W / stride))."""
        if (dtype := training_dtype(input)) is None:
            return super().forward(input)
        stride = self.stride[0]
        return conv3x3(input.to(dtype), self.weight, stride, out_size(input, stride))


class KernelPooledConv2d(PooledConv2d):
    """A 3×3 convolution before a 2×2 pool on our kernels."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, H', W'), with H' and W' the sides rounded down to even numbers."""
        if (dtype := training_dtype(input)) is None:
            return super().forward(input)
        size = (input.shape[2] // 2 * 2, input.shape[3] // 2 * 2)
        return conv3x3(input.to(dtype), self.weight, 1, size)


def first_layer(group: Group, x: Tensor) -> Tensor:
    """Run a group's first convolution, pool, norm and GELU: as one operation if the convolution has a kernel."""
    # In training only: the operation takes the statistics of the batch. A side of one pixel pools to none.
    on_kernels = type(group.conv1) is KernelPooledConv2d and group.training and min(x.shape[2:]) > 1
    if on_kernels and (dtype := training_dtype(x)) is not None:
        return conv3x3_pool_norm_gelu(x.to(dtype), group.conv1.weight, group.norm1)
    return pool_norm_gelu(group.conv1(x), group.norm1, pool=True)


class PredictingConv2d(nn.Conv2d):
    """A 3×3 convolution in float32 with fewer multiplications, for filters that no longer change.

    They are transformed once for each size of tiles that is needed: in training that has to be done in every step.
    """

    transformed: dict[int, Tensor]
    shift: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, H, W)."""
        size = (input.shape[2], input.shape[3])  # padding 1 keeps it
        return predict(self, input, size) if _can_predict(input, size) else super().forward(input)


class PredictingPooledConv2d(PooledConv2d):
    """A PredictingConv2d before a 2×2 pool."""

    transformed: dict[int, Tensor]
    shift: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, H', W'), with H' and W' the sides rounded down to even numbers."""
        size = (input.shape[2] // 2 * 2, input.shape[3] // 2 * 2)
        return predict(self, input, size) if _can_predict(input, size) else super().forward(input)


def predict(conv: PredictingConv2d | PredictingPooledConv2d, input: Tensor, size: tuple[int, int]) -> Tensor:
    """Convolve by filters that are transformed when tiles of their size are needed for the first time."""
    side = ops.tile_side(size)
    if side not in conv.transformed:  # two threads may both do it, to the same result
        conv.transformed[side] = ops.transform_filters(conv.weight, torch.float32, side=side)
    return ops.convolve_transformed(input, conv.transformed[side], size, side=side, bias=conv.shift)


# Which class replaces which. Types are compared exactly: a subclass may compute something else, so it is left alone.
TRAINING_AND_PREDICTING: dict[type[nn.Module], type[nn.Module]] = {
    Group: KernelGroup,
    ResidualGroup: KernelResidualGroup,
}
TRAINING: dict[type[nn.Module], type[nn.Module]] = {
    **TRAINING_AND_PREDICTING,
    # For predicting, folding has left these no norms that could be joined with ReLU.
    ResNet: KernelResNet,
    BasicBlock: KernelBasicBlock,
    Bottleneck: KernelBottleneck,
}
TRAINING_CONVOLUTIONS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: KernelConv2d,
    PooledConv2d: KernelPooledConv2d,
}
PREDICTING: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: PredictingConv2d,
    PooledConv2d: PredictingPooledConv2d,
}


def use_kernels(model: nn.Module, dtype: torch.dtype) -> None:
    """Let a network that trains in this dtype on the CPU use the kernels that are fast here, in place.

    Weights keep their names.
    """
    classes = TRAINING if tiers.trains(tiers.NORMS, dtype) else {}
    convolutions = TRAINING_CONVOLUTIONS if tiers.trains(tiers.CONVOLUTIONS, dtype) else {}
    for module in model.modules():
        module.__class__ = classes.get(type(module), type(module))  # what has no kernel keeps its class
        if type(module) in convolutions and ops.supports(module) and cast(nn.Conv2d, module).bias is None:
            module.__class__ = convolutions[type(module)]


def use_predicting_kernels(model: nn.Module) -> None:
    """Let a network that predicts in float32 use the kernels that are fast here; its weights no longer change."""
    classes = TRAINING_AND_PREDICTING if tiers.predicts(tiers.NORMS) else {}
    convolutions = PREDICTING if tiers.predicts(tiers.CONVOLUTIONS) else {}
    for module in model.modules():
        module.__class__ = classes.get(type(module), type(module))
        if type(module) in convolutions and ops.supports(module, strides=(1,)):
            conv = cast(nn.Conv2d, module)
            # Folding gives most of these a bias, the norm's shift; the kernel always adds one.
            shift = torch.zeros(conv.out_channels, dtype=torch.float32) if conv.bias is None else conv.bias.detach()
            module.__class__ = convolutions[type(module)]
            # No buffers: the state dict stays that of the plain network.
            module.shift, module.transformed = shift, {}  # type: ignore[assignment]


def training_dtype(input: Tensor) -> torch.dtype | None:
    """The dtype in which a layer with this input computes on the CPU; None if the kernels are not made for it."""
    if input.device.type != "cpu" or len(input) == 0:
        return None
    # The dtype of the input does not say so: under autocast a float32 input becomes bf16 inside the layer.
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
    return dtype if input.dtype in (torch.float32, dtype) and tiers.trains(tiers.CONVOLUTIONS, dtype) else None


def _can_predict(input: Tensor, size: tuple[int, int]) -> bool:
    """Whether an input can go through a predicting convolution, which has no backward."""
    # There is no backward, so where a gradient is wanted torch's own convolution is used.
    plain = input.device.type == "cpu" and input.dtype == torch.float32 and not input.requires_grad
    in_order = input.is_contiguous(memory_format=torch.channels_last)
    return plain and in_order and size[0] * size[1] >= ops.SMALLEST_PIXELS


def _trains_on_kernels(block: BasicBlock) -> bool:
    """Whether all weights and running statistics of a block are learned, and its convolutions have kernels."""
    first, second, *shortcut = conv_norms(block)
    on_kernels = type(first.conv) is KernelConv2d and type(second.conv) is KernelConv2d
    # A frozen layer needs no gradient, and the one operation for all blocks computes them all.
    return on_kernels and all(map(_is_learned, (first, second, *shortcut)))


def _is_learned(layer: ConvNorm) -> bool:
    return is_training(layer.norm) and all(weight.requires_grad for weight in layer.weights())
