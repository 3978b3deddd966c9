"""A small network around two residual blocks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """relu(x + conv(relu(conv(x)))) with 3×3 convolutions: the shape stays C × H × W."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H, W)."""
        # The block learns what to add to x; at the sum the gradient reaches x undiminished.
        change = self.conv2(F.relu(self.conv1(x), inplace=True))
        return F.relu(x + change, inplace=True)  # in place: the sum is a new tensor, x itself stays


class ResidualBasic(nn.Module):
    """Unpadded convolutions with a residual block after each pooling.

        image         3 × 32 × 32
        conv 3×3      8 × 30 × 30
        conv 3×3     16 × 28 × 28
        max pool     16 × 14 × 14
        residual     16 × 14 × 14
        conv 3×3     20 × 12 × 12
        max pool     20 ×  6 ×  6
        residual     20 ×  6 ×  6
        linear      720 -> classes

    ReLU after every convolution; in a residual block the second ReLU follows the sum. No batch norm.
    Source: the block of He et al., Deep Residual Learning for Image Recognition, 2015.
    """

    def __init__(self, num_classes: int, image_size: int = 32) -> None:
        super().__init__()
        # Unpadded convolutions change the number of channels, so the blocks between them need no projection.
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 16, 3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            ResidualBlock(16),
            nn.Conv2d(16, 20, 3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            ResidualBlock(20),
        )
        side = ((image_size - 4) // 2 - 2) // 2  # each unpadded 3×3 takes 2 pixels off
        self.fc = nn.Linear(20 * side**2, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to logits (N, classes)."""
        logits: Tensor = self.fc(self.features(images).flatten(1))
        return logits
