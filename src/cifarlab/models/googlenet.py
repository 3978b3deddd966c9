"""GoogLeNet: nine Inception blocks, with a stem for small images or the original one."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

# Pixels per side from which the original stem is the default: it divides the side by 8 and the pools behind it by 4, so
# that 96 px end as 3×3.
IMAGENET_STEM_FROM = 96


class Inception(nn.Module):
    """Four branches side by side, joined along the channels; each convolution has batch norm and ReLU.

    conv 1×1 (one)
    conv 1×1 (three[0]) -> conv 3×3 (three[1])
    conv 1×1 (five[0])  -> conv 5×5 (five[1])
    max pool 3×3        -> conv 1×1 (pooled)
    """

    def __init__(self, channels: int, one: int, three: tuple[int, int], five: tuple[int, int], pooled: int) -> None:
        super().__init__()
        # 1×1 convolutions in front of the large kernels reduce the channels, and so the cost (section 4).
        self.one = _conv(channels, one, 1)
        self.three = nn.Sequential(_conv(channels, three[0], 1), _conv(*three, 3))
        self.five = nn.Sequential(_conv(channels, five[0], 1), _conv(*five, 5))
        self.pooled = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), _conv(channels, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, one + three[1] + five[1] + pooled, H, W)."""
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pooled(x)], dim=1)


class GoogLeNet(nn.Module):
    """The nine Inception blocks of GoogLeNet with batch norm, for small images or for the original ones.

                        stem "cifar"       stem "imagenet"
        image           3 ×  32 ×  32      3 × 224 × 224
        conv           64 ×  32 ×  32     64 × 112 × 112     3×3, or 7×7 with stride 2 and max pool (56)
        conv 1×1       64 ×  32 ×  32     64 ×  56 ×  56
        conv 3×3      192 ×  32 ×  32    192 ×  56 ×  56     then, in "imagenet", max pool (28)
        block 3a      256 ×  32 ×  32    256 ×  28 ×  28
        block 3b      480 ×  32 ×  32    480 ×  28 ×  28
        max pool      480 ×  16 ×  16    480 ×  14 ×  14
        block 4a-4c   512 ×  16 ×  16    512 ×  14 ×  14
        block 4d      528 ×  16 ×  16    528 ×  14 ×  14
        block 4e      832 ×  16 ×  16    832 ×  14 ×  14
        max pool      832 ×   8 ×   8    832 ×   7 ×   7
        block 5a      832 ×   8 ×   8    832 ×   7 ×   7
        block 5b     1024 ×   8 ×   8   1024 ×   7 ×   7
        mean         1024               1024
        linear       1024 -> classes, after dropout of 40 %

    ReLU after the batch norm of every convolution. Source: Szegedy et al., Going Deeper with Convolutions, 2014,
    Table 1; batch norm (Ioffe and Szegedy, 2015) replaces local response normalisation and makes the two auxiliary
    classifiers unnecessary.
    """

    def __init__(self, num_classes: int, stem: Literal["cifar", "imagenet"] = "cifar") -> None:
        super().__init__()
        self.stem = (
            nn.Sequential(_conv(3, 64, 3), _conv(64, 64, 1), _conv(64, 192, 3))
            if stem == "cifar"
            else nn.Sequential(_conv(3, 64, 7, stride=2), _pool(), _conv(64, 64, 1), _conv(64, 192, 3), _pool())
        )
        # Channels in, then as in Table 1: #1×1, (#3×3 reduce, #3×3), (#5×5 reduce, #5×5), pool projection.
        self.inception3a = Inception(192, 64, (96, 128), (16, 32), 32)
        self.inception3b = Inception(256, 128, (128, 192), (32, 96), 64)
        self.pool3 = _pool()
        self.inception4a = Inception(480, 192, (96, 208), (16, 48), 64)
        self.inception4b = Inception(512, 160, (112, 224), (24, 64), 64)
        self.inception4c = Inception(512, 128, (128, 256), (24, 64), 64)
        self.inception4d = Inception(512, 112, (144, 288), (32, 64), 64)
        self.inception4e = Inception(528, 256, (160, 320), (32, 128), 128)
        self.pool4 = _pool()
        self.inception5a = Inception(832, 256, (160, 320), (32, 128), 128)
        self.inception5b = Inception(832, 384, (192, 384), (48, 128), 128)
        self.dropout = nn.Dropout(0.4)  # section 5
        self.fc = nn.Linear(1024, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to logits (N, classes)."""
        x = self.pool3(self.inception3b(self.inception3a(self.stem(images))))
        x = self.inception4c(self.inception4b(self.inception4a(x)))
        x = self.pool4(self.inception4e(self.inception4d(x)))
        x = self.inception5b(self.inception5a(x))
        # The mean over all pixels takes any image size.
        logits: Tensor = self.fc(self.dropout(x.mean((2, 3))))
        return logits


def default_stem(image_size: int) -> Literal["cifar", "imagenet"]:
    """The stem that suits images of this side in pixels."""
    return "imagenet" if image_size >= IMAGENET_STEM_FROM else "cifar"


def _pool() -> nn.MaxPool2d:
    # ceil_mode: 112 becomes 56 and 56 becomes 28, as in Table 1; rounded down without padding they would be 55 and 27.
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        # No bias: batch norm subtracts the mean, and has a shift of its own.
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )
