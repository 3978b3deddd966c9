"""A small network around two Inception blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InceptionBlock(nn.Module):
    """Four branches side by side, joined along the channels: C × H × W to 88 × H × W.

        average pool 3×3 -> conv 1×1 (24)
        conv 1×1 (16)
        conv 1×1 (16) -> conv 5×5 (24)
        conv 1×1 (16) -> conv 3×3 (24) -> conv 3×3 (24)

    ReLU after every convolution, those inside the branches included.
    """

    num_channels = 24 + 16 + 24 + 24

    def __init__(self, channels: int) -> None:
        super().__init__()
        # 1×1 convolutions in front reduce the channels that the large kernels see, which is where the cost would be.
        self.pooled = nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), _conv(channels, 24, 1))
        self.one = _conv(channels, 16, 1)
        self.five = nn.Sequential(_conv(channels, 16, 1), _conv(16, 24, 5))
        # Two 3×3 convolutions see 5×5 pixels, with 18 instead of 25 weights per pair of channels (2015, section 3.1).
        self.three = nn.Sequential(_conv(channels, 16, 1), _conv(16, 24, 3), _conv(24, 24, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 88, H, W)."""
        # All branches keep the size, so they can be joined: 24 + 16 + 24 + 24 channels.
        return torch.cat([self.pooled(x), self.one(x), self.five(x), self.three(x)], dim=1)


class InceptionBasic(nn.Module):
    """Unpadded convolutions with an Inception block after each pooling.

        image         3 × 32 × 32
        conv 3×3     16 × 30 × 30
        conv 3×3     64 × 28 × 28
        max pool     64 × 14 × 14
        Inception    88 × 14 × 14
        conv 3×3     64 × 12 × 12
        max pool     64 ×  6 ×  6
        Inception    88 ×  6 ×  6
        linear     3168 -> classes

    ReLU after every convolution. Source: the blocks of Szegedy et al., Going Deeper with Convolutions, 2014, and,
    for the 5×5 beside two 3×3, Rethinking the Inception Architecture, 2015.
    """

    def __init__(self, num_classes: int, image_size: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _conv(3, 16, 3, padding=0),
            _conv(16, 64, 3, padding=0),
            nn.MaxPool2d(2),
            InceptionBlock(64),
            _conv(InceptionBlock.num_channels, 64, 3, padding=0),
            nn.MaxPool2d(2),
            InceptionBlock(64),
        )
        side = ((image_size - 4) // 2 - 2) // 2  # each unpadded 3×3 takes 2 pixels off
        self.fc = nn.Linear(InceptionBlock.num_channels * side**2, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to logits (N, classes)."""
        logits: Tensor = self.fc(self.features(images).flatten(1))
        return logits


def _conv(channels_in: int, channels_out: int, kernel: int, padding: int | None = None) -> nn.Sequential:
    """A convolution with bias and ReLU, which keeps the size unless `padding` says otherwise."""
    padding = kernel // 2 if padding is None else padding
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, kernel, padding=padding), nn.ReLU(inplace=True))
