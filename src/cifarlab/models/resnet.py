"""ResNet-18 to ResNet-152, with a stem for small images or the original one."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.models.model import Build
from cifarlab.recipe.schema import ModelSpec


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut: C × H × W to planes × H/stride × W/stride."""

    expansion = 1

    def __init__(self, channels_in: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels_in, planes, 3, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv(planes, planes, 3)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _shortcut(channels_in, planes * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, planes, H/stride, W/stride); ReLU follows the first norm and the sum."""
        # In place: the norm's output is needed by nobody else, and its backward does not read it.
        change = F.relu(self.bn1(self.conv1(x)), inplace=True)
        change = self.bn2(self.conv2(change))
        return F.relu(change + self.downsample(x), inplace=True)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions and a shortcut: C × H × W to 4·planes × H/stride × W/stride.

    The stride is in the 3×3 convolution (ResNet v1.5), as in torchvision; in the paper it is in the first 1×1.
    """

    expansion = 4

    def __init__(self, channels_in: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels_in, planes, 1)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv(planes, planes, 3, stride)  # with the stride here no pixel of the input is skipped
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = _conv(planes, planes * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.downsample = _shortcut(channels_in, planes * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 4·planes, H/stride, W/stride); ReLU follows the first two norms and the sum."""
        change = F.relu(self.bn1(self.conv1(x)), inplace=True)
        change = F.relu(self.bn2(self.conv2(change)), inplace=True)
        change = self.bn3(self.conv3(change))
        return F.relu(change + self.downsample(x), inplace=True)


class ResNet(nn.Module):
    """Four groups of residual blocks between a first convolution and a linear layer.

                      stem "cifar"     stem "imagenet"
        image         3 × 32 × 32      3 × 224 × 224
        conv         64 × 32 × 32     64 × 112 × 112    3×3, or 7×7 with stride 2; batch norm, ReLU
        max pool            -         64 ×  56 ×  56
        layer1      64e × 32 × 32    64e ×  56 ×  56    e = 1 for basic blocks (18, 34), 4 for bottlenecks
        layer2     128e × 16 × 16   128e ×  28 ×  28
        layer3     256e ×  8 ×  8   256e ×  14 ×  14
        layer4     512e ×  4 ×  4   512e ×   7 ×   7
        mean       512e             512e
        linear     512e -> classes

    `width` multiplies the channels. Convolutions start from He's normal distribution. The weights have the names that
    torchvision gives them, so its files of the same depth fit the stem "imagenet".
    Source: He et al., Deep Residual Learning for Image Recognition, 2015, Table 1. The stem "cifar" is the usual change
    for images of 32 px, with the blocks left as they are.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        num_blocks: tuple[int, int, int, int],
        num_classes: int,
        stem: Literal["cifar", "imagenet"] = "cifar",
        width: float = 1.0,
    ) -> None:
        super().__init__()
        # outputs: channels behind the stem and behind each of the four groups
        planes = [max(1, round(channels * width)) for channels in (64, 128, 256, 512)]
        outputs = [planes[0], *(channels * block.expansion for channels in planes)]
        self.conv1 = _conv(3, planes[0], 3) if stem == "cifar" else _conv(3, planes[0], 7, stride=2)
        self.bn1 = nn.BatchNorm2d(planes[0])
        # The original stem would leave 8×8 of 32×32 pixels before the first block.
        self.maxpool = nn.Identity() if stem == "cifar" else nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _group(block, outputs[0], planes[0], num_blocks[0], stride=1)
        self.layer2 = _group(block, outputs[1], planes[1], num_blocks[1], stride=2)
        self.layer3 = _group(block, outputs[2], planes[2], num_blocks[2], stride=2)
        self.layer4 = _group(block, outputs[3], planes[3], num_blocks[3], stride=2)
        self.fc = nn.Linear(outputs[4], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # He et al., arXiv 1502.01852, 2015, section 2.2; fan_out keeps the variance of gradients.
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to logits (N, classes)."""
        logits: Tensor = self.fc(self.features(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to the means of the last group's maps over their pixels, (N, channels)."""
        x = self.maxpool(self.first_maps(images))
        maps: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return maps.mean((2, 3))

    def first_maps(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to the output of the first layer, (N, channels, H', W'), before the max pool."""
        return F.relu(self.bn1(self.conv1(images)), inplace=True)


def resnet(depth: Literal[18, 34, 50, 101, 152]) -> Build:
    """Return the builder for one depth (Table 1 of the paper); the default stem is "cifar"."""
    block = BasicBlock if depth < 50 else Bottleneck
    # Layers that count: the stem, 2 or 3 convolutions per block, the linear layer: 18 = 1 + 2 · 8 + 1.
    num_blocks = {
        18: (2, 2, 2, 2),
        34: (3, 4, 6, 3),
        50: (3, 4, 6, 3),
        101: (3, 4, 23, 3),
        152: (3, 8, 36, 3),
    }[depth]

    def build(spec: ModelSpec, num_classes: int, image_size: int) -> nn.Module:
        stem = "cifar" if spec.stem == "default" else spec.stem
        return ResNet(block, num_blocks, num_classes, stem, spec.width)

    return build


def _group(
    block: type[BasicBlock] | type[Bottleneck], channels_in: int, planes: int, num_blocks: int, stride: int
) -> nn.Sequential:
    # Only the first block changes the shape; the others add to what they are given.
    rest = [block(planes * block.expansion, planes, 1) for _ in range(num_blocks - 1)]
    return nn.Sequential(block(channels_in, planes, stride), *rest)


def _shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    """The identity, or a projection where the shape changes (option B in section 4.1 of the paper)."""
    if stride == 1 and channels_in == channels_out:
        return nn.Identity()
    return nn.Sequential(_conv(channels_in, channels_out, 1, stride), nn.BatchNorm2d(channels_out))


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    # No bias: batch norm subtracts the mean, and has a shift of its own.
    return nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)
